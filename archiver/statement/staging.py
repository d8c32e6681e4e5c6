"""Where a statement's ciphertexts are until they are in their bag, and what a kill leaves.

Job: a directory in the vault, or beside a bag that is made without one, 0700, locked while its
run is alive, in which nothing but ciphertext is ever written; what killed runs have left is
brought to an end. Another of the kind is for what is opened. Limits: encrypts nothing.

Its name tells of the case and of a number made by chance, which is also the key of the item
in the log: so nothing that could be guessed is ever made a digest of. A run that was killed
leaves ciphertext here at most; the next run removes it, and ends the item's number: sealed
where the bag is there and proves intact, else withdrawn.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from archiver.catalog.model import BEGUN, Item
from archiver.custody import Event
from archiver.describe import KINDS
from archiver.errors import ArchiverError, VaultError, storage_error
from archiver.filesystem import read_regular
from archiver.i18n import _
from archiver.ingest import IngestOptions, withdraw
from archiver.ingest.numbers import Payload, check_left, end, facts, is_named
from archiver.statement.envelope import DESCRIPTION_PATH, MAX_RECORD_BYTES
from archiver.vault import BAGS, Vault
from archiver.vault.records import reading
from archiver.verify import VerificationReport

__all__ = [
    "CODE_LABEL",
    "KEY_PREFIX",
    "KIND_LABEL",
    "Staged",
    "description_fact",
    "opening_beside",
    "settle_left",
    "staged_beside",
    "staged_in",
]

KIND_LABEL, CODE_LABEL = "Archiver-Kind", "Archiver-Code"
"""In bag-info.txt: all that is told in clear."""
KEY_PREFIX = "statement:"
"""Of the keys in the log: what follows is made by chance."""
_PREFIX = ".archiver-statement-"
_NAME = re.compile(re.escape(_PREFIX) + r"(?P<case>[a-z0-9._-]{1,64})-(?P<token>[0-9a-f]{64})")
_SECRET, _OPENING = ".archiver-secret-", ".archiver-opening-"
_TOKEN = re.compile(r"[0-9a-f]{64}")
_INTERRUPTED = "interrupted"
_TRIES = 3


def staged_in(vault: Vault, case: str) -> Staged:
    """For an item of ``case``."""
    return Staged(os.path.join(vault.path, BAGS), f"{_PREFIX}{case}-")


def staged_beside(destination: str) -> Staged:
    """For a bag that is to appear at ``destination``. What killed runs have left beside it is
    removed. Raises StorageError.
    """
    return _beside(destination, _SECRET)


def opening_beside(destination: str) -> Staged:
    """For plain files that are to appear at ``destination``; as :func:`staged_beside`."""
    return _beside(destination, _OPENING)


def _beside(destination: str, prefix: str) -> Staged:
    place = os.path.dirname(os.path.abspath(destination))
    try:
        names = sorted(os.listdir(place))
    except OSError as error:
        raise storage_error(error, place) from error
    for name in names:
        if name.startswith(prefix) and _TOKEN.fullmatch(name.removeprefix(prefix)):
            with contextlib.suppress(OSError), _dead(os.path.join(place, name)):
                shutil.rmtree(os.path.join(place, name), ignore_errors=True)
    return Staged(place, prefix)


class Staged:
    """The directory of one run, in ``place``: ``payload`` is what becomes ``data/``."""

    def __init__(self, place: str, prefix: str) -> None:
        self._place, self._prefix = place, prefix
        self.token = self.path = self.payload = ""
        self._lock = -1

    @property
    def key(self) -> str:
        """The item's key in the log: by chance."""
        return f"{KEY_PREFIX}{self.token}"

    def __enter__(self) -> Self:
        for attempt in range(_TRIES):
            try:
                self._make()
                break
            except OSError as error:
                self.__exit__(None, None, None)
                # Another run may have taken it for a dead one's in this very moment.
                taken = isinstance(error, FileNotFoundError | BlockingIOError)
                if not taken or attempt == _TRIES - 1:
                    raise storage_error(error, self._place) from error
        return self

    def _make(self) -> None:
        self.token = secrets.token_hex(32)
        self.path = os.path.join(self._place, f"{self._prefix}{self.token}")
        self.payload = os.path.join(self.path, "payload")
        os.mkdir(self.path, 0o700)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.mkdir(self.payload, 0o700)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.leave()

    def leave(self) -> None:
        """Let go of it as a killed run would: the next :func:`settle_left` brings it to an end."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def create(self, path: str) -> Any:
        """A new file for the ciphertext ``data/…`` at ``path``, unbuffered. Raises OSError."""
        place = os.path.join(self.payload, path.removeprefix("data/"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return open(os.open(place, flags, 0o600), "wb", buffering=0)


def description_fact(data: bytes, kind: str, code: str) -> dict[str, str]:
    """What the log keeps of a description, which are the bytes of its ciphertext. ``code`` is
    the witness's, "" where it is no statement's.
    """
    return {
        **({"code": code} if code else {}),
        "kind": kind,
        "path": DESCRIPTION_PATH,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def settle_left(vault: Vault, options: IngestOptions) -> list[str]:
    """Bring to an end what killed runs have left, and remove their ciphertext; the items that
    it was about. What another user has left is for that one's next run. Raises ArchiverError
    where one can't be ended, once all the others are.
    """
    settled: list[str] = []
    problem: ArchiverError | None = None
    try:
        names = os.listdir(os.path.join(vault.path, BAGS))
    except OSError as error:
        raise storage_error(error, vault.path) from error
    for name in sorted(names):
        try:
            settled.extend(_settle(vault, name, options))
        except (ArchiverError, OSError) as error:
            told = error if isinstance(error, ArchiverError) else storage_error(error, vault.path)
            problem = problem or told
    if problem is not None:
        raise problem
    return settled


def _settle(vault: Vault, name: str, options: IngestOptions) -> Iterator[str]:
    found = _NAME.fullmatch(name)
    if not found:
        return
    path = os.path.join(vault.path, BAGS, name)
    with (
        contextlib.suppress(
            FileNotFoundError, NotADirectoryError, BlockingIOError, PermissionError
        ),
        _dead(path),
    ):
        for item in end_of(vault, found["case"], f"{KEY_PREFIX}{found['token']}", options):
            yield item.item
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _dead(path: str) -> Iterator[None]:
    """Hold what a killed run has left. Raises BlockingIOError where its run is alive, OSError
    where it is gone, or no directory.
    """
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def end_of(vault: Vault, case: str, key: str, options: IngestOptions) -> list[Item]:
    """End the item that was begun under ``key``, if there is one: sealed where its bag is there
    and intact, else withdrawn.
    """
    with reading(vault) as records:
        items = records.catalog.with_keys(case, [key]).get(key, [])
    begun = [one for one in items if one.state == BEGUN]
    for item in begun:
        path = vault.bag_path(case, item.item)
        if os.path.lexists(path):
            _take_over(vault, item, path, options)
        else:
            now, wait = options.create.now, options.wait_seconds
            withdraw(vault, item, _INTERRUPTED, now, wait)
    return begun


def _take_over(vault: Vault, item: Item, path: str, options: IngestOptions) -> None:
    """A bag that appeared just before its run was killed."""
    clear: dict[str, str] = {}

    def made_it(place: str, one: Item, report: VerificationReport) -> bool:
        clear.update(report.facts.info.elements)
        return is_named(place, one, report) and clear.get(KIND_LABEL) in KINDS

    payload = check_left(path, item, made_it, replace(options.create, sealing=None))
    try:
        data = read_regular(os.path.join(path, *DESCRIPTION_PATH.split("/")), MAX_RECORD_BYTES * 2)
    except OSError as error:
        raise VaultError(_("{path} can't be read back").format(path=path)) from error
    fact = description_fact(data, clear[KIND_LABEL], clear.get(CODE_LABEL, ""))
    more = {"description": fact}
    whole = Payload(payload.files, payload.size_bytes, more)
    event = Event(type="ingestion end", at=options.create.now, detail=facts(path, item, whole))
    end(vault, item.case, [(item, event)], options)
