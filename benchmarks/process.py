"""Running one program to its end and saying what it used."""

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from benchmarks.errors import BenchmarkError

_PR_SET_CHILD_SUBREAPER = 36
_LEFTOVER_SECONDS = 5.0
_STDERR_TAIL_BYTES = 2000


@dataclass(frozen=True)
class Usage:
    """What one run of a program used.

    `wall_s` are seconds from before the start to the exit of the program's first process,
    `cpu_s` the user and system seconds of all its processes, `peak_rss_bytes` the largest
    resident size that one of them had.

    Linux lets a new process begin with the peak of the process that started it, so a peak at
    or below our own only says "at most this": then `peak_is_upper_bound` is set.
    """

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    peak_is_upper_bound: bool


def adopt_orphans() -> None:
    """Make this process the parent of processes whose parent ends before them.

    Else the CPU time of, say, workers under a fork server would go to init and be lost.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise BenchmarkError(f"prctl: {os.strerror(ctypes.get_errno())}")


def run(
    command: Sequence[str],
    while_running: Callable[[int], None] | None = None,
) -> Usage:
    """Run `command` and return what it used; any exit status but 0 is a BenchmarkError.

    `while_running` gets the process id, is called again and again until the program ends, and
    has to pause by itself; without it, nothing but the program runs.
    """
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with TemporaryFile() as errors:
        start = time.perf_counter()
        # A session of its own: its processes can be found, and ended, by one number.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            child.returncode, usage = _wait(child.pid, while_running)
            wall = time.perf_counter() - start
            usages = [usage, *_wait_for_orphans(child.pid)]
        except BaseException:
            _kill_session(child.pid)
            child.wait()
            raise
        if child.returncode != 0:
            raise BenchmarkError(f"exit status {child.returncode}: {_tail(errors)}")
    return _sum_up(wall, usages, own_peak)


def _sum_up(wall: float, usages: Sequence[resource.struct_rusage], own_peak: int) -> Usage:
    """The usage of one run; `own_peak` is this process's peak before it, in KiB."""
    peak = max(usage.ru_maxrss for usage in usages)
    return Usage(
        wall_s=wall,
        cpu_s=sum(usage.ru_utime + usage.ru_stime for usage in usages),
        peak_rss_bytes=peak * 1024,
        peak_is_upper_bound=peak <= own_peak,
    )


def _wait(
    pid: int, while_running: Callable[[int], None] | None
) -> tuple[int, resource.struct_rusage]:
    """Wait for `pid`; its exit code and the usage of it and of all it waited for itself."""
    if while_running is None:
        _, status, usage = os.wait4(pid, 0)
        return os.waitstatus_to_exitcode(status), usage
    while True:
        while_running(pid)
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage


def _wait_for_orphans(group: int) -> list[resource.struct_rusage]:
    """The usages of processes that the program left behind and that end soon by themselves."""
    usages: list[resource.struct_rusage] = []
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while True:
        try:
            pid, _, usage = os.wait4(-group, os.WNOHANG)
        except ChildProcessError:
            return usages
        if pid:
            usages.append(usage)
        elif time.monotonic() > deadline:
            raise BenchmarkError("left processes running behind it")
        else:
            time.sleep(0.005)


def _kill_session(group: int) -> None:
    """End what still runs of a program, so that nothing writes to data about to be removed."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        while True:
            os.waitpid(-group, 0)
    except ChildProcessError:
        return


def _tail(file: IO[bytes]) -> str:
    """The end of what was written to `file`."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _STDERR_TAIL_BYTES))
    return file.read().decode(errors="replace").strip() or "(nothing on stderr)"
