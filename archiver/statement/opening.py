"""Statements are opened, by those who hold a key.

Job: description, payload and identity out of a bag that was checked before. Limits: checks no
bag and no signature (:mod:`archiver.verify`); age tells nobody who has encrypted something.

The bag may be a stranger's, and what is encrypted in it too: every ciphertext has to be the
one that the list of files tells of, every plain text what it says, and no name leads out of
the directory that is made. What was opened appears whole, in one rename, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from archiver.bag.stage import refuse_existing, refuse_within_bag
from archiver.bag.tree import BagTree
from archiver.catalog.model import Amended, Item
from archiver.describe import Description
from archiver.describe.amendment import History, fold_amendments
from archiver.describe.description import DESCRIPTION_PATH as PLAIN_PATH
from archiver.describe.description import MAX_DESCRIPTION_BYTES
from archiver.encrypt import Identities, Writer, decrypt, decrypt_bytes
from archiver.errors import (
    DestinationError,
    FormatError,
    KeyringError,
    UnreadableError,
    UsageError,
    storage_error,
)
from archiver.filesystem import (
    RenameFallback,
    read_regular,
    rename_no_replace,
    sync_directory,
    sync_tree,
)
from archiver.findings import Findings
from archiver.i18n import _
from archiver.identify import parse_records
from archiver.statement.envelope import (
    DESCRIPTION_PATH,
    FILES_PATH,
    FORMATS_PATH,
    IDENTITY_PATH,
    MAX_FORMATS_BYTES,
    MAX_RECORD_BYTES,
    STATEMENT,
    Contents,
    PlainFile,
    parse_contents,
    parse_identity,
    restored_names,
)
from archiver.statement.staging import opening_beside
from archiver.storage.local import MARK_FILE
from archiver.vault import CONFIG_FILE, Vault
from archiver.vault.amendments import amendments_told, read_record, record_path
from archiver.verify.reading import OVERHEAD_BYTES

__all__ = [
    "Nowhere",
    "Opened",
    "described",
    "history_of",
    "is_encrypted",
    "open_identity",
    "open_statement",
    "read_plain",
    "refuse_place",
    "restore",
    "write_single",
]

_PORTION = 1 << 18


@dataclass(frozen=True, slots=True)
class Opened:
    """A statement's description and what it consists of; ``formats`` are the records of what
    its files were like before they were encrypted, by their paths in the bag.
    """

    description: Description
    contents: Contents
    formats: Mapping[str, Mapping[str, Any]]


def open_statement(tree: BagTree, identities: Identities) -> Opened:
    """Read a statement's own records. Raises KeyringError where no key opens it, FormatError
    where something in it is not what the list of files tells of.
    """
    data = _read(tree, FILES_PATH, MAX_RECORD_BYTES)
    contents = parse_contents(decrypt_bytes(data, identities, MAX_RECORD_BYTES))
    cipher = _read(tree, DESCRIPTION_PATH, MAX_DESCRIPTION_BYTES)
    if hashlib.sha256(cipher).hexdigest() != contents.others[DESCRIPTION_PATH]:
        raise _exchanged(DESCRIPTION_PATH)
    description = Description.parse(decrypt_bytes(cipher, identities, MAX_DESCRIPTION_BYTES))
    code = description.values.get("witness_code", "")
    if code != contents.code or bool(code) != (description.kind == STATEMENT):
        raise FormatError(_("the description is of another statement"))
    _compare_names(tree, contents)
    return Opened(description, contents, _formats(tree, contents, identities))


def _formats(
    tree: BagTree, contents: Contents, identities: Identities
) -> dict[str, dict[str, Any]]:
    """The records of the files' formats, where the statement has any. Raises FormatError."""
    digest = contents.others.get(FORMATS_PATH)
    if digest is None:
        return {}
    cipher = _read(tree, FORMATS_PATH, MAX_FORMATS_BYTES)
    if hashlib.sha256(cipher).hexdigest() != digest:
        raise _exchanged(FORMATS_PATH)
    try:
        found = parse_records(decrypt_bytes(cipher, identities, MAX_FORMATS_BYTES))
    except (ValueError, RecursionError):
        found = None
    if found is None or not set(found) <= {one.path for one in contents.files}:
        raise FormatError(_("{path} holds no records of these files").format(path=FORMATS_PATH))
    return found


def _compare_names(tree: BagTree, contents: Contents) -> None:
    """Nothing is missing, and nothing lies in the payload that the list doesn't tell of."""
    told = {FILES_PATH, *(one.path for one in contents.files)}
    told |= {path for path in contents.others if path.startswith("data/")}
    found = {path for listing in tree.walk(Findings(), payload=True) for path in listing.paths()}
    for path in sorted(told ^ found):
        raise FormatError(
            _("{path}: the statement's list of files and its payload differ").format(path=path)
        )


