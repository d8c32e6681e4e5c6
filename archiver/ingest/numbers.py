"""Numbers of a case: allotted before anything is made, ended once it is known what became of it.

Job: the two ends of every ingest, for one source or many: one write to the log each.
Limits: makes no bags; the vault's lock is held for no longer than a write takes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archiver.bag.progress import Progress
from archiver.bag.proofs import SIGNED_FILE
from archiver.bag.stage import Staging, sweep_left
from archiver.catalog.model import BEGUN, SEALED, Item, item_name
from archiver.custody import CUSTODY_PATH, Event, line_digest, parse_event
from archiver.errors import (
    AlreadyExistsError,
    ArchiverError,
    FormatError,
    SourceError,
    VaultError,
    storage_error,
)
from archiver.i18n import _
from archiver.scan import INFECTED
from archiver.seal import CreateOptions
from archiver.seal.described import STATEMENT, calls_itself_statement, description_fact
from archiver.seal.proofs import ProofPlace
from archiver.vault import Vault
from archiver.vault.records import Records, writing
from archiver.verify import Verdict, VerificationReport, verify_bag

__all__ = [
    "IngestOptions",
    "MadeIt",
    "Payload",
    "begin",
    "check_left",
    "end",
    "facts",
    "is_named",
    "make_room",
    "refusal",
    "withdraw",
]

_MAX_PROOF_BYTES = 4 << 20
_TAG = re.compile(r"tagmanifest-[a-z0-9]+\.txt")
_END_SECONDS = 60.0
"""How long to wait, at least, to write down a bag that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """``create`` says how the bag is made; ``again`` makes another item of a source that is
    in the case already; ``wait_seconds`` is how long to wait for another writer;
    ``progress`` hears of bags that are read again.
    """

    create: CreateOptions
    again: bool = False
    wait_seconds: float = 10.0
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """What is in a bag that was made, and what else the log is to keep."""

    files: int
    size_bytes: int
    more: Mapping[str, Any] = field(default_factory=dict)


def begin(vault: Vault, case: str, keys: Sequence[str], options: IngestOptions) -> list[Item]:
    """The item of each key: one that is sealed already (unless ``again``), one that was
    begun, or the next. The keys are all different.
    """
    with writing(vault, f"ingest {case}", options.wait_seconds) as records:
        records.require(case)
        known = records.catalog.with_keys(case, keys)
        found = {key: _known(known.get(key, ()), options) for key in keys}
        new = [key for key, item in found.items() if item is None]
        allotted = _allot(records, case, new, options.create.now) if new else {}
        return [found[key] or allotted[key] for key in keys]


def _known(items: Sequence[Item], options: IngestOptions) -> Item | None:
    sealed = [one for one in items if one.state == SEALED]
    if sealed and not options.again:
        return sealed[0]
    return next((one for one in items if one.state == BEGUN), None)


def _allot(records: Records, case: str, keys: Sequence[str], now: datetime) -> dict[str, Item]:
    """The next numbers, in the log before anything else is done."""
    records.refuse_forgotten(case)
    first = records.catalog.next_number(case)
    names = [item_name(case, number) for number in range(first, first + len(keys))]
    for name in names:
        _check_free(records.vault.bag_path(case, name))
    details = [
        {"item": name, "key": key, "number": number}
        for number, (name, key) in enumerate(zip(names, keys, strict=True), start=first)
    ]
    records.append(case, [Event(type="ingestion start", at=now, detail=one) for one in details])
    return {one.key: one for one in records.catalog.named(names)}


def _check_free(path: str) -> None:
    """A bag under the next number was made for another source, and its log was lost: taken
    for this source's, it would leave this source unarchived.
    """
    if os.path.lexists(path):
        raise VaultError(
            _("{path} is there, and the log of the case knows nothing of it").format(path=path),
            hint=_("See 'archiver events verify'; put the log of the case back from a copy."),
        )


