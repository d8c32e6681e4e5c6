"""The table of attacks on a sealed bag: each is tried, none may pass (docs/proof.md)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import ArchiverError, FormatError
from archiver.pki.anchors import Anchors
from archiver.pki.certificates import Certificate
from archiver.policy import Policy, ProofPolicy
from archiver.seal.finished import sign_finished
from archiver.seal.proofs import sign_bag
from archiver.seal.stamping import StampOptions, stamp_bag
from archiver.verify import Verdict
from tests.helpers import Bag, run
from tests.sealing import (
    DAY,
    FILES,
    NOW,
    SIGNER,
    Office,
    check,
    copy,
    found,
    issue,
    make_source,
    new_ec,
    now,
    outcome,
    regenerate,
    seal,
    signature_of,
    stamps_of,
    tree,
    usage,
)

ADDED_BY_SEALING = "signatures"


@pytest.fixture
def anchors(office: Office, tsa_root: Certificate) -> Anchors:
    return office.anchors(tsa_roots=(tsa_root,))


def names(sealed_once: Path) -> list[str]:
    return sorted(tree(sealed_once, signatures=True))


def test_the_bag_itself_is_proven(sealed: Path, anchors: Anchors, office: Office) -> None:
    report = check(sealed, anchors)
    assert report.verdict is Verdict.VALID
    assert found(report) == set()
    steps = ("structure", "complete", "fixity", "seal-scope", "signature", "trust", "time")
    assert {outcome(report, step) for step in steps} == {"holds"}
    assert report.seal is not None
    (signature,) = report.seal.counted
    assert (signature.signer, signature.declared) == ("Ana", True)
    assert signature.fingerprint == office.ana.certificate.fingerprint


# -- every file deleted, replaced, renamed, swapped, added


def is_certificate(path: str) -> bool:
    """Certificates in the bag are steps of paths; here the anchors need none of them."""
    return path.startswith("signatures/certificates/")


def test_every_file_deleted(sealed_once: Path, tmp_path: Path, anchors: Anchors) -> None:
    for number, path in enumerate(names(sealed_once)):
        bag = copy(sealed_once, tmp_path / str(number))
        (bag / path).unlink()
        report = check(bag, anchors)
        if is_certificate(path):
            assert report.exit_code == 0, path
        else:
            expected = 4 if path.startswith("signatures/") else 1
            assert report.exit_code == expected, path
        shutil.rmtree(bag)


@pytest.mark.parametrize("way", ["flip", "cut", "garbage", "empty", "longer"])
def test_every_file_replaced(way: str, sealed_once: Path, tmp_path: Path, anchors: Anchors) -> None:
    change: dict[str, Callable[[bytes], bytes]] = {
        "flip": lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        "cut": lambda data: data[:-1],
        "garbage": lambda data: b"\xde\xad" * 40,
        "empty": lambda data: b"",
        "longer": lambda data: data + b"\n",
    }
    for number, path in enumerate(names(sealed_once)):
        if is_certificate(path):
            continue
        bag = copy(sealed_once, tmp_path / str(number))
        (bag / path).write_bytes(change[way]((bag / path).read_bytes()))
        report = check(bag, anchors)
        expected = {4} if path.endswith(".tsr") else {1}
        assert report.exit_code in expected, (path, found(report))
        shutil.rmtree(bag)


def test_every_file_renamed(sealed_once: Path, tmp_path: Path, anchors: Anchors) -> None:
    for number, path in enumerate(names(sealed_once)):
        if is_certificate(path):
            continue
        bag = copy(sealed_once, tmp_path / str(number))
        (bag / path).rename((bag / path).with_name("renamed-" + Path(path).name))
        report = check(bag, anchors)
        if path.endswith(".p7s"):  # a name proves nothing: the signature is found by its signer
            assert report.exit_code == 4
            assert "E-TIM-001" in found(report)
        else:
            assert report.exit_code in (1, 4), path
        shutil.rmtree(bag)


def test_every_two_files_swapped(sealed_once: Path, tmp_path: Path, anchors: Anchors) -> None:
    paths = [path for path in names(sealed_once) if not is_certificate(path)]
    for number, (one, other) in enumerate(combinations(paths, 2)):
        bag = copy(sealed_once, tmp_path / str(number))
        first, second = (bag / one).read_bytes(), (bag / other).read_bytes()
        (bag / one).write_bytes(second)
        (bag / other).write_bytes(first)
        assert check(bag, anchors).exit_code != 0, (one, other)
        shutil.rmtree(bag)


@pytest.mark.parametrize(
    "path",
    [
        "data/added.txt",
        "data/sub/added.txt",
        "added.txt",
        "metadata/added.json",
        "new/added.txt",
        "signatures/added.txt",
        "signatures/sub/added.p7s",
        "signatures/certificates/sub/x.pem",
        "signatures/certificates/added.exe",
        "manifest-md5.txt",
        "tagmanifest-md5.txt",
        "tagmanifest-sha384.txt",
        "fetch.txt",
    ],
)
def test_a_file_added(path: str, sealed: Path, anchors: Anchors) -> None:
    (sealed / path).parent.mkdir(parents=True, exist_ok=True)
    (sealed / path).write_bytes(b"")
    assert check(sealed, anchors).exit_code == 1


def test_a_right_tag_manifest_more(sealed: Path, anchors: Anchors) -> None:
    """Every digest in it is right: still it is none of those that were sealed."""
    (sealed / "tagmanifest-md5.txt").touch()
    original = (sealed / "tagmanifest-sha512.txt").read_bytes()
    regenerate(sealed)
    (sealed / "tagmanifest-sha512.txt").write_bytes(original)
    report = check(sealed, anchors)
    assert report.exit_code == 1
    assert "E-SCO-004" in found(report)


@pytest.mark.parametrize("line", ["first", "last"])
def test_a_line_less_in_the_other_tag_manifest(line: str, sealed: Path, anchors: Anchors) -> None:
    path = sealed / "tagmanifest-sha256.txt"
    lines = path.read_text().splitlines(keepends=True)
    kept = [one for one in lines if "manifest-" in one]
    others = [one for one in lines if "manifest-" not in one]
    path.write_text("".join(kept + (others[1:] if line == "first" else others[:-1])))
    report = check(sealed, anchors)
    assert report.exit_code == 1
    assert "E-SCO-007" in found(report)


# -- what plain BagIt misses


def test_a_video_replaced_and_the_manifests_made_anew(sealed: Path, anchors: Anchors) -> None:
    (sealed / "data/video.mp4").write_bytes(b"another" * 100)
    info = (sealed / "bag-info.txt").read_text()
    (sealed / "bag-info.txt").write_text(info.replace("Payload-Oxum: 1510", "Payload-Oxum: 710"))
    regenerate(sealed)
    report = check(sealed, anchors)
    assert {outcome(report, step) for step in ("structure", "complete", "fixity")} == {"holds"}
    assert report.exit_code == 1
    assert found(report) >= {"E-SIG-003"}
    assert check(sealed).exit_code == 1


def test_a_document_dropped_and_the_manifests_made_anew(sealed: Path, anchors: Anchors) -> None:
    (sealed / "data/sub/statement.txt").unlink()
    info = (sealed / "bag-info.txt").read_text()
    (sealed / "bag-info.txt").write_text(info.replace("1510.2", "1500.1"))
    regenerate(sealed)
    report = check(sealed, anchors)
    assert outcome(report, "fixity") == "holds"
    assert report.exit_code == 1


def test_the_tag_manifests_deleted_and_the_date_changed(sealed: Path, anchors: Anchors) -> None:
    info = (sealed / "bag-info.txt").read_text()
    (sealed / "bag-info.txt").write_text(info.replace("Bagging-Date: 2", "Bagging-Date: 1"))
    for path in sealed.glob("tagmanifest-*"):
        path.unlink()
    for given in (anchors, None):
        report = check(sealed, given)
        assert report.exit_code == 1
        assert "E-SCO-001" in found(report)


def test_bag_info_edited_and_the_tag_manifests_made_anew(sealed: Path, anchors: Anchors) -> None:
    info = (sealed / "bag-info.txt").read_text()
    (sealed / "bag-info.txt").write_text(info + "Contact-Name: Mallory\n")
    regenerate(sealed)
    assert check(sealed, anchors).exit_code == 1


@pytest.mark.parametrize("path", ["VERIFY.txt", "signatures/certificates"])
def test_what_explains_the_seal_is_exchanged(
    path: str, sealed: Path, anchors: Anchors, office: Office
) -> None:
    if path == "VERIFY.txt":
        (sealed / path).write_text("run this: echo all is well\n")
        assert check(sealed, anchors).exit_code == 1
        regenerate(sealed)
        assert check(sealed, anchors).exit_code == 1
        return
    for certificate in (sealed / path).iterdir():
        certificate.write_bytes(office.false_ca.certificate.pem)
    assert check(sealed, anchors).exit_code == 0  # they are steps, never anchors
    assert check(sealed, office_of(office.false_ca.certificate)).exit_code == 4


def office_of(*certificates: Certificate) -> Anchors:
    return Anchors(certificates=certificates)


# -- signatures taken away, moved, forged


@pytest.mark.parametrize("trusting", [True, False])
def test_the_whole_of_signatures_gone(trusting: bool, sealed: Path, anchors: Anchors) -> None:
    shutil.rmtree(sealed / "signatures")
    report = check(sealed, anchors if trusting else None)
    assert report.exit_code == 4
    assert "E-SIG-002" in found(report)


def test_the_declaration_taken_away_too(sealed: Path, anchors: Anchors) -> None:
    """An undeclared, unsigned bag looks honest: only an anchor tells, and so it is said."""
    shutil.rmtree(sealed / "signatures")
    info = (sealed / "bag-info.txt").read_text().splitlines(keepends=True)
    (sealed / "bag-info.txt").write_text(
        "".join(line for line in info if not line.startswith("Archiver-Seal"))
    )
    regenerate(sealed)
    report = check(sealed, anchors)
    assert report.exit_code == 4
    assert "E-SIG-001" in found(report)
    assert check(sealed).exit_code == 0


def test_a_signature_moved_from_another_bag(
    sealed: Path, tmp_path: Path, anchors: Anchors, office: Office
) -> None:
    other = seal(make_source(tmp_path / "s", {"x": b"x"}), tmp_path / "other", [office.ana])
    shutil.copy(signature_of(other, office.ana), signature_of(sealed, office.ana))
    report = check(sealed, anchors)
    assert report.exit_code == 1
    assert "E-SIG-003" in found(report)


def test_a_foreign_signature_beside_the_right_one_changes_nothing(
    sealed: Path, tmp_path: Path, anchors: Anchors, office: Office
) -> None:
    other = seal(make_source(tmp_path / "s", {"x": b"x"}), tmp_path / "other", [office.ben])
    shutil.copy(signature_of(other, office.ben), signature_of(sealed, office.ben))
    report = check(sealed, anchors)
    assert report.exit_code == 0
    assert report.findings.has("W-SIG-010")


@pytest.mark.parametrize("data", [b"", b"garbage", b"0\x80" * 100, b"\x30\x82\xff\xff"])
@pytest.mark.parametrize("place", ["0000.p7s", "zzzz.p7s", "0123456789abcdef.p7s"])
def test_garbage_among_the_signatures_changes_nothing(
    data: bytes, place: str, sealed: Path, anchors: Anchors
) -> None:
    (sealed / "signatures" / place).write_bytes(data)
    report = check(sealed, anchors)
    assert report.exit_code == 0
    assert report.findings.has("W-SIG-010")


def test_a_stranger_signs_too(sealed: Path, anchors: Anchors, office: Office) -> None:
    sign_bag(str(sealed), [office.mallory], NOW)
    assert check(sealed, anchors).exit_code == 0
    assert check(sealed, office_of(office.false_ca.certificate)).exit_code == 4


def test_a_self_made_ca_of_the_same_name(
    tmp_path: Path, office: Office, tsa_root: Certificate
) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [office.mallory])
    report = check(bag, office.anchors())
    assert report.exit_code == 4
    assert "E-TRU-003" in found(report)
    unknown = check(bag, office_of(tsa_root))
    assert unknown.exit_code == 4
    assert "E-TRU-001" in found(unknown)
    none = check(bag)
    assert none.exit_code == 4
    assert "E-TRU-002" in found(none)


def test_resealed_by_a_stranger(sealed: Path, anchors: Anchors, office: Office) -> None:
    """Everything made anew, the declaration too."""
    (sealed / "data/video.mp4").write_bytes(b"moved pictures!" * 100)
    info = (sealed / "bag-info.txt").read_text()
    old, new = (one.certificate.fingerprint for one in (office.ana, office.mallory))
    (sealed / "bag-info.txt").write_text(info.replace(old, new))
    regenerate(sealed)
    shutil.rmtree(sealed / "signatures")
    sign_bag(str(sealed), [office.mallory], NOW)
    report = check(sealed, anchors)
    assert report.exit_code == 4
    assert "E-TRU-003" in found(report)


def test_undeclared_signature_exchanged_for_a_strangers(
    tmp_path: Path, anchors: Anchors, office: Office
) -> None:
    """A bag signed later declares nothing: the trusted signature over other bytes is told."""
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [])
    sign_bag(str(bag), [office.ana], NOW)
    assert check(bag, office.anchors()).exit_code == 0
    (bag / "data/video.mp4").write_bytes(b"moved pictures!" * 100)
    regenerate(bag)
    assert check(bag, office.anchors()).exit_code == 1
    assert check(bag).exit_code == 1
    sign_bag(str(bag), [office.mallory], NOW)
    report = check(bag, office.anchors())
    assert report.exit_code == 1
    assert "E-SIG-003" in found(report)
    assert check(bag).exit_code == 4


def test_one_of_two_declared_signers_is_not_enough(
    tmp_path: Path, anchors: Anchors, office: Office
) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [office.ana, office.ben])
    assert check(bag, office.anchors()).exit_code == 0
    signature_of(bag, office.ben).unlink()
    report = check(bag, office.anchors())
    assert report.exit_code == 4
    assert "E-SIG-002" in found(report)


def test_a_sealed_bag_of_a_signer_with_another_key_of_the_same_name(
    tmp_path: Path, office: Office
) -> None:
    namesake = issue(SIGNER, new_ec(), office.ca)
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [namesake])
    pinned = office_of(office.ana.certificate)
    assert check(bag, pinned).exit_code == 4
    assert check(bag, office_of(namesake.certificate)).exit_code == 0


# -- certificates and time


@pytest.mark.parametrize("kind", ["encipher", "issue", "server", "stamping"])
def test_a_signer_without_the_key_usage(kind: str, tmp_path: Path, office: Office) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

    changes: dict[str, dict[str, Any]] = {
        "encipher": {"key_usage": usage("key_encipherment")},
        "issue": {"key_usage": usage("key_cert_sign")},
        "server": {"extensions": ((x509.ExtendedKeyUsage([Purpose.SERVER_AUTH]), False),)},
        "stamping": {"extensions": ((x509.ExtendedKeyUsage([Purpose.TIME_STAMPING]), True),)},
    }
    signer = issue(SIGNER, new_ec(), office.ca, **changes[kind])
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [signer])
    report = check(bag, office.anchors())
    assert report.exit_code == 4
    assert "E-SIG-005" in found(report)


@pytest.mark.parametrize("stamped", [True, False])
def test_an_expired_signer(
    stamped: bool, tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    signer = issue(SIGNER, new_ec(), office.ca, last=NOW + DAY)
    urls = [tsa.url] if stamped else []
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [signer], urls=urls)
    trusting = office.anchors(tsa_roots=(tsa_root,) if stamped else ())
    assert check(bag, trusting).exit_code == 0
    later: datetime = NOW + 30 * DAY
    report = check(bag, trusting, at=later)
    assert report.exit_code == (0 if stamped else 4)
    if not stamped:
        assert "E-TRU-004" in found(report)
    untimed = check(bag, office.anchors(), at=later)
    assert untimed.exit_code == 4
    assert "E-TRU-004" in found(untimed)


def test_a_certificate_that_begins_after_the_stamp(
    tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    signer = issue(SIGNER, new_ec(), office.ca, first=NOW + 2 * DAY)
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [signer], urls=[tsa.url])
    trusting = office.anchors(tsa_roots=(tsa_root,))
    assert check(bag, trusting, at=NOW + 3 * DAY).exit_code == 4


def test_an_intermediate_that_may_not_issue(tmp_path: Path, office: Office) -> None:
    """Ana's own certificate is no CA: what she 'issues' leads nowhere."""
    below = issue(SIGNER, new_ec(), office.ana, subject="Below")
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [below])
    report = check(bag, office.anchors())
    assert report.exit_code == 4
    assert "E-TRU-001" in found(report)


