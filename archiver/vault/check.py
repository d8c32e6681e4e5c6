"""Whether a vault's logs are unbroken, and its bags those that the logs tell of.

Job: chains, heads, and the digest of each bag's tag manifest. Limits: reads no payload;
that is what an audit is for. Writes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archiver.custody import line_digest, tree_hash
from archiver.errors import LogError
from archiver.i18n import _
from archiver.vault import Vault
from archiver.vault.register import SEALED, Register, read_register

__all__ = ["CaseState", "LogProblem", "LogReport", "check_logs"]

_SIGNED_FILE = "tagmanifest-sha512.txt"


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
class LogReport:
    """All cases whose chains hold, and everything that is wrong."""

    cases: tuple[CaseState, ...]
    problems: tuple[LogProblem, ...]


def check_logs(vault: Vault, heads: Sequence[str] = ()) -> LogReport:
    """Check every log and what it says of its bags. ``heads`` are ones that were written
    down earlier: each must be in a chain, or what came before it was cut or changed.
    """
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
        lines = [link.line() for link in register.links]
        passed |= {line_digest(line) for line in lines}
        states.append(
            CaseState(case=case, events=register.lines, head=register.head, root=tree_hash(lines))
        )
        problems += _of_case(vault, register)
    for head in heads:
        if head.lower() not in passed:
            text = _("no chain has the head {head}: events behind it were cut off or changed")
            problems.append(LogProblem(path=vault.path, problem=text.format(head=head)))
    return LogReport(cases=tuple(states), problems=tuple(problems))


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
        with open(os.path.join(path, _SIGNED_FILE), "rb") as file:
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
