"""C2PA and ProofMode: recognised, named, never verified, never touched."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import pytest

from archiver.identify import FormatRecord
from archiver.identify.c2pa import C2pa
from archiver.identify.companions import with_companions
from tests.identify.hostile import box, hostile_files, mp4, picture

JUMBF = b"JP\0\1\0\0\0\1" + box(b"jumb", box(b"jumd", b"c2pa" + bytes(12) + b"\3c2pa\0"))
UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
EMBEDDED = {"c2pa": "embedded, not verified"}


def jpeg(*segments: bytes) -> bytes:
    plain = picture("JPEG")
    made = b"".join(b"\xff\xeb" + struct.pack(">H", 2 + len(one)) + one for one in segments)
    return plain[:2] + made + plain[2:]


def png(*chunks: bytes) -> bytes:
    plain = picture("PNG")
    made = b"".join(struct.pack(">I", 4) + one + b"c2pa" + bytes(4) for one in chunks)
    return plain[:33] + made + plain[33:]


@pytest.mark.parametrize(
    ("data", "there"),
    [
        (jpeg(JUMBF), True),
        (jpeg(b"JP other", JUMBF), True),
        (jpeg(b"JP\0\1\0\0\0\1" + box(b"jumb", b"else")), False),
        (jpeg(), False),
        (png(b"caBX"), True),
        (png(b"teXt"), False),
        (mp4() + box(b"uuid", UUID + b"manifest"), True),
        (mp4() + struct.pack(">I4sQ", 1, b"uuid", 48) + UUID + bytes(16), True),
        (mp4() + box(b"uuid", bytes(16)), False),
        (box(b"jumb", box(b"jumd", b"c2pa")), True),
        (b"", False),
        (b"\xff\xd8\xff", False),
        (b"text that says c2pa", False),
        (b"PK\3\4 no zip", False),
    ],
)
def test_what_is_embedded(tmp_path: Path, data: bytes, there: bool) -> None:
    path = tmp_path / "medium"
    path.write_bytes(data)
    assert C2pa().run(str(path)) == (EMBEDDED if there else {})
    assert path.read_bytes() == data


def test_hostile_files_end_soon(tmp_path: Path) -> None:
    for data in hostile_files(1).values():
        path = tmp_path / "medium"
        path.write_bytes(data)
        assert C2pa().run(str(path)) == {}


def test_a_bundle_of_proofmode(tmp_path: Path) -> None:
    path = tmp_path / "proofs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", picture("JPEG"))
        archive.writestr("ab12.proof.json", "{}")
        archive.writestr("pubkey.asc", "key")
    assert C2pa().run(str(path)) == {"proofmode": "bundle, not verified"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"")
    assert C2pa().run(str(path)) == {}


def told(*names: str) -> dict[str, dict[str, str]]:
    made = with_companions([FormatRecord(path=name) for name in names])
    assert [one.path for one in made] == list(names)
    return {os.path.relpath(one.path, "data"): dict(one.provenance) for one in made}


def test_proofs_beside_a_medium() -> None:
    found = told(
        "data/a/photo.jpg",
        "data/a/photo.jpg.proof.json",
        "data/a/photo.jpg.asc",
        "data/a/pubkey.asc",
        "data/a/other.jpg",
        "data/b/photo.jpg",
        "data/b/letter.asc",
    )
    assert found == {
        "a/photo.jpg": {"proofmode": "beside it, not verified"},
        "a/photo.jpg.proof.json": {"proofmode": "proof, not verified"},
        "a/photo.jpg.asc": {"proofmode": "signature, not verified"},
        "a/pubkey.asc": {"proofmode": "key, not verified"},
        "a/other.jpg": {},
        "b/photo.jpg": {},
        "b/letter.asc": {},
    }


def test_proofs_by_digest_are_known_as_such() -> None:
    found = told("data/photo.jpg", f"data/{'ab' * 32}.proof.csv", f"data/{'ab' * 32}.asc")
    assert found["photo.jpg"] == {}
    assert found[f"{'ab' * 32}.proof.csv"] == {"proofmode": "proof, not verified"}


def test_a_side_car_of_c2pa() -> None:
    found = told("data/clip.mp4", "data/clip.c2pa", "data/b.jpg", "data/b.jpg.c2pa", "data/c.jpg")
    assert found["clip.mp4"] == found["b.jpg"] == {"c2pa": "beside it, not verified"}
    assert found["clip.c2pa"] == {"c2pa": "side-car, not verified"}
    assert found["c.jpg"] == {}


def test_what_is_embedded_is_not_forgotten_for_what_lies_beside() -> None:
    medium = FormatRecord(path="data/a.jpg", provenance=EMBEDDED)
    first, _side = with_companions([medium, FormatRecord(path="data/a.c2pa")])
    assert dict(first.provenance) == EMBEDDED
