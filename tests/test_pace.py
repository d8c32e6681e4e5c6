"""Work in the background: a limit on bytes a second, the idle class, being stopped."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from archiver.bag.progress import Silent
from archiver.pace import Paced, StoppedError


class Heard(Silent):
    def __init__(self) -> None:
        self.bytes = self.part = self.cleared = 0
        self.total: tuple[int, int] | None = None

    def expect(self, size_bytes: int, files: int) -> None:
        self.total = (size_bytes, files)

    def done(self, size_bytes: int, files: int) -> None:
        self.bytes += size_bytes

    def within(self, size_bytes: int) -> None:
        self.part += size_bytes

    def clear(self) -> None:
        self.cleared += 1


def test_what_is_read_within_a_file_counts_once() -> None:
    heard = Heard()
    paced = Paced(heard, 100_000)
    begun = time.monotonic()
    paced.expect(40_000, 2)
    paced.within(10_000)
    paced.within(10_000)
    paced.done(20_000, 1)  # the same bytes
    paced.done(20_000, 1)
    paced.clear()
    assert 0.4 <= time.monotonic() - begun < 2
    assert (heard.bytes, heard.part, heard.total, heard.cleared) == (40_000, 20_000, (40_000, 2), 1)


def test_without_a_limit_nobody_waits() -> None:
    paced = Paced(Silent(), None)
    begun = time.monotonic()
    paced.done(1 << 50, 1)
    assert time.monotonic() - begun < 0.5


def test_who_waits_is_stopped_at_once() -> None:
    paced = Paced(Silent(), 1)
    ended: list[float] = []

    def work() -> None:
        with pytest.raises(StoppedError):
            paced.done(1_000_000, 1)
        ended.append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    begun = time.monotonic()
    paced.stop()
    thread.join(10)
    assert ended[0] - begun < 1
    with pytest.raises(StoppedError):
        paced.within(1)


IDLE = """
import os, subprocess
from archiver.pace import be_idle
print(be_idle(), os.nice(0))
print(subprocess.run(["ionice", "-p", str(os.getpid())], capture_output=True, text=True).stdout)
"""


def test_the_idle_class_is_the_kernels() -> None:
    """As ionice(1) tells it of the process."""
    done = subprocess.run(
        [sys.executable, "-c", IDLE], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True", "19", "idle"]
