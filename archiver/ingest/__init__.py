"""Sources become sealed bags in a vault, each under a number that is never given twice.

Job: the workflow: number, bag, events, in an order in which a kill loses nothing.
Limits: one call makes one item (:mod:`archiver.ingest.batch` makes many); what
is asked of bags is the policy's business.

1. The number is allotted in the case's log, and synced. 2. The bag is made, sealed, read
back, and appears in one rename. 3. The log says that it is there, with its digests. A kill
between them leaves a number that is *begun*: the next ingest of the same source takes it
up again, or, where the bag is there and proves intact, writes down that it is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from archiver.bag.model import BagInfo
from archiver.bag.plan import Plan
from archiver.bag.progress import Progress
from archiver.catalog.model import SEALED, Item
from archiver.custody import Event
from archiver.describe import DESCRIPTION_PATH, Description
from archiver.errors import AlreadyExistsError, FormatError, SourceError, UsageError
from archiver.filesystem import read_regular
from archiver.i18n import _
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
    withdraw,
)
from archiver.seal import create_bag
from archiver.seal.adopt import AdoptOptions, adopt_bag, refuse_archive
from archiver.seal.described import described_in
from archiver.vault import Vault
from archiver.verify import VerificationReport

__all__ = [
    "IngestOptions",
    "Ingested",
    "Told",
    "bag_key",
    "ingest",
    "ingest_bag",
    "made_of",
    "source_key",
    "withdraw",
]

_MAX_MANIFEST_BYTES = 1 << 30
_MANIFEST = re.compile(r"manifest-[a-z0-9]+\.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """An item that is sealed and in the log. ``recovered``: its bag was there already, left
    by a run that was killed.
    """

    item: str
    path: str
    payload_files: int
    payload_bytes: int
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What the log says of a source: a ``key`` instead of :func:`source_key`, where what that
    is a digest of could be guessed, and what it keeps beside the bag's digests.
    """

    key: str
    more: Mapping[str, Any]


