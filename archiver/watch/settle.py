"""Whether a file has settled: nobody has it open for writing.

Job: find that out for a file that was quiet long enough, and say how it was proved. Limits:
quiet periods are the business of :mod:`archiver.watch.scan` and the watcher.

A read lease (fcntl(2), ``F_SETLEASE``) is granted only where no descriptor and no writable
mapping of the file is left anywhere on this machine; it asks for ownership or CAP_LEASE.
Else /proc/*/fd and /proc/*/maps of every process are read, where all of them may be;
else nothing is proved. What other machines do with a share can't be seen from here at all.

A lease that is broken sends a signal, which ends the process where it isn't expected: SIGIO
does. Ours asks for SIGURG instead, whose default is to be ignored, so that it is harmless
in every thread and needs no handler.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator

from archiver.watch.model import Fingerprint
from archiver.watch.scan import fingerprint_of, open_directory

__all__ = ["Proof", "Writers", "lease", "open_file", "prove"]

_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""linux/proc_ns.h: PROC_PID_INIT_INO."""
_ACCESS = 3  # O_ACCMODE


class Proof(enum.Enum):
    """How sure it is that nobody writes any more."""

    LEASE = "lease"
    SWEEP = "sweep"
    UNPROVED = "unproved"
    BUSY = "busy"


def open_file(root: int, directory: bytes, name: bytes) -> tuple[int, Fingerprint]:
    """Open a regular file below ``root`` for reading, following no link.

    What lies there is looked at before it is opened: a pipe's writer would wake up. Raises
    FileNotFoundError where it isn't a regular file any more, OSError.
    """
    at = open_directory(root, directory)
    try:
        looked = os.open(name, _LOOK, dir_fd=at)
        try:
            found = os.fstat(looked)
            if not stat.S_ISREG(found.st_mode):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            return _opened(looked, name, at), fingerprint_of(found)
        finally:
            os.close(looked)
    finally:
        os.close(at)


def _opened(looked: int, name: bytes, at: int) -> int:
    with contextlib.suppress(FileNotFoundError):  # no /proc
        return os.open(f"/proc/self/fd/{looked}", _READ)
    descriptor = os.open(name, _READ | os.O_NOFOLLOW, dir_fd=at)
    if os.path.samestat(os.fstat(descriptor), os.fstat(looked)):
        return descriptor
    os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@contextlib.contextmanager
def lease(descriptor: int) -> Iterator[Proof]:
    """Hold a read lease: LEASE while nobody else may begin to write unnoticed, BUSY where
    somebody has it open for writing, UNPROVED where no lease can be had.
    """
    proof = _ask(descriptor)
    try:
        yield proof
    finally:
        if proof is Proof.LEASE:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _ask(descriptor: int) -> Proof:
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except (OSError, AttributeError) as error:
        return Proof.BUSY if getattr(error, "errno", 0) == errno.EAGAIN else Proof.UNPROVED
    return Proof.LEASE


def holds(descriptor: int) -> bool:
    """Whether a lease is still whole: nobody asked to write since."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK


class Writers:
    """Files that any process has open for writing, read from /proc once."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._open: set[tuple[int, int]] = set()
        self._mapped: set[int] = set()
        self.complete = self._sees_everyone() and self._sweep()

    def has(self, fingerprint: Fingerprint) -> bool:
        """Whether somebody has this file open for writing."""
        known = (fingerprint.device, fingerprint.inode) in self._open
        return known or fingerprint.inode in self._mapped

    def _sees_everyone(self) -> bool:
        """Not in a container, not where other people's processes are hidden."""
        try:
            inside = os.stat(f"{self._proc}/self/ns/pid").st_ino
            return inside == _INITIAL_PID_NAMESPACE and os.path.isdir(f"{self._proc}/1/fd")
        except OSError:
            return False

    def _sweep(self) -> bool:
        complete = True
        for name in os.listdir(self._proc):
            if name.isdigit() and name != str(os.getpid()):
                complete = self._process(f"{self._proc}/{name}") and complete
        return complete

    def _process(self, process: str) -> bool:
        try:
            for number in os.listdir(f"{process}/fd"):
                self._descriptor(process, number)
            self._mappings(process)
        except (FileNotFoundError, ProcessLookupError):
            return True  # it ended
        except OSError:
            return False
        return True

    def _descriptor(self, process: str, number: str) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found = os.stat(f"{process}/fd/{number}")
            if stat.S_ISREG(found.st_mode):
                with open(f"{process}/fdinfo/{number}", encoding="ascii") as file:
                    flags = next(line for line in file if line.startswith("flags:"))
                if int(flags.split()[1], 8) & _ACCESS:
                    self._open.add((found.st_dev, found.st_ino))

    def _mappings(self, process: str) -> None:
        """Shared mappings that may be written to. Some file systems (btrfs, overlays) give
        another device number here: the inode has to do.
        """
        with open(f"{process}/maps", "rb") as lines:
            for line in lines:
                fields = line.split(maxsplit=5)
                if fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                    self._mapped.add(int(fields[4]))


def prove(descriptor: int) -> Proof:
    """Ask for a lease and give it back at once."""
    with lease(descriptor) as proof:
        return proof