# -- other roads into the bag


def test_a_weak_payload_manifest_under_a_strong_seal(tmp_path: Path, office: Office) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [])
    (bag / "manifest-md5.txt").touch()
    for path in [*bag.glob("manifest-sha*.txt"), bag / "tagmanifest-sha256.txt"]:
        path.unlink()
    info = (bag / "bag-info.txt").read_text().replace("Archiver-Bag-Layout: 1\n", "")
    (bag / "bag-info.txt").write_text(info)
    regenerate(bag)
    assert check(bag).exit_code == 0
    sign_bag(str(bag), [office.ana], NOW)
    report = check(bag, office.anchors())
    assert report.exit_code == 4
    assert "E-SCO-005" in found(report)


def test_a_payload_file_left_to_fetch(sealed: Path, anchors: Anchors) -> None:
    (sealed / "data/video.mp4").unlink()
    (sealed / "fetch.txt").write_text("http://localhost/x 1500 data/video.mp4\n")
    assert check(sealed, anchors).exit_code == 1


def zipped(bag: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        archive.mkdir(f"{bag.name}/")
        for path in sorted(bag.rglob("*")):
            archive.write(path, f"{bag.name}/{path.relative_to(bag)}")
    return target


def test_a_zip_whose_two_descriptions_differ(
    sealed: Path, tmp_path: Path, anchors: Anchors
) -> None:
    """The central directory names the right file, the local header another."""
    good = zipped(sealed, tmp_path / "bag.zip")
    assert check(good, anchors).exit_code == 0
    data = good.read_bytes()
    first = data.index(b"bag/data/video.mp4")
    tampered = tmp_path / "x" / "bag.zip"
    tampered.parent.mkdir()
    tampered.write_bytes(data[:first] + b"bag/data/vidio.mp4" + data[first + 18 :])
    report = check(tampered, anchors)
    assert report.exit_code == 1
    assert "E-ARC-009" in found(report)


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_sealed_bag_in_an_archive(
    ending: str, sealed: Path, tmp_path: Path, anchors: Anchors
) -> None:
    target = tmp_path / f"bag.{ending}"
    flag = "-czf" if ending == "tar.gz" else "-cf"
    subprocess.run(["tar", flag, target, "-C", tmp_path, "bag"], check=True)
    assert check(target, anchors).exit_code == 0
    (sealed / "data/video.mp4").write_bytes(b"x")
    subprocess.run(["tar", flag, target, "-C", tmp_path, "bag"], check=True)
    assert check(target, anchors).exit_code == 1


@pytest.mark.parametrize("what", ["signatures", "signatures/certificates", "signature"])
def test_links_in_the_place_of_proofs(
    what: str, sealed: Path, tmp_path: Path, anchors: Anchors, office: Office
) -> None:
    outside = tmp_path / "outside"
    path = signature_of(sealed, office.ana) if what == "signature" else sealed / what
    path.rename(outside)
    path.symlink_to(outside)
    assert check(sealed, anchors).exit_code == 1


def test_taking_a_waiting_request_away_never_raises_the_verdict(
    tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    bag = seal(
        make_source(tmp_path / "s"),
        tmp_path / "bag",
        [office.ana],
        urls=[tsa.url],
        require_stamp=True,
        stamp=False,
    )
    for trusting in (office.anchors(), office.anchors(tsa_roots=(tsa_root,))):
        report = check(bag, trusting)
        assert report.exit_code == 4
        assert "E-TIM-002" in found(report)
    for request in (bag / "signatures").glob("*.tsq"):
        request.unlink()
    for trusting in (office.anchors(), office.anchors(tsa_roots=(tsa_root,))):
        report = check(bag, trusting)
        assert report.exit_code == 4
        assert "E-TIM-001" in found(report)


def test_a_stamp_over_another_signature(
    sealed: Path, tmp_path: Path, office: Office, anchors: Anchors, tsa: Any
) -> None:
    other = seal(make_source(tmp_path / "s"), tmp_path / "o", [office.ben], urls=[tsa.url])
    shutil.copy(stamps_of(other)[0], stamps_of(sealed)[0])
    report = check(sealed, anchors)
    assert report.exit_code == 4
    assert "E-TIM-003" in found(report)


def test_the_fast_look_proves_no_more_than_it_says(sealed: Path, anchors: Anchors) -> None:
    report = check(sealed, anchors, fast=True)
    assert report.verdict is Verdict.COMPLETE
    assert outcome(report, "fixity") == "not-asked"
    shutil.rmtree(sealed / "signatures")
    assert check(sealed, anchors, fast=True).exit_code == 4


def test_a_fast_look_notices_a_changed_tag_file(sealed: Path, anchors: Anchors) -> None:
    """What is sealed rests on the tag files: a fast look reads those."""
    info = (sealed / "bag-info.txt").read_text()
    kept = [line for line in info.splitlines(keepends=True) if not line.startswith("Archiver-")]
    (sealed / "bag-info.txt").write_text("".join(kept))
    assert check(sealed, anchors, fast=True).exit_code == 1


def test_a_copy_of_a_good_signature_changes_nothing(
    tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [])
    sign_bag(str(bag), [office.ana], NOW)
    stamp_bag(str(bag), StampOptions(urls=(tsa.url,)), NOW)
    trusting = office.anchors(tsa_roots=(tsa_root,))
    assert check(bag, trusting).exit_code == 0
    shutil.copy(signature_of(bag, office.ana), bag / "signatures/zz.p7s")
    shutil.copy(signature_of(bag, office.ana), bag / "signatures/00.p7s")
    (stamp,) = stamps_of(bag)
    for number in range(20):  # named as ours are, each with as many stamps as are looked at
        copied = bag / f"signatures/{number:016}.p7s"
        shutil.copy(signature_of(bag, office.ana), copied)
        for other in range(32):
            shutil.copy(stamp, copied.with_name(f"{copied.name}.{other:016}.tsr"))
    policy = Policy(name="one", proof=ProofPolicy(signatures=1, time_stamps=1))
    assert check(bag, trusting, policy=policy).exit_code == 0


def test_taking_a_further_signature_away_never_raises_the_verdict(
    tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [])
    sign_bag(str(bag), [office.ana], NOW)
    stamp_bag(str(bag), StampOptions(urls=(tsa.url,)), NOW)
    sign_bag(str(bag), [office.ben], NOW)
    trusting = office.anchors(tsa_roots=(tsa_root,))
    policy = Policy(name="one", proof=ProofPolicy(signatures=1, time_stamps=1))
    with_both = check(bag, trusting, policy=policy).exit_code
    signature_of(bag, office.ben).unlink()
    assert check(bag, trusting, policy=policy).exit_code == with_both == 0


@pytest.mark.parametrize("declared", [True, False])
def test_a_flood_of_garbage_hides_nothing(
    declared: bool, tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [office.ana] if declared else [])
    if not declared:
        sign_bag(str(bag), [office.ana], NOW)
    stamp_bag(str(bag), StampOptions(urls=(tsa.url,)), NOW)
    signature = signature_of(bag, office.ana)
    for number in range(1001):
        (bag / "signatures" / f"!{number}.p7s").write_bytes(b"x")
        (bag / "signatures" / f"{signature.stem}.!{number}.p7s").write_bytes(b"x")
    for number in range(40):
        signature.with_name(f"{signature.name}.!{number}.tsr").write_bytes(b"x")
    report = check(bag, office.anchors(tsa_roots=(tsa_root,)))
    assert report.exit_code == 0
    assert report.findings.has("W-SIG-011")


def test_certificates_and_lists_have_one_budget(sealed: Path, anchors: Anchors) -> None:
    """Thirty lists of 15 MB would fill a gigabyte."""
    for number in range(5):
        path = sealed / f"signatures/certificates/{number:016}.crl"
        with open(path, "wb") as file:
            file.truncate(15 << 20)
    begun = time.process_time()
    report = check(sealed, anchors)
    assert report.exit_code == 0
    assert report.findings.has("W-SIG-010")
    assert time.process_time() - begun < 5


def test_a_file_that_only_md5_lists_before_1_0(tmp_path: Path, office: Office) -> None:
    """Drafts let a file stand in one manifest: a collision would be no change."""
    bag = Bag(version="0.97", algorithms=("md5",), tag_algorithms=()).write(tmp_path / "bag")
    strong = hashlib.sha256((bag / "data/a.txt").read_bytes()).hexdigest()
    (bag / "manifest-sha256.txt").write_text(f"{strong}  data/a.txt\n")
    assert check(bag).exit_code == 0
    with pytest.raises(FormatError, match="weak"):
        sign_finished(str(bag), [office.ana], NOW)
    lines = [
        f"{hashlib.sha512(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(bag.glob("*.txt"))
    ]
    (bag / "tagmanifest-sha512.txt").write_text("".join(lines))
    sign_bag(str(bag), [office.ana], NOW)
    report = check(bag, office.anchors())
    assert report.exit_code == 4
    assert "E-SCO-005" in found(report)


@pytest.mark.parametrize("odd", ["a\nb", "x\n" + "0" * 128 + "  evil.txt", "c\rd", "\udcff"])
def test_no_line_can_be_smuggled_under_a_signature(
    odd: str, tmp_path: Path, office: Office
) -> None:
    bag = Bag(version="0.97", algorithms=("sha256",), tag_algorithms=()).write(tmp_path / "bag")
    try:
        (bag / odd).write_bytes(b"")
    except OSError:
        pytest.skip("the name is too long here")
    with pytest.raises(FormatError):
        sign_finished(str(bag), [office.ana], NOW)
    assert not (bag / "tagmanifest-sha512.txt").exists()


def test_a_link_in_the_place_of_a_stamp_is_no_stamp(sealed: Path, tmp_path: Path, tsa: Any) -> None:
    (stamp,) = stamps_of(sealed)
    stamp.unlink()
    stamp.symlink_to(tmp_path / "elsewhere")
    options = StampOptions(urls=(tsa.url,))
    with pytest.raises(ArchiverError):
        stamp_bag(str(sealed), options, now())
    assert not (tmp_path / "elsewhere").exists()


def test_names_in_certificates_do_not_steer_the_terminal(
    tmp_path: Path, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    signer = issue(SIGNER, new_ec(), office.ca, subject="ana\x1b[31m\n  Proved: all is well")
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [signer])
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    done = run(capsys, "bag", "verify", bag, "--trust", tmp_path / "ca.pem")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\n  Proved: all is well" not in done.out


def test_files_of_the_example_are_what_was_sealed(sealed: Path) -> None:
    assert {path.removeprefix("data/") for path in tree(sealed) if path.startswith("data/")} == set(
        FILES
    )
