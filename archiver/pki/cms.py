"""CMS SignedData: the structure of signatures and time stamps (RFC 5652, RFC 5035).

Job: read one strictly into a frozen value, check its signature, make one. Limits:
exactly one signer, signed attributes always; what the content means, and whether
the signer is to be trusted, is judged elsewhere.

Bytes are hostile: whatever they are, the only errors are :class:`CmsError` (it is
not what it should be) and :class:`MismatchError` (it is, and doesn't match).
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from archiver.errors import FormatError
from archiver.i18n import N_
from archiver.pki.certificates import Certificate, PublicKey
from archiver.pki.der import element, is_plain_der

__all__ = [
    "MAX_CMS_BYTES",
    "CmsError",
    "MismatchError",
    "PrivateKey",
    "SignedData",
    "check_signature",
    "make_signed_data",
    "parse_signed_data",
    "sign_bytes",
    "verify_bytes",
]

MAX_CMS_BYTES = 256 << 10
"""Longer ones are refused unread: signatures with their chains have some thousands."""
_MAX_CERTIFICATES = 32
_MAX_SALT_BYTES = 1024
"""openssl fills the whole key with salt: 222 bytes for RSA with 2,048 bits."""
_STRONG = ("sha256", "sha384", "sha512")
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_OCTETS, _SEQUENCE, _SET, _CONTEXT_0 = 0x04, 0x30, 0x31, 0xA0


class CmsError(FormatError):
    """The bytes are no SignedData that could prove anything."""


class MismatchError(CmsError):
    """A well-formed SignedData over other bytes, or by another key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureScheme:
    """How a signature was made. ``salt_bytes`` is None but for RSA-PSS."""

    kind: str
    digest: str
    salt_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedData:
    """A SignedData with its one SignerInfo.

    ``content`` is what is embedded, None where it is detached. ``attributes`` are
    the signed attributes as they were signed (DER, tag SET OF). ``certificate`` is
    the signer's, ``certificates`` are all that are embedded. ``signing_time`` is
    what the signer's own clock said: a claim.
    """

    content_type: str
    content: bytes | None
    certificate: Certificate
    certificates: tuple[Certificate, ...]
    digest: str
    message_digest: bytes
    attributes: bytes
    scheme: SignatureScheme
    signature: bytes
    signing_time: datetime | None
    names_certificate: bool
    """Whether a signing-certificate-v2 attribute names the certificate (RFC 5035 §3)."""


def parse_signed_data(data: bytes) -> SignedData:
    """Read ``data`` (DER). Raises CmsError."""
    if len(data) > MAX_CMS_BYTES:
        raise CmsError(N_("it is too long to be a signature"))
    if not is_plain_der(data):
        raise CmsError(N_("it is not a CMS structure in DER"))
    try:
        return _parse(data)
    except CmsError:
        raise
    except Exception as error:  # asn1crypto parses as it goes, and raises whatever it meets
        raise CmsError(N_("it is not a CMS structure in DER")) from error


def _parse(data: bytes) -> SignedData:
    info = cms.ContentInfo.load(data, strict=True)
    if info["content_type"].native != "signed_data":
        raise CmsError(N_("it is not signed data"))
    signed = info["content"]
    signers = signed["signer_infos"]
    if len(signers) != 1:
        raise CmsError(N_("it doesn't have exactly one signer"))
    signer = signers[0]
    certificates = _certificates(signed)
    certificate = _signer_certificate(signer, certificates)
    attributes = _attributes(signer)
    digest = _digest_name(signer["digest_algorithm"])
    encapsulated = signed["encap_content_info"]
    content_type = encapsulated["content_type"].native
    if _single(attributes, "content_type").native != content_type:
        raise CmsError(N_("its signed content type is another than its content's"))
    content = encapsulated["content"]
    return SignedData(
        content_type=content_type,
        content=None if isinstance(content, core.Void) else bytes(content.contents or b""),
        certificate=certificate,
        certificates=certificates,
        digest=digest,
        message_digest=_single(attributes, "message_digest").native,
        attributes=b"\x31" + signer["signed_attrs"].dump()[1:],
        scheme=_scheme(signer, digest),
        signature=signer["signature"].native,
        signing_time=_signing_time(attributes),
        names_certificate=_names(attributes, certificate),
    )


def _certificates(signed: Any) -> tuple[Certificate, ...]:
    found = signed["certificates"]
    if isinstance(found, core.Void):
        return ()
    if len(found) > _MAX_CERTIFICATES:
        raise CmsError(N_("it holds too many certificates"))
    kept = []
    for choice in found:
        if choice.name == "certificate":
            try:
                kept.append(_parsed(choice.chosen.dump()))
            except FormatError:
                continue  # not the signer's, or the signer won't be found
    return tuple(kept)


