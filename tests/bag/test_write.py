"""Making a bag: what is written, what is kept, what is left when something fails."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from getpass import getuser
from pathlib import Path
from typing import Any

import bagit
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.bag.model import BagInfo, Declaration
from archiver.bag.plan import PlanOptions
from archiver.bag.read import parse_bag_info
from archiver.bag.write import WrittenBag, _folded, _human_size, check_info
from archiver.errors import ArchiverError, DestinationError, SourceError, StorageError, UsageError
from archiver.findings import Findings
from archiver.seal import create_bag, plan_sources
from tests.bag.making import (
    ENVIRONMENT,
    NOW,
    OPTIONS,
    ROOT,
    At,
    archiver,
    child,
    leftovers,
    make,
    payload,
    record,
    snapshot,
    staging_path,
    tree_bytes,
    verdict,
    with_policy,
    write_tree,
)

MB = 1024 * 1024
EAGER = replace(OPTIONS, checkpoint_seconds=0.0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "source", {"a.txt": b"a", "sub/b.txt": b"bb", "sub/c": b""})


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return tmp_path / "bag"


def info_of(bag: Path) -> BagInfo:
    with open(bag / "bag-info.txt", "rb") as stream:
        return parse_bag_info(stream, Declaration((1, 0), "UTF-8"), Findings(), "bag-info.txt")


# -- what stands in a bag


def test_files_of_a_bag(source: Path, bag: Path) -> None:
    made = make(source, bag)
    assert (made.payload_files, made.payload_bytes, made.resumed_files) == (3, 3, 0)
    assert sorted(path.decode() for path in tree_bytes(bag)) == [
        "VERIFY.txt",
        "bag-info.txt",
        "bagit.txt",
        "data/a.txt",
        "data/sub/b.txt",
        "data/sub/c",
        "manifest-sha256.txt",
        "manifest-sha512.txt",
        "metadata/custody.jsonl",
        "metadata/filesystem.jsonl",
        "tagmanifest-sha256.txt",
        "tagmanifest-sha512.txt",
    ]
    assert (bag / "bagit.txt").read_bytes() == (
        b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    )
    assert verdict(bag) == "valid"
    assert leftovers(bag.parent) == []


def test_bag_info(source: Path, bag: Path) -> None:
    make(source, bag, options=replace(OPTIONS, info=BagInfo((("Title", "x"), ("Title", "y")))))
    assert dict(info_of(bag)) == {
        "Title": "y",
        "External-Identifier": OPTIONS.identifier,
        "Bagging-Date": NOW.date().isoformat(),
        "Bagging-Software-Agent": info_of(bag).first("Bagging-Software-Agent"),
        "Payload-Oxum": "3.3",
        "Bag-Size": "3 B",
        "Archiver-Bag-Layout": "1",
    }
    assert info_of(bag).all("title") == ["x", "y"]


def test_an_identifier_that_was_given(source: Path, bag: Path) -> None:
    info = BagInfo((("external-identifier", "mine"),))
    make(source, bag, options=replace(OPTIONS, info=info))
    assert info_of(bag).all("External-Identifier") == ["mine"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (42_600_000_000, "42.6 GB"),
        (10**18, "1000.0 PB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert _human_size(size) == text


def test_other_algorithms(source: Path, bag: Path) -> None:
    make(source, bag, options=replace(OPTIONS, algorithms=("sha3256", "blake2b")))
    names = {path.name for path in bag.iterdir()}
    assert {"manifest-sha512.txt", "manifest-sha3256.txt", "tagmanifest-blake2b.txt"} <= names
    assert verdict(bag) == "valid"


def test_nothing_about_people_or_machines(source: Path, bag: Path) -> None:
    os.setxattr(source / "a.txt", "user.xdg.origin.url", b"https://example.org/secret-address")
    (source / "link").symlink_to(source / "a.txt")
    make(source, bag)
    secrets = [str(source.parent), socket.gethostname(), getuser(), "secret-address"]
    secrets += [os.path.expanduser("~"), '"uid"', '"gid"']
    told = "\n".join(
        os.fsdecode(path) + content.decode("latin-1")
        for path, content in tree_bytes(bag).items()
        if path != b"VERIFY.txt"  # the same in every bag
    )
    assert [secret for secret in secrets if secret in told] == []


def test_owners_and_attributes_where_the_policy_asks(source: Path, bag: Path) -> None:
    os.setxattr(source / "a.txt", "user.note", b"\x00\xff")
    make(source, bag, options=with_policy("sidecar", owners=True, extended_attributes=True))
    found = record(bag, "data/a.txt")
    assert (found["uid"], found["gid"]) == (os.getuid(), os.getgid())
    assert found["extended_attributes"] == [{"name": "user.note", "value": "00ff"}]
    assert "extended_attributes" not in record(bag, "data/sub/b.txt")
    assert record(bag, "data/sub")["uid"] == os.getuid()


# -- what is kept


def test_sources_are_left_as_they_are(source: Path, bag: Path) -> None:
    (source / "a.txt").chmod(0o640)
    for path in [source / "a.txt", source / "sub/b.txt", source / "sub", source]:
        os.utime(path, ns=(1, 2_000_000_003))
    before = snapshot(source)
    atimes = [source / "a.txt", source / "sub"]
    for path in atimes:
        os.utime(path, ns=(1, 2_000_000_003))
    before = snapshot(source)  # it read them: the access times are set once more
    held = {path: path.stat().st_ctime_ns for path in atimes}
    seen = {path: path.stat().st_atime_ns for path in atimes}
    make(source, bag)
    assert {path: path.stat().st_atime_ns for path in atimes} == seen
    assert {path: path.stat().st_ctime_ns for path in atimes} == held
    assert snapshot(source) == before


def test_times_and_modes_are_kept(source: Path, bag: Path) -> None:
    (source / "a.txt").chmod(0o4755)
    os.utime(source / "a.txt", ns=(5, 1_234_567_890_123_456_789))
    os.utime(source / "sub/b.txt", ns=(5, -1))
    make(source, bag)
    kept = (bag / "data/a.txt").stat()
    assert kept.st_mtime_ns == 1_234_567_890_123_456_789
    assert kept.st_mode & 0o7777 == 0o555
    assert record(bag, "data/a.txt")["mode"] == "4755"
    assert (bag / "data/sub/b.txt").stat().st_mtime_ns == -1
    assert record(bag, "data/sub/b.txt")["mtime_ns"] == -1


def test_write_permission_is_taken_away(source: Path, bag: Path) -> None:
    make(source, bag)
    modes = [path.stat().st_mode & 0o222 for path in [bag, *bag.rglob("*")]]
    assert set(modes) == {0}


def test_a_policy_that_leaves_bags_writable(source: Path, bag: Path) -> None:
    (source / "a.txt").chmod(0o664)
    make(source, bag, options=with_policy("bag", read_only=False))
    assert (bag / "data/a.txt").stat().st_mode & 0o777 == 0o664
    assert bag.stat().st_mode & 0o200


HOLES = [(0, MB), (3 * MB, 5 * MB)]


def sparse(path: Path) -> Path:
    """8 MB, of which two are data: a hole at the start and one at the end."""
    with open(path, "wb") as file:
        file.truncate(8 * MB)
        os.pwrite(file.fileno(), b"x" * 2 * MB, MB)
    return path


def test_holes_stay_holes(source: Path, bag: Path) -> None:
    one = sparse(source / "sparse")
    if one.stat().st_blocks * 512 >= 8 * MB:
        pytest.skip("this file system has no holes")
    make(source, bag)
    assert record(bag, "data/sparse")["holes"] == [list(hole) for hole in HOLES]
    assert (bag / "data/sparse").stat().st_blocks == one.stat().st_blocks
    assert payload(bag)[b"sparse"] == one.read_bytes()
    assert verdict(bag) == "valid"


def test_large_files_and_many_workers(source: Path, bag: Path) -> None:
    files = {f"many/{i:03}": os.urandom(i) for i in range(700)}
    write_tree(source, files)
    (source / "large").write_bytes(os.urandom(40 * MB))
    make(source, bag, options=replace(OPTIONS, workers=2, verify_after=True))
    assert payload(bag) == tree_bytes(source)
    assert verdict(bag) == "valid"


# -- the destination


@pytest.mark.parametrize("kind", ["file", "directory", "empty directory", "dangling link"])
def test_a_destination_that_exists(source: Path, bag: Path, kind: str) -> None:
    if kind == "file":
        bag.write_bytes(b"mine")
    elif kind == "dangling link":
        bag.symlink_to("nowhere")
    else:
        write_tree(bag, {"mine": b"m"} if kind == "directory" else {})
    before = snapshot(bag.parent)
    done = archiver("bag", "create", source, "-o", bag)
    assert done.returncode == 5
    assert "exists already" in done.stderr
    assert snapshot(bag.parent) == before


@pytest.mark.parametrize("kind", ["file", "directory", "empty directory", "dangling link"])
def test_a_destination_that_appears_meanwhile(source: Path, bag: Path, kind: str) -> None:
    def appear() -> None:
        if kind == "file":
            bag.write_bytes(b"mine")
        elif kind == "dangling link":
            bag.symlink_to("nowhere")
        else:
            write_tree(bag, {"mine": b"m"} if kind == "directory" else {})

    with pytest.raises(DestinationError, match="exists already"):
        make(source, bag, progress=At("expect", appear))
    assert os.path.lexists(bag)
    assert not bag.exists() or not (bag / "bagit.txt").exists()
    assert leftovers(bag.parent) == []


def test_a_destination_without_a_parent(source: Path, tmp_path: Path) -> None:
    done = archiver("bag", "create", source, "-o", tmp_path / "no/bag")
    assert (done.returncode, leftovers(tmp_path)) == (5, [])
    assert "does not exist" in done.stderr


def test_a_destination_that_another_process_makes(source: Path, bag: Path) -> None:
    told: list[str] = []

    def second() -> None:
        done = archiver("bag", "create", source, "-o", bag)
        told.append(f"{done.returncode} {done.stderr}")

    make(source, bag, progress=At("expect", second))
    assert told[0].startswith("5 ")
    assert "another process" in told[0]
    assert verdict(bag) == "valid"


def test_two_at_once(source: Path, bag: Path) -> None:
    """Whoever comes first: one bag, whole; the others say why not."""
    write_tree(source, {f"many/{i}": os.urandom(5000) for i in range(300)})
    children = [child(source, bag) for _ in range(6)]
    codes = []
    for one in children:
        _out, err = one.communicate(timeout=120)
        codes.append(one.returncode)
        assert b"Traceback" not in err, err.decode()
    assert sorted(codes) == [0, 5, 5, 5, 5, 5]
    assert verdict(bag) == "valid"
    assert payload(bag) == tree_bytes(source)
    assert leftovers(bag.parent) == []


# -- sources that change


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"A"),
        lambda path: path.write_bytes(b"longer"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.chmod(0o600),
        lambda path: os.replace(path.parent / "sub/b.txt", path),
        lambda path: path.unlink(),
        lambda path: subprocess.run(f"rm {path}; mkdir {path}", shell=True, check=True),
        lambda path: subprocess.run(f"rm {path}; mkfifo {path}", shell=True, check=True),
        lambda path: subprocess.run(f"ln -sf /etc/hostname {path}", shell=True, check=True),
    ],
)
def test_a_source_that_changed_since_it_was_listed(
    source: Path, bag: Path, change: Callable[[Path], Any]
) -> None:
    with pytest.raises(SourceError, match="a.txt"):
        make(source, bag, progress=At("expect", lambda: change(source / "a.txt")))
    assert not bag.exists()
    assert leftovers(bag.parent) == []


def test_a_large_source_that_changes_while_it_is_read(source: Path, bag: Path) -> None:
    large = source / "large"
    large.write_bytes(os.urandom(80 * MB))

    def touch() -> None:
        with open(large, "r+b") as file:
            file.seek(79 * MB)
            file.write(b"torn")

    options = replace(OPTIONS, workers=0)
    with pytest.raises(SourceError, match="large changed while it was read"):
        make(source, bag, options=options, progress=At("within", touch))
    assert leftovers(bag.parent) == []


@pytest.mark.parametrize("size", [10 * MB, 0])
def test_a_large_source_that_shrinks(source: Path, bag: Path, size: int) -> None:
    large = source / "large"
    large.write_bytes(os.urandom(80 * MB))
    options = replace(OPTIONS, workers=0)
    with pytest.raises(SourceError, match="large"):
        make(source, bag, options=options, progress=At("within", lambda: os.truncate(large, size)))
    assert leftovers(bag.parent) == []


# -- resumption


@contextlib.contextmanager
def interrupted(source: Path, bag: Path, **changes: Any) -> Iterator[Path]:
    """What a run leaves that was interrupted after its first batch; its staging."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    class Second(At):
        def done(self, size_bytes: int, files: int) -> None:
            self._when, self._armed = ("done" if self._when == "armed" else "armed"), True
            super().done(size_bytes, files)

    options = replace(EAGER, workers=0, **changes)
    with pytest.raises(KeyboardInterrupt):
        make(source, bag, options=options, progress=Second("wait", interrupt))
    assert not bag.exists()
    yield staging_path(bag)
    assert leftovers(bag.parent) == []


