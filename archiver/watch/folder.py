"""One watched folder: is it still the same one, what is new in it, what has settled.

Job: the first half of a file's way, from "seen" to "stable". Limits: archives nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from archiver.i18n import N_, _
from archiver.policy import WatchPolicy
from archiver.watch.clock import Clock
from archiver.watch.hints import Hints
from archiver.watch.journal import Journal, Row, Wait, split
from archiver.watch.model import State
from archiver.watch.rules import Rules
from archiver.watch.scan import RELEASED, Identity, Look, Scanner, identify
from archiver.watch.settling import Settler

__all__ = ["Folder", "PausedError", "Tell", "WatchedRoot"]

Tell = Callable[[str, bytes, str], None]
"""Called with what happened to a file, its path below the root, a reason."""

_LOCAL_SECONDS, _SHARE_SECONDS = 60.0, 300.0
_COST_FACTOR = 150.0
"""A scan every so many times what it costs: below 1 % of a core."""
_AGAIN_FACTOR = 10.0
"""A directory with news is looked at again after so many times what the last look took."""
_SECOND_LOOK_SECONDS = 1.0
"""New trees are looked at twice: files may come before the kernel watches them."""
_AT_ONCE = 500


class PausedError(Exception):
    """Nothing can be said about the folder now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedRoot:
    """What is to be watched, by which rules, and where that is remembered."""

    path: str
    policy: WatchPolicy
    journal: Journal


@dataclass(slots=True)
class _Dirty:
    """A directory to be looked at."""

    deep: bool
    not_before: float


