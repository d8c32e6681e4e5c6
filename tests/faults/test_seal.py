"""Kills and errors while sealing: a bag is never visible unsealed, a proof never half there.

Each system call that touches the bag is hit in a run of its own, as in
:mod:`tests.faults.test_system_calls`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import StorageError
from archiver.pki.anchors import Anchors
from archiver.seal.proofs import ProofPlace, sign_bag
from archiver.seal.stamping import StampOptions, add_requests, waiting_requests
from tests.bag.making import ENVIRONMENT, ROOT, leftovers
from tests.faults.test_disks import tmpfs
from tests.sealing import (
    NOW,
    Office,
    check,
    copy,
    demo_tsa,
    make_source,
    seal,
    signature_of,
    stamps_of,
    tree,
    write_key,
)
from tests.tracing import STRACE, chosen, fault, needs_strace, recording, touching

CALLS = ("mkdir", "openat", "write", "fchmod", "chmod", "fsync", "syncfs", "renameat2", "unlink")
URL = "http://127.0.0.1:9/"


@dataclass
class Scene:
    base: Path
    anchors: Anchors
    key: Path
    tally: Counter[str]

    def run(self, *arguments: object, strace: tuple[str, ...] = ()) -> Any:
        command = [sys.executable, "-m", "tests.faults.seal_child", *map(str, arguments)]
        prefix = [*STRACE, *strace] if strace else []
        return subprocess.run(
            [*prefix, *command],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def calls(self, call: str, *arguments: object) -> list[int]:
        """Which of all the calls of this name touch our tree, counted from 1."""
        log = self.base / "log"
        done = self.run(*arguments, strace=recording(call, log))
        assert done.returncode == 0, done.stderr
        return touching(log, call, f"{self.base}/here")

    def hit(self, call: str, number: int, how: str, *arguments: object) -> Any:
        return self.run(*arguments, strace=fault(call, how, number))


@pytest.fixture
def scene(tmp_path: Path, tally: Counter[str], office: Office) -> Scene:
    key, _certificate = write_key(office.ben, tmp_path / "keys", "ben")
    (tmp_path / "here").mkdir()
    return Scene(tmp_path, office.anchors(), key, tally)


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", CALLS)
def test_making_a_sealed_bag(scene: Scene, call: str, how: str, full: bool) -> None:
    source, bag = make_source(scene.base / "source"), scene.base / "here" / "bag"
    arguments = ("create", source, bag, scene.key, URL)
    numbers = scene.calls(call, *arguments)
    shutil.rmtree(bag)
    for number in chosen(numbers, how, full):
        scene.hit(call, number, how, *arguments)
        scene.tally["kills" if "KILL" in how else "injected errors"] += 1
        if not bag.exists():
            scene.tally["absent"] += 1
            assert scene.run(*arguments).returncode == 0
        report = check(bag, scene.anchors)
        assert report.exit_code == 0, (number, [one.message for one in report.findings])
        assert len(list(waiting_requests(ProofPlace(str(bag))))) == 1
        scene.tally["whole"] += 1
        assert leftovers(bag.parent) == [] or "KILL" in how
        subprocess.run(["rm", "-rf", bag.parent], check=True)
        bag.parent.mkdir()


def further(
    scene: Scene, call: str, how: str, full: bool, bag: Path, *arguments: object
) -> Callable[[], None]:
    """Hit each call of a run that adds proof to ``bag``: nothing else is ever touched, what
    was proven stays proven, and a second run completes it.
    """
    original = scene.base / "original"
    copy(bag, original)
    numbers = scene.calls(call, *arguments)

    def judge() -> None:
        for number in chosen(numbers, how, full):
            shutil.rmtree(bag)
            copy(original, bag)
            scene.hit(call, number, how, *arguments)
            scene.tally["kills" if "KILL" in how else "injected errors"] += 1
            before, after = tree(original), tree(bag)
            assert after == before, (call, number)
            report = check(bag, scene.anchors)
            assert report.exit_code == 0, (number, [one.message for one in report.findings])
            done = scene.run(*arguments)
            assert done.returncode in (0, 5), done.stderr
            assert check(bag, scene.anchors).exit_code == 0

    return judge


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", ["openat", "write", "fchmod", "fsync", "renameat2"])
def test_adding_a_signature(scene: Scene, call: str, how: str, full: bool, office: Office) -> None:
    bag = seal(make_source(scene.base / "s"), scene.base / "here" / "bag", [office.ana])
    further(scene, call, how, full, bag, "sign", bag, scene.key)()
    assert signature_of(bag, office.ben).exists()
    report = check(bag, scene.anchors)
    assert report.seal is not None
    assert all(one.trusted for one in report.seal.signatures)


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=EIO"])
@pytest.mark.parametrize("call", ["openat", "write", "fsync", "renameat2", "unlink"])
def test_bringing_a_time_stamp_in(
    scene: Scene, call: str, how: str, full: bool, office: Office, tsa: Any
) -> None:
    bag = seal(make_source(scene.base / "s"), scene.base / "here" / "bag", [office.ana])
    add_requests(ProofPlace(str(bag)), StampOptions(urls=(URL,)))
    (waiting,) = waiting_requests(ProofPlace(str(bag)))
    answer = scene.base / "answer.tsr"
    answer.write_bytes(demo_tsa().stamp(tsa.directory, waiting.data))
    further(scene, call, how, full, bag, "stamp", bag, answer)()
    (stamp,) = stamps_of(bag)
    assert stamp.read_bytes() == answer.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_while_signing(tmp_path: Path, office: Office) -> None:
    with tmpfs(tmp_path / "small", "size=1m") as small:
        bag = seal(make_source(tmp_path / "s"), small / "bag", [office.ana])
        before = tree(bag, signatures=True)
        filler = small / "filler"
        with open(filler, "wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        with pytest.raises(StorageError, match="no space"):
            sign_bag(str(bag), [office.ben], NOW)
        kept = tree(bag, signatures=True)
        assert {path: kept[path] for path in before} == before
        assert not signature_of(bag, office.ben).exists()
        filler.unlink()
        sign_bag(str(bag), [office.ben], NOW)
        assert check(bag, office.anchors()).exit_code == 0
