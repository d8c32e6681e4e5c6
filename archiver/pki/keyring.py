"""The directory that keys lie in: an organisation's CA, its signers, its trust list.

Job: make, find and open keys with their certificates. Limits: no prompts; the trust
list's content is the business of :mod:`archiver.pki.trustlist`.

::

    ca.pem  ca.key            the organisation's CA; ca.key is meant to lie elsewhere
    NAME.pem  NAME.key        one signer for each person or device
    trust.json  trust/        the trust list, and its earlier versions
    ca.crl                    the same revocations for other programs
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from archiver.errors import (
    DestinationError,
    FormatError,
    KeyringError,
    UsageError,
    storage_error,
)
from archiver.filesystem import replace_file, write_new_file
from archiver.i18n import N_, _
from archiver.pki.certificates import DOCUMENT_SIGNING, Certificate, read_certificates, unique
from archiver.pki.cms import PrivateKey, make_signed_data
from archiver.pki.keys import encrypt_key, is_encrypted, new_key, read_key, read_pkcs12
from archiver.pki.passphrase import read_guarded

__all__ = [
    "CA_NAME",
    "Ask",
    "NewSigner",
    "SigningKey",
    "certificates_in",
    "check_name",
    "create_authority",
    "create_signer",
    "default_directory",
    "open_authority",
    "open_signer",
    "signer_names",
    "why_not_sealer",
]

Ask = Callable[[str], bytes]
"""Gives the passphrase for the key in a file."""

CA_NAME = "ca"
_RESERVED = (CA_NAME, "trust")
_NAME = re.compile(r"[^\W_][\w.@+-]{0,63}")
_CA_YEARS, _SIGNER_YEARS = 25, 3
_BACKDATED = timedelta(days=1)
"""A signer's clock may be ahead of a TSA's: a stamp must not come before the certificate."""
_MAX_FILE_BYTES = 1 << 20
_BUNDLES = (".p12", ".pfx")
_CERTIFICATE_ENDINGS = (".pem", ".crt", ".cer")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """An open key with its certificate and those that lead from it to its CA."""

    key: PrivateKey
    certificate: Certificate
    chain: tuple[Certificate, ...] = ()
    was_open: bool = False
    """Whether the key lay there without a passphrase."""

    def sign(self, content: bytes, now: datetime) -> bytes:
        """A detached CMS signature over ``content``."""
        return make_signed_data(content, self.key, self.certificate, self.chain, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSigner:
    """What a signer is to be: ``name`` becomes a file's name, ``person`` stands in the
    certificate.
    """

    name: str
    person: str = ""
    kind: str = "p256"


def default_directory() -> str:
    """``$ARCHIVER_KEY_DIR``, else ``archiver/keys`` in the user's configuration."""
    configured = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.environ.get("ARCHIVER_KEY_DIR") or os.path.join(configured, "archiver", "keys")


def check_name(name: str) -> str:
    """A signer's name that is fit for a file. Raises UsageError."""
    if not _NAME.fullmatch(name) or name.casefold() in _RESERVED:
        raise UsageError(
            _("{name!r} can't be a signer's name").format(name=name),
            hint=_("Use letters, digits and - . _ @ +, for example: ana-laptop."),
        )
    return name


