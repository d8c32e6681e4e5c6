"""What a custody log's events mean for the catalog.

Job: one event in, one fact out. Limits: keeps no state, opens nothing. A log may come from
a stranger: what becomes a path or a row is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archiver.catalog.model import MAX_NUMBER, REFUSED, SEALED, is_item_of, item_name
from archiver.custody import Event, Link
from archiver.describe import DESCRIPTION_PATH, KINDS
from archiver.describe.amendment import MAX_AMENDMENTS, SEALED_ENDING, record_name
from archiver.describe.fields import PURPOSES
from archiver.errors import FormatError
from archiver.i18n import N_

__all__ = [
    "Allotted",
    "Amended",
    "Described",
    "Ended",
    "Explained",
    "Fact",
    "FactError",
    "Read",
    "Withdrawn",
    "fact_of",
]

_READ_EVENTS = ("fixity check", "replication", "recovery")
"""After each of these a copy has just been read."""
RESULTS = ("good", "damaged", "missing", "undecided")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of a witness; it stands in clear."""
_LACKS = N_("the event lacks what its type calls for")


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
class Described:
    """The description that a bag was sealed with: the digest of its file, which is ``secret``
    where it is encrypted. ``code`` is a witness's, or "".
    """

    kind: str
    sha256: str
    secret: bool
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An ingestion ended: the item is sealed or refused."""

    item: str
    state: str
    detail: dict[str, Any]
    described: Described | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """An amendment was written: the digests of its record and of the signature, if there is
    one. ``secret``: it is encrypted.
    """

    item: str
    number: int
    kind: str
    sha256: str
    signature: str
    secret: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A witness's consent no longer holds for these purposes, or for "all"."""

    item: str
    scope: tuple[str, ...]


Fact = Allotted | Ended | Read | Explained | Amended | Withdrawn


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
        return Ended(
            item=_item(case, detail),
            state=state,
            detail=dict(detail),
            described=_described(detail) if state == SEALED else None,
        )
    if event.type in _READ_EVENTS and "result" in detail:
        return _read(case, event)
    if event.type == "quality review" and "explained" in detail:
        return Explained(item=_item(case, detail), place=_place(detail))
    if event.type == "modification" and "amendment" in detail:
        return _amended(case, detail)
    if event.type == "modification" and "consent" in detail:
        return _withdrawn(case, detail)
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
        raise FormatError(_LACKS)
    return Read(
        item=_item(case, event.detail),
        place=_place(event.detail),
        kind=event.type,
        result=result,
        codes=tuple(codes),
    )


def _described(detail: Mapping[str, Any]) -> Described | None:
    if "description" not in detail:
        return None
    told = detail["description"]
    if not isinstance(told, dict):
        raise FormatError(_LACKS)
    path, code = _text(told, "path"), told.get("code", "")
    if path not in (DESCRIPTION_PATH, DESCRIPTION_PATH + SEALED_ENDING):
        raise FormatError(N_("a description lies where none can be"))
    if not isinstance(code, str) or (code and not _CODE.fullmatch(code)):
        raise FormatError(N_("a witness's code can't be"))
    return Described(
        kind=_kind(told),
        sha256=_digest(told, "sha256"),
        secret=path.endswith(SEALED_ENDING),
        code=code,
    )


def _amended(case: str, detail: Mapping[str, Any]) -> Amended:
    number, path = detail["amendment"], _text(detail, "path")
    if type(number) is not int or not 0 < number <= MAX_AMENDMENTS:
        raise FormatError(N_("the amendment's number can't be"))
    secret = path.endswith(SEALED_ENDING)
    if path != record_name(number, sealed=secret):
        raise FormatError(N_("an amendment lies where none can be"))
    return Amended(
        item=_item(case, detail),
        number=number,
        kind=_kind(detail),
        sha256=_digest(detail, "sha256"),
        signature=_digest(detail, "signature") if "signature" in detail else "",
        secret=secret,
    )


def _withdrawn(case: str, detail: Mapping[str, Any]) -> Withdrawn:
    scope = detail.get("scope")
    if detail["consent"] != "withdrawn" or not isinstance(scope, list) or not scope:
        raise FormatError(_LACKS)
    if scope != ["all"] and not all(one in PURPOSES for one in scope):
        raise FormatError(N_("consent is withdrawn for a purpose that there is not"))
    return Withdrawn(item=_item(case, detail), scope=tuple(scope))


def _kind(detail: Mapping[str, Any]) -> str:
    kind = _text(detail, "kind")
    if kind not in KINDS:
        raise FormatError(N_("there is no such kind of item"))
    return kind


def _digest(detail: Mapping[str, Any], key: str) -> str:
    digest = _text(detail, key)
    if not _DIGEST.fullmatch(digest):
        raise FormatError(_LACKS)
    return digest


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
        raise FormatError(_LACKS)
    return value
