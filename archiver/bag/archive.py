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
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol, Self

from archiver.bag.names import has_unsafe_shape, path_problem
from archiver.bag.tree import BagTree, DirectoryTree, Listing, Reading
from archiver.digest import Algorithm
from archiver.digest.engine import FileError
from archiver.digest.worker import LARGE_BYTES, Worker
from archiver.errors import UnreadableError, UsageError
from archiver.findings import Findings
from archiver.i18n import N_, _

__all__ = ["ARCHIVE_SUFFIXES", "MAX_EXPANSION", "ArchiveTree", "open_tree"]

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
MAX_EXPANSION = 100
"""Unpacked bytes for each byte of the archive, before we stop (disk images full of
zeros reach 1,000, and need ``--max-expansion``)."""
_FREE_EXPANSION_BYTES = 1 << 30
"""Expansion below this is never refused."""
MAX_MEMBERS = 2_000_000
_MAX_DIRECTORY_BYTES = 128 << 20
_MAX_HEADER_BYTES = 1 << 20
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


def open_tree(
    path: str, findings: Findings, *, max_expansion: int = MAX_EXPANSION, workers: int | None = None
) -> BagTree:
    """The bag at ``path``: a directory, or an archive that holds one.

    Raises UsageError where there is nothing, or nothing that could hold a bag, and
    UnreadableError where it can't be opened.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UsageError(
            _("{path}: {reason}").format(path=path, reason=error.strerror or str(error)),
            hint=_("Name a bag: a directory, or a .tar, .tar.gz or .zip that holds one."),
        ) from error
    try:
        return _open_tree(path, mode, findings, max_expansion, workers)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableError(
            _("{path} can't be read: {reason}").format(path=path, reason=reason),
            hint=_("Mend its permissions, or run the check as somebody who may read it."),
        ) from error


def _open_tree(
    path: str, mode: int, findings: Findings, max_expansion: int, workers: int | None
) -> BagTree:
    if stat.S_ISDIR(mode):
        return DirectoryTree(path, workers=workers)
    lower = path.lower()
    if not stat.S_ISREG(mode) or not lower.endswith(ARCHIVE_SUFFIXES):
        raise UsageError(
            _("{path} is neither a directory nor a .tar, .tar.gz or .zip").format(path=path),
            hint=_("Name a bag: a directory, or a .tar, .tar.gz or .zip that holds one."),
        )
    make = _Zip if lower.endswith(".zip") else _Tar
    return ArchiveTree(path, make(path, max_expansion), findings)


class _Index:
    """The members of an archive, with everything unsafe sorted out."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.members: dict[str, _Member] = {}
        self.directories: set[str] = set()
        self.cached: dict[str, bytes] = {}
        self._others: set[str] = set()
        self._count = 0

    def add(self, name: str, member: _Member | None, kind: str = "") -> str | None:
        """Take a member in under ``name``; ``member`` is None for what is no file:
        a directory where ``kind`` is empty. The path it got, or None.
        """
        self._count += 1
        if self._count > MAX_MEMBERS:
            raise _LimitError(_("more than {limit} members").format(limit=MAX_MEMBERS))
        path = name.removeprefix("./").rstrip("/") if member is None else name.removeprefix("./")
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
        room = sum(map(len, self.cached.values())) + size <= _MAX_CACHED_BYTES
        if tag and room and size <= _MAX_CACHED_FILE_BYTES:
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
        except _LimitError as error:
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
        return _Sound(self._archive.open(self._files[path]))  # type: ignore[return-value]

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
        for _position, path, listing in wanted:
            yield self._read_one(worker, path, listing, algorithms)

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


def _report_limit(findings: Findings, path: str, error: _LimitError) -> None:
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
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                if info.offset <= last or info.size < 0:
                    raise tarfile.ReadError("members overlap")
                last = info.offset
                self._add(info, index)
            self._check_end(index, archive.offset)

    def _add(self, info: tarfile.TarInfo, index: _Index) -> None:
        if info.issparse():
            raise _LimitError(_("{name} is stored as a sparse file").format(name=info.name))
        if info.isreg():
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
        while portion := self._stream.read(_MAX_HEADER_BYTES):
            if portion.strip(b"\0"):
                index.findings.add("W-ARC-010")
                return

    def open(self, member: _Member) -> BinaryIO:
        window = _Window(self._stream, member.position, member.size)
        return io.BufferedReader(window, 65536)


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
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise _LimitError(_("a header of {size} bytes").format(size=size))
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
        data = self._stream.read(wanted)
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
_ENCRYPTED, _HAS_DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800


class _Zip:
    def __init__(self, path: str, max_expansion: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  # closed by close()
        self._size = os.fstat(self._file.fileno()).st_size
        self._max_expansion = max_expansion
        self._archive: zipfile.ZipFile | None = None

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()
        self._file.close()

    def index(self, index: _Index) -> None:
        self._check_directory_size()
        self._archive = archive = zipfile.ZipFile(self._file)
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        if sum(info.file_size for info in infos) > max(
            _FREE_EXPANSION_BYTES, self._size * self._max_expansion
        ):
            raise _ExpansionError(str(self._max_expansion))
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
        (size, offset) = struct.unpack_from("<2L", tail, at + 12)
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
            position = self._check_local(info, findings)
        if position > end:
            raise zipfile.BadZipFile("members overlap")
        if end - position > _DESCRIPTOR_BYTES:
            findings.add("E-ARC-009", reason=N_("bytes are hidden before the central directory"))

    def _check_local(self, info: zipfile.ZipInfo, findings: Findings) -> int:
        """Compare the two descriptions of a member; the offset where it ends."""
        self._file.seek(info.header_offset)
        head = self._file.read(_LOCAL.size)
        if len(head) < _LOCAL.size:
            raise zipfile.BadZipFile("truncated member")
        magic, _version, flags, method, _time, _date, crc, packed, size, name_length, extra = (
            _LOCAL.unpack(head)
        )
        if magic != _LOCAL_MAGIC:
            raise zipfile.BadZipFile("bad magic number of a member")
        name = self._file.read(name_length).decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        reason = None
        if name != info.orig_filename:
            reason = N_("the names differ")
        elif method != info.compress_type or (flags ^ info.flag_bits) & _ENCRYPTED:
            reason = N_("the methods differ")
        elif not flags & _HAS_DESCRIPTOR and (
            crc != info.CRC
            or size not in (info.file_size, 0xFFFFFFFF)
            or packed not in (info.compress_size, 0xFFFFFFFF)
        ):
            reason = N_("the sizes or checksums differ")
        if reason:
            findings.add("E-ARC-009", info.filename, reason=reason)
        end: int = info.header_offset + _LOCAL.size + name_length + extra + info.compress_size
        return end

    def _add(self, info: zipfile.ZipInfo, index: _Index) -> None:
        mode = info.external_attr >> 16
        if "\0" in info.orig_filename:
            index.findings.add("E-ARC-003", info.orig_filename)
        elif info.is_dir():
            index.add(info.filename, None)
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            kind = N_("symbolic link") if stat.S_ISLNK(mode) else N_("special file")
            index.add(info.filename, None, kind)
        elif info.flag_bits & _ENCRYPTED:
            index.findings.add("U-ARC-008", info.filename, reason=N_("it is encrypted"))
        else:
            index.add(info.filename, _Member(info.header_offset, info.file_size, info))

    def open(self, member: _Member) -> BinaryIO:
        assert self._archive is not None
        assert isinstance(member.key, zipfile.ZipInfo)
        return self._archive.open(member.key)  # type: ignore[return-value]
