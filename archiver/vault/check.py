"""Whether a vault's logs are unbroken, and its bags those that the logs tell of.

Job: chains, heads, checkpoints, and the digest of each bag's tag manifest. Limits: reads
no payload; that is what an audit is for. Writes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from archiver.bag.proofs import SIGNED_FILE
from archiver.catalog import Catalog, open_catalog
from archiver.catalog.model import SEALED, START, Position
from archiver.catalog.taking import in_parts
from archiver.custody import Link, TreeHash, line_digest
from archiver.errors import CatalogError, FormatError, LogError, StorageError
from archiver.i18n import _
from archiver.pki.anchors import Anchors, Standing, judge_signer
from archiver.pki.cms import MAX_CMS_BYTES, CmsError, SignedData, parse_signed_data
from archiver.signing import check_manifest_signature
from archiver.vault import Vault
from archiver.vault.checkpoint import (
    MAX_CHECKPOINT_BYTES,
    Checkpoint,
    checkpoint_files,
    parse_checkpoint,
)
from archiver.vault.log import CaseLog
from archiver.vault.records import take_links

_BATCH = 2000

__all__ = ["CaseState", "CheckpointState", "LogProblem", "LogReport", "check_logs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseState:
    """One unbroken log: its length, its head, its Merkle tree hash (RFC 9162)."""

    case: str
    events: int
    head: str
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProblem:
    """What is not as it was written down."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """A checkpoint that the logs still begin with: ``signers`` have signed it, of these
    ``trusted`` by the checker's anchors.
    """

    path: str
    at: datetime
    signers: tuple[str, ...]
    trusted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """All cases whose chains hold, all checkpoints that they begin with, and everything
    that is wrong.
    """

    cases: tuple[CaseState, ...]
    checkpoints: tuple[CheckpointState, ...]
    problems: tuple[LogProblem, ...]


def check_logs(
    vault: Vault, heads: Sequence[str] = (), anchors: Anchors | None = None
) -> LogReport:
    """Check every log and what it says of its bags. ``heads`` are ones that were written
    down earlier: each must be in a chain, or what came before it was cut or changed.
    With ``anchors`` a checkpoint that nobody trusted has signed is a problem.

    Whatever a catalog says is asked of none but the logs: one in memory is made from them.
    """
    problems: list[LogProblem] = []
    kept = _Checkpoints(vault, problems)
    missing = {head.lower(): head for head in heads}
    indexed = _positions(vault)
    states = []
    with open_catalog() as catalog:
        for case in sorted({*vault.cases(), *indexed}):
            log = CaseLog(case, vault.log_path(case))
            indexed_to = indexed.get(case, START)
            tree = _Reading(log, kept.sizes(case) | {indexed_to.lines}, missing)
            try:
                for links in in_parts(log.read(), _BATCH):
                    tree.add(links)
                    take_links(catalog, log, links)
            except LogError as error:
                problems.append(LogProblem(path=log.path, problem=error.message))
                continue
            kept.seen[case] = tree.roots
            states.append(tree.state())
            if tree.heads.get(indexed_to.lines) != indexed_to.head:
                text = _("events that the catalog has seen were cut off or changed")
                problems.append(LogProblem(path=log.path, problem=text))
            problems += _of_case(vault, log, catalog)
    text = _("MISSING: there are bags, and no log that tells of them")
    problems += [LogProblem(path=path, problem=text) for path in vault.without_log()]
    for head in missing.values():
        text = _("no chain has the head {head}: events behind it were cut off or changed")
        problems.append(LogProblem(path=vault.path, problem=text.format(head=head)))
    checkpoints = tuple(kept.judge(anchors))
    return LogReport(cases=tuple(states), checkpoints=checkpoints, problems=tuple(problems))


def _positions(vault: Vault) -> dict[str, Position]:
    """Up to where the vault's own catalog has read each log; a witness of its own."""
    if os.path.exists(vault.catalog):
        with contextlib.suppress(CatalogError, StorageError), open_catalog(vault.catalog) as found:
            return found.positions()
    return {}


class _Reading:
    """A log while it is read: its tree hash, at the lengths ``sizes`` too; heads that are
    found are taken out of ``missing``.
    """

    def __init__(self, log: CaseLog, sizes: frozenset[int], missing: dict[str, str]) -> None:
        self._log, self._sizes, self._missing = log, sizes, missing
        self._tree = TreeHash()
        self.roots = {0: self._tree.hexdigest()}
        self.heads = {0: START.head}

    def add(self, links: Sequence[Link]) -> None:
        for link in links:
            line = link.line()
            self._tree.add(line)
            if self._missing:
                self._missing.pop(line_digest(line), None)
            if link.seq in self._sizes:
                self.roots[link.seq] = self._tree.hexdigest()
                self.heads[link.seq] = line_digest(line)

    def state(self) -> CaseState:
        position = self._log.position
        return CaseState(
            case=self._log.case,
            events=position.lines,
            head=position.head,
            root=self._tree.hexdigest(),
        )


