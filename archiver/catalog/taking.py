"""Events go in: one transaction for a batch and the position behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select

from archiver.catalog.fold import Batch, Rows, read_facts
from archiver.catalog.model import Position
from archiver.catalog.schema import (
    AMENDMENTS,
    BAGS,
    CASES,
    CHECKS,
    DESCRIPTIONS,
    INCIDENTS,
    REPLICAS,
    WITHDRAWALS,
)
from archiver.catalog.sqlite import upsert
from archiver.custody import Link

__all__ = ["fold_events", "in_parts", "take_events"]

_PART = 500
"""Names in one question: SQLite's limit on parameters is far above."""
T = TypeVar("T")


def in_parts(values: Iterable[T], size: int = _PART) -> Iterator[list[T]]:
    """Lists of at most ``size``."""
    rest = iter(values)
    while part := list(islice(rest, size)):
        yield part


def fold_events(connection: Connection, case: str, links: Sequence[Link]) -> Rows:
    """The rows that ``links`` would give; writes nothing. Raises FactError."""
    facts = read_facts(case, links)
    names = sorted({fact.item for _link, fact in facts})
    batch = Batch(
        case,
        _by_item(connection, BAGS, names),
        _lasting_incidents(connection, names),
        _by_item(connection, DESCRIPTIONS, names),
    )
    for link, fact in facts:
        batch.take(link, fact)
    return batch.rows


def take_events(
    connection: Connection, case: str, links: Sequence[Link], behind: Position, rows: Rows | None
) -> None:
    """See :meth:`archiver.catalog.Catalog.take`."""
    with connection.begin():
        _write(connection, rows or fold_events(connection, case, links))
        row = {
            "name": case,
            "lines": behind.lines,
            "size": behind.size,
            "tail": behind.tail,
            "head": behind.head,
        }
        connection.execute(upsert(CASES, ["name"], [row]), [row])


def _by_item(
    connection: Connection, table: Table, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    found = {}
    for part in in_parts(names):
        rows = connection.execute(select(table).where(table.c.item.in_(part)))
        found.update({row.item: dict(row._mapping) for row in rows})
    return found


def _lasting_incidents(connection: Connection, names: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    columns = [one for one in INCIDENTS.c if one.name != "told_at"]
    for part in in_parts(names):
        lasting = (INCIDENTS.c.closed_at == 0) | (INCIDENTS.c.explained == 1)
        wanted = INCIDENTS.c.item.in_(part) & lasting
        found += [dict(row._mapping) for row in connection.execute(select(*columns).where(wanted))]
    return found


def _write(connection: Connection, rows: Rows) -> None:
    _put(connection, BAGS, ["item"], list(rows.bags.values()))
    _put(connection, REPLICAS, ["item", "place"], list(rows.replicas.values()))
    _put(connection, CHECKS, ["case_name", "seq"], rows.checks)
    _put(connection, INCIDENTS, ["case_name", "seq"], list(rows.incidents.values()))
    _put(connection, DESCRIPTIONS, ["item"], list(rows.descriptions.values()))
    _put(connection, AMENDMENTS, ["item", "number"], rows.amendments)
    _put(connection, WITHDRAWALS, ["case_name", "seq"], rows.withdrawals)


def _put(
    connection: Connection, table: Table, keys: list[str], rows: Sequence[dict[str, Any]]
) -> None:
    if rows:
        connection.execute(upsert(table, keys, rows), rows)
