"""Whom a checker's anchors lead to, whatever else lies in the bag; hostile certificates."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from archiver.errors import FormatError, KeyringError, UsageError
from archiver.pki.anchors import Anchors, Proven, Standing, judge_signer
from archiver.pki.certificates import Certificate, read_certificates
from archiver.pki.cms import CmsError, parse_signed_data
from archiver.pki.der import is_plain_der
from archiver.pki.keyring import SigningKey
from archiver.pki.paths import Crl, find_path, read_crls
from archiver.timestamp.token import parse_answer
from archiver.verify.anchors import load_anchors, refuse_from_bag
from tests.sealing import (
    CA,
    DAY,
    ISSUING,
    NOW,
    SIGNER,
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
from tests.timestamp.test_token import crl_of


class Chain:
    """A root, two intermediates, a signer."""

    def __init__(self) -> None:
        self.root = issue(CA, new_ec(), subject="Root")
        self.second = issue(CA, new_ec(), self.root, subject="Second")
        self.first = issue(CA, new_ec(), self.second, subject="First")
        self.leaf = issue(SIGNER, new_ec(), self.first, subject="Leaf")


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain()


def judged(
    chain: Chain, anchors: Anchors, *others: Certificate, proven: Proven | None = None
) -> Standing:
    steps = (*others, *chain.leaf.chain)
    return judge_signer(chain.leaf.certificate, steps, anchors, proven, NOW).standing


def trusting(*signers: SigningKey, **more: Any) -> Anchors:
    return Anchors(certificates=tuple(one.certificate for one in signers), **more)


def test_a_long_path(chain: Chain) -> None:
    assert judged(chain, trusting(chain.root)) is Standing.TRUSTED
    path = find_path(chain.leaf.certificate, chain.leaf.chain, [chain.root.certificate], NOW)
    assert path is not None
    assert [one.name for one in path.certificates] == ["Leaf", "First", "Second", "Root"]
    assert judged(chain, Anchors()) is Standing.UNKNOWN


@pytest.mark.parametrize("which", ["first", "second", "leaf"])
def test_a_revocation_anywhere_on_the_path(which: str, chain: Chain) -> None:
    issuer = {"first": chain.second, "second": chain.root, "leaf": chain.first}[which]
    crls = crl_of(issuer, getattr(chain, which), "keyCompromise", NOW - DAY)
    assert judged(chain, trusting(chain.root, crls=crls)) is Standing.REVOKED


def test_a_certificate_added_to_the_bag_hides_no_revocation(chain: Chain) -> None:
    """The attacker's copy has the CA's name and key, and any signature."""
    forged = issue(CA, new_ec(), subject="First")
    twin = (
        x509.CertificateBuilder()
        .subject_name(chain.first.certificate.subject)
        .issuer_name(forged.certificate.subject)
        .public_key(chain.first.key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(forged.key, hashes.SHA256())
    )
    added = Certificate.parse(twin.public_bytes(Encoding.DER))
    crls = crl_of(chain.second, chain.first, "keyCompromise", NOW - DAY)
    anchors = trusting(chain.root, crls=crls)
    assert judged(chain, anchors) is Standing.REVOKED
    assert judged(chain, anchors, added) is Standing.REVOKED


def test_a_list_whose_issuer_is_not_known_leaves_it_open(chain: Chain) -> None:
    """An exact pin, its revocation, and the CA's certificate taken away by the attacker."""
    crls = crl_of(chain.first, chain.leaf, "keyCompromise", NOW - DAY)
    pinned = trusting(chain.leaf, crls=crls)
    assert judged(chain, pinned) is Standing.REVOKED
    alone = judge_signer(chain.leaf.certificate, (), pinned, None, NOW)
    assert alone.standing is Standing.UNDECIDED
    with_ca = trusting(chain.leaf, chain.first, crls=crls)
    assert judge_signer(chain.leaf.certificate, (), with_ca, None, NOW).standing is (
        Standing.REVOKED
    )


