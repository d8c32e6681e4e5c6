"""Whether a copy in a vault, or of one, is the bag that was sealed.

Job: read one copy, every byte of it, and judge it. Limits: changes nothing, writes nothing
down. A stored digest is compared with nothing but what was just read.
"""

from __future__ import annotations

import enum
import hashlib
import os
from dataclasses import dataclass
from datetime import datetime

from archiver.bag.progress import Progress
from archiver.catalog.model import Item
from archiver.errors import ArchiverError
from archiver.findings import Finding, Severity
from archiver.seal.proofs import ProofPlace
from archiver.storage import Storage
from archiver.verify import Verdict, VerificationReport, VerifyOptions, verify_bag

__all__ = ["Checked", "Result", "check_copy", "judge", "look_at"]


_MAX_PROOF_BYTES = 4 << 20


class Result(enum.Enum):
    """What a check found. ``undecided`` is a disk that doesn't answer: another fact than a
    digest that is wrong.
    """

    GOOD = "good"
    DAMAGED = "damaged"
    MISSING = "missing"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One copy that was checked: ``replica`` is its name, "" for the vault's own. ``findings``
    are the errors and what can't be decided; whom to trust isn't asked here. ``begun_at``:
    when its reading began, to the second.
    """

    case: str
    item: str
    replica: str
    path: str
    result: Result
    findings: tuple[Finding, ...]
    begun_at: datetime | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings, each once: no names of files."""
        return tuple(sorted({one.code for one in self.findings}))


def check_copy(
    storage: Storage,
    item: Item,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Read one copy of an item, twice where the disk didn't answer. ``workers`` as for
    :class:`~archiver.verify.VerifyOptions`.
    """
    path = storage.path(item.case, item.item)
    result, findings = look_at(path, item, workers=workers, progress=progress)
    if result is Result.UNDECIDED:  # a passing fault of the disk is no finding
        result, findings = look_at(path, item, workers=workers, progress=progress)
    if result is Result.UNDECIDED and not storage.has(item.case, item.item):
        # The place is there, and has nothing under that name, not even the case.
        result = Result.UNDECIDED if storage.reachable() else Result.MISSING
    return Checked(
        case=item.case,
        item=item.item,
        replica=storage.name,
        path=path,
        result=result,
        findings=findings,
    )


def look_at(
    path: str,
    item: Item,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Result, tuple[Finding, ...]]:
    """Whether what lies at ``path`` is the bag that was sealed as ``item``."""
    if os.path.islink(path):  # no copy: it is as good as what it leads to, and goes with it
        return Result.DAMAGED, ()
    if not os.path.isdir(path):
        # A disk that isn't there hides the whole vault, not one of its bags.
        there = os.path.isdir(os.path.dirname(os.path.dirname(path)))
        return (Result.MISSING if there else Result.UNDECIDED), ()
    try:
        report = verify_bag(path, VerifyOptions(workers=workers), progress=progress)
        if not _has_proofs(path, item):
            return Result.DAMAGED, judge(report, item)[1]
    except (OSError, ArchiverError):
        return Result.UNDECIDED, ()
    return judge(report, item)


def _has_proofs(path: str, item: Item) -> bool:
    """Whether the signatures and certificates are there that it was sealed with: others may
    have come since, none may go.
    """
    sealed = item.detail.get("proofs", {})
    if not isinstance(sealed, dict):
        return False
    if not sealed:
        return True
    place = ProofPlace(path)
    kept = {*place.files().signatures, *place.files().certificates}
    return all(
        name in kept and hashlib.sha256(place.read(name, _MAX_PROOF_BYTES)).hexdigest() == digest
        for name, digest in sealed.items()
    )


def judge(report: VerificationReport, item: Item) -> tuple[Result, tuple[Finding, ...]]:
    """Whether the bag that ``report`` is about is the one that was sealed as ``item``."""
    counted = tuple(
        one
        for one in report.findings
        if one.severity is not Severity.WARNING and one.entry.step != "trust"
    )
    if report.verdict is Verdict.UNDECIDED:
        return Result.UNDECIDED, counted
    wanted = item.detail.get("tag_manifests", [])
    whole = not report.facts.unsigned_tag_files and {*wanted} <= {*report.facts.tag_algorithms}
    same = whole and report.facts.signed_digest == item.detail.get("tag_manifest_sha512")
    if report.verdict is Verdict.INVALID or not same or report.findings.has("E-SIG-002"):
        return Result.DAMAGED, counted
    return Result.GOOD, ()
