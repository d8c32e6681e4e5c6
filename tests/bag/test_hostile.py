"""Directories made, or changed meanwhile, by somebody who means harm."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archiver.bag.tree import DirectoryTree, kind_of_mode
from archiver.errors import UsageError
from archiver.findings import Findings
from archiver.verify import VerificationReport, VerifyOptions, verify_bag
from tests.bag.archives import (
    ASCII,
    KILLED,
    ROOT,
    Ended,
    bag,
    become_nobody,
    codes,
    limited,
    manifest,
    nobody,
    verify,
    write_tree,
)
from tests.tracing import FEW_STOPS, STRACE, needs_strace


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "bag", bag(ASCII))


def child(*arguments: str, seconds: int = 20) -> Ended:
    ended = limited("bag", "verify", "--json", *arguments, seconds=seconds)
    assert ended.code not in KILLED, "out of time"
    assert ended.code in (0, 1, 3), ended.err
    return ended


def found_in(ended: Ended) -> set[str]:
    return {finding["code"] for finding in json.loads(ended.out)["findings"]}


# -- sizes ---------------------------------------------------------------------------


def test_a_manifest_of_200_000_lines(base: Path) -> None:
    with (base / "manifest-sha256.txt").open("a") as file:
        for number in range(200_000):
            file.write(f"{number:064x}  data/{number}\n")
    ended = child(str(base))
    assert {"E-BAG-100", "E-BAG-200"} <= found_in(ended)
    assert json.loads(ended.out)["findings_total"] > 200_000


@pytest.mark.parametrize("name", ["manifest-sha256.txt", "bag-info.txt", "fetch.txt", "bagit.txt"])
def test_a_line_of_100_mb(base: Path, name: str) -> None:
    with (base / name).open("ab") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
    assert "E-BAG-200" in found_in(child(str(base))) or name == "fetch.txt"


def test_thousands_of_manifests(base: Path) -> None:
    for number in range(8_000):
        (base / f"manifest-a{number}.txt").write_bytes(b"")
    child(str(base), seconds=4)


def test_deep_nesting(tmp_path: Path, base: Path) -> None:
    """5,000 levels: made and removed from within, since no path is that long."""
    deep = os.open(base / "data", os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(deep)
    try:
        assert "U-BAG-111" in found_in(child(str(base)))
    finally:
        subprocess.run(["rm", "-rf", str(base)], check=True)


def test_a_huge_sparse_file_that_is_not_listed_is_not_read(base: Path) -> None:
    with (base / "data/huge").open("wb") as file:
        file.truncate(1 << 42)
    report = verify(base)
    assert codes(report) == {"E-BAG-101", "E-BAG-104"}
    assert report.facts.payload_bytes > 1 << 42


# -- what is no file --------------------------------------------------------------------


def test_links_pipes_and_sockets(base: Path, tmp_path: Path) -> None:
    data = base / "data"
    os.mkfifo(data / "pipe")
    (data / "out").symlink_to("/etc/passwd")
    (data / "up").symlink_to("../..")
    (data / "self").symlink_to("self")
    (data / "one").symlink_to("two")
    (data / "two").symlink_to("one")
    (data / "gone").symlink_to("absent")
    (data / "dir").symlink_to("b")
    (data / "fifo").symlink_to("pipe")
    (data / "in").symlink_to("a.txt")
    (base / "pipe").symlink_to("/dev/zero")
    os.mkfifo(base / "fetch.txt")
    report = verify(base)
    assert report.verdict.value == "invalid"
    assert {"E-BAG-106", "E-BAG-107", "E-BAG-109", "W-BAG-108", "E-BAG-011"} <= codes(report)
    here = os.getcwd()
    os.chdir(data)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        os.chdir(here)
        assert "socket" in " ".join(finding.message for finding in verify(base).findings)


def test_links_within_the_bag_are_read_where_they_lead(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "bag", bag(ASCII | {"data/in": ASCII["data/a.txt"]}))
    (path / "data/in").unlink()
    (path / "data/in").symlink_to("a.txt")
    (path / "bag-info.txt").rename(path / "info")
    (path / "bag-info.txt").symlink_to("info")
    report = verify(path)
    assert (report.verdict.value, codes(report)) == ("valid", {"W-BAG-108"})


def test_words_for_kinds() -> None:
    words = [kind_of_mode(mode) for mode in (stat.S_IFBLK, stat.S_IFCHR, stat.S_IFDIR, 0)]
    assert words == ["block device", "character device", "directory", "special file"]


def test_a_tree_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises((UsageError, NotADirectoryError)):
        DirectoryTree(str(tmp_path / "f"))


def test_a_pipe_in_place_of_a_listed_file(base: Path) -> None:
    tree = DirectoryTree(str(base), workers=0)
    listings = list(tree.walk(Findings(), payload=True))
    for name in ("data/a.txt", "data/b/b.bin"):
        (base / name).unlink()
        os.mkfifo(base / name)
    errors = [
        error.kind
        for reading in tree.read(listings, (), lambda _count: None)
        for error in reading.errors.values()
    ]
    assert errors == ["not-regular", "not-regular"]
    with pytest.raises(OSError, match="not a regular file"):
        tree.open("data/a.txt")
    tree.close()


# -- races ----------------------------------------------------------------------------------


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """``act`` again and again, in a thread, as long as the block runs."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            act()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def swapped(first: Path, second: Path) -> Callable[[], None]:
    """Lets two names change places."""
    spare = first.with_name(first.name + ".spare")

    def act() -> None:
        for source, target in ((first, spare), (second, first), (spare, second)):
            os.rename(source, target)

    return act


