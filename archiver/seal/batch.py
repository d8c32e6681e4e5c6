"""Many bags at once: each staged, signed and read back as one alone, synced together.

Job: stage → sign → one sync → read back, then the renames and one sync of each directory.
Limits: what one bag is, is the business of :mod:`archiver.bag.write`; a batch is not resumed.

A kill at any instant leaves each bag whole or not there at all. What goes wrong with one
bag (its source changed, say) fails that one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archiver.bag.plan import Plan
from archiver.bag.progress import Progress, Silent
from archiver.bag.stage import BatchStaging, Slot, publish, refuse_existing
from archiver.bag.write import BagWriter, WrittenBag
from archiver.digest import ALGORITHMS
from archiver.digest.engine import Engine
from archiver.errors import ArchiverError, storage_error
from archiver.seal import (
    CreateOptions,
    bag_request,
    forget,
    read_back,
    reads_back,
    seal_staged,
    sync_staged,
)

__all__ = ["Order", "StagedBag", "commit_bags", "discard_bags", "stage_bags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One bag to make at ``destination``, which must not exist."""

    plan: Plan
    destination: str
    options: CreateOptions


class StagedBag:
    """A bag that is whole, on the disk and signed, and that nobody can see yet."""

    def __init__(self, order: Order, writer: BagWriter, slot: Slot) -> None:
        self.order, self.slot = order, slot
        self._writer = writer

    @property
    def path(self) -> str:
        """Where it lies now."""
        return self.slot.bag

    def digests(self) -> dict[str, str]:
        """The SHA-512 of each source file as it was copied, by its path below its root."""
        return self._writer.digests(ALGORITHMS["sha512"])

    @property
    def signed_digest(self) -> str:
        """SHA-512 of what was signed, tagmanifest-sha512.txt."""
        return self._writer.signed_digest

    def written(self) -> WrittenBag:
        """What was made, once it is in its place."""
        return self._writer.written()


def stage_bags(
    directory: str, orders: Sequence[Order], *, progress: Progress | None = None
) -> list[StagedBag | ArchiverError]:
    """Stage each bag in ``directory``, which is on the disk of their destinations. For each
    the staged bag, or why there is none.

    Raises StorageError where none can be. What was staged has to be given to
    :func:`commit_bags` or :func:`discard_bags`.
    """
    if not orders:
        return []
    batch = BatchStaging(directory)
    batch.open()
    try:
        workers = orders[0].options.workers
        with Engine(workers=workers, keep_open=(batch.lock,)) as engine:
            made = [_stage(batch, order, engine, progress or Silent()) for order in orders]
        made = _proven(batch, made, progress)
        batch.complete()
    except BaseException:
        batch.close()
        raise
    return made


def commit_bags(staged: Sequence[StagedBag]) -> list[WrittenBag | ArchiverError]:
    """Let staged bags appear, each in one rename that replaces nothing, durably. For each
    what was made, or what stood against it: where that is a directory that can't be synced,
    the bag may be there all the same.
    """
    problems = publish([one.slot for one in staged])
    discard_bags(staged)
    return [
        one.written() if problem is None else problem
        for one, problem in zip(staged, problems, strict=True)
    ]


def discard_bags(staged: Sequence[StagedBag]) -> None:
    """Remove what is still staged of them."""
    for one in staged:
        one.slot.discard()


def _stage(
    batch: BatchStaging, order: Order, engine: Engine, progress: Progress
) -> StagedBag | ArchiverError:
    """Stage and sign one bag; nothing of it is synced yet."""
    try:
        slot = batch.slot(order.destination)
    except OSError as error:
        return storage_error(error, order.destination)
    request = bag_request(order.plan, order.options)
    writer = BagWriter(order.plan, slot, request, progress, engine)
    try:
        refuse_existing(order.destination)
        writer.stage()
        seal_staged(slot.bag, order.options)
    except ArchiverError as error:
        slot.discard()
        return error
    except OSError as error:
        slot.discard()
        return storage_error(error, order.destination)
    return StagedBag(order, writer, slot)


def _proven(
    batch: BatchStaging,
    made: Sequence[StagedBag | ArchiverError],
    progress: Progress | None,
) -> list[StagedBag | ArchiverError]:
    """Sync all, then read each from the disk."""
    try:
        sync_staged(batch.path)
        if any(reads_back(one.order.options) for one in made if isinstance(one, StagedBag)):
            forget(batch.path)
    except (ArchiverError, OSError) as problem:
        error = problem
        if isinstance(error, OSError):
            error = storage_error(error, batch.path)
        discard_bags([one for one in made if isinstance(one, StagedBag)])
        return [one if isinstance(one, ArchiverError) else error for one in made]
    return [one if isinstance(one, ArchiverError) else _proven_one(one, progress) for one in made]


def _proven_one(one: StagedBag, progress: Progress | None) -> StagedBag | ArchiverError:
    options = one.order.options
    try:
        if reads_back(options):
            read_back(one.path, progress, options.workers)
    except ArchiverError as error:
        one.slot.discard()
        return error
    except OSError as error:
        one.slot.discard()
        return storage_error(error, one.order.destination)
    return one
