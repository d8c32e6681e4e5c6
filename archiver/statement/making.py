"""A statement's ciphertexts are made: of each file as it is read, of its records, of its list.

Job: plain files in, ciphertext out, in bounded memory; digests of both. Limits: nothing plain
is written anywhere; where the ciphertexts lie is the business of
:mod:`archiver.statement.staging`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archiver.bag.progress import Progress
from archiver.describe.description import canonical
from archiver.encrypt import Reader, encrypt, encrypt_bytes
from archiver.errors import SourceError, UsageError, storage_error
from archiver.i18n import _
from archiver.identify import FORMATS_PATH as _PLAIN_FORMATS
from archiver.seal import CreateOptions, Examined
from archiver.seal.examine import PlainSource
from archiver.statement.envelope import (
    DESCRIPTION_PATH,
    FILES_PATH,
    FORMATS_PATH,
    IDENTITY_PATH,
    MAX_RECORD_BYTES,
    Contents,
    PlainFile,
    identity_record,
    is_name,
    parse_contents,
    payload_path,
)
from archiver.statement.model import Keys, Plain, Statement
from archiver.statement.staging import CODE_LABEL, KIND_LABEL, Staged

__all__ = ["ExaminePlain", "Made", "make", "opened", "state_of"]

_PORTION = 1 << 18
_ENTRY_BYTES = 512
"""Of a file in the list, without its name: at most."""
ExaminePlain = Callable[[Sequence[PlainSource]], Examined]
"""What :meth:`archiver.seal.examine.Examiner.before_encryption` is."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: the plain files as they were read, with their SHA-256, and how the bag is
    to be made that holds the ciphertexts; ``sha512`` of the plain files, where it was asked for.
    """

    originals: tuple[tuple[Plain, str], ...]
    create: CreateOptions
    sha512: tuple[str, ...] = ()


def make(
    staged: Staged,
    statement: Statement,
    keys: Keys,
    case: str,
    create: CreateOptions,
    *,
    examine: ExaminePlain | None,
    encrypting: Progress,
    sha512: bool = False,
) -> Made:
    """All ciphertexts of ``statement``. Raises ArchiverError."""
    _check_names(statement.files)
    making = _Making(staged, statement, keys, case, sha512=sha512)
    found = making.examine(examine) if examine else Examined()
    try:
        originals = making.encrypt(encrypting)
    finally:
        encrypting.clear()
    told = [(KIND_LABEL, statement.kind)]
    told += [(CODE_LABEL, statement.code)] if statement.code else []
    options = replace(
        create,
        info=create.info.with_elements(told),
        tag_files={**create.tag_files, **making.tag_files},
        # What lies in the bag is ciphertext, of which nothing is to be learnt.
        examine=lambda _staged: Examined({}, found.events),
    )
    return Made(tuple(originals), options, tuple(making.sha512))


class _Making:
    """Makes a statement's ciphertexts: payload files and the list of them in ``staged``, the
    rest as ``tag_files``.
    """

    def __init__(
        self, staged: Staged, statement: Statement, keys: Keys, case: str, *, sha512: bool
    ) -> None:
        self._staged, self._statement, self._keys = staged, statement, keys
        self._case, self._wants_sha512 = case, sha512
        self.sha512: list[str] = []
        self._seen = {one.path: one.state for one in statement.files if one.state}
        self.tag_files: dict[str, bytes] = {}

    def examine(self, examine: ExaminePlain) -> Examined:
        """What is learnt of the plain files: the records of their formats are encrypted, the
        rest is given back. A file that is another one when it is encrypted is refused then.
        """
        plains = self._statement.files
        for one in plains:
            with contextlib.suppress(OSError, ValueError):  # :func:`opened` will tell
                self._seen.setdefault(one.path, state_of(os.stat(one.path)))
        found = examine(
            [
                PlainSource(one.path, payload_path(number), one.label)
                for number, one in enumerate(plains, start=1)
            ]
        )
        records = found.tag_files.get(_PLAIN_FORMATS)
        if records is not None:
            self.tag_files[FORMATS_PATH] = encrypt_bytes(records, self._keys.statement)
        return found

    def encrypt(self, progress: Progress) -> list[tuple[Plain, str]]:
        """All of them; the plain files with their SHA-256."""
        plains = self._statement.files
        progress.expect(sum(_size(one) for one in plains), len(plains))
        files = [self._payload(one, number, progress) for number, one in enumerate(plains, start=1)]
        others = self._others()
        code = self._statement.code
        contents = Contents(case=self._case, code=code, files=tuple(files), others=others)
        data = contents.to_bytes()
        parse_contents(data)  # what could not be read again must never be sealed
        self._write(FILES_PATH, data, self._keys.statement)
        return [(plain, made.sha256) for plain, made in zip(plains, files, strict=True)]

    def _others(self) -> dict[str, str]:
        """What is no payload file: the identity for its own recipients, the rest for readers."""
        statement, found = self._statement, {}
        if statement.identity is not None:
            record = identity_record(self._case, statement.code, statement.identity)
            if len(record) > MAX_RECORD_BYTES:  # it could not be opened again
                raise UsageError(
                    _("the identity form is too long"),
                    hint=_("Say less, or put it into a file of the statement."),
                )
            found[IDENTITY_PATH] = self._write(IDENTITY_PATH, record, self._keys.identity)
        self.tag_files[DESCRIPTION_PATH] = encrypt_bytes(
            statement.description.to_bytes(), self._keys.statement
        )
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
        with opened(plain) as file:
            before = os.fstat(file.fileno())
            more = [hashlib.sha512()] if self._wants_sha512 else []
            source = _Hashed(file, plain.label, progress, more)
            sink = _Written(self._staged.create(path), self._staged.path)
            with contextlib.closing(sink):
                encrypt(source, sink, self._keys.statement)
            after = os.fstat(file.fileno())
        regular = stat.S_ISREG(before.st_mode)
        states = {state_of(before), state_of(after), self._seen.get(plain.path, state_of(before))}
        if regular and (len(states) > 1 or source.size != before.st_size):
            raise SourceError(
                _("{file} changed while it was read").format(file=plain.label),
                hint=_("Wait until it is finished, and run the command again."),
            )
        self.sha512 += [one.hexdigest() for one in more]
        progress.done(source.size, 1)
        return PlainFile(
            path=path,
            name=_name_of(plain),
            size=source.size,
            sha256=source.digest.hexdigest(),
            cipher_sha256=sink.digest.hexdigest(),
            mtime_ns=before.st_mtime_ns if regular else None,
        )


def _check_names(files: Sequence[Plain]) -> None:
    """That the list of files will be one that is read again. Raises UsageError."""
    for number, one in enumerate(files, start=1):
        if not is_name(_name_of(one)):
            raise SourceError(
                _("the path of file {number} is too deep or too long to be kept").format(
                    number=number
                ),
                hint=_("Pack them into one archive first."),
            )
    names = canonical({"names": [_name_of(one) for one in files]})
    if len(names) + (len(files) + 1) * _ENTRY_BYTES > MAX_RECORD_BYTES:
        raise UsageError(
            _("the names of the files are too long for one list"),
            hint=_("Pack them into one archive first."),
        )


def _name_of(plain: Plain) -> str:
    return plain.name or _told_name(plain.path)


def _size(plain: Plain) -> int:
    """As far as it is known before it is read."""
    try:
        return os.stat(plain.path).st_size if plain.path else 0
    except (OSError, ValueError):
        return 0  # it will be told


def state_of(found: os.stat_result) -> tuple[int, ...]:
    """What is another one where a file was written to, or exchanged."""
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _told_name(path: str) -> str:
    """The name alone; bytes that are no UTF-8 as they look."""
    return os.fsencode(os.path.basename(path)).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def opened(plain: Plain) -> Iterator[Any]:
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
    """Reads, and hashes what was read; ``more`` are hashes that hear of it, too."""

    def __init__(self, file: Reader, label: str, progress: Progress, more: Sequence[Any]) -> None:
        self._file, self._label, self._progress = file, label, progress
        self.digest, self.size = hashlib.sha256(), 0
        self._digests = (self.digest, *more)

    def read(self, size: int, /) -> bytes:
        """See :class:`~archiver.encrypt.Reader`."""
        try:
            data = self._file.read(size)
        except OSError as error:
            raise SourceError(
                _("{file} can't be read: {reason}").format(file=self._label, reason=error.strerror)
            ) from None
        for digest in self._digests:
            digest.update(data)
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
