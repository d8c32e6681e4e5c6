"""The time that a watcher goes by, and the signs of life of its parts.

Job: monotonic seconds, waiting, beats. Limits: wall clocks are nobody's business here: they
are set, and files' times are whatever somebody wrote there.
"""

from __future__ import annotations

import threading
import time

__all__ = ["Beats", "Clock"]


class Clock:
    """Monotonic seconds."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def cpu(self) -> float:
        """Seconds of a core that this thread has used."""
        return time.thread_time()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Until ``event`` is set, but not longer."""
        return event.wait(max(0.0, seconds))


class Beats:
    """When each part last got on with something. Long work calls :meth:`beat` now and then."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._parts: dict[str, float] = {}
        self._names: dict[int, str] = {}

    def begin(self, part: str) -> None:
        """The calling thread is this part from now on."""
        self._names[threading.get_ident()] = part
        self.beat()

    def end(self) -> None:
        """The calling thread's part is over: nobody waits for it."""
        self._parts.pop(self._names.pop(threading.get_ident(), ""), None)

    def beat(self) -> None:
        """The calling thread got on; a thread that is no part speaks for all of them."""
        name = self._names.get(threading.get_ident())
        for part in [name] if name else list(self._names.values()):
            self._parts[part] = self._clock.now()

    def age(self, kind: str) -> float:
        """Seconds since the last beat of the slowest part whose name begins so."""
        now = self._clock.now()
        ages = [now - at for part, at in list(self._parts.items()) if part.startswith(kind)]
        return max(ages, default=0.0)
