"""A damaged copy is made good again from one that was proved good a moment before.

Job: find a good copy, bring it over, keep the damaged one aside. Limits: nothing is
written over or removed; where no copy is good, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from archiver.bag.progress import Progress
from archiver.catalog.model import Amended, Item
from archiver.custody import Event
from archiver.errors import NoIntactReplicaError, StorageError
from archiver.fixity import Result, check_copy, look_at
from archiver.i18n import _
from archiver.storage import Storage
from archiver.vault import Vault
from archiver.vault.amendments import file_problem, files_of
from archiver.vault.records import writing
from archiver.vault.sealed import refuse_changed

__all__ = [
    "LostFile",
    "Plan",
    "note_good",
    "plan_amendments",
    "plan_repair",
    "repair",
    "repair_amendments",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done for one item: ``broken`` copies, each with what it is, made good
    from ``source``, which was read just now. ``good`` were read, too; ``undecided`` can't be
    read, and are left alone.
    """

    item: Item
    broken: tuple[tuple[Storage, Result], ...]
    good: tuple[Storage, ...]
    undecided: tuple[Storage, ...]
    source: Storage | None


def plan_repair(
    vault: Vault,
    item: Item,
    places: Sequence[Storage],
    *,
    progress: Progress | None = None,
) -> Plan:
    """Read every copy of an item, and say what there is to do. Changes nothing.

    ``places`` are the vault's own and the replicas that can be reached. Raises
    NoIntactReplicaError where something is broken and no copy is good, CatalogError and LogError
    where it can't be told what was sealed.
    """
    refuse_changed(vault, [item])
    states = [
        (one, check_copy(one, item, progress=progress).result)
        for one in places
        if not one.name or one.name in item.checks
    ]
    good = [one for one, result in states if result is Result.GOOD]
    broken = tuple(
        (one, result) for one, result in states if result in (Result.DAMAGED, Result.MISSING)
    )
    if broken and not good:
        raise NoIntactReplicaError(
            _("no copy of {item} is intact; nothing was changed").format(item=item.item),
            hint=_("Bring the replicas that can't be reached now, and every other copy there is."),
        )
    return Plan(
        item=item,
        broken=broken,
        good=tuple(good),
        undecided=tuple(one for one, result in states if result is Result.UNDECIDED),
        source=good[0] if good else None,
    )


def repair(
    vault: Vault,
    plan: Plan,
    clock: Callable[[], datetime],
    *,
    wait_seconds: float = 60.0,
    progress: Progress | None = None,
) -> list[str]:
    """Do what was planned; where the damaged copies lie now. Raises StorageError. The caller
    holds :meth:`~archiver.vault.Vault.copying` since before the plan was made.

    The new copy is whole, on the disk and read back before the damaged one is moved; a kill
    in between leaves the item missing there, and the damaged copy aside: the next repair
    goes on.
    """
    aside = []
    for place, result in plan.broken:
        assert plan.source is not None
        item = plan.item
        _refuse_gone(place)
        staged = place.put(item.case, item.item, plan.source.path(item.case, item.item))
        found, _findings = look_at(staged, item, progress=progress)
        if found is not Result.GOOD:
            place.discard(staged)
            raise StorageError(
                _("what was written to {path} can't be read back").format(path=staged),
                hint=_("The disk or the memory is failing: use another machine or disk."),
            )
        if result is Result.DAMAGED:
            mark = clock().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
            aside.append(place.set_aside(item.case, item.item, mark))
        place.commit(item.case, item.item, staged)
        _refuse_gone(place)
        detail = {
            "before": result.value,
            "from": plan.source.name,
            "item": item.item,
            "replica": place.name,
            "result": Result.GOOD.value,
        }
        with writing(vault, f"repair {item.case}", wait_seconds) as records:
            records.append(item.case, [Event(type="recovery", at=clock(), detail=detail)])
    return aside


def note_good(
    vault: Vault, plan: Plan, clock: Callable[[], datetime], wait_seconds: float = 60.0
) -> list[Storage]:
    """Write down of copies that were read and are good, and have an incident open, that they
    are: it was made good by other hands, or by a run that was killed. Which these were.
    """
    item = plan.item
    with writing(vault, f"repair {item.case}", wait_seconds) as records:
        open_ = {one.place for one in records.catalog.incidents() if one.item == item.item}
        noted = [place for place in plan.good if place.name in open_]
        for place in noted:
            detail = {"codes": [], "item": item.item, "result": Result.GOOD.value} | (
                {"replica": place.name} if place.name else {}
            )
            records.append(item.case, [Event(type="fixity check", at=clock(), detail=detail)])
    return noted


def _refuse_gone(place: Storage) -> None:
    """A disk that was pulled out leaves its mount point, which takes everything."""
    if gone := place.reachable():
        raise StorageError(gone, hint=_("Bring it back, and run 'archiver repair' again."))


# -- amendments


@dataclass(frozen=True, slots=True, kw_only=True)
class LostFile:
    """A file of an amendment that isn't at ``place`` as the log tells it, which ``problem``
    says; ``source`` has it, or is None.
    """

    place: Storage
    amendment: int
    name: str
    sha256: str
    problem: str
    source: Storage | None


def plan_amendments(
    item: Item, amendments: Sequence[Amended], places: Sequence[Storage]
) -> list[LostFile]:
    """What is lost of an item's amendments at ``places``, and where it still is. A replica
    that has no copy of the item has no amendments of it either. Changes nothing.
    """
    found = []
    for place in places:
        if place.name and place.name not in item.checks:
            continue
        for one in amendments:
            for name, sha256 in files_of(one).items():
                problem = file_problem(place.file_path(name), sha256)
                if problem:
                    source = next(
                        (each for each in places if not file_problem(each.file_path(name), sha256)),
                        None,
                    )
                    found.append(
                        LostFile(
                            place=place,
                            amendment=one.number,
                            name=name,
                            sha256=sha256,
                            problem=problem,
                            source=source,
                        )
                    )
    return found


def repair_amendments(
    vault: Vault,
    item: Item,
    lost: Sequence[LostFile],
    clock: Callable[[], datetime],
    *,
    wait_seconds: float = 60.0,
) -> list[str]:
    """Put back what is somewhere; where what was there instead lies now. Raises StorageError.

    What is put back is what the log says, to the byte, read just now.
    """
    aside = []
    with writing(vault, f"repair {item.case}", wait_seconds) as records:
        records.require(item.case)
        for one in lost:
            if one.source is None:
                continue
            _refuse_gone(one.place)
            mark = clock().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
            moved = one.place.set_file_aside(item.case, one.name, mark)
            aside += [moved] if moved else []
            source = one.source.file_path(one.name)
            problem = one.place.keep_file(one.name, source) or file_problem(
                one.place.file_path(one.name), one.sha256
            )
            if problem:
                raise StorageError(problem)
            detail = {
                "amendment": one.amendment,
                "from": one.source.name,
                "item": item.item,
                "replica": one.place.name,
                "sha256": one.sha256,
            }
            records.append(item.case, [Event(type="recovery", at=clock(), detail=detail)])
    return aside
