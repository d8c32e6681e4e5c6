"""Fixity checks of what a vault keeps: what is due, oldest first, read and written down.

Job: choose copies, check them, disk by disk, write down what was found. Limits: changes no
bag and repairs nothing. The lock is held for the moment of writing events only.

Disks are read beside each other, and one copy after the other on each. What was found is
written down about once a second: who kills an audit loses that much, and the next goes on
with the copies whose checks are not written down. Names of damaged files are in the answer,
never in the log.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from archiver.bag.progress import Progress, Silent
from archiver.catalog.model import Due, Incident
from archiver.custody import Event
from archiver.fixity import Checked, Result, check_copy
from archiver.pace import Paced
from archiver.storage import Storage
from archiver.vault import Vault
from archiver.vault.amendments import file_problem, files_of
from archiver.vault.records import Records, reading, writing
from archiver.vault.sealed import Trusted

__all__ = [
    "AuditOptions",
    "altered_amendments",
    "audit",
    "mark_told",
    "open_incidents",
    "untold_incidents",
]

_CLOCKS_APART = timedelta(days=1)
"""Two machines' clocks may differ by so much."""
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_FLUSH_SECONDS = 1.0
_FLUSH_COPIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """What to check: copies whose last check is older than ``every`` (all where it is None),
    of these a random ``share`` from 0 to 1 where it is given, for at most ``seconds`` and
    ``size_bytes``. ``rate_bytes`` a second are read from each disk at most.
    """

    every: timedelta | None = None
    share: float | None = None
    seconds: float | None = None
    size_bytes: int | None = None
    rate_bytes: int | None = None
    wait_seconds: float = 60.0
    chance: random.Random = field(default_factory=random.SystemRandom)


def open_incidents(vault: Vault) -> list[Incident]:
    """The copies whose last check was not good, at the places that there are."""
    return _incidents(vault, told=None)


def untold_incidents(vault: Vault) -> list[Incident]:
    """Those of them that nobody was told of."""
    return _incidents(vault, told=False)


def _incidents(vault: Vault, *, told: bool | None) -> list[Incident]:
    names = {"", *(one.name for one in vault.replicas())}
    with reading(vault) as records:
        return [one for one in records.catalog.incidents(told=told) if one.place in names]


def altered_amendments(vault: Vault) -> list[tuple[str, str, str]]:
    """(item, path, problem) of the files of amendments that aren't what the logs tell, at each
    place that can be reached. What a replica has not is copied there by the next sync.
    """
    places = [one for one in (vault.storage(), *vault.replicas()) if not one.reachable()]
    found = []
    with reading(vault) as records:
        for item in records.catalog.amended():
            for one in records.catalog.amendments(item):
                for place in places:
                    for name, sha256 in files_of(one).items():
                        path = place.file_path(name)
                        if not place.name or os.path.lexists(path):
                            found += [(item, path, file_problem(path, sha256))]
    return [one for one in found if one[2]]


def mark_told(
    vault: Vault, incidents: Sequence[Incident], now: datetime, wait_seconds: float = 60.0
) -> None:
    """Somebody was told of these."""
    with writing(vault, "audit", wait_seconds) as records:
        records.catalog.mark_told(incidents, now)


def audit(
    vault: Vault,
    options: AuditOptions,
    clock: Callable[[], datetime],
    *,
    progress: Progress | None = None,
) -> Iterator[Checked]:
    """Check what is due, each told once it is written down.

    What can't be checked is told as such and never ends the run. A replica that can't be
    reached is passed over, and so is a case whose log isn't what it was: it can't be said
    what it holds. ``clock`` gives aware times. Raises, once all else was checked, CatalogError
    or LogError for a case of which the catalog says something else than the log.
    """
    limits, trusted = _Limits(options), Trusted(vault)
    lanes = [
        _Lane(vault, places, options, clock, limits, trusted, progress)
        for places in _by_disk([vault.storage(), *vault.replicas()])
    ]
    waiting: list[tuple[Checked, datetime]] = []
    flushed = time.monotonic()
    with contextlib.closing(_read_lanes(lanes)) as results:
        for checked in results:
            if checked is None:
                continue
            waiting.append((checked, clock()))
            full = len(waiting) >= _FLUSH_COPIES or checked.result is not Result.GOOD
            if full or time.monotonic() - flushed >= _FLUSH_SECONDS:
                yield from _write_down(vault, waiting, options.wait_seconds)
                waiting, flushed = [], time.monotonic()
    yield from _write_down(vault, waiting, options.wait_seconds)
    for problem in trusted.problems:
        raise problem


class _Limits:
    """How long a run may go on, all disks together."""

    def __init__(self, options: AuditOptions) -> None:
        self._seconds, self._size_bytes = options.seconds, options.size_bytes
        self._begun, self._read = time.monotonic(), 0

    def allow(self, size_bytes: int) -> bool:
        """Whether one more may be begun, of ``size_bytes``."""
        if self._seconds is not None and time.monotonic() - self._begun >= self._seconds:
            return False
        if self._size_bytes is not None and self._read >= self._size_bytes:
            return False
        self._read += size_bytes
        return True


def _by_disk(places: Sequence[Storage]) -> list[list[Storage]]:
    """The places that can be reached, those on one disk together."""
    disks: dict[str, list[Storage]] = {}
    for place in places:
        if not place.reachable():
            disks.setdefault(place.disk(), []).append(place)
    return list(disks.values())


