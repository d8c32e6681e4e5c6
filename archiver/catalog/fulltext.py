"""The index of words: SQLite's FTS5 over what may be searched (https://www.sqlite.org/fts5.html).

Job: a file of its own beside the catalog: entries in, out, asked. Limits: decides nothing of
what may stand in it; that is :mod:`archiver.search`'s. It is an index and no truth: delete
it, and it is made again.

What is taken out leaves no trace: FTS5 keeps deleted words in its segments until these are
merged, so they are merged at once, and freed pages are overwritten (``secure_delete``).
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
)

from archiver.catalog.model import CASE, Position, is_item_of
from archiver.catalog.sqlite import MEMORY, open_engine, told_as_ours, upsert
from archiver.errors import CatalogError, storage_error
from archiver.i18n import _

__all__ = [
    "Entry",
    "Filter",
    "Found",
    "WordIndex",
    "match_expression",
    "open_words",
    "remove_words",
]

_META = MetaData()
_CASES = Table(
    "cases",
    _META,
    Column("name", Text, primary_key=True),
    Column("lines", Integer),
    Column("size", Integer),
    Column("tail", Integer),
    Column("head", Text),
)
_ENTRIES = Table(
    "entries",
    _META,
    Column("id", Integer, primary_key=True),
    Column("item", Text),
    Column("case_name", Text),
    Column("kind", Text),
    Column("secret", Integer),
    Column("confidentiality", Text),
    Column("first_day", Text),
    Column("last_day", Text),
    Column("title", Text),
)
_FORMATS = Table("formats", _META, Column("id", Integer), Column("format", Text))
_SOURCES = Table("sources", _META, Column("id", Integer), Column("source", Text))
_UNREAD = Table("unread", _META, Column("item", Text, primary_key=True), Column("case_name", Text))
_MARKS = Table("marks", _META, Column("name", Text, primary_key=True))
_WORDS = Table(
    "words", _META, Column("rowid", Integer), Column("title", Text), Column("body", Text)
)
_SCHEMA = (
    (
        "CREATE TABLE cases (name TEXT NOT NULL PRIMARY KEY, lines INTEGER NOT NULL,"
        " size INTEGER NOT NULL, tail INTEGER NOT NULL, head TEXT NOT NULL)"
    ),
    (
        "CREATE TABLE entries (id INTEGER NOT NULL PRIMARY KEY, item TEXT NOT NULL UNIQUE,"
        " case_name TEXT NOT NULL, kind TEXT NOT NULL, secret INTEGER NOT NULL,"
        " confidentiality TEXT NOT NULL, first_day TEXT NOT NULL, last_day TEXT NOT NULL,"
        " title TEXT NOT NULL)"
    ),
    "CREATE INDEX entries_of_case ON entries (case_name)",
    "CREATE TABLE formats (id INTEGER NOT NULL, format TEXT NOT NULL, PRIMARY KEY (id, format))",
    "CREATE INDEX formats_by_name ON formats (format, id)",
    "CREATE TABLE sources (id INTEGER NOT NULL, source TEXT NOT NULL, PRIMARY KEY (id, source))",
    "CREATE INDEX sources_by_name ON sources (source, id)",
    "CREATE TABLE marks (name TEXT NOT NULL PRIMARY KEY)",
    "CREATE TABLE unread (item TEXT NOT NULL PRIMARY KEY, case_name TEXT NOT NULL)",
    (
        "CREATE VIRTUAL TABLE words USING fts5(title, body,"
        " tokenize='unicode61 remove_diacritics 2', prefix='2 3')"
    ),
    "INSERT INTO words (words, rank) VALUES ('rank', 'bm25(8.0, 1.0)')",
)
_VERSION = 2
_TO_PURGE = "purge"
"""A mark: something was taken out that has left its words in the file."""
_BEGIN, _END = "\x02", "\x03"
"""Around what was found: in no field there are control characters."""
_SNIPPET_WORDS = 16
_PART = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be found of an item. Days are YYYY-MM-DD, "" where none is known; ``sources``
    are the items that it was made from.
    """

    item: str
    case: str
    kind: str
    secret: bool
    confidentiality: str = ""
    first_day: str = ""
    last_day: str = ""
    title: str = ""
    body: str = ""
    formats: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is found must be so, too; what is "" isn't asked for. ``confidentiality`` None
    and ``secret``: any that is secret. ``format``: a PUID or a MIME type, which may end in *.
    ``made_from``: an item that it was made from.
    """

    case: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""
    format: str = ""
    made_from: str = ""
    confidentiality: str = ""
    secret: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One answer. ``snippet`` has what was found between ``[`` and ``]``, "" without words."""

    item: str
    case: str
    kind: str
    secret: bool
    confidentiality: str
    first_day: str
    last_day: str
    title: str
    snippet: str


