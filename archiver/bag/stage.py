"""Staging: a bag is built beside its destination and appears in one rename.

Job: the hidden staging directory, its lock, its journal, the commit. Limits:
what lies in the bag is the business of :mod:`archiver.bag.write`.

A kill at any instant leaves no bag or a whole bag. What an interrupted run left
is recognised at the next by its name, which is derived from the destination's
name and tells nothing of it. Where its journal proves files finished it is
resumed; a journal entry is only written after the data it speaks of was synced,
and every file taken over is read again before it counts. Bags that are made together share a
staging directory (:class:`BatchStaging`) and its syncs; none of them is resumed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archiver.errors import ArchiverError, DestinationError, StorageError, storage_error
from archiver.filesystem import (
    RenameFallback,
    rename_no_replace,
    sync_directory,
    sync_tree,
    weaknesses,
)
from archiver.i18n import _

__all__ = [
    "BatchStaging",
    "Finished",
    "Slot",
    "Staging",
    "publish",
    "refuse_existing",
    "refuse_within_bag",
    "sweep_batches",
    "sweep_left",
]

_PREFIX = ".archiver-staging-"
_BATCH_PREFIX = ".archiver-batch-"
_ORPHAN_SECONDS = 2.0
"""How long processes that a killed run has left behind may take to end."""
_SCHEMA = "archiver/staging/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Files of one directory of the bag that are finished and on the disk.

    ``planned`` holds each source's (size, mtime, ctime, inode), ``digests`` are
    joined, ``holes`` go by name.
    """

    target: str
    names: list[str]
    planned: list[tuple[int, ...]]
    digests: bytes
    holes: dict[str, list[tuple[int, int]]]


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
        self.resumes = False
        self.said_fallback = False

    @property
    def weaknesses(self) -> frozenset[str]:
        """What the file system can't do, found by trying. Raises OSError."""
        return weaknesses(self.path)

    def open(self) -> None:
        """Take the staging directory: new, or what an earlier run left."""
        try:
            while not self._take_lock():
                pass  # another run finished and removed it in this very moment
            self.resumes = next(self._records(), None) is not None
            if not self.resumes:
                self._empty()
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.bag, 0o700)
        except OSError as error:
            self.discard()
            raise storage_error(error, self._parent) from error

    def _take_lock(self) -> bool:
        """Lock the directory; False where what was locked is no longer that directory."""
        made = self._make()
        try:
            self.lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            if made:
                os.rmdir(self.path)
            raise
        if not made and os.fstat(self.lock).st_uid != os.geteuid():
            self._release()
            raise DestinationError(
                _("{path} belongs to somebody else").format(path=self.path),
                hint=_("Have them remove it, or choose another destination."),
            )
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

    def _make(self) -> bool:
        """Make the directory; False where it is there. A link in its place is refused."""
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            return False
        return True

    def sweep(self) -> None:
        """Remove what a killed run left, where no run is alive and none could go on from it."""
        if not os.path.lexists(self.path):
            return
        with contextlib.suppress(OSError, DestinationError):
            while not self._take_lock():
                pass
            resumable = os.path.isdir(self.bag) and os.path.exists(self._journal_path)
            self._release() if resumable else self.discard()

    def _empty(self) -> None:
        for name in os.listdir(self.path):
            _remove(os.path.join(self.path, name))

    def finished(self) -> Iterator[Finished]:
        """What the journal proves, in the order it was written: later entries win."""
        for record in self._records():
            try:
                yield _finished(record)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue  # torn by a crash: what it spoke of is copied again

    def _records(self) -> Iterator[dict[str, Any]]:
        """The journal's entries; none where it is another run's, or isn't there."""
        wanted = {"schema": _SCHEMA, "fingerprint": self._fingerprint}
        try:
            with open(self._journal_path, encoding="ascii", errors="replace") as lines:
                if _parsed(next(lines, "")) != wanted:
                    return
                for line in lines:
                    record = _parsed(line)
                    if record is not None:
                        yield record
        except OSError:
            return

    def checkpoint(self, records: Iterable[Finished]) -> None:
        """Have finished files on the disk, then say so in the journal. Raises OSError."""
        sync_tree(self.bag)
        if self._journal is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._journal = os.open(self._journal_path, flags, 0o600)
            if self.resumes:
                self._append("")  # ends a line that a crash has torn
            else:
                head = {"schema": _SCHEMA, "fingerprint": self._fingerprint}
                self._append(json.dumps(head))
        for record in records:
            self._append(json.dumps(asdict(record) | {"digests": record.digests.hex()}))
        os.fsync(self._journal)
        sync_directory(self.path)

    def _append(self, line: str) -> None:
        assert self._journal is not None
        data = memoryview(f"{line}\n".encode("ascii"))
        while data:
            data = data[os.write(self._journal, data) :]

    def commit(self) -> None:
        """Make everything durable, then let the bag appear. Raises ArchiverError."""
        try:
            sync_tree(self.bag)
        except OSError as error:
            raise storage_error(error, self.destination) from error
        (problem,) = publish([self])
        if problem is not None:
            raise problem

    def keep(self) -> None:
        """Leave what is there for a later run to go on from, if that is worth anything."""
        worth = (self._journal is not None or self.resumes) and os.path.isdir(self.bag)
        self._release() if worth else self.discard()

    def discard(self) -> None:
        """Remove the staging directory and everything in it, as far as that can be done:
        what stood in the way first is what has to be told.
        """
        for _attempt in range(2 if self.lock >= 0 else 0):
            try:
                _remove(self.path)
                break
            except OSError:
                continue  # a passing fault should leave nothing behind
        self._release()

    def _release(self) -> None:
        for descriptor in (self._journal, self.lock):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._journal, self.lock = None, -1

    def clear(self, keep: Callable[[str], set[str]]) -> None:
        """Remove staged files but those that ``keep`` names for a directory of the bag."""
        for directory, _directories, files in os.walk(self.bag):
            kept = keep(os.path.relpath(directory, self.bag))
            for name in files:
                if name not in kept:
                    os.unlink(os.path.join(directory, name))


