"""VERIFY.txt: its commands, taken out of the file, with the real openssl and sha512sum."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.bag.verifytext import verify_text
from archiver.pki.certificates import Certificate
from archiver.seal.proofs import sign_bag
from tests.sealing import (
    NOW,
    Office,
    copy,
    make_source,
    private_home,
    regenerate,
    seal,
    signature_of,
    tree,
)

ODD = {
    "100%.txt": b"a",
    "new\nline%0A.txt": b"b",
    "back\\slash.txt": b"c",
    "cr\r.txt": b"d",
    " space .txt": b"e",
    "ñandú/é.txt": b"f",
    "plain.txt": b"g",
}


def commands(bag: Path) -> str:
    """The indented lines of the file, in their order."""
    lines = (bag / "VERIFY.txt").read_text("utf-8").split("\n")
    return "\n".join(line[4:] for line in lines if line.startswith("    "))


@pytest.fixture
def anchors(office: Office, tsa_root: Certificate, tmp_path: Path) -> tuple[Path, Path]:
    ca, tsa = tmp_path / "the-ca.pem", tmp_path / "the-tsa.pem"
    ca.write_bytes(office.ca.certificate.pem)
    tsa.write_bytes(tsa_root.pem)
    return ca, tsa


def run(bag: Path, anchors: tuple[Path, Path]) -> tuple[str, str]:
    """(standard output, standard error) of all commands with our anchors put in."""
    script = commands(bag)
    script = re.sub(r"(?m)^CA=.*$", f"CA='{anchors[0]}'", script)
    script = re.sub(r"(?m)^TSA=.*$", f"TSA='{anchors[1]}'", script)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=bag,
        env=private_home(bag.parent),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout, done.stderr


def all_is_well(out: str, err: str, *, signatures: int = 1, stamps: int = 1) -> bool:
    """What VERIFY.txt tells its reader to look for."""
    return (
        out.count("signature OK: ") == signatures
        and out.count("time stamp OK: ") == stamps
        and out.count("Time stamp: ") == stamps
        and "tag files: OK" in out
        and "payload: OK" in out
        and "no payload file added: OK" in out
        and "no tag file added: OK" in out
        and "nothing else: OK" in out
        and "FAILED" not in out
        and "UNSIGNED" not in out
        and not err
    )


def test_the_same_text_is_in_every_bag(sealed: Path, tmp_path: Path) -> None:
    unsigned = seal(make_source(tmp_path / "s"), tmp_path / "unsigned", [])
    for bag in (sealed, unsigned):
        assert (bag / "VERIFY.txt").read_text("utf-8") == verify_text()
    assert all(len(line) <= 110 for line in verify_text().split("\n"))
    assert "Does not prove" in verify_text()
    assert "No prueba" in verify_text()


def test_a_sealed_bag(sealed: Path, anchors: tuple[Path, Path], office: Office) -> None:
    before = tree(sealed, signatures=True)
    out, err = run(sealed, anchors)
    assert all_is_well(out, err), out + err
    fingerprint = office.ana.certificate.fingerprint
    assert f"\n{fingerprint}\n" in out
    assert f"Archiver-Seal: sha256:{fingerprint}" in out
    assert "signature OK: subject=CN=Ana" in out.replace(" = ", "=")
    assert tree(sealed, signatures=True) == before


def test_odd_names_and_a_further_signature(
    tmp_path: Path, anchors: tuple[Path, Path], office: Office
) -> None:
    bag = seal(make_source(tmp_path / "s", ODD), tmp_path / "bag", [office.ana])
    sign_bag(str(bag), [office.ben], NOW)
    out, err = run(bag, anchors)
    assert all_is_well(out, err, signatures=2, stamps=0), out + err
    assert out.count("OK: data/") == 3
    assert "NO TIME STAMP" in out
    (bag / "data" / "100%.txt").write_bytes(b"b")
    out, err = run(bag, anchors)
    assert "FAILED: data/100%25.txt" in out


@pytest.mark.parametrize("algorithms", [("sha384",), ("sha512",), ("sha256", "sha384")])
def test_other_algorithms(
    algorithms: tuple[str, ...], tmp_path: Path, anchors: tuple[Path, Path], office: Office
) -> None:
    source = make_source(tmp_path / "s")
    bag = seal(source, tmp_path / "bag", [office.ana], algorithms=algorithms)
    assert all_is_well(*run(bag, anchors), stamps=0)


def test_an_unsigned_bag(tmp_path: Path, anchors: tuple[Path, Path]) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [])
    out, _err = run(bag, anchors)
    assert "UNSIGNED" in out
    assert "payload: OK" in out


def change(bag: Path) -> None:
    (bag / "data/video.mp4").write_bytes(b"moved pictures!" * 100)


def change_and_regenerate(bag: Path) -> None:
    change(bag)
    regenerate(bag)


def edit_info(bag: Path) -> None:
    (bag / "bag-info.txt").write_bytes((bag / "bag-info.txt").read_bytes() + b"X: y\n")


def damage_signature(bag: Path) -> None:
    (path,) = (bag / "signatures").glob("*.p7s")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def damage_stamp(bag: Path) -> None:
    (path,) = (bag / "signatures").glob("*.tsr")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


TAMPERINGS: dict[str, Callable[[Path], object]] = {
    "a payload file changed": change,
    "and the manifests made anew": change_and_regenerate,
    "a payload file gone": lambda bag: (bag / "data/video.mp4").unlink(),
    "a payload file added": lambda bag: (bag / "data/added").write_bytes(b""),
    "a tag file changed": edit_info,
    "a tag file added": lambda bag: (bag / "metadata/added").write_bytes(b""),
    "a file added to signatures/": lambda bag: (bag / "signatures/readme.html").write_bytes(b""),
    "a tag manifest added": lambda bag: (bag / "tagmanifest-x.txt").write_bytes(b""),
    "a link added": lambda bag: (bag / "data/link").symlink_to("video.mp4"),
    "a signature damaged": damage_signature,
    "a time stamp damaged": damage_stamp,
    "the signatures gone": lambda bag: shutil.rmtree(bag / "signatures"),
}


@pytest.mark.parametrize("tampering", sorted(TAMPERINGS))
def test_tampering_is_seen(tampering: str, sealed: Path, anchors: tuple[Path, Path]) -> None:
    TAMPERINGS[tampering](sealed)
    assert not all_is_well(*run(sealed, anchors))


def test_a_strangers_seal_is_seen(
    sealed_once: Path, tmp_path: Path, anchors: tuple[Path, Path], office: Office
) -> None:
    bag = copy(sealed_once, tmp_path / "bag")
    for path in (bag / "signatures").glob("*.*"):
        path.unlink()
    sign_bag(str(bag), [office.mallory], NOW)
    assert signature_of(bag, office.mallory).exists()
    out, err = run(bag, anchors)
    assert "signature FAILED" in out
    assert "signature OK" not in out
    assert not all_is_well(out, err)


def test_without_the_root_of_a_tsa(sealed: Path, anchors: tuple[Path, Path]) -> None:
    anchors[1].unlink()
    out, err = run(sealed, anchors)
    assert "time stamp NOT CHECKED" in out
    assert "signature OK" in out
    assert err == ""
