"""What lies in a watched folder, compared with its journal.

Job: walk a folder, or a part of it, and write into the journal what is new, changed, gone.
Limits: never opens a file; links, pipes and devices are noted by kind and left alone.

Every directory is opened component by component with O_NOFOLLOW, from a root whose device
and inode were compared first: an unmounted share never looks like a folder that was emptied.
Memory holds the names of one directory at a time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from archiver.bag.tree import MAX_DEPTH, kind_of_mode
from archiver.filesystem import NETWORK_TYPES, file_system_type
from archiver.i18n import N_
from archiver.watch.journal import Journal, Known, Row, Wait, split, to_text
from archiver.watch.model import Fingerprint, State
from archiver.watch.rules import DESCRIPTION, Rules

__all__ = [
    "RELEASED",
    "Identity",
    "Look",
    "Scanner",
    "fingerprint_of",
    "identify",
    "open_directory",
    "same",
]

RELEASED = N_("let go by hand")
"""Why a file that was in quarantine is left out now."""
_Change = Callable[[], None]
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_ONCE = 2000
"""Changes written in one transaction."""
_TELL_SECONDS = 0.25
_ARCHIVED = State.ARCHIVED.value
_PLAIN = {state.value for state in (State.SEEN, State.STABLE, State.QUARANTINED, State.IGNORED)}
"""States in which only other rules could make a difference to an unchanged file."""
_ORPHAN_FACTOR = 10
"""A description whose file isn't there waits so many quiet periods for it."""
_RENUMBERING = ("vfat", "msdos", "exfat", "fuse")
"""File systems that may give the same file another inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which folder it is that lies at the path of the root."""

    kind: str
    device: int
    fsid: int
    inode: int

    @property
    def is_share(self) -> bool:
        """Whether changes may be made by other machines."""
        return self.kind in NETWORK_TYPES or self.kind.startswith("fuse.")

    @property
    def renumbers(self) -> bool:
        """Whether inode and ctime say nothing here."""
        return self.kind.startswith(_RENUMBERING)

    def is_same(self, other: Identity) -> bool:
        """Device numbers may change when it is mounted again; then the file system's own
        identifier must agree (shares have none).
        """
        if self.kind != other.kind or (self.inode != other.inode and not self.renumbers):
            return False
        known = self.fsid != 0 and self.fsid == other.fsid
        return self.device == other.device or known or self.is_share

    def to_text(self) -> str:
        """As the journal remembers it."""
        return f"{self.device} {self.fsid} {self.inode} {self.kind}"

    @classmethod
    def from_text(cls, text: str) -> Identity:
        """What :meth:`to_text` wrote."""
        device, fsid, inode, kind = text.split(" ", 3)
        return cls(kind=kind, device=int(device), fsid=int(fsid), inode=int(inode))


def identify(path: str, descriptor: int) -> Identity:
    """The identity of the directory that is open there. Raises OSError."""
    found = os.fstat(descriptor)
    return Identity(
        kind=file_system_type(path),
        device=found.st_dev,
        fsid=os.fstatvfs(descriptor).f_fsid,
        inode=found.st_ino,
    )


def fingerprint_of(found: os.stat_result) -> Fingerprint:
    """What must stay the same."""
    return Fingerprint(
        device=found.st_dev,
        inode=found.st_ino,
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
    )


def same(left: Fingerprint, right: Fingerprint, *, renumbers: bool = False) -> bool:
    """Whether it is the same file, unchanged. Devices don't count: they change with mounts,
    and that the root is the same one is known already.
    """
    if (left.size_bytes, left.mtime_ns) != (right.size_bytes, right.mtime_ns):
        return False
    return renumbers or (left.inode, left.ctime_ns) == (right.inode, right.ctime_ns)


def open_directory(root: int, directory: bytes) -> int:
    """Open ``directory`` ("" or "a/b/") below ``root``, following no link. Raises OSError."""
    descriptor = os.open(b".", _DIRECTORY, dir_fd=root)
    for part in directory.split(b"/"):
        if part:
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
    return descriptor


@dataclass(slots=True)
class Look:
    """What a look found. ``complete``: every directory could be read."""

    directories: int = 0
    files: int = 0
    changes: int = 0
    complete: bool = True


