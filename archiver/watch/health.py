"""How a watcher stands at a moment: what logs, endpoints and the service manager are told.

Job: the values, and what follows from them: alive, ready, why not. Limits: looks at
nothing itself; no file names but the folders', which whoever tells them may leave out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from archiver.watch.model import State

__all__ = ["FolderHealth", "Health", "Reason", "without_names"]

_WAITING = (State.SEEN, State.STABLE, State.INGESTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderHealth:
    """One watched folder. ``paused`` and ``degraded`` say why, or are empty.

    Ages and times in seconds; None: there was none yet.
    """

    path: str
    paused: str = ""
    degraded: str = ""
    counts: Mapping[State, int] = field(default_factory=dict)
    oldest_waiting_seconds: float = 0.0
    scan_age_seconds: float | None = None
    scan_took_seconds: float | None = None
    hints_lost: int = 0

    def count(self, *states: State) -> int:
        """How many files stand in these states."""
        return sum(self.counts.get(state, 0) for state in states)

    @property
    def waiting(self) -> int:
        """How many files are yet to be archived."""
        return self.count(*_WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why files wait: ``folder`` counts from 1, 0 means all; ``text`` is for people."""

    folder: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The whole watcher. ``problem``: why nothing can be archived now, or empty; ``left``: why
    something that a killed run has left couldn't be brought to an end, or empty. The beats are
    the seconds since scanner and archiver last got on with something, if only with finding that
    there is nothing to do.
    """

    folders: tuple[FolderHealth, ...]
    problem: str = ""
    left: str = ""
    scanner_beat_seconds: float = 0.0
    archiver_beat_seconds: float = 0.0
    queue: int = 0

    def count(self, *states: State) -> int:
        """How many files stand in these states, in all folders."""
        return sum(one.count(*states) for one in self.folders)

    @property
    def waiting(self) -> int:
        """How many files are yet to be archived."""
        return sum(one.waiting for one in self.folders)

    @property
    def oldest_beat_seconds(self) -> float:
        """Of the part that stands still the longest."""
        return max(self.scanner_beat_seconds, self.archiver_beat_seconds)

    def reasons(self) -> list[Reason]:
        """Why files wait that could be archived; none where all is well."""
        found = [Reason(folder=0, kind="target", text=self.problem)] if self.problem else []
        numbered = enumerate(self.folders, start=1)
        return found + [
            Reason(folder=number, kind="folder", text=one.paused)
            for number, one in numbered
            if one.paused
        ]


def without_names(text: str, known: Iterable[str] = ()) -> str:
    """``text`` without the paths in it: the ``known`` ones are taken out whole, of others
    what stands behind the first slash, since nobody can tell where a path with blanks ends.
    """
    for path in sorted(filter(None, known), key=len, reverse=True):
        text = text.replace(path, "…")
    return re.sub(r"[^\s'\"(]*/.*", "…", text, flags=re.DOTALL)
