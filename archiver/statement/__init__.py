"""Statements of witnesses: encrypted before they are bagged, sealed like any item.

Job: :func:`take`: plain files in, a sealed item out, in an order in which a kill leaves
ciphertext at most. Limits: asks nobody anything; what is typed comes as values.

1. What killed runs have left is brought to an end. 2. Every file is encrypted as it is read,
for the readers and the escrow, into a directory of the vault that holds nothing else; then
the identity envelope, for its own recipients alone, the description, and the list of what
became of which file. 3. The ciphertexts are ingested like any source, under a key made by
chance. In clear stand the witness's code, the kind, sizes and times.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from archiver.bag.model import BagInfo
from archiver.bag.plan import PlanOptions
from archiver.bag.progress import Progress, Silent
from archiver.consent import check_code
from archiver.describe import Description
from archiver.encrypt import Reader, encrypt, encrypt_bytes, parse_recipient
from archiver.errors import ArchiverError, PolicyError, SourceError, UsageError, storage_error
from archiver.fixity import Result, look_at
from archiver.i18n import _
from archiver.ingest import Ingested, IngestOptions, Told, ingest
from archiver.seal import plan_sources
from archiver.statement.envelope import (
    DESCRIPTION_PATH,
    FILES_PATH,
    FORMATS_PATH,
    IDENTITY_PATH,
    MAX_FILES,
    STATEMENT,
    Contents,
    PlainFile,
    identity_record,
    payload_path,
)
from archiver.statement.staging import (
    CODE_LABEL,
    KIND_LABEL,
    Staged,
    description_fact,
    end_of,
    settle_left,
)
from archiver.vault import Vault
from archiver.vault.records import reading

__all__ = ["Keys", "Plain", "Statement", "Taken", "check_keys", "remove_original", "take"]

_PORTION = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """For whom: ``readers`` and ``escrow`` get the statement, ``identity`` the envelope with
    the witness's identity, and nothing else.
    """

    readers: tuple[str, ...]
    escrow: tuple[str, ...]
    identity: tuple[str, ...]

    @property
    def statement(self) -> tuple[str, ...]:
        """Who can open all but the identity."""
        return tuple(dict.fromkeys((*self.readers, *self.escrow)))


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain file: its path, "" for standard input. ``label`` is how messages call it: the
    path only where nobody but who typed it will see them.
    """

    path: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is to be taken: its description, who the witness is (None: that isn't kept), the
    payload; ``formats`` are records of the plain files' formats. What is confidential or sealed
    and no statement of a witness is taken in the same way, and has no code.
    """

    description: Description
    identity: Mapping[str, Any] | None = None
    files: tuple[Plain, ...] = ()
    formats: bytes = b""

    @property
    def kind(self) -> str:
        """What stands in clear beside the code."""
        return self.description.kind

    @property
    def code(self) -> str:
        """The witness's code; "" where it is no witness's. Raises UsageError."""
        if self.kind != STATEMENT:
            return ""
        return check_code(str(self.description.values.get("witness_code", "")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A statement that is sealed and in the log; ``originals`` are the plain files as they
    were read, with their digests; ``settled`` are items that a killed run had begun.
    """

    ingested: Ingested
    originals: tuple[tuple[Plain, str], ...]
    settled: tuple[str, ...] = field(default=())


def check_keys(
    keys: Keys,
    *,
    identity_kept: bool,
    without_escrow: bool = False,
    identity_to_readers: bool = False,
) -> Keys:
    """Keys that can be used, each parsed. Raises UsageError, KeyringError."""
    for one in (*keys.statement, *keys.identity):
        parse_recipient(one)
    if not keys.readers:
        raise UsageError(
            _("nobody was named who may read the statement"),
            hint=_("Give --recipient age1…, or [encryption] recipients in the policy."),
        )
    if not keys.escrow and not without_escrow:
        raise UsageError(
            _("no escrow recipient was named: who loses a key loses the statement"),
            hint=_("Give --escrow age1…, or [encryption] escrow in the policy, or --no-escrow."),
        )
    if identity_kept and not keys.identity:
        raise UsageError(
            _("nobody was named who may know the witness's identity"),
            hint=_(
                "Give --identity-recipient age1…, or [encryption] identity in the policy,"
                " or --no-identity."
            ),
        )
    both = set(keys.identity) & set(keys.statement)
    if identity_kept and both and not identity_to_readers:
        raise UsageError(
            _("a key that reads the statement would open the identity too: {key}").format(
                key=min(both)
            ),
            hint=_("Use another key for identities, or say --identity-to-readers."),
        )
    return keys


def take(
    vault: Vault,
    case: str,
    statement: Statement,
    keys: Keys,
    options: IngestOptions,
    *,
    encrypting: Progress | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Taken:
    """Encrypt, seal and ingest ``statement``, as the next item of ``case``. ``encrypting`` hears
    of plain bytes, ``progress`` of the bag. Raises ArchiverError; then nothing of it is left,
    and its number is withdrawn.
    """
    _check(statement, options)
    settled = settle_left(vault, options)
    with Staged(vault, case) as staged:
        made = _Making(staged, statement, keys, case)
        shown = encrypting or Silent()
        try:
            originals = made.encrypt(shown)
        finally:
            shown.clear()
        plan = plan_sources([staged.payload], vault.bag_path(case, "new"), PlanOptions())
        code = ((CODE_LABEL, statement.code),) if statement.code else ()
        info = BagInfo(((KIND_LABEL, statement.kind), *code))
        create = replace(
            options.create,
            info=info,
            tag_files={**options.create.tag_files, **made.tag_files},
        )
        data = made.tag_files[DESCRIPTION_PATH]
        fact = description_fact(data, statement.kind, statement.code)
        with _withdrawn_unless_done(vault, case, staged.key, options):
            ingested = ingest(
                vault,
                case,
                [staged.payload],
                plan,
                replace(options, create=create),
                told=Told(staged.key, {"description": fact}),
                progress=progress,
                say=say,
            )
    return Taken(ingested=ingested, originals=tuple(originals), settled=tuple(settled))


def _check(statement: Statement, options: IngestOptions) -> None:
    policy, description = options.create.policy, statement.description
    if description.kind != STATEMENT and (not description.is_secret or statement.identity):
        raise UsageError(_("the description is none of a statement, or of anything secret"))
    statement.code  # noqa: B018  # it is checked
    if policy.encryption.payload == "never":
        raise PolicyError(
            _("the policy {name} never encrypts, and a statement has to be").format(
                name=policy.name
            ),
            hint=_(
                'Use one with [encryption] payload = "secret". A statement that is public is'
                " ingested like any file."
            ),
        )
    if len(statement.files) > MAX_FILES:
        raise UsageError(
            _("a statement has at most {count} files").format(count=MAX_FILES),
            hint=_("Pack them into one archive first."),
        )


@contextlib.contextmanager
def _withdrawn_unless_done(
    vault: Vault, case: str, key: str, options: IngestOptions
) -> Iterator[None]:
    """A statement's source is gone with its run: a number that was begun is not taken up."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ArchiverError):  # what came first has to be told
            end_of(vault, case, key, options)
        raise


class _Making:
    """Makes a statement's ciphertexts."""

    def __init__(self, staged: Staged, statement: Statement, keys: Keys, case: str) -> None:
        self._staged, self._statement, self._keys = staged, statement, keys
        self._case = case
        self.tag_files: dict[str, bytes] = {}

    def encrypt(self, progress: Progress) -> list[tuple[Plain, str]]:
        """All of them; the plain files with their SHA-256."""
        plains = self._statement.files
        progress.expect(sum(_size(one) for one in plains), len(plains))
        files = [self._payload(one, number, progress) for number, one in enumerate(plains, start=1)]
        others = self._others()
        code = self._statement.code
        contents = Contents(case=self._case, code=code, files=tuple(files), others=others)
        self._write(FILES_PATH, contents.to_bytes(), self._keys.statement)
        return [(plain, made.sha256) for plain, made in zip(plains, files, strict=True)]

    def _others(self) -> dict[str, str]:
        """What is no payload file: the identity for its own recipients, the rest for readers."""
        statement, found = self._statement, {}
        if statement.identity is not None:
            record = identity_record(self._case, statement.code, statement.identity)
            found[IDENTITY_PATH] = self._write(IDENTITY_PATH, record, self._keys.identity)
        self.tag_files[DESCRIPTION_PATH] = encrypt_bytes(
            statement.description.to_bytes(), self._keys.statement
        )
        if statement.formats:
            self.tag_files[FORMATS_PATH] = encrypt_bytes(statement.formats, self._keys.statement)
        return found | {
            path: hashlib.sha256(data).hexdigest() for path, data in self.tag_files.items()
        }

    def _write(self, path: str, data: bytes, recipients: Sequence[str]) -> str:
        """Small ones; the SHA-256 of the ciphertext."""
        cipher = encrypt_bytes(data, recipients)
        try:
            with self._staged.create(path) as file:
                file.write(cipher)
        except OSError as error:
            raise storage_error(error, self._staged.path) from error
        return hashlib.sha256(cipher).hexdigest()

    def _payload(self, plain: Plain, number: int, progress: Progress) -> PlainFile:
        path = payload_path(number)
        with _opened(plain) as file:
            before = os.fstat(file.fileno())
            source = _Hashed(file, plain.label, progress)
            sink = _Written(self._staged.create(path), self._staged.path)
            with contextlib.closing(sink):
                encrypt(source, sink, self._keys.statement)
            after = os.fstat(file.fileno())
        regular = stat.S_ISREG(before.st_mode)
        if regular and (_state(before) != _state(after) or source.size != before.st_size):
            raise SourceError(
                _("{file} changed while it was read").format(file=plain.label),
                hint=_("Wait until it is finished, and run the command again."),
            )
        progress.done(source.size, 1)
        return PlainFile(
            path=path,
            name=_told_name(plain.path),
            size=source.size,
            sha256=source.digest.hexdigest(),
            cipher_sha256=sink.digest.hexdigest(),
            mtime_ns=before.st_mtime_ns if regular else None,
        )


def _size(plain: Plain) -> int:
    """As far as it is known before it is read."""
    try:
        return os.stat(plain.path).st_size if plain.path else 0
    except (OSError, ValueError):
        return 0  # it will be told


def _state(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _told_name(path: str) -> str:
    """The name alone; bytes that are no UTF-8 as they look."""
    return os.fsencode(os.path.basename(path)).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _opened(plain: Plain) -> Iterator[Any]:
    """A plain file, open; what is said of it names no path but the label."""
    if not plain.path:
        with open(0, "rb", buffering=_PORTION, closefd=False) as pipe:
            yield pipe
        return
    try:
        descriptor = os.open(plain.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SourceError(
                _("{file} is not a regular file").format(file=plain.label),
                hint=_("Name files one by one; a pipe comes in as -."),
            )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SourceError(
            _("{file} can't be read: {reason}").format(file=plain.label, reason=reason)
        ) from None
    with open(descriptor, "rb", buffering=_PORTION) as file:
        yield file


class _Hashed:
    """Reads, and hashes what was read."""

    def __init__(self, file: Reader, label: str, progress: Progress) -> None:
        self._file, self._label, self._progress = file, label, progress
        self.digest, self.size = hashlib.sha256(), 0

    def read(self, size: int, /) -> bytes:
        """See :class:`~archiver.encrypt.Reader`."""
        try:
            data = self._file.read(size)
        except OSError as error:
            raise SourceError(
                _("{file} can't be read: {reason}").format(file=self._label, reason=error.strerror)
            ) from None
        self.digest.update(data)
        self.size += len(data)
        self._progress.within(len(data))
        return data


class _Written:
    """Writes ciphertext, and hashes what was written."""

    def __init__(self, file: Any, place: str) -> None:
        self._file, self._place = file, place
        self.digest = hashlib.sha256()

    def write(self, data: bytes, /) -> None:
        """All of it."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise storage_error(error, self._place) from error
        self.digest.update(data)

    def close(self) -> None:
        """The file is done."""
        self._file.close()


# -- what still lies in clear


def remove_original(vault: Vault, item: str, plain: Plain, sha256: str) -> None:
    """Remove a plain file, once the sealed bag has been read again and is what the log says,
    and the file is still what was encrypted. On an SSD its bytes may stay: the caller says so.

    Raises SourceError, and StorageError where the bag isn't good.
    """
    with reading(vault) as records:
        one = records.catalog.item(item)
    bag = vault.bag_path(one.case, item) if one else ""
    if one is None or look_at(bag, one)[0] is not Result.GOOD:
        raise SourceError(
            _("{item} is not intact: nothing was removed").format(item=item),
            hint=_("See 'archiver audit'."),
        )
    if os.path.islink(plain.path):
        raise SourceError(
            _("{file} is a link: what it leads to was not removed").format(file=plain.label)
        )
    with _opened(plain) as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        found = os.fstat(file.fileno())
    try:
        if not same or _state(os.lstat(plain.path)) != _state(found):
            raise SourceError(
                _("{file} is not what was sealed: it was not removed").format(file=plain.label)
            )
        os.unlink(plain.path)
    except OSError as error:
        raise SourceError(
            _("{file} can't be removed: {reason}").format(file=plain.label, reason=error.strerror)
        ) from None
    if found.st_nlink > 1:
        raise SourceError(
            _("{file} was removed, and is still there under another name (a hard link)").format(
                file=plain.label
            )
        )
