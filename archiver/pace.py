"""Work in the background that leaves the disk to others.

Job: a limit on bytes a second, the idle class of the kernel's I/O scheduler. Limits: knows
nothing of what is read. Sources: ioprio_set(2), nice(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
import threading
import time
from collections.abc import Callable

from archiver.bag.progress import Progress

__all__ = ["Paced", "StoppedError", "be_idle"]

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
_WHO_PROCESS, _CLASS_IDLE = 1, 3 << 13
_NICEST = 19
_LONGEST_NAP_SECONDS = 0.5


class StoppedError(Exception):
    """Nobody waits for the work any more."""


class Paced:
    """Passes on what it hears of work done, and keeps who tells it waiting where that goes
    faster than ``rate_bytes`` a second (None: no limit). Safe to be stopped by any thread.
    """

    def __init__(
        self,
        inner: Progress,
        rate_bytes: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner, self._rate, self._clock = inner, rate_bytes, clock
        self._stopped = threading.Event()
        self._free_at = clock()
        self._within = 0

    def stop(self) -> None:
        """Whoever works and tells of it is ended by StoppedError."""
        self._stopped.set()

    def expect(self, size_bytes: int, files: int) -> None:
        """See the protocol."""
        self._inner.expect(size_bytes, files)

    def done(self, size_bytes: int, files: int) -> None:
        """See the protocol."""
        told = min(self._within, size_bytes)
        self._within -= told
        self._inner.done(size_bytes, files)
        self._wait_for(size_bytes - told)

    def within(self, size_bytes: int) -> None:
        """See the protocol."""
        self._within += size_bytes
        self._inner.within(size_bytes)
        self._wait_for(size_bytes)

    def clear(self) -> None:
        """See the protocol."""
        self._inner.clear()

    def _wait_for(self, size_bytes: int) -> None:
        """Time that was not used is not made up for later."""
        if self._rate is not None:
            now = self._clock()
            self._free_at = max(self._free_at, now) + size_bytes / self._rate
            while not self._stopped.is_set() and (left := self._free_at - self._clock()) > 0:
                self._stopped.wait(min(left, _LONGEST_NAP_SECONDS))
        if self._stopped.is_set():
            raise StoppedError


def be_idle() -> bool:
    """Have this process, and those that it starts, served after all others. False where
    the kernel has no such class for I/O (the processor's is set all the same).
    """
    with contextlib.suppress(OSError):
        os.nice(_NICEST)
    number = _IOPRIO_SET.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(number, _WHO_PROCESS, 0, _CLASS_IDLE) == 0)
