"""Questions to a catalog. Every one ends in milliseconds, however much is kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, literal, select, tuple_, update

from archiver.catalog.model import (
    CASE,
    GOOD,
    SEALED,
    START,
    STATES,
    Check,
    Due,
    Incident,
    Item,
    Position,
    is_item_of,
    item_name,
)
from archiver.catalog.schema import BAGS, CASES, CHECKS, INCIDENTS, METADATA, REPLICAS
from archiver.catalog.sqlite import integrity_problem, told_as_ours
from archiver.errors import CatalogError
from archiver.i18n import _

__all__ = ["Queries"]

_PAGE = 500


class Queries:
    """What a catalog answers. Raises CatalogError where its file can't be used."""

    def __init__(self, path: str, connection: Connection) -> None:
        self.path = path
        self._connection = connection

    def _rows(self, question: Select[Any]) -> Sequence[Any]:
        with told_as_ours(self.path):
            read_only = self._connection.execution_options(begin="BEGIN")
            with read_only.begin():
                return read_only.execute(question).all()

    @contextlib.contextmanager
    def _sound(self) -> Iterator[None]:
        """Rows that no log gave: names of theirs would become paths."""
        try:
            yield
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise CatalogError(
                _("the catalog {path} is damaged").format(path=self.path),
                hint=_("Make it anew with 'archiver catalog rebuild': nothing is lost by that."),
            ) from error

    def position(self, case: str) -> Position:
        """How far the log of ``case`` was taken in."""
        rows = self._rows(select(CASES).where(CASES.c.name == case))
        with self._sound():
            return _position(rows[0]) if rows else START

    def positions(self) -> dict[str, Position]:
        """The same for every case that something was taken in of."""
        rows = self._rows(select(CASES))
        with self._sound():
            return {row.name: _position(row) for row in rows}

    def next_number(self, case: str) -> int:
        """The number after the last that was ever given."""
        question = select(func.max(BAGS.c.number)).where(BAGS.c.case_name == case)
        return (self._rows(question)[0][0] or 0) + 1

    def item(self, name: str) -> Item | None:
        """One item, or None."""
        found = self._items(select(BAGS).where(BAGS.c.item == name))
        return found[0] if found else None

    def with_keys(self, case: str, keys: Sequence[str]) -> dict[str, list[Item]]:
        """The items of ``case`` that were made from the same sources, by their keys."""
        found: dict[str, list[Item]] = {}
        for part in _parts(keys):
            wanted = BAGS.c.source_key.in_(part) & (BAGS.c.case_name == case)
            for item in self._items(select(BAGS).where(wanted).order_by(BAGS.c.number)):
                found.setdefault(item.key, []).append(item)
        return found

    def named(self, names: Sequence[str]) -> list[Item]:
        """Those of the items ``names`` that there are, in the order of their names."""
        return [
            item
            for part in _parts(names)
            for item in self._items(select(BAGS).where(BAGS.c.item.in_(part)).order_by(BAGS.c.item))
        ]

    def page(self, *, case: str = "", after: str = "", limit: int = _PAGE) -> list[Item]:
        """At most ``limit`` items, by case and number, behind the item ``after``."""
        question = select(BAGS).order_by(BAGS.c.case_name, BAGS.c.number).limit(limit)
        if case:
            question = question.where(BAGS.c.case_name == case)
        if after:
            last = self._rows(select(BAGS.c.case_name, BAGS.c.number).where(BAGS.c.item == after))
            if not last:
                return []
            place = tuple_(literal(last[0].case_name), literal(last[0].number))
            question = question.where(tuple_(BAGS.c.case_name, BAGS.c.number) > place)
        return self._items(question)

    def count_sealed(self, case: str) -> int:
        """How many items of ``case`` are sealed."""
        wanted = (BAGS.c.case_name == case) & (BAGS.c.state == SEALED)
        (row,) = self._rows(select(func.count().label("count")).select_from(BAGS).where(wanted))
        return int(row.count)

    def items(self, *, case: str = "", after: str = "") -> Iterator[Item]:
        """All, or those of a case, in order, page by page."""
        while page := self.page(case=case, after=after):
            yield from page
            after = page[-1].item

    def _items(self, question: Select[Any]) -> list[Item]:
        rows = self._rows(question)
        checks: dict[str, dict[str, Check]] = {row.item: {} for row in rows}
        names = list(checks)
        for begin in range(0, len(names), _PAGE):
            part = names[begin : begin + _PAGE]
            wanted = REPLICAS.c.item.in_(part) & (REPLICAS.c.checked_at > 0)
            found = self._rows(select(REPLICAS).where(wanted))
            with self._sound():
                for row in found:
                    checks[row.item][row.place] = Check(_time(row.checked_at), row.result)
        with self._sound():
            return [_item(row, checks[row.item]) for row in rows]

    def due(
        self,
        places: Collection[str],
        *,
        before: datetime,
        since: datetime | None = None,
        after: Due | None = None,
        limit: int = _PAGE,
    ) -> list[Due]:
        """At most ``limit`` copies at ``places`` whose last check is not later than
        ``before`` (and later than ``since``), those never checked first, then the oldest;
        behind ``after``.
        """
        columns = (REPLICAS.c.checked_at, REPLICAS.c.case_name, REPLICAS.c.number)
        found: list[tuple[tuple[Any, ...], str, str]] = []
        for place in sorted(places):
            question = (
                select(*columns, REPLICAS.c.item)
                .where(REPLICAS.c.place == place, columns[0] <= int(before.timestamp()))
                .order_by(*columns)
                .limit(limit)
            )
            if since is not None:
                question = question.where(columns[0] > int(since.timestamp()))
            if after is not None:
                last = tuple_(*(literal(one) for one in _order(after)))
                met = place <= after.place  # of equals, the places come in order
                question = question.where(
                    tuple_(*columns) > last if met else tuple_(*columns) >= last
                )
            found += [
                ((row.checked_at, row.case_name, row.number), place, row.item)
                for row in self._rows(question)
            ]
        with self._sound():
            chosen = sorted(found)[:limit]
        question = select(BAGS).where(BAGS.c.item.in_({one[2] for one in chosen}))
        items = {one.item: one for one in self._items(question)}
        with self._sound():
            return [
                Due(item=items[name], place=place, checked_at=_time(order[0]) if order[0] else None)
                for order, place, name in chosen
            ]

    def pending(self, place: str, *, after: str = "", limit: int = _PAGE) -> list[Item]:
        """Sealed items of which there is no copy at ``place`` yet, by name, behind ``after``."""
        there = select(REPLICAS.c.item).where(
            REPLICAS.c.place == place, REPLICAS.c.item == BAGS.c.item
        )
        question = (
            select(BAGS)
            .where(BAGS.c.state == SEALED, BAGS.c.item > after, ~there.exists())
            .order_by(BAGS.c.item)
            .limit(limit)
        )
        return self._items(question)

    def knows_place(self, place: str) -> bool:
        """Whether a copy was ever written down there."""
        question = select(REPLICAS.c.item).where(REPLICAS.c.place == place).limit(1)
        return bool(self._rows(question))

    def incidents(self, *, only_open: bool = True, told: bool | None = None) -> list[Incident]:
        """Copies that were found not to be good, by item; each once for each time. ``told``:
        only those of which somebody was told, or was not.
        """
        question = select(INCIDENTS).order_by(
            INCIDENTS.c.case_name, INCIDENTS.c.item, INCIDENTS.c.place, INCIDENTS.c.seq
        )
        if only_open:
            question = question.where(INCIDENTS.c.closed_at == 0)
        if told is not None:
            at = INCIDENTS.c.told_at
            question = question.where(at > 0 if told else at == 0)
        rows = self._rows(question)
        with self._sound():
            return [_incident(row) for row in rows]

    def mark_told(self, incidents: Sequence[Incident], now: datetime) -> None:
        """Who is to be told of these was told."""
        with told_as_ours(self.path), self._connection.begin():
            for one in incidents:
                self._connection.execute(
                    update(INCIDENTS)
                    .where(INCIDENTS.c.case_name == one.case, INCIDENTS.c.seq == one.seq)
                    .values(told_at=int(now.timestamp()))
                )

    def integrity_problem(self) -> str:
        """What the database finds wrong with its own file, or ""."""
        with told_as_ours(self.path), self._connection.begin():
            return integrity_problem(self._connection)

    def tables(self) -> list[str]:
        """The tables whose rows the logs give."""
        return [table.name for table in METADATA.sorted_tables if table.name != "versions"]

    def rows_of(self, table: str) -> Generator[tuple[object, ...]]:
        """All rows in the order of their keys; who was told of what is no log's business."""
        found = METADATA.tables[table]
        columns = [one for one in found.c if one.name != "told_at"]
        question = select(*columns).order_by(*found.primary_key.columns)
        with told_as_ours(self.path), self._connection.begin():
            stream = self._connection.execution_options(yield_per=1000)
            for row in stream.execute(question):
                yield tuple(row)

    def counts(self) -> dict[str, dict[str, Any]]:
        """For each place: how many copies by their last result ("" where never checked),
        and the oldest of the checks.
        """
        question = select(
            REPLICAS.c.place,
            REPLICAS.c.result,
            func.count().label("copies"),
            func.min(REPLICAS.c.checked_at).label("oldest"),
        ).group_by(REPLICAS.c.place, REPLICAS.c.result)
        found: dict[str, dict[str, Any]] = {}
        for row in self._rows(question):
            place = found.setdefault(row.place, {"results": {}, "oldest": None})
            place["results"][row.result] = row.copies
            if row.oldest and (place["oldest"] is None or _time(row.oldest) < place["oldest"]):
                place["oldest"] = _time(row.oldest)
        return found

    def totals(self) -> tuple[int, int, int]:
        """Sealed bags, their payload's files and bytes."""
        question = select(
            func.count(),
            func.coalesce(func.sum(BAGS.c.files), 0),
            func.coalesce(func.sum(BAGS.c.size_bytes), 0),
        ).where(BAGS.c.state == SEALED)
        row = self._rows(question)[0]
        return row[0], row[1], row[2]

    def good_copies(self, disks: Mapping[str, str]) -> dict[int, int]:
        """How many sealed bags have good copies on so many disks; ``disks`` are those of the
        places. The vault's own copy was read back when it was sealed, and is good until a
        check finds it otherwise.
        """
        if not disks:
            return {0: bags} if (bags := self.totals()[0]) else {}
        disk = case(dict(disks), value=REPLICAS.c.place)
        good = (REPLICAS.c.item == BAGS.c.item) & REPLICAS.c.result.in_((GOOD, ""))
        each = (
            select(func.count(disk.distinct()).label("copies"))
            .select_from(BAGS.outerjoin(REPLICAS, good & REPLICAS.c.place.in_(list(disks))))
            .where(BAGS.c.state == SEALED)
            .group_by(BAGS.c.item)
            .subquery()
        )
        question = select(each.c.copies, func.count()).group_by(each.c.copies)
        return {row[0]: row[1] for row in self._rows(question)}

    def overdue(self, places: Collection[str], before: datetime, now: datetime) -> int:
        """How many copies at ``places`` were not read since ``before``: checked, or read back
        when they were made. A check that is dated after ``now`` counts for nothing.
        """
        limit, latest = int(before.timestamp()), int(now.timestamp())
        read_at = case((REPLICAS.c.checked_at == 0, BAGS.c.since), else_=REPLICAS.c.checked_at)
        question = (
            select(func.count())
            .select_from(REPLICAS.join(BAGS, BAGS.c.item == REPLICAS.c.item))
            .where(REPLICAS.c.place.in_(list(places)))
            .where((read_at <= limit) | (read_at > latest))
        )
        return int(self._rows(question)[0][0])

    def history(self, item: str) -> list[tuple[str, Check, str]]:
        """Every check of an item: the place, when and what was found, the codes."""
        question = select(CHECKS).where(CHECKS.c.item == item).order_by(CHECKS.c.seq)
        rows = self._rows(question)
        with self._sound():
            return [
                (row.place, Check(_time(row.checked_at), row.result), row.codes) for row in rows
            ]


