"""From "stable" to "archived" and "disposed": batches of units through the sink.

Job: the second half of a file's way, and what is left of it after a crash. Limits: makes no
bags, looks for no files.

Order: staged and synced → journal ``ingesting`` → the sink renames, syncs, verifies → journal
``archived`` → the original goes, if it is to. A crash anywhere leaves a file in one state,
from which the next run goes on.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from archiver.errors import ArchiverError
from archiver.i18n import N_, _
from archiver.watch.clock import Clock
from archiver.watch.dispose import NotTheSameError, dispose
from archiver.watch.folder import Folder, Tell
from archiver.watch.journal import ENCRYPTED, Row, split
from archiver.watch.model import MISREAD, Done, Failed, Prepared, Sink, State
from archiver.watch.scan import fingerprint_of, same
from archiver.watch.units import Lot, digest_of, lot_of, told_apart

__all__ = ["LARGE", "SMALL", "Archiver", "SinkError"]

SMALL, LARGE = 0, 1
_BATCH = {SMALL: 256, LARGE: 1}
_BATCH_BYTES = 256 << 20
_DISPOSE_AT_ONCE = 64
_TURN_SECONDS = 1.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_ASK_SECONDS = 10.0
_NOT_PROVED = N_("the bag or its copies do not verify now: the original stays")
_NOT_THE_SAME = N_("the original is not what was archived: it stays, and is archived again")


class SinkError(Exception):
    """The sink can't go on now."""


