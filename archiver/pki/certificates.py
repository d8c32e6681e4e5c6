"""X.509 certificates as frozen values (RFC 5280).

Job: read certificates from PEM or DER, say what they may be used for. Limits:
judges one certificate by itself; paths are the business of
:mod:`archiver.pki.paths`.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from archiver.errors import FormatError
from archiver.i18n import N_, _

__all__ = [
    "DOCUMENT_SIGNING",
    "Certificate",
    "PublicKey",
    "parse_fingerprint",
    "read_certificates",
    "short",
    "spoken",
    "unique",
]

MAX_CERTIFICATES = 64
"""Certificates that are read out of one file; chains have three or four."""
_MIN_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_FINGERPRINT = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")  # RFC 9336
_SIGNING_PURPOSES = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        DOCUMENT_SIGNING,
        x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"),  # Microsoft document signing
        x509.ObjectIdentifier("1.2.840.113583.1.1.5"),  # Adobe authentic documents
    }
)
"""Extended key usages of which one must be there, where there are any."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate, parsed as a whole. ``fingerprint`` is its SHA-256 in hexadecimal."""

    der: bytes
    parsed: x509.Certificate
    fingerprint: str
    subject: x509.Name
    issuer: x509.Name
    not_before: datetime
    not_after: datetime
    extensions: x509.Extensions

    @classmethod
    def parse(cls, der: bytes) -> Certificate:
        """Raises FormatError where ``der`` is not one well-formed certificate."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old roots with the serial number 0
                parsed = x509.load_der_x509_certificate(der)
                return cls(
                    der=der,
                    parsed=parsed,
                    fingerprint=hashlib.sha256(der).hexdigest(),
                    subject=parsed.subject,
                    issuer=parsed.issuer,
                    not_before=parsed.not_valid_before_utc,
                    not_after=parsed.not_valid_after_utc,
                    extensions=parsed.extensions,
                )
        except Exception as error:  # cryptography has a dozen, without a common base
            raise FormatError(N_("it is not a certificate that can be read")) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def name(self) -> str:
        """For a person: the common name, else the organisation, else all of it."""
        for attribute in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
            found = self.subject.get_attributes_for_oid(attribute)
            if found:
                return str(found[0].value)
        return str(self.subject.rfc4514_string())

    @property
    def pem(self) -> bytes:
        """The certificate as a PEM file holds it."""
        return self.parsed.public_bytes(Encoding.PEM)

    @property
    def key_digest(self) -> str:
        """SHA-256 of its public key (SubjectPublicKeyInfo): two certificates may share one."""
        asn1 = asn1_x509.Certificate.load(self.der)["tbs_certificate"]
        return hashlib.sha256(asn1["subject_public_key_info"].dump()).hexdigest()

    @property
    def holder(self) -> tuple[x509.Name, str]:
        """Name and key: whoever holds both is the same CA, whichever certificate tells it."""
        return self.subject, self.key_digest

    @property
    def is_ca(self) -> bool:
        """Whether it says that it may issue certificates."""
        found = self.extension(x509.BasicConstraints)
        usage = self.extension(x509.KeyUsage)
        return found is not None and found.ca and (usage is None or usage.key_cert_sign)

    def valid_at(self, moment: datetime) -> bool:
        """Whether ``moment`` (aware) lies within its own dates."""
        return self.not_before <= moment <= self.not_after

    def extension(self, kind: type[_Extension]) -> _Extension | None:
        """The value of an extension, or None where it isn't there."""
        try:
            return self.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    def public_key(self) -> PublicKey:
        """Its key: RSA from 2,048 bits, or on P-256, P-384, P-521. Raises FormatError."""
        try:
            key = self.parsed.public_key()
        except Exception as error:  # as above
            raise FormatError(N_("its key can't be read")) from error
        if isinstance(key, rsa.RSAPublicKey):
            if key.key_size >= _MIN_RSA_BITS:
                return key
        elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
            return key
        raise FormatError(N_("its key is too weak or of a kind that isn't accepted"))

    def why_not_signer(self) -> str:
        """Why it may not sign documents (RFC 5280 §4.2.1.3, §4.2.1.12); "" where it may."""
        usage = self.extension(x509.KeyUsage)
        if usage is not None and not (usage.digital_signature or usage.content_commitment):
            return N_("its key usage doesn't include signing")
        extended = self.extension(x509.ExtendedKeyUsage)
        if extended is not None and _SIGNING_PURPOSES.isdisjoint(extended):
            return N_("its extended key usage is for something else than signing documents")
        return ""

    def why_not_tsa(self) -> str:
        """Why it may not make time stamps (RFC 3161 §2.3); "" where it may."""
        try:
            extended = self.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        except x509.ExtensionNotFound:
            return N_("its certificate isn't one for time stamping")
        if list(extended.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
            return N_("its certificate isn't one for time stamping only")
        if not extended.critical:
            return N_("its certificate's extended key usage isn't critical")
        usage = self.extension(x509.KeyUsage)
        if usage is not None and not (usage.digital_signature or usage.content_commitment):
            return N_("its key usage doesn't include signing")
        return ""


def read_certificates(data: bytes) -> tuple[Certificate, ...]:
    """All certificates in ``data``: PEM, one after the other, or a single one in DER.

    Raises FormatError where there is none, or one that can't be read.
    """
    if b"-----BEGIN CERTIFICATE-----" not in data:
        return (Certificate.parse(data),)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = x509.load_pem_x509_certificates(data)
    except Exception as error:  # as above
        raise FormatError(N_("it is not a certificate that can be read")) from error
    if len(parsed) > MAX_CERTIFICATES:
        raise FormatError(_("more than {limit} certificates").format(limit=MAX_CERTIFICATES))
    return unique(Certificate.parse(one.public_bytes(Encoding.DER)) for one in parsed)


def unique(certificates: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """Each certificate once, in the order they came."""
    return tuple({one.fingerprint: one for one in certificates}.values())


def short(fingerprint: str) -> str:
    """The first 16 digits: enough to name a file, not to trust one."""
    return fingerprint[:16]


def spoken(fingerprint: str) -> str:
    """A fingerprint in lines of four groups of four digits, fit to be read aloud."""
    groups = [fingerprint[start : start + 4].upper() for start in range(0, 64, 4)]
    return "\n".join(" ".join(groups[row : row + 4]) for row in range(0, 16, 4))


def parse_fingerprint(text: str) -> str | None:
    """A SHA-256 fingerprint as people write it (``sha256:…``, groups, colons, capitals),
    in 64 small digits; None where it is none.
    """
    text = text.lower().strip()
    prefix, text = ("sha256:", text[7:]) if text.startswith("sha256:") else ("", text)
    found = _FINGERPRINT.fullmatch(prefix + re.sub(r"[\s:.-]", "", text))
    return found[1] if found else None
