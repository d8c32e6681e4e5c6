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
from archiver.findings import Findings
from archiver.vault import Vault
from archiver.vault.register import SEALED, Item, read_register
from archiver.verify import Verdict, verify_bag

__all__ = ["AuditOptions", "Checked", "Result", "audit", "choose_due", "open_incidents"]


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
    """One item that was checked. ``codes`` are those of the findings that count."""

    case: str
    item: str
    path: str
    result: Result
    codes: tuple[str, ...]
    findings: Findings | None


def choose_due(vault: Vault, options: AuditOptions, now: datetime) -> list[tuple[str, Item]]:
    """The sealed items that are due, those that were never checked first, then the oldest.

    Raises LogError where a case's log is broken: it can't be said what it holds.
    """
    found = []
    for case in vault.cases():
        register = read_register(case, vault.log_path(case))
        found += [(case, one) for one in register.items.values() if one.state == SEALED]
    if options.every is not None:
        limit = now - options.every
        found = [(c, one) for c, one in found if one.checked_at is None or one.checked_at <= limit]
    return sorted(found, key=lambda pair: (_last(pair[1]), pair[0], pair[1].number))


def _last(item: Item) -> float:
    return item.checked_at.timestamp() if item.checked_at else float("-inf")


def open_incidents(vault: Vault) -> list[str]:
    """The items whose last check was not good."""
    return [
        one.item
        for case in vault.cases()
        for one in read_register(case, vault.log_path(case)).items.values()
        if one.check_result not in ("", Result.GOOD.value)
    ]


def audit(
    vault: Vault,
    options: AuditOptions,
    clock: Callable[[], datetime],
    *,
    progress: Progress | None = None,
) -> Iterator[Checked]:
    """Check what is due, one item after the other, each written down before the next.

    What can't be checked is told as such and never ends the run. ``clock`` gives aware times.
    """
    begun, size = time.monotonic(), 0
    for case, item in choose_due(vault, options, clock()):
        if options.seconds is not None and time.monotonic() - begun >= options.seconds:
            return
        if options.size_bytes is not None and size >= options.size_bytes:
            return
        checked = _check(vault, case, item, progress)
        size += int(item.detail.get("payload_bytes", 0))
        _write_down(vault, checked, clock(), options.wait_seconds)
        yield checked


def _check(vault: Vault, case: str, item: Item, progress: Progress | None) -> Checked:
    path = vault.bag_path(case, item.item)
    result, codes, findings = _look(path, item, progress)
    if result is Result.UNDECIDED:  # a passing fault of the disk is no finding
        result, codes, findings = _look(path, item, progress)
    return Checked(
        case=case, item=item.item, path=path, result=result, codes=codes, findings=findings
    )


def _look(
    path: str, item: Item, progress: Progress | None
) -> tuple[Result, tuple[str, ...], Findings | None]:
    if not os.path.isdir(path):
        # A disk that isn't there hides the whole vault, not one of its bags.
        there = os.path.isdir(os.path.dirname(os.path.dirname(path)))
        return (Result.MISSING if there else Result.UNDECIDED), (), None
    try:
        report = verify_bag(path, progress=progress)
        with open(os.path.join(path, SIGNED_FILE), "rb") as file:
            signed = hashlib.file_digest(file, "sha512").hexdigest()
    except FileNotFoundError:
        return Result.DAMAGED, (), None
    except (OSError, ArchiverError):
        return Result.UNDECIDED, (), None
    counted = sorted({one.code for one in report.findings if one.code[0] in "EU"})
    if report.verdict is Verdict.UNDECIDED:
        return Result.UNDECIDED, tuple(counted), report.findings
    same = signed == item.detail.get("tag_manifest_sha512")
    if report.verdict is Verdict.INVALID or not same or report.findings.has("E-SIG-002"):
        return Result.DAMAGED, tuple(counted), report.findings
    return Result.GOOD, (), report.findings


def _write_down(vault: Vault, checked: Checked, now: datetime, wait_seconds: float) -> None:
    detail = {
        "codes": list(checked.codes),
        "item": checked.item,
        "result": checked.result.value,
    }
    outcome = "success" if checked.result is Result.GOOD else "failure"
    event = Event(type="fixity check", at=now, outcome=outcome, detail=detail)
    with vault.writing(f"audit {checked.case}", wait_seconds):
        read_register(checked.case, vault.log_path(checked.case)).append([event])
