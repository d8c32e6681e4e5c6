"""Bags and archives for tests: honest ones, and the pieces to forge hostile ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from archiver.verify import VerificationReport, VerifyOptions, verify_bag

Files = dict[str, bytes]
ROOT = Path(__file__).parents[2]
PAYLOAD: Files = {
    "data/a.txt": b"alpha\n",
    "data/b/b.bin": bytes(range(256)) * 5,
    "data/empty": b"",
    "data/ñ/日本.txt": "año\n".encode(),
}
ASCII: Files = {"data/a.txt": b"alpha\n", "data/b/b.bin": bytes(range(200)), "data/empty": b""}


def manifest(files: Files, algorithm: str = "sha256") -> bytes:
    """Manifest lines for ``files``."""
    rows = (f"{hashlib.new(algorithm, data).hexdigest()}  {name}\n" for name, data in files.items())
    return "".join(rows).encode()


def bag(payload: Files | None = None, tags: Files | None = None) -> Files:
    """The files of a valid bag, by their paths in it; ``tags`` replace its tag files."""
    payload = PAYLOAD if payload is None else payload
    size = sum(map(len, payload.values()))
    files = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": f"Payload-Oxum: {size}.{len(payload)}\n".encode(),
        "manifest-sha256.txt": manifest(payload),
    }
    files |= tags or {}
    files["tagmanifest-sha256.txt"] = manifest(files)
    return {**files, **payload}


def write_tree(base: Path, files: Files) -> Path:
    """Put ``files`` below the directory ``base``."""
    for name, data in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (base / "data").mkdir(parents=True, exist_ok=True)
    return base


def in_base(files: Files, base: str = "bag") -> Files:
    """The same files, their names below the base directory."""
    return {f"{base}/{name}": data for name, data in files.items()}


def verify(path: Path | str, *, max_expansion: int = 100) -> VerificationReport:
    """The report, with every core's work done in this process."""
    return verify_bag(str(path), VerifyOptions(workers=0, max_expansion=max_expansion))


def codes(report: VerificationReport) -> set[str]:
    """The findings' codes."""
    return set(report.findings.counts)


# -- tar -----------------------------------------------------------------------


def header(
    name: bytes, size: int = 0, kind: bytes = b"0", link: bytes = b"", **raw: bytes
) -> bytes:
    """One tar header; ``raw`` replaces fields (``number=b"…"``, ``checksum=b"…"``)."""
    parts = [
        name[:100].ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        raw.get("number", b"%011o\0" % max(size, 0)),
        raw.get("mtime", b"00000000000\0"),
        b" " * 8,
        kind,
        link.ljust(100, b"\0"),
        b"ustar\00000".ljust(80, b"\0"),
    ]
    block = b"".join(parts).ljust(345, b"\0") + raw.get("tail", b"")
    block = block.ljust(512, b"\0")
    checksum = raw.get("checksum", b"%06o\0 " % sum(block))
    return block[:148] + checksum + block[156:]


def padded(data: bytes) -> bytes:
    """``data`` filled up to whole blocks."""
    return data + bytes(-len(data) % 512)


def member(name: str | bytes, data: bytes = b"", kind: bytes = b"0", link: bytes = b"") -> bytes:
    """A tar member: header and data."""
    name = name.encode() if isinstance(name, str) else name
    return header(name, len(data), kind, link) + padded(data)


def pax(records: dict[str, bytes], kind: bytes = b"x") -> bytes:
    """A pax header before the next member."""
    body = b""
    for key, value in records.items():
        rest = b" " + key.encode() + b"=" + value + b"\n"
        length = len(rest)
        while len(str(length).encode() + rest) != length:
            length = len(str(length).encode() + rest)
        body += str(length).encode() + rest
    return member("pax", body, kind)


END = bytes(1024)


def raw_tar(files: Files) -> bytes:
    """The members of ``files``, a header each, without the end blocks."""
    return b"".join(member(name, data) for name, data in files.items())


