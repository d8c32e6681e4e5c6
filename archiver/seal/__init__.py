"""One finished bag without a vault: plan, stage, read back, sign, commit, stamp.

Job: what ``archiver bag create`` does, for programs. Limits: a bag is signed before
it can be seen, and stamped after: a TSA may be slow, and must not keep a finished bag
from its place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from archiver.bag.model import BagInfo
from archiver.bag.plan import Plan, PlanOptions, plan_bag, plan_files
from archiver.bag.progress import Progress
from archiver.bag.tree import DirectoryTree
from archiver.bag.validate import BagFacts, check_bag
from archiver.bag.write import BagRequest, WrittenBag, write_bag
from archiver.custody import CUSTODY_PATH, Event, chain_lines
from archiver.digest import ALGORITHMS, Algorithm
from archiver.errors import SourceError, StorageError, UsageError, storage_error
from archiver.filesystem import sync_tree
from archiver.findings import Findings, Severity
from archiver.i18n import _
from archiver.policy import Policy

if TYPE_CHECKING:  # cryptography costs start-up time: only where something is signed
    from archiver.pki.keyring import SigningKey
    from archiver.seal.stamping import StampOptions

__all__ = [
    "CreateOptions",
    "Examine",
    "Examined",
    "FileList",
    "RefusedError",
    "Sealing",
    "bag_request",
    "check_written",
    "choose_algorithms",
    "create_bag",
    "forget",
    "plan_sources",
    "read_back",
    "reads_back",
    "seal_staged",
    "sync_staged",
]

SIGNED_ALGORITHM = "sha512"
"""Always among the algorithms: its tag manifest is what gets signed."""


_AHEAD_BYTES = 256 << 10
"""Of each file, when many are read: the rest is read ahead by the kernel."""


@dataclass(frozen=True, slots=True)
class FileList:
    """Files named one by one, relative to ``base``; they keep their paths below ``data/``."""

    base: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """Who signs, and which time stamps are asked for (``require_stamp``: without one the
    bag is not proven).
    """

    signers: tuple[SigningKey, ...]
    stamps: StampOptions
    require_stamp: bool = False

    def declaration(self) -> list[tuple[str, str]]:
        """What bag-info.txt says of the seal before it is made, so that it can't be taken
        away unnoticed.
        """
        elements = [
            ("Archiver-Seal", f"sha256:{one.certificate.fingerprint}") for one in self.signers
        ]
        if self.require_stamp:
            elements.append(("Archiver-Time-Stamp", "required"))
        return elements


@dataclass(frozen=True, slots=True)
class Examined:
    """What was learnt of a bag's payload: further tag files, by their paths in the bag, and
    events for its own chain of custody.
    """

    tag_files: Mapping[str, bytes] = field(default_factory=dict)
    events: tuple[Event, ...] = ()


Examine = Callable[[str], Examined]
"""Called with the staged bag's path, its payload copied and hashed, no tag file written yet.
What it raises (SourceError, say) stops the bag. An interrupted run that is taken up again
examines again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """How a bag is to be made. ``now`` is an aware time, ``identifier`` a URI."""

    policy: Policy
    now: datetime
    identifier: str
    algorithms: tuple[str, ...] = ()
    info: BagInfo = field(default_factory=BagInfo)
    tag_files: Mapping[str, bytes] = field(default_factory=dict)
    """Further tag files, by their paths in the bag."""
    examine: Examine | None = None
    sealing: Sealing | None = None
    verify_after: bool | None = None
    checkpoint_seconds: float = 20.0
    workers: int | None = None


def choose_algorithms(names: Iterable[str]) -> tuple[Algorithm, ...]:
    """The algorithms to write: those named, sha512 first. Raises UsageError."""
    chosen = [SIGNED_ALGORITHM]
    for name in names:
        algorithm = ALGORITHMS.get(name)
        if algorithm is None or not algorithm.strong:
            known = ", ".join(one.name for one in ALGORITHMS.values() if one.strong)
            problem = _("is not known") if algorithm is None else _("is insecure and never written")
            raise UsageError(
                _("the digest algorithm {name} {problem}").format(name=name, problem=problem),
                hint=_("Choose from: {known}.").format(known=known),
            )
        if name not in chosen:
            chosen.append(name)
    return tuple(ALGORITHMS[name] for name in chosen)


