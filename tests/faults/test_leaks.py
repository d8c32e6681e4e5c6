"""A witness leaves no trace: not in a name, a log, an index, a temporary file or a free block.

A statement with an invented name, handle, address, number, coordinates and path is taken,
sealed, audited, copied and handed out, by processes that are killed at random; everything
they could write to is searched then. The search itself is tried first, and must find all of
it where nothing is encrypted.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import re
import signal
import sqlite3
import subprocess
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.identify import tools
from archiver.vault import open_vault
from archiver.vault.check import check_logs
from tests.faults.desk import NEEDLES, Desk
from tests.faults.leaking import leaks, place, traces, written
from tests.tracing import FEW_STOPS, STRACE, needs_strace
from tests.vault.looking import items

READS_COORDINATES = "exiftool" in tools.installed() or bool(os.environ.get("ARCHIVER_CI"))


# -- the search is tried


def hide_in_free_pages(data: bytes) -> bytes:
    database = sqlite3.connect(":memory:")
    database.execute("PRAGMA secure_delete = OFF")
    database.execute("CREATE TABLE t (x BLOB)")
    database.executemany("INSERT INTO t VALUES (?)", [(data * 10,)] * 3)
    database.commit()
    database.execute("DELETE FROM t")
    database.commit()
    hidden = bytes(database.serialize())
    database.close()
    return hidden


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", data * 3)
    return out.getvalue()


HIDING: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zlib, fast": lambda data: zlib.compress(data, 1),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
    "zip in gzip": lambda data: gzip.compress(zipped(data)),
    "free pages": hide_in_free_pages,
}


@pytest.mark.parametrize("hidden", HIDING)
def test_the_search_finds_each_needle_in_each_encoding(hidden: str) -> None:
    for name, needle in NEEDLES.items():
        for way, pattern in written(needle).items():
            data = os.urandom(101) + HIDING[hidden](b"-" * 50 + pattern + b"-" * 50)
            found = traces(data + os.urandom(99), NEEDLES)
            assert any(one.startswith(f"{name} (") for one in found), (name, way)


@pytest.mark.parametrize("shift", range(3))
def test_the_search_finds_what_is_inside_of_base64(shift: int) -> None:
    import base64

    for name, needle in NEEDLES.items():
        data = needle if isinstance(needle, bytes) else needle.encode()
        text = base64.b64encode(os.urandom(30 + shift) + data + os.urandom(31))
        assert any(one.startswith(f"{name} (") for one in traces(text, NEEDLES)), name


def test_the_search_finds_nothing_by_chance() -> None:
    assert traces(os.urandom(4 << 20), NEEDLES) == set()


def test_the_search_looks_at_names_links_attributes_and_deleted_files(tmp_path: Path) -> None:
    text = str(NEEDLES["file"])
    for number in range(4):
        (tmp_path / str(number)).mkdir()
    (tmp_path / "0" / text).mkdir()
    (tmp_path / "1" / "link").symlink_to(f"elsewhere/{text}")
    (tmp_path / "2" / "x").write_text("x")
    with contextlib.suppress(OSError):  # tmpfs keeps none
        os.setxattr(tmp_path / "2" / "x", "user.origin", text.encode())
        assert leaks(tmp_path / "2", NEEDLES)
    assert leaks(tmp_path / "0", NEEDLES)
    assert leaks(tmp_path / "1", NEEDLES)
    assert leaks(tmp_path / "3", NEEDLES) == []
    with place(tmp_path, 8) as made:
        if not made.mounted:
            pytest.skip("no file system can be mounted here")
        file = made.root / "deleted"
        file.write_text(text)
        subprocess.run(["sync", "-f", made.root], check=True)
        file.unlink()
        assert leaks(made.root, NEEDLES) == []
        assert any("a block of the disk" in one for one in made.leaks(NEEDLES))


# -- the statement


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with place(tmp_path) as made:
        yield Desk(tmp_path, made)


def test_without_encryption_everything_is_found(desk: Desk) -> None:
    """The control: the same files, ingested as they are."""
    done = desk.run("ingest", desk.folder, desk.home / "who.toml", "--case", "c", "--unsigned")
    assert done.returncode == 0, desk.said()
    found = desk.place.leaks(NEEDLES)
    for name in NEEDLES:
        there = any(f": {name} (" in one for one in found)
        assert there or (name.endswith(", read") and not READS_COORDINATES), name
    if desk.place.mounted:
        assert any("a block of the disk" in one for one in found)


def test_nothing_is_found_whatever_is_done_with_it(desk: Desk) -> None:
    done = desk.run(*desk.words())
    assert done.returncode == 0, desk.said()
    reader, item = desk.home / "reader.key", "c-E-0001"
    again = desk.run(*desk.words(), "--json", "--debug")
    assert again.returncode == 0
    who = desk.home / "identity.key"
    for words, code in (
        (["list"], 0), (["list", "--json"], 0), (["show", item], 0), (["show", item, "--json"], 0),
        (["events"], 0), (["search", "Xochitl"], 0), (["search", "Xochitl", "--json"], 0),
        (["describe", item, "--set", "minor=no", "--reason", "told us", "--unsigned"], 2),
        (["search", "statement"], 0), (["show", item, "--premis"], 0),
        (["list", "--undescribed"], 0), (["list", "--overdue"], 0),
        (["audit", "--all"], 0), (["replica", "add", "second", "second"], 0),
        (["replica", "sync"], 0), (["events", "checkpoint"], 0), (["events", "verify"], 0),
        (["catalog", "rebuild"], 0), (["catalog", "check"], 0),
        (["bag", "verify", f"vault/bags/c/{item}"], 0),
        (["bag", "show", f"vault/bags/c/{item}"], 0),
        (["export", item, "out.tar", "--for", "lawyer", "--identity", reader], 0),
        (["export", item, "out.zip", "--for", "media", "--identity", reader], 4),
        (["export", item, "out", "--for", "court", "--consent-confirmed-by", "R-01"], 0),
        (["consent", "show", item], 0), (["consent", "show", item, "--identity", reader], 0),
        (["consent", "withdraw", item, "--reason", "told us"], 0), (["receipt", "list"], 0),
        (["statement", "check", "--identity", reader], 0),
        (["statement", "check", item, "--identity", who, "--json"], 3),
        (["statement", "open", item, "--identity", who], 5),
        (["statement", "open", item, "--identity", who, "--debug"], 1),
    ):  # fmt: skip
        done = desk.run(*words)
        assert done.returncode == code, (words, desk.said())
    assert (desk.root / "out.tar").exists()
    assert (desk.root / "out").exists()
    assert not (desk.root / "out.zip").exists()
    assert desk.place.leaks(NEEDLES) == []
    opened = desk.home / "opened"
    assert desk.run("statement", "open", item, "--identity", reader, "-o", opened).returncode == 0
    assert leaks(opened, NEEDLES)  # it was all in there
    done = desk.run("statement", "open", item, "--identity", desk.home / "identity.key", "--who")
    assert "xochitl.zzyzx@correo.invalid" in desk.said()


@pytest.mark.parametrize("what", ["a form", "who", "a file", "a list", "a full disk", "a key"])
def test_errors_tell_nothing(desk: Desk, what: str) -> None:
    name = str(NEEDLES["name"])
    if what == "a form":
        (desk.home / "form.toml").write_text(f"witness_code = '{name}'\n{name} = '{name}\n")
    elif what == "who":
        (desk.home / "who.toml").write_text(f"name = {name}\n")
    elif what == "a file":
        next(iter(desk.files)).unlink()
    elif what == "a list":
        (desk.home / "list").write_text(f"{desk.folder}\n")
    elif what == "a full disk":
        filler = desk.root / "filler"
        with contextlib.suppress(OSError), open(filler, "wb") as file:
            for _block in range(200 if desk.place.mounted else 0):
                file.write(b"\0" * (1 << 20))
                file.flush()
    elif what == "a key":  # what is in a file of keys is no key
        desk.keys["reader"] = str(desk.home / "reader.pub")
        (desk.home / "reader.pub").write_text(f"# {name}\nage1{name}\n")
    for more in ((), ("--debug",), ("--json",)):
        done = desk.run(*desk.words(), *more)
        fails = what != "a full disk" or desk.place.mounted
        codes = (1,) if "--debug" in more else (2, 5)  # Python's own, with its traceback
        assert (done.returncode in codes) is fails, desk.said()
        assert ("error" in desk.said().lower()) is fails, desk.said()
    (desk.root / "filler").unlink(missing_ok=True)
    assert desk.place.leaks(NEEDLES) == []


def test_kills_at_random(desk: Desk, full: bool, tally: Counter[str]) -> None:
    """Every run ends at any instant; what it leaves is ciphertext, and the next run's to
    remove.
    """
    random.seed(1982)
    start = time.monotonic()
    assert desk.run(*desk.words()).returncode == 0
    seconds = time.monotonic() - start
    for number in range(300 if full else 6):
        process = desk.start(*desk.words(), *random.choice([[], ["--debug"], ["--json"]]))
        time.sleep(random.uniform(seconds * 0.2, seconds * 1.05))
        ended = process.poll() is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        tally["whole" if ended else "kills"] += 1
        found = desk.place.leaks(NEEDLES, raw=number % 25 == 0)
        assert found == [], number
    kills_while(desk, full, tally)
    assert desk.run(*desk.words()).returncode == 0, desk.said()
    assert desk.place.leaks(NEEDLES) == []
    vault = open_vault(str(desk.vault))
    assert list(desk.vault.rglob(".archiver-*")) == []
    assert {one.state for one in items(vault)} <= {"sealed", "refused"}
    assert check_logs(vault).problems == ()


def kills_while(desk: Desk, full: bool, tally: Counter[str]) -> None:
    """Handing out, copying, auditing and rebuilding, killed too."""
    reader = desk.home / "reader.key"
    desk.run("replica", "add", "second", "second")
    for number in range(100 if full else 1):
        for words in (
            ["export", "c-E-0001", f"out-{number}.tar", "--for", "lawyer", "--identity", reader],
            ["replica", "sync"], ["audit", "--all"], ["catalog", "rebuild"],
        ):  # fmt: skip
            process = desk.start(*words)
            time.sleep(random.uniform(0.1, 0.6))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            tally["kills"] += 1
        assert desk.place.leaks(NEEDLES, raw=False) == []


# -- proof that no kill could have left it: nothing was ever written

_WRITES = (
    "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendfile,copy_file_range,splice,"
    "openat,mkdir,mkdirat,rename,renameat2,unlink,symlink,symlinkat,link,linkat,setxattr,execve,"
    "vmsplice,memfd_create,prctl,ftruncate"
)
_PIPE = "".join(f"\\x{one:02x}" for one in b"pipe:[")
_TO_A_PIPE = re.compile(rf"\bwritev?\([0-9]+<{re.escape(_PIPE)}")
"""As strace spells it; a file's path begins with a slash."""
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