def test_what_that_means_for_a_bag(tmp_path: Path, chain: Chain, office: Office) -> None:
    lonely = SigningKey(key=chain.leaf.key, certificate=chain.leaf.certificate)
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [lonely])
    crls = crl_of(chain.first, chain.leaf, "keyCompromise", NOW - DAY)
    report = check(bag, trusting(chain.leaf, crls=crls))
    assert report.exit_code == 3
    assert "U-TRU-007" in found(report)
    foreign = crl_of(office.ca, office.ana, "keyCompromise", NOW - DAY)
    report = check(bag, trusting(chain.leaf, crls=foreign))
    assert report.exit_code == 0
    assert report.findings.has("W-TRU-008")


def test_an_old_list_is_mentioned(tmp_path: Path, office: Office) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [office.ana])
    crls = crl_of(office.ca, office.ben, "superseded", NOW - DAY)
    assert not check(bag, office.anchors(crls=crls)).findings.has("W-TRU-009")
    late = check(bag, office.anchors(crls=crls), at=NOW + 30 * DAY)
    assert late.findings.has("W-TRU-009")


def test_the_accuracy_of_a_stamp_counts_against_it(office: Office) -> None:
    crls = crl_of(office.ca, office.ana, "keyCompromise", NOW)
    anchors = office.anchors(crls=crls)
    for moment, expected in (
        (NOW - timedelta(seconds=1), Standing.TRUSTED),
        (NOW, Standing.REVOKED),
    ):
        trust = judge_signer(office.ana.certificate, (), anchors, Proven(moment), NOW)
        assert trust.standing is expected


# -- what a certificate is for


@pytest.mark.parametrize(
    "purposes",
    [
        [Purpose.SERVER_AUTH, Purpose.CLIENT_AUTH],
        [Purpose.CLIENT_AUTH],
        [Purpose.TIME_STAMPING, Purpose.CLIENT_AUTH],
        [Purpose.CODE_SIGNING],
        [Purpose.OCSP_SIGNING],
    ],
)
def test_certificates_for_something_else_do_not_seal(
    purposes: list[Any], tmp_path: Path, office: Office
) -> None:
    extended = x509.ExtendedKeyUsage(purposes)
    signer = issue(SIGNER, new_ec(), office.ca, extensions=((extended, False),))
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [signer])
    report = check(bag, office.anchors())
    assert report.exit_code == 4
    assert "E-SIG-005" in found(report)


@pytest.mark.parametrize(
    "purpose",
    [
        Purpose.EMAIL_PROTECTION,
        Purpose.ANY_EXTENDED_KEY_USAGE,
        x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),
        x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"),
    ],
)
def test_certificates_for_documents_do(purpose: Any, office: Office) -> None:
    extended = x509.ExtendedKeyUsage([purpose, Purpose.CLIENT_AUTH])
    signer = issue(SIGNER, new_ec(), office.ca, extensions=((extended, True),))
    assert signer.certificate.why_not_signer() == ""


# -- files that checkers name