def python_tar(files: Files, format_: int = tarfile.PAX_FORMAT, prefix: str = "") -> bytes:
    """A tar by Python's library."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format_) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


# -- zip -----------------------------------------------------------------------


def python_zip(files: Files, method: int = zipfile.ZIP_DEFLATED, *, stream: bool = False) -> bytes:
    """A zip by Python's library; ``stream`` makes it use data descriptors."""
    out = io.BytesIO()

    class Unseekable(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            return out.write(data)  # type: ignore[arg-type]

    target = Unseekable() if stream else out
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


@dataclass(kw_only=True)
class Entry:
    """A zip member whose two descriptions can be forged apart from each other."""

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    packed: bytes | None = None
    local: dict[str, int | bytes] = field(default_factory=dict)
    central: dict[str, int | bytes] = field(default_factory=dict)
    version: int = 20
    attributes: int = 0o100644 << 16
    after: bytes = b""
    offset: int | None = None

    def stored(self) -> bytes:
        """The bytes that lie in the archive."""
        if self.packed is not None:
            return self.packed
        if self.method != zipfile.ZIP_DEFLATED:
            return self.data
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(self.data) + packer.flush()

    def fields(self, changes: dict[str, int | bytes]) -> dict[str, int | bytes]:
        """What a description says, with ``changes``."""
        packed = self.stored()
        told: dict[str, int | bytes] = {
            "name": self.name,
            "crc": zlib.crc32(self.data),
            "packed": len(packed),
            "size": len(self.data),
            "method": self.method,
            "flags": self.flags,
            "extra": b"",
        }
        return told | changes


def forged_zip(
    entries: Iterable[Entry],
    *,
    before: bytes = b"",
    hidden: bytes = b"",
    comment: bytes = b"",
    end: dict[str, int] | None = None,
    tail: bytes = b"",
) -> bytes:
    """A zip made byte by byte. ``end`` changes the end record's fields."""
    out, directory, count = bytearray(before), bytearray(), 0
    for entry in entries:
        count += 1
        offset = len(out) if entry.offset is None else entry.offset
        if entry.offset is None:
            out += _local(entry) + entry.stored() + entry.after
        directory += _central(entry, offset)
    out += hidden
    told = {"count": count, "size": len(directory), "offset": len(out)} | (end or {})
    out += directory
    record = struct.pack(
        "<4s4H2LH",
        b"PK\5\6",
        0,
        0,
        told["count"],
        told["count"],
        told["size"],
        told["offset"],
        len(comment),
    )
    return bytes(out + record + comment + tail)


def _local(entry: Entry) -> bytes:
    f = entry.fields(entry.local)
    name, extra = f["name"], f["extra"]
    assert isinstance(name, bytes)
    assert isinstance(extra, bytes)
    return (
        struct.pack(
            "<4s5H3L2H",
            b"PK\3\4",
            entry.version,
            f["flags"],
            f["method"],
            0,
            33,
            f["crc"],
            f["packed"],
            f["size"],
            len(name),
            len(extra),
        )
        + name
        + extra
    )


def _central(entry: Entry, offset: int) -> bytes:
    f = entry.fields(entry.central)
    name, extra = f["name"], f["extra"]
    assert isinstance(name, bytes)
    assert isinstance(extra, bytes)
    return (
        struct.pack(
            "<4s6H3L5H2L",
            b"PK\1\2",
            0x0300 | entry.version,
            entry.version,
            f["flags"],
            f["method"],
            0,
            33,
            f["crc"],
            f["packed"],
            f["size"],
            len(name),
            len(extra),
            0,
            0,
            0,
            entry.attributes,
            offset,
        )
        + name
        + extra
    )


def entries(files: Files, method: int = 0) -> list[Entry]:
    """An entry for each file."""
    return [Entry(name=name.encode(), data=data, method=method) for name, data in files.items()]


# -- children with limits ------------------------------------------------------

_AS_BYTES = 1_500_000_000


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child ended."""

    code: int
    out: str
    err: str
    seconds: float


@contextmanager
def nobody() -> Iterator[Path]:
    """A directory for everybody; within the block this process is not root."""
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    place.chmod(0o777)
    was = os.geteuid()
    try:
        yield place
    finally:
        os.seteuid(was)
        subprocess.run(["chmod", "-R", "u+rwX", str(place)], check=True)
        shutil.rmtree(place)


def become_nobody() -> None:
    """Give up root until :func:`nobody` ends."""
    if os.geteuid() == 0:
        os.seteuid(65534)


def limited(*arguments: str, seconds: int = 20) -> Ended:
    """Run ``archiver`` with 1.5 GB of address space and so many seconds of CPU."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_AS_BYTES, _AS_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "archiver", *arguments],
        capture_output=True,
        cwd=ROOT,
        preexec_fn=limit,
        timeout=seconds * 4,
        env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Ended(
        code=done.returncode,
        out=done.stdout.decode("utf-8", "surrogateescape"),
        err=done.stderr.decode("utf-8", "surrogateescape"),
        seconds=after.ru_utime - before.ru_utime,
    )


def gzipped(chunks: Iterable[bytes]) -> bytes:
    """A gzip stream of ``chunks``, cheaply made."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as stream:
        for chunk in chunks:
            stream.write(chunk)
    return out.getvalue()


def zeros(size: int) -> bytes:
    """A gzip member that unpacks to ``size`` zeros: one compressed piece, repeated."""
    piece = 1 << 24
    whole, rest = divmod(size, piece)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(bytes(piece)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(bytes(rest)) + packer.flush()
    checksum = 0
    for _ in range(whole):
        checksum = zlib.crc32(bytes(piece), checksum)
    checksum = zlib.crc32(bytes(rest), checksum)
    start = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return start + head * whole + last + struct.pack("<2L", checksum, size & 0xFFFFFFFF)


KILLED = (-signal.SIGXCPU, -signal.SIGKILL)