def ingest(
    vault: Vault,
    case: str,
    sources: Sequence[str],
    plan: Plan,
    options: IngestOptions,
    *,
    told: Told | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Ingested:
    """Make a sealed bag of ``plan`` in ``vault``, as the next item of ``case``. ``told`` is what
    the log is to say of it.

    Raises ArchiverError; then the case's log is as it was, or says what was begun.
    """

    def make(path: str, item: Item) -> Payload:
        named = BagInfo((("External-Identifier", item.item), *options.create.info))
        create = replace(options.create, info=named, verify_after=True)
        create_bag(plan, path, create, progress=progress, say=say)
        return Payload(plan.files, plan.size_bytes, told.more if told else {})

    key = told.key if told else source_key(vault, sources, plan)
    made_it = made_of(plan)
    work = _Work(case=case, key=key, make=make, made_it=made_it)
    done = _take_in(vault, work, options, say)
    if done.recovered and not _is_described_so(done.path, options):
        text = _("{item} was made with another description: see 'archiver describe {item}'")
        say(text.format(item=done.item))
    return done


def _is_described_so(bag: str, options: IngestOptions) -> bool:
    """Whether a bag that was there already is described as ``options`` want it now."""
    wanted = options.create.tag_files.get(DESCRIPTION_PATH)
    if wanted is None:
        return True
    found, asked = described_in(bag), Description.parse(wanted)
    return found is not None and (found.kind, found.values) == (asked.kind, asked.values)


def made_of(plan: Plan) -> MadeIt:
    """Whether a bag that is there is one of ``plan``, as far as it says itself."""

    def made_it(path: str, item: Item, report: VerificationReport) -> bool:
        size = (report.facts.payload_files, report.facts.payload_bytes)
        return is_named(path, item, report) and size == (plan.files, plan.size_bytes)

    return made_it


def ingest_bag(
    vault: Vault,
    case: str,
    bag: str,
    options: IngestOptions,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Ingested:
    """Take the existing bag in the directory ``bag`` over as it is, as the next item of
    ``case`` (:mod:`archiver.seal.adopt`). Raises ArchiverError.
    """
    refuse_archive(bag)

    def make(path: str, _item: Item) -> Payload:
        create = options.create
        adopt = AdoptOptions(
            policy=create.policy, now=create.now, sealing=create.sealing, workers=create.workers
        )
        made = adopt_bag(bag, path, adopt, progress=progress, say=say)
        more = {"added": [*made.added], "adopted": True, "was_sealed": made.was_sealed}
        return Payload(made.payload_files, made.payload_bytes, more)

    def made_it(path: str, _item: Item, _report: VerificationReport) -> bool:
        return all(
            read_regular(os.path.join(bag, name), _MAX_MANIFEST_BYTES)
            == read_regular(os.path.join(path, name), _MAX_MANIFEST_BYTES)
            for name in os.listdir(bag)
            if _MANIFEST.fullmatch(name)
        )

    work = _Work(case=case, key=bag_key(vault, bag), make=make, made_it=made_it)
    return _take_in(vault, work, options, say)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One item to make: ``make`` puts a sealed bag at a path, ``made_it`` knows it again."""

    case: str
    key: str
    make: Callable[[str, Item], Payload]
    made_it: MadeIt


def source_key(vault: Vault, sources: Sequence[str], plan: Plan) -> str:
    """What makes a repeat after a crash harmless: where the sources lie, and what the plan
    saw of them (names, sizes, times). A digest: it tells nothing to who doesn't know them.
    """
    state = hashlib.sha256(vault.identifier.encode())
    for source in sources:
        state.update(os.fsencode(os.path.abspath(source)) + b"\0")
    for directory in plan.directories:
        state.update(os.fsencode(directory.target) + b"\0")
        for index, name in enumerate(directory.target_names()):
            size, mtime_ns = directory.planned(index)[:2]
            state.update(os.fsencode(f"{name}\0{size}\0{mtime_ns}\0"))
    return state.hexdigest()


def bag_key(vault: Vault, bag: str) -> str:
    """The same for an existing bag: where it lies, and its manifests, which stand for all."""
    state = hashlib.sha256(vault.identifier.encode())
    state.update(b"bag\0" + os.fsencode(os.path.abspath(bag)) + b"\0")
    try:
        names = sorted(entry.name for entry in os.scandir(bag) if _is_text(entry))
        for name in names:
            state.update(os.fsencode(name) + b"\0")
            descriptor = os.open(os.path.join(bag, name), os.O_RDONLY | os.O_NOFOLLOW)
            with open(descriptor, "rb") as file:
                state.update(hashlib.file_digest(file, "sha256").digest())
    except FileNotFoundError as error:
        raise UsageError(
            _("{path} does not exist").format(path=bag), hint=_("Check the spelling of the path.")
        ) from error
    except OSError as error:
        raise SourceError(
            _("{path} can't be read: {reason}").format(path=bag, reason=error.strerror)
        ) from error
    return state.hexdigest()


def _is_text(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".txt") and entry.is_file(follow_symlinks=False)


def _take_in(
    vault: Vault, work: _Work, options: IngestOptions, say: Callable[[str], None]
) -> Ingested:
    """The vault's lock is held to write events only: making a bag may take hours. Two who
    make the same one meet at its staging, which has a lock of its own.
    """
    (item,) = begin(vault, work.case, [work.key], options)
    if item.state == SEALED:
        raise AlreadyExistsError(
            _("this source is in the case already, as {item}").format(item=item.item),
            hint=_("Nothing was done. To make another item of it: --again."),
        )
    path, now = vault.bag_path(work.case, item.item), options.create.now
    recovered = os.path.lexists(path)
    if recovered:
        say(_("{item} was made by a run that was ended; it is checked").format(item=item.item))
        payload = check_left(path, item, work.made_it, options.create)
    else:
        with _refusing(vault, item, options):
            make_room(vault, path)
            payload = work.make(path, item)
    event = Event(type="ingestion end", at=now, detail=facts(path, item, payload))
    end(vault, item.case, [(item, event)], options)
    return Ingested(
        item=item.item,
        path=path,
        payload_files=payload.files,
        payload_bytes=payload.size_bytes,
        recovered=recovered,
    )


@contextmanager
def _refusing(vault: Vault, item: Item, options: IngestOptions) -> Iterator[None]:
    """A source that can't be archived keeps its number. Whatever else goes wrong leaves the
    item begun, to be taken up again.
    """
    try:
        yield
    except (SourceError, FormatError) as error:
        event = refusal(item, error, options.create.now)
        end(vault, item.case, [(item, event)], options)
        raise
