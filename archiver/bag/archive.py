"""Bags in archives, checked without unpacking: .tar, .tar.gz, .zip.

Job: the :class:`~archiver.bag.tree.BagTree` of an archive. Limits: nothing is
ever written, links in archives are never followed (a hard link to an earlier
member is that member), and what an archive says of itself is not believed:
names, sizes, counts and ratios are checked against limits first.

An archive holds one bag in one top-level directory, and is named after it
(the serialisation rules of the BagIt drafts up to 0.97).
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol, Self

from archiver.bag.model import ARCHIVE_SUFFIXES
from archiver.bag.names import has_unsafe_shape, path_problem
from archiver.bag.tree import BagTree, Listing, Reading, read_head
from archiver.digest import Algorithm
from archiver.digest.engine import FileError
from archiver.digest.worker import LARGE_BYTES, Worker
from archiver.findings import Findings
from archiver.i18n import N_, _

__all__ = ["ArchiveTree", "open_archive"]

_FREE_EXPANSION_BYTES = 256 << 20
"""Expansion below this is never refused."""
MAX_MEMBERS = 2_000_000
_MAX_DIRECTORY_BYTES = 128 << 20
_MAX_HEADER_BYTES = 1 << 20
_MAX_TAR_HEADER_BYTES = 256 << 10
_MAX_PATH = 4096
_MANY_DIGITS = re.compile(rb"[0-9]{256}")
"""tarfile before 3.11.10 takes quadratic time over them (CVE-2024-6232)."""
_MAX_CACHED_BYTES = 64 << 20
_MAX_CACHED_FILE_BYTES = 4 << 20

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
    struct.error,
    LookupError,  # tarfile and zipfile index into what isn't there
    UnicodeError,
)
"""What the standard library raises at archives that are not sound."""

Advance = Callable[[int], None]


class _LimitError(Exception):
    """The archive asks for more than a limit of ours allows."""


class _ExpansionError(_LimitError):
    """It unpacks to too much."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A regular file: ``key`` is the format's own way to find it, in archive order."""

    position: int
    size: int
    key: object


class _Format(Protocol):
    """One archive format: gives an index, opens members."""

    def index(self, index: _Index) -> None:
        """Fill ``index`` with the members."""

    def open(self, member: _Member) -> BinaryIO:
        """A member's bytes."""

    def close(self) -> None:
        """Let the archive go."""


def open_archive(path: str, findings: Findings, max_expansion: int) -> BagTree:
    """The bag in the archive at ``path``. Raises OSError where it can't be opened."""
    make = _Zip if path.lower().endswith(".zip") else _Tar
    return ArchiveTree(path, make(path, max_expansion), findings)


class _Index:
    """The members of an archive, with everything unsafe sorted out."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.members: dict[str, _Member] = {}
        self.directories: set[str] = set()
        self.cached: dict[str, bytes] = {}
        self._others: set[str] = set()
        self._cached_bytes = 0
        self._count = 0

    def add(self, name: str, member: _Member | None, kind: str = "") -> str | None:
        """Take a member in under ``name``; ``member`` is None for what is no file:
        a directory where ``kind`` is empty. The path it got, or None.
        """
        self._count += 1
        if self._count > MAX_MEMBERS:
            raise _LimitError(_("more than {limit} members").format(limit=MAX_MEMBERS))
        path = name.removeprefix("./").rstrip("/") if member is None else name.removeprefix("./")
        if len(path) > _MAX_PATH:
            raise _LimitError(_("a path of {size} characters").format(size=len(path)))
        if path in ("", ".") and member is None and not kind:
            return None
        if has_unsafe_shape(path) or path_problem(path):
            self.findings.add("E-ARC-003", name)
            return None
        if kind:
            self.findings.add("E-ARC-005", path, kind=kind)
            return None
        if member is None:
            self.directories.add(path)
            return None
        if path in self.members:
            self.findings.add("E-ARC-004", path)
            return None
        self.members[path] = member
        return path

    def cache(self, path: str, size: int, read: Callable[[], bytes]) -> None:
        """Keep a small tag file, so that a stream need not be read again for it."""
        tag = "/data/" not in f"/{path}"
        room = self._cached_bytes + size <= _MAX_CACHED_BYTES
        if tag and room and size <= _MAX_CACHED_FILE_BYTES:
            self._cached_bytes += size
            self.cached[path] = read()

    def clashes(self) -> None:
        """A name can't be a file and a directory."""
        for path in self.members:
            parent = path.rpartition("/")[0]
            while parent and parent not in self._others:
                self._others.add(parent)
                parent = parent.rpartition("/")[0]
        self.directories |= self._others
        for path in sorted(self.directories & self.members.keys()):
            self.findings.add("E-ARC-004", path)


