"""Kills and errors in the middle of a batch: each file in exactly one valid bag afterwards.

The oracle is that of docs/watch.md: what can be seen is whole and sealed at any moment; one
more run ends with every file in one bag, nothing in staging, the log unbroken, no number lost.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from archiver.vault import create_vault, open_vault
from archiver.vault.check import check_logs
from archiver.watch.model import Done
from tests.bag.making import ENVIRONMENT, ROOT
from tests.faults import batch_child
from tests.faults.test_disks import tmpfs
from tests.sealing import Office, check, write_key
from tests.tracing import ERRORS, STRACE, chosen, fault, needs_strace, recording, touching
from tests.vault.looking import items, links
from tests.watch.units import bags, staging

FILES = 3
CALLS = ("mkdir", "openat", "write", "fchmod", "chmod", "fsync", "syncfs", "renameat2", "unlink",
         "rmdir", "pwrite64", "ftruncate", "utimensat", "flock")  # fmt: skip
READING = ("readv", "read", "newfstatat", "getdents64", "statfs", "close")
KINDS = ("vault", "directory")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


class Scene:
    def __init__(self, base: Path, office: Office, tally: Counter[str]) -> None:
        self.base, self.office, self.tally = base, office, tally
        self.key, _certificate = write_key(office.ben, base / "keys", "ben")
        self.source = base / "source"
        self.source.mkdir()
        for number in range(FILES):
            (self.source / f"maria-{number}").write_bytes(bytes([number]) * 5000 * number)
        self.number = 0

    def place(self, kind: str, within: Path | None = None) -> Path:
        """A vault or a directory, empty."""
        self.number += 1
        place = (within or self.base) / f"here-{self.number}"
        if kind == "vault":
            create_vault(str(place), identifier="urn:x", policy="default")
        else:
            place.mkdir()
        return place

    def arguments(self, kind: str, place: Path) -> tuple[str, ...]:
        return kind, str(place), str(self.source), str(self.key)

    def start(self, kind: str, place: Path, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.faults.batch_child"]
        return subprocess.Popen(
            [*command, *self.arguments(kind, place), *more],
            env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def traced(self, kind: str, place: Path, *strace: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "tests.faults.batch_child"]
        return subprocess.run(
            [*STRACE, *strace, *command, *self.arguments(kind, place)],
            env=ENVIRONMENT, cwd=ROOT, capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    def calls(self, kind: str, call: str) -> list[int]:
        """Which of all the calls of this name touch the sink, counted from 1."""
        log, place = self.base / "log", self.place(kind)
        done = self.traced(kind, place, *recording(call, log))
        assert done.returncode == 0, done.stderr
        found = touching(log, call, place)
        remove(place)
        return found

    def judge(self, kind: str, place: Path, what: str, *, keep: bool = False) -> None:
        """After any fault."""
        for bag in bags(place):
            assert check(bag, self.office.anchors()).exit_code == 0, what
            self.tally["whole after the fault"] += 1
        if kind == "vault":
            check_log(place, what, done=False)
        outcomes = batch_child.work(*self.arguments(kind, place))
        assert all(isinstance(one, Done) for one in outcomes), (what, outcomes)
        self.all_there(kind, place, what)
        if not keep:
            remove(place)

    def all_there(self, kind: str, place: Path, what: str) -> None:
        """Each file in exactly one valid bag, nothing in staging, log and bags agree."""
        wanted = Counter(digest(path) for path in self.source.iterdir())
        found: Counter[str] = Counter()
        for bag in bags(place):
            assert check(bag, self.office.anchors()).exit_code == 0, what
            found.update(digest(path) for path in (bag / "data").rglob("*") if path.is_file())
        self.tally["lost"] += sum((wanted - found).values())
        self.tally["duplicated"] += sum((found - wanted).values())
        assert found == wanted, what
        assert staging(place) == [], what
        if kind == "vault":
            check_log(place, what, done=True)


def check_log(place: Path, what: str, *, done: bool) -> None:
    """Unbroken, no number missing; where all is done, all are sealed and as the log says."""
    vault = open_vault(str(place))
    if not os.path.exists(vault.log_path("c")):
        return
    numbers = [item.number for item in items(vault)]
    assert numbers == list(range(1, len(numbers) + 1)), what
    if done:
        # Of a source that could not be read the number stays, with the reason.
        allowed = {"sealed", "refused"} if "error=" in what else {"sealed"}
        assert {item.state for item in items(vault)} <= allowed, what
        assert check_logs(vault).problems == (), what


def digest(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


def remove(place: Path) -> None:
    subprocess.run(["rm", "-rf", place], check=True)


@pytest.fixture
def scene(tmp_path: Path, office: Office, tally: Counter[str]) -> Scene:
    return Scene(tmp_path, office, tally)


def hit(scene: Scene, kind: str, call: str, how: str, full: bool) -> None:
    numbers = scene.calls(kind, call)
    if not numbers:
        pytest.skip(f"{call} is not called here")
    for number in chosen(numbers, how, full):
        what = f"{how} at {call} {number}"
        place = scene.place(kind)
        done = scene.traced(kind, place, *fault(call, how, number))
        assert b"Traceback" not in done.stderr, (what, done.stderr.decode())
        assert b"maria" not in done.stderr, (what, done.stderr.decode())
        scene.tally["kills" if "KILL" in how else "injected errors"] += 1
        scene.judge(kind, place, what)


@needs_strace
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_a_kill_at_each_call(scene: Scene, kind: str, call: str, full: bool) -> None:
    """Entry 2, between the first staged byte and the last word in the log."""
    hit(scene, kind, call, "signal=SIGKILL", full)


@needs_strace
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", CALLS)
def test_an_error_at_each_writing_call(scene: Scene, call: str, error: str, full: bool) -> None:
    """Entries 3, 4 and 6: into a vault, the more for a directory in the full form."""
    for kind in KINDS if full else KINDS[:1]:
        hit(scene, kind, call, f"error={error}", full)


@needs_strace
@pytest.mark.parametrize("call", READING)
def test_an_error_at_each_reading_call(scene: Scene, call: str, full: bool) -> None:
    hit(scene, "vault", call, "error=EIO", full)


@needs_strace
@pytest.mark.parametrize("call", ["write", "pwrite64", "readv", "read"])
def test_short_and_interrupted_calls(scene: Scene, call: str, full: bool) -> None:
    """Entry 7: half of what was asked for, and EINTR; neither is an error."""
    for number in chosen(
        scene.calls("directory" if call != "pwrite64" else "vault", call), "EINTR", full
    ):
        kind = "vault" if call == "pwrite64" else "directory"
        place = scene.place(kind)
        done = scene.traced(kind, place, *fault(call, "error=EINTR", number))
        assert done.returncode == 0, done.stderr
        scene.tally["interrupted"] += 1
        scene.all_there(kind, place, f"EINTR at {call} {number}")
        remove(place)


@needs_strace
@pytest.mark.parametrize("kind", KINDS)
def test_one_sync_for_all(scene: Scene, kind: str) -> None:
    """However many bags: one sync of the file system, one of their directory."""
    counts = []
    for _turn in range(2):
        log, place = scene.base / "syncs", scene.place(kind)
        traced = ("-y", "-o", str(log), "-e", "trace=syncfs,fsync,fdatasync")
        done = scene.traced(kind, place, *traced)
        assert done.returncode == 0, done.stderr
        lines = log.read_text("latin-1").splitlines()
        assert sum("syncfs(" in line for line in lines) == 1
        counts.append(len(lines))
        for number in range(20):
            (scene.source / f"more-{number}").write_bytes(b"more %d" % number)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("kind", KINDS)
def test_kills_at_random(scene: Scene, kind: str, full: bool) -> None:
    """Entry 1: killed again and again, in batches of a few; each run goes on."""
    chance = random.Random(37)
    for number in range(200 if full else 25):
        (scene.source / f"more-{number}").write_bytes(chance.randbytes(chance.randrange(9000)))
    place = scene.place(kind)
    for _turn in range(500 if full else 8):
        process = scene.start(kind, place, "7")
        time.sleep(chance.uniform(0.15, 1.2))
        process.send_signal(signal.SIGKILL)
        _out, err = process.communicate(timeout=60)
        assert b"Traceback" not in err, err.decode()
        scene.tally["kills"] += 1
        for bag in bags(place):
            assert check(bag, scene.office.anchors()).exit_code == 0
        if kind == "vault":
            check_log(place, "random kill", done=False)
        if process.returncode == 0:  # it was faster: more to do
            for number in range(5):
                path = scene.source / f"again-{_turn}-{number}"
                path.write_bytes(chance.randbytes(3000))
    scene.judge(kind, place, "random kills")


@needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_up(scene: Scene, kind: str, full: bool) -> None:
    """Entry 3: at every size; what could not be done is done once there is room."""
    for kib in range(40, 700, 15 if full else 130):
        with tmpfs(scene.base / f"small-{kib}", f"size={kib}k") as small:
            try:
                place = scene.place(kind, small)
            except Exception:  # no room for an empty vault
                continue
            process = scene.start(kind, place)
            _out, err = process.communicate(timeout=60)
            assert b"Traceback" not in err, err.decode()
            scene.tally["refused"] += process.returncode != 0
            subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
            scene.judge(kind, place, f"{kib} KiB", keep=True)


@needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_inodes_run_out(scene: Scene, kind: str, full: bool) -> None:
    """Entry 5."""
    for inodes in range(12, 100, 2 if full else 17):
        with tmpfs(scene.base / f"few-{inodes}", f"size=64m,nr_inodes={inodes}") as small:
            place = scene.place(kind, small)
            process = scene.start(kind, place)
            _out, err = process.communicate(timeout=60)
            assert b"Traceback" not in err, err.decode()
            scene.tally["refused"] += process.returncode != 0
            subprocess.run(["mount", "-o", "remount,nr_inodes=9000", small], check=True)
            scene.judge(kind, place, f"{inodes} inodes", keep=True)


def test_two_at_once(scene: Scene) -> None:
    """Two processes take the same files in: each file is in one bag, one of them says so."""
    for kind in KINDS:
        place = scene.place(kind)
        both = [scene.start(kind, place) for _turn in range(2)]
        errors = [one.communicate(timeout=60)[1] for one in both]
        assert b"Traceback" not in b"".join(errors), errors
        scene.judge(kind, place, "two at once")


def test_links_are_what_they_were(scene: Scene) -> None:
    """The log of a batch is one chain, start before end, each once."""
    place = scene.place("vault")
    batch_child.work(*scene.arguments("vault", place))
    found = [one.event for one in links(open_vault(str(place)), "c")]
    for number in range(1, FILES + 1):
        kinds = [one.type for one in found if one.detail["number"] == number]
        assert kinds == ["ingestion start", "ingestion end"]
