"""Whether a vault's logs are unbroken, and its bags those that the logs tell of.

Job: chains, heads, checkpoints, and the digest of each bag's tag manifest. Limits: reads
no payload; that is what an audit is for. Writes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from archiver.bag.proofs import SIGNED_FILE
from archiver.custody import line_digest, tree_hash
from archiver.errors import FormatError, LogError
from archiver.i18n import _
from archiver.pki.anchors import Anchors, Standing, judge_signer
from archiver.pki.cms import MAX_CMS_BYTES, CmsError, SignedData, parse_signed_data
from archiver.signing import check_manifest_signature
from archiver.vault import Vault
from archiver.vault.checkpoint import (
    MAX_CHECKPOINT_BYTES,
    checkpoint_files,
    compare,
    parse_checkpoint,
)
from archiver.vault.register import SEALED, Register, read_register

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
    """
    registers: list[Register] = []
    states: list[CaseState] = []
    problems: list[LogProblem] = []
    passed: set[str] = set()
    for case in vault.cases():
        path = vault.log_path(case)
        try:
            register = read_register(case, path)
        except LogError as error:
            problems.append(LogProblem(path=path, problem=error.message))
            continue
        registers.append(register)
        lines = [link.line() for link in register.links]
        passed |= {line_digest(line) for line in lines}
        states.append(
            CaseState(case=case, events=register.lines, head=register.head, root=tree_hash(lines))
        )
        problems += _of_case(vault, register)
    text = _("MISSING: there are bags, and no log that tells of them")
    problems += [LogProblem(path=path, problem=text) for path in vault.without_log()]
    for head in heads:
        if head.lower() not in passed:
            text = _("no chain has the head {head}: events behind it were cut off or changed")
            problems.append(LogProblem(path=vault.path, problem=text.format(head=head)))
    checkpoints = list(_checkpoints(vault, registers, anchors, problems))
    return LogReport(cases=tuple(states), checkpoints=tuple(checkpoints), problems=tuple(problems))


def _checkpoints(
    vault: Vault,
    registers: Sequence[Register],
    anchors: Anchors | None,
    problems: list[LogProblem],
) -> Iterator[CheckpointState]:
    expected = 0
    for number, path in checkpoint_files(vault):
        expected += 1
        if number != expected:
            problems.append(LogProblem(path=path, problem=_("the checkpoint before it is gone")))
            expected = number
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_CHECKPOINT_BYTES)
            checkpoint = parse_checkpoint(data)
        except (OSError, FormatError) as error:
            reason = _(error.message) if isinstance(error, FormatError) else str(error.strerror)
            problems.append(LogProblem(path=path, problem=reason))
            continue
        if checkpoint.vault != vault.identifier:
            problems.append(LogProblem(path=path, problem=_("it is another vault's")))
            continue
        for case in compare(checkpoint, registers):
            text = _("the log of {case} no longer begins with what this checkpoint saw")
            problems.append(LogProblem(path=path, problem=text.format(case=case)))
        signers = list(_signers(path, data, problems))
        trusted = [one for one in signers if anchors and _is_trusted(one, anchors)]
        if anchors is not None and not trusted:
            text = _("nobody whom you trust has signed this checkpoint")
            problems.append(LogProblem(path=path, problem=text))
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


def _of_case(vault: Vault, register: Register) -> Iterable[LogProblem]:
    if register.torn:
        text = _("the last line was torn by a crash; the next event will say so")
        yield LogProblem(path=register.path, problem=text)
    numbers = sorted(one.number for one in register.items.values())
    if numbers != list(range(1, len(numbers) + 1)):
        yield LogProblem(path=register.path, problem=_("numbers are missing, or given twice"))
    for one in register.items.values():
        if one.state == SEALED:
            path = vault.bag_path(register.case, one.item)
            problem = _of_bag(path, str(one.detail.get("tag_manifest_sha512")))
            if problem:
                yield LogProblem(path=path, problem=problem)
    yield from _strangers(vault, register)


def _of_bag(path: str, expected: str) -> str:
    if not os.path.isdir(path):
        return _("MISSING: the log says that this bag was sealed")
    try:
        with open(os.path.join(path, SIGNED_FILE), "rb") as file:
            found = hashlib.file_digest(file, "sha512").hexdigest()
    except OSError as error:
        return _("can't be read: {reason}").format(reason=error.strerror or str(error))
    return "" if found == expected else _("MODIFIED: this is not the bag that was sealed")


def _strangers(vault: Vault, register: Register) -> Iterable[LogProblem]:
    """Bags that the log doesn't know. Staging that is going on is hidden, and none."""
    place = os.path.dirname(vault.bag_path(register.case, "x"))
    known = set(register.items)
    for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
        if name not in known and not name.startswith("."):
            text = _("ADDED: the log knows nothing of this")
            yield LogProblem(path=os.path.join(place, name), problem=text)
