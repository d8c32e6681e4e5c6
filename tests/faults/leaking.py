"""Finds a secret wherever it may have got to: in any encoding, compressed, in free pages.

:func:`traces` answers which needles are in some bytes, and how they are written there;
:class:`Place` is a file system of its own, whose every block is looked at, those of deleted
files too.
"""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import os
import re
import struct
import subprocess
import unicodedata
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

Needle = str | bytes
_LEAST_BYTES = 6
"""Shorter ones would be found by chance in ciphertext."""
_DEPTH = 3
_MOST_BYTES = 64 << 20
_MAGIC = re.compile(
    rb"\x1f\x8b\x08|[\x08\x18\x28\x38\x48\x58\x68\x78][\x01\x5e\x9c\xda]|PK\x03\x04|BZh[1-9]"
    rb"|\xfd7zXZ\x00",
    re.DOTALL,
)


@cache
def written(needle: Needle) -> dict[str, bytes]:
    """How a needle can be written, by the name of the way."""
    if isinstance(needle, bytes):
        plain = {"bytes": needle}
    else:
        plain = {"utf-8": needle.encode()}
        for form in ("NFC", "NFD"):
            plain[form] = unicodedata.normalize(form, needle).encode()
        plain |= {"utf-16-le": needle.encode("utf-16-le"), "utf-16-be": needle.encode("utf-16-be")}
        plain |= {"utf-32-le": needle.encode("utf-32-le")}
        plain["latin-1"] = needle.encode("latin-1", "replace")
        plain["json"] = json.dumps(needle)[1:-1].encode()
        plain["python"] = needle.encode("unicode_escape")
        plain["url"] = urllib.parse.quote(needle).encode()
        plain["url+"] = urllib.parse.quote_plus(needle).encode()
        plain["octal"] = "".join(
            chr(one) if 32 <= one < 127 else f"\\{one:03o}" for one in needle.encode()
        ).encode()
    found = dict(plain)
    for name, data in plain.items():
        found[f"{name}, hex"] = data.hex().encode()
        found[f"{name}, HEX"] = data.hex().upper().encode()
        found[f"{name}, reversed"] = data[::-1]
        for shift in range(3):
            for way, encode in (("", base64.b64encode), ("url", base64.urlsafe_b64encode)):
                found[f"{name}, base64{way}+{shift}"] = _shifted(
                    data, shift, encode(b"\0" * shift + data)
                )
    assert all(len(one) >= _LEAST_BYTES for one in found.values()), needle
    # Many are the same for plain ASCII: one name each will do.
    return {name: data for data, name in {one: way for way, one in reversed(found.items())}.items()}


