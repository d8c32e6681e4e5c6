"""What a catalog answers with: items, their copies, what is due, what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = [
    "BEGUN",
    "CASE",
    "GOOD",
    "REFUSED",
    "SEALED",
    "START",
    "Amended",
    "Check",
    "Described",
    "Due",
    "Incident",
    "Item",
    "Position",
    "Withdrawal",
    "is_item_of",
    "item_name",
]

CASE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
"""Names of cases: safe as file names everywhere."""
MAX_NUMBER = 999_999_999
BEGUN, SEALED, REFUSED = "begun", "sealed", "refused"
STATES = (BEGUN, SEALED, REFUSED)
GOOD = "good"


def item_name(case: str, number: int) -> str:
    """The name that a number of a case has, in the log and as a directory."""
    return f"{case}-E-{number:04}"


def is_item(text: str) -> bool:
    """Whether it can be the name of an item: of a text that can't, nobody knows what it says."""
    return is_item_of(text.rpartition("-E-")[0], text)


def is_item_of(case: str, item: str) -> bool:
    """Whether ``item`` is a name that a number of ``case`` can have: it becomes a path."""
    head, _separator, digits = item.rpartition("-E-")
    if head != case or not CASE.fullmatch(case) or not re.fullmatch(r"[0-9]{4,9}", digits):
        return False
    return int(digits) > 0 and item_name(case, int(digits)) == item


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a case's log was read: ``lines`` of together ``size`` bytes, ``head`` is the
    digest of the last of them, which is ``tail`` bytes long.
    """

    lines: int
    size: int
    tail: int
    head: str


START = Position(lines=0, size=0, tail=0, head="0" * 64)
"""Before the first line (its ``prev`` is this head)."""


@dataclass(frozen=True, slots=True)
class Check:
    """When a copy was read last, and what was found: good, damaged, missing, undecided."""

    at: datetime
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One numbered item. ``detail`` is that of the event that ended its ingestion, as it
    stands there; ``size_bytes`` and ``files`` are those of its payload. ``checks`` are the
    last ones of each copy, by the replica's name, "" for the vault's own.
    """

    case: str
    item: str
    number: int
    key: str
    state: str
    since: datetime
    size_bytes: int = 0
    files: int = 0
    detail: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)

    @property
    def description(self) -> Mapping[str, Any]:
        """What the log tells of the description that it was sealed with: ``kind``, ``path``,
        ``sha256``; empty where there was none.
        """
        told = self.detail.get("description")
        return told if isinstance(told, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A copy to check: ``checked_at`` is None where it never was."""

    item: Item
    place: str
    checked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A copy that was not good when it was read: from when on, what it was last, and when
    a check found it good again, or somebody explained it (None: it is open). ``explained``:
    it is not good still, and that is known.
    """

    case: str
    item: str
    place: str
    seq: int
    opened_at: datetime
    result: str
    codes: str = ""
    closed_at: datetime | None = None
    explained: bool = False

    def __str__(self) -> str:
        return f"{self.item} ({self.place})" if self.place else self.item


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """How an item is described, as its log tells it: ``sha256`` is that of the description in
    the bag, "" where it has none; ``last_sha256`` that of the last record. ``secret``: its
    records are encrypted, at least the last. ``seq``: the line that changed it last.
    """

    case: str
    item: str
    seq: int
    kind: str
    secret: bool
    code: str
    sha256: str
    amendments: int
    last_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """One amendment, as the log tells it; ``signature`` is the digest of its file, or ""."""

    case: str
    item: str
    number: int
    seq: int
    at: datetime
    secret: bool
    sha256: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Consent that was withdrawn: for which purposes, or for "all"."""

    item: str
    at: datetime
    scope: tuple[str, ...]
