"""The watcher: folders are looked at, what settles goes through the sink, for as long as asked.

Job: the threads (one that looks, one for each lane), the order of things, how it all stands.
Limits: no signals, no logs, no bags.

Lost hints, clocks that are set, kills: nothing here is relied on but the scan and the
journal. A folder that isn't there, a journal or a sink that can't be written: the thing in
question pauses, is tried again after a while, and nothing is called gone or refused for it.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from archiver.errors import ArchiverError, UsageError
from archiver.i18n import _
from archiver.watch.archiving import LARGE, SMALL, Archiver
from archiver.watch.clock import Beats, Clock
from archiver.watch.folder import Folder, PausedError, Tell, WatchedRoot
from archiver.watch.health import FolderHealth, Health
from archiver.watch.hints import Hints
from archiver.watch.journal import Journal
from archiver.watch.model import Sink, State
from archiver.watch.scan import same

__all__ = ["Planned", "WatchedRoot", "Watcher"]

_LONGEST_WAIT_SECONDS = 1.0
"""How late a vanished root, a request or a dead part is noticed at most."""
_SHORTEST_WAIT_SECONDS = 0.02
_GATHER_SECONDS = 0.1
"""Hints are gathered for so long before they are followed."""
_RETRY_SECONDS = 5.0
"""A folder whose journal failed is tried again after so long."""
_MARGIN_SECONDS = 0.05
_ROUNDS = 3
"""A run that is to end waits so often: for a quiet period, for proofs that take longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What would happen to a file: ``group`` is its unit (``FOLDER/`` or the file)."""

    root: str
    path: bytes
    group: bytes
    state: State
    reason: str


class Watcher:
    """Watches folders for one sink. Build it, then :meth:`run` or :meth:`run_once`.

    ``tell`` hears what became of single files: (state, path below its root, reason), from
    any thread. ``beats`` is for a sink that works long: it calls ``beats.beat()``. Raises
    UsageError where one folder lies in another: what is in both would be archived twice.
    """

    def __init__(
        self,
        roots: Sequence[WatchedRoot],
        sink: Sink,
        *,
        clock: Clock | None = None,
        beats: Beats | None = None,
        hints: bool = True,
        tell: Tell = lambda _state, _path, _reason: None,
    ) -> None:
        _refuse_overlaps([root.path for root in roots])
        self._clock = clock or Clock()
        self._beats = beats or Beats(self._clock)
        self._sink = sink
        self._wake = threading.Event()
        self._work = {SMALL: threading.Event(), LARGE: threading.Event()}
        self._archiver = Archiver(sink, self._clock, tell, beat=self._beats.beat)
        self._folders = [Folder(root, self._clock, tell, self._between) for root in roots]
        self._retry: dict[int, float] = {}
        self._broken: list[BaseException] = []
        for folder in self._folders if hints else ():
            folder.hints = Hints(folder.root.path, self._wake.set)

    # Running

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set (call :meth:`wake` then): what is being archived is finished,
        the rest is for the next run.
        """
        self._begin(hints=True)
        lanes = [
            threading.Thread(target=self._lane, args=(lane, stop), name=f"archiver-{lane}")
            for lane in (SMALL, LARGE)
        ]
        self._beats.begin("scanner")
        for thread in lanes:
            thread.start()
        try:
            while not stop.is_set():
                self._wake.clear()
                for folder in self._folders:
                    self._tick(folder)
                self._beats.beat()
                self._signal_lanes()
                if not self._clock.wait(self._wake, self._until_next()):
                    continue
                self._clock.wait(stop, _GATHER_SECONDS)
        finally:
            stop.set()
            self._signal_lanes()
            for thread in lanes:
                thread.join()
            self._beats.end()
            self._end()
        if self._broken:
            raise self._broken[0]

    def run_once(self, stop: threading.Event | None = None) -> None:
        """Look at everything, wait until it can have settled, archive what has, and end."""
        stop = stop or threading.Event()
        self._begin(hints=False)
        self._beats.begin("scanner")
        try:
            self._archive_all(stop)  # what an earlier run was at
            for folder in self._folders:
                self._tick(folder)
            ends = self._all_settle_at()
            for _round in range(_ROUNDS):
                if ends is None or stop.is_set():
                    break
                self._clock.wait(stop, ends - self._clock.now() + _MARGIN_SECONDS)
                for folder in self._folders:
                    self._guarded(folder, partial(self._settle_all, folder))
                self._archive_all(stop)
                ends = self._all_settle_at()
            self._archive_all(stop)
        finally:
            self._beats.end()
            self._end()

    def wake(self) -> None:
        """There is news, or an end: look now."""
        self._wake.set()
        self._signal_lanes()

    def _begin(self, *, hints: bool) -> None:
        self._archiver.begin()
        for folder in self._folders:
            folder.hints = folder.hints if hints else None
            folder.begin()

    def _end(self) -> None:
        for folder in self._folders:
            if folder.hints is not None:
                folder.hints.close()

    def _between(self) -> None:
        """Within a long scan."""
        self._beats.beat()

    def _signal_lanes(self) -> None:
        for event in self._work.values():
            event.set()

    def _until_next(self) -> float:
        times = [folder.next_look() for folder in self._folders if not folder.paused]
        wait = min(times, default=float("inf")) - self._clock.now()
        return min(max(wait, _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)

    # Looking

    def _tick(self, folder: Folder) -> None:
        if self._clock.now() < self._retry.get(id(folder), 0.0):
            return
        self._guarded(folder, partial(self._look, folder))

    def _look(self, folder: Folder) -> None:
        folder.answer_requests()
        with folder.opened():
            pass
        folder.take_hints()
        if folder.next_scan <= self._clock.now():
            folder.scan()
        folder.look()
        self._settle_all(folder)
        folder.journal.forget_secret()

    def _settle_all(self, folder: Folder) -> None:
        while folder.settle():
            self._beats.beat()
            self._signal_lanes()

    def _guarded(self, folder: Folder, action: Callable[[], object]) -> bool:
        """Do it; a journal that fails pauses the folder, which is tried again."""
        try:
            action()
        except PausedError:
            return False
        except (ArchiverError, OSError) as error:
            reason = error.message if isinstance(error, ArchiverError) else str(error)
            folder.fail(reason)
            self._retry[id(folder)] = self._clock.now() + _RETRY_SECONDS
            return False
        return True

    def _all_settle_at(self) -> float | None:
        """When all that waits has been quiet long enough; None where nothing waits."""
        times = [folder.journal.last_due() for folder in self._folders if not folder.paused]
        return max((at for at in times if at is not None), default=None)

    # Archiving

    def _lane(self, lane: int, stop: threading.Event) -> None:
        """Whatever ends it unasked ends the whole, which is then told of it."""
        try:
            self._work_on(lane, stop)
        except BaseException as error:  # noqa: BLE001  # raised again by run()
            self._broken.append(error)
            stop.set()
            self.wake()

    def _work_on(self, lane: int, stop: threading.Event) -> None:
        self._beats.begin(f"archiver {lane}")
        event = self._work[lane]
        while not stop.is_set():
            event.clear()
            busy = [self._lane_step(folder, lane) for folder in self._folders]
            self._beats.beat()
            if not any(busy):
                self._clock.wait(event, _LONGEST_WAIT_SECONDS)
        self._beats.end()

    def _lane_step(self, folder: Folder, lane: int) -> bool:
        done = False

        def step() -> None:
            nonlocal done
            done = self._archiver.step(folder, lane)

        self._guarded(folder, step)
        return done

    def _archive_all(self, stop: threading.Event) -> None:
        for folder in self._folders:
            for lane in (SMALL, LARGE):
                while not stop.is_set() and self._lane_step(folder, lane):
                    self._beats.beat()

    # How it stands

    def health(self) -> Health:
        """How everything stands at this moment. Safe from any thread."""
        folders = tuple(self._folder_health(folder) for folder in self._folders)
        return Health(
            folders=folders,
            problem=self._archiver.problem,
            left=self._archiver.left,
            scanner_beat_seconds=self._beats.age("scanner"),
            archiver_beat_seconds=self._beats.age("archiver"),
            queue=sum(one.count(State.STABLE, State.INGESTING) for one in folders),
        )

    def _folder_health(self, folder: Folder) -> FolderHealth:
        paused, counts, waited = folder.paused, dict[State, int](), 0.0
        try:
            counts = folder.journal.counts()
            since = folder.journal.oldest_waiting()
            if since:
                waited = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
        except ArchiverError as error:
            paused = paused or error.message
        now, scanned = self._clock.now(), folder.scanned_at
        return FolderHealth(
            path=folder.root.path,
            paused=paused,
            degraded=folder.degraded,
            counts=counts,
            oldest_waiting_seconds=max(0.0, waited),
            scan_age_seconds=None if scanned is None else now - scanned,
            scan_took_seconds=folder.scan_took,
            hints_lost=folder.hints.lost if folder.hints is not None else 0,
        )

    # Only saying

    def dry_run(self) -> Iterator[Planned]:
        """What a run would do with each file that is there now; nothing is written, the
        journals stay as they are. Raises StorageError where a folder can't be read.
        """
        for folder in self._folders:
            yield from _planned(folder.root, self._clock)


def _refuse_overlaps(paths: Sequence[str]) -> None:
    real = sorted(os.path.join(os.path.realpath(path), "") for path in paths)
    for outer, inner in itertools.pairwise(real):
        if inner.startswith(outer):
            raise UsageError(
                _("{inner} lies in {outer}, which is watched as well").format(
                    inner=inner, outer=outer
                ),
                hint=_("Watch the outer folder only, or folders beside each other."),
            )


def _planned(root: WatchedRoot, clock: Clock) -> Iterator[Planned]:
    with Journal("") as scratch:
        aside = WatchedRoot(path=root.path, policy=root.policy, journal=scratch)
        folder = Folder(aside, clock, lambda _state, _path, _reason: None)
        try:
            folder.scan()
        except PausedError:
            nothing = Planned(
                root=root.path, path=b"", group=b"", state=State.VANISHED, reason=folder.paused
            )
            yield nothing
            return
        for state in (State.SEEN, State.IGNORED):
            for row in scratch.pages(state):
                known = root.journal.at(row.path)
                if known is not None and same(
                    known.fingerprint, row.fingerprint, renumbers=folder.scanner.renumbers
                ):
                    state_now = known.state
                else:
                    state_now = state
                yield Planned(
                    root=root.path,
                    path=row.path,
                    group=row.group,
                    state=state_now,
                    reason=_(row.reason),
                )
