"""Keeps one confined child for many files: asks it, waits no longer than it may, ends it.

Job: start, ask, kill, start again. Limits: knows no formats; an answer is JSON of a bounded
size, of which nothing more is believed.

A child that doesn't answer in time is killed with all that it started. One that dies over a
file is asked once more by a fresh one, if it had served others before: what went wrong may
have been their doing. Where the child that started a parser can't have namespaces, what it
starts still can't leave its process group, and the group is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Self

from archiver.identify.tools import installed, programs

__all__ = ["Answer", "Child", "Keeper", "Limits"]

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1));"
    " from archiver.identify.child import main; main()"
)
_MAX_ANSWER_BYTES = 256 << 10
_MAX_NOISE_BYTES = 8 << 10
_START_SECONDS = 60
_ENDING_SECONDS = 2
_STARTS = 3
"""Attempts to start a child, for one bag."""
_FILES_A_CHILD = 5000
"""Then a fresh one: libraries leak."""
_MEMORY_WORDS = (b"out of memory", b"cannot allocate memory", b"bad_alloc", b"MemoryError")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """For one file: ``seconds`` for all tools together, ``memory_bytes`` above what the
    child has when it is idle. The others switch parts of the confinement off, for tests.
    """

    seconds: float = 20.0
    memory_bytes: int = 512 << 20
    namespaces: bool = True
    landlock: bool = True
    filter: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What one tool said of one file. ``outcome`` is "" where all went well, else "failed",
    "timed out" or "out of memory", and ``reason`` says more.
    """

    values: dict[str, Any]
    outcome: str = ""
    reason: str = ""


class ChildDiedError(Exception):
    """It has ended, or is not to be believed any more; ``outcome`` and text as in Answer."""

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome, self.reason = outcome, reason


class Child:
    """One confined process. Raises ChildDiedError wherever it doesn't do as it should."""

    def __init__(self, roots: Sequence[str], tools: Sequence[str], limits: Limits) -> None:
        self.asked = 0
        self.busy_seconds = 0.0
        self._buffer, self._noise = bytearray(), bytearray()
        self._process = self._start(roots, tools, limits)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._answers, self._errors = self._process.stdout.fileno(), self._process.stderr.fileno()
        os.set_blocking(self._errors, False)
        try:
            self.confinement: tuple[str, ...] = tuple(self._line(_START_SECONDS)["confinement"])
            told = self._line(_START_SECONDS)
            self.versions: dict[str, str] = dict(told["tools"])
            self.unusable: dict[str, str] = dict(told["unusable"])
        except BaseException:
            self.end()
            raise

    def _start(
        self, roots: Sequence[str], tools: Sequence[str], limits: Limits
    ) -> subprocess.Popen[bytes]:
        where = programs()
        order = {
            "parent": os.getpid(),
            "readable": [*map(os.path.abspath, roots), *map(os.path.dirname, where.values())],
            "tools": list(tools),
            "programs": where,
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": int(_cpu_seconds(limits)),
            "namespaces": limits.namespaces,
            "landlock": limits.landlock,
            "filter": limits.filter,
        }
        command = [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(_paths())]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
            start_new_session=True,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it has ended is heard from the answers
            _write_all(process.stdin, json.dumps(order).encode("ascii") + b"\n")
        return process

    def is_spent(self, limits: Limits) -> bool:
        """Whether a fresh one should take its place, before its limits end it in mid-file."""
        tired = self.busy_seconds > _cpu_seconds(limits) / 2
        return tired or self.asked >= _FILES_A_CHILD or self._process.poll() is not None

    def ask(
        self, tool: str, path: str, seconds: float, waiting: Callable[[], None]
    ) -> dict[str, Any]:
        """What ``tool`` says of the file at ``path``."""
        assert self._process.stdin is not None
        begun = time.monotonic()
        self.asked += 1
        request = json.dumps({"tool": tool, "path": path}).encode("ascii") + b"\n"
        try:
            _write_all(self._process.stdin, request)
            return self._line(seconds, waiting)
        except BrokenPipeError:
            raise self._died() from None
        finally:
            self.busy_seconds += time.monotonic() - begun

    def _line(self, seconds: float, waiting: Callable[[], None] = lambda: None) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            selector.register(self._errors, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = deadline - time.monotonic()
                ready = selector.select(min(1.0, max(0.0, left)))
                if left <= 0:  # also where it sends piece after piece
                    raise ChildDiedError("timed out", f"no answer within {seconds:.0f} seconds")
                if not ready:
                    waiting()
                for key, _events in ready:
                    self._take(selector, key.fd)
        line, _end, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        return _parsed(bytes(line))

    def _take(self, selector: selectors.BaseSelector, descriptor: int) -> None:
        piece = os.read(descriptor, 1 << 16)
        if descriptor == self._errors:
            if not piece:
                selector.unregister(descriptor)
            self._hear(piece)
            return
        if not piece:
            raise self._died()
        self._buffer += piece
        if len(self._buffer) > _MAX_ANSWER_BYTES:
            raise ChildDiedError("failed", "it answered without end")

    def _hear(self, piece: bytes) -> None:
        """Keep the beginning and the end of what it complains of."""
        half, noise = _MAX_NOISE_BYTES // 2, self._noise + piece
        self._noise = noise[:half] + noise[half:][-half:]

    def _died(self) -> ChildDiedError:
        """Why it ended, as far as that can be told."""
        with contextlib.suppress(OSError):
            while piece := os.read(self._errors, 1 << 16):
                self._hear(piece)
        noise = bytes(self._noise)
        if any(word in noise for word in _MEMORY_WORDS):
            return ChildDiedError("out of memory", "it asked for more memory than it may have")
        try:
            code = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._process.wait()
        return ChildDiedError("failed", f"the parser ended itself ({_ending(code)})")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it with all that it started, and wait until it is gone."""
        self._kill()
        process = self._process
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _write_all(pipe: IO[bytes], data: bytes) -> None:
    """Through a pipe, since everybody on the machine can see a process's arguments."""
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) or 0 :]


