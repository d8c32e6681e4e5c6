"""Fixity checks of what a vault keeps: read, compared with the log, written down.

Job: choose what is due, oldest first, check it, say what became of it. Limits: changes no
bag and repairs nothing. The lock is held for the moment of writing an event only.

A bag's bytes are read, always: a stored digest is compared with nothing else. Names of
damaged files are in the answer, never in the log.
"""

from __future__ import annotations

import enum
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from archiver.bag.progress import Progress
from archiver.bag.proofs import SIGNED_FILE
from archiver.custody import Event
from archiver.errors import ArchiverError
from archiver.findings import Finding, Severity
from archiver.storage import Storage
from archiver.vault import Vault
from archiver.vault.register import SEALED, Item, read_register
from archiver.verify import Verdict, verify_bag

__all__ = [
    "AuditOptions",
    "Checked",
    "Result",
    "audit",
    "check_copy",
    "choose_due",
    "look_at",
    "open_incidents",
]


class Result(enum.Enum):
    """What a check found. ``undecided`` is a disk that doesn't answer: another fact than a
    digest that is wrong.
    """

    GOOD = "good"
    DAMAGED = "damaged"
    MISSING = "missing"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """What to check: items whose last check is older than ``every`` (all where it is None),
    for at most ``seconds`` and ``size_bytes``, where they are given.
    """

    every: timedelta | None = None
    seconds: float | None = None
    size_bytes: int | None = None
    wait_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One copy that was checked: ``replica`` is its name, "" for the vault's own. ``findings``
    are the errors and what can't be decided; whom to trust isn't asked here.
    """

    case: str
    item: str
    replica: str
    path: str
    result: Result
    findings: tuple[Finding, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings, each once: no names of files."""
        return tuple(sorted({one.code for one in self.findings}))


@dataclass(frozen=True, slots=True)
class _Due:
    case: str
    item: Item
    storage: Storage

    def order(self) -> tuple[float, str, int, str]:
        """Those never checked first, then the oldest."""
        last = self.item.checks.get(self.storage.name)
        return (
            last.at.timestamp() if last else float("-inf"),
            self.case,
            self.item.number,
            self.storage.name,
        )


def choose_due(vault: Vault, options: AuditOptions, now: datetime) -> list[_Due]:
    """The copies that are due, those that were never checked first, then the oldest. Of a
    replica those are that were made; one that can't be reached is passed over.

    Raises LogError where a case's log is broken: it can't be said what it holds.
    """
    places = [vault.storage(), *(one for one in vault.replicas() if not one.reachable())]
    found = [
        _Due(case, item, place)
        for case in vault.cases()
        for item in read_register(case, vault.log_path(case)).items.values()
        if item.state == SEALED
        for place in places
        if not place.name or place.name in item.checks
    ]
    if options.every is not None:
        limit = (now - options.every).timestamp()
        found = [one for one in found if one.order()[0] <= limit]
    return sorted(found, key=_Due.order)


def open_incidents(vault: Vault) -> list[str]:
    """The copies whose last check was not good: the item, with the replica's name."""
    names = {"", *(one.name for one in vault.replicas())}
    return [
        f"{item.item} ({name})" if name else item.item
        for case in vault.cases()
        for item in read_register(case, vault.log_path(case)).items.values()
        for name, check in sorted(item.checks.items())
        if name in names and check.result != Result.GOOD.value
    ]


def audit(
    vault: Vault,
    options: AuditOptions,
    clock: Callable[[], datetime],
    *,
    progress: Progress | None = None,
) -> Iterator[Checked]:
    """Check what is due, one copy after the other, each written down before the next.

    What can't be checked is told as such and never ends the run. ``clock`` gives aware times.
    """
    begun, size = time.monotonic(), 0
    for due in choose_due(vault, options, clock()):
        if options.seconds is not None and time.monotonic() - begun >= options.seconds:
            return
        if options.size_bytes is not None and size >= options.size_bytes:
            return
        checked = check_copy(due.storage, due.case, due.item, progress=progress)
        size += int(due.item.detail.get("payload_bytes", 0))
        _write_down(vault, checked, clock(), options.wait_seconds)
        yield checked


def check_copy(
    storage: Storage, case: str, item: Item, *, progress: Progress | None = None
) -> Checked:
    """Read one copy of an item, twice where the disk didn't answer. Writes nothing down."""
    path = storage.path(case, item.item)
    result, findings = look_at(path, item, progress=progress)
    if result is Result.UNDECIDED:  # a passing fault of the disk is no finding
        result, findings = look_at(path, item, progress=progress)
    return Checked(
        case=case,
        item=item.item,
        replica=storage.name,
        path=path,
        result=result,
        findings=findings,
    )


def look_at(
    path: str, item: Item, *, progress: Progress | None = None
) -> tuple[Result, tuple[Finding, ...]]:
    """Whether what lies at ``path`` is the bag that was sealed as ``item``."""
    if os.path.islink(path):  # no copy: it is as good as what it leads to, and goes with it
        return Result.DAMAGED, ()
    if not os.path.isdir(path):
        # A disk that isn't there hides the whole vault, not one of its bags.
        there = os.path.isdir(os.path.dirname(os.path.dirname(path)))
        return (Result.MISSING if there else Result.UNDECIDED), ()
    try:
        report = verify_bag(path, progress=progress)
        with open(os.path.join(path, SIGNED_FILE), "rb") as file:
            signed = hashlib.file_digest(file, "sha512").hexdigest()
    except FileNotFoundError:
        return Result.DAMAGED, ()
    except (OSError, ArchiverError):
        return Result.UNDECIDED, ()
    counted = tuple(
        one
        for one in report.findings
        if one.severity is not Severity.WARNING and one.entry.step != "trust"
    )
    if report.verdict is Verdict.UNDECIDED:
        return Result.UNDECIDED, counted
    same = signed == item.detail.get("tag_manifest_sha512")
    if report.verdict is Verdict.INVALID or not same or report.findings.has("E-SIG-002"):
        return Result.DAMAGED, counted
    return Result.GOOD, ()


def _write_down(vault: Vault, checked: Checked, now: datetime, wait_seconds: float) -> None:
    detail = {
        "codes": list(checked.codes),
        "item": checked.item,
        "result": checked.result.value,
    } | ({"replica": checked.replica} if checked.replica else {})
    outcome = "success" if checked.result is Result.GOOD else "failure"
    event = Event(type="fixity check", at=now, outcome=outcome, detail=detail)
    with vault.writing(f"audit {checked.case}", wait_seconds):
        read_register(checked.case, vault.log_path(checked.case)).append([event])