class ArchiveTree:
    """A bag in an archive, read in the archive's own order."""

    def __init__(self, path: str, archive: _Format, findings: Findings) -> None:
        self.name = os.path.basename(path)
        self._archive = archive
        self._findings = findings
        self.cut_short = False
        index = _Index(findings)
        try:
            archive.index(index)
        except (_LimitError, NotImplementedError) as error:
            self.cut_short = True
            _report_limit(findings, "", error)
        except _DAMAGE as error:
            findings.add("E-ARC-001", reason=_reason(error))
        index.clashes()
        self._prefix = self._find_base(index)
        self._files: dict[str, _Member] = {}
        self._cached = index.cached
        self._tree: dict[str, list[str]] = {}
        self._arrange(index)

    def _find_base(self, index: _Index) -> str:
        """The one top-level directory, with its slash; "" where the archive has none."""
        tops = {path.partition("/")[0] for path in index.members}
        tops |= {path.partition("/")[0] for path in index.directories}
        if "bagit.txt" in index.members or len(tops) != 1 or not index.directories:
            self._findings.add("E-ARC-002")
            return ""
        base = tops.pop()
        stem = self.name
        for suffix in sorted(ARCHIVE_SUFFIXES, key=len, reverse=True):
            if stem.lower().endswith(suffix):
                stem = stem[: -len(suffix)]
                break
        if stem != base:
            self._findings.add("W-ARC-006", archive=stem, base=base)
        return base + "/"

    def _arrange(self, index: _Index) -> None:
        """Directory by directory, relative to the bag."""
        start = len(self._prefix)
        self._directories = {
            path[start:] for path in index.directories if path.startswith(self._prefix)
        }
        for path, member in index.members.items():
            if path.startswith(self._prefix):
                relative = path[start:]
                self._files[relative] = member
                directory, _slash, name = relative.rpartition("/")
                self._tree.setdefault(directory, []).append(name)
        self._cached = {
            path[start:]: data
            for path, data in index.cached.items()
            if path.startswith(self._prefix)
        }

    def close(self) -> None:
        """See :class:`~archiver.bag.tree.BagTree`."""
        self._archive.close()

    def base_files(self) -> dict[str, int]:
        """See :class:`~archiver.bag.tree.BagTree`."""
        return {name: self._files[name].size for name in self._tree.get("", [])}

    def has_directory(self, path: str) -> bool:
        """See :class:`~archiver.bag.tree.BagTree`."""
        return path in self._directories

    def open(self, path: str) -> BinaryIO:
        """See :class:`~archiver.bag.tree.BagTree`."""
        if path in self._cached:
            return io.BytesIO(self._cached[path])
        try:
            return _Sound(self._archive.open(self._files[path]))  # type: ignore[return-value]
        except (_LimitError, NotImplementedError, *_DAMAGE) as error:
            raise OSError(_reason(error)) from error

    def walk(
        self,
        findings: Findings,  # noqa: ARG002  # everything was found when the archive was indexed
        *,
        payload: bool,
    ) -> Iterator[Listing]:
        """See :class:`~archiver.bag.tree.BagTree`."""
        for directory in sorted(self._tree):
            if payload == (directory == "data" or directory.startswith("data/")):
                names = sorted(self._tree[directory])
                prefix = f"{directory}/" if directory else ""
                yield Listing(directory, names, [self._files[prefix + n].size for n in names])

    def read(
        self,
        listings: Iterable[Listing],
        algorithms: tuple[Algorithm, ...],
        advance: Advance,
    ) -> Iterator[Reading]:
        """See :class:`~archiver.bag.tree.BagTree`."""
        wanted: list[tuple[int, str, Listing]] = []
        for listing in listings:
            for path, name, size in zip(listing.paths(), listing.names, listing.sizes, strict=True):
                position = self._files[path].position
                wanted.append((position, path, Listing(listing.path, [name], [size])))
        wanted.sort(key=lambda item: item[0])  # forward only: a gzip stream can't go back
        worker = Worker(advance)
        done: tuple[int, Reading] | None = None  # hard links are read once
        for position, path, listing in wanted:
            if done is None or done[0] != position or not listing.sizes[0]:
                done = position, self._read_one(worker, path, listing, algorithms)
            yield replace(done[1], listing=listing)

    def heads(self, size: int) -> Iterator[tuple[str, bytes | OSError]]:
        """See :class:`~archiver.bag.tree.BagTree`. A gzip stream goes forward only, and what
        has many names is read once: else a small archive could take for ever.
        """
        paths = [path for one in self.walk(Findings(), payload=True) for path in one.paths()]
        paths.sort(key=lambda path: self._files[path].position)
        last, head = -1, b""
        problem: OSError | None = None
        for path in paths:
            member = self._files[path]
            if member.position != last or not member.size:
                last, head, problem = member.position, b"", None
                try:
                    with self.open(path) as stream:
                        head = read_head(stream, size)
                except OSError as error:
                    problem = error
            yield path, problem or head

    def _read_one(
        self, worker: Worker, path: str, listing: Listing, algorithms: tuple[Algorithm, ...]
    ) -> Reading:
        size, digests, errors = 0, b"", {}
        width = sum(algorithm.size_bytes for algorithm in algorithms)
        try:
            with self._archive.open(self._files[path]) as stream:
                size, digests = worker.hash_stream(
                    [algorithm.new for algorithm in algorithms],
                    listing.sizes[0] >= LARGE_BYTES,
                    lambda buffer: stream.readinto(buffer) or 0,  # type: ignore[attr-defined]
                )
            if size != listing.sizes[0]:
                errors[0] = FileError("damaged", 0, N_("it is shorter than the archive says"))
        except _ExpansionError as error:
            _report_limit(self._findings, path, error)
            errors[0] = FileError("limit", 0, N_("not read further"))
        except _LimitError as error:
            errors[0] = FileError("limit", 0, str(error))
        except NotImplementedError as error:
            errors[0] = FileError("limit", 0, str(error))
        except _DAMAGE as error:
            errors[0] = FileError("damaged", 0, _reason(error))
        return Reading(
            listing=listing, sizes=[size], digests=digests or bytes(width), errors=errors
        )


