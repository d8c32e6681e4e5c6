"""age encryption of what must not be readable (https://age-encryption.org/v1).

Job: recipients and identities, read strictly; streams encrypted and decrypted in bounded
memory. Limits: opens no file and knows nothing of statements; the format itself is
:mod:`pyrage`'s (the extra ``encrypt``), and any ``age`` program opens what is made here.

No error tells of what was encrypted, and none shows a secret key. age tells nobody who has
encrypted something: what a bag's seal says of the ciphertext is what is proved.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from archiver.bag.encrypted import HEAD_BYTES, age_file_bytes, is_age_head
from archiver.errors import FormatError, KeyringError, UsageError
from archiver.i18n import _

__all__ = [
    "MAX_KEY_FILE_BYTES",
    "Identities",
    "decrypt",
    "decrypt_bytes",
    "encrypt",
    "encrypt_bytes",
    "join_identities",
    "lock_identity",
    "new_identity",
    "parse_recipient",
    "read_identities",
    "read_recipients",
]

MAX_KEY_FILE_BYTES = 1 << 16
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_SECRET = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")
_HEADER, _ARMOR = b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----"
_ARMOR_END = b"-----END AGE ENCRYPTED FILE-----"


class Reader(Protocol):
    """What is read from."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; b"" at the end."""


class Writer(Protocol):
    """What is written to."""

    def write(self, data: bytes, /) -> Any:
        """All of ``data``."""


@dataclass(frozen=True, slots=True)
class Identities:
    """Secret keys that may open something. Never shown: not by ``repr`` either."""

    _keys: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"<{len(self._keys)} identities>"

    @property
    def recipients(self) -> tuple[str, ...]:
        """Their public halves."""
        return tuple(str(one.to_public()) for one in self._keys)


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise KeyringError(
            _("encryption needs the package pyrage, which is not installed"),
            hint=_("Install it with: pip install 'archiver[encrypt]'"),
        ) from error
    return pyrage


# -- keys


def new_identity() -> tuple[str, str]:
    """A new key pair: the text of an identity file as age-keygen writes it, and the recipient."""
    identity = _pyrage().x25519.Identity.generate()
    recipient = str(identity.to_public())
    return f"# public key: {recipient}\n{identity}\n", recipient


def lock_identity(text: str, passphrase: bytes) -> bytes:
    """An identity file's text, encrypted with a passphrase as ``age -p`` does."""
    return bytes(_pyrage().passphrase.encrypt(text.encode(), passphrase.decode("utf-8")))


def parse_recipient(text: str, place: str = "") -> str:
    """A recipient that is one, "age1…". ``place`` says in which line of which file it stands.
    Raises KeyringError, which never shows a secret key, nor anything of a file: it may be another
    than was meant, a form with names, say.
    """
    text = text.strip()
    where = f"{place}: " if place else ""
    if "AGE-SECRET-KEY-" in text.upper():
        raise KeyringError(
            _("{where}a secret key stands where a recipient should").format(where=where),
            hint=_("Give the public key, age1…, and treat this secret key as known to others."),
        )
    shown = text if len(text) <= 80 else f"{text[:20]}…"
    shown = _("what stands there") if place else shown
    if not _RECIPIENT.fullmatch(text):
        raise KeyringError(
            _("{where}{text} is no age recipient").format(where=where, text=shown),
            hint=_recipient_hint(text),
        )
    try:
        _pyrage().x25519.Recipient.from_str(text)
    except ValueError as error:  # pragma: no cover  # pyrage's errors are none of these today
        raise _misspelt(where, shown) from error
    except _pyrage().RecipientError as error:
        raise _misspelt(where, shown) from error
    return text


def _misspelt(where: str, shown: str) -> KeyringError:
    return KeyringError(
        _("{where}{text} is misspelt: its check digits are wrong").format(where=where, text=shown),
        hint=_("Copy it again, whole."),
    )


def _recipient_hint(text: str) -> str:
    if text.startswith("ssh-"):
        return _("Keys of SSH are not taken: make one with 'archiver statement key -o FILE'.")
    if text.startswith("age1") and text[4:].isalnum() and len(text) != 62:
        return _("It is 62 characters long: copy it again, whole.")
    return _("Recipients begin with age1: see 'archiver statement key'.")


