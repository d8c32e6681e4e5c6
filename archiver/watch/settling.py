"""From "seen" to "stable": the units whose files were quiet long enough.

Job: look at every member once more, prove that nobody writes, or say why it has to wait.
Limits: touches no file; reads none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archiver.i18n import N_, _
from archiver.watch.described import has_form
from archiver.watch.journal import Journal, Row, Wait, split
from archiver.watch.model import Fingerprint, State
from archiver.watch.rules import TEMPORARY, Rules
from archiver.watch.scan import Scanner, same
from archiver.watch.settle import Proof, Writers, open_file, prove

__all__ = ["Settler"]

_RETRY_SECONDS = 60.0
_INGESTING_SECONDS = 1.0
_BUSY = N_("somebody has it open for writing")
_UNPROVED = N_("it can't be proved that nobody writes: it has to be quiet for longer")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A unit whose members are all as they were; ``proof`` is the weakest of theirs."""

    rows: list[Row]
    found: list[Fingerprint]
    proof: Proof


class Settler:
    """Goes through the units that are due, oldest first."""

    def __init__(
        self,
        journal: Journal,
        rules: Rules,
        scanner: Scanner,
        monotonic: Callable[[], float],
        tell: Callable[[str, bytes, str], None],
    ) -> None:
        self._journal = journal
        self._rules = rules
        self._scanner = scanner
        self._monotonic = monotonic
        self._tell = tell

    def settle(self, root: int, limit: int) -> int:
        """How many units became stable. Raises StorageError."""
        now = self._monotonic()
        due = self._journal.due(State.SEEN, now, limit)
        groups = list(dict.fromkeys(row.group for row in due))
        for group in groups:
            if group.endswith(b"/"):
                self._scanner.tree(root, group)  # the second look
        with self._journal.together():
            candidates = [self._candidate(root, group) for group in groups]
            ready = [one for one in candidates if one is not None]
            return self._decide(ready)

    def _candidate(self, root: int, group: bytes) -> _Candidate | None:
        rows = self._members(group)
        if rows is None:
            return None
        found = []
        proof = Proof.LEASE
        for row in rows:
            checked = self._check(root, row, rows)
            if checked is None:
                return None
            fingerprint, own = checked
            found.append(fingerprint)
            proof = own if own is not Proof.LEASE else proof
        return _Candidate(rows, found, proof)

    def _members(self, group: bytes) -> list[Row] | None:
        """All the files of a unit that is due as a whole; None where it has to wait."""
        now = self._monotonic()
        present = [row for row in self._journal.of_group(group) if row.present]
        seen = [row for row in present if row.state is State.SEEN]
        if not seen:
            return None
        latest = max(row.due or now for row in seen)
        if any(row.state is State.INGESTING for row in present):
            latest = max(latest, now + _INGESTING_SECONDS)
        if latest <= now and self._is_unfinished(present, group):
            latest = now + self._scanner.quiet_seconds(1)
        if latest > now:
            self._journal.waits(seen, latest)
            return None
        self._bring_along(present, now)
        again = self._journal.of_group(group)
        return [row for row in again if row.present and row.state is State.SEEN]

    def _is_unfinished(self, present: Sequence[Row], group: bytes) -> bool:
        """Whether something in a folder still has its temporary name, and nobody says done."""
        marker = self._rules.marker(group)
        return (
            group.endswith(b"/")
            and any(row.reason == TEMPORARY for row in present)
            and not any(row.path == marker for row in present)
        )

    def _bring_along(self, present: Sequence[Row], now: float) -> None:
        """The members that are archived, or waited for this, are part of the new version."""
        wait = Wait(now, now)
        for row in present:
            if row.state is State.ARCHIVED:
                self._journal.new_version(row, row.fingerprint, wait)
            elif row.state in (State.STABLE, State.QUARANTINED):
                self._journal.changed(row, row.fingerprint, wait)

    def _check(self, root: int, row: Row, unit: Sequence[Row]) -> tuple[Fingerprint, Proof] | None:
        """The file as it is now, and the proof; None where the unit can't be ready."""
        now = self._monotonic()
        try:
            descriptor, found = open_file(root, *split(row.path))
        except (FileNotFoundError, NotADirectoryError):
            self._journal.gone(row)
            self._wait_again(unit, row)
            return None
        except OSError as error:
            self._refuse(root, unit, error)
            return None
        try:
            if not same(row.fingerprint, found, renumbers=self._scanner.renumbers):
                self._wait_again(unit, row)
                quiet = self._scanner.quiet_seconds(found.size_bytes)
                self._journal.changed(row, found, Wait(now, now + quiet))
                return None
            proof = prove(descriptor)
        finally:
            os.close(descriptor)
        if proof is Proof.BUSY:
            self._busy(unit)
            return None
        return found, proof

    def _busy(self, unit: Sequence[Row]) -> None:
        """Asked again after a while, which is longer where it has been open for long."""
        now = self._monotonic()
        age = now - max(row.changed for row in unit)
        quiet = self._scanner.quiet_seconds(1)
        wait = max(quiet, min(age / 10, _RETRY_SECONDS))
        self._journal.waits(unit, now + wait, _BUSY)

    def _wait_again(self, unit: Sequence[Row], but: Row) -> None:
        now = self._monotonic()
        others = [row for row in unit if row is not but]
        self._journal.waits(others, now + self._scanner.quiet_seconds(1))

    def _refuse(self, root: int, unit: Sequence[Row], error: OSError) -> None:
        """A file that may not be read is quarantined until that changes; a disk that fails
        is tried again. It may be secret, where there is something that nobody has read yet.
        """
        reason = _("it can't be read: {reason}").format(reason=error.strerror)
        if not isinstance(error, PermissionError):
            self._journal.waits(unit, self._monotonic() + _RETRY_SECONDS, reason)
            return
        try:
            secret = has_form(root, [one.path for one in unit])
        except OSError:
            secret = True
        if secret:
            self._journal.hide(unit)
        self._journal.turn(unit, State.QUARANTINED, reason=reason)
        for one in unit:
            self._tell(State.QUARANTINED.value, b"" if secret else one.path, reason)

    def _decide(self, candidates: Sequence[_Candidate]) -> int:
        count = 0
        lacking = any(one.proof is not Proof.LEASE for one in candidates)
        writers = Writers() if lacking else None
        for one in candidates:
            count += self._decide_one(one, writers)
        return count

    def _decide_one(self, one: _Candidate, writers: Writers | None) -> bool:
        proof = one.proof
        if proof is not Proof.LEASE:
            assert writers is not None
            if any(writers.has(found) for found in one.found):
                self._busy(one.rows)
                return False
            proof = self._swept(writers)
        if proof is Proof.UNPROVED and (until := self._unproved_until(one)) > self._monotonic():
            self._journal.waits(one.rows, until, _UNPROVED)
            return False
        size = sum(found.size_bytes for found in one.found)
        for row, found in zip(one.rows, one.found, strict=True):
            self._journal.refresh(row, found)
        lane = int(size >= self._rules.policy.large_bytes)
        self._journal.settle(one.rows, proof.value, lane)
        return True

    def _swept(self, writers: Writers) -> Proof:
        """On a share, processes of other machines are not to be seen."""
        complete = writers.complete and not self._scanner.is_share
        return Proof.SWEEP if complete else Proof.UNPROVED

    def _unproved_until(self, one: _Candidate) -> float:
        quiet = self._rules.policy.unproved_quiet_seconds
        if self._scanner.is_share:
            quiet = max(quiet, self._rules.policy.share_quiet_seconds)
        return max(row.changed for row in one.rows) + quiet
