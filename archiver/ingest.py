"""Sources become sealed bags in a vault, each under a number that is never given twice.

Job: the workflow: number, bag, events, in an order in which a kill loses nothing.
Limits: one call makes one item; what is asked of bags is the policy's business.

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
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from archiver.bag.model import BagInfo
from archiver.bag.plan import Plan
from archiver.bag.progress import Progress
from archiver.bag.proofs import SIGNED_FILE
from archiver.bag.stage import Staging
from archiver.catalog.model import BEGUN, SEALED, Item, item_name
from archiver.custody import CUSTODY_PATH, Event, line_digest
from archiver.errors import (
    AlreadyExistsError,
    FormatError,
    LogError,
    SourceError,
    UsageError,
    VaultError,
    storage_error,
)
from archiver.filesystem import read_regular
from archiver.i18n import _
from archiver.seal import CreateOptions, create_bag
from archiver.seal.adopt import AdoptOptions, adopt_bag, refuse_archive
from archiver.seal.proofs import ProofPlace
from archiver.vault import Vault
from archiver.vault.records import Records, writing
from archiver.verify import Verdict, VerificationReport, verify_bag

__all__ = ["IngestOptions", "Ingested", "bag_key", "ingest", "ingest_bag", "source_key", "withdraw"]


_MAX_PROOF_BYTES = 4 << 20
_MAX_MANIFEST_BYTES = 1 << 30
_MANIFEST = re.compile(r"manifest-[a-z0-9]+\.txt")
_TAG = re.compile(r"tagmanifest-[a-z0-9]+\.txt")
_END_SECONDS = 60.0
"""How long to wait, at least, to write down a bag that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """``create`` says how the bag is made; ``again`` makes another item of a source that is
    in the case already; ``wait_seconds`` is how long to wait for another writer.
    """

    create: CreateOptions
    again: bool = False
    wait_seconds: float = 10.0


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


