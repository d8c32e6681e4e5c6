"""Hints from the kernel, through watchdog: where it may be worth to look at once.

Job: gather directories in which something happened, and every sign that events were lost.
Limits: hints only. What they leave out a scan finds; with them off, everything works.

watchdog (7.1, Linux) loses events by the ten thousand, watches fewer directories than asked
for without saying so, and goes on in silence when its root was replaced: every warning of
its counts as a loss, and none is printed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from archiver.i18n import _

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

__all__ = ["Hints", "watch_limit"]

_MOST = 10_000
"""Dirty directories; with more of them everything is looked at."""
_LIMITS = ("/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches")
_ENOUGH = 0.9


def watch_limit() -> int:
    """How many directories this user may have watched; 0 where it isn't told."""
    found = []
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            found.append(int(file.read()))
    return min(found, default=0)


def watches() -> int:
    """How many the kernel has for this process (proc_pid_fdinfo(5))."""
    count = 0
    for number in os.listdir("/proc/self/fdinfo"):
        with (
            contextlib.suppress(OSError),
            open(f"/proc/self/fdinfo/{number}", encoding="ascii") as lines,
        ):
            count += sum(line.startswith("inotify wd:") for line in lines)
    return count


def _tame_threads() -> None:
    """A thread of watchdog may meet a descriptor that was closed under it: it ends, which
    :meth:`Hints.is_dead` notices; a traceback on standard error would tell nobody anything.
    """
    before = threading.excepthook
    if getattr(before, "tames_watchdog", False):
        return

    def hook(news: threading.ExceptHookArgs) -> None:
        if type(news.thread).__module__.startswith("watchdog."):
            for one in list(_Warnings.of_all):
                one.note_loss()
            return
        before(news)

    hook.tames_watchdog = True  # type: ignore[attr-defined]
    threading.excepthook = hook


class Hints:
    """Of one folder. ``wake`` is called from watchdog's threads when there is news."""

    def __init__(self, root: str, wake: Callable[[], None]) -> None:
        self._root = os.fsencode(os.path.abspath(root))
        self._wake = wake
        self._guard = threading.Lock()
        self._dirty: dict[bytes, bool] = {}
        self._everything = False
        self._observer: Any = None
        self.lost = 0
        """Warnings and losses so far."""
        self.problem = ""
        """Why there are no hints, or not from everywhere."""

    def start(self) -> None:
        """Begin to watch. Where that can't be, :attr:`problem` says so."""
        _Warnings.of_all.add(self)
        _tame_threads()
        try:
            from watchdog.observers import Observer

            observer = Observer()
            observer.schedule(
                _Handler(self),  # type: ignore[arg-type]  # only dispatch() is asked for
                os.fsdecode(self._root),
                recursive=True,
                event_filter=_events(),
            )
            observer.start()
        except (OSError, RuntimeError, ImportError) as error:
            self.problem = _("no hints from the system ({reason}): found by scans only").format(
                reason=error
            )
            return
        self._observer, self.problem = observer, ""

    def close(self) -> None:
        """End it."""
        _Warnings.of_all.discard(self)
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(5)

    @property
    def runs(self) -> bool:
        """Whether there may be hints at all."""
        return self._observer is not None

    def is_dead(self) -> bool:
        """Whether a part of it has ended by itself."""
        observer = self._observer
        return observer is not None and not (
            observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)
        )

    def judge(self, directories: int) -> None:
        """Compare the number of directories that a scan found with what can be watched."""
        if not self.runs:
            return
        watched, limit = watches(), watch_limit()
        self.problem = ""
        if watched < directories * _ENOUGH or 0 < limit < directories:
            self.problem = _(
                "only {watched} of {directories} directories can be watched (limit {limit}):"
                " the others are found by scans only"
            ).format(watched=min(watched, directories), directories=directories, limit=limit)

    def take(self) -> tuple[dict[bytes, bool], bool]:
        """(directories, whether with all below them), and whether everything must be looked
        at; gathered since the last time.
        """
        with self._guard:
            taken = self._dirty, self._everything
            self._dirty, self._everything = {}, False
            return taken

    def note(self, path: bytes, *, deep: bool) -> None:
        """Something happened in this directory."""
        if path != self._root and not path.startswith(self._root.rstrip(b"/") + b"/"):
            return
        inner = path[len(self._root) :].strip(b"/")
        directory = inner + b"/" if inner else b""
        with self._guard:
            if len(self._dirty) >= _MOST:
                self._everything = True
            else:
                self._dirty[directory] = self._dirty.get(directory, False) or deep
        self._wake()

    def note_loss(self) -> None:
        """Events were lost, or may have been."""
        with self._guard:
            self.lost += 1
            self._everything = True
        self._wake()


class _Handler:
    """What watchdog calls; an event says only where to look."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints

    def dispatch(self, event: FileSystemEvent) -> None:
        for path in filter(None, (event.src_path, getattr(event, "dest_path", ""))):
            told = os.fsencode(path)
            if event.is_directory and event.event_type in ("created", "moved"):
                self._hints.note(told, deep=True)
            elif not event.is_directory or event.event_type == "deleted":
                self._hints.note(os.path.dirname(told), deep=False)


class _Warnings(logging.Handler):
    """Counts what watchdog would print. Its threads serve all folders at once."""

    of_all: ClassVar[WeakSet[Hints]] = WeakSet()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            for hints in list(self.of_all):
                hints.note_loss()


def _events() -> list[type[FileSystemEvent]]:
    from watchdog import events

    logger = logging.getLogger("watchdog")
    if not any(isinstance(handler, _Warnings) for handler in logger.handlers):
        logger.addHandler(_Warnings())
        logger.propagate = False
    return [
        events.FileCreatedEvent,
        events.FileMovedEvent,
        events.FileDeletedEvent,
        events.FileClosedEvent,
        events.DirCreatedEvent,
        events.DirMovedEvent,
        events.DirDeletedEvent,
    ]
