"""The private memory of a program's whole process tree, by sampling."""

import os
import time
from collections.abc import Sequence

from benchmarks.process import run

_INTERVAL_S = 0.02


def peak_private_bytes(command: Sequence[str]) -> int:
    """Run `command`; the highest sum of RssAnon over its processes, in bytes.

    Sampled every 20 ms. Pages that processes share since a fork are counted in each of them,
    so for programs that fork, the sum is an upper bound. RssAnon holds neither mapped files
    nor shared memory.
    """
    peak = 0

    def sample(session: int) -> None:
        nonlocal peak
        peak = max(peak, _private_bytes(session))
        time.sleep(_INTERVAL_S)

    run(command, sample)
    return peak


def _private_bytes(session: int) -> int:
    """The sum of RssAnon over the processes of `session` now, in bytes."""
    return sum(_rss_anon_bytes(pid) for pid in os.listdir("/proc") if _is_in(session, pid))


def _is_in(session: int, pid: str) -> bool:
    """Whether the directory `pid` of /proc is a process of `session`."""
    if not pid.isdecimal():
        return False
    # After the name, which is in parentheses and may contain anything: state, ppid, pgrp,
    # session. By session, not by parent: a process whose parent has ended still counts.
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return len(fields) > 3 and int(fields[3]) == session


def _rss_anon_bytes(pid: str) -> int:
    """RssAnon of one process in bytes; 0 for one that has ended."""
    for line in _read(pid, "status").splitlines():
        if line.startswith(b"RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(pid: str, name: str) -> bytes:
    """The file `name` about the process `pid`, empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""
