"""Copies of a vault's bags in other places: made, read back, written down.

Job: add places, bring every replica up to date. Limits: copies what is sealed, never removes
and never writes over anything; a copy counts once it was read back and is the bag that was
sealed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from archiver.bag.progress import Progress
from archiver.catalog.model import CASE, GOOD, SEALED, Item
from archiver.custody import Event
from archiver.errors import AlreadyExistsError, ArchiverError, UsageError
from archiver.fixity import Result, look_at
from archiver.i18n import _
from archiver.seal.proofs import ProofPlace, add_proof
from archiver.storage import Storage
from archiver.storage.local import LocalStorage, prepare_directory
from archiver.vault import Vault
from archiver.vault.amendments import file_problem, files_of
from archiver.vault.records import reading, writing
from archiver.vault.sealed import Trusted

__all__ = ["Copied", "add_replica", "sync"]

_MAX_PROOF_BYTES = 4 << 20


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


def add_replica(
    vault: Vault, name: str, directory: str, wait_seconds: float, *, location: str = ""
) -> LocalStorage:
    """Make ``directory`` a place for copies, and note it; ``location`` is where in the world
    it is, for people.

    A name that the logs know must not be given to another directory: its copies would be
    counted that lie elsewhere. Raises AlreadyExistsError, DestinationError, StorageError.
    """
    if not CASE.fullmatch(name):
        raise UsageError(
            _("{name!r} can't be a replica's name").format(name=name),
            hint=_("Use small letters, digits and - . _, for example: second-disk."),
        )
    with writing(vault, "replica add", wait_seconds) as records:
        replicas = vault.replicas()
        if any(one.name == name for one in replicas):
            raise AlreadyExistsError(
                _("there is a replica named {name} already").format(name=name),
                hint=_("See 'archiver replica list'."),
            )
        place = LocalStorage(name, os.path.realpath(directory), vault.identifier)
        if place.reachable() and records.catalog.knows_place(name):
            raise AlreadyExistsError(
                _("the logs count copies in a replica that was named {name}").format(name=name),
                hint=_("Give the directory that it had, or choose another name."),
            )
        place = prepare_directory(
            directory, name, vault.identifier, away_from=vault.path, location=location
        )
        vault.set_replicas([*replicas, place])
    return place


def sync(
    vault: Vault,
    places: Sequence[Storage],
    clock: Callable[[], datetime],
    *,
    wait_seconds: float = 60.0,
    progress: Progress | None = None,
) -> Iterator[Copied]:
    """Copy to each of ``places`` what it has not yet, one bag after the other.

    What fails is told, and the next is done. ``clock`` gives aware times. Raises LockedError
    where another process is copying; once all else was done, CatalogError or LogError for a
    case of which the catalog says something else than the log.
    """
    trusted = Trusted(vault)
    with vault.copying("replica sync", wait_seconds):
        for place in places:
            for item in _pending(vault, place):
                if not trusted.has(item.case):
                    continue
                copied = _copy(vault, place, item.case, item, progress)
                if not copied.problem:
                    _write_down(vault, copied, clock(), wait_seconds)
                yield copied
            yield from _bring_up(vault, place)
            yield from _keep_logs(vault, place)
    for problem in trusted.problems:
        raise problem


def _bring_up(vault: Vault, place: Storage) -> Iterator[Copied]:
    """Proofs that came after a copy was made (a late time stamp, one more signature) go to
    it; a copy that is gone is told. Only what was wrong or done is told.
    """
    after = ""
    while not place.reachable():
        with reading(vault) as records:
            page, broken = records.catalog.page(after=after), records.broken
        for item in page:
            if item.case not in broken and _is_good(item, place.name) and _is_good(item, ""):
                yield from _add_proofs(vault, place, item)
        if not page:
            return
        after = page[-1].item


def _is_good(item: Item, place: str) -> bool:
    """As far as is known: the vault's own may not have been checked since it was sealed."""
    check = item.checks.get(place)
    return check.result == GOOD if check else (not place and item.state == SEALED)


