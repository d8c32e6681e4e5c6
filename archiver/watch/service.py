"""The watcher under a service manager: told when it is ready, alive, stopping; ended in time.

Job: sd_notify(3) without its library, watchdog pings that mean something, signals. Limits:
knows nothing of files. A ping goes out only while both the scanner and the archiver get on:
a process whose pings come from a timer alone would be called alive while it hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Self

from archiver.watch.health import Health

__all__ = ["STOP_SECONDS", "Notifier", "Pulse", "Stopping"]

STOP_SECONDS = 25.0
"""What was begun may take so long to be finished after SIGTERM; then it is rolled back."""
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
    """SIGTERM and SIGINT, in order: the first asks the watcher to finish what it is at
    (``asked``), the second, or ``seconds`` later its own timer, breaks it off by
    KeyboardInterrupt, so that what is staged is rolled back, at the latest by the next start.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self, notifier: Notifier, seconds: float = STOP_SECONDS) -> None:
        self.asked = threading.Event()
        self._notifier, self._seconds = notifier, seconds

    @contextlib.contextmanager
    def watched(self) -> Iterator[threading.Event]:
        """Handles the signals meanwhile; in the main thread only."""
        before = {number: signal.signal(number, self._hear) for number in self._SIGNALS}
        alarm = signal.signal(signal.SIGALRM, self._break_off)
        try:
            yield self.asked
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked.is_set():
            self._break_off(number, frame)
        self.asked.set()
        self._notifier.stopping()
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def _break_off(self, _number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt
