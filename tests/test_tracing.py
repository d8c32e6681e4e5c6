"""That the faults of the fault tests happen: a kill that doesn't would prove nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracing import STRACE, chosen, fault, needs_strace, recording, touching

MAKES_THREE = """
import os, sys
for name in "abc":
    try:
        os.mkdir(f"{sys.argv[1]}/{name}")
    except OSError:
        print("refused")
"""


def traced(place: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [*STRACE, *options, sys.executable, "-c", MAKES_THREE, str(place)]
    return subprocess.run(command, capture_output=True, check=False)


@needs_strace
@pytest.mark.parametrize(
    ("how", "left", "codes", "said"),
    [
        ("signal=SIGKILL", ["a", "b"], (-9, 137), b""),
        ("error=EIO", ["a", "c"], (0,), b"refused\n"),
    ],
)
def test_a_fault_happens_at_its_call(
    tmp_path: Path, how: str, left: list[str], codes: tuple[int, ...], said: bytes
) -> None:
    (tmp_path / "probe").mkdir()
    (tmp_path / "hit").mkdir()
    log = tmp_path / "log"
    assert traced(tmp_path / "probe", *recording("mkdir", log)).returncode == 0
    numbers = touching(log, "mkdir", tmp_path)
    assert len(numbers) == 3
    done = traced(tmp_path / "hit", *fault("mkdir", how, numbers[1]))
    assert (done.returncode in codes, done.stdout) == (True, said), done
    there = sorted(one.name for one in (tmp_path / "hit").iterdir())
    # The signal comes when the call returns, or before it is made.
    assert there in (left, left[:1]), there


def test_what_is_chosen() -> None:
    numbers = [3, 5, 7, 9]
    assert chosen(numbers, "error=EIO", False) == [9]
    assert chosen(numbers, "signal=SIGKILL", False)[-1] == 9
    assert len(chosen(numbers, "signal=SIGKILL", False)) == 2
    assert chosen(numbers, "error=EIO", True) == numbers
    assert chosen([4], "signal=SIGKILL", False) == [4]
    assert chosen([], "signal=SIGKILL", False) == []