class _Sound:
    """A member's stream whose failures are all OSErrors, as a file's are."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except _LimitError as error:
            raise OSError(str(error)) from error
        except _DAMAGE as error:
            raise OSError(_reason(error)) from error


def _report_limit(findings: Findings, path: str, error: Exception) -> None:
    if isinstance(error, _ExpansionError):
        findings.add("U-ARC-007", path, limit=str(error))
    else:
        findings.add("U-ARC-008", path, reason=str(error))


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).strip() or type(error).__name__


# -- tar -----------------------------------------------------------------------


class _Tar:
    def __init__(self, path: str, max_expansion: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  # closed by close()
        stream: BinaryIO = self._file
        if path.lower().endswith((".tar.gz", ".tgz")):
            stream = gzip.GzipFile(fileobj=self._file, mode="rb")  # type: ignore[assignment]
        size = os.fstat(self._file.fileno()).st_size
        self._stream = _Guard(stream, size, max_expansion)

    def close(self) -> None:
        self._file.close()

    def index(self, index: _Index) -> None:
        last = -1
        with tarfile.TarFile(fileobj=self._stream, errors="surrogateescape") as archive:  # type: ignore[arg-type]
            while (info := archive.next()) is not None:
                if len(archive.pax_headers) > 100 or _length(archive.pax_headers) > 65536:
                    raise _LimitError(_("too many global headers"))
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                if info.offset <= last or info.size < 0:
                    raise tarfile.ReadError("members overlap")
                last = info.offset
                self._add(info, index)
            self._check_end(index, archive.offset)

    def _add(self, info: tarfile.TarInfo, index: _Index) -> None:
        if info.issparse():
            index.add(info.name, _Member(info.offset, info.size, "sparse"))
        elif info.size and not info.isreg():
            index.findings.add("E-ARC-009", info.name, reason=N_("data without a file"))
        elif info.pax_headers.get("path", "").endswith("/") and not info.isdir():
            index.findings.add("E-ARC-003", info.name)
        elif info.isreg():
            member = _Member(info.offset_data, info.size, None)
            path = index.add(info.name, member)
            if path is not None:
                index.cache(path, info.size, lambda: self.open(member).read())
        elif info.isdir():
            index.add(info.name, None)
        elif info.islnk() and info.linkname.removeprefix("./") in index.members:
            index.add(info.name, index.members[info.linkname.removeprefix("./")])
        else:
            index.add(info.name, None, _tar_kind(info))

    def _check_end(self, index: _Index, offset: int) -> None:
        """What stands behind the end: another program may read it as more members."""
        self._stream.seek(offset)
        if self._stream.take(512).strip(b"\0"):
            raise tarfile.ReadError("a damaged header")  # others skip it and read on
        more = False
        while portion := self._stream.take(_MAX_HEADER_BYTES):  # to the end: gzip's checksum
            more = more or bool(portion.strip(b"\0"))
        if more:
            index.findings.add("U-ARC-011")

    def open(self, member: _Member) -> BinaryIO:
        if member.key:
            raise _LimitError(_("it is stored as a sparse file"))
        window = _Window(self._stream, member.position, member.size)
        return io.BufferedReader(window, 65536)


def _length(headers: Mapping[str, str]) -> int:
    return sum(map(len, headers.values()))


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.issym():
        return N_("symbolic link")
    if info.islnk():
        return N_("hard link")
    if info.isfifo():
        return N_("named pipe")
    if info.isdev():
        return N_("device")
    return N_("special file")


class _Guard:
    """A stream that refuses to be read too far, or too much at once."""

    def __init__(self, stream: BinaryIO, size: int, max_expansion: int) -> None:
        self._stream = stream
        self._limit = max(_FREE_EXPANSION_BYTES, size * max_expansion)
        self._max_expansion = max_expansion

    def read(self, size: int = -1) -> bytes:
        """What tarfile reads: headers."""
        if not 0 <= size <= _MAX_TAR_HEADER_BYTES:
            raise _LimitError(_("a header of {size} bytes").format(size=size))
        data = self.take(size)
        if size > 512 and _MANY_DIGITS.search(data):
            raise _LimitError(_("a header with very long numbers"))
        return data

    def take(self, size: int) -> bytes:
        """What we read: members."""
        self._check(self._stream.tell())
        return self._stream.read(size)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if position < 0 or whence != os.SEEK_SET:
            raise tarfile.ReadError("a negative position")
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise _ExpansionError(str(self._max_expansion))


class _Window(io.RawIOBase):
    """A part of a stream. Windows of one stream are used one at a time."""

    def __init__(self, stream: _Guard, start: int, size: int) -> None:
        self._stream = stream
        self._position = start
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._left, _MAX_HEADER_BYTES)
        if wanted == 0:
            return 0
        if self._stream.tell() != self._position:
            self._stream.seek(self._position)
        data = self._stream.take(wanted)
        if not data:
            raise EOFError("the archive ends within a member")
        buffer[: len(data)] = data
        self._position += len(data)
        self._left -= len(data)
        return len(data)


# -- zip -----------------------------------------------------------------------

_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC = b"PK\x03\x04"
_DESCRIPTOR_BYTES = 24
_CHUNK_BYTES = 256 << 10
_UNICODE_PATH = 0x7075
_ENCRYPTED, _HAS_DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800
_UNREADABLE = 0x1 | 0x20 | 0x40 | 0x2000
"""Encrypted, patched, strongly encrypted, masked."""


class _Zip:
    def __init__(self, path: str, max_expansion: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  # closed by close()
        self._size = os.fstat(self._file.fileno()).st_size
        self._max_expansion = max_expansion
        self._count = 0
        self._starts: dict[int, int] = {}

    def close(self) -> None:
        self._file.close()

    def index(self, index: _Index) -> None:
        self._check_directory_size()
        archive = zipfile.ZipFile(self._file)
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        if sum(info.file_size for info in infos) > max(
            _FREE_EXPANSION_BYTES, self._size * self._max_expansion
        ):
            raise _ExpansionError(str(self._max_expansion))
        if self._count not in (len(infos) & 0xFFFF, 0xFFFF):
            raise zipfile.BadZipFile("the end record counts other members")
        self._check_layout(infos, archive.start_dir, index.findings)
        for info in infos:
            self._add(info, index)

    def _check_directory_size(self) -> None:
        """The central directory is read as a whole: look at its size before."""
        start = max(0, self._size - 65557)
        self._file.seek(start)
        tail = self._file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + 22:
            raise zipfile.BadZipFile("no end record")
        count, size, offset, comment = struct.unpack_from("<H2LH", tail, at + 10)
        if len(tail) != at + 22 + comment:
            raise zipfile.BadZipFile("bytes follow the end record")
        self._count = count
        if 0xFFFFFFFF in (size, offset):
            locator = tail.rfind(b"PK\x06\x06", 0, at)
            size = struct.unpack_from("<Q", tail, locator + 40)[0] if locator >= 0 else 0
        if size > _MAX_DIRECTORY_BYTES:
            raise _LimitError(_("a central directory of {size} bytes").format(size=size))

    def _check_layout(self, infos: list[zipfile.ZipInfo], end: int, findings: Findings) -> None:
        """Members must follow each other: no overlap (a bomb), nothing hidden between."""
        position = 0
        for info in infos:
            if info.header_offset < position:
                raise zipfile.BadZipFile("members overlap")
            if info.header_offset - position > _DESCRIPTOR_BYTES:
                findings.add("E-ARC-009", info.filename, reason=N_("bytes are hidden before it"))
            local = self._read_local(info)
            if reason := _difference(info, local):
                findings.add("E-ARC-009", info.filename, reason=reason)
            self._starts[info.header_offset] = local.start
            position = local.start + info.compress_size
        if position > end:
            raise zipfile.BadZipFile("members overlap")
        if end - position > _DESCRIPTOR_BYTES:
            reason = N_("bytes are hidden before the central directory")
            findings.add("E-ARC-009", reason=reason)

    def _read_local(self, info: zipfile.ZipInfo) -> _Local:
        """What stands before a member itself."""
        self._file.seek(info.header_offset)
        head = self._file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(_LOCAL_MAGIC):
            raise zipfile.BadZipFile("no header before a member")
        _magic, _version, flags, method, _time, _date, crc, packed, size, names, extras = (
            _LOCAL.unpack(head)
        )
        raw, extra = self._file.read(names), self._file.read(extras)
        return _Local(
            flags=flags,
            method=method,
            crc=crc,
            packed=packed,
            size=size,
            name=_zip_name(raw, flags, extra),
            start=info.header_offset + _LOCAL.size + names + extras,
        )

    def _add(self, info: zipfile.ZipInfo, index: _Index) -> None:
        mode = info.external_attr >> 16
        name = _central_name(info)
        if not name or "\0" in name or "\\" in name:
            index.findings.add("E-ARC-003", name)
        elif name.endswith("/"):
            index.add(name, None)
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            kind = N_("symbolic link") if stat.S_ISLNK(mode) else N_("special file")
            index.add(name, None, kind)
        else:
            index.add(name, _Member(info.header_offset, info.file_size, info))

    def open(self, member: _Member) -> BinaryIO:
        assert isinstance(member.key, zipfile.ZipInfo)
        if member.key.flag_bits & _UNREADABLE:
            raise _LimitError(_("it is encrypted or patched"))
        if member.key.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _LimitError(_("it is packed in another way than deflated"))  # unbounded memory
        start = self._starts[member.key.header_offset]
        return io.BufferedReader(_ZipMember(self._file, start, member.key), 65536)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Local:
    """A member's local header (APPNOTE 4.3.7); ``start`` is where its data begin."""

    flags: int
    method: int
    crc: int
    packed: int
    size: int
    name: str
    start: int


