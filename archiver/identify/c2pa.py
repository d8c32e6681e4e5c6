"""Provenance that comes within a file: C2PA manifests, and bundles of ProofMode.

Job: say whether one is there. Limits: nothing is verified, and nothing altered: both travel
in the file or beside it, and are kept as they are. Runs in the confined child.

JPEG: JUMBF boxes in APP11 segments; PNG: a ``caBX`` chunk; MP4, HEIF: a ``uuid`` box, or a
``jumb`` one (C2PA 2.1, appendix A). ProofMode's bundle is a zip with ``*.proof.json``.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["C2pa"]

_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_MAX_PARTS = 10_000
_EMBEDDED = "embedded, not verified"


class C2pa:
    """As a tool: it has no version but that of the program."""

    version = "archiver"

    def run(self, path: str) -> dict[str, Any]:
        """What is in the file at ``path``."""
        with open(path, "rb") as file:
            head = file.read(12)
            file.seek(0)
            if head[:2] == b"\xff\xd8":
                there = any(_is_jumbf(one) for one in _app11(file))
            elif head[:8] == b"\x89PNG\r\n\x1a\n":
                there = any(kind == b"caBX" for kind in _png_chunks(file))
            elif head[4:8] in (b"ftyp", b"jumb"):
                there = any(_boxes(file))
            elif head[:4] == b"PK\3\4":
                return _bundle(file)
            else:
                there = False
        return {"c2pa": _EMBEDDED} if there else {}


def _app11(file: BinaryIO) -> Iterator[bytes]:
    """The beginnings of the APP11 segments before the picture itself."""
    file.seek(2)
    for _part in range(_MAX_PARTS):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0xDA, 0xD9):
            return
        size = int.from_bytes(head[2:], "big") - 2
        if head[1] == 0xEB:
            data = file.read(min(size, 256))
            yield data
            size -= len(data)
        file.seek(max(size, 0), os.SEEK_CUR)


def _is_jumbf(segment: bytes) -> bool:
    return segment[:2] == b"JP" and b"jumb" in segment[:40] and b"c2pa" in segment


def _png_chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(8)
    for _part in range(_MAX_PARTS):
        head = file.read(8)
        if len(head) < 8:
            return
        yield head[4:]
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)


def _boxes(file: BinaryIO) -> Iterator[bool]:
    """For each outermost box whether it is C2PA's."""
    place = 0
    for _part in range(_MAX_PARTS):
        file.seek(place)
        head = file.read(48)
        if len(head) < 8:
            return
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        start = 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), 16
        yield kind == b"uuid" and head[start : start + 16] == _UUID
        yield kind == b"jumb" and b"c2pa" in head
        if size < 8:
            return
        place += size


def _bundle(file: BinaryIO) -> dict[str, Any]:
    """Whether a zip is one of ProofMode's: only its list of members is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()[:_MAX_PARTS]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return {}
    there = any(name.endswith((".proof.json", ".proof.csv")) for name in names)
    return {"proofmode": "bundle, not verified"} if there else {}
