"""A progress line: bytes and files done, rate, time left.

Job: draw on standard error where that is a terminal, at most ten times a
second, and take the line away at the end. It never passes 100 %.
"""

from __future__ import annotations

import sys
import time

from archiver.bag.progress import Silent
from archiver.cli.output import count_files, human_size
from archiver.i18n import _

__all__ = ["ProgressLine", "progress_for"]

_INTERVAL_SECONDS = 0.1
_FIRST_AFTER_SECONDS = 0.5
_WIDTH = 24


def progress_for(*, quiet: bool) -> ProgressLine | Silent:
    """A line where somebody watches, else silence."""
    return Silent() if quiet or not sys.stderr.isatty() else ProgressLine()


class ProgressLine:
    """See :class:`archiver.bag.progress.Progress`."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._next = self._begun + _FIRST_AFTER_SECONDS
        self._total_bytes = self._total_files = 0
        self._bytes = self._files = self._within = 0
        self._drawn = False

    def expect(self, size_bytes: int, files: int) -> None:
        """See the protocol."""
        self._total_bytes, self._total_files = size_bytes, files

    def done(self, size_bytes: int, files: int) -> None:
        """See the protocol."""
        self._bytes += size_bytes
        self._files += files
        self._within = max(0, self._within - size_bytes)
        self._draw()

    def within(self, size_bytes: int) -> None:
        """See the protocol."""
        self._within += size_bytes
        self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _INTERVAL_SECONDS
        self._drawn = True
        sys.stderr.write(f"\r\033[K{self.text(now)}")
        sys.stderr.flush()

    def text(self, now: float) -> str:
        """The line as of the monotonic time ``now``."""
        done = self._bytes + self._within
        rate = done / max(now - self._begun, 1e-6)
        parts = [
            count_files(self._files),
            human_size(done),
            f"{human_size(rate)}/s",
        ]
        if self._total_bytes:
            share = min(1.0, done / self._total_bytes)
            left = max(0, self._total_bytes - done) / max(rate, 1.0)
            filled = int(share * _WIDTH)
            bar = "#" * filled + "-" * (_WIDTH - filled)
            parts = [f"[{bar}] {share:4.0%}", *parts, _("{time} left").format(time=_clock(left))]
        return "  ".join(parts)

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
