"""Checkpoints: the state of all logs of a vault at one moment, small enough to leave the house.

Job: make and read them. A chain alone can be recomputed, or cut at its
end, by whoever holds it; behind a checkpoint that is signed, stamped, or in somebody else's
hands, it can't. Limits: judges nobody; that is for
:mod:`archiver.vault.witness`. Asks no TSA: :mod:`archiver.vault.stamping` does.

A checkpoint is a short text: the digest of the checkpoint before it, then one line for each
case: its name, how many events, the Merkle tree hash over their lines (RFC 9162), the head
of the chain.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from archiver.custody import Event, TreeHash
from archiver.errors import FormatError, storage_error
from archiver.filesystem import write_new_file
from archiver.i18n import N_
from archiver.pki.keyring import SigningKey
from archiver.seal.proofs import ProofPlace
from archiver.signing import sign_manifest
from archiver.vault import CASE, CUSTODY, Vault
from archiver.vault.log import CaseLog

__all__ = [
    "CaseLine",
    "Checkpoint",
    "checkpoint_files",
    "checkpoint_place",
    "make_checkpoint",
    "noted_checkpoint",
    "parse_checkpoint",
    "text_of",
    "write_checkpoint",
]

_TITLE = "archiver checkpoint 1"
_DIRECTORY = "checkpoints"
MAX_CHECKPOINT_BYTES = 16 << 20
FIRST = "0" * 64
"""What the first one has for the digest of the one before it."""
_FILE = re.compile(r"([0-9]{6})\.txt")
_PROOF = re.compile(r"([0-9]{6}\.txt)\.")
_TIME = re.compile(r"at ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)")
_AFTER = re.compile(r"after ([0-9a-f]{64})")
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
    """All cases of a vault at one moment, by the clock of who made it. ``after`` is the
    SHA-256 of the checkpoint before: none can be exchanged for another.
    """

    vault: str
    at: datetime
    after: str = FIRST
    cases: tuple[CaseLine, ...]

    def text(self) -> bytes:
        """The file's bytes: what is signed."""
        when = self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = [_TITLE, f"vault {self.vault}", f"at {when}", f"after {self.after}"]
        lines += [f"case {one.case} {one.events} {one.root} {one.head}" for one in self.cases]
        return "".join(f"{line}\n" for line in lines).encode("utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadLog:
    """A log that was read to its end. ``noted``: nothing happened after the last checkpoint."""

    log: CaseLog
    root: str
    noted: bool


def _read_logs(vault: Vault) -> list[_ReadLog]:
    found = []
    for case in vault.cases():
        log, tree, noted = CaseLog(case, vault.log_path(case)), TreeHash(), False
        for link in log.read():
            tree.add(link.line())
            noted = noted_checkpoint(link.event) is not None
        found.append(_ReadLog(log=log, root=tree.hexdigest(), noted=noted))
    return found


def make_checkpoint(vault: Vault, now: datetime) -> Checkpoint:
    """The state of all logs. Raises LogError where one is broken, StorageError."""
    return _state(vault, _read_logs(vault), now)


def _state(vault: Vault, logs: Sequence[_ReadLog], now: datetime) -> Checkpoint:
    return Checkpoint(
        vault=vault.identifier,
        at=now.replace(microsecond=0),
        after=_newest_digest(vault),
        cases=tuple(
            CaseLine(
                case=one.log.case,
                events=one.log.position.lines,
                root=one.root,
                head=one.log.position.head,
            )
            for one in logs
        ),
    )


def _newest_digest(vault: Vault) -> str:
    """The SHA-256 of the newest checkpoint, as it lies there."""
    newest = max((path for _number, path in checkpoint_files(vault)), default="")
    if not newest:
        return FIRST
    try:
        with open(newest, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise storage_error(error, newest) from error


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Read one. Raises FormatError where it isn't one to the byte."""
    try:
        title, vault, at, last, *rest = data.decode("utf-8").split("\n")
        moment, after = _TIME.fullmatch(at), _AFTER.fullmatch(last)
        cases = [_CASE_LINE.fullmatch(line) for line in rest[:-1]]
        if title != _TITLE or not vault.startswith("vault ") or rest[-1]:
            raise ValueError
        if moment is None or after is None:
            raise ValueError
        checkpoint = Checkpoint(
            vault=vault.removeprefix("vault "),
            at=datetime.strptime(moment[1], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
            after=after[1],
            cases=tuple(_case_line(found) for found in cases),
        )
        names = [one.case for one in checkpoint.cases]
        if checkpoint.text() != data or names != sorted(set(names)):
            raise ValueError
    except (ValueError, IndexError) as error:
        raise FormatError(N_("it is not a checkpoint")) from error
    return checkpoint


def _case_line(found: re.Match[str] | None) -> CaseLine:
    if found is None or not CASE.fullmatch(found[1]):
        raise ValueError
    return CaseLine(case=found[1], events=int(found[2]), root=found[3], head=found[4])


def write_checkpoint(
    vault: Vault, signers: Sequence[SigningKey], now: datetime
) -> tuple[str, Checkpoint]:
    """Keep the state of all logs, with a signature by each of ``signers``: path and state.

    Signatures first: a checkpoint that is there is signed. Then each log is told of it, where
    something has happened since the last one: it can't be taken away and the logs kept.
    Raises LogError, StorageError. The caller holds the vault's lock.
    """
    logs = _read_logs(vault)
    checkpoint = _state(vault, logs, now)
    data = checkpoint.text()
    path = _write(vault, data, signers, now)
    event = _note(os.path.basename(path), data, now)
    for one in logs:
        if not one.noted:
            one.log.append([event])
    return path, checkpoint


def _write(vault: Vault, data: bytes, signers: Sequence[SigningKey], now: datetime) -> str:
    place = checkpoint_place(vault)
    directory = place.path(place.folder)
    vault.refuse_links(os.path.relpath(directory, vault.path))
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = os.path.join(directory, f"{_next_number(vault):06}.txt")
        for name in place.files().signatures:
            if text_of(name) == os.path.basename(path):  # a run was killed before the text
                os.unlink(place.path(name))
        for signer in signers:
            signature = f"{path}.{signer.certificate.fingerprint[:16]}.p7s"
            write_new_file(signature, sign_manifest(data, signer, now), 0o444)
        write_new_file(path, data, 0o444)
    except OSError as error:
        raise storage_error(error, directory) from error
    return path


def _note(name: str, data: bytes, now: datetime) -> Event:
    detail = {"checkpoint": name, "sha256": hashlib.sha256(data).hexdigest()}
    return Event(type="message digest calculation", at=now, detail=detail)


def noted_checkpoint(event: Event) -> tuple[str, str] | None:
    """The name and the SHA-256 of the checkpoint that a log's event tells of, or None."""
    name, digest = event.detail.get("checkpoint"), event.detail.get("sha256")
    if isinstance(name, str) and isinstance(digest, str) and _FILE.fullmatch(name):
        return name, digest
    return None


def _next_number(vault: Vault) -> int:
    """One behind every checkpoint that is there, or that was: stamps come after the text, so
    that stamps alone are what is left of one.
    """
    proofs = checkpoint_place(vault).files()
    names = [text_of(one) for one in (*proofs.stamps, *proofs.requests)]
    told = (int(name.removesuffix(".txt")) for name in names if name)
    return max((*told, *(number for number, _path in checkpoint_files(vault))), default=0) + 1


def checkpoint_place(vault: Vault) -> ProofPlace:
    """Where the proofs of checkpoints lie. Certificates are in the signatures and stamps."""
    base = os.path.join(vault.path, CUSTODY)
    return ProofPlace(base, _DIRECTORY, with_certificates=False)


def text_of(proof: str) -> str:
    """The name of the checkpoint that the file ``proof`` belongs to, or ""."""
    found = _PROOF.match(os.path.basename(proof))
    return found[1] if found else ""


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
