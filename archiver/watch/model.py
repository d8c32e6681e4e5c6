"""The values that the parts of the watcher hand each other, and what a sink must do.

Job: names for what stands in the journal and what becomes a bag. Limits: does nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "MISREAD",
    "Done",
    "Failed",
    "Fingerprint",
    "Member",
    "Prepared",
    "Sink",
    "State",
    "Unit",
]


MISREAD = "misread"
"""What is told of a description that wasn't understood: no state, its file is archived."""


class State(enum.Enum):
    """Where a file stands; every file that was found is in exactly one of these."""

    SEEN = "seen"
    STABLE = "stable"
    INGESTING = "ingesting"
    ARCHIVED = "archived"
    DISPOSED = "disposed"
    SUPERSEDED = "superseded"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Of one file: what must stay the same. Times in nanoseconds since 1970."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of a unit. ``path`` is relative to the root, as the file system has it."""

    path: bytes
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What becomes one bag: one file, or all of a folder, sorted by path.

    ``root`` is absolute. ``key`` is a digest of root, member paths and fingerprints (size,
    mtime) in hexadecimal: it makes a repeat harmless. ``description`` is the path of the
    side-car NAME.toml (or FOLDER/description.toml), or empty; ``follows`` the item or bag of
    the version before it.
    """

    root: bytes
    members: tuple[Member, ...]
    key: str
    description: bytes = b""
    follows: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Staged, hashed and signed, but not yet visible.

    ``bag`` is the absolute path where it will lie, ``item`` its identifier in a vault, else
    the bag's name. ``digests`` are the sha512 of each member as it was copied, in order;
    ``described`` that of the description, "" where that isn't to go with its file; ``note``
    says what about it wasn't understood. ``secret``: it was encrypted, and no log names it.
    """

    unit: Unit
    item: str
    bag: str
    digests: tuple[str, ...]
    staged: str
    described: str = ""
    note: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """In its place, read back and verified. The rest as in :class:`Prepared`."""

    unit: Unit
    item: str
    bag: str
    digests: tuple[str, ...]
    tag_manifest_sha512: str
    described: str = ""
    note: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why a unit was not archived.

    ``kind``: "changed" (back to seen), "refused" (quarantined with the reason), "sink" (it
    can't now: everything pauses). ``reason`` is for people, without names of persons; the
    path is added by who tells it, unless it is, or may be, ``secret``.
    """

    unit: Unit
    kind: str
    reason: str
    secret: bool = False


class Sink(Protocol):
    """Where units go: a vault or a directory of bags."""

    def problem(self) -> str:
        """Why nothing can be archived now ("" where it can): full, read-only, locked, no key."""

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        """Copy, hash and sign into staging; one sync for all."""

    def commit(self, prepared: Sequence[Prepared]) -> list[Done | Failed]:
        """Rename each without replacing, one sync of the parents, verify, write the log."""

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        """Remove from staging what is not wanted any more."""

    def find(self, unit: Unit) -> Done | None:
        """What a killed run finished for this unit's key, verified; None where there is none."""

    def resume(
        self, unit: Unit, item: str, digests: Sequence[str], described: str, /
    ) -> Done | None:
        """The same where ``item`` was being made of the unit, and the sink can't tell by a key
        or by the bag what was made of which files, since they are encrypted: then ``digests``
        and ``described``, which were noted before, are those that were read.
        """

    def is_proved(self, done: Done, replicas: int) -> bool:
        """Whether the bag and so many replicas verify now: before an original goes."""

    def sweep(self) -> None:
        """Remove what killed runs left in staging."""