def _order(due: Due) -> tuple[int, str, int]:
    at = int(due.checked_at.timestamp()) if due.checked_at else 0
    return at, due.item.case, due.item.number


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many as one question takes."""
    return (values[begin : begin + _PAGE] for begin in range(0, len(values), _PAGE))


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _position(row: Any) -> Position:
    if not CASE.fullmatch(row.name):
        raise ValueError(row.name)
    return Position(lines=row.lines, size=row.size, tail=row.tail, head=row.head)


def _item(row: Any, checks: dict[str, Check]) -> Item:
    detail = json.loads(row.detail)
    if not is_item_of(row.case_name, row.item) or not isinstance(detail, dict):
        raise ValueError(row.item)
    if row.item != item_name(row.case_name, row.number) or row.state not in STATES:
        raise ValueError(row.item)
    return Item(
        case=row.case_name,
        item=row.item,
        number=row.number,
        key=row.source_key,
        state=row.state,
        since=_time(row.since),
        size_bytes=row.size_bytes,
        files=row.files,
        detail=detail,
        checks=checks,
    )


def _incident(row: Any) -> Incident:
    if not is_item_of(row.case_name, row.item):
        raise ValueError(row.item)
    return Incident(
        case=row.case_name,
        item=row.item,
        place=row.place,
        seq=row.seq,
        opened_at=_time(row.opened_at),
        result=row.result,
        codes=row.codes,
        closed_at=_time(row.closed_at) if row.closed_at else None,
        explained=bool(row.explained),
    )
