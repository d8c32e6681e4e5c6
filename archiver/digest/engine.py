"""Hashing and copying many files on all cores.

Job: hand batches of files to worker processes and give their answers back.
Limits: it opens no file itself; what the answers mean is the caller's affair.

Batches are taken from an iterator as workers become free, so a tree of any
size is worked through in little memory. Large files come last, biggest first;
where fewer of them are left than there are workers, one file uses a thread per
algorithm. A handful of small files is done in this process: starting workers
would take longer. A worker that dies fails its own batches and no others.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from archiver.digest import Algorithm
from archiver.digest.worker import FRAME, LARGE_BYTES, PROGRESS, RESULT, Worker

__all__ = ["Answer", "Batch", "Engine", "FileError", "plan_batches", "worker_count"]

BATCH_FILES = 256
BATCH_BYTES = 8 * 1024 * 1024
_QUEUED_BATCHES = 2
"""Batches a worker holds, so that it never waits for the next."""
_INLINE_FILES = 600
_INLINE_BYTES = 12 * 1024 * 1024
"""Below both, starting processes (about 20 ms) costs more than it saves."""
_BOOT = "import sys; sys.path.append(sys.argv[1]); import worker; worker.main()"

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class FileError:
    """Why one file has no digest.

    ``kind`` is ``io``, ``changed``, ``not-regular``, ``target`` (the place
    written to failed) or ``worker`` (the process reading it was ended).
    """

    kind: str
    errno: int
    reason: str


@dataclass(slots=True, kw_only=True)
class Batch:
    """Files of one directory. ``request`` is for the worker, ``token`` the caller's own."""

    request: tuple[Any, ...]
    files: int
    size_bytes: int
    token: Any


@dataclass(slots=True, kw_only=True)
class Answer:
    """A worked batch: per file its size, its digests joined, errors and holes by index."""

    batch: Batch
    sizes: list[int]
    digests: bytes
    errors: dict[int, FileError]
    holes: dict[int, list[tuple[int, int]]]


