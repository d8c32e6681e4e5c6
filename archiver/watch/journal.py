"""The journal of one watched folder: every file that was found, in exactly one state.

Job: keep rows that survive a power cut, hand them out as a queue, count them. Limits: looks
at no watched file; decides nothing. Paths are bytes, in two parts (directory, name).

It is local (mode 0600) and written by one process, which holds a lock beside it; others may
read it and leave requests. A journal that can't be read is set aside and begun anew: what is
archived is found again through the sink, but for what is secret, whose key tells nothing: as
long as that lies in the folder, it becomes another item. Sources:
https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from archiver.errors import LockedError, StorageError
from archiver.i18n import _
from archiver.watch.model import Fingerprint, State

__all__ = [
    "ENCRYPTED",
    "Journal",
    "Known",
    "Row",
    "Wait",
    "from_text",
    "journal_path",
    "split",
    "to_text",
]

VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    dir BLOB NOT NULL,            -- "" or "a/b/"
    name BLOB NOT NULL,
    grp BLOB NOT NULL,            -- the unit it belongs to: its path, or "FOLDER/"
    current INTEGER NOT NULL,     -- 0: a later version of this path has a row
    present INTEGER NOT NULL,     -- whether the last look found it
    doubted INTEGER NOT NULL,     -- whether the sink is asked for it first
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    proof TEXT NOT NULL,
    fingerprint TEXT NOT NULL,    -- "device inode size mtime_ns ctime_ns"
    lane INTEGER NOT NULL,
    due REAL,                     -- monotonic seconds; NULL: waits for nothing
    changed REAL NOT NULL,        -- monotonic seconds of the last change that was noticed
    found TEXT NOT NULL, since TEXT NOT NULL,   -- UTC: found first, in this state
    key TEXT NOT NULL, item TEXT NOT NULL, bag TEXT NOT NULL, digest TEXT NOT NULL,
    seal TEXT NOT NULL, follows TEXT NOT NULL
);
CREATE UNIQUE INDEX by_path ON files (dir, name) WHERE current = 1;
CREATE INDEX by_due ON files (state, due) WHERE due IS NOT NULL;
CREATE INDEX by_lane ON files (lane, id) WHERE state = 'stable';
CREATE INDEX by_group ON files (grp) WHERE current = 1;
CREATE INDEX waiting ON files (found) WHERE state IN ('seen', 'stable', 'ingesting');
CREATE TABLE sums (state TEXT PRIMARY KEY, files INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER came AFTER INSERT ON files BEGIN
    INSERT INTO sums VALUES (new.state, 1) ON CONFLICT DO UPDATE SET files = files + 1;
END;
CREATE TRIGGER went AFTER DELETE ON files BEGIN
    UPDATE sums SET files = files - 1 WHERE state = old.state;
END;
CREATE TRIGGER turned AFTER UPDATE OF state ON files WHEN old.state <> new.state BEGIN
    UPDATE sums SET files = files - 1 WHERE state = old.state;
    INSERT INTO sums VALUES (new.state, 1) ON CONFLICT DO UPDATE SET files = files + 1;
END;
CREATE TABLE requests (id INTEGER PRIMARY KEY, what TEXT NOT NULL, path BLOB NOT NULL);
"""
ENCRYPTED = "secret"
"""In the place of the key of a unit that is, or may be, secret: its item in the vault has
another, which was made by chance. Names of such rows are forgotten once the files are gone.
"""
_HIDDEN = "CREATE INDEX IF NOT EXISTS hidden ON files (grp) WHERE key = 'secret'"
_COLUMNS = (
    "id, dir, name, grp, present, doubted, state, reason, proof, fingerprint, lane, due,"
    " changed, found, since, key, item, bag, digest, seal, follows"
)
_INSERT = (
    "INSERT INTO files (dir, name, grp, current, present, doubted, state, reason, proof,"
    " fingerprint, lane, due, changed, found, since, key, item, bag, digest, seal, follows)"
    " VALUES (?1, ?2, ?3, 1, 1, ?4, ?8, ?9, '', ?5, 0, ?6, ?7, ?10, ?10, '', '', '', '', '', ?11)"
)
_LYING = (State.SEEN, State.STABLE, State.QUARANTINED)
"""In which only a file can be that lies in the folder."""
_TURN = (
    "UPDATE files SET since = CASE WHEN state = ?2 THEN since ELSE ?5 END,"
    " state = iif(?6 AND NOT present, 'vanished', ?2), reason = ?3,"
    " due = iif(?6 AND NOT present, NULL, ?4) WHERE id = ?1 AND current = 1"
)
_BUSY_MS = 10_000
_PAGE = 2000
_UNREADABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file, or one former version of it. ``due``: monotonic seconds."""

    id: int
    path: bytes
    group: bytes
    present: bool
    doubted: bool
    state: State
    reason: str
    proof: str
    fingerprint: Fingerprint
    lane: int
    due: float | None
    changed: float
    found: str
    since: str
    key: str
    item: str
    bag: str
    digest: str
    seal: str
    follows: str


Known = tuple[bytes, int, str, int, str]
"""(name, number, state, whether it was there, fingerprint as text) of a row."""


@dataclass(frozen=True, slots=True)
class Wait:
    """In monotonic seconds: when a change was noticed, and when it may have settled."""

    changed: float
    due: float


def journal_path(vault: str, folder: str) -> str:
    """Where the journal for ``folder`` lies: its name tells of neither."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    told = os.fsencode(vault) + b"\0" + os.fsencode(os.path.abspath(folder))
    name = hashlib.sha256(told).hexdigest()[:32]
    return os.path.join(state, "archiver", "watch", f"{name}.sqlite")