def _signer_certificate(signer: Any, certificates: Sequence[Certificate]) -> Certificate:
    identifier = signer["sid"]
    for certificate in certificates:
        issuer, serial_number, key_identifier = _identifiers(certificate)
        if identifier.name == "issuer_and_serial_number":
            named = identifier.chosen
            if (named["serial_number"].native, named["issuer"].dump()) == (serial_number, issuer):
                return certificate
        elif key_identifier and identifier.chosen.native == key_identifier:
            return certificate
    raise CmsError(N_("it doesn't hold its signer's certificate"))


@functools.lru_cache(maxsize=64)
def _parsed(der: bytes) -> Certificate:
    """The same few certificates are met in every signature. Raises FormatError."""
    return Certificate.parse(der)


@functools.lru_cache(maxsize=64)
def _identifiers(certificate: Certificate) -> tuple[bytes, int, bytes | None]:
    """Its issuer (DER), its serial number, its subject key identifier."""
    asn1 = asn1_x509.Certificate.load(certificate.der)
    return asn1.issuer.dump(), asn1.serial_number, asn1.key_identifier


def _attributes(signer: Any) -> dict[str, Any]:
    """The signed attributes by name, their values as they are; each may be there once."""
    found = signer["signed_attrs"]
    if isinstance(found, core.Void) or not len(found):
        raise CmsError(N_("it has no signed attributes"))
    attributes: dict[str, Any] = {}
    for attribute in found:
        name = attribute["type"].native
        if name in attributes:
            raise CmsError(N_("a signed attribute stands in it twice"))
        attributes[name] = attribute["values"]
    return attributes


def _single(attributes: dict[str, Any], name: str) -> Any:
    values = attributes.get(name)
    if values is None or len(values) != 1:
        raise CmsError(N_("a signed attribute that is required is missing"))
    return values[0]


def _digest_name(algorithm: Any) -> str:
    name = algorithm["algorithm"].native
    if name not in _STRONG:
        raise CmsError(N_("its digest algorithm is weak or unknown"))
    return str(name)


def _scheme(signer: Any, digest: str) -> SignatureScheme:
    """How the signature was made; it must rest on the same digest as the attributes."""
    algorithm = signer["signature_algorithm"]
    kind = algorithm.signature_algo
    if kind == "rsassa_pss":
        parameters = algorithm["parameters"]
        masks = parameters["mask_gen_algorithm"]
        if masks["algorithm"].native != "mgf1":
            raise CmsError(N_("its signature algorithm isn't accepted"))
        salt = parameters["salt_length"].native
        if not 0 <= salt <= _MAX_SALT_BYTES:
            raise CmsError(N_("its signature algorithm isn't accepted"))
        hashed = _digest_name(parameters["hash_algorithm"])
        if hashed != _digest_name(masks["parameters"]) or hashed != digest:
            raise CmsError(N_("its digest algorithms don't agree"))
        return SignatureScheme(kind="pss", digest=hashed, salt_bytes=salt)
    kinds = {"rsassa_pkcs1v15": "rsa", "ecdsa": "ecdsa"}
    if kind not in kinds:
        raise CmsError(N_("its signature algorithm isn't accepted"))
    plain = algorithm["algorithm"].native
    hashed = digest if plain in ("rsassa_pkcs1v15", "ecdsa") else algorithm.hash_algo
    if hashed != digest:
        raise CmsError(N_("its digest algorithms don't agree"))
    return SignatureScheme(kind=kinds[kind], digest=digest)


def _signing_time(attributes: dict[str, Any]) -> datetime | None:
    if "signing_time" not in attributes:
        return None
    found = _single(attributes, "signing_time").native
    return found if isinstance(found, datetime) and found.tzinfo else None


def _names(attributes: dict[str, Any], certificate: Certificate) -> bool:
    """Whether signing-certificate-v2 names the certificate; one that names another is
    an error.
    """
    if "signing_certificate_v2" not in attributes:
        return False
    certs = _single(attributes, "signing_certificate_v2")["certs"]
    if not len(certs):
        raise CmsError(N_("its signing-certificate attribute is empty"))
    algorithm = _digest_name(certs[0]["hash_algorithm"])
    found = hashlib.new(algorithm, certificate.der).digest()
    if not hmac.compare_digest(found, certs[0]["cert_hash"].native):
        raise MismatchError(N_("its signing-certificate attribute names another certificate"))
    return True


def check_signature(signed: SignedData, content: bytes) -> None:
    """Check that ``content`` is what was signed, by the certificate's key.

    Raises MismatchError, or CmsError for a key that isn't accepted (RFC 5652 §5.4, §5.6).
    """
    found = hashlib.new(signed.digest, content).digest()
    if not hmac.compare_digest(found, signed.message_digest):
        raise MismatchError(N_("it was made over other bytes"))
    try:
        key = signed.certificate.public_key()
    except FormatError as error:
        raise CmsError(error.message) from error
    verify_bytes(key, signed.scheme, signed.signature, signed.attributes)