def _difference(info: zipfile.ZipInfo, local: _Local) -> str | None:
    """What the two descriptions of a member say differently."""
    if local.name != _central_name(info):
        return N_("the names differ")
    if local.method != info.compress_type or (local.flags ^ info.flag_bits) & _ENCRYPTED:
        return N_("the methods differ")
    if not local.flags & _HAS_DESCRIPTOR and (
        local.crc != info.CRC
        or local.size not in (info.file_size, 0xFFFFFFFF)
        or local.packed not in (info.compress_size, 0xFFFFFFFF)
    ):
        return N_("the sizes or checksums differ")
    return None


def _central_name(info: zipfile.ZipInfo) -> str:
    encoding = "utf-8" if info.flag_bits & _UTF8 else "cp437"
    return _zip_name(info.orig_filename.encode(encoding), info.flag_bits, info.extra)


def _zip_name(raw: bytes, flags: int, extra: bytes) -> str:
    """A member's name: the Unicode path field's where it is there and meant for this name
    (APPNOTE 4.6.9: version 1 and the CRC of the other), as Info-ZIP writes and follows it.
    """
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        data, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(data) > 5:
            version, crc = struct.unpack_from("<BL", data)
            if version == 1 and crc == zlib.crc32(raw):
                return data[5:].decode("utf-8")
    if not flags & _UTF8:  # on Unix, names are often written as they are, without the flag
        with suppress(UnicodeDecodeError):
            return raw.decode("utf-8")
    return raw.decode("utf-8" if flags & _UTF8 else "cp437", "replace")


