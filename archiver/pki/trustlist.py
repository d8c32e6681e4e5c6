"""The trust list: which certificates an organisation stands for, since when, until when.

Job: ``trust.json`` read strictly, its signature checked, the next version made.
Limits: whom to believe is decided by who gives the list; it says nothing of bags.

A list is one JSON document, ``{"trust": {…}, "signature": "…"}``. The signature is a
detached CMS (base64) by the CA over the canonical form of ``trust``: UTF-8, keys
sorted, no white space (what ``jq -cjS .trust`` prints). Each version names the
digest of the one before it; a version is never changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from archiver.errors import FormatError, KeyringError
from archiver.i18n import N_, _
from archiver.pki.certificates import Certificate, read_certificates
from archiver.pki.cms import CmsError, check_signature, parse_signed_data
from archiver.pki.keyring import SigningKey

__all__ = [
    "MAX_LIST_BYTES",
    "REASONS",
    "TrustList",
    "Trusted",
    "TsaRoot",
    "first_list",
    "make_crl",
    "next_list",
    "parse_trust_list",
    "sign_trust_list",
]

SCHEMA = "archiver/trust/1"
MAX_LIST_BYTES = 8 << 20
REASONS = ("keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation")
"""Why a certificate may be revoked (RFC 5280 §5.3.1)."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """One signer on the list. ``invalid_after`` is when its signatures cease to count
    (None while it is good); ``revoked_at`` is when that was said.
    """

    certificate: Certificate
    name: str
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None = None
    invalid_after: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TsaRoot:
    """A TSA's root that the organisation has pinned. ``url`` may be ""."""

    certificate: Certificate
    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustList:
    """One version. ``digest`` is that of its canonical form, "" before it is signed."""

    organisation: str
    version: int
    issued_at: datetime
    authority: Certificate
    signers: tuple[Trusted, ...] = ()
    tsa_roots: tuple[TsaRoot, ...] = ()
    previous: str | None = None
    digest: str = ""

    def find(self, fingerprint: str) -> Trusted | None:
        """The entry of a certificate, by its whole fingerprint."""
        return next(
            (one for one in self.signers if one.certificate.fingerprint == fingerprint), None
        )


def first_list(authority: Certificate, organisation: str, now: datetime) -> TrustList:
    """The list that an organisation begins with."""
    return TrustList(organisation=organisation, version=1, issued_at=now, authority=authority)


def next_list(
    before: TrustList,
    now: datetime,
    *,
    signers: Sequence[Trusted] | None = None,
    tsa_roots: Sequence[TsaRoot] | None = None,
) -> TrustList:
    """The version after ``before``, with other signers or roots."""
    return replace(
        before,
        version=before.version + 1,
        issued_at=now,
        signers=before.signers if signers is None else tuple(signers),
        tsa_roots=before.tsa_roots if tsa_roots is None else tuple(tsa_roots),
        previous=before.digest,
        digest="",
    )


