"""What happens to an original once it is archived: kept, moved or deleted.

Job: move or delete one file that was proved to be archived, after a last look at it. Limits:
whether bag and replicas are intact is for the sink to say, before.

The last look: the file is the one that was archived by its fingerprint **and** by its
digest, read anew under a lease where one can be had, so that nobody can begin to write
between the reading and the end; and its name still leads to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from archiver.filesystem import RenameFallback, rename_no_replace
from archiver.i18n import N_, _
from archiver.policy import WatchPolicy
from archiver.watch.journal import Row, split
from archiver.watch.scan import open_directory, same
from archiver.watch.settle import Proof, holds, lease, open_file
from archiver.watch.units import digest_of_descriptor

__all__ = ["NotTheSameError", "dispose"]

_TRIES = 100
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotTheSameError(Exception):
    """The original is not what was archived: it stays, and is looked at again."""


def dispose(
    root: int,
    root_path: str,
    row: Row,
    policy: WatchPolicy,
    *,
    renumbers: bool,
    beat: Callable[[], None] = lambda: None,
) -> str:
    """Move or delete one original; what was done, for the journal. ``beat`` hears that it is
    read once more.

    Raises NotTheSameError, OSError; then it is still there, untouched.
    """
    directory, name = split(row.path)
    descriptor, found = open_file(root, directory, name)
    try:
        with lease(descriptor) as proof:
            if proof is Proof.BUSY or not same(row.fingerprint, found, renumbers=renumbers):
                raise NotTheSameError
            if digest_of_descriptor(descriptor, beat) != row.digest:
                raise NotTheSameError
            at = open_directory(root, directory)
            try:
                _check_name(at, name, descriptor, row, renumbers=renumbers)
                if proof is Proof.LEASE and not holds(descriptor):
                    raise NotTheSameError
                if policy.originals == "delete":
                    os.unlink(name, dir_fd=at)
                    return N_("the original was deleted")
                _move(at, name, root, root_path, directory, policy.move_to)
                return N_("the original was moved")
            finally:
                os.close(at)
    finally:
        os.close(descriptor)


def _check_name(at: int, name: bytes, descriptor: int, row: Row, *, renumbers: bool) -> None:
    """The name leads to what was read, and nothing about it changed meanwhile."""
    named = os.stat(name, dir_fd=at, follow_symlinks=False)
    read = os.fstat(descriptor)
    times = (read.st_mtime_ns, read.st_size) == (
        row.fingerprint.mtime_ns,
        row.fingerprint.size_bytes,
    )
    whole = renumbers or read.st_ctime_ns == row.fingerprint.ctime_ns
    if not (stat.S_ISREG(named.st_mode) and os.path.samestat(named, read) and times and whole):
        raise NotTheSameError


def _target(root: int, root_path: str, directory: bytes, move_to: str) -> int:
    """The directory to move to, made where it isn't there. Who may write into the watched
    folder must not lead originals elsewhere: below it, and below ``move_to``, no link is
    followed. Raises OSError.
    """
    base, inside = os.fsencode(move_to), os.fsencode(root_path).rstrip(b"/") + b"/"
    base = base.removeprefix(inside)
    if base.startswith(b"/"):
        os.makedirs(base, exist_ok=True)
        place, below = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), directory
    else:
        place, below = os.open(b".", _DIRECTORY, dir_fd=root), base + b"/" + directory
    for part in below.split(b"/"):
        if part in (b"", b"."):
            continue
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=place)
            inner = os.open(part, _DIRECTORY, dir_fd=place)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                reason = _("below move_to is a link, or no directory: the original stays")
                raise OSError(errno.EPERM, reason) from error
            raise
        finally:
            os.close(place)
        place = inner
    return place


def _move(at: int, name: bytes, root: int, root_path: str, directory: bytes, move_to: str) -> None:
    """Replaces nothing: an original of the same name gets a number."""
    place = _target(root, root_path, directory, move_to)
    try:
        _rename(f"/proc/self/fd/{at}/", f"/proc/self/fd/{place}/", os.fsdecode(name))
    finally:
        os.close(place)


def _rename(source: str, target: str, name: str) -> None:
    for number in range(_TRIES):
        end = f".{number}" if number else ""
        try:
            rename_no_replace(source + name, target + name + end)
        except FileExistsError:
            if number == _TRIES - 1:
                raise
            continue
        except RenameFallback:
            pass
        except OSError as error:
            if error.errno == errno.EXDEV:
                reason = _("move_to is on another file system: the original stays")
                raise OSError(errno.EXDEV, reason) from error
            raise
        return
