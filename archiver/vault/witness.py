"""What the checkpoints of a vault say of its logs, and who vouches for them.

Job: each checkpoint against the one before it, the logs (both ways: they tell of it, too),
its signatures and its stamps. Limits: reads no log; what was seen of one is handed in.
Writes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from archiver.custody import Event
from archiver.errors import FormatError, StorageError
from archiver.i18n import N_, _
from archiver.pki.anchors import Anchors, Standing, judge_signer
from archiver.pki.cms import MAX_CMS_BYTES, CmsError, SignedData, parse_signed_data
from archiver.signing import check_manifest_signature
from archiver.timestamp.token import MAX_ANSWER_BYTES
from archiver.vault import Vault
from archiver.vault.checkpoint import (
    FIRST,
    MAX_CHECKPOINT_BYTES,
    Checkpoint,
    checkpoint_files,
    checkpoint_place,
    noted_checkpoint,
    parse_checkpoint,
    text_of,
)
from archiver.verify.stamps import Judge, Stamp, proven_by

__all__ = ["CheckpointStamp", "CheckpointState", "LogProblem", "Seen", "Witnesses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProblem:
    """What is not as it was written down."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointStamp:
    """A time stamp over a signature of a checkpoint. ``gen_time`` is proven where it is
    ``trusted``, else a claim; None where it can't be read.
    """

    gen_time: datetime | None
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """A checkpoint that is kept: ``signers`` have signed it, of these ``trusted`` by the
    checker's anchors. ``proven_at`` is what the earliest trusted stamp says; ``waiting``
    requests have no answer yet.
    """

    path: str
    at: datetime
    signers: tuple[str, ...]
    trusted: int
    stamps: tuple[CheckpointStamp, ...] = ()
    waiting: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)
    """How many events of each case it has seen."""

    @property
    def proven_at(self) -> datetime | None:
        """Since when it was there at the latest."""
        times = (one.gen_time for one in self.stamps if one.trusted and one.gen_time)
        return min(times, default=None)


@dataclass(frozen=True, slots=True)
class Seen:
    """A log at one length: its tree hash and its head."""

    root: str
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    path: str
    data: bytes
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    """One that holds. ``vouched``: by somebody whom the checker trusts."""

    signer: str
    vouched: bool
    stamps: tuple[Stamp, ...]
    waiting: int