def plan_sources(sources: Sequence[str] | FileList, bag: str, options: PlanOptions) -> Plan:
    """Plan a bag; raises SourceError where anything stands against it.

    The plan's findings are warnings then. The error's ``findings`` hold all
    that was found.
    """
    if isinstance(sources, FileList):
        plan = plan_files(sources.base, sources.paths, bag, options)
    else:
        plan = plan_bag(sources, bag, options)
    errors = [finding for finding in plan.findings if finding.severity is Severity.ERROR]
    if errors:
        raise RefusedError(plan.findings)
    return plan


class RefusedError(SourceError):
    """Sources that can't be archived as they are; ``findings`` say why, path by path."""

    def __init__(self, findings: Findings) -> None:
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        codes = {finding.code for finding in errors}
        if codes == {"E-SRC-001"}:
            self.exit_code = 2  # a path that isn't there
        first = errors[0]
        message = f"{first.path}: {first.message} ({first.code})"
        if len(errors) > 1:
            message = _("{message}, and {count} more").format(
                message=message, count=len(errors) - 1
            )
        super().__init__(message, hint=_hint(first.code))
        self.findings = findings

    def without_names(self) -> SourceError:
        """The same, fit for a log: no path, and none of the findings, which hold more."""
        first = next(one for one in self.findings if one.severity is Severity.ERROR)
        text = _("the sources can't be archived as they are ({code})")
        error = SourceError(text.format(code=first.code), hint=self.hint)
        error.exit_code = self.exit_code
        return error


def _hint(code: str) -> str:
    return {
        "E-SRC-001": _("Check the spelling of the path."),
        "E-SRC-002": _("Mend its permissions, or leave it out with --exclude."),
        "E-SRC-003": _("Leave it out with --exclude."),
        "E-SRC-004": _("Rename one of them, or keep both with --encode-names."),
        "E-SRC-005": _("Keep it under a lossless spelling with --encode-names."),
        "E-SRC-014": _("Keep it under a lossless spelling with --encode-names."),
        "E-SRC-006": _("Rename one of them, or make two bags."),
        "E-SRC-007": _("Put the bag outside of what it is made from."),
        "E-SRC-008": _("Check it with 'archiver bag verify', or pack it again with --bag-in-bag."),
        "E-SRC-009": _(
            "Add what it points to as a source of its own, and record the link"
            " with --record-links-out."
        ),
        "E-SRC-010": _("Name the file or directory that it points to."),
    }.get(code, "")


