"""Checkpoints: the state of all logs of a vault at one moment, small enough to leave the house.

Job: make and read them, have them stamped. A chain alone can be recomputed, or cut at its
end, by whoever holds it; behind a checkpoint that is signed, stamped, or in somebody else's
hands, it can't. Limits: judges nobody; that is for :mod:`archiver.vault.witness`.

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

from archiver.custody import TreeHash
from archiver.errors import FormatError, storage_error
from archiver.filesystem import write_new_file
from archiver.i18n import N_
from archiver.pki.keyring import SigningKey
from archiver.seal.proofs import ProofPlace
from archiver.seal.stamping import (
    StampOptions,
    StampResult,
    add_requests,
    ask_for_stamp,
    tsa_id,
    waiting_requests,
)
from archiver.signing import sign_manifest
from archiver.vault import CASE, CUSTODY, Vault
from archiver.vault.log import CaseLog

__all__ = [
    "CaseLine",
    "Checkpoint",
    "ask_for_stamps",
    "checkpoint_files",
    "checkpoint_place",
    "make_checkpoint",
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


def make_checkpoint(vault: Vault, now: datetime) -> Checkpoint:
    """The state of all logs. Raises LogError where one is broken, StorageError."""
    cases = []
    for case in vault.cases():
        log, tree = CaseLog(case, vault.log_path(case)), TreeHash()
        for link in log.read():
            tree.add(link.line())
        events, head = log.position.lines, log.position.head
        cases.append(CaseLine(case=case, events=events, root=tree.hexdigest(), head=head))
    return Checkpoint(
        vault=vault.identifier,
        at=now.replace(microsecond=0),
        after=_newest_digest(vault),
        cases=tuple(cases),
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
    vault: Vault,
    checkpoint: Checkpoint,
    signers: Sequence[SigningKey],
    now: datetime,
    stamps: StampOptions | None = None,
) -> str:
    """Keep it in the vault, with a signature by each of ``signers``; its path. Requests for
    the TSAs of ``stamps`` wait beside it then, and are sent with :func:`ask_for_stamps`.

    Signatures first: a checkpoint that is there is signed. Raises StorageError. The caller
    holds the vault's lock.
    """
    place, data = checkpoint_place(vault), checkpoint.text()
    directory = place.path(place.folder)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        number = _next_number(vault)
        path = os.path.join(directory, f"{number:06}.txt")
        for name in place.files().signatures:
            if text_of(name) == os.path.basename(
                path
            ):  # by a run that was killed before the text was there
                os.unlink(place.path(name))
        for signer in signers:
            signature = f"{path}.{signer.certificate.fingerprint[:16]}.p7s"
            write_new_file(signature, sign_manifest(data, signer, now), 0o444)
        write_new_file(path, data, 0o444)
    except OSError as error:
        raise storage_error(error, directory) from error
    if stamps is not None:
        _add_requests(vault, path, stamps)
    return path


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


def _add_requests(vault: Vault, path: str, options: StampOptions) -> None:
    """Have requests waiting for the checkpoint at ``path``, and for what has no stamp at all
    though it is older: a run was ended, or no TSA was named then.
    """
    place, new = checkpoint_place(vault), os.path.basename(path)
    proofs = place.files()
    kept = {os.path.basename(text) for _number, text in checkpoint_files(vault)}
    stamped = {stamp.rsplit(".", 2)[0] for stamp in proofs.stamps}
    wanted = [
        one
        for one in proofs.signatures
        if text_of(one) == new or (one not in stamped and text_of(one) in kept)
    ]
    add_requests(place, options, signatures=wanted)


def ask_for_stamps(vault: Vault, options: StampOptions, now: datetime) -> tuple[StampResult, ...]:
    """Ask each TSA for what waits for its answer, the newest first. One that fails isn't asked
    again, however much waits: that would take long. Raises LockedError, StorageError.
    """
    results = []
    with vault.asking("checkpoint", 10.0):
        waiting = list(waiting_requests(checkpoint_place(vault)))
        waiting.sort(key=lambda one: one.signature, reverse=True)
        for url in options.urls:
            for one in (each for each in waiting if each.tsa == tsa_id(url)):
                results.append(ask_for_stamp(one, url, options, now))
                if results[-1].problem:
                    break
    return tuple(results)


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