def sign_trust_list(trust: TrustList, authority: SigningKey, now: datetime) -> bytes:
    """The file, signed by the CA that the list names. Raises KeyringError for another key."""
    if authority.certificate != trust.authority:
        raise KeyringError(_("the trust list belongs to another CA than the key that was opened"))
    document = _document(trust)
    signature = authority.sign(_canonical(document), now)
    whole = {"trust": document, "signature": base64.b64encode(signature).decode("ascii")}
    return json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def parse_trust_list(data: bytes) -> TrustList:
    """Read a list and check that the CA it names signed it.

    Raises FormatError. Whether that CA is the right one is for the caller to know.
    """
    try:
        document, signature = _split(data)
        trust = _trust_list(document)
        canonical = _canonical(document)
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError, binascii.Error) as error:
        raise FormatError(N_("it is not a trust list")) from error
    try:
        signed = parse_signed_data(signature)
        check_signature(signed, canonical)
    except CmsError as error:
        raise FormatError(N_("the trust list's signature doesn't match it")) from error
    if signed.certificate != trust.authority or not trust.authority.is_ca:
        raise FormatError(N_("the trust list is not signed by the CA that it names"))
    return replace(trust, digest=hashlib.sha256(canonical).hexdigest())


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) > MAX_LIST_BYTES:
        raise ValueError
    whole = json.loads(data.decode("utf-8"), object_pairs_hook=_unique_keys)
    if not isinstance(whole, dict) or set(whole) != {"trust", "signature"}:
        raise ValueError
    return whole["trust"], base64.b64decode(whole["signature"], validate=True)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that stands twice is read one way here and another way elsewhere."""
    if len({key for key, _value in pairs}) != len(pairs):
        raise ValueError
    return dict(pairs)


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _document(trust: TrustList) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "organisation": trust.organisation,
        "version": trust.version,
        "issued_at": _stamp(trust.issued_at),
        "previous": trust.previous,
        "authority": trust.authority.pem.decode("ascii"),
        "signers": [_signer_record(one) for one in trust.signers],
        "tsa_roots": [
            {"name": one.name, "url": one.url, "certificate": one.certificate.pem.decode("ascii")}
            for one in trust.tsa_roots
        ],
    }


def _signer_record(one: Trusted) -> dict[str, Any]:
    return {
        "name": one.name,
        "fingerprint": f"sha256:{one.certificate.fingerprint}",
        "certificate": one.certificate.pem.decode("ascii"),
        "valid_from": _stamp(one.valid_from),
        "valid_until": _stamp(one.valid_until),
        "revoked_at": one.revoked_at and _stamp(one.revoked_at),
        "invalid_after": one.invalid_after and _stamp(one.invalid_after),
        "reason": one.reason or None,
    }


def _trust_list(document: dict[str, Any]) -> TrustList:
    if document["schema"] != SCHEMA:
        raise FormatError(N_("the trust list is of a version that isn't known here"))
    version, previous = document["version"], document["previous"]
    if type(version) is not int or version < 1 or (version == 1) != (previous is None):
        raise ValueError
    if previous is not None and not re.fullmatch("[0-9a-f]{64}", previous):
        raise ValueError
    return TrustList(
        organisation=_text(document["organisation"]),
        version=version,
        issued_at=_moment(document["issued_at"]),
        authority=_certificate(document["authority"]),
        signers=tuple(_signer(one) for one in document["signers"]),
        tsa_roots=tuple(
            TsaRoot(
                certificate=_certificate(one["certificate"]),
                name=_text(one["name"]),
                url=_text(one["url"]),
            )
            for one in document["tsa_roots"]
        ),
        previous=previous,
    )


def _signer(record: dict[str, Any]) -> Trusted:
    certificate = _certificate(record["certificate"])
    if record["fingerprint"] != f"sha256:{certificate.fingerprint}":
        raise ValueError
    revoked, invalid = record["revoked_at"], record["invalid_after"]
    if (revoked is None) != (invalid is None):
        raise ValueError
    return Trusted(
        certificate=certificate,
        name=_text(record["name"]),
        valid_from=_moment(record["valid_from"]),
        valid_until=_moment(record["valid_until"]),
        revoked_at=None if revoked is None else _moment(revoked),
        invalid_after=None if invalid is None else _moment(invalid),
        reason=_text(record["reason"] or ""),
    )


def _certificate(pem: str) -> Certificate:
    (certificate,) = read_certificates(pem.encode("ascii"))
    return certificate


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise ValueError
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def make_crl(trust: TrustList, authority: SigningKey, now: datetime) -> bytes:
    """The list's revocations of the CA's own certificates for other programs, in PEM.

    Programs that don't compare dates refuse a revoked signer's earlier signatures too;
    ours go by the invalidity date.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now)
        .next_update(authority.certificate.not_after)
        .add_extension(x509.CRLNumber(trust.version), critical=False)
    )
    for one in trust.signers:
        if one.revoked_at is None or one.invalid_after is None:
            continue
        if one.certificate.issuer != authority.certificate.subject:
            continue
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(one.certificate.parsed.serial_number)
            .revocation_date(one.revoked_at)
            .add_extension(x509.InvalidityDate(_naive(one.invalid_after)), critical=False)
        )
        if one.reason in REASONS:
            reason = x509.CRLReason(x509.ReasonFlags(one.reason))
            entry = entry.add_extension(reason, critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(authority.key, hashes.SHA384())
    return signed.public_bytes(Encoding.PEM)


def _naive(moment: datetime) -> datetime:
    """As ``cryptography`` wants an invalidity date: UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)