def match_expression(words: Sequence[str]) -> str:
    """An expression of FTS5's for what people write: every word must be there, ``word*``
    begins so, ``"two words"`` stand together. "" where nothing is left to look for.

    Every piece becomes a string of FTS5's, in quotes: none of its own words is ever heard.
    """
    pieces = []
    for word in words:
        for piece, phrase in _pieces(word):
            begins = not phrase and piece.endswith("*")
            clean = "".join(one if _counts(one) else " " for one in piece).strip()
            if any(one.isalnum() for one in clean):
                pieces.append(f'"{clean}"{" *" if begins else ""}')
    return " AND ".join(pieces)


def _counts(character: str) -> bool:
    """Letters, digits, and marks that belong to them; all else parts words."""
    return unicodedata.category(character)[0] in "LMN"


def _pieces(text_: str) -> Iterator[tuple[str, bool]]:
    """(text, whether it stood in quotes)."""
    for number, part in enumerate(text_.split('"')):
        if number % 2:
            yield part, True
        else:
            yield from ((word, False) for word in part.split())


class WordIndex:
    """An open index; a context manager."""

    def __init__(self, path: str, engine: Engine, connection: Connection) -> None:
        self.path = path
        self._engine, self._connection = engine, connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._engine.dispose()

    # -- what is in it

    def positions(self) -> dict[str, Position]:
        """Up to where each case's log was taken in."""
        return {
            str(row.name): Position(lines=row.lines, size=row.size, tail=row.tail, head=row.head)
            for row in self._rows(select(_CASES))
        }

    def unread(self) -> dict[str, str]:
        """Items that could not be taken in, with their cases."""
        return {row.item: row.case_name for row in self._rows(select(_UNREAD))}

    def take(self, entries: Sequence[Entry], unread: Sequence[tuple[str, str]] = ()) -> None:
        """Take ``entries`` in, in the place of what was there of the same items, and note
        those that are ``unread``, which are taken out.
        """
        items = [*(one.item for one in entries), *(item for item, _case in unread)]
        hidden = {one.item for one in entries if one.secret} | {item for item, _case in unread}
        with told_as_ours(self.path), self._connection.begin():
            if self._remove(items) & hidden:
                self._mark()
            for one in entries:
                self._insert(one)
            if unread:
                rows = [{"item": item, "case_name": case} for item, case in unread]
                self._connection.execute(upsert(_UNREAD, ["item"], rows), rows)

    def _mark(self) -> None:
        row = {"name": _TO_PURGE}
        self._connection.execute(insert(_MARKS).prefix_with("OR IGNORE"), row)

    def _remove(self, items: Sequence[str]) -> set[str]:
        """Take what there is of ``items`` out; of which there were words."""
        known = set()
        for begin in range(0, len(items), _PART):
            part = items[begin : begin + _PART]
            where = _ENTRIES.c.item.in_(part)
            question = select(_ENTRIES.c.id, _ENTRIES.c.item, _ENTRIES.c.secret).where(where)
            rows = self._connection.execute(question).all()
            ids = [row.id for row in rows]
            known |= {row.item for row in rows if not row.secret}
            if ids:
                self._connection.execute(delete(_WORDS).where(_WORDS.c.rowid.in_(ids)))
                self._connection.execute(delete(_FORMATS).where(_FORMATS.c.id.in_(ids)))
                self._connection.execute(delete(_SOURCES).where(_SOURCES.c.id.in_(ids)))
                self._connection.execute(delete(_ENTRIES).where(where))
            self._connection.execute(delete(_UNREAD).where(_UNREAD.c.item.in_(part)))
        return known

    def _insert(self, one: Entry) -> None:
        row = {
            "item": one.item,
            "case_name": one.case,
            "kind": one.kind,
            "secret": int(one.secret),
            "confidentiality": one.confidentiality,
            "first_day": one.first_day,
            "last_day": one.last_day,
            "title": one.title,
        }
        done = self._connection.execute(insert(_ENTRIES), row)
        (number,) = done.inserted_primary_key or (0,)
        self._connection.execute(
            insert(_WORDS), {"rowid": number, "title": one.title, "body": one.body}
        )
        formats = [{"id": number, "format": name} for name in sorted(set(one.formats))]
        if formats:
            self._connection.execute(insert(_FORMATS), formats)
        sources = [{"id": number, "source": name} for name in sorted(set(one.sources))]
        if sources:
            self._connection.execute(insert(_SOURCES), sources)

    def forget(self, case: str) -> None:
        """Take a whole case out."""
        rows = self._rows(select(_ENTRIES.c.item).where(_ENTRIES.c.case_name == case))
        with told_as_ours(self.path), self._connection.begin():
            self._remove([row.item for row in rows])
            self._connection.execute(delete(_UNREAD).where(_UNREAD.c.case_name == case))
            self._connection.execute(delete(_CASES).where(_CASES.c.name == case))
            self._mark()

    def note(self, case: str, position: Position) -> None:
        """A case was taken in up to ``position``."""
        row = {
            "name": case,
            "lines": position.lines,
            "size": position.size,
            "tail": position.tail,
            "head": position.head,
        }
        with told_as_ours(self.path), self._connection.begin():
            self._connection.execute(upsert(_CASES, ["name"], [row]), [row])

    def merge(self) -> None:
        """Have all words in one place: after much was taken in, questions are faster by far."""
        with told_as_ours(self.path), self._connection.begin():
            self._connection.exec_driver_sql("INSERT INTO words (words) VALUES ('optimize')")

    def purge(self) -> None:
        """Have what was hidden gone from the file, if anything was, by this run or one that
        was ended: segments are merged, and the file is written anew.
        """
        if not self._rows(select(_MARKS)):
            return
        self.merge()
        with told_as_ours(self.path):
            if self.path != MEMORY:
                raw = self._connection.connection.driver_connection
                assert raw is not None
                raw.execute("VACUUM")
            with self._connection.begin():
                self._connection.execute(delete(_MARKS))

    # -- questions

    def find(self, expression: str, wanted: Filter, limit: int) -> list[Found]:
        """At most ``limit`` entries for an ``expression`` (:func:`match_expression`), the best
        first; with none those that ``wanted`` lets through, by item.
        """
        question = select(_ENTRIES)
        if expression:
            match = text("words MATCH :expression").bindparams(expression=expression)
            question = (
                question.join(_WORDS, _WORDS.c.rowid == _ENTRIES.c.id)
                .where(match)
                .order_by(literal_column("words.rank"), _ENTRIES.c.item)
            )
        else:
            question = question.order_by(_ENTRIES.c.item)
        rows = self._rows(_filtered(question, wanted).limit(limit))
        snippets = self._snippets(expression, [row.id for row in rows]) if expression else {}
        return [_found(row, snippets.get(row.id, ""), self.path) for row in rows]

    def _snippets(self, expression: str, ids: Sequence[int]) -> dict[int, str]:
        shown = func.snippet(literal_column("words"), -1, _BEGIN, _END, "…", _SNIPPET_WORDS).label(
            "shown"
        )
        match = text("words MATCH :expression AND words.rowid = :id").bindparams(
            bindparam("expression"), bindparam("id")
        )
        question = select(shown).select_from(_WORDS).where(match)
        found = {}
        with told_as_ours(self.path), self._connection.begin():
            for number in ids:
                given = {"expression": expression, "id": number}
                found[number] = str(self._connection.execute(question, given).scalar() or "")
        return found

    def _rows(self, question: Select[Any]) -> Sequence[Any]:
        with told_as_ours(self.path):
            read_only = self._connection.execution_options(begin="BEGIN")
            with read_only.begin():
                return read_only.execute(question).all()