def ingest(
    vault: Vault,
    case: str,
    sources: Sequence[str],
    plan: Plan,
    options: IngestOptions,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Ingested:
    """Make a sealed bag of ``plan`` in ``vault``, as the next item of ``case``.

    Raises ArchiverError; then the case's log is as it was, or says what was begun.
    """

    def make(path: str, item: Item) -> _Payload:
        named = BagInfo((("External-Identifier", item.item), *options.create.info))
        create = replace(options.create, info=named, verify_after=True)
        create_bag(plan, path, create, progress=progress, say=say)
        return _Payload(plan.files, plan.size_bytes)

    def made_it(_path: str, item: Item, report: VerificationReport) -> bool:
        facts = report.facts
        named = ("External-Identifier", item.item) in facts.info.elements
        size = (facts.payload_files, facts.payload_bytes)
        return named and size == (plan.files, plan.size_bytes)

    key = source_key(vault, sources, plan)
    work = _Work(case=case, key=key, make=make, made_it=made_it)
    return _take_in(vault, work, options, say)


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

    def make(path: str, _item: Item) -> _Payload:
        create = options.create
        adopt = AdoptOptions(
            policy=create.policy, now=create.now, sealing=create.sealing, workers=create.workers
        )
        made = adopt_bag(bag, path, adopt, progress=progress, say=say)
        more = {"added": [*made.added], "adopted": True, "was_sealed": made.was_sealed}
        return _Payload(made.payload_files, made.payload_bytes, more)

    def made_it(path: str, _item: Item, _report: VerificationReport) -> bool:
        return all(
            read_regular(os.path.join(bag, name), _MAX_MANIFEST_BYTES)
            == read_regular(os.path.join(path, name), _MAX_MANIFEST_BYTES)
            for name in os.listdir(bag)
            if _MANIFEST.fullmatch(name)
        )

    work = _Work(case=case, key=bag_key(vault, bag), make=make, made_it=made_it)
    return _take_in(vault, work, options, say)


@dataclass(frozen=True, slots=True)
class _Payload:
    """What is in a bag that was made, and what else the log is to keep."""

    files: int
    size_bytes: int
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One item to make: ``make`` puts a sealed bag at a path."""

    case: str
    key: str
    make: Callable[[str, Item], _Payload]
    made_it: Callable[[str, Item, VerificationReport], bool]
    """Whether the bag at a path is what ``make`` makes."""


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
    item = _begin(vault, work, options)
    path, now = vault.bag_path(work.case, item.item), options.create.now
    recovered = os.path.lexists(path)
    if recovered:
        say(_("{item} was made by a run that was ended; it is checked").format(item=item.item))
        payload = _check_left(path, item, work, options.create)
    else:
        with _refusing(vault, item, options):
            _make_room(vault, path)
            payload = work.make(path, item)
    event = Event(type="ingestion end", at=now, detail=_facts(path, item, payload))
    _end(vault, item, event, options)
    return Ingested(
        item=item.item,
        path=path,
        payload_files=payload.files,
        payload_bytes=payload.size_bytes,
        recovered=recovered,
    )


def _begin(vault: Vault, work: _Work, options: IngestOptions) -> Item:
    """The item to make: one that was begun, or the next. Raises AlreadyExistsError."""
    case = work.case
    with writing(vault, f"ingest {case}", options.wait_seconds) as records:
        records.require(case)
        known = records.catalog.with_key(case, work.key)
        sealed = [one for one in known if one.state == SEALED]
        if sealed and not options.again:
            raise AlreadyExistsError(
                _("this source is in the case already, as {item}").format(item=sealed[0].item),
                hint=_("Nothing was done. To make another item of it: --again."),
            )
        begun = [one for one in known if one.state == BEGUN]
        return begun[0] if begun else _allot(records, case, work.key, options.create.now)


def _end(vault: Vault, item: Item, event: Event, options: IngestOptions) -> None:
    """Write down what became of it, unless another run was faster."""
    with writing(vault, f"ingest {item.case}", max(options.wait_seconds, _END_SECONDS)) as records:
        records.require(item.case)
        found = records.catalog.item(item.item)
        if found is None or found.state == BEGUN:
            records.append(item.case, [event])


def withdraw(vault: Vault, item: Item, reason: str, now: datetime, wait_seconds: float) -> None:
    """End an item that was begun and will never be finished: its number and ``reason`` stay,
    what was copied for it goes. Raises AlreadyExistsError where it was sealed or refused,
    DestinationError where it is being made just now.
    """
    staging = Staging(vault.bag_path(item.case, item.item), "ingest")
    with writing(vault, f"withdraw {item.item}", wait_seconds) as records:
        records.require(item.case)
        found = records.catalog.item(item.item)
        if found is None or found.state != BEGUN:
            raise AlreadyExistsError(
                _("{item} is not begun: it was sealed or refused").format(item=item.item),
                hint=_("See 'archiver show {item}'.").format(item=item.item),
            )
        _check_free(vault.bag_path(item.case, item.item))
        if os.path.isdir(os.path.dirname(staging.destination)):
            staging.open()  # refused while somebody makes it
            staging.discard()
        detail = {"item": item.item, "number": item.number, "reason": reason}
        event = Event(type="ingestion end", at=now, outcome="failure", detail=detail)
        records.append(item.case, [event])


def _allot(records: Records, case: str, key: str, now: datetime) -> Item:
    """The next number, in the log before anything else is done."""
    _refuse_forgotten(records.vault, case)
    number = records.catalog.next_number(case)
    name = item_name(case, number)
    _check_free(records.vault.bag_path(case, name))
    detail = {"item": name, "key": key, "number": number}
    records.append(case, [Event(type="ingestion start", at=now, detail=detail)])
    item = records.catalog.item(name)
    assert item is not None
    return item


def _refuse_forgotten(vault: Vault, case: str) -> None:
    """A vault that was put back from an old copy has forgotten numbers; a replica has not."""
    own = vault.log_path(case)
    size = os.lstat(own).st_size if os.path.lexists(own) else 0
    for place in vault.replicas():
        if not place.reachable() and place.log_size(case) > size:
            raise LogError(
                _("{name} knows more of {case} than the vault does").format(
                    name=place.name, case=case
                ),
                hint=_("Was the vault put back from an old copy? See docs/vault.md, Replicas."),
            )


def _check_free(path: str) -> None:
    """A bag under the next number was made for another source, and its log was lost: taken
    for this source's, it would leave this source unarchived.
    """
    if os.path.lexists(path):
        raise VaultError(
            _("{path} is there, and the log of the case knows nothing of it").format(path=path),
            hint=_("See 'archiver events verify'; put the log of the case back from a copy."),
        )


@contextmanager
def _refusing(vault: Vault, item: Item, options: IngestOptions) -> Iterator[None]:
    """A source that can't be archived keeps its number, with the reason; no name of it is
    written down. Whatever else goes wrong leaves the item begun, to be taken up again.
    """
    try:
        yield
    except (SourceError, FormatError) as error:
        reason = "source" if isinstance(error, SourceError) else "not intact"
        detail = {"item": item.item, "number": item.number, "reason": reason}
        now = options.create.now
        event = Event(type="ingestion end", at=now, outcome="failure", detail=detail)
        _end(vault, item, event, options)
        raise


def _make_room(vault: Vault, path: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    if problem := vault.storage().reachable():
        raise VaultError(problem)


def _check_left(path: str, item: Item, work: _Work, options: CreateOptions) -> _Payload:
    """What a killed run left under its name is whole and sealed, or it would not be there:
    but it is read once more before the log says so, and must be made of this source.
    """
    wanted = len(options.sealing.signers) if options.sealing else 0
    report = verify_bag(path)
    intact = report.verdict in (Verdict.VALID, Verdict.UNPROVEN)
    try:
        ours = intact and not os.path.islink(path) and work.made_it(path, item, report)
    except OSError:
        ours = False
    if not ours or _count_signatures(path) < wanted:
        raise VaultError(
            _("{path} is there, and it is not intact").format(path=path),
            hint=_("See 'archiver bag verify'. Move it away before ingesting again."),
        )
    return _Payload(report.facts.payload_files, report.facts.payload_bytes)


def _count_signatures(path: str) -> int:
    proofs = os.path.join(path, "signatures")
    names = os.listdir(proofs) if os.path.isdir(proofs) else []
    return sum(name.endswith(".p7s") for name in names)


def _facts(path: str, item: Item, payload: _Payload) -> dict[str, Any]:
    """What the log keeps of a bag: enough to notice another one in its place. A bag of
    another tool has no chain of its own, and no head.
    """
    try:
        with open(os.path.join(path, SIGNED_FILE), "rb") as file:
            signed = hashlib.file_digest(file, "sha512").hexdigest()
        signatures, head, proofs = _count_signatures(path), _custody_head(path), _proofs(path)
        manifests = sorted(name[12:-4] for name in os.listdir(path) if _TAG.fullmatch(name))
    except (OSError, IndexError) as error:
        raise VaultError(_("{path} can't be read back").format(path=path)) from error
    return {
        **payload.more,
        "custody_head": head,
        "item": item.item,
        "number": item.number,
        "payload_bytes": payload.size_bytes,
        "payload_files": payload.files,
        "proofs": proofs,
        "signatures": signatures,
        "tag_manifest_sha512": signed,
        "tag_manifests": manifests,
    }


def _proofs(path: str) -> dict[str, str]:
    """SHA-256 of what a bag was sealed with; time stamps come later."""
    place = ProofPlace(path)
    files = place.files()
    return {
        name: hashlib.sha256(place.read(name, _MAX_PROOF_BYTES)).hexdigest()
        for name in (*files.signatures, *files.certificates)
    }


def _custody_head(path: str) -> str:
    try:
        with open(os.path.join(path, CUSTODY_PATH), "rb") as file:
            return line_digest(file.read().splitlines(keepends=True)[-1])
    except FileNotFoundError:
        return ""
