"""SQLite: what is said in its own words (for full text: :mod:`archiver.catalog.fulltext`).

Job: open a database that survives power cuts, bring it to this release's version, make a
new one. Limits: knows no queries. Sources: https://www.sqlite.org/wal.html,
https://www.sqlite.org/pragma.html; transactions as SQLAlchemy's documentation of
pysqlite advises ("Serializable isolation").
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, select, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError, InterfaceError
from sqlalchemy.pool import NullPool, StaticPool

from archiver.catalog.schema import MIGRATIONS, VERSION, VERSIONS
from archiver.errors import CatalogError, StorageError, storage_error
from archiver.filesystem import open_regular
from archiver.i18n import _

__all__ = ["companions", "integrity_problem", "migrate", "open_engine", "told_as_ours", "upsert"]

MEMORY = ":memory:"
_BUSY_MS = 30_000
_CACHE_KIB = 65_536
_FULL = 13
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""At a journal's beginning; at its end, too, where a super-journal's name stands before."""
_UNUSABLE = (8, 10, 14)
"""SQLITE_READONLY, SQLITE_IOERR, SQLITE_CANTOPEN: the disk's doing, not the database's."""


def companions(path: str) -> tuple[str, str]:
    """The files that SQLite keeps beside a database."""
    return f"{path}-wal", f"{path}-shm"


def open_engine(path: str, *, durable: bool = True, forgetful: bool = False) -> Engine:
    """A database at ``path``, or in memory. ``durable`` False is for one that is being made,
    and counts only once it is whole. ``forgetful``: what is deleted leaves no trace in its
    file, and no journal stays. Raises CatalogError for a journal that none of ours has left.
    """
    memory = path == MEMORY
    if not memory:
        refuse_foreign_journal(path)
    engine = create_engine(
        "sqlite+pysqlite:///:memory:" if memory else f"sqlite+pysqlite:///{path}",
        poolclass=StaticPool if memory else NullPool,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so, DDL too
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        cursor.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA trusted_schema=OFF")
        if forgetful:
            cursor.execute("PRAGMA secure_delete=ON")
            cursor.execute("PRAGMA temp_store=MEMORY")
            cursor.execute("PRAGMA journal_mode=DELETE")
            cursor.execute("PRAGMA synchronous=NORMAL")
        elif not memory:
            cursor.execute(f"PRAGMA journal_mode={'WAL' if durable else 'OFF'}")
            cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        kind = connection.get_execution_options().get("begin", "BEGIN IMMEDIATE")
        connection.exec_driver_sql(str(kind))

    return engine


def refuse_foreign_journal(path: str) -> None:
    """A journal can name a super-journal, which SQLite deletes when it has played it back
    (https://www.sqlite.org/fileformat2.html, atomiccommit.html §5.5): whichever file of this
    user's that is. Ours never have one. Raises CatalogError, StorageError.
    """
    journal = f"{path}-journal"
    try:
        with open(open_regular(journal), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_JOURNAL_MAGIC)))
            foreign = file.read() == _JOURNAL_MAGIC
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, journal) from error
    if foreign:
        raise CatalogError(
            _("{path} is no journal of ours, and may remove other files").format(path=journal),
            hint=_("Whose vault is this? Take the journal away; nothing is lost by that."),
        )


@contextlib.contextmanager
def told_as_ours(path: str) -> Iterator[None]:
    """Errors of the database as CatalogError, StorageError."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        cause = error.orig
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code == _FULL:
            raise StorageError(
                _("no space left while writing {place}").format(place=path),
                hint=_("Free some space; nothing that is kept was lost."),
            ) from error
        text = _("the catalog {path} can't be used: {reason}").format(path=path, reason=cause)
        if code in _UNUSABLE:
            raise StorageError(
                text,
                hint=_("Check that its disk has room and can be written, or name --catalog FILE."),
            ) from error
        raise CatalogError(
            text, hint=_("Make it anew with 'archiver catalog rebuild': nothing is lost by that.")
        ) from error
    except sqlite3.Error as error:  # from a hook of the connection
        raise CatalogError(
            _("the catalog {path} can't be used: {reason}").format(path=path, reason=error),
            hint=_("Make it anew with 'archiver catalog rebuild': nothing is lost by that."),
        ) from error


def version_of(connection: Connection) -> int:
    """Which version the database has; 0 where it is new."""
    if not inspect(connection).has_table("versions"):
        return 0
    return max(connection.execute(select(VERSIONS.c.version)).scalars(), default=0)


def migrate(connection: Connection, path: str) -> None:
    """Bring it to :data:`VERSION`. Each step commits together with the row that records it.

    Raises CatalogError where it is a newer release's.
    """
    found = version_of(connection)
    if found > VERSION:
        raise CatalogError(
            _("the catalog {path} was made by a newer release").format(path=path),
            hint=_("Use that release, or make it anew with 'archiver catalog rebuild'."),
        )
    connection.rollback()
    for step in range(found, VERSION):
        with connection.begin():
            if version_of(connection) != step:
                continue  # another process did it just now
            if step == 0:
                connection.exec_driver_sql(
                    "CREATE TABLE IF NOT EXISTS versions (version INTEGER NOT NULL PRIMARY KEY)"
                )
            for statement in MIGRATIONS[step]:
                connection.exec_driver_sql(statement)
            connection.execute(VERSIONS.insert().values(version=step + 1))
    if path != MEMORY and _schema(connection) != _our_schema():
        raise CatalogError(
            _("{path} is no catalog of ours: its tables are others").format(path=path),
            hint=_("Make it anew with 'archiver catalog rebuild': nothing is lost by that."),
        )


def _schema(connection: Connection) -> list[tuple[object, ...]]:
    """Everything that a database does by itself: a trigger could undo what is written."""
    question = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    found = [tuple(row) for row in connection.exec_driver_sql(question)]
    connection.rollback()
    return [row for row in found if not str(row[1]).startswith("sqlite_stat")]


@functools.cache
def _our_schema() -> list[tuple[object, ...]]:
    with open_engine(MEMORY).connect() as connection:
        migrate(connection, MEMORY)
        return _schema(connection)


def upsert(table: Table, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Any:
    """A statement for executemany: a row that is there already takes the new values."""
    statement = insert(table)
    given = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=given)


def integrity_problem(connection: Connection) -> str:
    """What SQLite finds wrong with its own file, or ""."""
    found = str(connection.execute(text("PRAGMA integrity_check(1)")).scalar())
    return "" if found == "ok" else found


def remove_companions(path: str) -> None:
    """Of a database that is gone: left there, they would be taken for the next one's.

    Raises StorageError.
    """
    for one in companions(path):
        try:
            os.unlink(one)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise storage_error(error, one) from error
