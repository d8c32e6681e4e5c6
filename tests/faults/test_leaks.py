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
import sys
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.encrypt import new_identity
from archiver.identify import tools
from archiver.vault import open_vault
from archiver.vault.check import check_logs
from tests.bag.making import ENVIRONMENT
from tests.faults.checks import can_trace
from tests.faults.leaking import Needle, Place, leaks, photograph, place, rationals, traces, written
from tests.vault.looking import items

LATITUDE = rationals((13, 1), (31, 1), (3_141_593, 65_537))
LONGITUDE = rationals((71, 1), (58, 1), (2_718_281, 82_589))
NEEDLES: dict[str, Needle] = {
    "name": "Xóchitl Ñandubay-Zzyzx",
    "part of the name": "ñandubayzzyzx",
    "handle": "@xochi_zzyzx_1982",
    "address": "xochitl.zzyzx@correo.invalid",
    "number": "+51 984 771 203",
    "home": "-13.518333, -71.978056",
    "path": "Entrevistas a la señora Zzyzx",
    "file": "declaración Quispe-Zzyzx 2.txt",
    "latitude": LATITUDE,
    "longitude": LONGITUDE,
    "words": "vi cómo los uniformados dispararon",
    # What exiftool makes of the coordinates: they stand in records of formats.
    "latitude, read": b"13.52998227",
    "longitude, read": b"71.97580926",
}
"""All of it invented."""
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


class Desk:
    """Where a statement is taken: plain files at ``home``, which is in memory and isn't
    searched; all that the program could write to is in ``place``.
    """

    def __init__(self, base: Path, made: Place) -> None:
        self.place, self.root = made, made.root
        self.home = base / "home"
        self.folder = self.home / str(NEEDLES["path"])
        self.folder.mkdir(parents=True)
        self.keys = {name: self._key(name) for name in ("reader", "escrow", "identity")}
        self.vault = self.root / "vault"
        for name in ("user", "tmp", "streams"):
            (self.root / name).mkdir()
        self.runs = 0
        self._write_statement()
        assert self.run("init", "vault").returncode == 0

    def _key(self, name: str) -> str:
        text, recipient = new_identity()
        (self.home / f"{name}.key").write_text(text)
        (self.home / f"{name}.key").chmod(0o600)
        return recipient

    def _write_statement(self) -> None:
        told = {name: one for name, one in NEEDLES.items() if isinstance(one, str)}
        text = "\n".join(f"{name}: {one}" for name, one in told.items())
        self.files = {
            self.folder / str(NEEDLES["file"]): text.encode() * 40,
            self.folder / "photo.jpg": photograph(LATITUDE, LONGITUDE, told["name"]),
        }
        for path, data in self.files.items():
            path.write_bytes(data)
        (self.home / "list").write_bytes(b"\0".join(os.fsencode(one) for one in self.files))
        lines = "".join(f"{name.replace(' ', '_')} = '''{one}'''\n" for name, one in told.items())
        (self.home / "who.toml").write_text(lines)
        (self.home / "form.toml").write_text(
            f"witness_code = 'W-07'\ntitle = '''{told['name']}'''\n"
            f"description = '''{text}'''\ninterviewer = '''{told['handle']}'''\n"
            "[consent]\nexplained = true\nlawyer = 'yes'\n"
        )

    def environment(self) -> dict[str, str]:
        """Everything that the program may choose to write to is searched."""
        user = str(self.root / "user")
        names = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        return {
            **{key: one for key, one in ENVIRONMENT.items() if not key.startswith("ARCHIVER_")},
            **dict.fromkeys(names, user),
            "XDG_RUNTIME_DIR": user,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP", "SQLITE_TMPDIR"), str(self.root / "tmp")),
            "ARCHIVER_VAULT": "vault",
        }

    def words(self) -> list[str]:
        """``statement new``: no name is an argument."""
        home = self.home
        keys = self.keys
        return [
            "statement", "new", "--case", "c", "--unsigned", "--form", str(home / "form.toml"),
            "--identity", str(home / "who.toml"), "--files-from", str(home / "list"),
            "--recipient", keys["reader"], "--escrow", keys["escrow"],
            "--identity-recipient", keys["identity"],
        ]  # fmt: skip

    def start(self, *words: object, strace: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """The program, its streams in files that are searched too."""
        self.runs += 1
        with open(self.root / "streams" / str(self.runs), "wb") as stream:
            return subprocess.Popen(
                [*strace, sys.executable, "-m", "archiver", *map(str, words)],
                env=self.environment(),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def run(self, *words: object, strace: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """The same, waited for."""
        process = self.start(*words, strace=strace)
        try:
            process.wait(300)
        finally:
            process.kill()
            process.wait()
        return process

    def said(self) -> str:
        """What the last run printed."""
        return (self.root / "streams" / str(self.runs)).read_text("utf-8", "replace")


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
    for words in (
        ["list"], ["list", "--json"], ["show", item], ["show", item, "--json"], ["events"],
        ["search", "Xochitl"], ["search", "Xochitl", "--json"],
        ["describe", item, "--set", "minor=no", "--reason", "told us", "--unsigned"],
        ["show", item], ["search", "statement"], ["show", item, "--premis"],
        ["list", "--undescribed"], ["list", "--overdue"],
        ["audit", "--all"], ["replica", "add", "second", "second"], ["replica", "sync"],
        ["events", "checkpoint"], ["events", "verify"], ["catalog", "rebuild"],
        ["catalog", "check"], ["bag", "verify", f"vault/bags/c/{item}"],
        ["bag", "show", f"vault/bags/c/{item}"],
        ["export", item, "out.tar", "--for", "lawyer", "--identity", reader],
        ["export", item, "out.zip", "--for", "media", "--identity", reader],
        ["export", item, "out", "--for", "court", "--consent-confirmed-by", "R-01"],
        ["consent", "show", item], ["consent", "show", item, "--identity", reader],
        ["consent", "withdraw", item, "--reason", "told us"], ["receipt", "list"],
        ["statement", "check", "--identity", reader],
        ["statement", "check", item, "--identity", desk.home / "identity.key", "--json"],
        ["statement", "open", item, "--identity", desk.home / "identity.key"],
        ["statement", "open", item, "--identity", desk.home / "identity.key", "--debug"],
    ):  # fmt: skip
        desk.run(*words)
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
    else:
        desk.keys["reader"] = f"age1{name}"
    for more in ((), ("--debug",), ("--json",)):
        if what == "a key":  # a name was typed as a key: it is shown, as all that was typed there
            break
        desk.run(*desk.words(), *more)
        assert "error" in desk.said().lower() or not desk.place.mounted, desk.said()
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


@pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace")
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
    strace = ("strace", "-f", "-qq", "-y", "-xx", "-s", "4194304", "-o", str(log),
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