class BatchStaging:
    """One staging directory in ``directory`` for bags that are made together, locked while it
    exists. Once it is complete it goes with the last of its slots.
    """

    def __init__(self, directory: str) -> None:
        self._directory = os.path.abspath(directory)
        self.path = ""
        self.lock = -1
        self.weaknesses: frozenset[str] = frozenset()
        self._made = 0
        self._open: set[str] = set()
        self._complete = False

    def open(self) -> None:
        """Make the directory and learn what its file system can't do. Raises StorageError."""
        try:
            while not self._make():
                pass  # taken for a killed run's in this very moment
            self.weaknesses = weaknesses(self.path)
        except OSError as error:
            self.close()
            raise storage_error(error, self._directory) from error

    def _make(self) -> bool:
        self.path = os.path.join(self._directory, _BATCH_PREFIX + secrets.token_hex(8))
        os.mkdir(self.path, 0o700)
        try:
            self.lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError:
            os.rmdir(self.path)
            raise
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.lstat(self.path), os.fstat(self.lock)):
                return True
        os.close(self.lock)
        self.lock = -1
        return False

    def slot(self, destination: str) -> Slot:
        """A place for one more bag. Raises OSError."""
        place = os.path.join(self.path, str(self._made))
        self._made += 1
        os.mkdir(place, 0o700)
        self._open.add(place)
        return Slot(self, place, os.path.abspath(destination))

    def leave(self, place: str) -> None:
        """The slot ``place`` is done with."""
        self._open.discard(place)
        if self._complete and not self._open:
            self.close()

    def complete(self) -> None:
        """No more slots are asked for: the last that is left takes the directory with it."""
        self._complete = True
        if not self._open:
            self.close()

    def close(self) -> None:
        """Remove the directory and everything in it, as far as that can be done."""
        if self.lock < 0:
            return
        for _attempt in range(2):
            try:
                _remove(self.path)
                break
            except OSError:
                continue  # a passing fault should leave nothing behind
        os.close(self.lock)
        self.lock = -1