@pytest.mark.parametrize("kind", ["fifo", "link", "directory link"])
def test_swaps_while_verifying(tmp_path: Path, kind: str) -> None:
    """Whatever is met: no hang, no traceback, and nothing from outside is ever valid."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"from outside\n")
    payload = {f"data/d/{name}": b"from outside\n" for name in ("f", "g")}
    base = write_tree(tmp_path / "bag", bag(payload))
    for name in ("f", "g"):  # what lies in the bag is not what is listed
        (base / "data/d" / name).write_bytes(b"inside, other\n")
    other = tmp_path / "other"
    target = base / "data/d/f"
    if kind == "fifo":
        os.mkfifo(other)
    elif kind == "link":
        other.symlink_to(outside / "f")
    else:
        other.symlink_to(outside)
        target = base / "data/d"
    with meanwhile(swapped(target, other)):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            report = verify(base)
            assert report.verdict.value != "valid"


@pytest.mark.parametrize("how", ["grow", "shrink", "vanish"])
def test_files_that_change_meanwhile(tmp_path: Path, how: str) -> None:
    base = write_tree(tmp_path / "bag", bag({"data/x": bytes(3 << 20)}))
    path = base / "data/x"

    def act() -> None:
        if how == "grow":
            with path.open("ab") as file:
                file.write(b"\0")
            os.truncate(path, 3 << 20)
        elif how == "shrink":
            os.truncate(path, 1 << 20)
            os.truncate(path, 3 << 20)
        else:
            path.rename(base / "x")
            (base / "x").rename(path)

    with meanwhile(act):
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            verdict = verify(base).verdict.value
            assert verdict in ("valid", "invalid", "undecided")


def test_the_base_itself_is_swapped_for_a_link(tmp_path: Path) -> None:
    """The manifests of one directory must not be checked with another's payload."""
    base = write_tree(tmp_path / "bag", bag(ASCII))
    (base / "data/a.txt").write_bytes(b"evil!\n")
    write_tree(tmp_path / "intact", bag(ASCII))
    tree = DirectoryTree(str(base), workers=0)
    from archiver.digest import ALGORITHMS

    listings = list(tree.walk(Findings(), payload=True))
    base.rename(tmp_path / "away")
    base.symlink_to("intact")
    with tree.open("data/a.txt") as stream:
        assert stream.read(9) == b"evil!\n"
    digests = b"".join(
        reading.digests
        for reading in tree.read(listings, (ALGORITHMS["sha256"],), lambda _count: None)
    )
    tree.close()
    wrong = bytes.fromhex(manifest({"": b"alpha\n"}).split()[0].decode())
    assert wrong not in digests