def _filtered(question: Select[Any], wanted: Filter) -> Select[Any]:
    columns = _ENTRIES.c
    for column, value in (
        (columns.case_name, wanted.case),
        (columns.kind, wanted.kind),
        (columns.confidentiality, wanted.confidentiality),
    ):
        if value:
            question = question.where(column == value)
    if wanted.secret is not None:
        question = question.where(columns.secret == int(wanted.secret))
    if wanted.since:
        question = question.where(columns.last_day != "", columns.last_day >= wanted.since)
    if wanted.until:
        question = question.where(columns.first_day != "", columns.first_day <= wanted.until)
    if wanted.format:
        name = _FORMATS.c.format
        if wanted.format.endswith("*"):
            like = name.startswith(wanted.format[:-1], autoescape=True)
        else:
            like = name == wanted.format
        question = question.where(columns.id.in_(select(_FORMATS.c.id).where(like)))
    if wanted.made_from:
        made = select(_SOURCES.c.id).where(_SOURCES.c.source == wanted.made_from)
        question = question.where(columns.id.in_(made))
    return question


def _found(row: Any, snippet: str, path: str) -> Found:
    if not is_item_of(row.case_name, row.item) or not CASE.fullmatch(row.case_name):
        raise CatalogError(
            _("the catalog {path} is damaged").format(path=path),
            hint=_("Make it anew with 'archiver catalog rebuild': nothing is lost by that."),
        )
    return Found(
        item=row.item,
        case=row.case_name,
        kind=row.kind,
        secret=bool(row.secret),
        confidentiality=row.confidentiality,
        first_day=row.first_day,
        last_day=row.last_day,
        title=row.title,
        snippet=snippet.replace(_BEGIN, "[").replace(_END, "]"),
    )