def test_a_file_named_like_a_fingerprint_is_not_looked_at(
    tmp_path: Path, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forged bag is delivered with a file called 'sha256:…' that holds the forger's CA."""
    monkeypatch.chdir(tmp_path)
    given = f"sha256:{office.ca.certificate.fingerprint}"
    Path(given).write_bytes(office.false_ca.certificate.pem)
    Path(given[7:]).write_bytes(office.false_ca.certificate.pem)
    for text in (given, given[7:], given.upper()):
        anchors = load_anchors(trust=[text])
        assert anchors.certificates == ()
        assert anchors.fingerprints == {office.ca.certificate.fingerprint}
    named = load_anchors(trust=[f"./{given}"])
    assert named.certificates == (office.false_ca.certificate,)
    refuse_from_bag([given], str(tmp_path))


def test_a_note_with_the_fingerprint_and_a_directory(tmp_path: Path, office: Office) -> None:
    from archiver.pki.certificates import spoken

    note = tmp_path / "FINGERPRINT.txt"
    note.write_text(f"The CA:\n{spoken(office.ca.certificate.fingerprint)}\n")
    assert load_anchors(trust=[str(note)]).fingerprints == {office.ca.certificate.fingerprint}
    with pytest.raises(UsageError):
        load_anchors(trust=[str(tmp_path)])  # no trust.json in it


def test_a_note_from_another_system(tmp_path: Path, office: Office) -> None:
    from archiver.pki.certificates import spoken

    digits = office.ca.certificate.fingerprint
    for text in (
        f"The CA:\r\n{spoken(digits)}\r\n".replace("\n", "\r\n").replace("\r\r", "\r"),
        f"sha256:{digits}\n",
        f"  {spoken(digits)}  \n",
    ):
        (tmp_path / "note.txt").write_bytes(text.encode())
        assert load_anchors(trust=[str(tmp_path / "note.txt")]).fingerprints == {digits}


def test_a_flood_of_namesakes_costs_no_time(tmp_path: Path, office: Office) -> None:
    """Hundreds of CAs of one name, hundreds of lists, hundreds of copies."""
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [office.ana])
    key = new_ec()
    (crl,) = crl_of(office.false_ca, office.mallory, "superseded", NOW)
    data = crl.parsed.public_bytes(Encoding.DER)
    place = bag / "signatures/certificates"
    for number in range(300):
        (place / f"{number:016x}.pem").write_bytes(issue(CA, key).certificate.pem)
        (place / f"{number:016x}.crl").write_bytes(data)
    signature = signature_of(bag, office.ana)
    for number in range(100):
        (bag / "signatures" / f"{number:016x}.p7s").write_bytes(signature.read_bytes())
    begun = time.process_time()
    assert check(bag, office.anchors()).exit_code == 0
    assert time.process_time() - begun < 5


def test_two_certificates_for_one_key_are_one_signer(tmp_path: Path, office: Office) -> None:
    from archiver.policy import Policy, ProofPolicy
    from archiver.seal.proofs import sign_bag

    twice = issue(SIGNER, office.ana.key, office.ca, subject="Ana too")
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [office.ana, twice])
    policy = Policy(name="two", proof=ProofPolicy(signatures=2))
    report = check(bag, office.anchors(), policy=policy)
    assert "E-POL-002" in found(report)
    sign_bag(str(bag), [office.ben], NOW)
    assert check(bag, office.anchors(), policy=policy).exit_code == 0


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "private key"),
        (b"-----BEGIN X509 CRL-----\n", "revocation list"),
        (b"", "not a certificate"),
        (b"\x30\x03\x02\x01\x00", "not a certificate"),
        (b"{}", "trust list"),
        (b"sha256 or so", "not a certificate"),
    ],
)
def test_files_that_are_something_else(data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(KeyringError, match=told) as caught:
        load_anchors(trust=[str(path)])
    assert caught.value.hint


@pytest.mark.parametrize("text", ["sha256:12ab", "f2bd d498 aaaa bbbb", "ab" * 25, ""])
def test_fingerprints_that_are_too_short(text: str) -> None:
    with pytest.raises(UsageError):
        load_anchors(trust=[text])


# -- hostile bytes


def with_raw_extension(oid: str, value: bytes) -> bytes:
    """A certificate with an extension that its own parser would not let us make."""
    key = new_ec()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=False
        )
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