def read_recipients(data: bytes, place: str) -> tuple[str, ...]:
    """The recipients in a file, one a line, with comments (``age -R``). Raises KeyringError
    with the line.
    """
    lines = _key_lines(data, place)
    found = [parse_recipient(line, f"{place}:{number}") for number, line in lines]
    if not found:
        raise KeyringError(
            _("{place}: there is no recipient in it").format(place=place),
            hint=_("One a line: age1…"),
        )
    return tuple(dict.fromkeys(found))


def _key_lines(data: bytes, place: str) -> list[tuple[int, str]]:
    if len(data) > MAX_KEY_FILE_BYTES:
        raise KeyringError(_("{path} is too long for what it should be").format(path=place))
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise KeyringError(
            _("{place} is no text with age keys").format(place=place),
            hint=_("Such a file is made with 'archiver statement key -o FILE' or age-keygen."),
        ) from None
    stripped = ((number, line.strip()) for number, line in enumerate(lines, start=1))
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]


def read_identities(
    data: bytes, place: str, ask: Callable[[str], bytes] | None = None
) -> Identities:
    """The secret keys in an identity file as age-keygen writes it, or in one that age has
    encrypted with a passphrase, which ``ask`` is asked for. Raises KeyringError.
    """
    if data.startswith((_HEADER, _ARMOR)):
        data = _unlock(data, place, ask)
    found = []
    for number, line in _key_lines(data, place):
        if not _SECRET.fullmatch(line.upper()):
            raise KeyringError(
                _("{place}:{line}: this is no age secret key").format(place=place, line=number),
                hint=_identity_hint(line),
            )
        try:
            found.append(_pyrage().x25519.Identity.from_str(line.upper()))
        except _pyrage().IdentityError:
            raise KeyringError(
                _("{place}:{line}: the secret key is misspelt").format(place=place, line=number),
                hint=_("Its check digits are wrong: put the file back from a copy."),
            ) from None
    if not found:
        raise KeyringError(
            _("{place}: there is no secret key in it").format(place=place),
            hint=_("Such a file is made with 'archiver statement key -o FILE' or age-keygen."),
        )
    return Identities(tuple(found))


def join_identities(several: Iterable[Identities]) -> Identities:
    """All of their keys."""
    return Identities(tuple(key for one in several for key in one._keys))


def _identity_hint(line: str) -> str:
    if line.startswith("age1"):
        return _("That is a recipient, with which nothing can be opened.")
    return _("Secret keys begin with AGE-SECRET-KEY-1.")


def _unlock(data: bytes, place: str, ask: Callable[[str], bytes] | None) -> bytes:
    if ask is None:
        raise KeyringError(
            _("{place} is protected by a passphrase, and nobody is there to type it").format(
                place=place
            )
        )
    if len(data) > MAX_KEY_FILE_BYTES:
        raise KeyringError(_("{path} is too long for what it should be").format(path=place))
    pyrage = _pyrage()
    try:
        return bytes(pyrage.passphrase.decrypt(_unarmored(data), ask(place).decode("utf-8")))
    except (pyrage.DecryptError, OSError, ValueError):
        raise KeyringError(
            _("{place} can't be opened with this passphrase").format(place=place),
            hint=_("Type it again; or the file is no age identity, or is damaged."),
        ) from None


def _unarmored(data: bytes) -> bytes:
    import base64

    if not data.startswith(_ARMOR):
        return data
    lines = data.strip().splitlines()
    if lines[-1] != _ARMOR_END:
        raise ValueError
    return base64.b64decode(b"".join(lines[1:-1]), validate=True)


# -- streams