def _shifted(data: bytes, shift: int, encoded: bytes) -> bytes:
    """The characters of ``encoded`` that depend on ``data`` alone."""
    first, last = -(-shift * 8 // 6), (shift + len(data)) * 8 // 6
    return encoded[first:last]


def traces(data: bytes, needles: Mapping[str, Needle], depth: int = _DEPTH) -> set[str]:
    """Which needles are in ``data``, as "name (way)"; compressed members are looked into."""
    found = {
        f"{name} ({way})"
        for name, needle in needles.items()
        for way, pattern in written(needle).items()
        if pattern in data
    }
    if depth:
        for inner in _members(data):
            found |= {f"{one}, compressed" for one in traces(inner, needles, depth - 1)}
    return found


def _members(data: bytes) -> Iterator[bytes]:
    """What can be unpacked anywhere in ``data``."""
    view = memoryview(data)
    for match in _MAGIC.finditer(data):
        start, magic = match.start(), match[0]
        try:
            if magic == b"PK\x03\x04":
                names, more = struct.unpack_from("<HH", data, start + 26)
                begin = start + 30 + names + more
                inner = zlib.decompressobj(-15).decompress(view[begin:], _MOST_BYTES)
            elif magic.startswith(b"\x1f\x8b"):
                inner = zlib.decompressobj(31).decompress(view[start:], _MOST_BYTES)
            elif magic.startswith(b"BZh"):
                inner = bz2.BZ2Decompressor().decompress(view[start:], _MOST_BYTES)
            elif magic.startswith(b"\xfd7z"):
                inner = lzma.LZMADecompressor().decompress(view[start:], _MOST_BYTES)
            else:
                inner = zlib.decompressobj().decompress(view[start:], _MOST_BYTES)
        except (zlib.error, OSError, EOFError, lzma.LZMAError, struct.error, ValueError):
            continue
        if len(inner) >= _LEAST_BYTES:
            yield inner


def leaks(root: Path, needles: Mapping[str, Needle]) -> list[str]:
    """All traces below ``root``: in names, links, extended attributes, and in the files."""
    found = []
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            for what, data in _parts(path):
                found += [f"{path} ({what}): {one}" for one in traces(data, needles)]
    return sorted(found)


def _parts(path: str) -> Iterator[tuple[str, bytes]]:
    yield "name", os.fsencode(os.path.basename(path))
    if os.path.islink(path):
        yield "link", os.fsencode(os.readlink(path))
        return
    for name in os.listxattr(path):
        yield "attribute", os.fsencode(name) + os.getxattr(path, name)
    if os.path.isfile(path):
        yield "content", Path(path).read_bytes()


class Place:
    """A file system in a file: ``root`` is where it is mounted."""

    def __init__(self, base: Path) -> None:
        self.image, self.root = base / "image", base / "place"
        self.root.mkdir()
        self.mounted = False

    def mount(self, size_mb: int) -> None:
        """Where that can't be done, ``root`` is a plain directory."""
        with open(self.image, "wb") as file:
            file.truncate(size_mb << 20)
        for command in (
            ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,nodiscard", str(self.image)],
            ["mount", "-o", "loop,nodiscard", str(self.image), str(self.root)],
        ):
            try:
                done = subprocess.run(command, capture_output=True, check=False)
            except FileNotFoundError:
                return
            if done.returncode != 0:
                return
        self.mounted = True

    def leaks(self, needles: Mapping[str, Needle], *, raw: bool = True) -> list[str]:
        """All traces in files that are there, and (``raw``) in every block of the disk."""
        found = leaks(self.root, needles)
        if raw and self.mounted:
            subprocess.run(["sync", "-f", self.root], check=True)
            data = _without_zeros(self.image)
            found += [f"a block of the disk: {one}" for one in sorted(traces(data, needles, 0))]
        return found

    def close(self) -> None:
        """Unmounted."""
        if self.mounted:
            subprocess.run(["umount", "-l", self.root], check=False, capture_output=True)


def _without_zeros(image: Path) -> bytes:
    """The blocks of a disk that hold something, in their order."""
    kept = []
    with open(image, "rb") as file:
        while block := file.read(4096):
            if block.count(0) != len(block):
                kept.append(block)
    return b"".join(kept)


@contextmanager
def place(base: Path, size_mb: int = 48) -> Iterator[Place]:
    """One, for as long as it is wanted."""
    made = Place(base)
    try:
        made.mount(size_mb)
        yield made
    finally:
        made.close()


# -- a photograph that tells where it was taken


def rationals(*values: tuple[int, int]) -> bytes:
    """Numbers as EXIF has them, big-endian."""
    return b"".join(struct.pack(">II", *value) for value in values)


def photograph(latitude: bytes, longitude: bytes, artist: str) -> bytes:
    """A JPEG with EXIF: who took it, and the coordinates, each three rationals."""
    name = artist.encode() + b"\0"
    head, count = 8, 2
    after = head + 2 + 12 * count + 4
    gps = after + len(name) + len(name) % 2
    data = gps + 2 + 12 * 4 + 4
    tiff = b"MM\0*" + struct.pack(">I", head) + struct.pack(">H", count)
    tiff += struct.pack(">HHII", 0x013B, 2, len(name), after)
    tiff += struct.pack(">HHII", 0x8825, 4, 1, gps) + struct.pack(">I", 0)
    tiff += name + b"\0" * (len(name) % 2) + struct.pack(">H", 4)
    tiff += struct.pack(">HHI", 1, 2, 2) + b"S\0\0\0" + struct.pack(">HHII", 2, 5, 3, data)
    tiff += struct.pack(">HHI", 3, 2, 2) + b"W\0\0\0"
    tiff += struct.pack(">HHII", 4, 5, 3, data + 24) + struct.pack(">I", 0)
    tiff += latitude + longitude
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return b"\xff\xd8" + segment + b"\xff\xda\0\x02" + bytes(range(200)) * 20 + b"\xff\xd9"
