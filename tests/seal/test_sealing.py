"""Sealing new and finished bags: never visible unsealed, not a byte outside of signatures/."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import ArchiverError, DestinationError, FormatError, StorageError, UsageError
from archiver.pki.certificates import Certificate
from archiver.pki.keyring import SigningKey
from archiver.seal import proofs
from archiver.seal.finished import sign_finished
from archiver.seal.outbox import import_answers, lay_out_requests
from archiver.seal.proofs import ProofPlace, add_proof, sign_bag
from archiver.seal.stamping import StampOptions, stamp_bag, waiting_requests
from archiver.timestamp.request import make_request
from tests.helpers import Bag, run
from tests.sealing import (
    DAY,
    NOW,
    SIGNER,
    Office,
    check,
    demo_tsa,
    found,
    issue,
    make_source,
    new_ec,
    now,
    seal,
    signature_of,
    stamps_of,
    tree,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_source(tmp_path / "source")


def test_the_seal_is_declared(source: Path, tmp_path: Path, office: Office) -> None:
    signers = [office.ana, office.ben]
    bag = seal(source, tmp_path / "bag", signers, require_stamp=True)
    lines = (bag / "bag-info.txt").read_text().split("\n")
    assert lines[:3] == [
        f"Archiver-Seal: sha256:{office.ana.certificate.fingerprint}",
        f"Archiver-Seal: sha256:{office.ben.certificate.fingerprint}",
        "Archiver-Time-Stamp: required",
    ]
    kept = ProofPlace(str(bag)).files()
    assert len(kept.signatures) == 2
    assert len(kept.certificates) == 3
    assert len(kept.requests) == 2  # any TSA may answer them


def test_no_persons_name_is_in_a_files_name(sealed: Path, tsa: Any) -> None:
    names = " ".join(tree(sealed, signatures=True))
    assert "Ana" not in names
    assert "127.0.0.1" not in names


def test_a_bag_whose_signing_fails_never_appears(
    source: Path, tmp_path: Path, office: Office
) -> None:
    broken = SigningKey(key=office.ben.key, certificate=office.ana.certificate)
    with pytest.raises(ArchiverError):
        seal(source, tmp_path / "bag", [broken])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_signatures_stay_writable_all_else_does_not(
    source: Path, tmp_path: Path, office: Office
) -> None:
    from archiver.bag.plan import PlanOptions
    from archiver.policy import load_policy
    from archiver.seal import CreateOptions, Sealing, create_bag, plan_sources

    bag = tmp_path / "bag"
    options = CreateOptions(
        policy=load_policy("default"),
        now=NOW,
        identifier="urn:x",
        sealing=Sealing(signers=(office.ana,), stamps=StampOptions()),
        verify_after=True,
    )
    create_bag(plan_sources([str(source)], str(bag), PlanOptions()), str(bag), options)
    for path in [bag, *bag.rglob("*")]:
        writable = stat.S_IMODE(path.lstat().st_mode) & 0o222
        inside = "signatures" in path.relative_to(bag).parts
        assert bool(writable) is (inside and path.is_dir()), path
    for path in [bag, *bag.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


# -- a finished bag


def test_a_further_signature_touches_nothing_else(sealed: Path, office: Office) -> None:
    sealed.chmod(0o555)
    before, stamp = tree(sealed, signatures=True), sealed.stat().st_mtime_ns
    made = sign_finished(str(sealed), [office.ben], NOW)
    assert (len(made.signatures), made.added_manifest) == (1, "")
    after = tree(sealed, signatures=True)
    assert {path: after[path] for path in before} == before
    assert {path.split("/")[0] for path in set(after) - set(before)} == {"signatures"}
    assert sealed.stat().st_mtime_ns == stamp
    sealed.chmod(0o755)
    report = check(sealed, office.anchors())
    assert report.exit_code == 0
    assert report.seal is not None
    assert {one.signer: one.trusted for one in report.seal.signatures} == {"Ana": True, "Ben": True}


def test_an_unsigned_read_only_bag_can_be_signed(
    source: Path, tmp_path: Path, office: Office
) -> None:
    bag = seal(source, tmp_path / "bag", [])
    bag.chmod(0o555)
    sign_finished(str(bag), [office.ana], NOW)
    assert stat.S_IMODE(bag.stat().st_mode) == 0o555
    bag.chmod(0o755)
    assert check(bag, office.anchors()).exit_code == 0


def test_nobody_signs_twice(sealed: Path, office: Office) -> None:
    before = tree(sealed, signatures=True)
    with pytest.raises(DestinationError, match="has signed already"):
        sign_finished(str(sealed), [office.ben, office.ana], NOW)
    assert tree(sealed, signatures=True) == before


@pytest.mark.parametrize("damage", ["payload", "tag", "missing", "added", "unlisted", "unknown"])
def test_what_is_not_intact_is_not_signed(damage: str, sealed: Path, office: Office) -> None:
    target = {
        "payload": "data/video.mp4",
        "tag": "bag-info.txt",
        "missing": "data/video.mp4",
        "added": "data/more",
        "unlisted": "metadata/more",
        "unknown": "signatures/more.exe",
    }[damage]
    if damage == "missing":
        (sealed / target).unlink()
    else:
        (sealed / target).write_bytes(b"other")
    with pytest.raises(FormatError) as caught:
        sign_finished(str(sealed), [office.ben], NOW)
    assert caught.value.hint
    assert not signature_of(sealed, office.ben).exists()


def test_a_trusting_signer_does_not_read_the_payload_again(sealed: Path, office: Office) -> None:
    (sealed / "data/video.mp4").write_bytes(b"moved pictures!" * 100)
    sign_finished(str(sealed), [office.ben], NOW, read_payload=False)
    assert check(sealed, office.anchors()).exit_code == 1


def test_what_cannot_be_signed(tmp_path: Path, office: Office) -> None:
    (tmp_path / "bag.zip").write_bytes(b"")
    for name in ("bag.zip", "nothing"):
        with pytest.raises(UsageError):
            sign_finished(str(tmp_path / name), [office.ana], NOW)
    with pytest.raises(FormatError):
        sign_finished(str(tmp_path), [office.ana], NOW)


@pytest.mark.parametrize(
    ("algorithms", "tags", "added"),
    [
        (("sha256",), ("sha256",), True),
        (("sha256", "md5"), (), True),
        (("sha512",), ("sha512",), False),
    ],
)
def test_a_bag_of_another_tool(
    algorithms: tuple[str, ...],
    tags: tuple[str, ...],
    added: bool,
    tmp_path: Path,
    office: Office,
) -> None:
    bag = Bag(
        algorithms=algorithms,
        tag_algorithms=tags,
        info="Source-Organization: X\n",
        tag_files={"notes/100%.txt": b"n"},
    ).write(tmp_path / "bag")
    before = tree(bag)
    made = sign_finished(str(bag), [office.ana], NOW)
    assert bool(made.added_manifest) is added
    after = tree(bag)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == ({"tagmanifest-sha512.txt"} if added else set())
    assert check(bag, office.anchors()).exit_code == 0
    (bag / "notes/100%.txt").write_bytes(b"m")
    assert check(bag, office.anchors()).exit_code == 1


@pytest.mark.parametrize("kind", ["weak", "encoding"])
def test_a_bag_that_a_signature_would_not_prove(kind: str, tmp_path: Path, office: Office) -> None:
    bag = (
        Bag(algorithms=("md5",))
        if kind == "weak"
        else Bag(algorithms=("sha256",), encoding="ISO-8859-1")
    ).write(tmp_path / "bag")
    before = tree(bag, signatures=True)
    with pytest.raises(FormatError) as caught:
        sign_finished(str(bag), [office.ana], NOW)
    assert "--bag-in-bag" in caught.value.hint
    assert tree(bag, signatures=True) == before


@pytest.mark.parametrize("place", ["bag", "bag/signatures", "bag/new"])
def test_requests_are_not_laid_down_in_a_bag(
    place: str, sealed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sealed.parent)
    before = tree(sealed, signatures=True)
    done = run(capsys, "timestamp", "request", "bag", "-o", place)
    assert (done.code, "lies in the bag" in done.err) == (5, True)
    assert tree(sealed, signatures=True) == before


# -- a hostile bag


@pytest.mark.parametrize("what", ["signatures", "signatures/certificates"])
def test_nothing_is_written_through_a_link(what: str, tmp_path: Path, office: Office) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [])
    (bag / what).parent.mkdir(exist_ok=True)
    (bag / what).symlink_to(outside)
    with pytest.raises(StorageError):
        sign_bag(str(bag), [office.ana], NOW)
    assert list(outside.iterdir()) == []
    with pytest.raises(ArchiverError):
        sign_finished(str(bag), [office.ana], NOW)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_signed_file_that_is_a_link_or_a_pipe(kind: str, tmp_path: Path, office: Office) -> None:
    target = tmp_path / "tagmanifest-sha512.txt"
    if kind == "link":
        target.symlink_to("/etc/hostname")
    else:
        os.mkfifo(target)
    with pytest.raises(StorageError):
        sign_bag(str(tmp_path), [office.ana], NOW)


def test_proofs_are_never_replaced(sealed: Path, office: Office) -> None:
    name = f"signatures/{signature_of(sealed, office.ana).name}"
    before = tree(sealed, signatures=True)
    with pytest.raises(DestinationError):
        add_proof(ProofPlace(str(sealed)), name, b"other")
    assert tree(sealed, signatures=True) == before
    assert proofs.read_signed_file(str(sealed)) == before["tagmanifest-sha512.txt"]


def test_a_full_disk_leaves_no_half_signature(
    sealed: Path, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(sealed, signatures=True)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space"):
        sign_bag(str(sealed), [office.ben], NOW)
    assert tree(sealed, signatures=True) == before


# -- the road without a network


@pytest.fixture
def offline(source: Path, tmp_path: Path, office: Office) -> Path:
    return seal(source, tmp_path / "bag", [office.ana])


def answer(directory: Path, requests: Path) -> None:
    for request in requests.glob("*.tsq"):
        request.with_suffix(".tsr").write_bytes(demo_tsa().stamp(directory, request.read_bytes()))


def test_out_and_back(
    offline: Path, tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    stick = tmp_path / "stick"
    written = lay_out_requests([str(offline)], str(stick), StampOptions())
    assert len(written) == 1
    assert lay_out_requests([str(offline)], str(stick), StampOptions()) == written
    assert sorted(path.name for path in stick.iterdir()) == sorted([written[0][1], "send.sh"])
    assert "bag" not in written[0][1]
    trusting = office.anchors(tsa_roots=(tsa_root,))
    assert "E-TIM-002" in found(check(offline, trusting))
    answer(tsa.directory, stick)
    (done,) = import_answers([str(stick)], [str(offline)], [tsa_root], now())
    assert done.problem == ""
    assert check(offline, trusting).exit_code == 0
    before = tree(offline, signatures=True)
    (again,) = import_answers([str(stick)], [str(offline)], [tsa_root], now())
    assert again.already
    assert tree(offline, signatures=True) == before


def test_answers_that_are_refused(
    offline: Path, tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    stick = tmp_path / "stick"
    lay_out_requests([str(offline)], str(stick), StampOptions())
    (waiting,) = waiting_requests(ProofPlace(str(offline)))
    stamp = demo_tsa().stamp
    (stick / "nonce.tsr").write_bytes(stamp(tsa.directory, make_request(waiting.signed, 1)))
    (stick / "imprint.tsr").write_bytes(stamp(tsa.directory, make_request(b"other", 1)))
    (stick / "garbage.tsr").write_bytes(b"garbage")
    (stick / "empty.tsr").write_bytes(b"")
    before = tree(offline, signatures=True)
    problems = {
        Path(one.answer).stem: one.problem
        for one in import_answers([str(stick)], [str(offline)], [], now())
    }
    assert "nonce" in problems["nonce"]
    assert "none of the bags" in problems["imprint"]
    assert all(problems[name] for name in ("garbage", "empty"))
    (stick / "right.tsr").write_bytes(stamp(tsa.directory, waiting.data))
    (refused,) = import_answers(
        [str(stick / "right.tsr")], [str(offline)], [office.ca.certificate], now()
    )
    assert "pinned" in refused.problem
    assert tree(offline, signatures=True) == before
    (done,) = import_answers([str(stick / "right.tsr")], [str(offline)], [tsa_root], now())
    assert done.problem == ""
    os.mkfifo(stick / "pipe.tsr")
    (pipe,) = import_answers([str(stick / "pipe.tsr")], [str(offline)], [], now())
    assert "regular" in pipe.problem
    with pytest.raises(UsageError):
        import_answers([str(stick / "nothing")], [str(offline)], [], now())


def test_proofs_that_cannot_be_listed_are_not_taken_for_none(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ProofPlace(str(offline / "data/video.mp4")).files().signatures == ()

    def broken(_path: str) -> os.stat_result:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "lstat", broken)
    with pytest.raises(StorageError, match="Input/output error"):
        ProofPlace(str(offline)).files()


def test_requests_of_a_hostile_bag_are_passed_over(offline: Path, office: Office) -> None:
    name = signature_of(offline, office.ana).name
    for number, data in enumerate((b"", b"garbage", make_request(b"other data", 1))):
        (offline / f"signatures/{name}.{number}.tsq").write_bytes(data)
    (offline / f"signatures/{name}.9.tsq").symlink_to("/etc/hostname")
    assert list(waiting_requests(ProofPlace(str(offline)))) == []


def test_two_tsas(
    offline: Path, office: Office, tsa: Any, tsa_root: Certificate, tmp_path: Path
) -> None:
    from archiver.pki.certificates import read_certificates
    from archiver.policy import BagPolicy, Policy, ProofPolicy

    with demo_tsa().Tsa(tmp_path / "second") as second:
        options = StampOptions(urls=(tsa.url, second.url))
        assert all(not one.problem for one in stamp_bag(str(offline), options, now()))
    assert len(stamps_of(offline)) == 2
    (other_root,) = read_certificates((tmp_path / "second/root.pem").read_bytes())
    policy = Policy(name="two", bag=BagPolicy(), proof=ProofPolicy(signatures=1, time_stamps=2))
    one = office.anchors(tsa_roots=(tsa_root,))
    report = check(offline, one, policy=policy)
    assert report.exit_code == 4
    assert {"E-POL-003"} <= found(report)
    both = office.anchors(tsa_roots=(tsa_root, other_root))
    assert check(offline, both, policy=policy).exit_code == 0
    three = Policy(name="three", bag=BagPolicy(), proof=ProofPolicy(signatures=2))
    assert "E-POL-002" in found(check(offline, both, policy=three))


def test_revocation_lists_of_the_day_are_kept_with_the_stamp(
    offline: Path, office: Office, tmp_path: Path
) -> None:
    """The list's address stands in the TSA's certificate; it is fetched for pinned roots only."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID

    from tests.sealing import CA, TSA

    module, place = demo_tsa(), tmp_path / "tsa"
    module.make_certificates(place)
    with module.Tsa(place) as running:
        root = issue(CA, new_ec())
        point = x509.DistributionPoint(
            [x509.UniformResourceIdentifier(running.url + "list.crl")], None, None, None
        )
        leaf = issue(
            TSA,
            new_ec(),
            root,
            extensions=(
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True),
                (x509.CRLDistributionPoints([point]), False),
            ),
        )
        (place / "tsa.pem").write_bytes(leaf.certificate.pem)
        (place / "tsa.key").write_bytes(
            leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        from archiver.pki.trustlist import TrustList, make_crl

        trust = TrustList(organisation="T", version=1, issued_at=NOW, authority=root.certificate)
        crl = make_crl(trust, root, NOW)
        asked: list[str] = []

        def get(handler: Any) -> None:
            asked.append(handler.path)
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(crl)

        running.server.RequestHandlerClass.do_GET = get
        unpinned = StampOptions(urls=(running.url,))
        stamp_bag(str(offline), unpinned, now())
        assert asked == []
        other = seal(make_source(tmp_path / "s2"), tmp_path / "other", [office.ana])
        pinned = StampOptions(urls=(running.url,), roots=(root.certificate,))
        stamp_bag(str(other), pinned, now())
    assert asked == ["/list.crl"]
    (kept,) = (other / "signatures/certificates").glob("*.crl")
    assert kept.read_bytes() == crl
    trusting = office.anchors(tsa_roots=(root.certificate,))
    assert check(other, trusting).exit_code == 0


def test_a_signer_whose_certificate_has_ended_stays_proven(
    source: Path, tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    short = issue(SIGNER, new_ec(), office.ca, last=NOW + DAY)
    bag = seal(source, tmp_path / "bag", [short], urls=[tsa.url])
    trusting = office.anchors(tsa_roots=(tsa_root,))
    assert check(bag, trusting, at=NOW + 900 * DAY).exit_code == 0
