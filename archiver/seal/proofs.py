"""Adds files to a bag's ``signatures/``: whole, durable, replacing nothing.

Job: signatures with their certificates into a staged or finished bag. Limits:
touches nothing outside of ``signatures/``; a bag may be hostile, so a link in the
place of a directory is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from archiver.bag.proofs import (
    CERTIFICATES,
    SIGNATURES,
    SIGNED_FILE,
    certificate_path,
    signature_path,
)
from archiver.errors import DestinationError, StorageError, storage_error
from archiver.filesystem import write_new_file
from archiver.i18n import _
from archiver.pki.certificates import Certificate
from archiver.pki.keyring import SigningKey
from archiver.signing import sign_manifest

__all__ = ["add_certificates", "add_proof", "read_signed_file", "sign_bag", "writable"]

_MODE = 0o444
_MAX_SIGNED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _Place:
    bag: str

    def path(self, name: str) -> str:
        return os.path.join(self.bag, *name.split("/"))


def sign_bag(
    bag: str, signers: Sequence[SigningKey], now: datetime, *, expected: str = ""
) -> tuple[str, ...]:
    """Sign the bag's tag manifest; the signatures' paths in the bag. ``expected`` is its
    SHA-512 where the bag was checked before.

    Raises DestinationError where a signer has signed already, before anything is written.
    """
    content = read_signed_file(bag)
    if expected and hashlib.sha512(content).hexdigest() != expected:
        raise StorageError(
            _("{bag} changed while it was checked, so it was not signed").format(bag=bag),
            hint=_("Find out who writes to it, then run the command again."),
        )
    place = _Place(bag)
    for signer in signers:
        name = signature_path(signer.certificate.fingerprint)
        if os.path.lexists(place.path(name)):
            raise DestinationError(
                _("{bag}: {signer} has signed already ({file})").format(
                    bag=bag, signer=signer.certificate.name, file=name
                ),
                hint=_("Nothing is ever replaced; another signer may add a signature."),
            )
    names = []
    for signer in signers:
        signature = sign_manifest(content, signer, now)
        name = signature_path(signer.certificate.fingerprint)
        add_certificates(bag, (signer.certificate, *signer.chain))
        add_proof(bag, name, signature)
        names.append(name)
    return tuple(names)


def read_signed_file(bag: str) -> bytes:
    """The bytes that are signed. Raises StorageError."""
    path = _Place(bag).path(SIGNED_FILE)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StorageError(_("{path} is not a regular file").format(path=path))
            data = file.read(_MAX_SIGNED_BYTES + 1)
    except OSError as error:
        raise storage_error(error, path) from error
    if len(data) > _MAX_SIGNED_BYTES:
        raise StorageError(_("{path} is too long for what it should be").format(path=path))
    return data


def add_certificates(bag: str, certificates: Iterable[Certificate]) -> None:
    """Lay certificates down, those that aren't there yet."""
    for certificate in certificates:
        with contextlib.suppress(FileExistsError):
            _add(bag, certificate_path(certificate.fingerprint), certificate.pem)


def add_proof(bag: str, name: str, data: bytes) -> None:
    """Add the file ``name`` (a path in ``signatures/``). Raises DestinationError,
    StorageError.
    """
    try:
        _add(bag, name, data)
    except FileExistsError as error:
        raise DestinationError(
            _("{path} exists already").format(path=os.path.join(bag, name)),
            hint=_("Nothing is ever replaced."),
        ) from error


def _add(bag: str, name: str, data: bytes) -> None:
    path = _Place(bag).path(name)
    try:
        _make_directories(bag, within=name.startswith(f"{CERTIFICATES}/"))
        if os.path.lexists(path):
            raise FileExistsError(path)
        write_new_file(path, data, _MODE)
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_error(error, path) from error


def _make_directories(bag: str, *, within: bool) -> None:
    names = (SIGNATURES, CERTIFICATES) if within else (SIGNATURES,)
    for name in names:
        path = _Place(bag).path(name)
        try:
            found = os.lstat(path).st_mode
        except FileNotFoundError:
            with writable(os.path.dirname(path)), contextlib.suppress(FileExistsError):
                os.mkdir(path)
            found = os.lstat(path).st_mode
        if not stat.S_ISDIR(found):
            raise StorageError(
                _("{path} is not a directory, so nothing can be added to it").format(path=path)
            )


@contextlib.contextmanager
def writable(directory: str) -> Iterator[None]:
    """Give a read-only directory its write permission for a moment, where it is ours."""
    mode = stat.S_IMODE(os.stat(directory).st_mode)
    if mode & stat.S_IWUSR:
        yield
        return
    os.chmod(directory, mode | stat.S_IWUSR)
    try:
        yield
    finally:
        os.chmod(directory, mode)
