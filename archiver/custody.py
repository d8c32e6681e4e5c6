"""Chains of custody: what happened to a thing, each event bound to the one before it.

Job: events as frozen values, as lines, as a chain that is checked. Limits: no files are
opened here; who appends to a log holds its lock.

One canonical JSON object a line (keys sorted, UTF-8, no white space). ``prev`` is the
SHA-256 of the line before, with its line end; the first has zeros. Event types are
PREMIS 3's. Anybody can check a chain with a shell and ``sha256sum`` (docs/custody.md).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from archiver import __version__
from archiver.errors import FormatError
from archiver.i18n import N_

__all__ = [
    "CUSTODY_PATH",
    "EVENT_TYPES",
    "GENESIS",
    "MAX_EVENT_BYTES",
    "Event",
    "Link",
    "TreeHash",
    "chain_lines",
    "chain_links",
    "line_digest",
    "parse_event",
    "read_chain",
    "tree_hash",
]

CUSTODY_PATH = "metadata/custody.jsonl"
"""Where a bag's own chain lies: from its beginning to just before it is signed."""
SCHEMA = "archiver/event/1"
GENESIS = "0" * 64
MAX_EVENT_BYTES = 1 << 20
EVENT_TYPES = frozenset(
    {
        "capture",
        "ingestion",
        "ingestion start",
        "ingestion end",
        "message digest calculation",
        "fixity check",
        "replication",
        "validation",
        "digital signature generation",
        "digital signature validation",
        "format identification",
        "metadata extraction",
        "virus check",
        "dissemination",
        "deletion",
        "modification",
        "quality review",
        "quarantine",
        "recovery",
    }
)
"""Those of PREMIS 3's vocabulary that are used."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEYS = {"agent", "at", "detail", "outcome", "prev", "schema", "seq", "type"}
OUTCOMES = ("success", "failure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened: ``at`` is aware and by the clock of who wrote it, which nobody proves.

    ``detail`` holds what the type calls for: texts, whole numbers, lists and tables of them.
    """

    type: str
    at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = "success"
    agent: str = f"archiver {__version__}"

    def __post_init__(self) -> None:
        if self.type not in EVENT_TYPES or self.outcome not in OUTCOMES:
            raise ValueError(f"no such event: {self.type}, {self.outcome}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An event in its chain: its number from 1 on, the digest of the line before it."""

    seq: int
    prev: str
    event: Event

    def line(self) -> bytes:
        """The canonical line, with its end."""
        event = self.event
        record = {
            "agent": event.agent,
            "at": _text_of(event.at),
            "detail": event.detail,
            "outcome": event.outcome,
            "prev": self.prev,
            "schema": SCHEMA,
            "seq": self.seq,
            "type": event.type,
        }
        return _canonical(record)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _canonical(record: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(record).encode("utf-8") + b"\n"


def _text_of(at: datetime) -> str:
    return f"{at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"


def line_digest(line: bytes) -> str:
    """What the next line calls ``prev``."""
    return hashlib.sha256(line).hexdigest()


def chain_links(
    events: Iterable[Event], *, seq: int = 0, prev: str = GENESIS
) -> Iterator[tuple[Link, bytes]]:
    """A chain, or its continuation after ``seq`` and ``prev``: each link with its line."""
    for event in events:
        seq += 1
        link = Link(seq=seq, prev=prev, event=event)
        line = link.line()
        prev = line_digest(line)
        yield link, line


def chain_lines(events: Iterable[Event], *, seq: int = 0, prev: str = GENESIS) -> Iterator[bytes]:
    """The lines of a chain, or its continuation after ``seq`` and ``prev``."""
    return (line for _link, line in chain_links(events, seq=seq, prev=prev))


def parse_event(line: bytes) -> Link:
    """One line, with its end. Raises FormatError where it isn't canonical to the byte."""
    if len(line) > MAX_EVENT_BYTES:
        raise FormatError(N_("the event is too long"))
    try:
        record = json.loads(line.decode("utf-8"))
        if not isinstance(record, dict) or set(record) != _KEYS or record["schema"] != SCHEMA:
            raise ValueError
        if type(record["seq"]) is not int or not _DIGEST.fullmatch(record["prev"]):
            raise ValueError
        if not _TIME.fullmatch(record["at"]) or not isinstance(record["detail"], dict):
            raise ValueError
        if not isinstance(record["agent"], str):
            raise TypeError
        at = datetime.fromisoformat(record["at"])
        event = Event(
            type=record["type"],
            at=at,
            detail=record["detail"],
            outcome=record["outcome"],
            agent=record["agent"],
        )
        link = Link(seq=record["seq"], prev=record["prev"], event=event)
        if link.line() != line:
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FormatError(N_("the line is not an event in its canonical form")) from error
    return link


def read_chain(lines: Iterable[bytes]) -> Iterator[Link]:
    """The links of a whole chain. Raises FormatError at the first that doesn't follow from
    the one before it: then nothing behind it is to be believed.
    """
    seq, prev = 0, GENESIS
    for line in lines:
        link = parse_event(line)
        if link.seq != seq + 1 or link.prev != prev:
            raise FormatError(N_("the event does not follow from the one before it"))
        seq, prev = link.seq, line_digest(line)
        yield link


class TreeHash:
    """The Merkle tree hash over lines (RFC 9162 §2.1.1), as they come, in logarithmic memory."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, bytes]] = []

    def add(self, line: bytes) -> None:
        """One line more, with its end."""
        size, node = 1, hashlib.sha256(b"\0" + line).digest()
        while self._stack and self._stack[-1][0] == size:
            left = self._stack.pop()[1]
            size, node = 2 * size, hashlib.sha256(b"\1" + left + node).digest()
        self._stack.append((size, node))

    def hexdigest(self) -> str:
        """One digest that stands for all lines so far."""
        if not self._stack:
            return hashlib.sha256(b"").hexdigest()
        root = self._stack[-1][1]
        for _size, left in reversed(self._stack[:-1]):
            root = hashlib.sha256(b"\1" + left + root).digest()
        return root.hex()


def tree_hash(lines: Iterable[bytes]) -> str:
    """The Merkle tree hash of all ``lines``, in hexadecimal."""
    tree = TreeHash()
    for line in lines:
        tree.add(line)
    return tree.hexdigest()