def _exchanged(path: str) -> FormatError:
    return FormatError(
        _("{path} is not the ciphertext that the statement's list of files tells of").format(
            path=path
        ),
        hint=_("It was exchanged before the bag was sealed, or it is another statement's."),
    )


def _read(tree: BagTree, path: str, limit: int) -> bytes:
    with _opened(tree, path) as file:
        data = file.read(limit + OVERHEAD_BYTES + 1)
    if len(data) > limit + OVERHEAD_BYTES:
        raise FormatError(_("{path} is longer than it may be").format(path=path))
    return data


@contextlib.contextmanager
def _opened(tree: BagTree, path: str) -> Iterator[BinaryIO]:
    try:
        file = tree.open(path)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise FormatError(
            _("{path} is not there: the bag is no statement").format(path=path),
            hint=_("Statements are made with 'archiver statement new'."),
        ) from error
    except OSError as error:
        raise UnreadableError(
            _("{path} can't be read: {reason}").format(path=path, reason=error.strerror or error)
        ) from error
    with file:
        yield file


def open_identity(
    tree: BagTree, identities: Identities, code: str = "", sha256: str = ""
) -> dict[str, Any]:
    """Who the witness is: ``case``, ``witness_code``, ``identity``. ``code`` is what the bag
    says in clear, ``sha256`` what the list of files says of the ciphertext, where that could be
    read. Raises KeyringError, FormatError.
    """
    cipher = _read(tree, IDENTITY_PATH, MAX_RECORD_BYTES)
    if sha256 and hashlib.sha256(cipher).hexdigest() != sha256:
        raise _exchanged(IDENTITY_PATH)
    try:
        record = parse_identity(decrypt_bytes(cipher, identities, MAX_RECORD_BYTES))
    except KeyringError as error:
        raise KeyringError(
            error.message,
            hint=_("The identity is encrypted for other keys than the statement."),
        ) from None
    if code and record["witness_code"] != code:
        raise FormatError(_("the identity envelope is of another witness"))
    return record


# -- the payload


def refuse_place(destination: str, vault: Vault | None) -> None:
    """Raises DestinationError where plain text must not be put: over something, into a bag,
    a vault or a replica.
    """
    refuse_existing(destination)
    refuse_within_bag(destination)
    places = [vault.path, *(one.directory for one in vault.replicas())] if vault else []
    wanted = [os.stat(one) for one in places if os.path.isdir(one)]
    place = os.path.realpath(os.path.dirname(os.path.abspath(destination)))
    while True:
        marked = any(os.path.lexists(os.path.join(place, one)) for one in (CONFIG_FILE, MARK_FILE))
        if marked or any(os.path.samestat(os.stat(place), one) for one in wanted):
            raise DestinationError(
                _("{path} lies in the vault, or in a replica").format(path=destination),
                hint=_("Plain text has no place there: choose another destination."),
            )
        place, before = os.path.dirname(place), place
        if place == before:
            return


def restore(tree: BagTree, contents: Contents, identities: Identities, destination: str) -> None:
    """The payload under its own names, in the new directory ``destination``, which only its
    owner may enter. Raises ArchiverError; then nothing is left of it. What killed runs have left
    beside it is removed.
    """
    destination = os.path.abspath(destination)
    try:
        with opening_beside(destination) as staged:
            for one, name in zip(contents.files, restored_names(contents.files), strict=True):
                path = os.path.join(staged.payload, *name.split("/"))
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                _restore(tree, one, identities, path)
            sync_tree(staged.payload)
            with contextlib.suppress(RenameFallback):
                rename_no_replace(staged.payload, destination)
            sync_directory(os.path.dirname(destination))
    except FileExistsError as error:
        raise DestinationError(_("{path} exists already").format(path=destination)) from error
    except OSError as error:
        raise storage_error(error, destination) from error