# -- permissions --------------------------------------------------------------------------------


def test_what_nobody_may_read(base: Path) -> None:
    """As a user who is not root: undecided, not invalid and not a traceback."""
    verify(base)  # everything is imported by now
    with nobody() as place:
        path = write_tree(place / "bag", bag(ASCII))
        for name in ("data/b/b.bin", "data/a.txt", "bag-info.txt", "bagit.txt"):
            (path / name).chmod(0)
        become_nobody()
        report = verify(path)
        assert report.verdict.value == "undecided"
        assert "U-BAG-201" in codes(report)
        os.seteuid(os.getuid())
        (path / "data/b").chmod(0)
        become_nobody()
        report = verify(path)
        assert "U-BAG-110" in codes(report)


def test_an_unreadable_directory_is_undecided(base: Path) -> None:
    verify(base)
    with nobody() as place:
        path = write_tree(place / "bag", bag(ASCII))
        (path / "data/b").chmod(0)
        become_nobody()
        assert verify(path).verdict.value == "undecided"


# -- what is opened ------------------------------------------------------------------------------


@needs_strace
@pytest.mark.parametrize("form", ["directory", "tar"])
def test_nothing_is_opened_for_writing_or_outside(tmp_path: Path, form: str) -> None:
    payload = {f"data/{n}": b"x" * 30 for n in range(700)}  # enough for worker processes
    base = write_tree(tmp_path / "bag", bag(payload))
    (base / "data/out").symlink_to("/etc/hostname")
    target = base
    if form == "tar":
        subprocess.run(["tar", "cf", "bag.tar", "bag"], cwd=tmp_path, check=True)
        target = tmp_path / "bag.tar"
    log = tmp_path / "log"
    calls = "openat,open,creat,connect,socket,bind,unlink,unlinkat,rename,renameat2,mkdir"
    done = subprocess.run(
        [*STRACE, FEW_STOPS, "-o", str(log), "-e", f"trace={calls}", sys.executable, "-B", "-m",
         "archiver", "bag", "verify", str(target)],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    lines = log.read_text().splitlines()
    traced = [line for line in lines if re.search(r"^\d+ +\w+\(", line)]
    assert traced
    writing = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
    places = [
        sys.prefix,
        sys.base_prefix,
        str(ROOT),
        "/usr",
        "/lib",
        "/dev/null",
        "/etc/ld",
        "/proc",
    ]
    own = re.compile(f'"({"|".join(map(re.escape, places))})')
    for line in traced:
        assert not re.search(r" (connect|bind|unlink\w*|rename\w*|mkdir)\(", line), line
        assert not re.search(r"socket\(AF_INET", line), line
        if "openat(" in line and writing.search(line):
            assert "/dev/null" in line, line
        assert "/etc/hostname" not in line, line
        if "openat(AT_FDCWD" in line and str(target) not in line:
            assert own.search(line) or "ENOENT" in line or "localtime" in line, line


def test_nothing_changes(base: Path) -> None:
    def state() -> list[tuple[str, int, int, int]]:
        found = [(str(path), path.lstat()) for path in sorted([base, *base.rglob("*")])]
        return [(name, s.st_mtime_ns, s.st_ctime_ns, s.st_atime_ns) for name, s in found]

    before = state()
    report: VerificationReport = verify_bag(str(base), VerifyOptions(workers=2))
    assert report.verdict.value == "valid"
    after = state()
    assert [row[:3] for row in after] == [row[:3] for row in before]