# -- the file


def open_words(path: str = MEMORY) -> WordIndex:
    """The index at ``path``, made where there is none, made anew where it is another
    release's, or not what we made. Raises CatalogError, StorageError.
    """
    if path != MEMORY:
        _prepare(path)
    try:
        return _open(path)
    except CatalogError:
        if path == MEMORY:
            raise
        remove_words(path)
        _prepare(path)
        return _open(path)


def _open(path: str) -> WordIndex:
    engine = open_engine(path, forgetful=True)
    with told_as_ours(path):
        connection = engine.connect()
        try:
            _make(connection)
            if path != MEMORY and _tables(connection) != _our_tables():
                raise CatalogError(_("the catalog {path} is damaged").format(path=path))
        except BaseException:
            connection.close()
            engine.dispose()
            raise
    return WordIndex(path, engine, connection)


def _make(connection: Connection) -> None:
    connection.rollback()
    with connection.begin():
        if connection.exec_driver_sql("PRAGMA user_version").scalar() == 0:
            for statement in _SCHEMA:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"PRAGMA user_version={_VERSION}")


def _tables(connection: Connection) -> list[tuple[object, ...]]:
    """Everything that the file does by itself, and its version."""
    question = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    found = [tuple(row) for row in connection.exec_driver_sql(question)]
    version = connection.exec_driver_sql("PRAGMA user_version").scalar()
    connection.rollback()
    return [*found, (version,)]


@functools.cache
def _our_tables() -> list[tuple[object, ...]]:
    engine = open_engine(MEMORY, forgetful=True)
    with engine.connect() as connection:
        _make(connection)
        return _tables(connection)


def _files(path: str) -> tuple[str, ...]:
    return path, f"{path}-journal", f"{path}-wal", f"{path}-shm"


def _prepare(path: str) -> None:
    """A file that nobody else can read; a link would have us write somewhere else."""
    try:
        for one in _files(path):
            if os.path.lexists(one) and not stat.S_ISREG(os.lstat(one).st_mode):
                raise CatalogError(
                    _("{path} is not a regular file").format(path=one),
                    hint=_("Take it away; the next search makes it anew."),
                )
        if not os.path.lexists(path):
            for one in _files(path)[1:]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(one)
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
            os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise storage_error(error, path) from error


def remove_words(path: str) -> None:
    """Take the index away. Raises StorageError."""
    try:
        for one in _files(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(one)
    except OSError as error:
        raise storage_error(error, path) from error
