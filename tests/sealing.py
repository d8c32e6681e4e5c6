"""An office for tests: a CA, signers of every kind, a real TSA, sealed bags.

Certificates are issued by hand, so that tests can be wrong on purpose; the TSA is the
demonstration's (``examples/demo_tsa.py``), around the real ``openssl ts -reply``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from archiver.bag.plan import PlanOptions
from archiver.pki.anchors import Anchors
from archiver.pki.certificates import Certificate
from archiver.pki.cms import PrivateKey
from archiver.pki.keyring import SigningKey
from archiver.policy import load_policy
from archiver.seal import CreateOptions, Sealing, create_bag, plan_sources
from archiver.seal.stamping import StampOptions, stamp_bag
from archiver.timestamp.client import Patience
from archiver.verify import VerificationReport, VerifyOptions, verify_bag

ROOT = Path(__file__).parent.parent
NOW = datetime.now(UTC).replace(microsecond=0)
"""When the tests began."""
DAY = timedelta(days=1)
IMPATIENT = Patience(attempts=2, attempt_seconds=1.5, pause_seconds=0.01)
FILES = {"video.mp4": b"moving pictures" * 100, "sub/statement.txt": b"I saw it.\n"}


def now() -> datetime:
    """The time of day: a real TSA's stamps are from the future for who began long ago."""
    return datetime.now(UTC)