@dataclass(slots=True)
class Archiver:
    """Puts units into one sink. Two threads may use it, one for each lane; the sink's
    ``prepare`` is called from both at once, everything that commits from one at a time.
    """

    sink: Sink
    clock: Clock
    tell: Tell
    problem: str = ""
    left: str = ""
    _retry_at: float = 0.0
    _ask_at: float = 0.0
    _pause: float = _FIRST_PAUSE_SECONDS
    beat: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def _committing(self) -> Iterator[None]:
        """One lane at a time. One that waits is alive: whether the other is, it says itself."""
        while not self._lock.acquire(timeout=_TURN_SECONDS):
            self.beat()
        try:
            yield
        finally:
            self._lock.release()

    def begin(self) -> None:
        """Remove what killed runs left in staging. What can't be is told, and stands in the way
        of nothing: nothing new is called as they were.
        """
        try:
            self.sink.sweep()
        except (ArchiverError, OSError) as error:
            self.left = _reason(error)

    def step(self, folder: Folder, lane: int) -> bool:
        """One batch of one folder; whether there was anything to do. Raises StorageError
        where the journal fails, PausedError.
        """
        if folder.paused or not self._may_go_on(self._has_work(folder, lane)):
            return False
        try:
            if lane in folder.needs_recovery:
                self._recover(folder, lane)
            if folder.journal.stable_groups(lane, 1):
                with folder.opened():
                    pass  # still the same folder
            lots = self._next(folder, lane)
            if lots:
                self._archive(folder, lots)
            gone = self._dispose(folder, lane)
        except SinkError as error:
            self._stop(str(error))
            return False
        self._pause = _FIRST_PAUSE_SECONDS
        return bool(lots) or gone

    def _has_work(self, folder: Folder, lane: int) -> bool:
        journal = folder.journal
        return bool(
            lane in folder.needs_recovery
            or journal.stable_groups(lane, 1)
            or journal.due(State.ARCHIVED, self.clock.now(), 1)
        )

    # Pauses

    def _may_go_on(self, has_work: bool) -> bool:  # what it is about
        """Whether there is work and the sink is ready; with none it is asked now and then,
        so that a problem is known before it matters.
        """
        now = self.clock.now()
        if now < self._retry_at or not (has_work or now >= self._ask_at):
            return False
        self._ask_at = now + _ASK_SECONDS
        try:
            self.problem = self.sink.problem()
        except (ArchiverError, OSError) as error:
            self.problem = _reason(error)
        if self.problem:
            self._stop(self.problem)
        return has_work and not self.problem

    def _stop(self, reason: str) -> None:
        """Everything waits, nothing is quarantined; asked again after a while."""
        self.problem = reason
        self._retry_at = self.clock.now() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    # Archiving

    def _next(self, folder: Folder, lane: int) -> list[Lot]:
        journal, lots, size = folder.journal, list[Lot](), 0
        for group in journal.stable_groups(lane, _BATCH[lane]):
            if size > _BATCH_BYTES:
                break
            lot = self._lot(folder, group)
            if lot is None:
                continue
            if any(row.doubted for row in lot.members):
                known = self._known(folder, lot)
                if known is None:
                    continue
                lot = known
            lots.append(told_apart(journal, lot))
            size += sum(row.fingerprint.size_bytes for row in lot.members)
        return lots

    def _lot(self, folder: Folder, group: bytes) -> Lot | None:
        """The unit as the journal has it; None where it isn't whole any more."""
        journal = folder.journal
        with journal.together():
            present = [row for row in journal.of_group(group) if row.present]
            stable = [row for row in present if row.state is State.STABLE]
            lot = lot_of(folder.root.path, group, stable)
            if lot is None or any(row.state is State.SEEN for row in present):
                journal.turn(stable, State.SEEN, due=self.clock.now())
                return None
            return lot

    def _known(self, folder: Folder, lot: Lot) -> Lot | None:
        """A unit that may be archived already: the journal was made anew. None where it is,
        byte for byte; else the unit as a new one, or as a new version of what was found.
        """
        while (done := self._asked(lot)) is not None:
            try:
                with folder.opened() as root:
                    same_bytes = done.digests == tuple(
                        digest_of(root, row.path, self.beat) for row in lot.members
                    )
            except OSError:
                folder.journal.turn(lot.rows, State.SEEN, due=self.clock.now())
                return None
            if same_bytes:
                self._archived(folder, lot, done)
                return None
            lot = lot.after(done.item)
        folder.journal.trusted(lot.rows, lot.unit.follows)
        return lot

    def _asked(self, lot: Lot) -> Done | None:
        with self._committing():
            try:
                return self.sink.find(lot.unit)
            except (ArchiverError, OSError) as error:
                raise SinkError(_reason(error)) from error

    def _resumed(self, lot: Lot) -> Done | None:
        """What became of the item that the journal names, where the unit's key tells nothing."""
        item = lot.members[0].item
        if not item:
            return None
        digests = [row.digest for row in lot.members]
        described = next((row.digest for row in lot.description), "")
        with self._committing():
            try:
                return self.sink.resume(lot.unit, item, digests, described)
            except (ArchiverError, OSError) as error:
                raise SinkError(_reason(error)) from error

    def _archive(self, folder: Folder, lots: Sequence[Lot]) -> None:
        by_key = {lot.unit.key: lot for lot in lots}
        try:
            results = self.sink.prepare([lot.unit for lot in by_key.values()])
        except (ArchiverError, OSError) as error:
            raise SinkError(_reason(error)) from error
        prepared = [one for one in results if isinstance(one, Prepared)]
        failed = [one for one in results if isinstance(one, Failed)]
        try:
            kept = self._note_ingesting(folder, prepared, by_key)
        except BaseException:
            self.sink.abandon(prepared)
            raise
        dropped = [one for one in prepared if one not in kept]
        if dropped:
            self.sink.abandon(dropped)
        problem = self._fail(folder, failed, by_key)
        if kept:
            problem = self._commit(folder, kept, by_key) or problem
        if problem:
            raise SinkError(problem)

    def _note_ingesting(
        self, folder: Folder, prepared: Iterable[Prepared], by_key: dict[str, Lot]
    ) -> list[Prepared]:
        """Those whose files are still as they were when they were staged."""
        kept, journal = [], folder.journal
        with journal.together():
            for one in prepared:
                lot = by_key[one.unit.key]
                now = {row.id: row for row in journal.of_group(lot.rows[0].group)}
                if any(
                    row.id not in now
                    or now[row.id].state is not State.STABLE
                    or now[row.id].fingerprint != row.fingerprint
                    for row in lot.rows
                ):
                    continue
                journal.ingesting(
                    lot.rows,
                    key=ENCRYPTED if one.secret else one.unit.key,
                    item=one.item,
                    bag=one.bag,
                    digests=lot.digests(one.digests, one.described),
                )
                kept.append(one)
        return kept

    def _commit(self, folder: Folder, prepared: Sequence[Prepared], by_key: dict[str, Lot]) -> str:
        try:
            with self._committing():
                results = self.sink.commit(prepared)
        except (ArchiverError, OSError) as error:
            folder.needs_recovery |= {SMALL, LARGE}
            return _reason(error)
        done = [one for one in results if isinstance(one, Done)]
        failed = [one for one in results if isinstance(one, Failed)]
        with folder.journal.together():
            for one in done:
                self._archived(folder, by_key[one.unit.key], one)
        return self._fail(folder, failed, by_key, committing=True)

    def _archived(self, folder: Folder, lot: Lot, done: Done) -> None:
        goes = folder.root.policy.originals != "keep"
        folder.journal.archived(
            lot.rows,
            item=done.item,
            bag=done.bag,
            digests=lot.digests(done.digests, done.described),
            seal=done.tag_manifest_sha512,
            key=ENCRYPTED if done.secret else done.unit.key,
            due=self.clock.now() if goes else None,
            note=done.note,
        )
        if goes and not done.described:  # it stays, whatever comes between
            folder.journal.turn(lot.description, State.ARCHIVED, reason=done.note)
        if done.note:
            for row in lot.description:
                self.tell(MISREAD, row.path, done.note)
        for row in lot.members:
            self.tell(State.ARCHIVED.value, b"" if done.secret else row.path, "")
        self._look_again(folder, lot)

    def _look_again(self, folder: Folder, lot: Lot) -> None:
        """What changed while it was archived is found at once, not by the next scan."""
        for row in lot.rows:
            try:
                found = os.lstat(os.path.join(os.fsencode(folder.root.path), row.path))
            except OSError:
                found = None
            if found is None or not same(row.fingerprint, fingerprint_of(found)):
                folder.look_at(split(row.path)[0])

    def _fail(
        self,
        folder: Folder,
        failed: Iterable[Failed],
        by_key: dict[str, Lot],
        *,
        committing: bool = False,
    ) -> str:
        """Write down what became of those; why the sink can't go on, if that is it."""
        problem, journal = "", folder.journal
        with journal.together():
            for one in failed:
                rows = by_key[one.unit.key].rows
                if one.secret:
                    journal.hide(rows)
                if one.kind == "refused":
                    journal.turn(rows, State.QUARANTINED, reason=one.reason)
                    for row in rows:
                        self.tell(
                            State.QUARANTINED.value, b"" if one.secret else row.path, one.reason
                        )
                elif one.kind == "changed":
                    due = self.clock.now() + folder.root.policy.quiet_seconds
                    journal.turn(rows, State.SEEN, reason=one.reason, due=due)
                    for row in rows:
                        folder.look_at(split(row.path)[0])
                else:
                    problem = one.reason or _("the archive can't be written now")
                    if committing:
                        folder.needs_recovery |= {SMALL, LARGE}
        return problem

    def _recover(self, folder: Folder, lane: int) -> None:
        """Units that were being archived when something went wrong: done, or begun anew."""
        journal = folder.journal
        groups = dict.fromkeys(
            row.group for row in journal.pages(State.INGESTING) if row.lane == lane
        )
        for group in groups:
            rows = [row for row in journal.of_group(group) if row.state is State.INGESTING]
            lot = lot_of(folder.root.path, group, rows)
            if lot is None:
                journal.turn(rows, State.SEEN, due=self.clock.now())
                continue
            for candidate in (lot, lot.after(lot.unit.follows)):
                if candidate.unit.key == rows[0].key:
                    lot = candidate
            # What was encrypted has no key: an open item of before may have the unit's.
            known = None if rows[0].key == ENCRYPTED else self._asked(lot)
            done = known or self._resumed(lot)
            if done is not None and done.digests == tuple(row.digest for row in lot.members):
                self._archived(folder, lot, done)
            else:
                due = self.clock.now() + folder.root.policy.quiet_seconds
                journal.turn(rows, State.SEEN, due=due)
                folder.look_at(split(rows[0].path)[0])
        folder.needs_recovery.discard(lane)

    # Originals

    def _dispose(self, folder: Folder, lane: int) -> bool:
        if folder.root.policy.originals == "keep":
            return False
        due = folder.journal.due(State.ARCHIVED, self.clock.now(), _DISPOSE_AT_ONCE)
        groups = dict.fromkeys(row.group for row in due if row.lane == lane)
        for group in groups:
            self._dispose_unit(folder, group)
        return bool(groups)

    def _dispose_unit(self, folder: Folder, group: bytes) -> None:
        journal, policy = folder.journal, folder.root.policy
        unit = journal.of_group(group)
        rows = [row for row in unit if row.state is State.ARCHIVED and row.due is not None]
        gone = [row for row in unit if row.state is State.DISPOSED]  # before a kill
        lot = lot_of(folder.root.path, group, rows)
        lot = lot or lot_of(folder.root.path, group, [*gone, *rows])
        if lot is None:
            journal.turn(rows, State.ARCHIVED)
            return
        with self._committing():
            try:
                proved = self.sink.is_proved(lot.done(), policy.required_replicas)
            except (ArchiverError, OSError):
                proved = False
        if not proved:
            journal.waits(rows, self.clock.now() + _LONGEST_PAUSE_SECONDS, _NOT_PROVED)
            return
        with folder.opened() as root:
            left = [row for row in lot.members if row not in gone]
            went = [self._dispose_one(folder, root, row) for row in left]
            for row in lot.description:
                if all(went) and row.digest:
                    self._dispose_one(folder, root, row)
                else:  # it wasn't understood, or its file stays
                    journal.turn([row], State.ARCHIVED, reason=row.reason)
        if lot.members[0].key == ENCRYPTED:
            journal.forget_secret()

    def _dispose_one(self, folder: Folder, root: int, row: Row) -> bool:
        """Whether it is gone."""
        journal, scanner = folder.journal, folder.scanner
        try:
            what = dispose(
                root,
                folder.root.path,
                row,
                folder.root.policy,
                renumbers=scanner.renumbers,
                beat=self.beat,
            )
        except NotTheSameError:
            journal.turn([row], State.ARCHIVED, reason=_NOT_THE_SAME)
            folder.doubt(row)
        except (FileNotFoundError, NotADirectoryError):
            journal.gone(row)
            return True
        except OSError as error:
            journal.waits([row], self.clock.now() + _LONGEST_PAUSE_SECONDS, _reason(error))
        else:
            journal.disposed(row, what)
            secret = row.key == ENCRYPTED
            self.tell(State.DISPOSED.value, b"" if secret else row.path, "")
            return True
        return False


def _reason(error: ArchiverError | OSError) -> str:
    """For people, without paths."""
    if isinstance(error, ArchiverError):
        return error.message
    return error.strerror or str(error)
