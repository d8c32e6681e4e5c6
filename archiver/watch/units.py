"""What becomes one bag, put together from rows of the journal.

Job: units, their keys, what the journal knows of a finished one. Limits: reads files only to
compare them with what is archived already.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from archiver.watch.journal import Journal, Row, split
from archiver.watch.model import Done, Member, Unit
from archiver.watch.settle import open_file

__all__ = ["Lot", "digest_of", "lot_of"]

FOLDER_DESCRIPTION = b"description.toml"
"""What describes a folder that is one unit: it lies in the folder itself."""
_PORTION = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """A unit with its rows: the members in their order, then the description, if any."""

    unit: Unit
    members: tuple[Row, ...]
    description: tuple[Row, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """All of them."""
        return self.members + self.description

    def digests(self, digests: Sequence[str], described: str = "") -> list[str]:
        """One for each row; ``described`` is that of the description."""
        return [*digests, *[described] * len(self.description)]

    def done(self) -> Done:
        """What the journal knows of it once it is archived."""
        first = self.members[0]
        return Done(
            unit=self.unit,
            item=first.item,
            bag=first.bag,
            digests=tuple(row.digest for row in self.members),
            tag_manifest_sha512=first.seal,
        )

    def after(self, item: str) -> Lot:
        """The same as the version that follows ``item``, told apart from that by its key."""
        key = hashlib.sha256(f"{self.unit.key} {item}".encode()).hexdigest()
        return replace(self, unit=replace(self.unit, key=key, follows=item))


def lot_of(root: str, group: bytes, rows: Sequence[Row]) -> Lot | None:
    """The unit ``group``; None where its file isn't among the rows. Its key is a digest of
    the root, and of the paths, sizes and mtimes of members and description.
    """
    if group.endswith(b"/"):
        described = tuple(row for row in rows if row.path == group + FOLDER_DESCRIPTION)
        if len(described) == len(rows):  # it alone is what there is
            described = ()
    else:
        described = tuple(row for row in rows if row.path != group)
    members = tuple(row for row in rows if row not in described)
    if not members:
        return None
    told = hashlib.sha256(os.fsencode(os.path.abspath(root)))
    for row in members + described:
        known = row.fingerprint
        told.update(b"\0%b\0%d %d" % (row.path, known.size_bytes, known.mtime_ns))
    unit = Unit(
        root=os.fsencode(os.path.abspath(root)),
        members=tuple(Member(path=row.path, fingerprint=row.fingerprint) for row in members),
        key=told.hexdigest(),
        description=described[0].path if described else b"",
        follows=next((row.follows for row in members if row.follows), ""),
    )
    return Lot(unit=unit, members=members, description=described)


def told_apart(journal: Journal, lot: Lot) -> Lot:
    """Where a former version has the same key (its mtime was put back), another key."""
    if not lot.unit.follows:
        return lot
    former = {row.key for member in lot.members for row in journal.history(member.path)}
    return lot.after(lot.unit.follows) if lot.unit.key in former else lot


def digest_of(root: int, path: bytes, beat: Callable[[], None] = lambda: None) -> str:
    """The sha512 of a file below ``root``; ``beat`` hears of each portion. Raises OSError."""
    descriptor, _found = open_file(root, *split(path))
    try:
        return digest_of_descriptor(descriptor, beat)
    finally:
        os.close(descriptor)


def digest_of_descriptor(descriptor: int, beat: Callable[[], None] = lambda: None) -> str:
    """The sha512 of what is open there, from its beginning. Raises OSError."""
    digest, at = hashlib.sha512(), 0
    while data := os.pread(descriptor, _PORTION, at):
        digest.update(data)
        at += len(data)
        beat()
    return digest.hexdigest()