@pytest.fixture
def wide(source: Path) -> Path:
    """Several directories: several batches."""
    sparse(source / "sparse")
    return write_tree(source, {f"d{i}/f{j}": os.urandom(99) for i in range(4) for j in range(5)})


def test_an_interrupted_run_is_gone_on_with(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag) as staging:
        assert (staging / "journal.jsonl").exists()
        made = make(wide, bag, options=EAGER)
        assert 0 < made.resumed_files < made.payload_files
    assert payload(bag) == tree_bytes(wide)
    assert verdict(bag) == "valid"
    assert record(bag, "data/sparse")["holes"]


def staged_payload(staging: Path) -> Path:
    """A staged file that the journal says is finished."""
    lines = (staging / "journal.jsonl").read_text().splitlines()
    record = json.loads(lines[1])
    return staging / "bag" / str(record["target"]) / str(record["names"][0])


@pytest.mark.parametrize("content", [b"", b"tampered", b"A"])
def test_a_staged_file_that_was_tampered_with(wide: Path, bag: Path, content: bytes) -> None:
    with interrupted(wide, bag) as staging:
        target = staged_payload(staging)
        target.chmod(0o600)
        target.write_bytes(content)
        made = make(wide, bag, options=EAGER)
    assert made.resumed_files < made.payload_files
    assert payload(bag) == tree_bytes(wide)
    assert verdict(bag) == "valid"