class Scanner:
    """Compares one folder with its journal."""

    def __init__(
        self,
        journal: Journal,
        rules: Rules,
        identity: Identity,
        monotonic: Callable[[], float],
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """``between`` is called now and then, with nothing left unwritten."""
        self._journal = journal
        self._rules = rules
        self._identity = identity
        self._monotonic = monotonic
        self._between = between
        self.doubtful = False
        """Whether new files may be in the archive already: the journal was made anew."""
        self.thorough = True
        """Whether the rules may be others than at the last look."""

    @property
    def renumbers(self) -> bool:
        """Whether inode and ctime say nothing in this folder."""
        return self._identity.renumbers

    @property
    def is_share(self) -> bool:
        """Whether other machines may change it."""
        return self._identity.is_share

    def quiet_seconds(self, size_bytes: int) -> float:
        """How long a file must be unchanged before it may have settled."""
        policy = self._rules.policy
        waits = [policy.quiet_seconds]
        if self._identity.is_share or self._identity.renumbers:
            waits.append(policy.share_quiet_seconds)
        if size_bytes == 0:
            waits.append(policy.empty_quiet_seconds)
        return max(waits)

    def whole(self, root: int) -> Look:
        """Look at everything below ``root`` (an open directory)."""
        return self.tree(root, b"")

    def tree(self, root: int, directory: bytes) -> Look:
        """Look at a directory ("" or "a/b/") and all below it. Raises StorageError."""
        return _Pass(self, root).run(directory, deep=True)

    def directory(self, root: int, directory: bytes) -> Look:
        """Look at the files of one directory only. Raises StorageError."""
        return _Pass(self, root).run(directory, deep=False)


class _Pass:
    """One look: changes are gathered and written many at a time."""

    def __init__(self, scanner: Scanner, root: int) -> None:
        self._scanner = scanner
        self._journal = scanner._journal  # two halves of one thing
        self._rules = scanner._rules
        self._renumbers = scanner._identity.renumbers
        self._monotonic = scanner._monotonic
        self._root = root
        self._look = Look()
        self._todo: list[_Change] = []
        self._unreadable: list[bytes] = []
        self._marked: list[bytes] = []
        self._told = self._monotonic()

    def run(self, directory: bytes, *, deep: bool) -> Look:
        seen = self._walk(directory, deep=deep)
        self._write()
        if deep:
            for known in list(self._journal.directories(directory)):
                if known not in seen and not known.startswith(tuple(self._unreadable)):
                    self._everything_gone(known)
        elif directory not in seen and directory not in self._unreadable:
            self._everything_gone(directory)
        self._write()
        for group in self._marked:
            self._journal.hurry(group, self._monotonic())
        return self._look

    def _walk(self, first: bytes, *, deep: bool) -> set[bytes]:
        stack, seen = [first], set[bytes]()
        while stack:
            directory = stack.pop()
            if directory and self._rules.skips(directory[:-1]):
                continue
            if directory.count(b"/") > MAX_DEPTH:
                self._cannot_read(directory)
                continue
            try:
                descriptor = open_directory(self._root, directory)
            except FileNotFoundError:
                continue  # gone meanwhile, or before
            except NotADirectoryError:
                continue  # replaced by something else
            except OSError:
                self._cannot_read(directory)
                continue
            try:
                below = self._compare(directory, descriptor)
                seen.add(directory)
            except OSError:
                self._cannot_read(directory)
                continue
            finally:
                os.close(descriptor)
            if deep:
                stack.extend(reversed(below))
        return seen

    def _cannot_read(self, directory: bytes) -> None:
        """What lies there may still be there: nothing is called gone."""
        self._unreadable.append(directory)
        self._look.complete = False

    def _compare(self, directory: bytes, descriptor: int) -> list[bytes]:
        """One directory against its rows, both in the order of their names; the directories
        in it.
        """
        self._look.directories += 1
        below: list[bytes] = []
        with os.scandir(descriptor) as entries:
            names = [os.fsencode(entry.name) for entry in entries]
        names.sort()
        rows = self._journal.known(directory)
        row = next(rows, None)
        for name in names:
            while row is not None and row[0] < name:
                self._missing(row)
                row = next(rows, None)
            mine = row if row is not None and row[0] == name else None
            found = _stat(name, descriptor)
            if found is not None and stat.S_ISDIR(found.st_mode):
                below.append(directory + name + b"/")
                found = None
            if found is not None:
                self._look.files += 1
                if mine is None or not self._is_settled(mine, found):
                    known = None if mine is None else self._journal.row(mine[1])
                    self._found(directory + name, known, found, descriptor)
            elif mine is not None:
                self._missing(mine)
            if mine is not None:
                row = next(rows, None)
            self._pause()
        while row is not None:
            self._missing(row)
            row = next(rows, None)
        return below

    def _is_settled(self, known: Known, found: os.stat_result) -> bool:
        """Whether nothing can be new about it: true of nearly all, so it has to be quick."""
        name, _number, state, present, fingerprint = known
        return (
            present == 1
            and (state == _ARCHIVED or (state in _PLAIN and not self._scanner.thorough))
            and not name.endswith(DESCRIPTION)
            and fingerprint == to_text(fingerprint_of(found))
        )

    def _pause(self) -> None:
        if len(self._todo) >= _AT_ONCE or self._monotonic() - self._told > _TELL_SECONDS:
            self._write()

    def _write(self) -> None:
        if self._todo:
            self._look.changes += len(self._todo)
            with self._journal.together():
                for change in self._todo:
                    change()
            self._todo.clear()
        self._told = self._monotonic()
        self._scanner._between()

    def _everything_gone(self, directory: bytes) -> None:
        for row in self._journal.known(directory):
            self._missing(row)
            self._pause()

    def _missing(self, known: Known) -> None:
        _name, number, state, present, _fingerprint = known
        if present and state != State.INGESTING.value:
            self._todo.append(partial(self._gone, number))

    def _gone(self, number: int) -> None:
        self._journal.gone(self._journal.row(number))

    def _found(self, path: bytes, row: Row | None, found: os.stat_result, at: int) -> None:
        fingerprint = fingerprint_of(found)
        reason = "" if stat.S_ISREG(found.st_mode) else kind_of_mode(found.st_mode)
        reason = reason or self._rules.ignored(path)
        group = self._group(path, at)
        if row is None:
            self._new(path, group, fingerprint, reason)
        elif row.state is State.INGESTING:
            pass  # looked at again when that is over
        elif not same(row.fingerprint, fingerprint, renumbers=self._renumbers):
            self._changed(row, fingerprint, reason)
        else:
            self._unchanged(row, group, fingerprint, reason)

    def _group(self, path: bytes, at: int) -> bytes:
        """The unit: a description belongs to its file, where that is there."""
        group = self._rules.group(path)
        directory, name = split(path)
        base = self._rules.described(name) if group == path else b""
        if base and not self._rules.ignored(directory + base):
            found = _stat(base, at)
            if found is not None and stat.S_ISREG(found.st_mode):
                return directory + base
        return group

    def _wait(self, path: bytes, group: bytes, fingerprint: Fingerprint) -> Wait:
        now = self._monotonic()
        quiet = self._scanner.quiet_seconds(fingerprint.size_bytes)
        if group == path and self._rules.described(split(path)[1]):
            quiet *= _ORPHAN_FACTOR
        elif group.endswith(b"/"):
            quiet *= 2  # the second look is made when they end
        return Wait(now, now + quiet)

    def _new(self, path: bytes, group: bytes, fingerprint: Fingerprint, reason: str) -> None:
        if reason:
            self._todo.append(partial(self._journal.ignore, path, group, fingerprint, reason))
            self._note_marker(path)
            return
        wait = self._wait(path, group, fingerprint)
        doubted = self._scanner.doubtful
        self._todo.append(
            partial(self._journal.add, path, group, fingerprint, wait, doubted=doubted)
        )

    def _changed(self, row: Row, fingerprint: Fingerprint, reason: str) -> None:
        wait = self._wait(row.path, row.group, fingerprint)
        if row.state in (State.ARCHIVED, State.DISPOSED):
            if not reason:
                self._later(row, self._new_version(row, fingerprint, wait))
            return
        changes = [partial(self._journal.changed, row, fingerprint, wait)]
        if reason:
            changes.append(partial(self._journal.turn, [row], State.IGNORED, reason=reason))
            self._note_marker(row.path)
        self._later(row, *changes)

    def _unchanged(self, row: Row, group: bytes, fingerprint: Fingerprint, reason: str) -> None:
        journal, state, changes = self._journal, row.state, list[_Change]()
        wait = self._wait(row.path, group, fingerprint)
        waiting = state in (State.SEEN, State.STABLE, State.QUARANTINED, State.VANISHED)
        if waiting and reason:
            changes.append(partial(journal.changed, row, fingerprint, wait))
            changes.append(partial(journal.turn, [row], State.IGNORED, reason=reason))
        elif state is State.VANISHED or (state is State.IGNORED and self._let_in(row, reason)):
            changes.append(partial(journal.changed, row, fingerprint, wait))
        elif state is State.DISPOSED:
            changes.append(self._new_version(row, fingerprint, wait))
        elif not row.present:
            changes.append(partial(journal.back, row))
        if row.group != group:
            changes.append(partial(journal.regroup, row, group))
        if changes:
            self._later(row, *changes)

    def _new_version(self, row: Row, fingerprint: Fingerprint, wait: Wait) -> _Change:
        doubted = self._scanner.doubtful
        return partial(self._journal.new_version, row, fingerprint, wait, doubted=doubted)

    def _later(self, row: Row, *changes: _Change) -> None:
        """With others, in one transaction; unless the row is in another state by then: it is
        being archived, and its directory is looked at again when that is over.
        """
        self._todo.append(partial(self._unless_other, row, changes))

    def _unless_other(self, row: Row, changes: Sequence[_Change]) -> None:
        now = self._journal.row(row.id)
        if (now.state, now.present, now.path) == (row.state, row.present, row.path):
            for change in changes:
                change()

    @staticmethod
    def _let_in(row: Row, reason: str) -> bool:
        """The rules changed, and a person didn't let it go."""
        return not reason and row.reason != RELEASED

    def _note_marker(self, path: bytes) -> None:
        if self._rules.policy.group == "folder" and self._rules.is_marker(path):
            self._marked.append(self._rules.group(path))


def _stat(name: bytes, at: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None