def _restore(tree: BagTree, one: PlainFile, identities: Identities, path: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        read_plain(tree, one, identities, file)
        file.flush()
        if one.mtime_ns is not None:
            with contextlib.suppress(OSError, OverflowError):  # a time that no disk can keep
                os.utime(file.fileno(), ns=(one.mtime_ns, one.mtime_ns))


def write_single(tree: BagTree, contents: Contents, identities: Identities, writer: Writer) -> None:
    """A payload of one file as a stream, which can't be taken back: so it is read twice."""
    if len(contents.files) != 1:
        raise UsageError(
            _("the statement has {count} files, and only one can go to standard output").format(
                count=len(contents.files)
            ),
            hint=_("Give a directory: -o DIR."),
        )
    read_plain(tree, contents.files[0], identities, Nowhere())
    read_plain(tree, contents.files[0], identities, writer)


def read_plain(tree: BagTree, one: PlainFile, identities: Identities, writer: Writer) -> None:
    """Decrypt one payload file, which must be what the list tells of before and after. Raises
    KeyringError, FormatError, UnreadableError.
    """
    with _opened(tree, one.path) as file:
        source, sink = _HashedReader(file), _HashedWriter(writer, one.size)
        decrypt(source, sink, identities)
        while source.read(_PORTION):  # pyrage reads no further than it must
            pass
    if source.digest.hexdigest() != one.cipher_sha256:
        raise _exchanged(one.path)
    if (sink.size, sink.digest.hexdigest()) != (one.size, one.sha256):
        raise FormatError(
            _("{path} holds something else than the statement's list of files says").format(
                path=one.path
            )
        )


class Nowhere:
    """Takes everything, keeps nothing."""

    def write(self, data: bytes, /) -> None:
        """See :class:`~archiver.encrypt.Writer`."""


class _HashedReader:
    """Reads, and hashes what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """See :class:`~archiver.encrypt.Reader`."""
        data = self._file.read(size)
        self.digest.update(data)
        return data


class _HashedWriter:
    """Writes at most what was told, and hashes it."""

    def __init__(self, writer: Writer, limit: int) -> None:
        self._writer, self._limit = writer, limit
        self.digest, self.size = hashlib.sha256(), 0

    def write(self, data: bytes, /) -> None:
        """See :class:`~archiver.encrypt.Writer`."""
        self.size += len(data)
        if self.size > self._limit:
            raise FormatError(_("what is encrypted is longer than it may be"))
        self.digest.update(data)
        self._writer.write(data)


# -- for those who ask what the witness allows


def described(
    vault: Vault,
    item: Item,
    identities: Callable[[], Identities] | None,
    amendments: Sequence[Amended] | None = None,
) -> Description | None:
    """What is said of an item now; see :func:`history_of`."""
    history = history_of(vault, item, identities, amendments)
    return None if history is None else history.now


def history_of(
    vault: Vault,
    item: Item,
    identities: Callable[[], Identities] | None,
    amendments: Sequence[Amended] | None = None,
) -> History | None:
    """What was said of an item, and since: the description that it was sealed with, which must
    be the one that the log tells of, and every amendment. None where any of it is encrypted and
    there is no key. Which amendments there are is read from the log itself, or was before
    (``amendments``), by who only lists many. Raises ArchiverError.
    """
    if amendments is None:
        amendments = amendments_told(vault, item)
    told = item.description
    path = told.get("path")
    if path not in (PLAIN_PATH, DESCRIPTION_PATH) and not (not told and amendments):
        raise FormatError(_("{item} has no description").format(item=item.item))
    secret = path == DESCRIPTION_PATH or any(one.secret for one in amendments)
    if secret and identities is None:
        return None
    keys = identities() if secret and identities is not None else None
    first = _sealed_description(vault, item, told, keys) if path else None
    said: list[bytes] = []
    for one in amendments:
        data = read_record(record_path(vault, one), one.sha256)
        if one.secret and keys is not None:
            data = decrypt_bytes(data, keys, MAX_DESCRIPTION_BYTES)
        said.append(data)
    digest, digests = str(told.get("sha256", "")), [one.sha256 for one in amendments]
    history = fold_amendments(item.item, first, digest, said, digests)
    if history.problem:
        raise FormatError(f"{item.item}: {history.problem}")
    return history


def is_encrypted(item: Item) -> bool:
    """Whether the bag of an item holds ciphertexts: else it became secret by an amendment."""
    return item.description.get("path") == DESCRIPTION_PATH


def _sealed_description(
    vault: Vault, item: Item, told: Mapping[str, Any], keys: Identities | None
) -> Description:
    path = str(told["path"])
    place = os.path.join(vault.bag_path(item.case, item.item), *path.split("/"))
    try:
        data = read_regular(place, MAX_DESCRIPTION_BYTES + OVERHEAD_BYTES)
    except OSError as error:
        raise UnreadableError(
            _("{path} can't be read: {reason}").format(path=place, reason=error.strerror or error)
        ) from error
    if hashlib.sha256(data).hexdigest() != told.get("sha256"):
        raise FormatError(
            _("{path} is not the description that was sealed").format(path=place),
            hint=_("See 'archiver audit'."),
        )
    if path == DESCRIPTION_PATH and keys is not None:
        data = decrypt_bytes(data, keys, MAX_DESCRIPTION_BYTES)
    return Description.parse(data)