def test_a_staged_file_that_is_gone(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag) as staging:
        staged_payload(staging).unlink()
        make(wide, bag, options=EAGER)
    assert payload(bag) == tree_bytes(wide)


def test_stray_files_in_the_staging(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag) as staging:
        write_tree(staging / "bag", {"data/stray": b"s", "manifest-sha256.txt": b"x"})
        make(wide, bag, options=EAGER)
    assert payload(bag) == tree_bytes(wide)
    assert verdict(bag) == "valid"


def test_a_source_that_changed_meanwhile(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag) as staging:
        changed = wide / staged_payload(staging).relative_to(staging / "bag/data")
        changed.write_bytes(b"new and different")
        made = make(wide, bag, options=EAGER)
    assert payload(bag) == tree_bytes(wide)
    assert made.payload_files == len(tree_bytes(wide))
    assert verdict(bag) == "valid"


def test_a_source_that_lost_a_file_meanwhile(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag) as staging:
        (wide / staged_payload(staging).relative_to(staging / "bag/data")).unlink()
        make(wide, bag, options=EAGER)
    assert payload(bag) == tree_bytes(wide)
    assert verdict(bag) == "valid"


def test_other_algorithms_begin_again(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag):
        made = make(wide, bag, options=replace(EAGER, algorithms=("sha3512",)))
        assert made.resumed_files == 0
    assert verdict(bag) == "valid"


