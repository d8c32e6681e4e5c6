"""A case's log: numbers without gaps, and what happened to each item, in a hash chain.

Job: read, check, append crash-safe, say what became of each item. Limits: who appends
holds the vault's lock; bags are made elsewhere.

A line is written whole and synced before anything counts on it. A line that a crash has
torn is recognised: it is set aside beside the log, and the next event says so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archiver.custody import GENESIS, Event, Link, chain_lines, line_digest, parse_event
from archiver.errors import FormatError, LogError, storage_error
from archiver.filesystem import sync_directory, write_new_file
from archiver.i18n import N_, _

__all__ = ["BEGUN", "REFUSED", "SEALED", "Check", "Item", "Register", "read_register"]

BEGUN, SEALED, REFUSED = "begun", "sealed", "refused"
_READ_EVENTS = ("fixity check", "replication", "recovery")
"""After each of these a copy has just been read."""


@dataclass(frozen=True, slots=True)
class Check:
    """When a copy was read last, and what was found: good, damaged, missing, undecided."""

    at: datetime
    result: str


@dataclass(slots=True, kw_only=True)
class Item:
    """One numbered item. ``detail`` is that of the event that ended its ingestion;
    ``checks`` are the last ones of each copy, by the replica's name, "" for the vault's own.
    """

    item: str
    number: int
    key: str
    state: str
    since: datetime
    detail: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)


@dataclass(slots=True)
class Register:
    """A case's log as it was read. ``torn`` are bytes behind the last whole line."""

    case: str
    path: str
    lines: int = 0
    head: str = GENESIS
    size: int = 0
    torn: bytes = b""
    items: dict[str, Item] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    def next_number(self) -> int:
        """The number after the last that was ever given."""
        return max((one.number for one in self.items.values()), default=0) + 1

    def name(self, number: int) -> str:
        """The name that a number of this case has, in the log and as a directory."""
        return f"{self.case}-E-{number:04}"

    def with_key(self, key: str) -> list[Item]:
        """The items that were made from the same source."""
        return [one for one in self.items.values() if one.key == key]

    def append(self, events: Sequence[Event]) -> None:
        """Add events, whole and durable, or not at all. Raises StorageError."""
        try:
            if self.torn:
                events = [self._set_aside(events[0].at), *events]
            data = b"".join(chain_lines(events, seq=self.lines, prev=self.head))
            new = not os.path.exists(self.path)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                _write_at(descriptor, data, self.size)
            finally:
                os.close(descriptor)
            if new:
                sync_directory(os.path.dirname(self.path))
        except OSError as error:
            raise storage_error(error, self.path) from error
        for line in data.splitlines(keepends=True):
            self._take(parse_event(line), line)

    def _set_aside(self, at: datetime) -> Event:
        """Keep what a crash has left behind the last whole line, and tell of it."""
        digest = hashlib.sha256(self.torn).hexdigest()
        place = f"{self.path}.torn-{digest[:16]}"
        if not os.path.exists(place):
            write_new_file(place, self.torn, 0o600)
        os.truncate(self.path, self.size)
        detail = {"set_aside": os.path.basename(place), "sha256": digest, "size": len(self.torn)}
        self.torn = b""
        return Event(type="modification", at=at, detail=detail)

    def _take(self, link: Link, line: bytes) -> None:
        self.lines, self.head = link.seq, line_digest(line)
        self.size += len(line)
        self.links.append(link)
        event, detail = link.event, link.event.detail
        if event.type == "ingestion start":
            name = detail["item"]
            number = detail["number"]
            # A name from a log becomes a path: it must be the one that a number has.
            if type(number) is not int or name != self.name(number):
                raise FormatError(N_("the item's name is not that of its number"))
            if name in self.items:
                return  # the same number is taken up again after a crash
            self.items[name] = Item(
                item=name,
                number=number,
                key=detail["key"],
                state=BEGUN,
                since=event.at,
            )
        elif event.type == "ingestion end":
            item = self.items[detail["item"]]
            item.state = SEALED if event.outcome == "success" else REFUSED
            item.since, item.detail = event.at, dict(detail)
        elif event.type in _READ_EVENTS and detail.get("item") in self.items:
            copy = str(detail.get("replica", ""))
            self.items[detail["item"]].checks[copy] = Check(event.at, str(detail["result"]))


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` there and sync it; what could not be written whole is taken back."""
    try:
        view, position = memoryview(data), offset
        while view:
            count = os.pwrite(descriptor, view, position)
            view, position = view[count:], position + count
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, offset)
        raise


def read_register(case: str, path: str) -> Register:
    """Read and check a case's whole log. Raises LogError where its chain is broken."""
    register = Register(case, path)
    try:
        for line in _lines(path):
            if not line.endswith(b"\n"):
                register.torn = line
                break
            link = parse_event(line)
            if link.seq != register.lines + 1 or link.prev != register.head:
                raise FormatError(_("the event does not follow from the one before it"))
            register._take(link, line)
    except (FormatError, KeyError, TypeError) as error:
        reason = error.message if isinstance(error, FormatError) else str(error)
        raise LogError(
            _("{path} is broken at line {line}: {reason}").format(
                path=path, line=register.lines + 1, reason=_(reason)
            ),
            hint=_("Compare it with a copy: nothing is written to a broken log."),
        ) from error
    except OSError as error:
        raise storage_error(error, path) from error
    return register


def _lines(path: str) -> Iterator[bytes]:
    """Lines with their ends; the last may lack it."""
    try:
        with open(path, "rb") as file:
            yield from file
    except FileNotFoundError:
        return
