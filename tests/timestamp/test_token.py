"""Time stamps that prove nothing, each for one reason; the good ones beside them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from archiver.errors import FormatError
from archiver.pki.anchors import Anchors
from archiver.pki.cms import CmsError
from archiver.pki.keyring import SigningKey
from archiver.pki.paths import Crl, read_crls
from archiver.timestamp.request import make_request, parse_request
from archiver.timestamp.token import Whence, check_token, judge_token, parse_answer
from archiver.verify import VerificationReport
from tests.sealing import (
    CA,
    DAY,
    ISSUING,
    NOW,
    SIGNER,
    TSA,
    Office,
    check,
    found,
    issue,
    make_source,
    new_ec,
    seal,
    signature_of,
)
from tests.timestamp.forge import Forged, forge

DATA = b"a signature"


class Stampers:
    """A TSA root and what is issued under it."""

    def __init__(self) -> None:
        self.root = issue(CA, new_ec(), subject="TSA root")
        self.good = issue(TSA, new_ec(), self.root)


@pytest.fixture(scope="module")
def stampers() -> Stampers:
    return Stampers()


def whence(answer: bytes, root: SigningKey, crls: tuple[Crl, ...] = (), **options: Any) -> Whence:
    token = parse_answer(answer)
    check_token(token, DATA)
    now = options.get("now", NOW)
    return judge_token(token, [root.certificate], [], crls, now).whence


def test_a_good_one(stampers: Stampers) -> None:
    answer = forge(DATA, stampers.good)
    assert whence(answer, stampers.root) is Whence.TRUSTED
    token = parse_answer(answer)
    assert (token.gen_time, token.nonce) == (NOW, 7)
    assert token.latest == NOW
    wide = parse_answer(forge(DATA, stampers.good, Forged(accuracy_seconds=60)))
    assert wide.latest == NOW + timedelta(seconds=60)


def test_one_under_an_intermediate(stampers: Stampers) -> None:
    between = issue(CA, new_ec(), stampers.root, subject="Between")
    assert whence(forge(DATA, issue(TSA, new_ec(), between)), stampers.root) is Whence.TRUSTED


@pytest.mark.parametrize("kind", ["none", "other", "more", "not-critical", "no-signing"])
def test_a_leaf_of_the_pinned_root_that_is_no_tsa(kind: str, stampers: Stampers) -> None:
    purpose = ExtendedKeyUsageOID
    both = [purpose.TIME_STAMPING, purpose.CODE_SIGNING]
    changes: dict[str, dict[str, Any]] = {
        "none": {"extensions": ()},
        "other": {"extensions": ((x509.ExtendedKeyUsage([purpose.EMAIL_PROTECTION]), True),)},
        "more": {"extensions": ((x509.ExtendedKeyUsage(both), True),)},
        "not-critical": {"extensions": ((x509.ExtendedKeyUsage([purpose.TIME_STAMPING]), False),)},
        "no-signing": {"key_usage": ISSUING},
    }
    leaf = issue(TSA, new_ec(), stampers.root, **changes[kind])
    with pytest.raises(CmsError):
        check_token(parse_answer(forge(DATA, leaf)), DATA)


@pytest.mark.parametrize("digest", ["sha1", "md5", "sha224"])
def test_a_weak_imprint(digest: str, stampers: Stampers) -> None:
    token = parse_answer(forge(DATA, stampers.good, Forged(digest=digest)))
    with pytest.raises(CmsError, match="weak"):
        check_token(token, DATA)


@pytest.mark.parametrize(
    "wish",
    [
        Forged(signed_digest="sha1"),
        Forged(signed_digest="sha512"),
        Forged(attributes=False),
        Forged(version="v1"),
    ],
    ids=["sha1", "digests-differ", "no-attributes", "sound"],
)
def test_how_it_is_signed(wish: Forged, stampers: Stampers) -> None:
    answer = forge(DATA, stampers.good, wish)
    if wish == Forged():
        assert whence(answer, stampers.root) is Whence.TRUSTED
        return
    with pytest.raises(CmsError):
        check_token(parse_answer(answer), DATA)


def test_over_other_data(stampers: Stampers) -> None:
    with pytest.raises(CmsError, match="other bytes"):
        check_token(parse_answer(forge(b"other", stampers.good)), DATA)


def test_from_the_future(stampers: Stampers) -> None:
    answer = forge(DATA, stampers.good, Forged(gen_time=NOW + DAY))
    assert whence(answer, stampers.root) is Whence.FUTURE
    assert whence(answer, stampers.root, now=NOW + 2 * DAY) is Whence.TRUSTED
    soon = forge(DATA, stampers.good, Forged(gen_time=NOW + timedelta(minutes=3)))
    assert whence(soon, stampers.root) is Whence.TRUSTED


def test_outside_of_its_certificates_dates(stampers: Stampers) -> None:
    short = issue(TSA, new_ec(), stampers.root, first=NOW - 3 * DAY, last=NOW - DAY)
    assert whence(forge(DATA, short), stampers.root) is Whence.EXPIRED
    within = forge(DATA, short, Forged(gen_time=NOW - 2 * DAY))
    assert whence(within, stampers.root) is Whence.TRUSTED
    early = forge(DATA, short, Forged(gen_time=NOW - 5 * DAY))
    assert whence(early, stampers.root) is Whence.EXPIRED


def test_an_unknown_root_and_a_root_of_the_same_name(stampers: Stampers, office: Office) -> None:
    answer = forge(DATA, stampers.good)
    assert whence(answer, office.ca) is Whence.UNKNOWN
    assert whence(answer, issue(CA, new_ec(), subject="TSA root")) is Whence.UNKNOWN


def test_a_pinned_leaf_is_no_root(stampers: Stampers) -> None:
    assert whence(forge(DATA, stampers.good), stampers.good) is Whence.UNKNOWN
    alone = issue(TSA, new_ec(), ca=True)
    assert whence(forge(DATA, alone), alone) is Whence.UNKNOWN


def crl_of(issuer: SigningKey, revoked: SigningKey, reason: str, since: Any) -> tuple[Crl, ...]:
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(revoked.certificate.parsed.serial_number)
        .revocation_date(since)
    )
    if reason:
        entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags(reason)), critical=False)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - 20 * DAY)
        .next_update(NOW + DAY)
        .add_revoked_certificate(entry.build())
        .sign(issuer.key, hashes.SHA256())
    )
    return read_crls(made.public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    ("reason", "days", "expected"),
    [
        ("superseded", 1, Whence.TRUSTED),
        ("superseded", -1, Whence.REVOKED),
        ("cessationOfOperation", 1, Whence.TRUSTED),
        ("keyCompromise", 1, Whence.REVOKED),
        ("keyCompromise", -1, Whence.REVOKED),
        ("", 1, Whence.REVOKED),
    ],
)
def test_a_revoked_tsa(reason: str, days: int, expected: Whence, stampers: Stampers) -> None:
    """RFC 3161 §4: after a compromise no stamp of that key counts, whatever time it says."""
    crls = crl_of(stampers.root, stampers.good, reason, NOW + days * DAY)
    assert whence(forge(DATA, stampers.good), stampers.root, crls) is expected


def test_a_revocation_by_somebody_else_is_nothing(stampers: Stampers) -> None:
    namesake = issue(CA, new_ec(), subject="TSA root")
    crls = crl_of(namesake, stampers.good, "keyCompromise", NOW - DAY)
    token = parse_answer(forge(DATA, stampers.good))
    judged = judge_token(token, [stampers.root.certificate], [], [], NOW, crls)
    assert judged.whence is Whence.TRUSTED  # in a bag it is a hint, and nobody's
    assert whence(forge(DATA, stampers.good), stampers.root, crls) is Whence.UNDECIDED


def stamped(answer: bytes, bag: Path) -> Path:
    (signature,) = (bag / "signatures").glob("*.p7s")
    signature.with_name(f"{signature.name}.0000000000000000.tsr").write_bytes(answer)
    return bag


@pytest.fixture
def bag(office: Office, tmp_path: Path) -> Path:
    return seal(make_source(tmp_path / "source"), tmp_path / "bag", [office.ana])


def judged(
    bag: Path, office: Office, stampers: Stampers, wish: Forged, signer: SigningKey | None = None
) -> VerificationReport:
    data = signature_of(bag, office.ana).read_bytes()
    stamped(forge(data, signer or stampers.good, wish), bag)
    return check(bag, office.anchors(tsa_roots=(stampers.root.certificate,)))


def test_in_a_bag_a_good_stamp_is_the_proven_time(
    bag: Path, office: Office, stampers: Stampers
) -> None:
    report = judged(bag, office, stampers, Forged(gen_time=NOW - DAY + timedelta(hours=1)))
    assert report.exit_code == 0
    assert report.seal is not None
    assert report.seal.counted[0].proven_at == NOW - DAY + timedelta(hours=1)


@pytest.mark.parametrize(
    "wish",
    [
        Forged(digest="sha1"),
        Forged(gen_time=NOW + DAY),
        Forged(signed_digest="sha1"),
        Forged(attributes=False),
    ],
)
def test_in_a_bag_a_bad_stamp_proves_nothing(
    wish: Forged, bag: Path, office: Office, stampers: Stampers
) -> None:
    report = judged(bag, office, stampers, wish)
    assert report.exit_code == 4
    assert "E-TIM-003" in found(report)
    unasked = check(bag, office.anchors())
    assert unasked.exit_code == 0


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("stamps", [True, False])
def test_a_signer_revoked_by_a_crl_on_both_sides_of_the_date(
    side: str, stamps: bool, bag: Path, office: Office, stampers: Stampers
) -> None:
    since = NOW + DAY if side == "before" else NOW - timedelta(hours=1)
    crls = crl_of(office.ca, office.ana, "keyCompromise", since)
    if stamps:
        data = signature_of(bag, office.ana).read_bytes()
        stamped(forge(data, stampers.good), bag)
    roots = (stampers.root.certificate,) if stamps else ()
    report = check(bag, office.anchors(tsa_roots=roots, crls=crls))
    good = side == "before" and stamps
    assert report.exit_code == (0 if good else 4)
    assert ("E-TRU-005" in found(report)) is not good


def test_a_crl_in_the_bag_counts_too(bag: Path, office: Office) -> None:
    (crl,) = crl_of(office.ca, office.ana, "keyCompromise", NOW - DAY)
    path = bag / "signatures/certificates/0123456789abcdef.crl"
    path.write_bytes(crl.parsed.public_bytes(Encoding.DER))
    report = check(bag, office.anchors())
    assert report.exit_code == 4
    assert "E-TRU-005" in found(report)


@pytest.mark.parametrize("data", [b"", b"x", b"\x30\x00", b"-----BEGIN X509 CRL-----\nAAAA\n"])
def test_what_is_no_crl(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_crls(data)


def test_requests() -> None:
    request = parse_request(make_request(DATA, 99))
    assert (request.nonce, request.digest, len(request.imprint)) == (99, "sha256", 32)
    for data in (b"", b"x" * 20_000, b"\x30\x00"):
        with pytest.raises(FormatError):
            parse_request(data)


def test_anchors_of_a_trust_list_are_roots_too(stampers: Stampers) -> None:
    signer = issue(SIGNER, new_ec()).certificate
    assert Anchors().stamping_roots(signer) == ()
    named = Anchors(tsa_roots=(stampers.root.certificate,) * 2)
    assert named.stamping_roots(signer) == (stampers.root.certificate,)


def test_an_older_innocent_revocation_hides_no_compromise(stampers: Stampers) -> None:
    """Both lists are genuine; the one that says 'superseded' came with the bag."""
    compromised = crl_of(stampers.root, stampers.good, "keyCompromise", NOW + DAY)
    superseded = crl_of(stampers.root, stampers.good, "superseded", NOW + timedelta(hours=1))
    token = parse_answer(forge(DATA, stampers.good))
    roots = [stampers.root.certificate]
    for hints in ((), superseded):
        judged = judge_token(token, roots, [], compromised, NOW, hints)
        assert judged.whence is Whence.REVOKED
