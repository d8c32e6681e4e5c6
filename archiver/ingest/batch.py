"""Many sources at once: their numbers in one write, bags made together, ends in one write.

Job: the order of :mod:`archiver.ingest` for a batch, in two halves, between which the
caller may write down what is to come. Limits: as there.

1. :func:`prepare` allots numbers and stages the bags: sealed, on the disk, read back.
2. :func:`commit` lets them appear, and writes down that they are there. A kill anywhere
leaves numbers that are begun; :func:`find` and the next :func:`prepare` of the same keys
take them up again, or write down what is there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from archiver.bag.model import BagInfo
from archiver.bag.plan import Plan
from archiver.bag.progress import Progress
from archiver.bag.stage import sweep_batches
from archiver.catalog.model import BEGUN, SEALED, Item
from archiver.custody import Event
from archiver.errors import ArchiverError, DestinationError, FormatError, SourceError, VaultError
from archiver.fixity import Result, look_at
from archiver.i18n import _
from archiver.ingest import Ingested, made_of
from archiver.ingest.numbers import (
    IngestOptions,
    MadeIt,
    Payload,
    begin,
    check_left,
    end,
    facts,
    is_named,
    make_room,
    refusal,
)
from archiver.seal.batch import Order, StagedBag, commit_bags, discard_bags, stage_bags
from archiver.vault import Vault
from archiver.vault.records import reading

__all__ = ["Source", "StagedItem", "abandon", "commit", "find", "prepare", "sweep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What becomes one item. ``key`` makes a repeat harmless; ``info`` and ``tag_files`` are
    what its bag gets beside what all get.
    """

    key: str
    plan: Plan
    info: BagInfo = field(default_factory=BagInfo)
    tag_files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedItem:
    """An item whose bag is whole: ``staged``, or at ``path`` already (None), left by a run
    that was killed, or sealed long since.
    """

    item: Item
    path: str
    payload: Payload
    staged: StagedBag | None = None


def prepare(
    vault: Vault,
    case: str,
    sources: Sequence[Source],
    options: IngestOptions,
    *,
    progress: Progress | None = None,
) -> list[StagedItem | ArchiverError]:
    """Allot a number to each source and stage its bag; for each the item, or why not.

    A source that can't be archived keeps its number, with the reason. Raises ArchiverError
    where nothing can be done. What was staged has to be given to :func:`commit` or
    :func:`abandon`. The keys are all different.
    """
    if not sources:
        return []
    items = begin(vault, case, [one.key for one in sources], options)
    make_room(vault, vault.bag_path(case, "any"))
    orders: list[tuple[int, Order]] = []
    made: dict[int, StagedItem | ArchiverError] = {}
    for index, (item, source) in enumerate(zip(items, sources, strict=True)):
        path = vault.bag_path(case, item.item)
        if os.path.lexists(path) or item.state == SEALED:
            made[index] = _there(vault, item, made_of(source.plan), options)
        else:
            orders.append((index, _order(path, item, source, options)))
    directory = os.path.dirname(vault.bag_path(case, "any"))
    staged = stage_bags(directory, [order for _index, order in orders], progress=progress)
    for (index, _order_of), bag in zip(orders, staged, strict=True):
        made[index] = bag if isinstance(bag, ArchiverError) else _staged(items[index], bag)
    try:
        _refuse(vault, case, items, made, options)
    except BaseException:
        abandon([one for one in made.values() if isinstance(one, StagedItem)])
        raise
    return [made[index] for index in range(len(sources))]


def _order(path: str, item: Item, source: Source, options: IngestOptions) -> Order:
    create = options.create
    named = BagInfo((("External-Identifier", item.item), *create.info, *source.info))
    tag_files = {**create.tag_files, **source.tag_files}
    create = replace(create, info=named, tag_files=tag_files, verify_after=True)
    return Order(plan=source.plan, destination=path, options=create)


def _staged(item: Item, bag: StagedBag) -> StagedItem:
    plan = bag.order.plan
    payload = Payload(plan.files, plan.size_bytes)
    return StagedItem(item=item, path=bag.order.destination, payload=payload, staged=bag)


