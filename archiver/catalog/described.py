"""Questions to a catalog of how items are described: by digests, no word of it is here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from archiver.catalog.model import SEALED, Amended, Described, Item, Withdrawal, is_item_of
from archiver.catalog.queries import Queries
from archiver.catalog.schema import AMENDMENTS, BAGS, DESCRIPTIONS, WITHDRAWALS

__all__ = ["DescriptionQueries"]

_PAGE = 500


class DescriptionQueries(Queries):
    """What a catalog answers of descriptions, too."""

    def described(self, item: str) -> Described | None:
        """How an item is described; None where nobody has described it."""
        rows = self._rows(select(DESCRIPTIONS).where(DESCRIPTIONS.c.item == item))
        with self._sound():
            return _described(rows[0]) if rows else None

    def descriptions(self, *, case: str = "", kind: str = "") -> Iterator[Described]:
        """All, those of a case, those of a kind, by item, page by page."""
        after = ""
        while True:
            question = select(DESCRIPTIONS).where(DESCRIPTIONS.c.item > after)
            if case:
                question = question.where(DESCRIPTIONS.c.case_name == case)
            if kind:
                question = question.where(DESCRIPTIONS.c.kind == kind)
            rows = self._rows(question.order_by(DESCRIPTIONS.c.item).limit(_PAGE))
            with self._sound():
                page = [_described(row) for row in rows]
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].item

    def described_since(self, case: str, seq: int, limit: int = _PAGE) -> list[Described]:
        """At most ``limit`` items of ``case`` whose description the log has changed behind
        the line ``seq``, in the order of these lines.
        """
        question = (
            select(DESCRIPTIONS)
            .where(DESCRIPTIONS.c.case_name == case, DESCRIPTIONS.c.seq > seq)
            .order_by(DESCRIPTIONS.c.seq)
            .limit(limit)
        )
        rows = self._rows(question)
        with self._sound():
            return [_described(row) for row in rows]

    def without_description(self, *, case: str = "") -> Iterator[Item]:
        """Sealed items that nobody has described, by name, page by page."""
        after = ""
        while True:
            there = select(DESCRIPTIONS.c.item).where(DESCRIPTIONS.c.item == BAGS.c.item)
            question = select(BAGS).where(BAGS.c.state == SEALED, ~there.exists())
            if case:
                question = question.where(BAGS.c.case_name == case)
            question = question.where(BAGS.c.item > after).order_by(BAGS.c.item).limit(_PAGE)
            page = self._items(question)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].item

    def amendments(self, item: str) -> list[Amended]:
        """The amendments of an item, in their order."""
        question = select(AMENDMENTS).where(AMENDMENTS.c.item == item)
        rows = self._rows(question.order_by(AMENDMENTS.c.number))
        with self._sound():
            return [_amended(row) for row in rows]

    def amended(self, *, case: str = "") -> list[str]:
        """The items that have amendments, by name."""
        question = select(DESCRIPTIONS.c.item).where(DESCRIPTIONS.c.amendments > 0)
        if case:
            question = question.where(DESCRIPTIONS.c.case_name == case)
        return [str(row.item) for row in self._rows(question.order_by(DESCRIPTIONS.c.item))]

    def withdrawals(self, item: str) -> list[Withdrawal]:
        """When consent was withdrawn, and for what."""
        question = select(WITHDRAWALS).where(WITHDRAWALS.c.item == item)
        rows = self._rows(question.order_by(WITHDRAWALS.c.seq))
        with self._sound():
            return [
                Withdrawal(item=row.item, at=_time(row.at), scope=tuple(row.scope.split()))
                for row in rows
            ]


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _described(row: Any) -> Described:
    if not is_item_of(row.case_name, row.item):
        raise ValueError(row.item)
    return Described(
        case=row.case_name,
        item=row.item,
        seq=row.seq,
        kind=row.kind,
        secret=bool(row.secret),
        code=row.code,
        sha256=row.sha256,
        amendments=row.amendments,
        last_sha256=row.last_sha256,
    )


def _amended(row: Any) -> Amended:
    if not is_item_of(row.case_name, row.item):
        raise ValueError(row.item)
    return Amended(
        case=row.case_name,
        item=row.item,
        number=row.number,
        seq=row.seq,
        at=_time(row.at),
        secret=bool(row.secret),
        sha256=row.sha256,
        signature=row.signature,
    )
