"""strace(1): which system calls a command makes, and a fault at one of them.

A first run is traced and its calls are counted; then each chosen call is hit in a run of its
own, by its number.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

STRACE = ("strace", "-f", "-qq")
FEW_STOPS = "--seccomp-bpf"
"""The kernel stops a process at the calls that are asked for, and at no others: a child that
starts, imports and ends takes a quarter of the time. Not for kills: with it, strace 6.1 sends no
signals.
"""

FULL = os.environ.get("ARCHIVER_SOAK") == "1"
"""Whether the full form of the fault tests was asked for."""
ERRORS = ("ENOSPC", "EIO") if FULL else ("ENOSPC",)
"""Of calls that write; those that read have EIO in the short form as well."""
HOWS = ("signal=SIGKILL", *(f"error={one}" for one in ERRORS))


def can_trace() -> bool:
    """Whether strace is there and may trace; in CI it must be there."""
    try:
        done = subprocess.run(["strace", "-qq", "true"], capture_output=True, check=False)
    except FileNotFoundError:
        if os.environ.get("ARCHIVER_CI"):
            raise
        return False
    return done.returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace")


def recording(call: str, log: Path) -> tuple[str, ...]:
    """Options for a run whose calls of one name are written into ``log``, with paths."""
    return (FEW_STOPS, "-y", "-s", "4096", "-o", str(log), "-e", f"trace={call}")


def touching(log: Path, call: str, *places: object, creating: bool = True) -> list[int]:
    """The numbers, from 1, of the calls in ``log`` that touch any of ``places``.

    Of ``openat`` only those that may create a file, unless ``creating`` is false.
    """
    lines = [line for line in log.read_text("latin-1").splitlines() if f" {call}(" in line]
    found = [n for n, line in enumerate(lines, 1) if any(str(one) in line for one in places)]
    if call == "openat" and creating:
        return [n for n in found if "O_CREAT" in lines[n - 1]]
    return found


def chosen(numbers: Sequence[int], how: str, full: bool) -> list[int]:
    """All in the full form; else for an error the last, where commit is, for a kill another too,
    seeded.
    """
    if full:
        return list(numbers)
    others = random.Random(8493).sample(numbers[:-1], min(1, len(numbers) - 1) if numbers else 0)
    return [*(others if "KILL" in how else ()), *numbers[-1:]]


def fault(call: str, how: str, number: int) -> tuple[str, ...]:
    """Options for a run in which the call of this number fails, or kills."""
    inject = f"inject={call}:{how}:when={number}"
    quick = () if "signal" in how else (FEW_STOPS,)
    return (*quick, "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
