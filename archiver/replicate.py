"""Copies of a vault's bags in other places: made, read back, written down.

Job: bring every replica up to date. Limits: copies what is sealed, never removes and never
writes over anything; a copy counts once it was read back and is the bag that was sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from archiver.audit import Result, look_at
from archiver.bag.progress import Progress
from archiver.custody import Event
from archiver.errors import ArchiverError
from archiver.i18n import _
from archiver.storage import Storage
from archiver.vault import Vault
from archiver.vault.register import SEALED, Item, read_register

__all__ = ["Copied", "sync"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What became of one item at one place: ``problem`` is "" where the copy is good.
    ``found``: it lay there already, left by a run that was killed.
    """

    case: str
    item: str
    replica: str
    problem: str = ""
    found: bool = False


def sync(
    vault: Vault,
    places: Sequence[Storage],
    clock: Callable[[], datetime],
    *,
    wait_seconds: float = 60.0,
    progress: Progress | None = None,
) -> Iterator[Copied]:
    """Copy to each of ``places`` what it has not yet, one bag after the other.

    What fails is told, and the next is done. ``clock`` gives aware times.
    """
    for place in places:
        for case in vault.cases():
            register = read_register(case, vault.log_path(case))
            for item in register.items.values():
                if item.state == SEALED and place.name not in item.checks:
                    copied = _copy(vault, place, case, item, progress)
                    if not copied.problem:
                        _write_down(vault, copied, clock(), wait_seconds)
                    yield copied


def _copy(vault: Vault, place: Storage, case: str, item: Item, progress: Progress | None) -> Copied:
    result = Copied(case=case, item=item.item, replica=place.name)
    try:
        if place.has(case, item.item):
            return _judge_found(place, result, item, progress)
        staged = place.put(case, item.item, vault.bag_path(case, item.item))
        found, _codes, _findings = look_at(staged, item, progress=progress)
        if found is not Result.GOOD:
            place.discard(staged)
            text = _("the copy is not what was sealed: is the vault's own damaged?")
            return Copied(case=case, item=item.item, replica=place.name, problem=text)
        place.commit(case, item.item, staged)
    except ArchiverError as error:
        return Copied(case=case, item=item.item, replica=place.name, problem=error.message)
    return result


def _judge_found(place: Storage, copied: Copied, item: Item, progress: Progress | None) -> Copied:
    """A copy that the log doesn't know: a run that was killed has left it, or somebody else."""
    found, _codes, _findings = look_at(place.path(copied.case, item.item), item, progress=progress)
    problem = (
        "" if found is Result.GOOD else _("something else lies there already, and stays as it is")
    )
    return Copied(case=copied.case, item=item.item, replica=place.name, problem=problem, found=True)


def _write_down(vault: Vault, copied: Copied, now: datetime, wait_seconds: float) -> None:
    detail = {"item": copied.item, "replica": copied.replica, "result": Result.GOOD.value}
    with vault.writing(f"sync {copied.case}", wait_seconds):
        register = read_register(copied.case, vault.log_path(copied.case))
        register.append([Event(type="replication", at=now, detail=detail)])