def test_a_torn_journal(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag) as staging:
        journal = staging / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-30])
        make(wide, bag, options=EAGER)
    assert payload(bag) == tree_bytes(wide)
    assert verdict(bag) == "valid"


def test_another_policy_holds_for_what_was_finished(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag, policy=with_policy("bag", read_only=False).policy):
        make(wide, bag, options=EAGER)
    assert {path.stat().st_mode & 0o222 for path in bag.rglob("*")} == {0}


def test_a_resumed_run_that_is_interrupted_again(wide: Path, bag: Path) -> None:
    with interrupted(wide, bag), interrupted(wide, bag):
        made = make(wide, bag, options=EAGER)
        assert made.resumed_files
    assert payload(bag) == tree_bytes(wide)


def test_many_files_gone_on_with_by_workers(source: Path, bag: Path) -> None:
    write_tree(source, {f"d{i}/f{j}": os.urandom(50) for i in range(10) for j in range(100)})
    with interrupted(source, bag):
        made = make(source, bag, options=replace(EAGER, workers=2))
        assert made.resumed_files
    assert payload(bag) == tree_bytes(source)
    assert verdict(bag) == "valid"


def test_an_interrupt_before_anything_is_finished_leaves_nothing(source: Path, bag: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(source, bag, progress=At("expect", interrupt))
    assert leftovers(bag.parent) == []
    assert not bag.exists()


# -- processes


def workers_of(pid: int) -> list[int]:
    """The children of a process that are reading files."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(number) for number in text.split()]
    return []


@pytest.fixture
def heavy(source: Path) -> Path:
    """Enough work to be disturbed in."""
    block = os.urandom(MB)
    write_tree(source, {f"d{i}/f{j}": block for i in range(12) for j in range(10)})
    with open(source / "large", "wb") as file:
        file.writelines(block for _ in range(200))
    return source


def started(source: Path, bag: Path, *more: str) -> subprocess.Popen[bytes]:
    """A child that has begun to copy."""
    process = child(source, bag, *more, start_new_session=True)
    for _ in range(2000):
        if (staging_path(bag) / "bag/data/d0").exists() and workers_of(process.pid):
            return process
        time.sleep(0.002)
    raise AssertionError(process.communicate())


def test_a_worker_that_is_killed(heavy: Path, bag: Path) -> None:
    process = started(heavy, bag)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 5, err
    assert err.startswith(b"error: ")
    assert b"Traceback" not in err
    assert leftovers(bag.parent) == []
    assert not bag.exists()
    make(heavy, bag)
    assert verdict(bag) == "valid"


def test_workers_do_not_outlive_their_parent(heavy: Path, bag: Path) -> None:
    process = started(heavy, bag)
    orphans = workers_of(process.pid)
    process.kill()
    process.communicate()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}/cmdline").exists() for pid in orphans):
            break
        time.sleep(0.1)
    else:
        pytest.fail("a worker lives on 10 seconds after its parent")
    staged = snapshot(staging_path(bag))
    time.sleep(0.3)
    assert snapshot(staging_path(bag)) == staged
    make(heavy, bag)
    assert verdict(bag) == "valid"
    assert leftovers(bag.parent) == []


def test_a_run_goes_on_after_sigkill(heavy: Path, bag: Path) -> None:
    process = started(heavy, bag, "0")
    for _ in range(5000):
        if (staging_path(bag) / "journal.jsonl").exists():
            break
        time.sleep(0.001)
    time.sleep(0.1)
    process.kill()
    process.communicate()
    made = when_free(lambda: make(heavy, bag))
    assert made.resumed_files > 0
    assert payload(bag) == tree_bytes(heavy)
    assert verdict(bag) == "valid"
    assert leftovers(bag.parent) == []


def when_free(call: Callable[[], WrittenBag]) -> WrittenBag:
    """Call as soon as the orphans of a killed run have let its lock go."""
    for _ in range(100):
        try:
            return call()
        except DestinationError as error:
            if "another process" not in error.message:
                raise
            time.sleep(0.1)
    return call()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [False, True])
def test_interrupts(heavy: Path, bag: Path, number: signal.Signals, whole_group: bool) -> None:
    """As Ctrl-C does (the whole process group), and kill(1) (the parent only)."""
    before = snapshot(heavy)
    command = ["bag", "create", str(heavy), "-o", str(bag)]
    process = program(*command)
    wait_for((staging_path(bag) / "bag/data/d0").exists, process)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert leftovers(bag.parent) == []
    assert not bag.exists()
    assert snapshot(heavy) == before


def program(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "archiver", *arguments],
        env=ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(5000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError(process.communicate())


def test_an_interrupt_at_the_very_start(source: Path, bag: Path) -> None:
    """While the program is still importing: no traceback either."""
    torn = []
    for delay in range(0, 200, 8):
        process = program("bag", "create", str(source), "-o", str(bag.parent / f"b{delay}"))
        time.sleep(delay / 1000)
        os.killpg(process.pid, signal.SIGTERM)
        _out, err = process.communicate(timeout=30)
        if b"Traceback" in err:
            torn.append(delay)
    assert torn == []


# -- bag-info.txt

PLAIN = st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters=":")
SPACED = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])
LABELS = st.text(PLAIN, min_size=1, max_size=100)
VALUES = st.lists(st.text(SPACED, max_size=90), max_size=9).map(" ".join)


def unfold(label: str, value: str) -> tuple[tuple[str, str], ...]:
    text = "".join(_folded(label, value))
    findings = Findings()
    found = parse_bag_info(
        io.BytesIO(text.encode()), Declaration((1, 0), "UTF-8"), findings, "bag-info.txt"
    )
    assert not len(findings), list(findings)
    return found.elements


@settings(deadline=None, max_examples=50)
@given(LABELS, VALUES)
def test_folding_round_trips(label: str, value: str) -> None:
    info = check_info([("x-" + label, value)])
    assert unfold(*info.elements[0]) == info.elements


@pytest.mark.parametrize("value", [f"{'a' * 69} \tbbbb", f"{'a' * 69}\t bbbb", f"{'a' * 72} \t b"])
def test_folding_round_trips_with_tabs(value: str) -> None:
    info = check_info([("Title", value)])
    assert unfold(*info.elements[0]) == info.elements


@settings(deadline=None, max_examples=50)
@given(st.text("abc defg", max_size=300))
def test_folded_lines_are_short(value: str) -> None:
    (element,) = check_info([("Title", value)]).elements
    for line in _folded(*element):
        assert len(line) <= 80 or "  " in line or max(map(len, value.split(" "))) > 70


@settings(deadline=None, max_examples=50)
@given(LABELS, VALUES)
def test_bagit_unfolds_the_same(
    tmp_path_factory: pytest.TempPathFactory, label: str, value: str
) -> None:
    info = check_info([("x-" + label, value)])
    file = tmp_path_factory.getbasetemp() / "peer-info.txt"
    file.write_text("".join(_folded(*info.elements[0])), "utf-8")
    found = bagit._load_tag_file(str(file), "utf-8")
    ((key, text),) = found.items()
    assert key == info.elements[0][0].strip()
    assert " ".join(text.split()) == " ".join(info.elements[0][1].split())


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("Payload-Oxum", "1.1"),
        ("bag-size", "1"),
        ("Archiver-Seal", "x"),
        ("", "x"),
        (" a", "x"),
        ("a:b", "x"),
        ("a\nb", "x"),
        ("a", "x\ny"),
        ("a", "x\ry"),
        ("a", "\udcff"),
    ],
)
def test_elements_that_are_refused(label: str, value: str) -> None:
    with pytest.raises(UsageError):
        check_info([(label, value)])


@pytest.mark.parametrize(
    ("label", "value"),
    [("\ufeffTitle", "x"), ("Title", "x\u2028y"), ("Title", "x\x0cy"), ("Title", "x\0y")],
)
def test_characters_that_break_the_file(label: str, value: str) -> None:
    with pytest.raises(UsageError):
        check_info([(label, value)])


# -- the callback


def test_a_seal_that_fails_leaves_nothing(source: Path, bag: Path) -> None:
    from archiver.bag.write import BagRequest, write_bag
    from archiver.seal import choose_algorithms

    seen: list[str] = []

    def seal(staged: str) -> None:
        seen.append(staged)
        assert verdict(Path(staged)) == "valid"
        raise StorageError("no")

    plan = plan_sources([str(source)], str(bag), PlanOptions())
    request = BagRequest(
        algorithms=choose_algorithms(()), info=BagInfo(), identifier="urn:x", now=NOW
    )
    with pytest.raises(StorageError, match="no"):
        write_bag(plan, str(bag), request, seal=seal)
    assert seen == [str(staging_path(bag) / "bag")]
    assert leftovers(bag.parent) == []
    assert not bag.exists()


def test_a_plan_that_was_refused(source: Path, bag: Path) -> None:
    os.mkfifo(source / "fifo")
    with pytest.raises(ArchiverError):
        make(source, bag)
    assert os.listdir(bag.parent) == ["source"]


def test_create_bag_reads_back(source: Path, bag: Path) -> None:
    said: list[str] = []
    plan = plan_sources([str(source)], str(bag), PlanOptions())
    create_bag(plan, str(bag), replace(OPTIONS, verify_after=True), say=said.append)
    assert said == ["reading the bag back from the disk"]