class Witnesses:
    """All checkpoints that are kept. What is wrong is added to ``problems``."""

    def __init__(self, vault: Vault, problems: list[LogProblem]) -> None:
        self._vault, self._problems = vault, problems
        self._place = checkpoint_place(vault)
        self._proofs = self._place.files()
        self._digests: dict[str, str] = {}
        self._kept = list(self._read())
        self._sizes: defaultdict[str, set[int]] = defaultdict(set)
        for kept in self._kept:
            for line in kept.checkpoint.cases:
                self._sizes[line.case].add(line.events)

    def _tell(self, path: str, problem: str) -> None:
        self._problems.append(LogProblem(path=path, problem=problem))

    def _read(self) -> Iterator[_Kept]:
        """Those that are what they should be. Each names the one before it."""
        before, digest = 0, FIRST
        for number, path in checkpoint_files(self._vault):
            gap, before = number != before + 1, number
            if gap:
                self._tell(path, _("the checkpoint before it is gone"))
            name = f"{self._place.folder}/{os.path.basename(path)}"
            try:
                data = self._place.read(name, MAX_CHECKPOINT_BYTES + 1)
                follows, digest = digest, hashlib.sha256(data).hexdigest()
                self._digests[os.path.basename(path)] = digest
                checkpoint = self._parsed(data)
            except (StorageError, FormatError) as error:
                self._tell(path, _(error.message))
                continue
            if not gap and checkpoint.after != follows:
                self._tell(path, _("it doesn't follow the checkpoint before it"))
            yield _Kept(path=path, data=data, checkpoint=checkpoint)
        self._tell_lost()

    def _parsed(self, data: bytes) -> Checkpoint:
        if len(data) > MAX_CHECKPOINT_BYTES:
            raise FormatError(N_("it is not a checkpoint"))
        checkpoint = parse_checkpoint(data)
        if checkpoint.vault != self._vault.identifier:
            raise FormatError(N_("it is another vault's"))
        return checkpoint

    def _tell_lost(self) -> None:
        """Stamps come after the text: where there is none, it was removed."""
        texts = {os.path.basename(path) for _number, path in checkpoint_files(self._vault)}
        for name in (*self._proofs.stamps, *self._proofs.requests):
            if text_of(name) not in texts:
                self._tell(self._place.path(name), _("the checkpoint that it belongs to is gone"))

    def sizes(self, case: str) -> frozenset[int]:
        """The lengths at which checkpoints have seen the log of ``case``."""
        return frozenset(self._sizes[case])

    def compare(self, log: str, event: Event) -> None:
        """Whether the checkpoint that an event of ``log`` tells of is there, as it was."""
        noted = noted_checkpoint(event)
        if noted is not None and self._digests.get(noted[0]) != noted[1]:
            text = _("the checkpoint {name} that it tells of is gone, or another one now")
            self._tell(log, text.format(name=noted[0]))

    def judge(
        self, seen: Mapping[str, Mapping[int, Seen]], anchors: Anchors | None, now: datetime
    ) -> Iterator[CheckpointState]:
        """Compare each with what was ``seen`` of the logs (by case and length), and say who
        vouches for it.
        """
        signatures = defaultdict(list)
        for name in self._proofs.signatures:
            signatures[text_of(name)].append(name)
        judge = Judge(anchors=anchors or Anchors(), now=now)
        for kept in self._kept:
            for line in kept.checkpoint.cases:
                if seen.get(line.case, {}).get(line.events) != Seen(line.root, line.head):
                    text = _("the log of {case} no longer begins with what this checkpoint saw")
                    self._tell(kept.path, text.format(case=line.case))
            names = signatures[os.path.basename(kept.path)]
            found = [one for name in names for one in self._signature(name, kept.data, judge)]
            self._tell_missing(kept.path, found, judge.anchors)
            yield _state(kept, found)

    def _tell_missing(self, path: str, found: list[_Signature], anchors: Anchors) -> None:
        """What the checker asked for by naming somebody, and isn't there."""
        if anchors.names_signers:
            found = [one for one in found if one.vouched]
            if not found:
                self._tell(path, _("nobody whom you trust has signed this checkpoint"))
                return
        if anchors.tsa_roots and not any(stamp.trusted for one in found for stamp in one.stamps):
            waits = any(one.waiting for one in found)
            self._tell(
                path,
                _("this checkpoint still waits for its time stamp")
                if waits
                else _("this checkpoint has no time stamp that you trust"),
            )

    def _signature(self, name: str, data: bytes, judge: Judge) -> Iterator[_Signature]:
        """The signature in the file ``name``, if it holds."""
        try:
            raw = self._place.read(name, MAX_CMS_BYTES + 1)
            signed = parse_signed_data(raw)
            check_manifest_signature(signed, data)
        except CmsError as error:
            text = _("the signature doesn't hold: {reason}").format(reason=_(error.message))
            self._tell(self._place.path(name), text)
            return
        except StorageError as error:
            self._tell(self._place.path(name), error.message)
            return
        stamps = tuple(self._stamps(name, raw, signed, judge))
        yield _Signature(
            signer=signed.certificate.name,
            vouched=_is_trusted(signed, stamps, judge),
            stamps=stamps,
            waiting=len(self._proofs.requests_of(name)),
        )

    def _stamps(
        self, signature: str, data: bytes, signed: SignedData, judge: Judge
    ) -> Iterator[Stamp]:
        """Its stamps, judged as a bag's are. One by a TSA that the checker didn't name is no
        problem by itself: another may do.
        """
        for name in self._proofs.stamps_of(signature):
            try:
                answer = self._place.read(name, MAX_ANSWER_BYTES + 1)
            except StorageError as error:
                self._tell(self._place.path(name), error.message)
                continue
            stamp = judge.stamp(name, answer, data, signed.certificate)
            if stamp.problem and not stamp.stranger:
                text = _("the time stamp doesn't hold: {reason}").format(reason=_(stamp.problem))
                self._tell(self._place.path(name), text)
            yield stamp


def _is_trusted(signed: SignedData, stamps: Iterable[Stamp], judge: Judge) -> bool:
    """At the proven time, where there is one."""
    trust = judge_signer(
        signed.certificate, signed.certificates, judge.anchors, proven_by(stamps), judge.now
    )
    return trust.standing is Standing.TRUSTED and not signed.certificate.why_not_signer()


def _state(kept: _Kept, found: Iterable[_Signature]) -> CheckpointState:
    found = tuple(found)
    return CheckpointState(
        path=kept.path,
        at=kept.checkpoint.at,
        signers=tuple(one.signer for one in found),
        trusted=sum(one.vouched for one in found),
        stamps=tuple(
            CheckpointStamp(gen_time=stamp.gen_time, trusted=stamp.trusted)
            for one in found
            for stamp in one.stamps
        ),
        waiting=sum(one.waiting for one in found),
        seen={line.case: line.events for line in kept.checkpoint.cases},
    )
