"""The index of a vault: what the bags and custody logs say, ready to be asked.

Job: SQLAlchemy Core over one database: take events in, answer questions. Limits: it is an
index and no truth. Delete it, and it is made again from the logs; a log's events and the
position up to which it was read commit together, so it is right or behind, never wrong.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from archiver.catalog.described import DescriptionQueries
from archiver.catalog.facts import FactError
from archiver.catalog.fold import Rows
from archiver.catalog.model import Check, Due, Incident, Item, Position, item_name
from archiver.catalog.sqlite import (
    MEMORY,
    companions,
    migrate,
    open_engine,
    remove_companions,
    told_as_ours,
)
from archiver.catalog.taking import fold_events, take_events
from archiver.custody import Link
from archiver.errors import CatalogError, storage_error
from archiver.i18n import _

__all__ = [
    "Catalog",
    "Check",
    "Due",
    "FactError",
    "Incident",
    "Item",
    "Position",
    "Rows",
    "item_name",
    "open_catalog",
]


class Catalog(DescriptionQueries):
    """An open catalog; a context manager. Who takes events in is the vault's one writer."""

    def __init__(self, path: str, engine: Engine, connection: Connection) -> None:
        super().__init__(path, connection)
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the database back."""
        self._connection.close()
        self._engine.dispose()

    def take(
        self, case: str, links: Sequence[Link], behind: Position, tried: Rows | None = None
    ) -> None:
        """Take in what follows the position of ``case``: then that is ``behind``. ``tried`` is
        what :meth:`try_out` has answered for the very same links, with nothing in between.

        Raises FactError where an event doesn't fit, CatalogError, StorageError; then nothing
        was taken in.
        """
        with told_as_ours(self.path):
            take_events(self._connection, case, links, behind, tried)

    def try_out(self, case: str, links: Sequence[Link]) -> Rows:
        """What ``links`` would give; nothing is taken in. Raises FactError, CatalogError."""
        with told_as_ours(self.path), self._connection.begin():
            return fold_events(self._connection, case, links)


def open_catalog(path: str = MEMORY, *, durable: bool = True) -> Catalog:
    """The catalog at ``path``, made or brought to this release's version where need be;
    without a path, one in memory. Raises CatalogError, StorageError.
    """
    if path != MEMORY:
        _refuse_strange(path)
        if not os.path.lexists(path):
            remove_companions(path)
    engine = open_engine(path, durable=durable)
    with told_as_ours(path):
        connection = engine.connect()
        try:
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return Catalog(path, engine, connection)


def _refuse_strange(path: str) -> None:
    """A link would have us write into somebody else's database."""
    for one in (path, *companions(path)):
        try:
            mode = os.lstat(one).st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise storage_error(error, one) from error
        if not stat.S_ISREG(mode):
            raise CatalogError(
                _("{path} is not a regular file").format(path=one),
                hint=_("Take it away; 'archiver catalog rebuild' makes the catalog anew."),
            )