def to_text(fingerprint: Fingerprint) -> str:
    """As it stands in the journal: exact, whatever a file system claims."""
    return (
        f"{fingerprint.device} {fingerprint.inode} {fingerprint.size_bytes}"
        f" {fingerprint.mtime_ns} {fingerprint.ctime_ns}"
    )


def from_text(text: str) -> Fingerprint:
    """What :func:`to_text` wrote."""
    device, inode, size, mtime, ctime = map(int, text.split(" "))
    return Fingerprint(device=device, inode=inode, size_bytes=size, mtime_ns=mtime, ctime_ns=ctime)


class Journal:
    """Open for writing, by this process alone. Safe to be used by several threads.

    Raises LockedError where another process has it, StorageError where it can't be written.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        """``read_only``: look, and leave requests; the watcher may be running. Without a
        ``path`` it is in memory and in files that have no name: a kill leaves nothing of it.
        """
        self.path = path
        self.set_aside = ""
        """Where a journal that couldn't be read was put."""
        self.made_anew = False
        self._guard = threading.RLock()
        self._lock = -1
        self._may_forget = self._unerased = True  # an earlier process may have been killed
        with self._told_as_ours():
            if not path:
                self._db = self._connect("")
                self._check(self._db, "MEMORY")
                return
            if read_only:
                self._db = self._connect(f"file:{_quoted(path)}?mode=rw")
                return
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            self._take_lock()
            try:
                self._open()
            except BaseException:
                os.close(self._lock)
                raise

    def close(self) -> None:
        """Give the lock back."""
        with self._guard:
            self._db.close()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_ignored: object) -> None:
        self.close()

    def _take_lock(self) -> None:
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise LockedError(
                _("this folder is watched by another process already: {who}").format(
                    who=who or "?"
                ),
                hint=_("Stop that one first, or ask it: archiver watch status."),
            ) from error
        os.ftruncate(descriptor, 0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        os.pwrite(descriptor, f"pid {os.getpid()}, {socket.gethostname()}, {now}\n".encode(), 0)
        self._lock = descriptor

    def _open(self) -> None:
        try:
            self._db = self._prepared()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _UNREADABLE:
                raise
            self._put_aside()
            self._db = self._prepared()

    def _prepared(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        database = self._connect(f"file:{_quoted(self.path)}?mode=rw")
        try:
            self._check(database)
        except BaseException:
            database.close()
            raise
        return database

    def _check(self, database: sqlite3.Connection, mode: str = "WAL") -> None:
        database.execute(f"PRAGMA journal_mode={mode}")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StorageError(
                _("the journal {path} was made by a newer release").format(path=self.path),
                hint=_("Use that release; or move the journal away: nothing is lost by that."),
            )
        if version == 0:
            self.made_anew = True
            database.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} {_HIDDEN}; PRAGMA user_version={VERSION}; COMMIT;"
            )
            return
        (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok" or not _agree(database):
            error = sqlite3.DatabaseError(str(answer))
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        database.execute(_HIDDEN)  # journals of before have none

    def _put_aside(self) -> None:
        mark = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.set_aside = f"{self.path}.unreadable-{mark}"
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.path + end, self.set_aside + end)

    def _connect(self, uri: str) -> sqlite3.Connection:
        database = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000
        )
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA trusted_schema=OFF")
        database.execute("PRAGMA secure_delete=ON")
        database.execute("PRAGMA temp_store=FILE")
        database.execute("PRAGMA cache_size=-16384")
        return database

    @contextlib.contextmanager
    def _told_as_ours(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                _("the journal {path} can't be used: {reason}").format(
                    path=self.path, reason=error
                ),
                hint=_("Free some space there, or check that its directory can be written."),
            ) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when it ends. Raises StorageError; then all is as it was."""
        with self._guard, self._told_as_ours():
            if self._db.in_transaction:  # the outer one commits
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written within counts as a whole or not at all."""
        with self._writing():
            yield

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._guard, self._told_as_ours():
            return self._db.execute(query, values).fetchall()

    def _rows(self, condition: str, *values: object) -> list[Row]:
        with self._guard, self._told_as_ours():
            query = f"SELECT {_COLUMNS} FROM files WHERE {condition}"  # noqa: S608  # ours
            return [_row(*found) for found in self._db.execute(query, values)]

    # Facts about the folder

    def fact(self, name: str) -> str:
        """A remembered text, "" where there is none."""
        found = self._read("SELECT value FROM facts WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def remember(self, name: str, value: str) -> None:
        """Remember a text."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # What a scan needs

    def begin_clock(self, due: float, now: float) -> None:
        """Monotonic times of an earlier process mean nothing: all waiting begins again."""
        with self._writing() as database:
            database.execute("UPDATE files SET state = 'seen', due = 0 WHERE state = 'stable'")
            database.execute(
                "UPDATE files SET due = CASE WHEN state = 'seen' THEN ? ELSE ? END, changed = ?"
                " WHERE due IS NOT NULL",
                (due, now, now),
            )

    def known(self, directory: bytes) -> Iterator[Known]:
        """The current rows of one directory ("" or "a/b/") in the order of their names, with no
        more than what it takes to see that nothing changed.
        """
        after = b""
        while True:
            found = self._read(
                "SELECT name, id, state, present, fingerprint FROM files"
                " WHERE current = 1 AND dir = ? AND name > ? ORDER BY name LIMIT ?",
                directory,
                after,
                _PAGE,
            )
            yield from found
            if len(found) < _PAGE:
                return
            after = found[-1][0]

    def row(self, number: int) -> Row:
        """One row by its number."""
        return self._rows("id = ?", number)[0]

    def directories(self, below: bytes = b"") -> Iterator[bytes]:
        """Directories that have files which the last look found, in order."""
        after = below
        while True:
            found = self._read(
                "SELECT DISTINCT dir FROM files WHERE current = 1 AND present = 1"
                " AND dir >= ? ORDER BY dir LIMIT ?",
                after,
                _PAGE,
            )
            for (directory,) in found:
                if not directory.startswith(below):
                    return
                yield directory
            if len(found) < _PAGE:
                return
            after = directory + b"\0"

    def add(
        self,
        path: bytes,
        group: bytes,
        fingerprint: Fingerprint,
        wait: Wait,
        *,
        doubted: bool = False,
        follows: str = "",
    ) -> None:
        """A file that has no current row: it is ``seen``."""
        row = (*split(path), group, int(doubted), to_text(fingerprint), wait.due, wait.changed)
        with self._writing() as database:
            database.execute(_INSERT, (*row, State.SEEN.value, "", _utc(), follows))

    def ignore(self, path: bytes, group: bytes, fingerprint: Fingerprint, reason: str) -> None:
        """A file without a current row that is left out."""
        row = (*split(path), group, 0, to_text(fingerprint), None, 0.0)
        with self._writing() as database:
            database.execute(_INSERT, (*row, State.IGNORED.value, reason, _utc(), ""))

    def turn(
        self,
        rows: Iterable[Row],
        state: State,
        *,
        reason: str = "",
        due: float | None = None,
    ) -> None:
        """These rows are in this state now. Their files may have gone meanwhile: then none waits,
        and of what was forgotten nothing changes.
        """
        with self._writing() as database:
            database.executemany(
                _TURN, [(row.id, state.value, reason, due, _utc(), state in _LYING) for row in rows]
            )

    def waits(self, rows: Iterable[Row], due: float, reason: str = "") -> None:
        """These rows are looked at again then; none that was forgotten meanwhile."""
        with self._writing() as database:
            database.executemany(
                "UPDATE files SET due = ?, reason = ? WHERE id = ? AND current = 1",
                [(due, reason, row.id) for row in rows],
            )

    def changed(self, row: Row, fingerprint: Fingerprint, wait: Wait) -> None:
        """A file that isn't archived yet is another one now: it is ``seen``, and waits."""
        with self._writing() as database:
            database.execute(
                "UPDATE files SET fingerprint = ?, changed = ?, present = 1, proof = ''"
                " WHERE id = ?",
                (to_text(fingerprint), wait.changed, row.id),
            )
            self.turn([row], State.SEEN, due=wait.due)

    def refresh(self, row: Row, fingerprint: Fingerprint) -> None:
        """The same file under the numbers that it has now."""
        if row.fingerprint != fingerprint:
            with self._writing() as database:
                database.execute(
                    "UPDATE files SET fingerprint = ? WHERE id = ?",
                    (to_text(fingerprint), row.id),
                )

    def regroup(self, row: Row, group: bytes) -> None:
        """The rules changed: it belongs to another unit."""
        with self._writing() as database:
            database.execute("UPDATE files SET grp = ? WHERE id = ?", (group, row.id))

    def new_version(
        self, row: Row, fingerprint: Fingerprint, wait: Wait, *, doubted: bool = False
    ) -> None:
        """What was archived has changed: its row stays as a former version."""
        with self._writing() as database:
            if row.state is State.ARCHIVED:
                self.turn([row], State.SUPERSEDED)
            former = database.execute(
                "UPDATE files SET current = 0, due = NULL WHERE id = ? AND current = 1", (row.id,)
            )
            if not former.rowcount:
                return  # somebody else has found it meanwhile, or that it has gone
            self.add(row.path, row.group, fingerprint, wait, doubted=doubted, follows=row.item)
            if row.key == ENCRYPTED:
                self.hide(self._rows("current = 1 AND dir = ? AND name = ?", *split(row.path)))

    def hurry(self, group: bytes, now: float) -> None:
        """The members of a unit that wait need not wait any longer."""
        with self._writing() as database:
            database.execute(
                "UPDATE files SET due = ? WHERE current = 1 AND grp = ? AND state = 'seen'",
                (now, group),
            )

    def gone(self, row: Row) -> None:
        """The file isn't there any more. What was archived stays archived; of what is being
        archived that is told when it is over.
        """
        if row.state is State.INGESTING:
            return
        with self._writing() as database:
            self._may_forget = True
            if row.state is State.IGNORED:
                database.execute("DELETE FROM files WHERE id = ?", (row.id,))
                self._unerased = True  # it may have been another name of something secret
                return
            if row.state in (State.SEEN, State.STABLE) and self._has_form(row.group):
                self.hide([row])  # nobody has read what it says
            if row.state in (State.SEEN, State.STABLE, State.QUARANTINED):
                self.turn([row], State.VANISHED)
            database.execute("UPDATE files SET present = 0, due = NULL WHERE id = ?", (row.id,))

    def _has_form(self, group: bytes) -> bool:
        """Whether something in a unit may be a description."""
        query = (
            "SELECT 1 FROM files WHERE current = 1 AND grp = ?"
            " AND lower(substr(name, -5)) = '.toml' LIMIT 1"
        )
        return bool(self._read(query, group))

    def hide(self, rows: Iterable[Row]) -> None:
        """They are, or may be, secret: what they are called is forgotten once they are gone."""
        with self._writing() as database:
            self._may_forget = True
            database.executemany(
                "UPDATE files SET key = ? WHERE id = ?", [(ENCRYPTED, row.id) for row in rows]
            )

    def disposed(self, row: Row, reason: str) -> None:
        """The original was moved or deleted, as its rule wants it."""
        with self._writing() as database:
            self._may_forget = True
            self.turn([row], State.DISPOSED, reason=reason)
            database.execute("UPDATE files SET present = 0 WHERE id = ?", (row.id,))

    def forget_secret(self) -> None:
        """What secret files were called, where all of a unit are gone, by whomever: nothing
        needs it any more, and somebody could read it here. Cheap where nothing has gone; what a
        reader keeps from being erased just now is erased by a later call. Raises StorageError.
        """
        with self._guard:
            if self._may_forget:
                self._forget_names()
                self._may_forget = False
            if self._unerased:
                self._unerased = not self._erase()

    def _forget_names(self) -> None:
        numbers = self._read(
            # The key as a word of its own: only so the index of these rows is used.
            "SELECT id FROM files WHERE key = 'secret' AND state <> 'ingesting' AND NOT EXISTS"
            " (SELECT 1 FROM files AS other WHERE other.grp = files.grp AND other.current = 1"
            " AND (other.present = 1 OR other.state = 'ingesting'))"
        )
        if not numbers:
            return
        with self._writing() as database:
            database.executemany(
                "UPDATE files SET dir = x'', name = ?1, grp = ?1, current = 0, present = 0,"
                " key = '', digest = '', fingerprint = '0 0 0 0 0' WHERE id = ?2",
                [(b"#%d" % number, number) for (number,) in numbers],
            )
        self._unerased = True

    def _erase(self) -> bool:
        """Empty the write-ahead log, where what was written before lies until then; whether
        nobody was reading it.
        """
        with self._told_as_ours():
            self._db.execute("PRAGMA busy_timeout=0")
            try:
                busy, _pages, _moved = self._db.execute(
                    "PRAGMA wal_checkpoint(TRUNCATE)"
                ).fetchone()
            finally:
                self._db.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        return not busy

    def back(self, row: Row) -> None:
        """It is there again, as it was."""
        with self._writing() as database:
            database.execute("UPDATE files SET present = 1 WHERE id = ?", (row.id,))

    # The queue

    def due(self, state: State, now: float, limit: int) -> list[Row]:
        """Rows whose waiting is over, oldest first."""
        return self._rows(
            "state = ? AND due <= ? AND due IS NOT NULL ORDER BY due LIMIT ?",
            state.value,
            now,
            limit,
        )

    def next_due(self) -> float | None:
        """When the next waiting ends."""
        found = self._read(
            "SELECT min(due) FROM files WHERE state IN ('seen', 'archived') AND due IS NOT NULL"
        )
        return None if found[0][0] is None else float(found[0][0])

    def last_due(self) -> float | None:
        """When the last of the waiting files can have settled."""
        found = self._read("SELECT max(due) FROM files WHERE state = 'seen' AND due IS NOT NULL")
        return None if found[0][0] is None else float(found[0][0])

    def of_group(self, group: bytes) -> list[Row]:
        """The current rows of one unit, by path."""
        return self._rows("current = 1 AND grp = ? ORDER BY dir || name", group)

    def at(self, path: bytes) -> Row | None:
        """The current row of a file."""
        directory, name = split(path)
        found = self._rows("current = 1 AND dir = ? AND name = ?", directory, name)
        return found[0] if found else None

    def history(self, path: bytes) -> list[Row]:
        """All versions of a file, newest first."""
        directory, name = split(path)
        return self._rows("dir = ? AND name = ? ORDER BY id DESC", directory, name)

    def settle(self, rows: Sequence[Row], proof: str, lane: int) -> None:
        """These rows, one unit, are ``stable``; how that was proved is remembered."""
        with self._writing() as database:
            self.turn(rows, State.STABLE)
            database.executemany(
                "UPDATE files SET proof = ?, lane = ? WHERE id = ?",
                [(proof, lane, row.id) for row in rows],
            )

    def stable_groups(self, lane: int, limit: int) -> list[bytes]:
        """Units that are ready for a lane, oldest first."""
        found = self._read(
            "SELECT grp, min(id) FROM (SELECT grp, id FROM files WHERE state = 'stable'"
            " AND lane = ? ORDER BY id LIMIT ?) GROUP BY grp ORDER BY 2",
            lane,
            limit,
        )
        return [group for group, _id in found]

    def in_state(self, state: State, limit: int = -1) -> list[Row]:
        """Rows of one state, oldest first."""
        return self._rows("state = ? ORDER BY id LIMIT ?", state.value, limit)

    def remarked(self, limit: int) -> list[Row]:
        """Archived files of which something has to be told, at most ``limit``."""
        return self._rows("state = 'archived' AND reason <> '' ORDER BY id LIMIT ?", limit)

    def pages(self, state: State) -> Iterator[Row]:
        """The same without having all in memory."""
        after = -1
        while rows := self._rows(
            "state = ? AND id > ? ORDER BY id LIMIT ?", state.value, after, _PAGE
        ):
            yield from rows
            after = rows[-1].id

    def ingesting(
        self, rows: Sequence[Row], *, key: str, item: str, bag: str, digests: Sequence[str]
    ) -> None:
        """One unit is staged: from now on its bag may be there."""
        with self._writing() as database:
            self.turn(rows, State.INGESTING)
            database.executemany(
                "UPDATE files SET key = ?, item = ?, bag = ?, digest = ? WHERE id = ?",
                [
                    (key, item, bag, digest, row.id)
                    for row, digest in zip(rows, digests, strict=True)
                ],
            )

    def archived(
        self,
        rows: Sequence[Row],
        *,
        item: str,
        bag: str,
        digests: Sequence[str],
        seal: str,
        key: str,
        due: float | None,
        note: str = "",
    ) -> None:
        """One unit's bag is there and verified. ``due``: when the originals may go; ``note``:
        what has to be told of it all the same.
        """
        with self._writing() as database:
            self.turn(rows, State.ARCHIVED, due=due, reason=note)
            database.executemany(
                "UPDATE files SET item = ?, bag = ?, digest = ?, seal = ?, key = ?, doubted = 0"
                " WHERE id = ?",
                [
                    (item, bag, digest, seal, key, row.id)
                    for row, digest in zip(rows, digests, strict=True)
                ],
            )

    def trusted(self, rows: Iterable[Row], follows: str = "") -> None:
        """The sink was asked: it doesn't have them."""
        with self._writing() as database:
            database.executemany(
                "UPDATE files SET doubted = 0, follows = CASE WHEN ?1 = '' THEN follows"
                " ELSE ?1 END WHERE id = ?2",
                [(follows, row.id) for row in rows],
            )

    # Figures and requests

    def counts(self) -> dict[State, int]:
        """How many files are in each state."""
        found: dict[str, int] = dict(self._read("SELECT state, files FROM sums"))
        return {state: found.get(state.value, 0) for state in State}

    def sums_agree(self) -> bool:
        """Whether the running sums are what counting gives: no file is in two states or none."""
        with self._guard, self._told_as_ours():
            return _agree(self._db)

    def oldest_waiting(self) -> str:
        """Since when (UTC, ISO 8601) the file waits that waits longest; "" where none does."""
        found = self._read(
            "SELECT min(found) FROM files WHERE state IN ('seen', 'stable', 'ingesting')"
        )
        return str(found[0][0] or "")

    def ask(self, what: str, path: bytes = b"") -> None:
        """Leave a request for the watcher: ``retry``, ``release`` (a path), ``accept``."""
        with self._writing() as database:
            database.execute("INSERT INTO requests (what, path) VALUES (?, ?)", (what, path))

    def asked(self) -> list[tuple[str, bytes]]:
        """Take the requests that were left."""
        if not self._read("SELECT 1 FROM requests LIMIT 1"):
            return []
        with self._writing() as database:
            found = database.execute("SELECT what, path FROM requests ORDER BY id").fetchall()
            database.execute("DELETE FROM requests")
        return [(str(what), bytes(path)) for what, path in found]


def split(path: bytes) -> tuple[bytes, bytes]:
    """(directory with its slash or b"", name)."""
    directory, slash, name = path.rpartition(b"/")
    return directory + slash, name


def _agree(database: sqlite3.Connection) -> bool:
    running = dict(database.execute("SELECT state, files FROM sums WHERE files <> 0"))
    counted = dict(database.execute("SELECT state, count(*) FROM files GROUP BY state"))
    known = {state.value for state in State}
    return running == counted and known.issuperset(counted)


def _row(  # noqa: PLR0913, PLR0917  # the columns
    number: int,
    directory: bytes,
    name: bytes,
    group: bytes,
    present: int,
    doubted: int,
    state: str,
    reason: str,
    proof: str,
    fingerprint: str,
    lane: int,
    due: float | None,
    changed: float,
    found: str,
    since: str,
    key: str,
    item: str,
    bag: str,
    digest: str,
    seal: str,
    follows: str,
) -> Row:
    return Row(
        id=number,
        path=directory + name,
        group=group,
        present=bool(present),
        doubted=bool(doubted),
        state=State(state),
        reason=reason,
        proof=proof,
        fingerprint=from_text(fingerprint),
        lane=lane,
        due=due,
        changed=changed,
        found=found,
        since=since,
        key=key,
        item=item,
        bag=bag,
        digest=digest,
        seal=seal,
        follows=follows,
    )


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(os.fsencode(os.path.abspath(path)))
