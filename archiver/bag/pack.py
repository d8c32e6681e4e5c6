"""A finished bag in the form in which it is handed out: a directory, a tar, a zip.

Job: write one copy, file by file, in an order that doesn't depend on the disk. Limits: judges
nothing; what was written is read back by who asked for it. Only regular files and
directories are taken; links are not followed.

In an archive the bag is one top-level directory. A tar is POSIX pax (IEEE Std 1003.1-2017,
"pax Interchange Format"), without names or numbers of users; a zip is stored, not packed,
with names in UTF-8 (APPNOTE 4.4.4) and times in UTC ("extended timestamp"). File data pass
through one buffer; a zip's directory, one record for each file, is held until it is written.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Self

from archiver.bag.progress import Progress
from archiver.errors import SourceError
from archiver.i18n import _

__all__ = ["list_entries", "pack_directory", "pack_tar", "pack_zip"]

_BUFFER_BYTES = 1 << 20
_SECOND_NS = 1_000_000_000
_FIRST_DOS_YEAR, _LAST_DOS_YEAR = 1980, 2107
_UNIX = 3
_DOS_DIRECTORY = 0x10
_TIMES = struct.Struct("<2sHBl")
"""The extended timestamp field with the time of modification only."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file or directory of a bag: ``name`` is its path in it, "" for the bag
    itself; ``source`` is where it lies.
    """

    name: str
    source: str
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def mode(self) -> int:
        """Its permissions."""
        return stat.S_IMODE(self.status.st_mode) & 0o777

    def below(self, base: str) -> str:
        """Its path in an archive."""
        return f"{base}/{self.name}" if self.name else base


def list_entries(bag: str) -> Iterator[Entry]:
    """Everything in ``bag``, each directory before what is in it, names in order. Raises
    SourceError where it can't be read, or something else than files and directories is met.
    """
    waiting = [""]
    while waiting:
        name = waiting.pop()
        path = os.path.join(bag, name) if name else bag
        try:
            entry = Entry(name, path, os.lstat(path))
            inner = sorted(os.listdir(path), reverse=True) if entry.is_directory else []
        except OSError as error:
            raise _unreadable(path, error) from error
        if not entry.is_directory and not stat.S_ISREG(entry.status.st_mode):
            raise SourceError(_("{path} is not a regular file").format(path=path))
        waiting += [f"{name}/{one}" if name else one for one in inner]
        yield entry


class _Source:
    """A file of the bag while it is copied: exactly the bytes that it had when it was listed."""

    def __init__(self, entry: Entry, progress: Progress) -> None:
        self._entry, self._progress = entry, progress
        self._left = entry.status.st_size
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(entry.source, flags)
        except OSError as error:
            raise _unreadable(entry.source, error) from error

    def __enter__(self) -> Self:
        try:
            if not os.path.samestat(os.fstat(self._descriptor), self._entry.status):
                raise self._changed()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is None and (self._left or self._read(1)):
                raise self._changed()
        finally:
            os.close(self._descriptor)
        self._progress.done(0, 1)

    def read(self, size: int = _BUFFER_BYTES) -> bytes:
        """The next ``size`` bytes, or all that are left. Raises SourceError."""
        size = min(size, self._left)
        data = self._read(size)
        while len(data) < size:  # network file systems give less than they are asked for
            more = self._read(size - len(data))
            if not more:
                raise self._changed()
            data += more
        self._left -= size
        self._progress.done(size, 0)
        return data

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._descriptor, size)
        except OSError as error:
            raise _unreadable(self._entry.source, error) from error

    def _changed(self) -> SourceError:
        text = _("{path} changed while it was read")
        return SourceError(text.format(path=self._entry.source), hint=_("Run it again."))


def _unreadable(path: str, error: OSError) -> SourceError:
    return SourceError(
        _("{path} can't be read: {reason}").format(path=path, reason=error.strerror or str(error)),
        hint=_("See 'archiver audit'."),
    )


def pack_directory(bag: str, target: str, progress: Progress) -> None:
    """Copy ``bag`` into the directory ``target``, which is there and empty. Raises OSError
    where it can't be written, SourceError.

    The directory itself stays writable: it is to be renamed.
    """
    directories = []
    for entry in list_entries(bag):
        path = os.path.join(target, entry.name) if entry.name else target
        if not entry.is_directory:
            _copy_file(entry, path, progress)
            continue
        if entry.name:
            os.mkdir(path, 0o700)
        directories.append((path, entry))
    for path, entry in reversed(directories):  # a time is kept once nothing more is added
        _keep_status(path, entry, writable=not entry.name)


def _copy_file(entry: Entry, path: str, progress: Progress) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb", buffering=0) as file, _Source(entry, progress) as source:
        while data := source.read():
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
    _keep_status(path, entry)


def _keep_status(path: str, entry: Entry, *, writable: bool = False) -> None:
    with contextlib.suppress(PermissionError):  # file systems without modes
        os.chmod(path, entry.mode | (stat.S_IWUSR if writable else 0))
        os.utime(path, ns=(entry.status.st_mtime_ns, entry.status.st_mtime_ns))


def pack_tar(bag: str, target: str, base: str, progress: Progress) -> None:
    """Write ``bag`` to the new file ``target`` as the directory ``base`` of a tar, synced.
    Raises OSError, SourceError.
    """
    with (
        _new_file(target) as file,
        tarfile.TarFile(
            fileobj=file,
            mode="w",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
            copybufsize=_BUFFER_BYTES,
        ) as archive,
    ):
        for entry in list_entries(bag):
            info = _tar_info(entry, base)
            if entry.is_directory:
                archive.addfile(info)
            else:
                with _Source(entry, progress) as source:
                    archive.addfile(info, source)
            archive.members = []  # type: ignore[attr-defined]  # it would keep them all


def _tar_info(entry: Entry, base: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.below(base))
    info.mode = entry.mode
    seconds, rest = divmod(entry.status.st_mtime_ns, _SECOND_NS)
    info.mtime = seconds
    if rest and seconds >= 0:  # a float would round it
        info.pax_headers = {"mtime": f"{seconds}.{rest:09}".rstrip("0")}
    if entry.is_directory:
        info.type = tarfile.DIRTYPE
    else:
        info.size = entry.status.st_size
    return info


def pack_zip(bag: str, target: str, base: str, progress: Progress) -> None:
    """The same as a zip. Raises OSError, SourceError."""
    with (
        _new_file(target) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for entry in list_entries(bag):
            info = _zip_info(entry, base)
            if entry.is_directory:
                archive.writestr(info, b"")
                continue
            with _Source(entry, progress) as source, archive.open(info, "w") as member:
                while data := source.read():
                    member.write(data)


def _zip_info(entry: Entry, base: str) -> zipfile.ZipInfo:
    name = entry.below(base)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SourceError(
            _("{path}: a name that is not UTF-8 can't stand in a zip").format(path=entry.source),
            hint=_("Use a tar or a directory."),
        ) from error
    seconds = entry.status.st_mtime_ns // _SECOND_NS
    info = zipfile.ZipInfo(f"{name}/" if entry.is_directory else name, _dos_time(seconds))
    info.create_system = _UNIX
    info.external_attr = (stat.S_IFMT(entry.status.st_mode) | entry.mode) << 16
    if entry.is_directory:
        info.external_attr |= _DOS_DIRECTORY
    else:
        info.file_size = entry.status.st_size
    if -(1 << 31) <= seconds < 1 << 31:
        info.extra = _TIMES.pack(b"UT", 5, 1, seconds)
    return info


def _dos_time(seconds: int) -> tuple[int, int, int, int, int, int]:
    """The nearest that a zip's own field can hold, in UTC: it knows no zones."""
    first = datetime(_FIRST_DOS_YEAR, 1, 1, tzinfo=UTC)
    last = datetime(_LAST_DOS_YEAR, 12, 31, 23, 59, 58, tzinfo=UTC)
    within = min(max(seconds, int(first.timestamp())), int(last.timestamp()))
    at = datetime.fromtimestamp(within, UTC)
    return at.year, at.month, at.day, at.hour, at.minute, at.second


@contextlib.contextmanager
def _new_file(path: str) -> Iterator[BinaryIO]:
    """A new file, on the disk when it is left without an error."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