@dataclass(slots=True)
class Folder:
    """The state of one root while a watcher runs."""

    root: WatchedRoot
    clock: Clock
    tell: Tell
    beat: Callable[[], None] = lambda: None
    hints: Hints | None = None
    paused: str = ""
    scanned_at: float | None = None
    scan_took: float | None = None
    next_scan: float = 0.0
    needs_recovery: set[int] = field(default_factory=lambda: {0, 1})
    rules: Rules = field(init=False)
    _dirty: dict[bytes, _Dirty] = field(default_factory=dict)
    _cost: dict[bytes, float] = field(default_factory=dict)
    _identity: Identity | None = None
    _retry_hints: float = 0.0

    def __post_init__(self) -> None:
        self.rules = Rules(self.root.policy, os.fsencode(os.path.abspath(self.root.path)))

    @property
    def journal(self) -> Journal:
        """Its journal."""
        return self.root.journal

    def begin(self) -> None:
        """What an earlier process left is waited for anew. Raises StorageError."""
        if self.journal.made_anew:
            self.journal.remember("doubtful", "yes")
        now = self.clock.now()
        self.journal.begin_clock(now + self.root.policy.quiet_seconds, now)
        self.next_scan = now

    # Which folder it is

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """The root's descriptor, once it is known to be the same as ever. Raises PausedError."""
        try:
            descriptor = os.open(self.root.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._pause(_("the folder is not there: {reason}").format(reason=error.strerror))
            raise PausedError from error
        try:
            self._compare(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _compare(self, descriptor: int) -> None:
        try:
            found = identify(self.root.path, descriptor)
        except OSError as error:
            self._pause(_("the folder can't be read: {reason}").format(reason=error.strerror))
            raise PausedError from error
        known = self.journal.fact("root")
        if not known:
            self.journal.remember("root", found.to_text())
        elif not found.is_same(Identity.from_text(known)):
            self._pause(_("another folder lies in its place, or its disk is not mounted"))
            raise PausedError
        self._identity = found
        if self.paused:
            self.resume()
        self._start_hints(found)

    def _start_hints(self, identity: Identity) -> None:
        """Before anything is looked at, so that nothing falls between; never on a share,
        whose other machines the kernel knows nothing of.
        """
        now = self.clock.now()
        if self.hints is None or self.hints.runs or identity.is_share or now < self._retry_hints:
            return
        self._retry_hints = now + _LOCAL_SECONDS
        self.hints.start()
        self.next_scan = now

    def _pause(self, reason: str) -> None:
        if self.hints is not None:  # they would be about something else
            self.hints.close()
            self._retry_hints = 0.0
        self.paused = reason

    def fail(self, reason: str) -> None:
        """Its journal can't be written: nothing is done until it can."""
        self.paused = reason
        self.needs_recovery |= {0, 1}

    def resume(self) -> None:
        """All is well again: everything is looked at."""
        self.paused, self.next_scan = "", self.clock.now()

    # Looking

    @property
    def scanner(self) -> Scanner:
        """For the folder as it is now."""
        assert self._identity is not None
        scanner = Scanner(self.journal, self.rules, self._identity, self.clock.now, self.beat)
        scanner.doubtful = self.journal.fact("doubtful") == "yes"
        scanner.thorough = self.scanned_at is None
        return scanner

    def scan(self) -> Look:
        """Look at everything. Raises PausedError, StorageError."""
        with self.opened() as root:
            begun, cost = self.clock.now(), self.clock.cpu()
            look = self.scanner.whole(root)
        if look.complete and self.journal.fact("doubtful"):
            self.journal.remember("doubtful", "")
        now, cost = self.clock.now(), self.clock.cpu() - cost
        self.scanned_at, self.scan_took = now, now - begun
        assert self._identity is not None
        least = _SHARE_SECONDS if self._identity.is_share else _LOCAL_SECONDS
        self.next_scan = now + max(least, cost * _COST_FACTOR)
        self._cost.clear()
        if self.hints is not None:
            self.hints.judge(look.directories)
        return look

    def take_hints(self) -> None:
        """Remember where something happened; lost events mean a whole scan, at once."""
        if self.hints is None:
            return
        if self.hints.is_dead():
            self.hints.close()
            self.hints.note_loss()
            self._retry_hints = 0.0
        dirty, everything = self.hints.take()
        now = self.clock.now()
        if everything:
            soonest = (self.scanned_at or 0.0) + _AGAIN_FACTOR * (self.scan_took or 0.0)
            self.next_scan = min(self.next_scan, max(now, soonest))
        for directory, deep in dirty.items():
            self.look_at(directory, deep=deep)
            if deep:
                later = _Dirty(True, now + _SECOND_LOOK_SECONDS)
                self._dirty[directory + b"\0"] = later  # a key of its own: names hold no NUL

    def look_at(self, directory: bytes, *, deep: bool = False) -> None:
        """A directory with news ("" or "a/b/"). Safe from any thread."""
        known = self._dirty.get(directory)
        not_before = self._cost.get(directory, 0.0)
        self._dirty[directory] = _Dirty(deep or (known is not None and known.deep), not_before)

    def look(self) -> None:
        """Look at the directories that are due. Raises PausedError, StorageError."""
        now = self.clock.now()
        due = [key for key, dirty in list(self._dirty.items()) if dirty.not_before <= now]
        if not due:
            return
        with self.opened() as root:
            scanner = self.scanner
            for key in sorted(due):
                dirty, directory = self._dirty.pop(key), key.rstrip(b"\0")
                if self._is_left_out(directory):
                    continue
                begun = self.clock.now()
                (scanner.tree if dirty.deep else scanner.directory)(root, directory)
                ended = self.clock.now()
                self._cost[directory] = ended + _AGAIN_FACTOR * (ended - begun)
        if len(self._cost) > _AT_ONCE:
            now = self.clock.now()
            self._cost = {key: until for key, until in self._cost.items() if until > now}

    def _is_left_out(self, directory: bytes) -> bool:
        parts = directory.split(b"/")[:-1]
        return any(self.rules.skips(b"/".join(parts[: number + 1])) for number in range(len(parts)))

    def next_look(self) -> float:
        """When there is something to do, in monotonic seconds."""
        times = [self.next_scan, *(dirty.not_before for dirty in list(self._dirty.values()))]
        due = self.journal.next_due()
        return min([*times, due] if due is not None else times)

    # Settling and requests

    def settle(self) -> int:
        """Turn what has settled into ``stable``; how many units. Raises as :meth:`look`."""
        now = self.clock.now()
        if not self.journal.due(State.SEEN, now, 1):
            return 0
        with self.opened() as root:
            settler = Settler(self.journal, self.rules, self.scanner, self.clock.now, self.tell)
            return settler.settle(root, _AT_ONCE)

    def doubt(self, row: Row) -> None:
        """An archived original turned out to be another one: a new version of it waits."""
        now = self.clock.now()
        wait = Wait(now, now + self.root.policy.quiet_seconds)
        self.journal.new_version(row, row.fingerprint, wait)
        self.look_at(split(row.path)[0])

    def answer_requests(self) -> None:
        """Do what was asked for with ``retry``, ``release``, ``accept``. Raises StorageError."""
        for what, path in self.journal.asked():
            if what == "accept":
                self.journal.remember("root", "")
                self.journal.remember("doubtful", "yes")
                continue
            row = self.journal.at(path)
            if row is None or row.state is not State.QUARANTINED:
                continue
            group = self.journal.of_group(row.group)
            rows = [one for one in group if one.state is State.QUARANTINED]
            if what == "retry":
                self.journal.turn(rows, State.SEEN, due=self.clock.now())
            else:
                self.journal.turn(rows, State.IGNORED, reason=RELEASED)

    @property
    def degraded(self) -> str:
        """Why it takes longer to notice new files than it should."""
        told = [self.hints.problem if self.hints is not None else ""]
        if self.journal.set_aside:
            told.append(N_("the journal was unreadable: it was set aside and begun anew"))
        return "; ".join(_(text) for text in told if text)