class _Source:
    """Reads for pyrage, counts the bytes, and keeps what was raised: it would become a text
    there.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.raised: BaseException | None = None
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._reader.read(size)
        except BaseException as error:
            self.raised = error
            raise
        self.size += len(data)
        return data


class _Headed:
    """Reads on after the beginning, which must hold a whole header: pyrage reads a header of
    any length, all of it into memory, and anew after each part.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._head = b""
        while len(self._head) < HEAD_BYTES and (more := self._next()):
            self._head += more
        if not is_age_head(self._head):
            raise _altered()

    def _next(self) -> bytes:
        return self._reader.read(HEAD_BYTES - len(self._head))

    def read(self, size: int, /) -> bytes:
        """See :class:`Reader`."""
        if not self._head:
            return self._reader.read(size)
        wanted = len(self._head) if size < 0 else size
        data, self._head = self._head[:wanted], self._head[wanted:]
        return data


class _Sink:
    """Writes for pyrage, as :class:`_Source` reads; all of it, or an error. The last part is
    written when pyrage lets go of its buffer, where an error is dropped: so what was raised
    has to be asked for even after it went well. Nothing is written after an error.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.raised: BaseException | None = None
        self.size, self.head = 0, b""

    def write(self, data: bytes) -> int:
        if self.raised is not None:
            raise self.raised
        try:
            self._writer.write(data)
        except BaseException as error:
            self.raised = error
            raise
        self.size += len(data)
        self.head += data[: HEAD_BYTES - len(self.head)]
        return len(data)

    def flush(self) -> None:
        """The writer is whose it is."""


def encrypt(reader: Reader, writer: Writer, recipients: Iterable[str]) -> None:
    """Encrypt what ``reader`` gives for every one of ``recipients``, in portions of 64 KiB.
    Raises KeyringError, and whatever reader and writer raise.
    """
    pyrage = _pyrage()
    keys = [pyrage.x25519.Recipient.from_str(parse_recipient(one)) for one in recipients]
    if not keys:
        raise UsageError(_("there is nobody to encrypt it for"), hint=_("Name a recipient: age1…"))
    source, sink = _Source(reader), _Sink(writer)
    try:
        pyrage.encrypt_io(source, sink, keys)
    except (pyrage.EncryptError, OSError):
        _reraise(source, sink)
        raise KeyringError(_("it could not be encrypted")) from None
    _reraise(source, sink)
    if not is_age_head(sink.head) or sink.size != age_file_bytes(sink.head, source.size):
        raise KeyringError(_("it could not be encrypted"))


def decrypt(reader: Reader, writer: Writer, identities: Identities) -> None:
    """Decrypt what ``reader`` gives. Portions that prove right are written as they come: who
    writes takes them back where this raises.

    Raises KeyringError where none of the keys opens it, FormatError where it was altered or
    cut off, and whatever reader and writer raise.
    """
    pyrage = _pyrage()
    source, sink = _Source(_Headed(reader)), _Sink(writer)
    try:
        pyrage.decrypt_io(source, sink, list(identities._keys))
    except (pyrage.DecryptError, OSError) as error:
        _reraise(source, sink)
        if "No matching keys" in str(error):
            raise KeyringError(
                _("none of the keys opens it"),
                hint=_("It was encrypted for others: use the identity file of one of them."),
            ) from None
        raise _altered() from None
    _reraise(source, sink)


def _altered() -> FormatError:
    return FormatError(
        _("the ciphertext was altered or cut off, or is none"),
        hint=_("Take an intact copy: a replica, or one that was handed out."),
    )


def _reraise(source: _Source, sink: _Sink) -> None:
    for raised in (source.raised, sink.raised):
        if raised is not None:
            raise raised


def encrypt_bytes(data: bytes, recipients: Iterable[str]) -> bytes:
    """The same for what is small."""
    out = io.BytesIO()
    encrypt(io.BytesIO(data), out, recipients)
    return out.getvalue()


class _Limited(io.BytesIO):
    """At most so many bytes: a small ciphertext can't be a large plain text, but who says
    that it is small?
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._left = limit

    def write(self, data: Any, /) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise FormatError(_("what is encrypted is longer than it may be"))
        return super().write(data)


def decrypt_bytes(data: bytes, identities: Identities, limit: int) -> bytes:
    """The same for what is small: at most ``limit`` bytes. Raises KeyringError, FormatError."""
    out = _Limited(limit)
    decrypt(io.BytesIO(data), out, identities)
    return out.getvalue()
