"""Replicas in a directory: another disk, or another machine's share that is mounted.

Job: copies that appear whole or not at all. Limits: a directory is recognised by a file
that was put there when it was added, so that a mount point without its disk is
*unreachable*, not empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from archiver.errors import (
    AlreadyExistsError,
    DestinationError,
    StorageError,
    storage_error,
)
from archiver.filesystem import (
    RenameFallback,
    open_regular,
    read_regular,
    rename_no_replace,
    sync_directory,
    sync_tree,
    write_new_file,
)
from archiver.i18n import _

__all__ = ["LocalStorage", "prepare_directory"]

MARK_FILE = "archiver-replica.json"
_BAGS = "bags"
_LOGS = "custody"
_STAGING = ".archiver-staging"
_ASIDE = "set-aside"
_AMENDMENTS = "amendments"
_MAX_KEPT_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """See :class:`~archiver.storage.Storage`. ``vault`` is the identifier of whose it is."""

    name: str
    directory: str
    vault: str
    location: str = ""

    def reachable(self) -> str:
        """See the protocol."""
        try:
            mark = json.loads(read_regular(os.path.join(self.directory, MARK_FILE), 1 << 16))
            whose = mark["vault"], mark["name"]
        except FileNotFoundError:
            return _("{path} is not there, or its disk is not mounted").format(path=self.directory)
        except OSError as error:
            return error.strerror or str(error)
        except (ValueError, KeyError, TypeError, RecursionError):
            return _("{path} is damaged").format(path=os.path.join(self.directory, MARK_FILE))
        if whose != (self.vault, self.name):
            return _("{path} holds another vault's replica").format(path=self.directory)
        return self.leads_elsewhere()

    def leads_elsewhere(self) -> str:
        """What stands against writing and reading here: one of its directories is a link."""
        for path in self._own_directories():
            if os.path.islink(path):
                return _("{path} is a link; what is kept here must lie here").format(path=path)
        return ""

    def disk(self) -> str:
        """See the protocol."""
        try:
            return str(os.stat(os.path.join(self.directory, _BAGS)).st_dev)
        except OSError:  # none there yet, or gone since a moment ago
            return self.directory

    def _own_directories(self) -> Iterator[str]:
        """Those that copies are written to and read from: none may lead elsewhere."""
        for name in (_BAGS, _STAGING, _ASIDE, _LOGS, _AMENDMENTS):
            parent = os.path.join(self.directory, name)
            yield parent
            if os.path.isdir(parent) and not os.path.islink(parent):
                yield from (os.path.join(parent, case) for case in os.listdir(parent))

    def path(self, case: str, item: str) -> str:
        """See the protocol."""
        if any(os.path.basename(one) != one or one.startswith(".") for one in (case, item)):
            raise StorageError(_("{item!r} can't be an item's name").format(item=f"{case}/{item}"))
        return os.path.join(self.directory, _BAGS, case, item)

    def has(self, case: str, item: str) -> bool:
        """See the protocol."""
        return os.path.lexists(self.path(case, item))

    def put(self, case: str, item: str, source: str) -> str:
        """See the protocol."""
        target = self.path(case, item)
        staged = os.path.join(self.directory, _STAGING, case, os.path.basename(target))
        try:
            self.discard(staged)
            os.makedirs(os.path.dirname(staged), mode=0o700, exist_ok=True)
            _copy_tree(source, staged)
            sync_tree(staged)
        except OSError as error:
            with contextlib.suppress(StorageError):
                self.discard(staged)
            raise storage_error(error, self.directory) from error
        return staged

    def commit(self, case: str, item: str, staged: str) -> None:
        """See the protocol."""
        target = self.path(case, item)
        try:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            with _writable(staged), contextlib.suppress(RenameFallback):
                rename_no_replace(staged, target)
            if os.path.isdir(target):
                _copy_mode_of_base(target)
            sync_directory(os.path.dirname(target))
        except FileExistsError as error:
            raise DestinationError(_("{path} exists already").format(path=target)) from error
        except OSError as error:
            raise storage_error(error, target) from error

    def discard(self, staged: str) -> None:
        """See the protocol."""
        if os.path.isdir(staged) and not os.path.islink(staged):
            for directory, _directories, _files in os.walk(staged):
                with contextlib.suppress(OSError):
                    os.chmod(directory, 0o700)
            try:
                shutil.rmtree(staged)
            except OSError as error:
                raise storage_error(error, staged) from error

    def log_size(self, case: str) -> int:
        """See the protocol."""
        try:
            return os.lstat(os.path.join(self.directory, _LOGS, f"{case}.jsonl")).st_size
        except OSError:
            return 0

    def compare_log(self, case: str, source: str) -> str:
        """See the protocol."""
        target = os.path.join(self.directory, _LOGS, f"{case}.jsonl")
        try:
            with (
                open(open_regular(target), "rb") as theirs,
                open(open_regular(source), "rb") as ours,
            ):
                if _begins_like(ours, theirs):
                    return ""
        except FileNotFoundError:
            return "" if not os.path.lexists(target) else _("the vault has no such log")
        except OSError as error:
            return error.strerror or str(error)
        return _("{path} is not how the vault's log begins").format(path=target)

    def keep_file(self, name: str, source: str) -> str:
        """See the protocol."""
        target = self.file_path(name)
        try:
            data = read_regular(source, _MAX_KEPT_BYTES)
            if os.path.lexists(target):
                same = read_regular(target, _MAX_KEPT_BYTES) == data
                return (
                    "" if same else _("{path} is another one than the vault's").format(path=target)
                )
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            write_new_file(target, data, 0o444)
        except OSError as error:
            raise storage_error(error, target) from error
        return ""

    def file_path(self, name: str) -> str:
        """See the protocol."""
        return os.path.join(self.directory, *name.split("/"))

    def set_file_aside(self, case: str, name: str, mark: str) -> str:
        """See the protocol."""
        source = self.file_path(name)
        if not os.path.lexists(source):
            return ""
        base = f"{'.'.join(name.split('/')[1:])}.{mark}"
        target = os.path.join(self.directory, _ASIDE, case, base)
        try:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            with contextlib.suppress(RenameFallback):
                rename_no_replace(source, target)
            sync_directory(os.path.dirname(target))
            sync_directory(os.path.dirname(source))
        except OSError as error:
            raise storage_error(error, source) from error
        return target

    def keep_log(self, case: str, source: str, size_bytes: int) -> str:
        """See the protocol."""
        target = os.path.join(self.directory, _LOGS, f"{case}.jsonl")
        try:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            with open(source, "rb") as ours:
                if not os.path.lexists(target):
                    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                with open(open_regular(target, os.O_RDWR), "r+b") as theirs:
                    if not _begins_like(ours, theirs):
                        return _("{path} is not how the vault's log begins").format(path=target)
                    while data := ours.read(min(1 << 20, max(0, size_bytes - ours.tell()))):
                        theirs.write(data)
                    theirs.flush()
                    os.fsync(theirs.fileno())
            sync_directory(os.path.dirname(target))
        except OSError as error:
            raise storage_error(error, target) from error
        return ""

    def set_aside(self, case: str, item: str, mark: str) -> str:
        """See the protocol."""
        source = self.path(case, item)
        target = os.path.join(self.directory, _ASIDE, case, f"{item}.{mark}")
        try:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            with _writable(source), contextlib.suppress(RenameFallback):
                rename_no_replace(source, target)
            sync_directory(os.path.dirname(target))
            sync_directory(os.path.dirname(source))
        except OSError as error:
            raise storage_error(error, source) from error
        return target


def _begins_like(whole: BinaryIO, part: BinaryIO) -> bool:
    """Whether ``whole`` begins with all of ``part``; both are left right behind it."""
    while data := part.read(1 << 20):
        if whole.read(len(data)) != data:
            return False
    return True


@contextlib.contextmanager
def _writable(directory: str) -> Iterator[None]:
    """A directory that is renamed must be writable, for all but root."""
    if os.path.isdir(directory) and not os.path.islink(directory):
        os.chmod(directory, stat.S_IMODE(os.stat(directory).st_mode) | stat.S_IWUSR)
    yield


def _copy_mode_of_base(target: str) -> None:
    mode = stat.S_IMODE(os.stat(target).st_mode)
    with contextlib.suppress(OSError):
        os.chmod(target, mode & ~0o222)


def _copy_tree(source: str, target: str) -> None:
    """Regular files and directories, with times and modes; whatever else lies in a bag is
    no part of one.
    """
    os.mkdir(target, 0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            goal = os.path.join(target, entry.name)
            if entry.is_dir(follow_symlinks=False):
                _copy_tree(entry.path, goal)
            elif entry.is_file(follow_symlinks=False):
                shutil.copyfile(entry.path, goal, follow_symlinks=False)
                shutil.copystat(entry.path, goal, follow_symlinks=False)
            else:
                raise StorageError(_("{path} is not a regular file").format(path=entry.path))
    shutil.copystat(source, target)
    os.chmod(target, stat.S_IMODE(os.stat(source).st_mode) | stat.S_IWUSR)


def prepare_directory(
    directory: str, name: str, vault: str, *, away_from: str, location: str = ""
) -> LocalStorage:
    """Make ``directory`` a place for replicas of ``vault``: new or empty, or its own already,
    and not in ``away_from``, the vault.

    Raises AlreadyExistsError, DestinationError, StorageError.
    """
    directory, own = os.path.realpath(directory), os.path.realpath(away_from)
    if os.path.commonpath([directory, own]) == own:
        raise DestinationError(
            _("{path} lies in the vault").format(path=directory),
            hint=_("Choose a directory on another disk."),
        )
    storage = LocalStorage(name, directory, vault, location)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        if not storage.reachable():
            return storage
        if os.listdir(directory):
            raise AlreadyExistsError(
                _("{path} is not empty").format(path=directory),
                hint=_("Choose a new directory for the replica."),
            )
        mark = json.dumps({"name": name, "schema": "archiver/replica/1", "vault": vault})
        write_new_file(os.path.join(directory, MARK_FILE), mark.encode() + b"\n", 0o644)
    except OSError as error:
        raise storage_error(error, directory) from error
    return storage