class _ZipMember(io.RawIOBase):
    """A member's bytes, unpacked by ourselves: the packed data must end exactly where
    the directory says, unpack to exactly the stated size, and have its checksum. A
    program that reads on where the library would cut off sees nothing else.
    """

    def __init__(self, file: BinaryIO, start: int, info: zipfile.ZipInfo) -> None:
        self._file = file
        self._position = start
        self._left = info.compress_size
        self._expected = info.file_size
        self._crc_expected = info.CRC
        self._crc = 0
        self._size = 0
        stored = info.compress_type == zipfile.ZIP_STORED
        self._inflater = None if stored else zlib.decompressobj(-15)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._unpack(min(len(buffer), _CHUNK_BYTES))
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        if self._size > self._expected:
            raise zipfile.BadZipFile("it unpacks to more than it says")
        if not data:
            self._check_end()
        buffer[: len(data)] = data
        return len(data)

    def _unpack(self, wanted: int) -> bytes:
        if self._inflater is None:
            return self._packed(wanted)
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._packed(_CHUNK_BYTES)
            data = self._inflater.decompress(packed, wanted)
            if data:
                return data
            if not packed:
                raise zipfile.BadZipFile("its packed data are cut off")
        return b""

    def _packed(self, wanted: int) -> bytes:
        self._file.seek(self._position)
        data = self._file.read(min(wanted, self._left))
        if not data and self._left:
            raise EOFError("the archive ends within a member")
        self._position += len(data)
        self._left -= len(data)
        return data

    def _check_end(self) -> None:
        unused = self._inflater is not None and self._inflater.unused_data
        if self._left or unused:
            raise zipfile.BadZipFile("bytes are hidden behind its packed data")
        if self._size != self._expected:
            raise zipfile.BadZipFile("it unpacks to less than it says")
        if self._crc != self._crc_expected:
            raise zipfile.BadZipFile("its checksum differs")