def worker_count() -> int:
    """One worker for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def plan_batches(sizes: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """Cut a row of files into batches: (start, stop, bytes); a large file stands alone."""
    start = total = index = 0
    for index, size in enumerate(sizes, start=1):
        here = index - 1
        full = here - start >= BATCH_FILES or total + size > BATCH_BYTES
        if full and here > start:
            yield start, here, total
            start, total = here, 0
        total += size
    if index > start:
        yield start, index, total


class Engine:
    """Worker processes, started when there is enough to do and ended with the block."""

    def __init__(self, *, workers: int | None = None, keep_open: tuple[int, ...] = ()) -> None:
        """``keep_open``: descriptors that workers hold, such as a lock's."""
        self._count = workers if workers is not None else worker_count()
        self._keep_open = keep_open
        self._processes: list[_Process] = []
        self._inline = Worker()
        self._running: object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, in the middle of a batch if need be."""
        self._inline.close()
        self._running = None
        for process in self._processes:
            process.end()
        self._processes = []

    def run(
        self,
        batches: Iterable[Batch],
        algorithms: tuple[Algorithm, ...],
        advance: Advance = lambda _count: None,
    ) -> Iterator[Answer]:
        """Answers as they come, in any order. ``advance`` hears of bytes within large files.

        One run at a time: the next one ends one that was abandoned.
        """
        names = tuple(algorithm.constructor for algorithm in algorithms)
        width = sum(algorithm.size_bytes for algorithm in algorithms)
        if self._running is not None:  # nobody may take its answers for another run's
            self.close()
        head, rest = self._head(iter(batches))
        if rest is None or self._count == 0 or not hasattr(os, "posix_spawn"):
            self._inline.close()
            self._inline = Worker(advance)
            for batch in chain(head, rest or ()):
                yield _answer(batch, self._inline.run(_request(batch, names, split=False)))
            return
        self._start()
        mine = self._running = object()
        try:
            yield from self._schedule(chain(head, rest), names, width, advance)
            self._running = None
        finally:
            if self._running is mine:  # abandoned, and not by the next run's doing
                self.close()

    def _head(self, batches: Iterator[Batch]) -> tuple[list[Batch], Iterator[Batch] | None]:
        """The first batches; and the rest, or None where these were all and few."""
        if self._processes:
            return [], batches
        head: list[Batch] = []
        files = size = 0
        for batch in batches:
            head.append(batch)
            files += batch.files
            size += batch.size_bytes
            if files > _INLINE_FILES or size > _INLINE_BYTES:
                return head, batches
        return head, None

    def _start(self) -> None:
        while len(self._processes) < self._count:
            self._processes.append(_Process(self._keep_open))

    def _schedule(
        self, batches: Iterator[Batch], names: tuple[str, ...], width: int, advance: Advance
    ) -> Iterator[Answer]:
        feed = _Feed(batches, names, workers=self._count)
        with selectors.DefaultSelector() as selector:
            for process in self._processes:
                selector.register(process.answers, selectors.EVENT_READ, process)
            while True:
                alive = [process for process in self._processes if process.alive]
                for process in alive:
                    process.feed(feed, selector)
                if not any(process.running for process in alive):
                    break
                for key, events in selector.select():
                    for answer in _serve(key.data, events, selector, width, advance):
                        feed.finished(answer.batch)
                        yield answer
        for batch in feed.remaining():
            yield _failed(batch, width)


def _serve(
    process: _Process,
    events: int,
    selector: selectors.BaseSelector,
    width: int,
    advance: Advance,
) -> Iterator[Answer]:
    if events & selectors.EVENT_WRITE:
        process.write(selector)
    if not events & selectors.EVENT_READ:
        return
    for kind, *message in process.read():
        if kind == PROGRESS:
            advance(message[0])
        elif kind == RESULT:
            number, *result = message
            yield _answer(process.running.pop(number), tuple(result))
    if not process.alive:
        selector.unregister(process.answers)
        for batch in process.abandon(selector):
            yield _failed(batch, width)


def _request(batch: Batch, names: tuple[str, ...], *, split: bool) -> tuple[Any, ...]:
    kind, *rest = batch.request
    return (kind, names, split, *rest)


def _answer(batch: Batch, result: tuple[Any, ...]) -> Answer:
    sizes, digests, errors, holes = result
    return Answer(
        batch=batch,
        sizes=sizes,
        digests=digests,
        errors={index: FileError(*error) for index, error in errors.items()},
        holes=holes,
    )


def _failed(batch: Batch, width: int) -> Answer:
    error = FileError("worker", 0, "the reading process was ended")
    return Answer(
        batch=batch,
        sizes=[0] * batch.files,
        digests=bytes(width * batch.files),
        errors=dict.fromkeys(range(batch.files), error),
        holes={},
    )


class _Feed:
    """The batches in the order of work: small ones as they come, large ones last."""

    def __init__(self, batches: Iterator[Batch], names: tuple[str, ...], *, workers: int) -> None:
        self._batches = batches
        self._names = names
        self._workers = workers
        self._large: list[Batch] = []
        self._sorted = False
        self._number = 0
        self.large_running = 0
        """Large batches that a worker is on."""

    def next(self) -> tuple[int, Batch, tuple[Any, ...]] | None:
        """(number, batch, request), or None at the end."""
        for batch in self._batches:
            if batch.size_bytes < LARGE_BYTES:
                return self._numbered(batch, split=False)
            self._large.append(batch)
        if not self._sorted:
            self._large.sort(key=lambda batch: batch.size_bytes)
            self._sorted = True
        if not self._large:
            return None
        batch = self._large.pop()
        # A thread per algorithm only where other cores would have nothing to do.
        split = len(self._large) + self.large_running < self._workers - 1
        self.large_running += 1
        return self._numbered(batch, split=split)

    def finished(self, batch: Batch) -> None:
        """A worker is done with ``batch``."""
        if batch.size_bytes >= LARGE_BYTES:
            self.large_running -= 1

    def _numbered(self, batch: Batch, *, split: bool) -> tuple[int, Batch, tuple[Any, ...]]:
        self._number += 1
        return self._number, batch, (self._number, *_request(batch, self._names, split=split))

    def remaining(self) -> Iterator[Batch]:
        """What nobody was left to work on."""
        while item := self.next():
            yield item[1]


class _Process:
    """One worker process, with its two pipes; the request pipe never blocks us."""

    def __init__(self, keep_open: tuple[int, ...]) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=keep_open,
        )
        if self._popen.stdin is None or self._popen.stdout is None:  # pragma: no cover
            raise AssertionError("pipes were asked for")  # for the type checker
        self._requests = self._popen.stdin.fileno()
        self.answers = self._popen.stdout.fileno()
        os.set_blocking(self._requests, False)
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._waiting_to_write = False
        self.running: dict[int, Batch] = {}
        self.alive = True

    def feed(self, feed: _Feed, selector: selectors.BaseSelector) -> None:
        """Take batches until enough are queued; a large one is queued alone."""
        while len(self.running) < _QUEUED_BATCHES and not self._busy_with_large():
            item = feed.next()
            if item is None:
                return
            number, batch, request = item
            self.running[number] = batch
            body = marshal.dumps(request)
            self._outgoing += FRAME.pack(len(body)) + body
            self.write(selector)

    def _busy_with_large(self) -> bool:
        return any(batch.size_bytes >= BATCH_BYTES // 4 for batch in self.running.values())

    def write(self, selector: selectors.BaseSelector) -> None:
        """Send what the pipe takes now; the rest when it takes more."""
        try:
            while self._outgoing:
                sent = os.write(self._requests, self._outgoing)
                del self._outgoing[:sent]
        except BlockingIOError:
            if not self._waiting_to_write:
                selector.register(self._requests, selectors.EVENT_WRITE, self)
                self._waiting_to_write = True
            return
        except BrokenPipeError:
            self._outgoing.clear()  # its end is noticed where its answers are read
        self._stop_writing(selector)

    def _stop_writing(self, selector: selectors.BaseSelector) -> None:
        if self._waiting_to_write:
            selector.unregister(self._requests)
            self._waiting_to_write = False

    def read(self) -> Iterator[tuple[Any, ...]]:
        """The messages that are complete by now."""
        portion = os.read(self.answers, 1 << 20)
        self.alive = bool(portion)
        self._incoming += portion
        start = 0
        while len(self._incoming) - start >= FRAME.size:
            (length,) = FRAME.unpack_from(self._incoming, start)
            end = start + FRAME.size + length
            if len(self._incoming) < end:
                break
            yield marshal.loads(  # noqa: S302  # from our own child
                self._incoming[start + FRAME.size : end]
            )
            start = end
        del self._incoming[:start]

    def abandon(self, selector: selectors.BaseSelector) -> list[Batch]:
        """The batches that a dead worker still had."""
        self._stop_writing(selector)
        lost = list(self.running.values())
        self.running.clear()
        return lost

    def end(self) -> None:
        """Kill it: it holds nothing that must be finished."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.kill()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._popen.wait()
