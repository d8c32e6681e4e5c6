"""What a vault keeps and how well: counts, the oldest check, NDSA levels with reasons.

Job: one value with everything. Limits: reads the catalog, never a bag. A level is said only
as far as the program can know it; what people must know themselves is a reason why it
says no more. Source: NDSA Levels of Digital Preservation, version 2.0 (2019), the areas
Storage and Integrity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from archiver.catalog.model import GOOD
from archiver.i18n import _, ngettext
from archiver.storage import Storage
from archiver.vault import Vault
from archiver.vault.records import reading

__all__ = ["Level", "PlaceSummary", "Summary", "summarise"]

VAULTS_OWN = ""
CLOCKS_APART = timedelta(days=1)
"""Two machines' clocks may differ by so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSummary:
    """One place: ``unreachable`` is why it can't be used now, or "". ``oldest`` is the oldest
    of the last checks; ``unchecked`` copies were never read since they were made.
    """

    name: str
    unreachable: str
    location: str
    good: int
    damaged: int
    missing: int
    undecided: int
    unchecked: int
    pending: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Level:
    """A level from 0 to 4, and why it is not the next."""

    level: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A vault as of ``at``. ``copies``: how many bags have good copies on so many disks;
    ``overdue`` copies were not read for ``every_days``.
    """

    at: datetime
    bags: int
    files: int
    size_bytes: int
    places: tuple[PlaceSummary, ...]
    copies: Mapping[int, int]
    overdue: int
    every_days: float
    open_incidents: int
    explained: int
    broken_logs: tuple[str, ...]
    storage: Level
    integrity: Level

    @property
    def oldest(self) -> datetime | None:
        """The oldest last check of any copy; None where none was ever made."""
        return min((one.oldest for one in self.places if one.oldest), default=None)


def summarise(vault: Vault, every_days: float, now: datetime) -> Summary:
    """Everything that there is to say. Raises CatalogError, StorageError."""
    storages = [vault.storage(), *vault.replicas()]
    names = [one.name for one in storages]
    with reading(vault) as records:
        bags, files, size = records.catalog.totals()
        counts = records.catalog.counts()
        before, latest = now - timedelta(days=every_days), now + CLOCKS_APART
        counted = [
            one
            for one in storages
            if not one.reachable()
            or (one.name and not records.catalog.overdue([one.name], before, latest))
        ]
        copies = records.catalog.good_copies({one.name: _disk(one) for one in counted})
        overdue = records.catalog.overdue(names, before, latest)
        lasting = [one for one in records.catalog.incidents(only_open=False) if one.place in names]
        broken = tuple(sorted(records.broken))
    open_ = sum(one.closed_at is None for one in lasting)
    places = tuple(_place(one, counts.get(one.name, {}), bags) for one in storages)
    least = min(copies, default=0)
    return Summary(
        at=now,
        bags=bags,
        files=files,
        size_bytes=size,
        places=places,
        copies=copies,
        overdue=overdue,
        every_days=every_days,
        open_incidents=open_,
        explained=sum(one.explained for one in lasting),
        broken_logs=broken,
        storage=_storage_level(bags, least, copies, places),
        integrity=_integrity_level(bags, least, overdue, every_days, open_, broken),
    )


def _disk(storage: Storage) -> str:
    """A place that can't be reached now is taken for a disk of its own, as long as its copies
    were read in time: a disk in a drawer is one. Then it is no longer counted.
    """
    return storage.name if storage.reachable() else storage.disk()


def _place(storage: Storage, counts: Mapping[str, object], bags: int) -> PlaceSummary:
    results = counts.get("results", {})
    oldest = counts.get("oldest")
    assert isinstance(results, dict)
    assert oldest is None or isinstance(oldest, datetime)
    return PlaceSummary(
        name=storage.name,
        unreachable=storage.reachable(),
        location=storage.location,
        good=results.get(GOOD, 0),
        damaged=results.get("damaged", 0),
        missing=results.get("missing", 0),
        undecided=results.get("undecided", 0),
        unchecked=results.get("", 0),
        pending=bags - sum(results.values()),
        oldest=oldest,
    )


def _storage_level(
    bags: int, least: int, copies: Mapping[int, int], places: Sequence[PlaceSummary]
) -> Level:
    """1: two complete copies in separate locations; 2: three, one of them in another
    geographic location; 3 and 4: disaster threats and kinds of media, which we can't know.
    Where a replica is in the world is what people say it is.
    """
    if not bags:
        return Level(0, (_("there are no bags yet"),))
    reasons = []
    if least < 2:
        reasons.append(_too_few(copies, 2))
    if not any(one.location and one.name != VAULTS_OWN and one.good == bags for one in places):
        reasons.append(
            _("no replica with all bags is said to be elsewhere: 'replica add --location'")
        )
    if reasons:
        return Level(0, tuple(reasons))
    if least < 3:
        return Level(1, (_too_few(copies, 3),))
    return Level(
        2, (_("which disasters threaten which place, and the kinds of media, aren't known here"),)
    )


def _too_few(copies: Mapping[int, int], wanted: int) -> str:
    fewer = sum(bags for count, bags in copies.items() if count < wanted)
    text = ngettext(
        "{count} bag has fewer than {wanted} good copies on different disks",
        "{count} bags have fewer than {wanted} good copies on different disks",
        fewer,
    )
    return text.format(count=fewer, wanted=wanted)


def _integrity_level(
    bags: int, least: int, overdue: int, every_days: float, open_: int, broken: Sequence[str]
) -> Level:
    """1: integrity information made, or verified where it came with the content; 2: verified
    when content is copied, and kept in a second place; 3: verified at fixed intervals, with
    logs; 4: verified after events, damage repaired. Virus checks are asked for by 1; each
    bag tells of its own (policies' ``[scan]``), and the catalog doesn't gather them.
    """
    viruses = _("whether all bags were checked for viruses is not known here")
    if not bags:
        return Level(0, (_("there are no bags yet"),))
    if least < 2:
        return Level(
            1,
            (_("checksums and logs are not all kept in a second place, on another disk"), viruses),
        )
    reasons = []
    if overdue:
        text = ngettext(
            "{count} copy was not read for {days} days",
            "{count} copies were not read for {days} days",
            overdue,
        )
        reasons.append(text.format(count=overdue, days=f"{every_days:g}"))
    if broken:
        reasons.append(_("logs are broken: {cases}").format(cases=", ".join(broken)))
    if reasons:
        return Level(2, (*reasons, viruses))
    if open_:
        text = ngettext("{count} incident is open", "{count} incidents are open", open_)
        return Level(3, (text.format(count=open_), viruses))
    return Level(
        3, (_("whether copies are read after moves and outages isn't known here"), viruses)
    )