def demo_tsa() -> ModuleType:
    """The module of the demonstration's TSA."""
    path = ROOT / "examples" / "demo_tsa.py"
    spec = importlib.util.spec_from_file_location("demo_tsa", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name(common: str) -> x509.Name:
    """A subject with one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usage(*wanted: str) -> x509.KeyUsage:
    """A key usage with exactly these bits."""
    bits = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{bit: bit in wanted for bit in bits})


SIGNING = usage("digital_signature", "content_commitment")
ISSUING = usage("key_cert_sign", "crl_sign")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a certificate is to be; ``extensions`` come with their criticality."""

    subject: str
    ca: bool = False
    first: datetime = NOW - DAY
    last: datetime = NOW + 1000 * DAY
    path_length: int | None = None
    key_usage: x509.KeyUsage | None = SIGNING
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()


def new_ec(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """A new key on P-256, or another curve."""
    return ec.generate_private_key(curve or ec.SECP256R1())


def issue(
    wish: Wish, key: PrivateKey, issuer: SigningKey | None = None, **changes: Any
) -> SigningKey:
    """A certificate for ``key``, self-signed where there is no issuer."""
    wish = replace(wish, **changes)
    subject = name(wish.subject)
    signing_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(wish.first)
        .not_valid_after(wish.last)
        .add_extension(
            x509.BasicConstraints(ca=wish.ca, path_length=wish.path_length if wish.ca else None),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if wish.key_usage is not None:
        builder = builder.add_extension(wish.key_usage, critical=True)
    for extension, critical in wish.extensions:
        builder = builder.add_extension(extension, critical=critical)
    digest = hashes.SHA384() if isinstance(signing_key, ec.EllipticCurvePrivateKey) else None
    signed = builder.sign(signing_key, digest or hashes.SHA256())
    certificate = Certificate.parse(signed.public_bytes(Encoding.DER))
    chain = (issuer.certificate, *issuer.chain) if issuer else ()
    return SigningKey(key=key, certificate=certificate, chain=chain)


CA = Wish(
    subject="Office CA",
    ca=True,
    key_usage=ISSUING,
    first=NOW - 100 * DAY,
    last=NOW + 9000 * DAY,
)
SIGNER = Wish(subject="Ana")
TSA = Wish(
    subject="Stamper",
    key_usage=None,
    extensions=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True),),
)


class Office:
    """A CA with two signers, and what an attacker makes to look like it."""

    def __init__(self) -> None:
        self.ca = issue(CA, new_ec(ec.SECP384R1()))
        self.ana = issue(SIGNER, new_ec(), self.ca)
        self.ben = issue(SIGNER, new_ec(), self.ca, subject="Ben")
        self.false_ca = issue(CA, new_ec(ec.SECP384R1()))
        self.mallory = issue(SIGNER, new_ec(), self.false_ca)

    def anchors(self, **more: Any) -> Anchors:
        """The real CA."""
        return Anchors(certificates=(self.ca.certificate,), **more)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """A new RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def write_key(signer: SigningKey, directory: Path, stem: str) -> tuple[Path, Path]:
    """Key (not encrypted) and certificate with its chain as files, for other programs."""
    directory.mkdir(parents=True, exist_ok=True)
    key, certificate = directory / f"{stem}.key", directory / f"{stem}.pem"
    key.write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    certificate.write_bytes(signer.certificate.pem + b"".join(one.pem for one in signer.chain))
    return key, certificate


def make_source(place: Path, files: dict[str, bytes] | None = None) -> Path:
    """Files to pack."""
    for path, data in (files or FILES).items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
    return place


def seal(
    source: Path,
    bag: Path,
    signers: Sequence[SigningKey],
    *,
    urls: Sequence[str] = (),
    require_stamp: bool = False,
    stamp: bool = True,
    **options: Any,
) -> Path:
    """A sealed bag, stamped where TSAs are named; its files can be written by tests."""
    sealing = Sealing(
        signers=tuple(signers),
        stamps=StampOptions(urls=tuple(urls), patience=IMPATIENT),
        require_stamp=require_stamp,
    )
    policy = load_policy("default")
    made = CreateOptions(
        policy=replace(policy, bag=replace(policy.bag, read_only=False)),
        now=NOW,
        identifier="urn:uuid:5b9d0a5e-7f0c-4f0e-9d0f-0c5a0d2f5a11",
        sealing=sealing if signers else None,
        **options,
    )
    create_bag(plan_sources([str(source)], str(bag), PlanOptions()), str(bag), made)
    if urls and stamp:
        results = stamp_bag(str(bag), sealing.stamps, now())
        assert not [one.problem for one in results if one.problem]
    return bag


def copy(bag: Path, target: Path) -> Path:
    """A copy that can be changed."""
    shutil.copytree(bag, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def check(bag: Path, anchors: Anchors | None = None, **options: Any) -> VerificationReport:
    """The whole verification; every message is formatted."""
    report = verify_bag(str(bag), VerifyOptions(anchors=anchors, **options))
    assert all(finding.message and finding.reference for finding in report.findings)
    return report


def found(report: VerificationReport) -> set[str]:
    """Codes that were found, but for warnings."""
    return {one.code for one in report.findings if not one.code.startswith("W")}


def outcome(report: VerificationReport, claim: str) -> str:
    """The outcome of one claim."""
    return next(one.outcome.value for one in report.claims if one.name == claim)


def regenerate(bag: Path) -> None:
    """Make all manifests anew, as an attacker does after a change."""
    payload = sorted(p for p in (bag / "data").rglob("*") if p.is_file())
    for manifest in sorted(bag.glob("manifest-*.txt")):
        _list(bag, manifest, payload)
    tags = [
        path
        for path in sorted(bag.rglob("*"))
        if path.is_file()
        and not path.name.startswith("tagmanifest-")
        and path.relative_to(bag).parts[0] not in ("data", "signatures")
    ]
    for manifest in sorted(bag.glob("tagmanifest-*.txt")):
        _list(bag, manifest, tags)


def _list(bag: Path, manifest: Path, files: Sequence[Path]) -> None:
    algorithm = manifest.stem.partition("-")[2]
    lines = [
        f"{hashlib.new(algorithm, path.read_bytes()).hexdigest()}  {path.relative_to(bag)}\n"
        for path in files
    ]
    manifest.write_text("".join(lines))


def signature_of(bag: Path, signer: SigningKey) -> Path:
    """Where a signer's signature lies."""
    return bag / "signatures" / f"{signer.certificate.fingerprint[:16]}.p7s"


def stamps_of(bag: Path) -> list[Path]:
    """The time stamps in a bag."""
    return sorted((bag / "signatures").glob("*.tsr"))


def tree(bag: Path, *, signatures: bool = False) -> dict[str, bytes]:
    """Every file's bytes, those in ``signatures/`` only where asked for."""
    return {
        str(path.relative_to(bag)): path.read_bytes()
        for path in sorted(bag.rglob("*"))
        if path.is_file() and (signatures or "signatures" not in path.relative_to(bag).parts)
    }


def private_home(home: Path) -> dict[str, str]:
    """An environment that finds nothing of this user's."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("ARCHIVER_") or key == "ARCHIVER_IDENTIFY"
    }
    return kept | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "LC_ALL": "C.UTF-8"}
