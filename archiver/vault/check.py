"""Whether a vault's logs are unbroken, and its bags those that the logs tell of.

Job: chains, heads, checkpoints, and the digest of each bag's tag manifest. Limits: reads
no payload; that is what an audit is for. Writes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from archiver.bag.proofs import SIGNED_FILE
from archiver.catalog import Catalog, open_catalog
from archiver.catalog.model import SEALED, START, Amended, Position
from archiver.catalog.taking import in_parts
from archiver.custody import Link, TreeHash, line_digest
from archiver.errors import CatalogError, LogError, StorageError
from archiver.filesystem import open_regular
from archiver.i18n import _
from archiver.pki.anchors import Anchors
from archiver.vault import Vault
from archiver.vault.amendments import check_amendments, strange_directories
from archiver.vault.log import CaseLog
from archiver.vault.records import take_links
from archiver.vault.witness import CheckpointState, LogProblem, Seen, Witnesses

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
class LogReport:
    """All cases whose chains hold, all checkpoints that can be read, and everything that is
    wrong.
    """

    cases: tuple[CaseState, ...]
    checkpoints: tuple[CheckpointState, ...]
    problems: tuple[LogProblem, ...]


def check_logs(
    vault: Vault,
    heads: Sequence[str] = (),
    anchors: Anchors | None = None,
    now: datetime | None = None,
) -> LogReport:
    """Check every log and what it says of its bags. ``heads`` are ones that were written
    down earlier: each must be in a chain, or what came before it was cut or changed.
    Where ``anchors`` name signers, a checkpoint that none of them has signed is a problem;
    where they name TSAs, one without a trusted stamp. ``now`` is the moment to judge as of.

    Whatever a catalog says is asked of none but the logs: one in memory is made from them.
    """
    problems: list[LogProblem] = []
    witnesses = Witnesses(vault, problems)
    seen: dict[str, Mapping[int, Seen]] = {}
    missing = {head.lower(): head for head in heads}
    indexed = _positions(vault)
    states, now = [], now or datetime.now(UTC)
    with open_catalog() as catalog:
        for case in sorted({*vault.cases(), *indexed}):
            log = CaseLog(case, vault.log_path(case))
            indexed_to = indexed.get(case, START)
            sizes = witnesses.sizes(case) | {indexed_to.lines}
            tree = _Reading(log, sizes, missing, witnesses)
            try:
                for links in in_parts(log.read(), _BATCH):
                    tree.add(links)
                    take_links(catalog, log, links)
            except LogError as error:
                problems.append(LogProblem(path=log.path, problem=error.message))
                continue
            seen[case] = tree.seen
            states.append(tree.state())
            indexed_as = tree.seen.get(indexed_to.lines)
            if indexed_as is None or indexed_as.head != indexed_to.head:
                text = _("events that the catalog has seen were cut off or changed")
                problems.append(LogProblem(path=log.path, problem=text))
            problems += _of_case(vault, log, catalog)
        checkpoints = tuple(witnesses.judge(seen, anchors, now))
        problems += _of_amendments(vault, catalog, checkpoints, anchors, now)
    text = _("MISSING: there are bags, and no log that tells of them")
    problems += [LogProblem(path=path, problem=text) for path in vault.without_log()]
    problems += _of_replicas(vault)
    for head in missing.values():
        text = _("no chain has the head {head}: events behind it were cut off or changed")
        problems.append(LogProblem(path=vault.path, problem=text.format(head=head)))
    return LogReport(cases=tuple(states), checkpoints=checkpoints, problems=tuple(problems))


def _positions(vault: Vault) -> dict[str, Position]:
    """Up to where the vault's own catalog has read each log; a witness of its own."""
    if os.path.exists(vault.catalog):
        with contextlib.suppress(CatalogError, StorageError), open_catalog(vault.catalog) as found:
            return found.positions()
    return {}


class _Reading:
    """A log while it is read: its tree hash, at the lengths ``sizes`` too; heads that are
    found are taken out of ``missing``, checkpoints that it tells of are looked for.
    """

    def __init__(
        self,
        log: CaseLog,
        sizes: frozenset[int],
        missing: dict[str, str],
        witnesses: Witnesses,
    ) -> None:
        self._log, self._sizes, self._missing = log, sizes, missing
        self._witnesses = witnesses
        self._tree = TreeHash()
        self.seen = {0: Seen(self._tree.hexdigest(), START.head)}

    def add(self, links: Sequence[Link]) -> None:
        for link in links:
            line = link.line()
            self._tree.add(line)
            if self._missing:
                self._missing.pop(line_digest(line), None)
            self._witnesses.compare(self._log.path, link.event)
            if link.seq in self._sizes:
                self.seen[link.seq] = Seen(self._tree.hexdigest(), line_digest(line))

    def state(self) -> CaseState:
        position = self._log.position
        return CaseState(
            case=self._log.case,
            events=position.lines,
            head=position.head,
            root=self._tree.hexdigest(),
        )


def _of_replicas(vault: Vault) -> Iterator[LogProblem]:
    """Each replica keeps copies of the logs: what they saw must still be there."""
    for place in vault.replicas():
        for case in vault.cases() if not place.reachable() else ():
            problem = place.compare_log(case, vault.log_path(case))
            if problem:
                yield LogProblem(path=vault.log_path(case), problem=f"{place.name}: {problem}")


def _of_amendments(
    vault: Vault,
    catalog: Catalog,
    checkpoints: Sequence[CheckpointState],
    anchors: Anchors | None,
    now: datetime,
) -> Iterator[LogProblem]:
    """Amendments are what the logs tell. One was there at the latest when a stamp proves that
    a checkpoint was that has seen its line.
    """

    def proven(one: Amended) -> datetime | None:
        times = (
            mark.proven_at
            for mark in checkpoints
            if mark.proven_at and mark.seen.get(one.case, 0) >= one.seq
        )
        return min(times, default=None)

    for case in catalog.positions():
        for one in check_amendments(vault, catalog, case, anchors=anchors, now=now, proven=proven):
            yield LogProblem(path=one.path, problem=one.problem)
    for one in strange_directories(vault, catalog):
        yield LogProblem(path=one.path, problem=one.problem)


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
        with open(open_regular(os.path.join(path, SIGNED_FILE)), "rb") as file:
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
