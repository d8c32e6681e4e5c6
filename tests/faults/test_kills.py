"""SIGKILL at random instants, with workers busy; sources that are written meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.bag.making import child, leftovers, make, payload, verdict, write_tree
from tests.faults.checks import Scene

MB = 1024 * 1024


@pytest.fixture
def scene(tmp_path: Path, tally: Counter[str]) -> Scene:
    """About 20 MB in 400 files: workers are started."""
    chance = random.Random(8493)
    files = {
        f"d{i}/f{j}": chance.randbytes(chance.randrange(20_000))
        for i in range(8)
        for j in range(50)
    }
    files |= {"large": chance.randbytes(14 * MB)}
    return Scene(write_tree(tmp_path / "source", files), tmp_path, tally)


def test_kills_at_random_instants(scene: Scene, full: bool, tally: Counter[str]) -> None:
    begun = time.monotonic()
    process = child(scene.source, scene.bag("first"), "0.02")
    process.communicate(timeout=120)
    seconds = time.monotonic() - begun
    chance = random.Random(42)
    for number in range(200 if full else 12):
        bag = scene.bag(str(number))
        process = child(scene.source, bag, "0.02", start_new_session=True)
        time.sleep(0.1 + chance.random() * (seconds - 0.1))
        whole_group = chance.random() < 0.5
        if process.poll() is None:
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
            tally["kills"] += 1
        process.communicate(timeout=60)
        what = f"kill {number}"
        if scene.judge(bag, what):
            tally["stale staging"] += bool(leftovers(bag.parent))
        else:
            scene.run_again(bag, what, "0.02")
        subprocess.run(["rm", "-rf", bag.parent], check=True)
    assert scene.problems == []


def test_interrupts_at_random_instants(scene: Scene, full: bool, tally: Counter[str]) -> None:
    """Ctrl-C: exit code 130, no traceback, nothing half."""
    chance = random.Random(7)
    for number in range(60 if full else 6):
        bag = scene.bag(str(number))
        process = child(scene.source, bag, "0.02", start_new_session=True)
        time.sleep(0.25 + chance.random() * 0.6)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        tally["interrupts"] += 1
        what = f"interrupt {number}"
        if not scene.judge(bag, what):
            scene.run_again(bag, what, "0.02")
        subprocess.run(["rm", "-rf", bag.parent], check=True)
    assert scene.problems == []


WRITER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
print("ready", flush=True)
number = 0
while True:
    number += 1
    os.pwrite(fd, number.to_bytes(8, "big") * 512, 4096 * (number % 9000))
"""


@pytest.mark.parametrize("name", ["large", "d7/f5"])
def test_a_source_that_is_written_all_the_time(
    scene: Scene, name: str, full: bool, tally: Counter[str]
) -> None:
    for number in range(20 if full else 2):
        bag = scene.bag(f"{name.replace('/', '-')}{number}")
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, scene.source / name], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            process = child(scene.source, bag)
            _out, err = process.communicate(timeout=120)
            writer.kill()
        tally["written sources"] += 1
        assert process.returncode == 5
        assert name in err.decode()
        assert b"changed while it was read" in err
        assert not bag.exists()
        assert leftovers(bag.parent) == []
    make(scene.source, scene.base / "calm")
    assert verdict(scene.base / "calm") == "valid"
    assert payload(scene.base / "calm")[name.encode()] == (scene.source / name).read_bytes()