HOSTILE = {
    "x400Address in names": ("2.5.29.17", b"\x30\x04\xa3\x02\x05\x00"),
    "ediPartyName in names": ("2.5.29.17", b"\x30\x04\xa5\x02\x05\x00"),
    "unknown TLS feature": ("1.3.6.1.5.5.7.1.24", b"\x30\x03\x02\x01\x63"),
    "garbage in key usage": ("2.5.29.15", b"\xff\xff"),
    "garbage in basic constraints": ("2.5.29.19", b"\x30\x80"),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_hostile_certificates_are_told_not_raised(what: str, sealed: Path, office: Office) -> None:
    der = with_raw_extension(*HOSTILE[what])
    with pytest.raises(FormatError):
        Certificate.parse(der)
    place = sealed / "signatures/certificates"
    (place / "0000000000000000.pem").write_bytes(der)
    (place / "0000000000000001.crl").write_bytes(der)
    report = check(sealed, office.anchors())
    assert report.exit_code == 0
    assert report.findings.has("W-SIG-010")


def test_another_version_of_certificate(office: Office) -> None:
    der = bytearray(office.ana.certificate.der)
    der[der.index(b"\xa0\x03\x02\x01\x02") + 4] = 9
    with pytest.raises(FormatError):
        Certificate.parse(bytes(der))


def test_revocation_lists_flipped_bit_by_bit(office: Office) -> None:
    (crl,) = crl_of(office.ca, office.ana, "keyCompromise", NOW - DAY)
    data = crl.parsed.public_bytes(Encoding.DER)
    anchors = office.anchors()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        try:
            crls: tuple[Crl, ...] = read_crls(bytes(changed))
        except FormatError:
            continue
        trust = judge_signer(office.ana.certificate, (), anchors, None, NOW, crls)
        assert trust.standing in (Standing.TRUSTED, Standing.REVOKED)


@pytest.mark.parametrize("size", [1_000, 50_000, 250_000])
def test_a_long_object_identifier_costs_no_time(size: int) -> None:
    """asn1crypto would take quadratic time: minutes for a quarter of a megabyte."""
    oid = b"\x06\x83" + size.to_bytes(3, "big") + b"\x81" * (size - 1) + b"\x01"
    data = b"\x30\x83" + len(oid).to_bytes(3, "big") + oid
    begun = time.monotonic()
    for parse in (parse_signed_data, parse_answer):
        with pytest.raises(CmsError):
            parse(data)
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b"", False),
        (b"\x30\x00", True),
        (b"\x30\x03\x02\x01\x01", True),
        (b"\x30\x03\x02\x01\x01\x00", False),  # something follows
        (b"\x30\x80\x00\x00", False),  # indefinite length
        (b"\x30\x81\x03\x02\x01\x01", False),  # a longer length than needed
        (b"\x30\x82\x00\x03\x02\x01\x01", False),
        (b"\x30\x04\x02\x01\x01", False),  # longer than what is there
        (b"\x30\x03\x02\x02\x01", False),  # a part longer than the whole
        (b"\x1f\x81\x01\x00", False),  # a long tag
        (b"\x30", False),
        (b"\x30\x85\x01\x00\x00\x00\x00", False),
    ],
)
def test_plain_der(data: bytes, plain: bool) -> None:
    assert is_plain_der(data) is plain


def test_der_within_limits() -> None:
    deep = b""
    for _number in range(60):
        deep = (
            b"\x30"
            + (bytes([len(deep)]) if len(deep) < 128 else b"\x81" + bytes([len(deep)]))
            + deep
        )
    assert not is_plain_der(deep)
    many = b"\x05\x00" * 60_000
    assert not is_plain_der(b"\x30\x83" + len(many).to_bytes(3, "big") + many)


@pytest.mark.parametrize("seconds", [-1, 86_401, -(10**10), 10**12])
def test_a_stamp_whose_accuracy_is_absurd(seconds: int, office: Office) -> None:
    from tests.sealing import TSA

    stamper = issue(TSA, new_ec())
    answer = forge(b"data", stamper, Forged(accuracy_seconds=seconds))
    with pytest.raises(CmsError):
        parse_answer(answer)


def test_a_strangers_absurd_stamp_changes_nothing(sealed: Path, office: Office) -> None:
    from datetime import UTC, datetime

    from tests.sealing import TSA

    signature = signature_of(sealed, office.ana)
    stranger = issue(TSA, new_ec())
    for number, year in enumerate((1200, 9999)):
        wish = Forged(gen_time=datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC))
        answer = forge(signature.read_bytes(), stranger, wish)
        signature.with_name(f"{signature.name}.{number:016}.tsr").write_bytes(answer)
    assert check(sealed, office.anchors()).exit_code == 0


def test_a_ca_without_the_right_to_issue(office: Office) -> None:
    from tests.sealing import usage

    mute = issue(CA, new_ec(), key_usage=usage("digital_signature"))
    leaf = issue(SIGNER, new_ec(), mute)
    assert find_path(leaf.certificate, (), [mute.certificate], NOW) is None
    assert issue(CA, new_ec(), key_usage=ISSUING).certificate.is_ca
    assert read_certificates(leaf.certificate.pem) == (leaf.certificate,)