class _Lane:
    """The copies on one disk that are due, one after the other."""

    def __init__(
        self,
        vault: Vault,
        places: Sequence[Storage],
        options: AuditOptions,
        clock: Callable[[], datetime],
        limits: _Limits,
        trusted: Trusted,
        progress: Progress | None,
    ) -> None:
        self._vault, self._options, self._limits = vault, options, limits
        self._trusted = trusted
        self._places, self._clock = {one.name: one for one in places}, clock
        self._before = clock() - (options.every or timedelta())
        self._paced = options.rate_bytes is not None
        self._progress = Paced(progress or Silent(), options.rate_bytes)
        self._due = self._all_due()

    def next(self) -> Due | None:
        """The next to check, or None at the end. Asks the catalog: for one thread only."""
        for due in self._due:
            if not self._trusted.has(due.item.case):
                continue
            if self._limits.allow(due.item.size_bytes):
                return due
            return None
        return None

    def stop(self) -> None:
        """End the check that is going on: nobody waits for its answer any more."""
        self._progress.stop()

    def check(self, due: Due) -> Checked | None:
        """Read it; any thread may. None where its place is gone: that is no finding."""
        # What another process reads ahead can't be held back.
        workers = 0 if self._paced else None
        storage = self._places[due.place]
        begun_at = self._clock().replace(microsecond=0)
        checked = check_copy(storage, due.item, workers=workers, progress=self._progress)
        checked = replace(checked, begun_at=begun_at)
        return None if checked.result is not Result.GOOD and storage.reachable() else checked

    def _all_due(self) -> Iterator[Due]:
        """First what is open: a copy that was put right is to be known as good. Then what was
        checked by a clock that was wrong, in the future: it would not be due for years. Then
        the others, the oldest first.
        """
        met: set[tuple[str, str]] = set()
        apart = timedelta() if self._options.every is None else _CLOCKS_APART
        yield from self._open(met)
        yield from self._pages(_NEVER, self._clock() + apart, met)
        yield from self._pages(self._before, None, met)

    def _open(self, met: set[tuple[str, str]]) -> Iterator[Due]:
        with reading(self._vault) as records:
            incidents, broken = records.catalog.incidents(), records.broken
            items = {one.item: records.catalog.item(one.item) for one in incidents}
        for one in incidents:
            item, chosen = items[one.item], one.place in self._places
            if item is not None and chosen and one.case not in broken and self._chosen():
                met.add((one.item, one.place))
                check = item.checks.get(one.place)
                yield Due(item=item, place=one.place, checked_at=check.at if check else None)

    def _pages(
        self, before: datetime, since: datetime | None, met: set[tuple[str, str]]
    ) -> Iterator[Due]:
        """Page by page. What was checked meanwhile, by this run or another, has a later time
        and is not ``met`` again; unless that is the second in which the run began.
        """
        last: Due | None = None
        while True:
            with reading(self._vault) as records:
                page = records.catalog.due(self._places, before=before, since=since, after=last)
                broken = records.broken
            for due in page:
                key = (due.item.item, due.place)
                if key in met or due.item.case in broken or not self._chosen():
                    continue
                if self._clock().replace(microsecond=0) <= before:
                    met.add(key)
                yield due
            if not page:
                return
            last = page[-1]

    def _chosen(self) -> bool:
        share = self._options.share
        return share is None or self._options.chance.random() < share


def _read_lanes(lanes: Sequence[_Lane]) -> Generator[Checked | None]:
    """What the checks on all disks find, as they end."""
    if len(lanes) == 1:  # no thread is needed, and none has to be stopped
        (lane,) = lanes
        while (due := lane.next()) is not None:
            yield lane.check(due)
        return
    with ThreadPoolExecutor(max_workers=max(1, len(lanes))) as pool:
        running: dict[Future[Checked | None], _Lane] = {}

        def begin(lane: _Lane) -> None:
            due = lane.next()
            if due is not None:
                running[pool.submit(lane.check, due)] = lane

        try:
            for lane in lanes:
                begin(lane)
            while running:
                done, _rest = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    lane = running.pop(one)
                    yield one.result()
                    begin(lane)
        finally:
            for lane in lanes:
                lane.stop()


def _write_down(
    vault: Vault, waiting: Sequence[tuple[Checked, datetime]], wait_seconds: float
) -> Iterator[Checked]:
    """Write down what was found, then tell it."""
    if not waiting:
        return
    with writing(vault, "audit", wait_seconds) as records:
        waiting = [one for one in waiting if not _is_overtaken(records, *one)]
        for case in sorted({checked.case for checked, _at in waiting}):
            found = [(checked, at) for checked, at in waiting if checked.case == case]
            records.append(case, [_event(checked, at) for checked, at in found])
    for checked, _at in waiting:
        yield checked


def _is_overtaken(records: Records, checked: Checked, at: datetime) -> bool:
    """Whether a copy that was found bad was made good while it was read, or the case's log
    has broken since: the finding is about what is no longer there, or can't be written down.
    Within the same second it can't be told, and damage is never passed over.
    """
    if checked.case in records.broken:
        return True
    if checked.result is Result.GOOD or checked.begun_at is None:
        return False
    item = records.catalog.item(checked.item)
    check = item.checks.get(checked.replica) if item else None
    if check is None:
        return False
    return check.result == Result.GOOD.value and checked.begun_at < check.at <= at


def _event(checked: Checked, at: datetime) -> Event:
    detail = {
        "codes": list(checked.codes),
        "item": checked.item,
        "result": checked.result.value,
    } | ({"replica": checked.replica} if checked.replica else {})
    outcome = "success" if checked.result is Result.GOOD else "failure"
    return Event(type="fixity check", at=at, outcome=outcome, detail=detail)
