"""Kills and errors while a bag is adopted: no bag or a whole one, the original untouched.

Each system call that touches the original or the copy is hit in a run of its own, as in
:mod:`tests.faults.test_system_calls`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from archiver.errors import StorageError
from archiver.policy import load_policy
from archiver.seal import Sealing
from archiver.seal.adopt import AdoptOptions, adopt_bag
from archiver.seal.proofs import ProofPlace
from archiver.seal.stamping import StampOptions, waiting_requests
from tests.bag.making import ENVIRONMENT, ROOT, leftovers, payload, snapshot
from tests.faults.test_disks import tmpfs
from tests.helpers import Bag
from tests.sealing import NOW, Office, check, write_key
from tests.tracing import STRACE, chosen, fault, needs_strace, recording, touching

WRITING = (
    "mkdir",
    "mkdirat",
    "openat",
    "write",
    "copy_file_range",
    "ftruncate",
    "fchmod",
    "fchmodat",
    "chmod",
    "utimensat",
    "fsync",
    "syncfs",
    "rename",
    "renameat2",
    "unlinkat",
    "rmdir",
)
READING = ("read", "readv", "preadv", "lseek", "getdents64", "newfstatat", "flock", "fadvise64")
FILES = {
    "data/a": b"a",
    "data/d/b": b"b" * 5000,
    "data/d/e/c": b"",
    "data/large": b"x" * 300_000,
}
BAG = Bag(FILES, algorithms=("md5",), tag_files={"notes/n.txt": b"n"})


class Scene:
    """One bag with weak digests, and the place that it is adopted to."""

    def __init__(self, base: Path, office: Office, tally: Counter[str]) -> None:
        self.tally, self.office = tally, office
        self.key, _certificate = write_key(office.ben, base / "keys", "ben")
        self.here, self.log = base / "here", base / "log"
        self.here.mkdir()
        self.source = BAG.write(self.here / "original")
        with open(self.source / "notes/sparse", "wb") as file:
            file.truncate(1_000_000)
        self.bag = self.here / "vault" / "item"
        self.bag.parent.mkdir()
        self._before = snapshot(self.source)
        self._payload = payload(self.source)

    def run(self, *strace: str) -> subprocess.CompletedProcess[bytes]:
        program = [sys.executable, "-m", "tests.faults.adopt_child"]
        prefix = [*STRACE, *strace] if strace else []
        return subprocess.run(
            [*prefix, *program, str(self.source), str(self.bag), str(self.key)],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def clear(self) -> None:
        subprocess.run(["rm", "-rf", self.bag.parent], check=True)
        self.bag.parent.mkdir()

    def calls(self, call: str, *, creating: bool) -> list[int]:
        """Which of all the calls of this name touch the two bags, counted from 1."""
        done = self.run(*recording(call, self.log))
        assert done.returncode == 0, done.stderr
        found = touching(self.log, call, self.here, creating=creating)
        self.clear()
        return found

    def hit(self, call: str, number: int, how: str) -> None:
        done = self.run(*fault(call, how, number))
        assert b"Traceback" not in done.stderr, (call, number, how, done.stderr.decode())
        self.tally["kills" if "KILL" in how else "injected errors"] += 1
        self.judge(f"{how} at {call} {number}", killed="KILL" in how)

    def judge(self, what: str, *, killed: bool) -> None:
        there = self.bag.exists()
        self.tally["whole" if there else "absent"] += 1
        assert killed or leftovers(self.bag.parent) == [], what
        if there:
            self.whole(what)
        done = self.run()
        assert (done.returncode, b"exists already" in done.stderr) == (
            (5, True) if there else (0, False)
        ), (what, done.stderr)
        self.whole(what)
        assert leftovers(self.bag.parent) == [], what
        assert snapshot(self.source) == self._before, what
        self.clear()

    def whole(self, what: str) -> None:
        """Sealed, with its request, with every byte that the original has."""
        report = check(self.bag, self.office.anchors())
        assert report.exit_code == 0, (what, [one.message for one in report.findings])
        assert len(report.facts.proofs.signatures) == 1, what
        assert len(list(waiting_requests(ProofPlace(str(self.bag))))) == 1, what
        assert payload(self.bag) == self._payload, what
        for name in ("bagit.txt", "manifest-md5.txt", "notes/n.txt", "notes/sparse"):
            assert (self.bag / name).read_bytes() == (self.source / name).read_bytes(), what


@pytest.fixture
def scene(tmp_path: Path, office: Office, tally: Counter[str]) -> Scene:
    return Scene(tmp_path, office, tally)


@needs_strace
@pytest.mark.parametrize("call", WRITING)
def test_each_call_that_writes(scene: Scene, call: str, full: bool) -> None:
    numbers = scene.calls(call, creating=call == "openat")
    for how in ("signal=SIGKILL", "error=ENOSPC", "error=EIO")[: 3 if full else 2]:
        for number in chosen(numbers, how, full):
            scene.hit(call, number, how)


@needs_strace
@pytest.mark.parametrize("call", ["openat", *READING])
def test_each_call_that_reads(scene: Scene, call: str, full: bool) -> None:
    """An error of a disk that can't be read any more, or a kill in the midst of it."""
    numbers = scene.calls(call, creating=False)
    for how in ("error=EIO", "signal=SIGKILL")[: 2 if full else 1]:
        for number in chosen(numbers, how, full):
            scene.hit(call, number, how)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_fills_up(tmp_path: Path, office: Office) -> None:
    big = {f"data/{n}": os.urandom(200_000) for n in range(10)}
    source = Bag(big, algorithms=("md5",)).write(tmp_path / "original")
    before = snapshot(source)
    sealing = Sealing(signers=(office.ana,), stamps=StampOptions())
    options = AdoptOptions(policy=load_policy("default"), now=NOW, sealing=sealing, workers=0)
    with tmpfs(tmp_path / "small", "size=4m") as small:
        filler = small / "filler"
        filler.write_bytes(bytes(4096 * 600))
        with pytest.raises(StorageError, match="no space"):
            adopt_bag(str(source), str(small / "bag"), options)
        assert [one.name for one in small.iterdir()] == ["filler"]
        filler.unlink()
        adopt_bag(str(source), str(small / "bag"), options)
        assert check(small / "bag", office.anchors()).exit_code == 0
    assert snapshot(source) == before