def create_bag(
    plan: Plan,
    destination: str,
    options: CreateOptions,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> WrittenBag:
    """Make the planned bag at ``destination``. Raises ArchiverError.

    Where reading back is asked for, the bag only appears once it has been read
    from the disk and found right; where a seal is asked for, once it is signed. Time
    stamps are then waited for with :func:`~archiver.seal.stamping.stamp_bag`.
    """
    verify_after = reads_back(options)

    def finish(staged: str) -> None:
        if verify_after:
            say(_("reading the bag back from the disk"))
            sync_staged(staged)
            forget(staged)
            read_back(staged, progress, options.workers)
        seal_staged(staged, options)

    return write_bag(plan, destination, bag_request(plan, options), progress=progress, seal=finish)


def bag_request(plan: Plan, options: CreateOptions) -> BagRequest:
    """What the bag of ``plan`` is to be."""
    policy, sealing = options.policy, options.sealing
    algorithms = choose_algorithms(options.algorithms or policy.bag.algorithms)
    events = tuple(_events(plan, algorithms, options.now))
    return BagRequest(
        algorithms=algorithms,
        tag_files={CUSTODY_PATH: _chain(events), **options.tag_files},
        examine=_examination(events, options.examine),
        info=options.info.with_elements(sealing.declaration() if sealing else ()),
        identifier=options.identifier,
        now=options.now,
        sidecar=policy.sidecar,
        read_only=policy.bag.read_only,
        checkpoint_seconds=options.checkpoint_seconds,
        workers=options.workers,
    )


def reads_back(options: CreateOptions) -> bool:
    """Whether the bag is to be read from the disk before it appears."""
    return options.policy.bag.verify_after if options.verify_after is None else options.verify_after


def seal_staged(staged: str, options: CreateOptions) -> None:
    """Sign a bag that nobody can see yet, where that is asked for, and lay down requests for
    time stamps. Who lets it appear has to sync it.
    """
    sealing = options.sealing
    if sealing is None:
        return
    from archiver.seal.proofs import ProofPlace, sign_bag
    from archiver.seal.stamping import add_requests

    sign_bag(staged, sealing.signers, options.now, staged=True)
    place = ProofPlace(staged, staged=True)
    add_requests(place, sealing.stamps, unaddressed=sealing.require_stamp)


def _chain(events: Iterable[Event]) -> bytes:
    return b"".join(chain_lines(events))


def _examination(
    events: tuple[Event, ...], examine: Examine | None
) -> Callable[[str], Mapping[str, bytes]] | None:
    """``examine``, its events behind ``events`` in the bag's chain."""
    if examine is None:
        return None

    def examined(staged: str) -> Mapping[str, bytes]:
        found = examine(staged)
        return {CUSTODY_PATH: _chain((*events, *found.events)), **found.tag_files}

    return examined


def _events(plan: Plan, algorithms: Sequence[Algorithm], now: datetime) -> Iterator[Event]:
    """What the bag's own chain of custody begins with. No names, no places."""
    size = {"payload_bytes": plan.size_bytes, "payload_files": plan.files}
    yield Event(type="ingestion", at=now, detail=size)
    names = [algorithm.name for algorithm in algorithms]
    yield Event(type="message digest calculation", at=now, detail={"algorithms": names})


def sync_staged(path: str) -> None:
    """Have everything that was staged in ``path`` on the disk. Raises StorageError."""
    try:
        sync_tree(path)
    except OSError as error:
        raise storage_error(error, path) from error


def read_back(staged: str, progress: Progress | None, workers: int | None) -> None:
    """Check a staged bag that was synced and forgotten (:func:`forget`) as it lies on the
    disk. Raises StorageError, OSError.
    """
    _facts, findings = _check(staged, progress, workers)
    for finding in findings:
        if finding.severity is not Severity.WARNING:
            failing = StorageError(
                _("what was written can't be read back: {path}: {message}").format(
                    path=finding.path, message=finding.message
                ),
                hint=_(
                    "The disk or the memory is failing: use another machine or disk."
                    " Nothing was left behind."
                ),
            )
            failing.errno = errno.EIO
            raise failing


def check_written(
    staged: str, progress: Progress | None, workers: int | None
) -> tuple[BagFacts, Findings]:
    """What is found in a staged bag as it lies on the disk, as far as the kernel lets us ask.

    Raises OSError where it can't be synced.
    """
    sync_tree(staged)
    forget(staged)
    return _check(staged, progress, workers)


def _check(
    staged: str, progress: Progress | None, workers: int | None
) -> tuple[BagFacts, Findings]:
    findings = Findings()
    tree = DirectoryTree(staged, workers=workers)
    try:
        return check_bag(tree, findings, progress=progress), findings
    finally:
        tree.close()


def forget(path: str) -> None:
    """Ask the kernel to forget what it holds of the files below ``path``, which are synced
    (it may decline), and to fetch their beginnings from the disk: many at once. Raises OSError.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for directory, _directories, files in os.walk(path):
        for name in files:
            descriptor = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.posix_fadvise(descriptor, 0, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)
