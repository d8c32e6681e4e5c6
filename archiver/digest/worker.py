"""The inner loop: read files, hash them and, where asked, copy them.

Job: work through batches of files of one directory each. Run as a program it
takes batches on standard input and answers on standard output, so that every
core has a process of its own: for small files threads are no faster than one
loop, since each holds the interpreter's lock most of the time.

It imports nothing but the standard library, so that ``python -I -S worker.py``
starts in a few milliseconds, and it is started with a fresh interpreter, never
forked: forking a process that runs threads can hang the child.

Paths are walked one component at a time with O_NOFOLLOW from an open root, so
nothing outside the root is ever opened, whatever is renamed meanwhile, and
opened with O_NONBLOCK, so a FIFO put in a file's place can't hang it.

Messages are marshalled tuples behind a 4-byte length. Digests are raw bytes,
joined in the order of the batch's algorithms; a file that failed has zeros
there and an entry in ``errors``.
"""

from __future__ import annotations

import errno
import hashlib
import marshal
import os
import queue
import signal
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "COPY",
    "FRAME",
    "HASH",
    "PROGRESS",
    "RESULT",
    "FileChangedError",
    "NotRegularError",
    "Worker",
    "open_beneath",
]

HASH, COPY, PROGRESS, RESULT = "hash", "copy", "progress", "result"
FRAME = struct.Struct("<I")

