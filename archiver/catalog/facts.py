"""What a custody log's events mean for the catalog.

Job: one event in, one fact out. Limits: keeps no state, opens nothing. A log may come from
a stranger: what becomes a path or a row is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archiver.catalog.model import MAX_NUMBER, REFUSED, SEALED, is_item_of, item_name
from archiver.custody import Event, Link
from archiver.errors import FormatError
from archiver.i18n import N_

__all__ = ["Allotted", "Ended", "Explained", "Fact", "FactError", "Read", "fact_of"]

_READ_EVENTS = ("fixity check", "replication", "recovery")
"""After each of these a copy has just been read."""
RESULTS = ("good", "damaged", "missing", "undecided")


class FactError(FormatError):
    """The event ``seq`` of a log doesn't say what it must, or what can't be."""

    def __init__(self, seq: int, message: str) -> None:
        super().__init__(message)
        self.seq = seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotted:
    """A number was given: the item is begun."""

    item: str
    number: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An ingestion ended: the item is sealed or refused."""

    item: str
    state: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A copy was read: ``codes`` are those of what was found."""

    item: str
    place: str
    kind: str
    result: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Somebody said why a copy is not good, and that it is to stay so."""

    item: str
    place: str


Fact = Allotted | Ended | Read | Explained


def fact_of(case: str, link: Link) -> Fact | None:
    """The fact in an event of ``case``'s log; None where the catalog keeps none of it.

    Raises FormatError where the event lacks what its type calls for, or tells of another
    case's item.
    """
    event, detail = link.event, link.event.detail
    if event.type == "ingestion start":
        return _allotted(case, event)
    if event.type == "ingestion end":
        state = SEALED if event.outcome == "success" else REFUSED
        return Ended(item=_item(case, detail), state=state, detail=dict(detail))
    if event.type in _READ_EVENTS and "result" in detail:
        return _read(case, event)
    if event.type == "quality review" and "explained" in detail:
        return Explained(item=_item(case, detail), place=_place(detail))
    return None


def _allotted(case: str, event: Event) -> Allotted:
    number = event.detail.get("number")
    if type(number) is not int or not 0 < number <= MAX_NUMBER:
        raise FormatError(N_("the item has no number"))
    item = _text(event.detail, "item")
    if item != item_name(case, number):
        raise FormatError(N_("the item's name is not that of its number"))
    return Allotted(item=item, number=number, key=_text(event.detail, "key"))


def _read(case: str, event: Event) -> Read:
    result, codes = _text(event.detail, "result"), event.detail.get("codes", [])
    if result not in RESULTS:
        raise FormatError(N_("a check's result is none that there is"))
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise FormatError(N_("the event lacks what its type calls for"))
    return Read(
        item=_item(case, event.detail),
        place=_place(event.detail),
        kind=event.type,
        result=result,
        codes=tuple(codes),
    )


def _item(case: str, detail: Mapping[str, Any]) -> str:
    """A name from a log becomes a path, and must be one of this very case."""
    item = _text(detail, "item")
    if not is_item_of(case, item):
        raise FormatError(N_("the item is none of this case"))
    return item


def _place(detail: Mapping[str, Any]) -> str:
    return _text(detail, "replica") if "replica" in detail else ""


def _text(detail: Mapping[str, Any], key: str) -> str:
    value = detail.get(key)
    if not isinstance(value, str):
        raise FormatError(N_("the event lacks what its type calls for"))
    return value
