"""A kill, and an error, at each system call that touches sources or destination.

The child works in one process (the tree is small), so that its calls come in the same
order each time: a first run is traced, then each call is hit in a run of its own.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.bag.making import (
    ENVIRONMENT,
    ROOT,
    child_command,
    leftovers,
    write_tree,
)
from tests.faults.checks import Scene
from tests.tracing import STRACE, chosen, fault, needs_strace, recording, touching

pytestmark = needs_strace

WRITING = ["mkdir", "openat", "write", "copy_file_range", "ftruncate", "fchmod", "chmod",
           "utimensat", "fsync", "syncfs", "renameat2", "unlinkat", "rmdir"]  # fmt: skip
READING = ["openat", "readv", "pread64", "preadv", "newfstatat", "getdents64", "lseek", "statfs",
           "readlink", "flock"]  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path, tally: Counter[str]) -> Scene:
    files = {"a": b"a", "d/b": b"b" * 5000, "d/e/c": b"", "large": b"x" * 300_000}
    source = write_tree(tmp_path / "source", files)
    (source / "empty").mkdir()
    (source / "link").symlink_to("a")
    with open(source / "sparse", "wb") as file:
        file.write(b"head")
        file.truncate(1_000_000)
    return Scene(source, tmp_path, tally)


def traced(scene: Scene, bag: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*STRACE, *options, *child_command(scene.source, bag, "0", "0")],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        check=False,
    )


def occurrences(scene: Scene, call: str, *, creating: bool) -> list[int]:
    """Which of all the calls of this name touch our tree, counted from 1."""
    log = scene.base / f"{call}.log"
    bag = scene.bag("probe")
    done = traced(scene, bag, *recording(call, log))
    assert done.returncode == 0, done.stderr
    return touching(log, call, scene.base, creating=creating)


@pytest.mark.parametrize("call", WRITING)
def test_a_kill_at_each_call(scene: Scene, call: str, full: bool, tally: Counter[str]) -> None:
    numbers = occurrences(scene, call, creating=call == "openat")
    if not numbers:
        pytest.skip(f"{call} is not called here")
    for number in chosen(numbers, "SIGKILL", full):
        what = f"kill at {call} {number}"
        bag = scene.bag(f"{call}-{number}")
        done = traced(scene, bag, *fault(call, "signal=SIGKILL", number))
        assert done.returncode in (-9, 137), (what, done)
        tally["kills"] += 1
        if scene.judge(bag, what):
            tally["stale staging"] += bool(leftovers(bag.parent))
        else:
            scene.run_again(bag, what, "0", "0")
    assert scene.problems == []


def hit(scene: Scene, call: str, error: str, full: bool, *, creating: bool) -> None:
    """Let each call fail once: a clean error or a whole bag, and nothing left."""
    for number in chosen(occurrences(scene, call, creating=creating), error, full):
        what = f"{error} at {call} {number}"
        bag = scene.bag(f"{error}-{call}-{number}")
        done = traced(scene, bag, *fault(call, f"error={error}", number))
        scene.tally["injected errors"] += 1
        told = done.stderr.decode()
        if done.returncode not in (0, 5) or "Traceback" in told:
            scene.problems.append(f"{what}: no clean error: {told[-300:]}")
        there = scene.judge(bag, what)
        if done.returncode == 0 and not there:
            scene.problems.append(f"{what}: success without a bag")
        if leftovers(bag.parent):
            scene.tally["staging left by an error"] += 1
            if call not in ("unlinkat", "rmdir"):
                scene.problems.append(f"{what}: staging was left")
        if not there:
            scene.run_again(bag, what, "0", "0")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", WRITING)
def test_an_error_at_each_writing_call(scene: Scene, call: str, error: str, full: bool) -> None:
    hit(scene, call, error, full, creating=call == "openat")
    assert scene.problems == []


@pytest.mark.parametrize("call", READING)
def test_an_error_at_each_reading_call(scene: Scene, call: str, full: bool) -> None:
    hit(scene, call, "EIO", full, creating=False)
    assert scene.problems == []