class Slot:
    """One bag's place in a batch: as :class:`Staging`, but that it is never resumed."""

    resumes = False

    def __init__(self, batch: BatchStaging, place: str, destination: str) -> None:
        self._batch = batch
        self.path, self.lock = batch.path, batch.lock
        self.bag, self.destination = place, destination
        self.said_fallback = False

    @property
    def weaknesses(self) -> frozenset[str]:
        """What the file system can't do."""
        return self._batch.weaknesses

    def finished(self) -> Iterator[Finished]:
        """Nothing: no run goes on from here."""
        return iter(())

    def checkpoint(self, records: Iterable[Finished]) -> None:
        """Nothing is kept for a later run."""

    def clear(self, keep: Callable[[str], set[str]]) -> None:
        """There is nothing from an earlier run."""

    def discard(self) -> None:
        """Remove what is there of the bag, as far as that can be done."""
        if os.path.lexists(self.bag):
            with contextlib.suppress(OSError):
                _remove(self.bag)
        self._batch.leave(self.bag)


def sweep_batches(directory: str) -> None:
    """Remove what killed runs have left of batches in ``directory``. Raises StorageError."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    try:
        found = [name for name in os.listdir(directory) if name.startswith(_BATCH_PREFIX)]
        for name in found:
            _sweep(os.path.join(directory, name), deadline)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, directory) from error


def _sweep(path: str, deadline: float) -> None:
    """Remove one batch's directory, unless it is ours no more or its run is alive."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return
                time.sleep(0.05)
        if os.path.lexists(path):
            _remove(path)
    finally:
        os.close(lock)


def publish(staged: Sequence[Staging | Slot]) -> list[ArchiverError | None]:
    """Let bags that are synced appear, each in one rename that replaces nothing, and sync
    each directory once; for each what stood against it.
    """
    problems: list[ArchiverError | None] = [_appear(one) for one in staged]
    parents: dict[str, list[int]] = {}
    for index, one in enumerate(staged):
        if problems[index] is None:
            parents.setdefault(os.path.dirname(one.destination), []).append(index)
    for parent, indices in parents.items():
        try:
            sync_directory(parent)
        except OSError as error:
            for index in indices:
                problems[index] = _storage_error(error, staged[index].destination)
    return problems


def _appear(one: Staging | Slot) -> ArchiverError | None:
    try:
        rename_no_replace(one.bag, one.destination)
    except RenameFallback:
        one.said_fallback = True
    except FileExistsError as error:
        problem = _exists(one.destination)
        problem.__cause__ = error
        return problem
    except OSError as error:
        return _storage_error(error, one.destination)
    return None


def _storage_error(error: OSError, place: str) -> StorageError:
    problem = storage_error(error, place)
    problem.__cause__ = error
    return problem


def _finished(record: dict[str, Any]) -> Finished:
    """A journal entry. Raises KeyError, TypeError, ValueError, AttributeError where it
    is none.
    """
    target, names, planned = record["target"], record["names"], record["planned"]
    if not all(isinstance(text, str) for text in (target, *names)) or len(names) != len(planned):
        raise ValueError
    return Finished(
        target=target,
        names=names,
        planned=[tuple(one) for one in planned],
        digests=bytes.fromhex(record["digests"]),
        holes={
            name: [(start, length) for start, length in holes]
            for name, holes in record["holes"].items()
        },
    )


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def refuse_existing(destination: str) -> None:
    """Raise DestinationError where ``destination`` is there, or its directory isn't. Where it
    is there, nobody goes on from what a killed run left beside it: that is removed.
    """
    if os.path.lexists(destination):
        sweep_left(destination)
        raise _exists(destination)
    parent = os.path.dirname(os.path.abspath(destination))
    if not os.path.isdir(parent):
        raise DestinationError(
            _("the directory {path} does not exist").format(path=parent),
            hint=_("Make it first, or choose another destination."),
        )


def sweep_left(destination: str) -> None:
    """Remove what a run that was killed just after its bag appeared has left in staging."""
    Staging(destination, "").sweep()


def refuse_within_bag(destination: str) -> None:
    """Raise DestinationError where ``destination`` lies in a bag: writing there breaks it."""
    place = os.path.realpath(destination)
    while True:
        if os.path.exists(os.path.join(place, "bagit.txt")):
            raise DestinationError(
                _("{path} lies in the bag {bag}").format(path=destination, bag=place),
                hint=_("What is added to a bag breaks it: choose another destination."),
            )
        place, before = os.path.dirname(place), place
        if place == before:
            return


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
