"""Staging: a bag is built beside its destination and appears in one rename.

Job: the hidden staging directory, its lock, its journal, the commit. Limits:
what lies in the bag is the business of :mod:`archiver.bag.write`.

A kill at any instant leaves no bag or a whole bag. What an interrupted run left
is recognised at the next by its name, which is derived from the destination's
name and tells nothing of it. Where its journal proves files finished it is
resumed; a journal entry is only written after the data it speaks of was synced,
and every file taken over is read again before it counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from archiver.bag.filesystem import RenameFallback, rename_no_replace, sync_directory, sync_tree
from archiver.errors import DestinationError, storage_error
from archiver.i18n import _

__all__ = ["Finished", "Staging", "refuse_existing"]

_PREFIX = ".archiver-staging-"
_SCHEMA = "archiver/staging/1"


@dataclass(frozen=True, slots=True)
class Finished:
    """A file that an earlier run finished: (size, mtime, ctime, inode) of its source,
    its digests joined, its holes.
    """

    planned: tuple[int, ...]
    digests: bytes
    holes: list[tuple[int, int]]


class Staging:
    """The staging directory of one destination, locked while it exists."""

    def __init__(self, destination: str, fingerprint: str) -> None:
        """``fingerprint`` says what is being made: only a run for the same is resumed."""
        self.destination = os.path.abspath(destination)
        self._parent, name = os.path.split(self.destination)
        mark = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        self.path = os.path.join(self._parent, _PREFIX + mark)
        self.bag = os.path.join(self.path, "bag")
        self._journal_path = os.path.join(self.path, "journal.jsonl")
        self._fingerprint = fingerprint
        self._journal: int | None = None
        self.lock = -1
        self.finished: dict[str, Finished] = {}
        self.said_fallback = False

    def open(self) -> None:
        """Take the staging directory: new, or what an earlier run left."""
        try:
            while not self._take_lock():
                pass  # another run finished and removed it in this very moment
            self.finished = self._read_journal()
            if not self.finished:
                self._empty()
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.bag, 0o700)
        except OSError as error:
            self.discard()
            raise storage_error(error, self._parent) from error

    def _take_lock(self) -> bool:
        """Lock the directory; False where what was locked is no longer that directory."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path, 0o700)
        self.lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self.lock)
            self.lock = -1
            raise DestinationError(
                _("{path} is being made by another process").format(path=self.destination),
                hint=_("Wait until it has finished, or choose another destination."),
            ) from error
        try:
            if os.path.samestat(os.lstat(self.path), os.fstat(self.lock)):
                return True
        except FileNotFoundError:
            pass
        os.close(self.lock)
        self.lock = -1
        return False

    def sweep(self) -> None:
        """Remove what a killed run left, where no run is alive."""
        if not os.path.lexists(self.path):
            return
        with contextlib.suppress(OSError, DestinationError):
            while not self._take_lock():
                pass
            self.discard()

    def _empty(self) -> None:
        for name in os.listdir(self.path):
            _remove(os.path.join(self.path, name))

    def _read_journal(self) -> dict[str, Finished]:
        """What the journal proves; nothing where it is of another run or torn at once."""
        finished: dict[str, Finished] = {}
        try:
            with open(self._journal_path, encoding="ascii") as lines:
                head = json.loads(lines.readline() or "{}")
                if head != {"schema": _SCHEMA, "fingerprint": self._fingerprint}:
                    return {}
                for line in lines:
                    record = json.loads(line)
                    finished[record["path"]] = Finished(
                        tuple(record["planned"]),
                        bytes.fromhex(record["digests"]),
                        [(start, length) for start, length in record["holes"]],
                    )
        except (OSError, ValueError, KeyError, TypeError):
            pass  # what was read before the torn line counts
        return finished

    def checkpoint(self, records: dict[str, Finished]) -> None:
        """Have finished files on the disk, then say so in the journal. Raises OSError."""
        sync_tree(self.bag)
        lines = []
        if self._journal is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            self._journal = os.open(self._journal_path, flags, 0o600)
            lines.append({"schema": _SCHEMA, "fingerprint": self._fingerprint})
        lines += [_record(path, one) for path, one in records.items()]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        data = memoryview(text.encode("ascii"))
        while data:
            data = data[os.write(self._journal, data) :]
        os.fsync(self._journal)
        sync_directory(self.path)

    def commit(self) -> None:
        """Make everything durable, then let the bag appear. Raises ArchiverError."""
        try:
            sync_tree(self.bag)
            try:
                rename_no_replace(self.bag, self.destination)
            except RenameFallback:
                self.said_fallback = True
            sync_directory(self._parent)
        except FileExistsError as error:
            raise _exists(self.destination) from error
        except OSError as error:
            raise storage_error(error, self.destination) from error

    def keep(self) -> None:
        """Leave what is there for a later run to go on from, if that is worth anything."""
        worth = (self._journal is not None or self.finished) and os.path.isdir(self.bag)
        self._release() if worth else self.discard()

    def discard(self) -> None:
        """Remove the staging directory and everything in it."""
        if self.lock >= 0:
            _remove(self.path)
        self._release()

    def _release(self) -> None:
        for descriptor in (self._journal, self.lock):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._journal, self.lock = None, -1

    def leftovers(self, known: set[str]) -> Iterator[str]:
        """Staged payload files (paths in the bag) that are not in ``known``."""
        for directory, _directories, files in os.walk(self.bag):
            inner = os.path.relpath(directory, self.bag)
            for name in files:
                path = name if inner == "." else f"{inner}/{name}"
                if path not in known:
                    yield path


def _record(path: str, finished: Finished) -> dict[str, Any]:
    return {
        "path": path,
        "planned": list(finished.planned),
        "digests": finished.digests.hex(),
        "holes": finished.holes,
    }


def refuse_existing(destination: str) -> None:
    """Raise DestinationError where ``destination`` is there, or its directory isn't."""
    if os.path.lexists(destination):
        raise _exists(destination)
    parent = os.path.dirname(os.path.abspath(destination))
    if not os.path.isdir(parent):
        raise DestinationError(
            _("the directory {path} does not exist").format(path=parent),
            hint=_("Make it first, or choose another destination."),
        )


def _exists(destination: str) -> DestinationError:
    return DestinationError(
        _("{path} exists already").format(path=destination),
        hint=_("Nothing is ever replaced: choose another name, or move it away yourself."),
    )


def _remove(path: str) -> None:
    """Remove a tree of ours, read-only directories included."""
    if not os.path.isdir(path) or os.path.islink(path):
        os.unlink(path)
        return
    for directory, _directories, _files in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(directory, 0o700)
    shutil.rmtree(path)
