"""A batch of events becomes rows.

Job: what the tables hold after some events more. Limits: no database; who calls brings the
rows that are there and writes those that come out, in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archiver.catalog.facts import (
    Allotted,
    Amended,
    Ended,
    Explained,
    Fact,
    FactError,
    Read,
    Withdrawn,
    fact_of,
)
from archiver.catalog.model import BEGUN, GOOD, SEALED
from archiver.custody import Link
from archiver.errors import FormatError
from archiver.i18n import N_

__all__ = ["Batch", "Rows", "read_facts"]

Row = dict[str, Any]
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)
_MAX_COUNT = (1 << 63) - 1


def read_facts(case: str, links: Iterable[Link]) -> list[tuple[Link, Fact]]:
    """The events that the catalog keeps something of. Raises FactError."""
    found = []
    for link in links:
        try:
            fact = fact_of(case, link)
        except FormatError as error:
            raise FactError(link.seq, error.message) from error
        if fact is not None:
            found.append((link, fact))
    return found


@dataclass(slots=True)
class Rows:
    """Rows to be written, by their keys; later ones replace earlier ones."""

    bags: dict[str, Row] = field(default_factory=dict)
    replicas: dict[tuple[str, str], Row] = field(default_factory=dict)
    checks: list[Row] = field(default_factory=list)
    incidents: dict[int, Row] = field(default_factory=dict)
    descriptions: dict[str, Row] = field(default_factory=dict)
    amendments: list[Row] = field(default_factory=list)
    withdrawals: list[Row] = field(default_factory=list)


class Batch:
    """Folds facts of one case. ``bags`` are the rows of the items that they name, as far as
    there are, ``incidents`` those of these that are open, or explained and last,
    ``descriptions`` what is known of how they are described.
    """

    def __init__(
        self,
        case: str,
        bags: Mapping[str, Row],
        incidents: Sequence[Mapping[str, Any]],
        descriptions: Mapping[str, Row],
    ) -> None:
        self._case, self._known = case, dict(bags)
        self._described = dict(descriptions)
        self._lasting = {(one["item"], one["place"]): dict(one) for one in incidents}
        self.rows = Rows()

    def take(self, link: Link, fact: Fact) -> None:
        """One fact more. Raises FactError where it doesn't fit to what is there."""
        if isinstance(fact, Allotted):
            self._allot(link, fact)
        elif fact.item not in self._known:
            if isinstance(fact, Ended):
                raise FactError(link.seq, N_("an ingestion ends that never began"))
            if isinstance(fact, Amended):
                raise FactError(link.seq, N_("an item is amended that was never sealed"))
        elif isinstance(fact, Ended):
            self._end(link, fact)
        elif isinstance(fact, Explained):
            self._explain(link, fact)
        elif isinstance(fact, Amended):
            self._amend(link, fact)
        elif isinstance(fact, Withdrawn):
            self._withdraw(link, fact)
        else:
            self._read(link, fact)

    def _allot(self, link: Link, fact: Allotted) -> None:
        known = self._known.get(fact.item)
        if known is not None:
            if (known["state"], known["source_key"]) == (BEGUN, fact.key):
                return  # the same number is taken up again after a crash
            raise FactError(link.seq, N_("a number is given twice"))
        row = {
            "item": fact.item,
            "case_name": self._case,
            "number": fact.number,
            "source_key": fact.key,
            "state": BEGUN,
            "since": _seconds(link.event.at),
            "size_bytes": 0,
            "files": 0,
            "detail": "{}",
        }
        self._known[fact.item] = self.rows.bags[fact.item] = row

    def _end(self, link: Link, fact: Ended) -> None:
        row = dict(self._known[fact.item])
        if row["state"] != BEGUN:  # else anybody could have another bag count as the item
            raise FactError(link.seq, N_("an ingestion ends that had ended"))
        row.update(
            state=fact.state,
            since=_seconds(link.event.at),
            size_bytes=_count(fact.detail.get("payload_bytes")),
            files=_count(fact.detail.get("payload_files")),
            detail=_ENCODER.encode(fact.detail),
        )
        self._known[fact.item] = self.rows.bags[fact.item] = row
        if fact.state == SEALED:
            self.rows.replicas[fact.item, ""] = self._copy(fact.item, "", 0, "")
        told = fact.described
        if told is not None:
            self._describe(link, fact.item, told.kind, told.secret, told.code, told.sha256)

    def _describe(
        self, link: Link, item: str, kind: str, secret: bool, code: str = "", sha256: str = ""
    ) -> Row:
        row = {
            "item": item,
            "case_name": self._case,
            "seq": link.seq,
            "kind": kind,
            "secret": int(secret),
            "code": code,
            "sha256": sha256,
            "amendments": 0,
            "last_sha256": sha256,
        }
        self._described[item] = self.rows.descriptions[item] = row
        return row

    def _amend(self, link: Link, fact: Amended) -> None:
        if self._known[fact.item]["state"] != SEALED:
            raise FactError(link.seq, N_("an item is amended that was never sealed"))
        row = self._described.get(fact.item)
        if row is None:
            row = self._describe(link, fact.item, fact.kind, fact.secret)
        if fact.number != row["amendments"] + 1:
            raise FactError(link.seq, N_("an amendment's number is not the next one"))
        if fact.kind != row["kind"]:
            raise FactError(link.seq, N_("an item's kind is said once"))
        if row["secret"] and not fact.secret:
            raise FactError(link.seq, N_("an amendment of a secret item stands in clear"))
        row = row | {
            "seq": link.seq,
            "secret": int(fact.secret),
            "amendments": fact.number,
            "last_sha256": fact.sha256,
        }
        self._described[fact.item] = self.rows.descriptions[fact.item] = row
        self.rows.amendments.append(
            {
                "item": fact.item,
                "number": fact.number,
                "case_name": self._case,
                "seq": link.seq,
                "at": _seconds(link.event.at),
                "secret": int(fact.secret),
                "sha256": fact.sha256,
                "signature": fact.signature,
            }
        )

    def _withdraw(self, link: Link, fact: Withdrawn) -> None:
        self.rows.withdrawals.append(
            {
                "case_name": self._case,
                "seq": link.seq,
                "item": fact.item,
                "at": _seconds(link.event.at),
                "scope": " ".join(fact.scope),
            }
        )

    def _copy(self, item: str, place: str, at: int, result: str) -> Row:
        return {
            "item": item,
            "place": place,
            "case_name": self._case,
            "number": self._known[item]["number"],
            "checked_at": at,
            "result": result,
        }

    def _read(self, link: Link, fact: Read) -> None:
        at, key = _seconds(link.event.at), (fact.item, fact.place)
        self.rows.replicas[key] = self._copy(*key, at, fact.result)
        self.rows.checks.append(
            {
                "case_name": self._case,
                "seq": link.seq,
                "item": fact.item,
                "place": fact.place,
                "kind": fact.kind,
                "checked_at": at,
                "result": fact.result,
                "codes": " ".join(fact.codes),
            }
        )
        if fact.result == GOOD:
            self._close(key, at)
        else:
            self._open_or_keep(link, fact)

    def _close(self, key: tuple[str, str], at: int) -> None:
        """It is good again: no explanation holds any longer."""
        found = self._lasting.pop(key, None)
        if found is not None:
            self._note(found | {"closed_at": found["closed_at"] or at, "explained": 0})

    def _open_or_keep(self, link: Link, fact: Read) -> None:
        key = (fact.item, fact.place)
        found = self._lasting.get(key)
        if found is not None and found["explained"]:
            if (found["result"], found["codes"]) == (fact.result, " ".join(fact.codes)):
                return  # this is what was explained
            self._note(found | {"explained": 0})
            found = None
        if found is None:
            found = {
                "case_name": self._case,
                "seq": link.seq,
                "item": fact.item,
                "place": fact.place,
                "opened_at": _seconds(link.event.at),
                "closed_at": 0,
                "explained": 0,
            }
        self._lasting[key] = found | {"result": fact.result, "codes": " ".join(fact.codes)}
        self._note(self._lasting[key])

    def _explain(self, link: Link, fact: Explained) -> None:
        found = self._lasting.get((fact.item, fact.place))
        if found is not None and not found["explained"]:
            found.update(closed_at=_seconds(link.event.at), explained=1)
            self._note(found)

    def _note(self, row: Row) -> None:
        self.rows.incidents[row["seq"]] = dict(row)


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _count(value: object) -> int:
    """A size from a log, which may come from a stranger."""
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else 0