def _add_proofs(vault: Vault, place: Storage, item: Item) -> Iterator[Copied]:
    told = Copied(case=item.case, item=item.item, replica=place.name)
    if not place.has(item.case, item.item):
        yield replace(told, problem=_("the copy is gone: see 'archiver audit'"))
        return
    try:
        ours = ProofPlace(vault.bag_path(item.case, item.item))
        theirs = ProofPlace(place.path(item.case, item.item))
        missing = _proofs(ours) - _proofs(theirs)
        for name in sorted(missing):
            add_proof(theirs, name, ours.read(name, _MAX_PROOF_BYTES))
    except ArchiverError as error:
        yield replace(told, problem=error.message)
        return
    if missing:
        yield told


def _proofs(place: ProofPlace) -> set[str]:
    """Those that stay; a request only waits."""
    files = place.files()
    return {*files.signatures, *files.stamps, *files.certificates, *files.crls}


def _keep_logs(vault: Vault, place: Storage) -> Iterator[Copied]:
    """Logs, checkpoints, receipts and vault.toml go with the bags: a replica is a whole vault
    where the first one is lost, and a log that was rewritten at home no longer begins like
    the copy. Only what stands against it is told.
    """
    with reading(vault) as records:
        positions, broken = records.catalog.positions(), records.broken
    work = [
        (case, functools.partial(place.keep_log, case, vault.log_path(case), position.size))
        for case, position in positions.items()
        if case not in broken
    ]
    work += [
        (name, functools.partial(place.keep_file, name, os.path.join(vault.path, name)))
        for name in vault.small_files()
    ]
    work += [
        (name, functools.partial(_keep_amendment, vault, place, name, sha256))
        for name, sha256 in _amendments(vault)
    ]
    for name, keep in work:
        try:
            problem = place.reachable() or keep()
        except ArchiverError as error:
            problem = error.message
        if problem:
            yield Copied(case=name, item=name, replica=place.name, problem=problem)


def _amendments(vault: Vault) -> list[tuple[str, str]]:
    """(name, digest) of the files that the logs name: nothing else is copied, or what a
    stranger laid there would stand in the way of the next amendment for good.
    """
    with reading(vault) as records:
        return [
            file
            for item in records.catalog.amended()
            for one in records.catalog.amendments(item)
            if one.case not in records.broken
            for file in files_of(one).items()
        ]


def _keep_amendment(vault: Vault, place: Storage, name: str, sha256: str) -> str:
    source = os.path.join(vault.path, *name.split("/"))
    return file_problem(source, sha256) or place.keep_file(name, source)


def _pending(vault: Vault, place: Storage) -> Iterator[Item]:
    """What the place has not yet, page by page; what fails is not asked for again."""
    after = ""
    while True:
        with reading(vault) as records:
            page = records.catalog.pending(place.name, after=after)
            broken = records.broken
        if not page:
            return
        yield from (one for one in page if one.case not in broken)
        after = page[-1].item


def _copy(vault: Vault, place: Storage, case: str, item: Item, progress: Progress | None) -> Copied:
    result = Copied(case=case, item=item.item, replica=place.name)
    if gone := place.reachable():  # else its mount point would fill up in its stead
        return replace(result, problem=gone)
    try:
        if place.has(case, item.item):
            return _judge_found(place, result, item, progress)
        staged = place.put(case, item.item, vault.bag_path(case, item.item))
        found, _findings = look_at(staged, item, progress=progress)
        if found is not Result.GOOD:
            place.discard(staged)
            text = _("the copy is not what was sealed: is the vault's own damaged?")
            if found is Result.UNDECIDED:
                text = _("what was written to {path} can't be read back").format(path=staged)
            return replace(result, problem=text)
        place.commit(case, item.item, staged)
    except ArchiverError as error:
        return replace(result, problem=error.message)
    return replace(result, problem=place.reachable())


def _judge_found(place: Storage, copied: Copied, item: Item, progress: Progress | None) -> Copied:
    """A copy that the log doesn't know: a run that was killed has left it, or somebody else."""
    found, _findings = look_at(place.path(copied.case, item.item), item, progress=progress)
    problem = (
        "" if found is Result.GOOD else _("something else lies there already, and stays as it is")
    )
    return replace(copied, problem=problem, found=True)


def _write_down(vault: Vault, copied: Copied, now: datetime, wait_seconds: float) -> None:
    detail = {"item": copied.item, "replica": copied.replica, "result": Result.GOOD.value}
    with writing(vault, f"sync {copied.case}", wait_seconds) as records:
        records.append(copied.case, [Event(type="replication", at=now, detail=detail)])
