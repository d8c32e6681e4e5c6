"""Whether a certificate leads to an anchor at a given time (RFC 5280 §6), and revocation.

Job: path building by ``cryptography.x509.verification`` with our own key-usage
check; revocation by date (CRLs, RFC 5280 §5). Limits: anchors are given, none is
known; nothing is fetched.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
)

from archiver.errors import FormatError
from archiver.i18n import N_
from archiver.pki.certificates import Certificate, unique

__all__ = [
    "Crl",
    "Path",
    "Revocation",
    "cannot_be_attributed",
    "find_path",
    "read_crls",
    "revocations_in",
]

_MAX_DEPTH = 8
_MAX_INTERMEDIATES = 64
_MAX_NAMESAKES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """From the certificate itself to the anchor."""

    certificates: tuple[Certificate, ...]

    @property
    def anchor(self) -> Certificate:
        """Where the path ends."""
        return self.certificates[-1]


def find_path(
    certificate: Certificate,
    intermediates: Iterable[Certificate],
    anchors: Sequence[Certificate],
    moment: datetime,
) -> Path | None:
    """A path from ``certificate`` to one of ``anchors`` that was valid at ``moment``.

    Anchors are the checker's; intermediates may come from anywhere. An anchor that is
    the certificate itself is an exact pin. None where no path leads there.
    """
    if certificate in anchors:
        return Path(certificates=(certificate,)) if certificate.valid_at(moment) else None
    roots = [one for one in anchors if one.is_ca]
    if not roots:
        return None
    verifier = (
        PolicyBuilder()
        .store(Store([one.parsed for one in roots]))
        .time(moment.astimezone(UTC).replace(tzinfo=None))
        .max_chain_depth(_MAX_DEPTH)
        .extension_policies(ca_policy=_ca_policy(), ee_policy=_end_policy())
        .build_client_verifier()
    )
    given = [one.parsed for one in intermediates if one.is_ca][:_MAX_INTERMEDIATES]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chain = verifier.verify(certificate.parsed, given).chain
        return Path(
            certificates=tuple(Certificate.parse(one.public_bytes(Encoding.DER)) for one in chain)
        )
    except Exception:  # noqa: BLE001  # hostile certificates: cryptography has a dozen kinds
        return None


def _ca_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_issue)
    )


def _end_policy() -> ExtensionPolicy:
    """What the end may do is asked of :class:`Certificate`, by who knows what it did."""
    return ExtensionPolicy.permit_all()


def _may_issue(_policy: Any, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key usage does not include issuing certificates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crl:
    """A certificate revocation list. Nothing is believed of it until its issuer is known."""

    parsed: x509.CertificateRevocationList
    issuer: x509.Name
    next_update: datetime | None

    def issued_by(self, issuer: Certificate) -> bool:
        """Whether ``issuer`` signed it and may sign such lists."""
        usage = issuer.extension(x509.KeyUsage)
        if self.issuer != issuer.subject or (usage is not None and not usage.crl_sign):
            return False
        try:
            return self.parsed.is_signature_valid(issuer.public_key())
        except Exception:  # noqa: BLE001  # as above
            return False

    def revocation_of(self, certificate: Certificate) -> Revocation | None:
        """What it says of a certificate; what can't be read is taken at its worst."""
        serial = certificate.parsed.serial_number
        try:
            entry = self.parsed.get_revoked_certificate_by_serial_number(serial)
            return _revocation(entry) if entry is not None else None
        except Exception:  # noqa: BLE001  # as above
            return Revocation(since=datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """From ``since`` on (aware) nothing is to be believed. ``reason`` as RFC 5280 names
    it, "" where none is given.
    """

    since: datetime
    reason: str = ""

    @property
    def is_innocent(self) -> bool:
        """Whether what was made before it stays good for a TSA (RFC 3161 §4): the reason
        is given, and it is none that casts doubt on the key.
        """
        return self.reason in (
            "unspecified",
            "affiliationChanged",
            "superseded",
            "cessationOfOperation",
        )


def read_crls(data: bytes) -> tuple[Crl, ...]:
    """The revocation lists in ``data``: PEM or DER. Raises FormatError."""
    mark = b"-----BEGIN X509 CRL-----"
    try:
        if mark not in data:
            return (_crl(x509.load_der_x509_crl(data)),)
        parts = data.split(mark)[1:]
        return tuple(_crl(x509.load_pem_x509_crl(mark + part)) for part in parts)
    except Exception as error:  # as above
        raise FormatError(N_("it is not a certificate revocation list that can be read")) from error


def _crl(found: x509.CertificateRevocationList) -> Crl:
    critical = [one for one in found.extensions if one.critical]
    if critical:  # an indirect or partial list: what isn't on it says nothing
        raise ValueError(N_("it has extensions that aren't known here"))
    return Crl(parsed=found, issuer=found.issuer, next_update=found.next_update_utc)


def revocations_in(
    path: Sequence[Certificate], known: Iterable[Certificate], crls: Sequence[Crl]
) -> list[Revocation]:
    """All revocations of certificates of ``path``, each by its issuer, which is the next of
    the path or among ``known``.

    ``path`` must be one that leads to an anchor, or an anchor alone: a path that ends
    early would leave certificates out.
    """
    if not crls:
        return []
    everybody = unique((*path, *known))
    return [
        revocation
        for certificate in path
        for crl in crls
        if crl.issuer == certificate.issuer
        if any(crl.issued_by(one) for one in _issuers(certificate, everybody))
        if (revocation := crl.revocation_of(certificate)) is not None
    ]


def _issuers(certificate: Certificate, known: Sequence[Certificate]) -> list[Certificate]:
    """Those who issued it, by name and key; of many with one name the first are looked at."""
    namesakes = [one for one in known if one.subject == certificate.issuer][:_MAX_NAMESAKES]
    return [one for one in namesakes if _issued(one, certificate)]


def cannot_be_attributed(
    path: Sequence[Certificate], known: Iterable[Certificate], crls: Sequence[Crl]
) -> bool:
    """Whether a list names the issuer of a certificate of ``path``, and nobody can be found
    who signed it: then it can't be told whether that certificate is revoked.
    """
    issuers = unique((*path, *known)) if crls else ()
    names = {one.issuer for one in path}
    return any(
        crl.issuer in names
        and not any(
            crl.issued_by(one)
            for one in [one for one in issuers if one.subject == crl.issuer][:_MAX_NAMESAKES]
        )
        for crl in crls
    )


def _issued(issuer: Certificate, certificate: Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except Exception:  # noqa: BLE001  # as above
        return False
    return True


def _revocation(entry: x509.RevokedCertificate) -> Revocation:
    since, reason = entry.revocation_date_utc, ""
    for extension in entry.extensions:
        value = extension.value
        if isinstance(value, x509.InvalidityDate):
            since = min(since, value.invalidity_date_utc)
        elif isinstance(value, x509.CRLReason):
            reason = value.reason.value
    return Revocation(since=since, reason=reason)