def verify_bytes(key: PublicKey, scheme: SignatureScheme, signature: bytes, data: bytes) -> None:
    """Check a bare signature. Raises MismatchError."""
    algorithm = _HASHES[scheme.digest]
    try:
        if isinstance(key, rsa.RSAPublicKey) and scheme.kind == "rsa":
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        elif isinstance(key, rsa.RSAPublicKey) and scheme.kind == "pss":
            salt = scheme.salt_bytes or 0
            key.verify(signature, data, padding.PSS(padding.MGF1(algorithm), salt), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and scheme.kind == "ecdsa":
            key.verify(signature, data, ec.ECDSA(algorithm))
        else:
            raise MismatchError(N_("its signature algorithm doesn't fit its certificate's key"))
    except (InvalidSignature, ValueError) as error:
        raise MismatchError(N_("its signature doesn't match its certificate's key")) from error


def sign_bytes(key: PrivateKey, data: bytes) -> tuple[bytes, str]:
    """(signature, digest algorithm): ECDSA with the curve's own strength, RSA PKCS #1 v1.5."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256()), "sha256"
    digest = digest_for(key)
    return key.sign(data, ec.ECDSA(_HASHES[digest])), digest


def digest_for(key: PrivateKey) -> str:
    """The digest algorithm that a key signs with."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "sha256"
    return {256: "sha256", 384: "sha384"}.get(key.curve.key_size, "sha512")


def make_signed_data(
    content: bytes,
    key: PrivateKey,
    certificate: Certificate,
    chain: Sequence[Certificate],
    now: datetime,
) -> bytes:
    """A detached SignedData over ``content`` with the CAdES-BES attributes, in DER.

    Binary, that is over exactly these bytes. ``chain`` are further certificates to
    embed; ``now`` (aware) becomes the signing time.
    """
    digest = digest_for(key)
    kind = "rsassa_pkcs1v15" if isinstance(key, rsa.RSAPrivateKey) else f"{digest}_ecdsa"
    frame = _frame(certificate, tuple(chain), digest, kind)
    hashed = element(_OCTETS, hashlib.new(digest, content).digest())
    attributes = sorted(  # a SET OF in DER
        [
            *frame.attributes,
            element(_SEQUENCE, frame.message_digest, element(_SET, hashed)),
            element(_SEQUENCE, frame.signing_time, element(_SET, _time(now).dump())),
        ]
    )
    signature, _digest = sign_bytes(key, element(_SET, *attributes))
    signer = element(
        _SEQUENCE,
        frame.version,
        frame.signer,
        frame.digest,
        element(_CONTEXT_0, *attributes),
        frame.scheme,
        element(_OCTETS, signature),
    )
    signed = element(
        _SEQUENCE,
        frame.version,
        element(_SET, frame.digest),
        frame.content,
        frame.certificates,
        element(_SET, signer),
    )
    return element(_SEQUENCE, frame.type, element(_CONTEXT_0, signed))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What is the same in all signatures of one signer, in DER: building it anew takes
    most of a signature's time.
    """

    type: bytes
    version: bytes
    signer: bytes
    digest: bytes
    scheme: bytes
    content: bytes
    certificates: bytes
    attributes: tuple[bytes, ...]
    message_digest: bytes
    signing_time: bytes


@functools.lru_cache(maxsize=16)
def _frame(
    certificate: Certificate, chain: tuple[Certificate, ...], digest: str, kind: str
) -> _Frame:
    asn1 = asn1_x509.Certificate.load(certificate.der)
    signer = {"issuer": asn1.issuer, "serial_number": asn1.serial_number}
    constant = (
        {"type": "content_type", "values": ["data"]},
        {"type": "signing_certificate_v2", "values": [_signing_certificate(certificate)]},
    )
    embedded = sorted(one.der for one in (certificate, *chain))
    return _Frame(
        type=cms.ContentType("signed_data").dump(),
        version=cms.CMSVersion("v1").dump(),
        signer=cms.IssuerAndSerialNumber(signer).dump(),
        digest=algos.DigestAlgorithm({"algorithm": digest}).dump(),
        scheme=algos.SignedDigestAlgorithm({"algorithm": kind}).dump(),
        content=cms.EncapsulatedContentInfo({"content_type": "data"}).dump(),
        certificates=element(_CONTEXT_0, *embedded),
        attributes=tuple(cms.CMSAttribute(one).dump() for one in constant),
        message_digest=cms.CMSAttributeType("message_digest").dump(),
        signing_time=cms.CMSAttributeType("signing_time").dump(),
    )


def _time(now: datetime) -> Any:
    """UTCTime up to 2049, GeneralizedTime after (RFC 5652 §11.3)."""
    name = "utc_time" if now.year < 2050 else "generalized_time"
    return cms.Time({name: now.replace(microsecond=0)})


def _signing_certificate(certificate: Certificate) -> Any:
    return tsp.SigningCertificateV2(
        {"certs": [{"cert_hash": hashlib.sha256(certificate.der).digest()}]}
    )