def _refuse(
    vault: Vault,
    case: str,
    items: Sequence[Item],
    made: Mapping[int, StagedItem | ArchiverError],
    options: IngestOptions,
) -> None:
    """Write down which sources can't be archived; whatever else went wrong leaves the item
    begun, to be taken up again.
    """
    ends = [
        (items[index], refusal(items[index], one, options.create.now))
        for index, one in made.items()
        if isinstance(one, SourceError | FormatError)
    ]
    end(vault, case, ends, options)


def _there(
    vault: Vault, item: Item, made_it: MadeIt, options: IngestOptions
) -> StagedItem | ArchiverError:
    """An item whose bag should be in its place: it is read before it counts."""
    path = vault.bag_path(item.case, item.item)
    try:
        if item.state == BEGUN:
            payload = check_left(path, item, made_it, options.create, options.progress)
        else:
            result, _findings = look_at(
                path, item, workers=options.create.workers, progress=options.progress
            )
            if result is not Result.GOOD:
                raise VaultError(
                    _("{path} is there, and it is not intact").format(path=path),
                    hint=_("See 'archiver audit' and 'archiver repair'."),
                )
            payload = Payload(item.files, item.size_bytes)
    except ArchiverError as error:
        return error
    return StagedItem(item=item, path=path, payload=payload)


def commit(
    vault: Vault, case: str, staged: Sequence[StagedItem], options: IngestOptions
) -> list[Ingested | ArchiverError]:
    """Let the bags of ``staged`` appear, and write down that they are there; for each the
    item, or why not. Raises ArchiverError where that can't be written down: then the bags
    are there, and their numbers begun.
    """
    bags = [one.staged for one in staged if one.staged is not None]
    outcomes = iter(commit_bags(bags))
    done: list[StagedItem | ArchiverError] = []
    for one in staged:
        outcome = None if one.staged is None else next(outcomes)
        if isinstance(outcome, DestinationError):  # another run was faster
            done.append(_there(vault, one.item, is_named, options))
        else:
            done.append(outcome if isinstance(outcome, ArchiverError) else one)
    ends: list[tuple[Item, Event]] = []
    for index, made in enumerate(done):
        if isinstance(made, StagedItem) and made.item.state == BEGUN:
            try:
                detail = facts(made.path, made.item, made.payload)
            except ArchiverError as error:
                done[index] = error
                continue
            at = options.create.now
            ends.append((made.item, Event(type="ingestion end", at=at, detail=detail)))
    end(vault, case, ends, options)
    return [one if isinstance(one, ArchiverError) else _ingested(one) for one in done]


def _ingested(one: StagedItem) -> Ingested:
    return Ingested(
        item=one.item.item,
        path=one.path,
        payload_files=one.payload.files,
        payload_bytes=one.payload.size_bytes,
        recovered=one.staged is None,
    )


def abandon(staged: Sequence[StagedItem]) -> None:
    """Remove what is staged. The numbers stay begun: the same keys take them up again."""
    discard_bags([one.staged for one in staged if one.staged is not None])


def find(vault: Vault, case: str, key: str, options: IngestOptions) -> Ingested | None:
    """The item of ``key`` whose bag is there and proves intact; where a killed run left the
    bag, it is written down. None where there is none. Raises ArchiverError.
    """
    with reading(vault) as records:
        records.require(case)
        known = records.catalog.with_keys(case, [key]).get(key, [])
    for item in known:
        begun = item.state == BEGUN and os.path.lexists(vault.bag_path(case, item.item))
        if begun or item.state == SEALED:
            found = _there(vault, item, is_named, options)
            if isinstance(found, ArchiverError):
                raise found
            (ingested,) = commit(vault, case, [found], options)
            if isinstance(ingested, ArchiverError):
                raise ingested
            return ingested
    return None


def sweep(vault: Vault, case: str) -> None:
    """Remove what killed runs have left in staging. Raises StorageError."""
    sweep_batches(os.path.dirname(vault.bag_path(case, "any")))