class _Checkpoints:
    """All checkpoints that are kept. ``seen``: for each unbroken log its tree hashes by
    their lengths.
    """

    def __init__(self, vault: Vault, problems: list[LogProblem]) -> None:
        self._problems = problems
        self._kept = list(self._read(vault))
        self.seen: dict[str, dict[int, str]] = {}

    def _read(self, vault: Vault) -> Iterator[tuple[str, bytes, Checkpoint]]:
        expected = 0
        for number, path in checkpoint_files(vault):
            expected += 1
            if number != expected:
                self._tell(path, _("the checkpoint before it is gone"))
                expected = number
            try:
                with open(path, "rb") as file:
                    data = file.read(MAX_CHECKPOINT_BYTES)
                checkpoint = parse_checkpoint(data)
            except (OSError, FormatError) as error:
                told = _(error.message) if isinstance(error, FormatError) else str(error.strerror)
                self._tell(path, told)
                continue
            if checkpoint.vault != vault.identifier:
                self._tell(path, _("it is another vault's"))
                continue
            yield path, data, checkpoint

    def _tell(self, path: str, problem: str) -> None:
        self._problems.append(LogProblem(path=path, problem=problem))

    def sizes(self, case: str) -> frozenset[int]:
        """The lengths at which checkpoints have seen the log of ``case``."""
        return frozenset(
            line.events
            for _path, _data, checkpoint in self._kept
            for line in checkpoint.cases
            if line.case == case
        )

    def judge(self, anchors: Anchors | None) -> Iterator[CheckpointState]:
        """Compare each with what was seen of the logs, and say who has signed it."""
        for path, data, checkpoint in self._kept:
            for line in checkpoint.cases:
                if self.seen.get(line.case, {}).get(line.events) != line.root:
                    text = _("the log of {case} no longer begins with what this checkpoint saw")
                    self._tell(path, text.format(case=line.case))
            signers = list(_signers(path, data, self._problems))
            trusted = [one for one in signers if anchors and _is_trusted(one, anchors)]
            if anchors is not None and not trusted:
                self._tell(path, _("nobody whom you trust has signed this checkpoint"))
            yield CheckpointState(
                path=path,
                at=checkpoint.at,
                signers=tuple(one.certificate.name for one in signers),
                trusted=len(trusted),
            )


def _signers(path: str, data: bytes, problems: list[LogProblem]) -> Iterator[SignedData]:
    """The signatures over a checkpoint that hold."""
    directory, name = os.path.split(path)
    for entry in sorted(os.listdir(directory)):
        if not entry.startswith(f"{name}.") or not entry.endswith(".p7s"):
            continue
        place = os.path.join(directory, entry)
        try:
            with open(place, "rb") as file:
                signed = parse_signed_data(file.read(MAX_CMS_BYTES + 1))
            check_manifest_signature(signed, data)
            yield signed
        except CmsError as error:
            text = _("the signature doesn't hold: {reason}").format(reason=_(error.message))
            problems.append(LogProblem(path=place, problem=text))
        except OSError as error:
            problems.append(LogProblem(path=place, problem=str(error.strerror)))


def _is_trusted(signed: SignedData, anchors: Anchors) -> bool:
    trust = judge_signer(signed.certificate, signed.certificates, anchors, None, datetime.now(UTC))
    return trust.standing is Standing.TRUSTED and not signed.certificate.why_not_signer()


def _of_case(vault: Vault, log: CaseLog, catalog: Catalog) -> Iterator[LogProblem]:
    if log.torn:
        text = _("the last line was torn by a crash; the next event will say so")
        yield LogProblem(path=log.path, problem=text)
    for number, one in enumerate(catalog.items(case=log.case), start=1):
        if one.number != number:
            yield LogProblem(path=log.path, problem=_("numbers are missing, or given twice"))
            break
    for one in catalog.items(case=log.case):
        if one.state == SEALED:
            path = vault.bag_path(log.case, one.item)
            problem = _of_bag(path, str(one.detail.get("tag_manifest_sha512")))
            if problem:
                yield LogProblem(path=path, problem=problem)
    yield from _strangers(vault, log.case, catalog)


def _of_bag(path: str, expected: str) -> str:
    if not os.path.isdir(path):
        return _("MISSING: the log says that this bag was sealed")
    try:
        with open(os.path.join(path, SIGNED_FILE), "rb") as file:
            found = hashlib.file_digest(file, "sha512").hexdigest()
    except OSError as error:
        return _("can't be read: {reason}").format(reason=error.strerror or str(error))
    return "" if found == expected else _("MODIFIED: this is not the bag that was sealed")


def _strangers(vault: Vault, case: str, catalog: Catalog) -> Iterator[LogProblem]:
    """Bags that the log doesn't know. Staging that is going on is hidden, and none."""
    place = os.path.dirname(vault.bag_path(case, "x"))
    for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
        if not name.startswith(".") and catalog.item(name) is None:
            text = _("ADDED: the log knows nothing of this")
            yield LogProblem(path=os.path.join(place, name), problem=text)
