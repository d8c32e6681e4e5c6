"""Adds files to a bag's ``signatures/``: whole, durable, replacing nothing.

Job: signatures with their certificates into a staged or finished bag, or wherever else
a :class:`ProofPlace` says. Limits: touches nothing outside of ``signatures/``; a bag may
be hostile, so a link in the place of a directory is refused.
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
    SIGNATURES,
    SIGNED_FILE,
    ProofFiles,
    certificate_path,
    signature_path,
    sort_proofs,
)
from archiver.errors import DestinationError, StorageError, storage_error
from archiver.filesystem import write_new_file, write_staged_file
from archiver.i18n import _
from archiver.pki.certificates import Certificate
from archiver.pki.keyring import SigningKey
from archiver.signing import sign_manifest

__all__ = [
    "ProofPlace",
    "add_certificates",
    "add_proof",
    "read_signed_file",
    "sign_bag",
    "writable",
]

_MODE = 0o444
_MAX_SIGNED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class ProofPlace:
    """Where signatures, stamps and requests lie: in ``folder`` of ``base``, which is a bag's
    ``signatures/`` where nothing else is said. Their names are paths in ``base``.

    A bag is handed out alone: certificates and the revocation lists of the day are kept in
    it, unless ``with_certificates`` says otherwise. ``staged``: nobody can see it yet, and
    who lets it appear syncs it before.
    """

    base: str
    folder: str = SIGNATURES
    with_certificates: bool = True
    staged: bool = False

    def path(self, name: str) -> str:
        """Where the file ``name`` lies."""
        return os.path.join(self.base, *name.split("/"))

    @property
    def folders(self) -> tuple[str, str]:
        """The folder, and that of the certificates in it."""
        return self.folder, f"{self.folder}/certificates"

    def read(self, name: str, limit: int) -> bytes:
        """At most ``limit`` bytes of a file; no link is followed. Raises StorageError."""
        path = self.path(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                return file.read(limit)
        except OSError as error:
            raise storage_error(error, path) from error

    def files(self) -> ProofFiles:
        """What lies there; links are left out. Raises StorageError."""
        found: list[str] = []
        for directory in self.folders:
            full = self.path(directory)
            try:
                if not stat.S_ISDIR(os.lstat(full).st_mode):
                    continue
                with os.scandir(full) as entries:
                    plain = (one.name for one in entries if one.is_file(follow_symlinks=False))
                    found += [f"{directory}/{name}" for name in plain]
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:  # what can't be looked at must not pass for empty
                raise storage_error(error, full) from error
        return sort_proofs(tuple(found), self.folder)


def sign_bag(
    bag: str,
    signers: Sequence[SigningKey],
    now: datetime,
    *,
    expected: str = "",
    staged: bool = False,
) -> tuple[str, ...]:
    """Sign the bag's tag manifest; the signatures' paths in the bag. ``expected`` is its
    SHA-512 where the bag was checked before, ``staged`` as for :class:`ProofPlace`.

    Raises DestinationError where a signer has signed already, before anything is written.
    """
    content = read_signed_file(bag)
    if expected and hashlib.sha512(content).hexdigest() != expected:
        raise StorageError(
            _("{bag} changed while it was checked, so it was not signed").format(bag=bag),
            hint=_("Find out who writes to it, then run the command again."),
        )
    place = ProofPlace(bag, staged=staged)
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
        add_certificates(place, (signer.certificate, *signer.chain))
        add_proof(place, name, signature)
        names.append(name)
    return tuple(names)


def read_signed_file(bag: str) -> bytes:
    """The bytes that are signed. Raises StorageError."""
    path = ProofPlace(bag).path(SIGNED_FILE)
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


def add_certificates(place: ProofPlace, certificates: Iterable[Certificate]) -> None:
    """Lay certificates down, those that aren't there yet."""
    for certificate in certificates:
        with contextlib.suppress(FileExistsError):
            _add(place, certificate_path(certificate.fingerprint), certificate.pem)


def add_proof(place: ProofPlace, name: str, data: bytes) -> None:
    """Add the file ``name`` (a path in ``place``). Raises DestinationError, StorageError."""
    try:
        _add(place, name, data)
    except FileExistsError as error:
        raise DestinationError(
            _("{path} exists already").format(path=place.path(name)),
            hint=_("Nothing is ever replaced."),
        ) from error


def _add(place: ProofPlace, name: str, data: bytes) -> None:
    path = place.path(name)
    try:
        _make_directories(place, name)
        if place.staged:
            write_staged_file(path, data, _MODE)
            return
        if os.path.lexists(path):
            raise FileExistsError(path)
        write_new_file(path, data, _MODE)
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_error(error, path) from error


def _make_directories(place: ProofPlace, name: str) -> None:
    for folder in place.folders:
        if not name.startswith(f"{folder}/"):
            continue
        path = place.path(folder)
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