BUFFER_BYTES = 256 * 1024
"""Read at a time: fits the second-level cache, so each algorithm reads it hot."""
SPLIT_BUFFER_BYTES = 1024 * 1024
SPLIT_BUFFERS = 4
MAX_ROOTS = 16
"""Source and target roots that are kept open."""
LARGE_BYTES = 32 * 1024 * 1024
"""From here on a file reports progress and may use a thread per algorithm."""
PROGRESS_BYTES = 64 * 1024 * 1024
COPY_BYTES = 64 * 1024 * 1024
"""Copied before it is hashed: few calls, and still in memory when it is read back."""

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_NOATIME = getattr(os, "O_NOATIME", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _BINARY
_WRITE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY

Root = str | int
"""A directory: its path, or a descriptor that the parent passed on."""
Hash = Callable[..., Any]
Advance = Callable[[int], None]
Read = Callable[[bytearray], int]


class NotRegularError(OSError):
    """What was to be read is no regular file."""


class FileChangedError(OSError):
    """A file is not what it was when the work was planned, or changed while read."""


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open ``path`` below the directory ``root``, following no link on the way."""
    *parents, name = path.split("/")
    directory = root
    try:
        for parent in parents:
            child = os.open(parent, os.O_RDONLY | _DIRECTORY | _NOFOLLOW, dir_fd=directory)
            if directory != root:
                os.close(directory)
            directory = child
        return _open(name, flags, directory)
    finally:
        if directory != root:
            os.close(directory)


def _open(name: str, flags: int, directory: int) -> int:
    """Open without touching the access time where the kernel lets us."""
    if _NOATIME and not flags & os.O_CREAT:
        try:
            return os.open(name, flags | _NOATIME, dir_fd=directory)
        except PermissionError:
            pass  # only the owner may ask for O_NOATIME
    return os.open(name, flags, 0o600, dir_fd=directory)


class _Directories:
    """The roots and the last directory in use, kept open between batches."""

    def __init__(self) -> None:
        self._roots: dict[Root, int] = {}
        self._last: dict[Root, tuple[str, int]] = {}

    def get(self, root: Root, path: str) -> int:
        """Open until MAX_ROOTS other roots have been asked for."""
        if root in self._roots:  # the last that may be let go
            self._roots[root] = self._roots.pop(root)
        known = self._last.get(root)
        if known and known[0] == path:
            return known[1]
        opened = self._open(root, path)
        self._last[root] = (path, opened)
        if known:
            os.close(known[1])
        return opened

    def _open(self, root: Root, path: str) -> int:
        if root not in self._roots:
            self._forget()
            if isinstance(root, int):
                self._roots[root] = os.dup(root)
            else:
                self._roots[root] = os.open(root, os.O_RDONLY | _DIRECTORY)
        if path:
            return open_beneath(self._roots[root], path, os.O_RDONLY | _DIRECTORY | _NOFOLLOW)
        return os.dup(self._roots[root])

    def _forget(self) -> None:
        """Let the root that was in use the longest ago go where there are many."""
        if len(self._roots) >= MAX_ROOTS:
            oldest = next(iter(self._roots))
            os.close(self._roots.pop(oldest))
            if oldest in self._last:
                os.close(self._last.pop(oldest)[1])

    def close(self) -> None:
        """Closing it again does nothing: the numbers may be somebody else's files by then."""
        while self._last:
            os.close(self._last.popitem()[1][1])
        while self._roots:
            os.close(self._roots.popitem()[1])


_BUFFERS = threading.local()
"""Making one takes longer than hashing a small file."""


def _buffer(name: str) -> bytearray:
    """This thread's buffer of that name."""
    found: bytearray | None = getattr(_BUFFERS, name, None)
    if found is None:
        found = bytearray(BUFFER_BYTES)
        setattr(_BUFFERS, name, found)
    return found


class Worker:
    """Works through batches; in this process, or as the program's main part."""

    def __init__(self, progress: Advance | None = None) -> None:
        self._directories = _Directories()
        self._progress = progress or (lambda _count: None)

    @property
    def buffer(self) -> bytearray:
        """This thread's own; nothing in it outlives a file."""
        return _buffer("whole")

    def close(self) -> None:
        """Close every directory that is still open."""
        self._directories.close()

    def run(self, request: tuple[Any, ...]) -> tuple[list[int], bytes, dict[int, Any], Any]:
        """Answer one batch: sizes, joined digests, errors by index, extras by index."""
        kind, algorithms, split, *rest = request
        hashes = [_constructor(name) for name in algorithms]
        if kind == HASH:
            return self._hash_batch(hashes, split, *rest)
        return self._copy_batch(hashes, split, *rest)

    def _hash_batch(
        self, hashes: list[Hash], split: bool, root: Root, path: str, names: list[str]
    ) -> tuple[list[int], bytes, dict[int, Any], Any]:
        sizes, digests, errors = [], [], {}
        zeros = b"".join(make().digest() for make in hashes)
        directory = None
        for index, name in enumerate(names):
            try:
                if directory is None:
                    directory = self._directories.get(root, path)
                size, digest = self._hash_file(hashes, split, directory, name)
            except OSError as error:
                size, digest = 0, zeros
                errors[index] = describe_error(error)
            sizes.append(size)
            digests.append(digest)
        return sizes, b"".join(digests), errors, {}

    def _hash_file(
        self, hashes: list[Hash], split: bool, directory: int, name: str
    ) -> tuple[int, bytes]:
        descriptor = _open(name, _READ, directory)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise NotRegularError(errno.EINVAL, "not a regular file")
            size = before.st_size
            if size < BUFFER_BYTES:
                count = os.readv(descriptor, [self.buffer])
                if count == size:
                    view = memoryview(self.buffer)[:count]
                    return size, b"".join([make(view).digest() for make in hashes])
                os.lseek(descriptor, 0, os.SEEK_SET)
            read = _bounded_read(descriptor, size + 1)  # one more: to see that it grows
            total, digest = self.hash_stream(hashes, split and size >= LARGE_BYTES, read)
            if total != size or not _same(before, os.fstat(descriptor)):
                raise FileChangedError(errno.ESTALE, "changed while it was read")
            return total, digest
        finally:
            os.close(descriptor)

    def hash_stream(self, hashes: list[Hash], split: bool, read: Read) -> tuple[int, bytes]:
        """Bytes and digests of everything that ``read`` gives."""
        hashers = [make() for make in hashes]
        total = 0
        report = _Reporter(self._progress)
        portions = _spread(hashers, read) if split else self._in_turn(hashers, read)
        for count in portions:
            total += count
            report(count)
        report.flush()
        return total, b"".join(hasher.digest() for hasher in hashers)

    def _in_turn(self, hashers: list[Any], read: Read) -> Iterator[int]:
        buffer = _buffer("stream")
        whole = memoryview(buffer)
        while count := read(buffer):
            view = whole[:count]
            for hasher in hashers:
                hasher.update(view)
            yield count

    def _copy_batch(
        self,
        hashes: list[Hash],
        split: bool,
        source_root: str,
        source_path: str,
        target_root: str,
        target_path: str,
        files: list[tuple[Any, ...]],
        clear_mode: int,
    ) -> tuple[list[int], bytes, dict[int, Any], dict[int, Any]]:
        """Copy files; each is (source name, target name, size, mtime, ctime, inode)."""
        sizes, digests, errors, holes = [], [], {}, {}
        zeros = b"".join(make().digest() for make in hashes)
        for index, (name, target, *planned) in enumerate(files):
            size, digest = 0, zeros
            try:
                source = self._directories.get(source_root, source_path)
                copy = _Copy(self, hashes, split, planned, clear_mode)
                try:
                    destination = self._directories.get(target_root, target_path)
                except OSError as error:
                    raise _TargetError(error) from error
                size, digest, found = copy.run(source, name, destination, target)
                if found:
                    holes[index] = found
            except _TargetError as error:
                errors[index] = ("target", error.cause.errno or 0, str(error.cause.strerror))
            except OSError as error:
                errors[index] = describe_error(error)
            sizes.append(size)
            digests.append(digest)
        return sizes, b"".join(digests), errors, holes


class _TargetError(Exception):
    """An error of the place that is written to, told apart from the source's."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Copy:
    """One file's copy: read once, written, hashed, its times and mode kept."""

    def __init__(
        self, worker: Worker, hashes: list[Hash], split: bool, planned: list[int], clear_mode: int
    ) -> None:
        self._worker = worker
        self._hashes = hashes
        self._split = split
        self._planned = planned
        self._clear_mode = clear_mode

    def run(
        self, source: int, name: str, destination: int, target: str
    ) -> tuple[int, bytes, list[tuple[int, int]]]:
        descriptor = _open(name, _READ, source)
        try:
            before = os.fstat(descriptor)
            self._check(before)
            try:
                out = os.open(target, _WRITE, 0o600, dir_fd=destination)
            except OSError as error:
                raise _TargetError(error) from error
            try:
                size, digest, holes = self._transfer(descriptor, out, before)
                if size != before.st_size or not _same(before, os.fstat(descriptor)):
                    raise FileChangedError(errno.ESTALE, "changed while it was read")
                _keep_attributes(out, before, self._clear_mode)
            finally:
                os.close(out)
            return size, digest, holes
        finally:
            os.close(descriptor)

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise NotRegularError(errno.EINVAL, "not a regular file")
        if self._planned != [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]:
            raise FileChangedError(errno.ESTALE, "changed since it was listed")

    def _transfer(
        self, source: int, out: int, found: os.stat_result
    ) -> tuple[int, bytes, list[tuple[int, int]]]:
        if found.st_size < BUFFER_BYTES:
            return self._transfer_small(source, out)
        holes = _holes(source, found)
        copier = _Copier(source, out, found.st_size, holes, self._worker.buffer)
        split = self._split and found.st_size >= LARGE_BYTES
        total, digest = self._worker.hash_stream(self._hashes, split, copier.read)
        return total, digest, holes

    def _transfer_small(self, source: int, out: int) -> tuple[int, bytes, list[tuple[int, int]]]:
        buffer = self._worker.buffer
        count = os.readv(source, [buffer])
        view = memoryview(buffer)[:count]
        written = 0
        while written < count:
            written += _target(os.write, out, view[written:])
        return count, b"".join([make(view).digest() for make in self._hashes]), []


def _bounded_read(descriptor: int, limit: int) -> Read:
    """Reads at most ``limit`` bytes in all: a file that grows for ever must not hang us."""
    left = limit

    def read(buffer: bytearray) -> int:
        nonlocal left
        count = os.readv(descriptor, [memoryview(buffer)[:left]])
        left -= count
        return count

    return read


def _target(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except OSError as error:
        raise _TargetError(error) from error


class _Copier:
    """Copies a file portion by portion, each just before it is read for hashing.

    What is hashed is what was written: the copy's own pages, still in memory,
    so the source is read once and a fault on the way can't hide.
    """

    def __init__(
        self, source: int, out: int, size: int, holes: list[tuple[int, int]], buffer: bytearray
    ) -> None:
        self._source = source
        self._out = out
        self._size = size
        self._ranges = _data_ranges(holes, size)
        self._buffer = buffer
        self._in_kernel = hasattr(os, "copy_file_range")
        self._todo: tuple[int, int] | None = next(self._ranges, None)
        self._position = 0
        if holes:
            _target(os.ftruncate, out, size)

    def read(self, buffer: bytearray) -> int:
        """Fill ``buffer`` with the next bytes of the copy; 0 at its end."""
        while self._todo and self._todo[0] <= self._position:
            self._copy_portion(*self._todo)
        limit = self._todo[0] if self._todo else self._size
        view = memoryview(buffer)[: limit - self._position]
        count: int = _target(os.preadv, self._out, [view], self._position)
        self._position += count
        return count

    def _copy_portion(self, start: int, end: int) -> None:
        portion = min(end - start, COPY_BYTES)
        count = self._kernel(start, portion) if self._in_kernel else None
        if count is None:
            count = _copy_buffered(self._source, self._out, start, portion, self._buffer)
        if count == 0:  # the source has become shorter: the caller compares sizes
            self._ranges, self._todo, self._size = iter(()), None, start
        elif start + count < end:
            self._todo = (start + count, end)
        else:
            self._todo = next(self._ranges, None)

    def _kernel(self, start: int, portion: int) -> int | None:
        """Bytes copied inside the kernel, or None where it can't be done there."""
        try:
            count = os.copy_file_range(self._source, self._out, portion, start, start)
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise _TargetError(error) from error
            count = 0  # some file systems answer 0 where they mean no
        if count == 0:
            self._in_kernel = False
            return None
        return count


_NO_KERNEL_COPY = (
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EIO,  # may be the source's: the plain road tells whose
)


def _copy_buffered(source: int, out: int, offset: int, size: int, buffer: bytearray) -> int:
    view = memoryview(buffer)[: min(size, len(buffer))]
    count = os.preadv(source, [view], offset)
    written = 0
    while written < count:
        written += _target(os.pwrite, out, view[written:count], offset + written)
    return count


def _holes(descriptor: int, found: os.stat_result) -> list[tuple[int, int]]:
    """(offset, length) of each hole, where the file system tells and there are any."""
    if not hasattr(os, "SEEK_HOLE") or found.st_blocks * 512 >= found.st_size:
        return []
    holes: list[tuple[int, int]] = []
    offset = 0
    while offset < found.st_size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_HOLE)
            if start >= found.st_size:
                break
            try:
                offset = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError:  # ENXIO: a hole up to the end
                offset = found.st_size
        except OSError:
            return []  # the file system can't tell
        holes.append((start, offset - start))
    return holes


def _data_ranges(holes: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    position = 0
    for start, length in holes:
        if position < start:
            yield position, start
        position = start + length
    if position < size:
        yield position, size


def _keep_attributes(out: int, found: os.stat_result, clear_mode: int) -> None:
    """Times and permission bits; a file system that has none of them is no error."""
    mode = stat.S_IMODE(found.st_mode) & 0o777 & ~clear_mode
    times = (found.st_atime_ns, found.st_mtime_ns)
    _kept_if_possible(os.utime, out, ns=times)
    _kept_if_possible(os.fchmod, out, mode)


def _kept_if_possible(keep: Callable[..., None], *arguments: Any, **more: Any) -> None:
    try:
        keep(*arguments, **more)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise _TargetError(error) from error


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


class _Reporter:
    """Passes progress on in portions, so that it costs nothing."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._pending = 0

    def __call__(self, count: int) -> None:
        self._pending += count
        if self._pending >= PROGRESS_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._pending >= LARGE_BYTES:
            self._advance(self._pending)
            self._pending = 0


def _spread(hashers: list[Any], read: Read) -> Iterator[int]:
    """Read once, hash in one thread per algorithm: for one file on several cores."""
    free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
    for _ in range(SPLIT_BUFFERS):
        free.put(bytearray(SPLIT_BUFFER_BYTES))
    inboxes: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in hashers]
    threads = [
        threading.Thread(target=_hash_inbox, args=(hasher, inbox), daemon=True)
        for hasher, inbox in zip(hashers, inboxes, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        while count := read(buffer := free.get()):
            view = memoryview(buffer)[:count]
            turn = _Turn(len(hashers), free, buffer)
            for inbox in inboxes:
                inbox.put((view, turn))
            yield count
    finally:
        for inbox in inboxes:
            inbox.put(None)
        for thread in threads:
            thread.join()


class _Turn:
    """Gives a buffer back when its last reader is done with it."""

    def __init__(self, readers: int, free: queue.SimpleQueue[bytearray], buffer: bytearray) -> None:
        self._lock = threading.Lock()
        self._readers = readers
        self._free = free
        self._buffer = buffer

    def done(self) -> None:
        with self._lock:
            self._readers -= 1
            last = self._readers == 0
        if last:
            self._free.put(self._buffer)


def _hash_inbox(hasher: Any, inbox: queue.SimpleQueue[Any]) -> None:
    while (item := inbox.get()) is not None:
        view, turn = item
        hasher.update(view)
        turn.done()


def _constructor(name: str) -> Hash:
    make: Hash = getattr(hashlib, name)
    if name in ("md5", "sha1"):  # blocked in FIPS builds unless said to be harmless
        return lambda data=b"": make(data, usedforsecurity=False)
    return make


def describe_error(error: OSError) -> tuple[str, int, str]:
    """What kind of failure, its errno and its text: fit for a message."""
    kind = "io"
    if isinstance(error, FileChangedError):
        kind = "changed"
    elif isinstance(error, NotRegularError) or error.errno == errno.ELOOP:
        kind = "not-regular"
    return kind, error.errno or 0, error.strerror or str(error)


def _receive() -> tuple[Any, ...] | None:
    stream = sys.stdin.buffer
    head = stream.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    size = FRAME.unpack(head)[0]
    message: tuple[Any, ...] = marshal.loads(stream.read(size))  # noqa: S302  # from our parent
    return message


def _send(message: tuple[Any, ...]) -> None:
    body = marshal.dumps(message)
    sys.stdout.buffer.write(FRAME.pack(len(body)) + body)
    sys.stdout.buffer.flush()


def main() -> None:
    """Answer batches until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    parent = os.getppid()

    def advance(count: int) -> None:
        if os.getppid() != parent:
            os._exit(1)  # nobody is left to take the result
        _send((PROGRESS, count))

    worker = Worker(advance)
    try:
        while (request := _receive()) is not None:
            number, *batch = request
            _send((RESULT, number, *worker.run(tuple(batch))))
    except BrokenPipeError:
        os._exit(1)  # as above
