"""Checkpoints: the state of all logs of a vault at one moment, small enough to leave the house.

Job: make and read them. A chain alone can be recomputed, or cut at its end, by
whoever holds it; behind a checkpoint that is signed, stamped, or in somebody else's hands,
it can't. Limits: judges no signer; that is what anchors are for.

A checkpoint is a short text, one line for each case: its name, how many events, the
Merkle tree hash over their lines (RFC 9162), the head of the chain.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from archiver.custody import TreeHash
from archiver.errors import FormatError, storage_error
from archiver.filesystem import write_new_file
from archiver.i18n import N_
from archiver.pki.keyring import SigningKey
from archiver.vault import CASE, CUSTODY, Vault
from archiver.vault.log import CaseLog

__all__ = [
    "CaseLine",
    "Checkpoint",
    "checkpoint_files",
    "make_checkpoint",
    "parse_checkpoint",
    "write_checkpoint",
]

_TITLE = "archiver checkpoint 1"
_DIRECTORY = "checkpoints"
MAX_CHECKPOINT_BYTES = 16 << 20
_FILE = re.compile(r"([0-9]{6})\.txt")
_TIME = re.compile(r"at ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)")
_CASE_LINE = re.compile(r"case (\S+) ([0-9]{1,12}) ([0-9a-f]{64}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLine:
    """One case: ``events`` lines, their tree hash ``root``, the chain's ``head``."""

    case: str
    events: int
    root: str
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All cases of a vault at one moment, by the clock of who made it."""

    vault: str
    at: datetime
    cases: tuple[CaseLine, ...]

    def text(self) -> bytes:
        """The file's bytes: what is signed."""
        when = self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = [_TITLE, f"vault {self.vault}", f"at {when}"]
        lines += [f"case {one.case} {one.events} {one.root} {one.head}" for one in self.cases]
        return "".join(f"{line}\n" for line in lines).encode("utf-8")


def make_checkpoint(vault: Vault, now: datetime) -> Checkpoint:
    """The state of all logs. Raises LogError where one is broken."""
    cases = []
    for case in vault.cases():
        log, tree = CaseLog(case, vault.log_path(case)), TreeHash()
        for link in log.read():
            tree.add(link.line())
        events, head = log.position.lines, log.position.head
        cases.append(CaseLine(case=case, events=events, root=tree.hexdigest(), head=head))
    return Checkpoint(vault=vault.identifier, at=now.replace(microsecond=0), cases=tuple(cases))


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Read one. Raises FormatError where it isn't one to the byte."""
    try:
        title, vault, at, *rest = data.decode("utf-8").split("\n")
        moment = _TIME.fullmatch(at)
        cases = [_CASE_LINE.fullmatch(line) for line in rest[:-1]]
        if title != _TITLE or not vault.startswith("vault ") or moment is None or rest[-1]:
            raise ValueError
        checkpoint = Checkpoint(
            vault=vault.removeprefix("vault "),
            at=datetime.strptime(moment[1], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
            cases=tuple(_case_line(found) for found in cases),
        )
        if checkpoint.text() != data:
            raise ValueError
    except (ValueError, IndexError) as error:
        raise FormatError(N_("it is not a checkpoint")) from error
    return checkpoint


def _case_line(found: re.Match[str] | None) -> CaseLine:
    if found is None or not CASE.fullmatch(found[1]):
        raise ValueError
    return CaseLine(case=found[1], events=int(found[2]), root=found[3], head=found[4])


def write_checkpoint(
    vault: Vault, checkpoint: Checkpoint, signers: Sequence[SigningKey], now: datetime
) -> str:
    """Keep it in the vault, with a signature by each of ``signers``; its path.

    Signatures first: a checkpoint that is there is signed. Raises StorageError.
    """
    directory = os.path.join(vault.path, CUSTODY, _DIRECTORY)
    data = checkpoint.text()
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        number = max((number for number, _path in checkpoint_files(vault)), default=0) + 1
        path = os.path.join(directory, f"{number:06}.txt")
        for signer in signers:
            place = f"{path}.{signer.certificate.fingerprint[:16]}.p7s"
            if os.path.lexists(place):  # by a run that was killed before the text was there
                os.unlink(place)
            write_new_file(place, signer.sign(data, now), 0o444)
        write_new_file(path, data, 0o444)
    except OSError as error:
        raise storage_error(error, directory) from error
    return path


def checkpoint_files(vault: Vault) -> Iterator[tuple[int, str]]:
    """(number, path) of the checkpoints that are kept, in order."""
    directory = os.path.join(vault.path, CUSTODY, _DIRECTORY)
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, directory) from error
    for name in names:
        found = _FILE.fullmatch(name)
        if found:
            yield int(found[1]), os.path.join(directory, name)