def written_lines(log: Path, *, control: bool) -> Iterator[tuple[str, str, list[bytes]]]:
    """(call, line, strings) of every call that hands something over to the kernel. Pipes are
    memory: the run's own streams are files, and whoever reads a pipe is traced as well.
    """
    for line in log.read_text("latin-1").splitlines():
        call = line.split("(")[0].split()[-1]
        reads = call == "openat" and "O_CREAT" not in line and "O_RDONLY" in line
        if reads or (control and call == "execve") or _TO_A_PIPE.search(line):
            continue  # the plain files have to be read
        strings = _STRING.findall(line)
        assert not any(cut for _text, cut in strings), line[:200]
        yield call, line, [bytes.fromhex(text.replace("\\x", "")) for text, _cut in strings]


@needs_strace
@pytest.mark.parametrize("command", ["new", "ingest", "open", "export"])
def test_no_system_call_writes_any_of_it(desk: Desk, command: str) -> None:
    """Every byte that every process of the run gave to the kernel; ``ingest`` is the control."""
    log, reader = desk.home / "log", desk.home / "reader.key"
    if command != "new":
        assert desk.run(*desk.words()).returncode == 0
    words: dict[str, list[object]] = {
        "new": [*desk.words()],
        "ingest": ["ingest", desk.folder, "--case", "c", "--unsigned"],
        "open": ["statement", "open", "c-E-0001", "--identity", reader, "-o", "-"],
        "export": ["export", "c-E-0001", "x.zip", "--for", "lawyer", "--identity", reader],
    }
    strace = (*STRACE, FEW_STOPS, "-y", "-xx", "-s", "4194304", "-o", str(log),
              "-e", f"trace={_WRITES}")  # fmt: skip
    done = desk.run(*words[command], strace=strace)
    assert done.returncode == (2 if command == "open" else 0), desk.said()  # it has two files
    found, calls = set[str](), Counter[str]()
    for call, line, strings in written_lines(log, control=command == "ingest"):
        calls[call] += 1
        found |= {one for data in strings for one in traces(data, NEEDLES)}
        if call in ("sendfile", "copy_file_range", "splice"):
            assert str(desk.home) not in line or command == "ingest"
    assert calls["write"] > 0
    assert bool(found) == (command == "ingest"), found
    if command == "new" and tools.installed():  # the files were examined, and nothing of it leaked
        assert (desk.vault / "bags/c/c-E-0001/metadata/formats.jsonl.age").exists()
    assert "PR_SET_DUMPABLE" in log.read_text() or command == "ingest"
