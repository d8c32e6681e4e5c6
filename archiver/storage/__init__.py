"""Places where replicas of bags are kept, beside the vault itself.

Job: the :class:`Storage` protocol. Limits: knows bags by case and item only; what is
good is judged by who reads it.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Storage"]


class Storage(Protocol):
    """One place. Names are those of cases and items: safe on every file system."""

    @property
    def name(self) -> str:
        """What people call it; "" for the vault's own."""

    @property
    def location(self) -> str:
        """Where in the world it is said to be, or ""."""

    def reachable(self) -> str:
        """Why the place can't be used now; "" where it can."""

    def disk(self) -> str:
        """What tells disks apart: whoever reads two places on one hinders himself."""

    def path(self, case: str, item: str) -> str:
        """Where an item's bag lies, to be read."""

    def has(self, case: str, item: str) -> bool:
        """Whether there is something under an item's name."""

    def put(self, case: str, item: str, source: str) -> str:
        """Copy the bag at ``source`` to a hidden place, durable; where it lies. Nobody sees
        it before :meth:`commit`. Raises StorageError.
        """

    def commit(self, case: str, item: str, staged: str) -> None:
        """Let a staged copy appear, replacing nothing. Raises StorageError, DestinationError."""

    def discard(self, staged: str) -> None:
        """Remove a staged copy. Raises StorageError."""

    def log_size(self, case: str) -> int:
        """How long the place's own copy of a case's log is, in bytes; 0 where there is none."""

    def compare_log(self, case: str, source: str) -> str:
        """Whether the log at ``source`` begins like the place's own copy; what stands
        against it, or "".
        """

    def keep_file(self, name: str, source: str) -> str:
        """Have a copy of the small file at ``source`` under ``name``, a path in the place;
        what stands against it, or "". Nothing is replaced. Raises StorageError.
        """

    def file_path(self, name: str) -> str:
        """Where the small file ``name`` lies, a path in the place."""

    def set_file_aside(self, case: str, name: str, mark: str) -> str:
        """Take what lies at the path ``name`` out of the way, as it is; where it lies now, or
        "" where there is nothing. Raises StorageError.
        """

    def keep_log(self, case: str, source: str, size_bytes: int) -> str:
        """Bring the place's own copy of a case's log up to the first ``size_bytes`` of the
        one at ``source``; what stands against it, or "". A copy that isn't how that one
        begins is never touched. Raises StorageError.
        """

    def set_aside(self, case: str, item: str, mark: str) -> str:
        """Take what lies under an item's name out of the way, as it is; where it lies now."""
