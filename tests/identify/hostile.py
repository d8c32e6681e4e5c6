"""A hundred files that mean harm, or are merely broken; the same for each seed."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image

COUNT = 100


def hostile_files(seed: int) -> dict[str, bytes]:
    """Names and contents: truncated, fuzzed, bombs, odd structures, odd names."""
    chance = random.Random(seed)
    files = dict(_bombs())
    files.update(_odd())
    seeds = list(_sound().items())
    while len(files) < COUNT:
        name, data = chance.choice(seeds)
        kind = chance.choice([_truncated, _fuzzed, _repeated, _swapped])
        stem, _dot, ending = name.rpartition(".")
        files[f"{kind.__name__[1:]}-{len(files):03}-{stem}.{ending}"] = kind(data, chance)
    return files


def _sound() -> dict[str, bytes]:
    return {
        "photo.jpg": picture("JPEG"),
        "scan.png": picture("PNG"),
        "moving.gif": picture("GIF"),
        "scan.tif": picture("TIFF"),
        "photo.webp": picture("WEBP"),
        "clip.mp4": mp4(),
        "sound.wav": wav(),
        "report.pdf": pdf(),
        "report.docx": docx(),
        "clip.mkv": b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska" + bytes(200),
        "song.mp3": b"ID3\4\0\0\0\0\0\x0aTIT2\0\0\0\0\0\0" + b"\xff\xfb\x90\x64" + bytes(413),
    }


def picture(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, kind)
    return out.getvalue()


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def mp4() -> bytes:
    times = struct.pack(">IIIII", 0, 3_600_000_000, 3_600_000_000, 1000, 5000)
    movie = box(b"moov", box(b"mvhd", times + bytes(80)))
    return box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + movie + box(b"mdat", bytes(100))


def wav() -> bytes:
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data"
    body += struct.pack("<I", 800) + bytes(800)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pdf(body: bytes = b"<</Type/Catalog/Pages 2 0 R>>") -> bytes:
    return (
        b"%PDF-1.4\n1 0 obj" + body + b"endobj\n2 0 obj<</Type/Pages/Count 3/Kids[]>>endobj\n"
        b"trailer<</Root 1 0 R>>\n%%EOF\n"
    )


def docx() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<w:document/>")
    return out.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bombs() -> Iterator[tuple[str, bytes]]:
    zeros = zlib.compress(bytes(64 << 20), 9)
    head = b"\x89PNG\r\n\x1a\n" + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    )
    yield "bomb.png", head + _chunk(b"IDAT", zeros) + _chunk(b"IEND", b"")
    yield "bomb-text.png", head + _chunk(b"zTXt", b"Comment\0\0" + zeros) + _chunk(b"IEND", b"")
    inner = _zip({f"{n}.bin": bytes(4 << 20) for n in range(4)})
    for depth in range(4):
        inner = _zip({f"{depth}-{n}.zip": inner for n in range(8)})
    yield "nested.zip", inner
    yield "bomb.docx", _zip({"[Content_Types].xml": bytes(32 << 20), "word/document.xml": b" "})
    yield (
        "bomb.odt",
        _zip(
            {"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": bytes(32 << 20)}
        ),
    )
    stream = b"<</Filter[/FlateDecode/FlateDecode]/Length %d>>stream\n%s\nendstream" % (
        len(zeros),
        zeros,
    )
    yield "bomb.pdf", pdf(stream)
    yield (
        "huge.gif",
        b"GIF89a\xff\xff\xff\xff\xf7\0\0" + b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x08" + b"\xff" * 5000,
    )
    yield "bomb.svgz", b"\x1f\x8b\x08\0\0\0\0\0\2\3" + zlib.compress(b"<svg>" * (1 << 20))[2:-4]


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _odd() -> Iterator[tuple[str, bytes]]:
    loop = struct.pack("<HHIHHIII", 0x4949, 42, 8, 1, 0x8769, 0x40001, 1, 8)
    yield "loop.tif", loop  # a directory that is its own sub-directory
    yield "nest.mp4", box(b"ftyp", b"isom\0\0\2\0") + _nested(2000)
    yield (
        "zero-boxes.mp4",
        box(b"ftyp", b"isom\0\0\2\0") + b"\0\0\0\1uuid" + bytes(8) + bytes(20000),
    )
    yield "deep.json", b"[" * 100_000
    yield "laughs.svg", _laughs()
    yield "deep.xml", b"<a>" * 50_000
    yield "loop.pdf", pdf(b"<</Type/Catalog/Pages 1 0 R/Kids[1 0 R 1 0 R]>>")
    yield "deep.pdf", pdf(b"[" * 20_000 + b"]" * 20_000)
    yield "exif.jpg", b"\xff\xd8\xff\xe1\xff\xffExif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 66_000
    yield "jumbf.jpg", b"\xff\xd8" + b"\xff\xeb\x00\x02" * 30_000 + b"\xff\xd9"
    yield "empty.mp4", b""
    yield "one.jpg", b"\xff"
    yield "script.jpg", b"#!/bin/sh\ntouch /tmp/archiver-was-here\n"
    yield "play.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\nfile:///etc/passwd\n"
    yield (
        "refer.mov",
        box(b"ftyp", b"qt  ") + box(b"moov", box(b"rmra", box(b"rmda", b"/etc/passwd"))),
    )
    yield "-config=evil.jpg", picture("JPEG")
    yield "@args.jpg", picture("JPEG")
    yield "new\nline\r-o\nx.jpg", picture("JPEG")
    yield "pipe; touch x |.jpg", picture("JPEG")
    yield "$(touch x)`touch y`%d.jpg", picture("JPEG")
    yield "esc\x1b]0;owned\x07.png", picture("PNG")
    yield "\u202egpj.exe", picture("JPEG")


def _nested(depth: int) -> bytes:
    data = b""
    for _level in range(depth):
        data = box(b"moov", data)
    return data


def _laughs() -> bytes:
    lines = ['<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "ha">']
    for one, two in zip("abcdefghi", "bcdefghij", strict=True):
        lines.append(f'<!ENTITY {two} "{f"&{one};" * 10}">')
    return ("".join(lines) + "]><svg>&j;</svg>").encode()


def _truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(1, len(data))]


def _fuzzed(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _time in range(1 + len(data) // 20):
        changed[chance.randrange(4, len(changed))] = chance.choice([0, 0x7F, 0x80, 0xFF])
    return bytes(changed)


def _repeated(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    stop = start + chance.randrange(1, 64)
    return data[:start] + data[start:stop] * chance.randrange(2, 2000) + data[stop:]


def _swapped(data: bytes, chance: random.Random) -> bytes:
    """The beginning of one thing, the rest of another."""
    cut = min(len(data), chance.randrange(4, 64))
    return data[:cut] + chance.randbytes(chance.randrange(100, 5000))