def create_authority(
    directory: str, organisation: str, passphrase: bytes, now: datetime
) -> SigningKey:
    """A CA: P-384, 25 years, for certificates of signers only (path length 0).

    Raises ArchiverError; what is there is never replaced.
    """
    if not organisation.strip() or not organisation.isprintable():
        raise UsageError(_("the organisation needs a name"), hint=_("Give --organisation NAME."))
    key = new_key("p384")
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organisation[:48]} archive CA"),
        ]
    )
    builder = (
        _builder(name, name, key, now, _years_later(now, _CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(issue=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = _sign(builder, key)
    _store(directory, CA_NAME, key, (certificate,), passphrase)
    return SigningKey(key=key, certificate=certificate)


def create_signer(
    directory: str, signer: NewSigner, authority: SigningKey, passphrase: bytes, now: datetime
) -> SigningKey:
    """A signer under ``authority``: three years, for signing documents only."""
    check_name(signer.name)
    key = new_key(signer.kind)
    ca = authority.certificate
    organisation = ca.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    person = (signer.person or signer.name)[:64]
    name = x509.Name([*organisation, x509.NameAttribute(NameOID.COMMON_NAME, person)])
    until = min(_years_later(now, _SIGNER_YEARS), ca.not_after)
    issuer_key = ca.public_key()
    builder = (
        _builder(name, ca.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(issue=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, DOCUMENT_SIGNING]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )
    certificate = _sign(builder, authority.key)
    _store(directory, signer.name, key, (certificate, ca), passphrase)
    return SigningKey(key=key, certificate=certificate, chain=(ca,))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(until)
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> Certificate:
    signed = builder.sign(key, hashes.SHA384())
    return Certificate.parse(signed.public_bytes(Encoding.DER))


def _usage(*, issue: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=not issue,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issue,
        crl_sign=issue,
        encipher_only=False,
        decipher_only=False,
    )


def _years_later(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year + years, day=28)


def _store(
    directory: str,
    name: str,
    key: PrivateKey,
    certificates: Sequence[Certificate],
    passphrase: bytes,
) -> None:
    """Certificate first, then key. A key is what counts: a certificate whose key was never
    written, because a run was killed in between, is replaced.
    """
    key_path, certificate_path = (os.path.join(directory, name + end) for end in (".key", ".pem"))
    if os.path.lexists(key_path):
        raise DestinationError(
            _("{path} exists already").format(path=key_path),
            hint=_("Keys are never replaced: choose another name or directory."),
        )
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        replace_file(certificate_path, b"".join(one.pem for one in certificates), 0o644)
        write_new_file(key_path, encrypt_key(key, passphrase), 0o600)
    except OSError as error:
        raise storage_error(error, directory) from error


# -- finding and opening


def open_authority(directory: str, ask: Ask) -> SigningKey:
    """The CA's key in ``directory``. Raises ArchiverError."""
    path = os.path.join(directory, f"{CA_NAME}.key")
    if not os.path.exists(path):
        raise KeyringError(
            _("the CA's key is not in {path}").format(path=directory),
            hint=_("Bring the medium with ca.key and name its directory: --ca-dir DIR."),
        )
    return _open(path, ask)


def open_signer(given: str, directories: Sequence[str], ask: Ask, now: datetime) -> SigningKey:
    """The signer ``given``: a name in one of ``directories``, or a file (``.key`` or ``.pem``
    with its certificate beside it, ``.p12``). Raises ArchiverError.
    """
    signer = _open(_find(given, directories), ask)
    certificate = signer.certificate
    if not certificate.valid_at(now):
        raise KeyringError(
            _("{name}: the certificate is valid from {first} to {last}, not today").format(
                name=given, first=certificate.not_before.date(), last=certificate.not_after.date()
            ),
            hint=_("Make a new one with 'archiver key new', and check this machine's clock."),
        )
    if problem := why_not_sealer(certificate):
        raise KeyringError(
            _("{name}: {problem}").format(name=given, problem=_(problem)),
            hint=_("Make a signer with 'archiver key new NAME'."),
        )
    return signer


def why_not_sealer(certificate: Certificate) -> str:
    """Why a certificate isn't one to seal bags with; "" where it is. A CA's is for issuing."""
    usage = certificate.extension(x509.KeyUsage)
    if usage is not None and usage.key_cert_sign:
        return N_("that is a CA's certificate, which is for issuing, not for sealing")
    return certificate.why_not_signer()


def _find(given: str, directories: Sequence[str]) -> str:
    if os.sep in given or given.endswith((".key", *_CERTIFICATE_ENDINGS, *_BUNDLES)):
        if os.path.exists(given):
            return given
        raise UsageError(
            _("{path}: {reason}").format(path=given, reason=_("there is no such file")),
            hint=_("Check the spelling of the path."),
        )
    for directory in directories:
        path = os.path.join(directory, f"{given}.key")
        if os.path.exists(path):
            _refuse_open_directory(directory)
            return path
    known = sorted({name for directory in directories for name in signer_names(directory)})
    hint = _("Known signers: {names}.").format(names=", ".join(known)) if known else ""
    raise UsageError(
        _("there is no signer named {name} in {places}").format(
            name=given, places=", ".join(directories)
        ),
        hint=hint or _("Make one with 'archiver setup' or 'archiver key init'."),
    )


def _refuse_open_directory(directory: str) -> None:
    """Whoever may write there may exchange certificates and the trust list."""
    if stat.S_IMODE(os.stat(directory).st_mode) & stat.S_IWOTH:
        raise KeyringError(
            _("{path} can be written by everybody").format(path=directory),
            hint=_("Run: chmod 700 {path}").format(path=directory),
        )


def signer_names(directory: str) -> list[str]:
    """The signers whose keys lie in ``directory``."""
    try:
        found = os.listdir(directory)
    except OSError:
        return []
    names = (name.removesuffix(".key") for name in found if name.endswith(".key"))
    return sorted(name for name in names if name not in _RESERVED and not name.startswith("."))


def _open(path: str, ask: Ask) -> SigningKey:
    stem, ending = os.path.splitext(path)
    if ending in _BUNDLES:
        locked, data = True, read_guarded(path, _MAX_FILE_BYTES)
        key, certificates = read_pkcs12(data, ask(path), path)
    else:
        if ending != ".key" and b"PRIVATE KEY" not in _read(path):
            path = f"{stem}.key"
        data = read_guarded(path, _MAX_FILE_BYTES)
        locked = is_encrypted(data)
        key = read_key(data, ask(path) if locked else None, path)
        certificates = list(_certificates_beside(path, data))
    certificate = next((one for one in certificates if _is_of(one, key)), None)
    if certificate is None:
        raise KeyringError(
            _("{path}: none of the certificates beside it belongs to this key").format(path=path),
            hint=_("Put the signer's certificate beside the key, under the same name and .pem."),
        )
    others = [one for one in certificates if one is not certificate and one.is_ca]
    return SigningKey(key=key, certificate=certificate, chain=unique(others), was_open=not locked)


def _certificates_beside(path: str, data: bytes) -> tuple[Certificate, ...]:
    stem = os.path.splitext(path)[0]
    beside = (stem + ending for ending in _CERTIFICATE_ENDINGS)
    for place in (path,) if b"BEGIN CERTIFICATE" in data else beside:
        if os.path.exists(place):
            return certificates_in(place)
    raise KeyringError(
        _("there is no certificate beside {path}").format(path=path),
        hint=_("Put the signer's certificate beside the key, under the same name and .pem."),
    )


def certificates_in(path: str) -> tuple[Certificate, ...]:
    """The certificates in a file. Raises UsageError, KeyringError."""
    try:
        return read_certificates(_read(path))
    except FormatError as error:
        raise KeyringError(
            _("{path}: {reason}").format(path=path, reason=_(error.message)),
            hint=_("A certificate is a file in PEM or DER, often called .pem or .crt."),
        ) from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            _("{path}: {reason}").format(path=path, reason=reason),
            hint=_("Check the spelling of the path."),
        ) from error


def _is_of(certificate: Certificate, key: PrivateKey) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except FormatError:
        return False
