"""What Python lacks of the file system calls that crash safety needs.

Job: make written data durable, rename without replacing, learn what a target
file system can't do. Limits: no knowledge of bags.
Sources: syncfs(2), renameat2(2), statvfs(3).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Any

__all__ = [
    "NETWORK_TYPES",
    "RenameFallback",
    "file_system_type",
    "free_space",
    "rename_no_replace",
    "replace_file",
    "sync_directory",
    "sync_tree",
    "weaknesses",
    "write_new_file",
    "write_staged_file",
]

NETWORK_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs"}
)
"""File systems that lie on another machine, by the kernel's names for them."""
_RENAME_NOREPLACE = 1
_RENAME_EXCL = 4  # macOS renamex_np
_AT_FDCWD = -100
_SYNCFS_REPORTS_ERRORS = (5, 8)
"""From this kernel on syncfs(2) returns the errors of writing back."""


class RenameFallback(Exception):  # noqa: N818  # it is news, not an error
    """The rename was done, but this file system can't promise not to replace."""


@functools.cache
def _libc_function(name: str) -> Callable[..., int] | None:
    try:
        function: Any = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    except (OSError, TypeError):  # pragma: no cover  # no C library to be had (Windows)
        return None
    if function is not None:
        function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


def _kernel() -> tuple[int, ...]:
    parts = platform.release().split("-")[0].split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


def sync_tree(path: str) -> None:
    """Have everything written below ``path`` on the disk. Raises OSError.

    One syncfs(2) for the whole file system: for many files a hundred times
    faster than an fsync(2) for each. Elsewhere each file is synced.
    """
    syncfs = _libc_function("syncfs") if sys.platform == "linux" else None
    if syncfs is None or _kernel() < _SYNCFS_REPORTS_ERRORS:
        _sync_each(path)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            if number in (errno.ENOSYS, errno.EPERM):  # seccomp filters
                _sync_each(path)
                return
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


def _sync_each(path: str) -> None:
    for directory, _directories, files in os.walk(path):
        for name in files:
            descriptor = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(directory)


def sync_directory(path: str) -> None:
    """Have a directory's entries on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems can't sync directories
            raise
    finally:
        os.close(descriptor)


def rename_no_replace(source: str, target: str) -> None:
    """Rename in one step, replacing nothing. Raises FileExistsError, OSError.

    Raises RenameFallback after a rename that was done the plain way, on file
    systems without a no-replace rename: it can replace an empty directory that
    somebody makes in the very same moment, and nothing else.
    """
    number = _rename_flagged(os.fsencode(source), os.fsencode(target))
    if number == 0:
        return
    if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM):
        raise OSError(number, os.strerror(number), target)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)
    raise RenameFallback


def _rename_flagged(source: bytes, target: bytes) -> int:
    """The errno of a no-replace rename; ENOSYS where there is none."""
    renameat2 = _libc_function("renameat2")
    renamex = _libc_function("renamex_np")
    if renameat2 is not None:
        failed = renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE)
    elif renamex is not None:  # pragma: no cover  # macOS
        failed = renamex(source, target, _RENAME_EXCL)
    else:  # pragma: no cover  # C libraries without either
        return errno.ENOSYS
    return ctypes.get_errno() if failed else 0


def write_staged_file(path: str, data: bytes, mode: int) -> None:
    """Write ``data`` to ``path``, replacing nothing, where nobody can see it yet and somebody
    syncs it before anyone can. Raises FileExistsError, OSError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        _write_all(file, data, mode)


def write_new_file(path: str, data: bytes, mode: int) -> None:
    """Have ``data`` under ``path``, whole, durable and replacing nothing.

    Raises FileExistsError where there is something, OSError where it can't be written;
    then nothing is left behind. A kill may leave a hidden ``.….partial`` beside it.
    """
    with _written_beside(path, data, mode) as partial, contextlib.suppress(RenameFallback):
        rename_no_replace(partial, path)
    sync_directory(os.path.dirname(path) or ".")


def replace_file(path: str, data: bytes, mode: int) -> None:
    """The same, taking the place of what was there, in one step. Raises OSError."""
    with _written_beside(path, data, mode) as partial:
        os.replace(partial, path)
    sync_directory(os.path.dirname(path) or ".")


@contextlib.contextmanager
def _written_beside(path: str, data: bytes, mode: int) -> Iterator[str]:
    """A hidden file beside ``path`` with ``data`` synced; taken away unless it was moved."""
    partial = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb", buffering=0) as file:
            _write_all(file, data, mode)
            os.fsync(descriptor)
        yield partial
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _write_all(file: FileIO, data: bytes, mode: int) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    with contextlib.suppress(PermissionError):  # file systems without modes
        os.chmod(file.fileno(), mode)


def weaknesses(directory: str) -> frozenset[str]:
    """What the file system of ``directory`` can't keep, found by trying: ``modes``,
    ``times`` (to the nanosecond), ``names`` (with characters that Windows forbids).

    exFAT sticks have all three. Raises OSError where nothing can be written.
    """
    found = set()
    probe, odd = (os.path.join(directory, name) for name in ("probe", 'probe:"*"'))
    for left in (probe, odd):  # by a run that was killed right here
        with contextlib.suppress(OSError):
            os.unlink(left)
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        time_ns = 1_000_000_000_123_456_789
        try:
            os.chmod(probe, 0o440)
            os.utime(probe, ns=(time_ns, time_ns))
        except OSError:
            found |= {"modes", "times"}
        kept = os.stat(probe)
        if stat.S_IMODE(kept.st_mode) != 0o440:
            found.add("modes")
        if kept.st_mtime_ns != time_ns:
            found.add("times")
    finally:
        os.unlink(probe)
    try:
        os.close(os.open(odd, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.unlink(odd)
    except OSError:
        found.add("names")
    return frozenset(found)


def free_space(path: str) -> tuple[int, int | None]:
    """(bytes, files) that a user may still add on the file system of ``path``;
    None where it has no limit on files.
    """
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def file_system_type(path: str, mounts: str = "/proc/self/mountinfo") -> str:
    """The kernel's name for the file system that ``path`` lies on, "" where it isn't told
    (proc_pid_mountinfo(5)).
    """
    path, best, found = os.path.realpath(path), "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields, _separator, rest = line.partition(" - ")
                point = _unescaped(fields.split(" ")[4])
                within = path == point or path.startswith(point.rstrip("/") + "/")
                if within and len(point) >= len(best):  # the last one covers those before
                    best, found = point, rest.split(" ")[0]
    except (OSError, IndexError):  # not Linux, or no /proc
        return ""
    return found


def _unescaped(text: str) -> str:
    """A path as mountinfo writes it: blanks and backslashes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
