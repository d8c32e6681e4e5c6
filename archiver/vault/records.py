"""A vault's logs and its catalog as one thing: the log first, the catalog behind it.

Job: open the catalog, bring it up to the logs, write an event to both. Limits: the log is
the truth; a catalog that is behind catches up, one that the logs contradict is said to be,
and neither is mended in silence.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from archiver.catalog import Catalog, FactError, Position, Rows, open_catalog
from archiver.catalog.model import START
from archiver.custody import Event, Link
from archiver.errors import LockedError, LogError, StorageError
from archiver.i18n import _
from archiver.vault import Vault
from archiver.vault.log import CaseLog

__all__ = ["Records", "reading", "writing"]

_BATCH = 2000
"""Events in one transaction."""


class Records:
    """Open records: ``catalog`` answers questions; :meth:`append` is for the one writer.

    ``broken``: cases whose logs are not what they were. What the catalog has of them is what
    it read before; nothing is written to them, and the other cases go on.
    """

    def __init__(self, vault: Vault, catalog: Catalog) -> None:
        self.vault, self.catalog = vault, catalog
        self.broken: dict[str, LogError] = {}

    def log(self, case: str, position: Position | None = None) -> CaseLog:
        """The log of ``case``, from where the catalog knows it. Raises LogError where what
        the catalog read is no longer there.
        """
        known = self.catalog.position(case) if position is None else position
        log = CaseLog(case, self.vault.log_path(case), known)
        if not log.follows():
            raise LogError(
                _("{path}: events that the catalog has seen were cut off or changed").format(
                    path=log.path
                ),
                hint=_(
                    "See 'archiver events verify'; compare it with a copy. If the log is right,"
                    " run 'archiver catalog rebuild'."
                ),
            )
        return log

    def require(self, case: str) -> None:
        """Raises LogError where the log of ``case`` is not what it was."""
        if case in self.broken:
            raise self.broken[case]

    def catch_up(self, tell: Callable[[int], None] = lambda _count: None) -> None:
        """Take in what the logs have and the catalog has not. Raises CatalogError."""
        for log in self._behind():
            try:
                take_in(self.catalog, log, tell)
            except LogError as error:
                self.broken[log.case] = error

    def is_behind(self) -> bool:
        """Whether a log that isn't broken has more than the catalog."""
        return next(self._behind(), None) is not None

    def _behind(self) -> Iterator[CaseLog]:
        known = self.catalog.positions()
        for case in sorted({*self.vault.cases(), *known}):
            try:
                log = self.log(case, known.get(case, START))
            except LogError as error:
                self.broken[case] = error
                continue
            if _size(log.path) > log.position.size:
                yield log

    def refuse_forgotten(self, case: str) -> None:
        """A vault that was put back from an old copy has forgotten numbers, amendments, what
        a witness withdrew; a replica has not. Another event would fork the log for good.
        """
        own = _size(self.vault.log_path(case))
        for place in self.vault.replicas():
            if not place.reachable() and place.log_size(case) > own:
                raise LogError(
                    _("{name} knows more of {case} than the vault does").format(
                        name=place.name, case=case
                    ),
                    hint=_("Was the vault put back from an old copy? See docs/vault.md, Replicas."),
                )

    def append(self, case: str, events: Sequence[Event]) -> None:
        """Write events down: in the log, synced, then in the catalog. Raises StorageError;
        then the log is as it was. The caller is the vault's writer.
        """
        self.refuse_forgotten(case)
        log = self.log(case)
        take_in(self.catalog, log)
        # What couldn't be taken in again is not written: it would break the log for good.
        seq, prev = log.position.lines, log.position.head
        tried = [Link(seq=n, prev=prev, event=one) for n, one in enumerate(events, seq + 1)]
        rows = self.catalog.try_out(case, tried)
        links = log.append(events)
        same = [(one.seq, one.event) for one in links] == [(one.seq, one.event) for one in tried]
        take_links(self.catalog, log, links, rows if same else None)


def take_in(
    catalog: Catalog, log: CaseLog, tell: Callable[[int], None] = lambda _count: None
) -> None:
    """Take in the rest of ``log``, of a broken one what comes before. ``tell`` hears how many
    events were taken in.
    """
    batch: list[Link] = []
    try:
        for link in log.read():
            batch.append(link)
            if len(batch) == _BATCH:
                take_links(catalog, log, batch)
                tell(len(batch))
                batch = []
    finally:
        if batch:
            take_links(catalog, log, batch)
            tell(len(batch))


def take_links(
    catalog: Catalog, log: CaseLog, links: Sequence[Link], tried: Rows | None = None
) -> None:
    """Take in ``links``, the last that were read from ``log``, or written to it."""
    try:
        catalog.take(log.case, links, log.position, tried)
    except FactError as error:
        raise log.broken(error.seq, error) from error


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def writing(vault: Vault, what: str, wait_seconds: float) -> Iterator[Records]:
    """Be the vault's one writer, with records that are up to date. Raises LockedError,
    CatalogError, StorageError.
    """
    with vault.locked(what, wait_seconds), open_catalog(vault.catalog) as catalog:
        records = Records(vault, catalog)
        records.catch_up()
        yield records


@contextlib.contextmanager
def reading(vault: Vault, wait_seconds: float = 10.0) -> Iterator[Records]:
    """Records to be asked. A catalog that is behind is brought up to date, unless somebody
    is writing just now, who does that. Where it can't be written (a disk that is read-only, or
    full), one in memory is made from the logs.

    Raises CatalogError, StorageError, and LockedError where there is no catalog yet and
    somebody is writing.
    """
    with contextlib.ExitStack() as stack:
        try:
            records = _from_disk(vault, wait_seconds, stack)
        except StorageError:  # read-only, full, failing: the logs can be read all the same
            records = Records(vault, stack.enter_context(open_catalog()))
            records.catch_up()
        yield records


def _from_disk(vault: Vault, wait_seconds: float, stack: contextlib.ExitStack) -> Records:
    if not os.path.lexists(vault.catalog):
        with writing(vault, "catalog", wait_seconds):
            pass
    records = Records(vault, stack.enter_context(open_catalog(vault.catalog)))
    if records.is_behind():
        with contextlib.suppress(LockedError), writing(vault, "catalog", 0.0) as writer:
            records.broken |= writer.broken
    return records
