"""What a watcher says while it works: JSON lines for programs, short ones for people.

Job: tell changes, and sums of what was done. Limits: a line is never about one file, unless
names were asked for: a hundred thousand files make some dozens of lines, and what goes on
and off is told once in a while. Names of files stay out of it, since logs travel further
than the evidence does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from archiver.i18n import _
from archiver.watch.health import Health, without_names
from archiver.watch.model import MISREAD, State

__all__ = ["JsonLines", "Line", "LineWriter", "Lines", "WatchLog", "summary_text"]

_SUMS_SECONDS = 10.0
"""Between two lines that tell what was done."""
_AGAIN_SECONDS = 10.0
"""Between two lines on the same matter, however often it changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is told: ``text`` is for people, the rest for programs."""

    event: str
    text: str
    level: str = "info"
    fields: Mapping[str, object] = field(default_factory=dict)


class LineWriter(Protocol):
    """Puts lines out."""

    def line(self, line: Line) -> None:
        """One line, for good."""

    def live(self, text: str) -> None:
        """How things stand now, where somebody watches; replaced by what follows."""


class JsonLines:
    """A JSON object a line, in ASCII. A reader that has gone stops nobody."""

    def __init__(
        self, stream: TextIO, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._stream, self._now = stream, now

    def line(self, line: Line) -> None:
        """See the protocol."""
        head = {"time": self._now().isoformat(timespec="milliseconds"), "level": line.level}
        document = {**head, "event": line.event, "message": line.text, **line.fields}
        _write(self._stream, json.dumps(document) + "\n")

    def live(self, text: str) -> None:
        """Programs get sums, now and then."""


class Lines:
    """For a terminal: the time of day and a sentence, and below them how things stand.
    ``escape`` makes a text fit for it.
    """

    def __init__(
        self,
        stream: TextIO,
        escape: Callable[[str], str],
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._stream, self._escape, self._now = stream, escape, now
        self._live = False
        self._draws = stream.isatty()

    def line(self, line: Line) -> None:
        """See the protocol."""
        if line.event == "progress" and self._draws:
            return  # it stands in the live line
        self.clear()
        _write(self._stream, f"{self._now():%H:%M:%S}  {self._escape(line.text)}\n")

    def live(self, text: str) -> None:
        """See the protocol."""
        if self._draws:
            self._live = True
            _write(self._stream, f"\r\033[K{self._escape(text)}")

    def clear(self) -> None:
        """Take the live line away."""
        if self._live:
            self._live = False
            _write(self._stream, "\r\033[K")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        return  # a full disk or a closed terminal under the log is no reason to stop archiving


def summary_text(health: Health) -> str:
    """How things stand, in one line."""
    archived = health.count(State.ARCHIVED, State.DISPOSED, State.SUPERSEDED)
    text = _("archived: {archived}, waiting: {waiting}, quarantined: {quarantined}").format(
        archived=archived,
        waiting=health.waiting,
        quarantined=health.count(State.QUARANTINED),
    )
    return text + (" – " + _("nothing can be archived now") if health.reasons() else "")


@dataclass(slots=True)
class _Matter:
    """What was told of something that changes, and when."""

    told: Any
    told_at: float = field(default=float("-inf"))


class WatchLog:
    """Turns looks at the watcher into lines. ``hide``: paths that are never told;
    ``names``: tell names of files and folders all the same.
    """

    def __init__(
        self,
        writer: LineWriter,
        *,
        names: bool = False,
        hide: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer, self._names, self._hide, self._clock = writer, names, tuple(hide), clock
        self._matters: dict[str, _Matter] = {}
        self._again_seconds = _AGAIN_SECONDS
        self._misread, self._misread_reason = 0, ""
        self._sums: tuple[object, ...] | None = None
        self._sums_at = float("-inf")

    def say(self, event: str, text: str, *, level: str = "info", **fields: object) -> None:
        """A line of its own; ``text`` holds no names."""
        self._writer.line(Line(event=event, text=text, level=level, fields=fields))

    def plain(self, text: str) -> str:
        """``text`` as it may be told."""
        return text if self._names else without_names(text, self._hide)

    def file(self, event: str, path: bytes, reason: str = "") -> None:
        """What became of one file: told only where names were asked for, and of what is secret
        (b"") without its name. Of descriptions that weren't understood the number is told by the
        next look.
        """
        if event == MISREAD:
            self._misread, self._misread_reason = self._misread + 1, reason
        if self._names:
            name = path.decode("utf-8", "surrogateescape")
            text = ": ".join(one for one in (event, name, reason) if one)
            fields = {"path": name or None, "reason": reason or None}
            self._writer.line(Line(event=event, text=text, fields=fields))

    def look(self, health: Health) -> str:
        """Tell what changed since the last look; the line for ``systemctl status``."""
        self._tell_changes(health, final=False)
        text = summary_text(health)
        self._tell_sums(health, text, final=False)
        self._writer.live(text)
        return text

    def finish(self, health: Health) -> None:
        """The last changes and sums, if they are news."""
        self._tell_changes(health, final=True)
        self._tell_sums(health, summary_text(health), final=True)

    def _tell_changes(self, health: Health, *, final: bool) -> None:
        self._again_seconds = 0.0 if final else _AGAIN_SECONDS
        self._change("target", health.problem, _("archiving"))
        for number, one in enumerate(health.folders, start=1):
            name = one.path if self._names else str(number)
            self._change(f"folder {number}", one.paused, _("folder {name}").format(name=name))
            watch = _("hints for folder {name}").format(name=name)
            self._change(f"hints {number}", one.degraded, watch, pause=False)
        self._left(health.left)
        self._quarantined(health.count(State.QUARANTINED))
        if self._is_news(MISREAD, self._misread, 0):
            text = _("descriptions not understood: {count}; the last: {reason}")
            text = text.format(count=self._misread, reason=self.plain(self._misread_reason))
            fields = {"count": self._misread, "reason": self.plain(self._misread_reason)}
            self._writer.line(Line(event=MISREAD, text=text, level="warning", fields=fields))

    def _change(self, key: str, problem: str, what: str, *, pause: bool = True) -> None:
        """A thing that goes on and off."""
        if not self._is_news(key, problem, ""):
            return
        reason, kind = self.plain(problem), key.partition(" ")[0]
        fields: dict[str, object] = {"about": key, "reason": reason or None}
        if problem:
            text = _("{what} waits: {reason}") if pause else _("{what} don't work: {reason}")
            event, level = f"{kind}-waits", "warning"
        else:
            text, event, level = _("{what}: all is well"), f"{kind}-goes-on", "info"
        text = text.format(what=what, reason=reason)
        self._writer.line(Line(event=event, text=text, level=level, fields=fields))

    def _left(self, problem: str) -> None:
        if self._is_news("left", problem, ""):
            reason = self.plain(problem)
            text = _("what a killed run has left can't be ended: {reason}").format(reason=reason)
            fields = {"reason": reason}
            self._writer.line(Line(event="left", text=text, level="warning", fields=fields))

    def _quarantined(self, count: int) -> None:
        before = self._matters.get("quarantined", _Matter(0)).told
        if self._is_news("quarantined", count, 0):
            text = _("quarantined: {count} (see 'archiver watch status')").format(count=count)
            level = "warning" if count > before else "info"
            fields = {"count": count}
            self._writer.line(Line(event="quarantined", text=text, level=level, fields=fields))

    def _is_news(self, key: str, value: object, normal: object) -> bool:
        matter = self._matters.setdefault(key, _Matter(normal))
        if matter.told == value or self._clock() - matter.told_at < self._again_seconds:
            return False
        matter.told, matter.told_at = value, self._clock()
        return True

    def _tell_sums(self, health: Health, text: str, *, final: bool) -> None:
        counts = {state.value: health.count(state) for state in State}
        sums = tuple(counts.values())
        if sums == self._sums or (not final and self._clock() - self._sums_at < _SUMS_SECONDS):
            return
        self._sums, self._sums_at = sums, self._clock()
        waited = max((one.oldest_waiting_seconds for one in health.folders), default=0.0)
        fields: dict[str, object] = {
            "files": counts,
            "queue": health.queue,
            "oldest_waiting_seconds": round(waited, 1),
        }
        self._writer.line(Line(event="progress", text=text, fields=fields))
