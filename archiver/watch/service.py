"""The watcher under a service manager: told when it is ready, alive, stopping; ended in time.

Job: sd_notify(3) without its library, watchdog pings that mean something, signals. Limits:
knows nothing of files. A ping goes out only while both the scanner and the archiver get on:
a process whose pings come from a timer alone would be called alive while it hangs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Self

from archiver.errors import VaultError
from archiver.i18n import _
from archiver.pace import StoppedError
from archiver.watch.health import Health
from archiver.watch.model import Done, Failed, Prepared, Sink, Unit

__all__ = ["STOP_SECONDS", "Living", "Notifier", "Pulse", "StoppableSink", "Stopping"]

STOP_SECONDS = 25.0
"""What was begun may take so long to be finished after SIGTERM; then it is rolled back."""
_HANG_SECONDS = 20.0
"""Longer than that rolling back doesn't take, unless a disk hangs."""
_PINGS_IN_INTERVAL = 4
_LOOK_SECONDS = 1.0


class Notifier:
    """Tells the service manager. Where there is none, or it doesn't listen, nothing happens:
    archiving doesn't depend on it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        fit = address[:1] in ("/", "@") and len(address) > 1
        self._address = (f"\0{address[1:]}" if address[:1] == "@" else address) if fit else ""
        self.watchdog_seconds = _watchdog_seconds(environment)
        self._status = ""

    def ready(self) -> None:
        """The watcher runs."""
        self._send("READY=1")

    def stopping(self) -> None:
        """It is about to end."""
        self._send("STOPPING=1")

    def ping(self) -> None:
        """It is alive."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``; sent only where it changed."""
        text = " ".join(text.split())
        if text != self._status and self._send(f"STATUS={text}"):
            self._status = text

    def _send(self, message: str) -> bool:
        if not self._address:
            return False
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as channel:
                channel.sendto(message.encode("utf-8", "backslashreplace"), self._address)
        except (OSError, ValueError):
            return False
        return True


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Within how many seconds a ping is wanted, 0 where none is (sd_watchdog_enabled(3))."""
    wanted, who = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not wanted.isascii() or not wanted.isdigit() or who not in ("", str(os.getpid())):
        return 0.0
    return int(wanted) / 1_000_000


class Pulse:
    """A thread that looks at the watcher again and again: pings while it gets on, tells
    ``tell`` how it stands. Where looking itself hangs, there is no ping either.
    """

    def __init__(
        self,
        look: Callable[[], Health],
        notifier: Notifier,
        tell: Callable[[Health], str],
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._look, self._notifier, self._tell = look, notifier, tell
        self.limit_seconds = notifier.watchdog_seconds
        asked = notifier.watchdog_seconds / _PINGS_IN_INTERVAL
        self._wait_seconds = min(look_seconds, asked) if asked else look_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join(2 * _LOOK_SECONDS)

    def beat(self) -> None:
        """Look once."""
        health = self._look()
        self._notifier.status(self._tell(health))
        if self.limit_seconds and health.oldest_beat_seconds < self.limit_seconds / 2:
            self._notifier.ping()

    def _run(self) -> None:
        while not self._end.wait(self._wait_seconds):
            with contextlib.suppress(Exception):  # a look that failed is a ping that is missing
                self.beat()


class Stopping:
    """SIGTERM, SIGINT and SIGHUP, in order: the first asks the watcher to finish what it is
    at (``asked``); the second, or ``seconds`` later none, has it broken off and rolled back
    (``broken_off``, heard by :class:`Living`). What hangs even then, on a disk that doesn't
    answer, is ended as a kill would: the next start knows what to do.

    One that whoever started it has ignored (nohup) stays ignored. ``wake`` is called after
    each step. A handler only writes a byte: locks that a thread
    holds while it is interrupted can't be taken in it.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(
        self,
        notifier: Notifier,
        seconds: float = STOP_SECONDS,
        broken_off: threading.Event | None = None,
    ) -> None:
        self.asked, self.broken_off = threading.Event(), broken_off or threading.Event()
        self._notifier, self._seconds = notifier, seconds
        self._wake: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def watched(self, wake: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
        """Handles the signals meanwhile; in the main thread only."""
        self._wake = wake
        hears, speaks = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

        def handler(_number: int, _frame: FrameType | None) -> None:
            with contextlib.suppress(BlockingIOError):
                os.write(speaks, b"s")

        listener = threading.Thread(target=self._listen, args=(hears,), name="signals", daemon=True)
        heeded = [one for one in self._SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
        before = {number: signal.signal(number, handler) for number in heeded}
        listener.start()
        try:
            yield self.asked
        finally:
            for number, old in before.items():
                signal.signal(number, old)
            os.close(speaks)
            listener.join()
            os.close(hears)

    def _listen(self, hears: int) -> None:
        """Until the other end is closed."""
        if not _heard(hears, None):
            return
        self._notifier.stopping()
        self._step(self.asked)
        if not _heard(hears, self._seconds):
            return
        self._step(self.broken_off)
        patience = time.monotonic() + _HANG_SECONDS
        while (left := patience - time.monotonic()) > 0:
            if not _heard(hears, left):
                return
        os._exit(130)

    def _step(self, event: threading.Event) -> None:
        event.set()
        self._wake()


def _heard(hears: int, seconds: float | None) -> bool:
    """Wait for a signal, or so many seconds; False once the other end is closed."""
    ready, _writable, _failed = select.select([hears], [], [], seconds)
    return not ready or bool(os.read(hears, 1))


class Living:
    """A progress that tells it is alive (``beat``), and ends the work when it is broken off
    by StoppedError.
    """

    def __init__(self, beat: Callable[[], None], broken_off: threading.Event) -> None:
        self._beat, self._broken_off = beat, broken_off

    def expect(self, size_bytes: int, files: int) -> None:
        """See :class:`archiver.bag.progress.Progress`."""

    def done(self, size_bytes: int, files: int) -> None:  # noqa: ARG002  # the protocol's names
        """See the protocol."""
        self._go_on()

    def within(self, size_bytes: int) -> None:  # noqa: ARG002  # as above
        """See the protocol."""
        self._go_on()

    def clear(self) -> None:
        """See the protocol."""

    def _go_on(self) -> None:
        self._beat()
        if self._broken_off.is_set():
            raise StoppedError


class StoppableSink:
    """A sink whose work can be broken off: what was staged is gone then, and files wait.
    ``done`` hears of each bag that is in its place.
    """

    def __init__(self, inner: Sink, done: Callable[[str], None] = lambda _bag: None) -> None:
        self._inner, self._told = inner, done

    def problem(self) -> str:
        """See the protocol."""
        return self._inner.problem()

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        """See the protocol."""
        try:
            return self._inner.prepare(units)
        except StoppedError:
            return [Failed(unit=unit, kind="sink", reason=_stopped()) for unit in units]

    def commit(self, prepared: Sequence[Prepared]) -> list[Done | Failed]:
        """See the protocol."""
        results = self._inner.commit(prepared)
        for one in results:
            if isinstance(one, Done):
                self._told(one.bag)
        return results

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        """See the protocol."""
        self._inner.abandon(prepared)

    def find(self, unit: Unit) -> Done | None:
        """See the protocol. Raises VaultError where it was broken off."""
        try:
            return self._inner.find(unit)
        except StoppedError as error:
            raise VaultError(_stopped()) from error

    def resume(self, unit: Unit, item: str, digests: Sequence[str], described: str) -> Done | None:
        """See the protocol. Raises VaultError where it was broken off."""
        try:
            return self._inner.resume(unit, item, digests, described)
        except StoppedError as error:
            raise VaultError(_stopped()) from error

    def is_proved(self, done: Done, replicas: int) -> bool:
        """See the protocol."""
        try:
            return self._inner.is_proved(done, replicas)
        except StoppedError:
            return False

    def sweep(self) -> None:
        """See the protocol."""
        self._inner.sweep()


def _stopped() -> str:
    return _("it was told to stop")
