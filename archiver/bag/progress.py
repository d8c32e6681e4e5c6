"""How far along a long piece of work is: the protocol that a display fills in."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Hears of work done. ``expect`` may come late, or never; sizes in bytes."""

    def expect(self, size_bytes: int, files: int) -> None:
        """How much there will be, as far as is known."""

    def done(self, size_bytes: int, files: int) -> None:
        """So much more is finished."""

    def within(self, size_bytes: int) -> None:
        """So much more of files that are not finished yet."""

    def clear(self) -> None:
        """Nothing more will come: take away what was shown."""


class Silent:
    """Shows nothing."""

    def expect(self, size_bytes: int, files: int) -> None:
        """Nothing to show."""

    def done(self, size_bytes: int, files: int) -> None:
        """Nothing to show."""

    def within(self, size_bytes: int) -> None:
        """Nothing to show."""

    def clear(self) -> None:
        """Nothing was shown."""