def end(
    vault: Vault, case: str, ends: Sequence[tuple[Item, Event]], options: IngestOptions
) -> None:
    """Write down what became of items, but of those where another run was faster."""
    if not ends:
        return
    with writing(vault, f"ingest {case}", max(options.wait_seconds, _END_SECONDS)) as records:
        records.require(case)
        found = {one.item: one for one in records.catalog.named([one.item for one, _e in ends])}
        events = [
            event for one, event in ends if one.item not in found or found[one.item].state == BEGUN
        ]
        if events:
            records.append(case, events)


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


def refusal(item: Item, error: ArchiverError, now: datetime) -> Event:
    """A source that can't be archived keeps its number, with the reason; no name of it is
    written down.
    """
    reason = "source" if isinstance(error, SourceError) else "not intact"
    detail = {"item": item.item, "number": item.number, "reason": reason}
    return Event(type="ingestion end", at=now, outcome="failure", detail=detail)


def make_room(vault: Vault, path: str) -> None:
    """Have the directory of a bag at ``path``. Raises StorageError, and VaultError where it
    would lead out of the vault.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    if problem := vault.storage().reachable():
        raise VaultError(problem)


MadeIt = Callable[[str, Item, VerificationReport], bool]
"""Whether the bag at a path is what an item was to be made of."""


def is_named(_path: str, item: Item, report: VerificationReport) -> bool:
    """Whether a bag says itself which item it is."""
    return ("External-Identifier", item.item) in report.facts.info.elements


def check_left(
    path: str,
    item: Item,
    made_it: MadeIt,
    options: CreateOptions,
    progress: Progress | None = None,
) -> Payload:
    """What a killed run left under its name is whole and sealed, or it would not be there:
    but it is read once more before the log says so, and must be made of this source.
    """
    wanted = len(options.sealing.signers) if options.sealing else 0
    report = verify_bag(path, progress=progress)
    intact = report.verdict in (Verdict.VALID, Verdict.UNPROVEN)
    try:
        ours = intact and not os.path.islink(path) and made_it(path, item, report)
    except OSError:
        ours = False
    if not ours or _count_signatures(path) < wanted:
        raise VaultError(
            _("{path} is there, and it is not intact").format(path=path),
            hint=_("See 'archiver bag verify'. Move it away before ingesting again."),
        )
    sweep_left(path)
    return Payload(report.facts.payload_files, report.facts.payload_bytes)


def _count_signatures(path: str) -> int:
    proofs = os.path.join(path, "signatures")
    names = os.listdir(proofs) if os.path.isdir(proofs) else []
    return sum(name.endswith(".p7s") for name in names)


def facts(path: str, item: Item, payload: Payload) -> dict[str, Any]:
    """What the log keeps of a bag: enough to notice another one in its place. A bag of
    another tool has no chain of its own, and no head.
    """
    try:
        with open(os.path.join(path, SIGNED_FILE), "rb") as file:
            signed = hashlib.file_digest(file, "sha512").hexdigest()
        signatures, proofs = _count_signatures(path), _proofs(path)
        lines = _custody_lines(path)
        manifests = sorted(name[12:-4] for name in os.listdir(path) if _TAG.fullmatch(name))
        described = description_fact(path, item.case)
        unclear = not described and "description" not in payload.more
        unclear = unclear and calls_itself_statement(path)
    except (OSError, IndexError) as error:
        raise VaultError(_("{path} can't be read back").format(path=path)) from error
    return {
        **({"description": dict(described)} if described else {}),
        **({STATEMENT: True} if unclear else {}),
        **payload.more,
        **({"scan": INFECTED} if any(map(_tells_of_malware, lines)) else {}),
        "custody_head": line_digest(lines[-1]) if lines else "",
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


def _custody_lines(path: str) -> list[bytes]:
    try:
        with open(os.path.join(path, CUSTODY_PATH), "rb") as file:
            return file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return []


def _tells_of_malware(line: bytes) -> bool:
    try:
        event = parse_event(line).event
    except FormatError:
        return False
    return event.type == "virus check" and event.detail.get("result") == INFECTED