def _paths() -> list[str]:
    """Where modules are looked for: never in the working directory, which may hold anything."""
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [os.path.abspath(one) for one in sys.path if one not in ("", ".")]
    return [*paths, own]


def _cpu_seconds(limits: Limits) -> float:
    """For a child's whole life: the clock is watched from outside, this is the last resort."""
    return max(600.0, 20 * limits.seconds)


def _ending(code: int) -> str:
    """The outer process ends with 128 and the signal that ended the inner one."""
    number = -code if code < 0 else code - 128
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"exit code {code}"


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ChildDiedError("failed", "its answer can't be read")
    return answer


class Keeper:
    """Asks tools about files, through a child that is there when it is needed. ``roots``:
    all that can be read below them. Not for several threads at once.
    """

    def __init__(
        self,
        roots: Sequence[str],
        limits: Limits | None = None,
        tools: Sequence[str] | None = None,
    ) -> None:
        self._roots, self.limits = tuple(roots), limits or Limits()
        self.tools = tuple(installed() if tools is None else tools)
        self._child: Child | None = None
        self.waiting: Callable[[], None] = lambda: None
        """Called while an answer is waited for, once a second: what it raises ends the child."""
        self.confinement: tuple[str, ...] = ()
        self.versions: dict[str, str] = {}
        self.unusable: dict[str, str] = {}
        """Tools that are installed and can't be loaded, with the reason."""
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def reach(self, places: Sequence[str]) -> None:
        """Have a child that can read ``places`` and what is below them, and, if the roots that
        it was given don't hold them all, nothing else of anybody's.
        """
        self._failed_starts = 0
        roots = tuple(os.path.join(os.path.abspath(one), "") for one in self._roots)
        if not all(os.path.join(os.path.abspath(one), "").startswith(roots) for one in places):
            self.close()
            self._roots = tuple(places)

    def close(self) -> None:
        """End the child. The next question starts another."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def start(self) -> None:
        """Have a child that is ready. Raises ChildDiedError."""
        if self._child is not None and self._child.is_spent(self.limits):
            self.close()
        if self._child is None:
            self._child = Child(self._roots, self.tools, self.limits)
            self.confinement = self._child.confinement
            self.versions = self._child.versions
            self.unusable = self._child.unusable

    def ask(self, tool: str, path: str, seconds: float) -> Answer:
        """What ``tool`` says of the file at ``path``, within ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            problem = self._problem()
            if problem:
                return Answer({}, "failed", f"the child can't be started: {problem}")
            if tool in self.unusable:
                return Answer({})
            assert self._child is not None
            served = self._child.asked > 0
            try:
                left = max(0.0, deadline - time.monotonic())
                values = self._child.ask(tool, path, left, self.waiting)
            except ChildDiedError as error:
                self.close()
                if error.outcome != "timed out" and served:
                    continue
                return Answer({}, error.outcome, error.reason)
            except BaseException:  # in the middle of an answer: the next would be another's
                self.close()
                raise
            return self._judged(values)

    def _problem(self) -> str:
        """Why there is no child; "" where there is one. After a few attempts none is made."""
        if self._failed_starts >= _STARTS:
            return "it failed before"
        try:
            self.start()
        except (ChildDiedError, OSError) as error:
            self._failed_starts += 1
            return str(error)
        self._failed_starts = 0
        return ""

    def _judged(self, values: dict[str, Any]) -> Answer:
        problem = values.get("error")
        if problem is None:
            return Answer(values)
        if problem == "memory":
            self.close()
            return Answer({}, "out of memory", "it asked for more memory than it may have")
        return Answer({}, "failed", str(problem)[:500])
