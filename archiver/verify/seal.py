"""Steps 4 to 7 of a verification: sealed scope, signature, trust, time (docs/proof.md).

Job: judge what lies in ``signatures/`` by anchors that came from outside of the bag.
Limits: the bag's own files were checked before (steps 1 to 3); nothing is fetched.

The rule is *m of n*: the signatures that the bag declares must hold; where it
declares none, one that is trusted must. Whatever else lies there can neither raise
nor lower the verdict.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from archiver.bag.proofs import SIGNED_FILE, is_ours, signature_path
from archiver.bag.tree import BagTree
from archiver.bag.validate import BagFacts
from archiver.digest import ALGORITHMS, Algorithm
from archiver.errors import FormatError
from archiver.findings import Findings
from archiver.i18n import N_
from archiver.pki.anchors import Anchors, Standing, Trust, judge_signer
from archiver.pki.certificates import Certificate, parse_fingerprint, read_certificates, unique
from archiver.pki.cms import (
    MAX_CMS_BYTES,
    CmsError,
    MismatchError,
    SignedData,
    parse_signed_data,
)
from archiver.pki.paths import Crl, read_crls
from archiver.signing import check_manifest_signature
from archiver.timestamp.token import MAX_ANSWER_BYTES
from archiver.verify.stamps import NO_ROOTS, Judge, Stamp, proven_by

__all__ = ["Seal", "SealRequest", "Signature", "check_seal"]

SEAL_LABEL = "Archiver-Seal"
STAMP_LABEL = "Archiver-Time-Stamp"
MAX_SIGNATURES = 200
_MAX_STAMPS = 32
_MAX_STAMPS_OF_BAG = 256
_MAX_BAG_CERTIFICATES = 128
_MAX_BAG_CERTIFICATES_BYTES = 32 << 20
"""Certificates and revocation lists of a bag that are read, all of them together."""
_MAX_SIGNED_BYTES = 256 << 20
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRequest:
    """What the checker brought and asks for. ``now`` (aware) is the moment to judge as of."""

    anchors: Anchors
    now: datetime
    signatures: int = 0
    time_stamps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature and what became of it.

    ``problem`` says why it doesn't hold, ``altered`` that it is one over other bytes,
    ``unreadable`` that it can't be told. ``proven_at`` is the earliest trusted time
    stamp's, ``signing_time`` the signer's own clock. ``trust`` is None where it doesn't
    hold.
    """

    file: str
    declared: bool = False
    problem: str = ""
    altered: bool = False
    unreadable: bool = False
    signer: str = ""
    fingerprint: str = ""
    may_not_sign: str = ""
    signing_time: datetime | None = None
    proven_at: datetime | None = None
    trust: Trust | None = None
    stamps: tuple[Stamp, ...] = ()
    pending: int = 0
    key_digest: str = ""
    """Which key made it: two certificates may share one."""
    certificate: Certificate | None = field(default=None, repr=False)

    @property
    def holds(self) -> bool:
        """Whether it was made over this very bag, by its certificate's key."""
        return not self.problem

    @property
    def trusted(self) -> bool:
        """Whether it holds, and its signer is trusted and may sign."""
        standing = self.trust.standing if self.trust else None
        return self.holds and standing is Standing.TRUSTED and not self.may_not_sign

    @property
    def proven_stamps(self) -> int:
        """Trusted stamps from different roots."""
        return len({one.root for one in self.stamps if one.trusted})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Everything about the proofs of a bag. ``counted`` are the signatures that hold and
    decide; of one that was declared and doesn't hold, the findings tell.
    """

    sealed: bool
    asked_signature: bool
    asked_time: bool
    signatures: tuple[Signature, ...] = ()
    counted: tuple[Signature, ...] = ()
    revocation_known: bool = False
    """Whether the checker brought anything that could tell of revocations."""

    @property
    def proven_time(self) -> bool:
        """Whether every signature that counts has a trusted time stamp."""
        return bool(self.counted) and all(one.proven_stamps for one in self.counted)


def check_seal(tree: BagTree, facts: BagFacts, request: SealRequest, findings: Findings) -> Seal:
    """Run steps 4 to 7 and gather what is found."""
    return _Check(tree, facts, request, findings).run()


class TooLongError(CmsError):
    """A file of the bag that is longer than it may be."""


class _Check:
    def __init__(
        self, tree: BagTree, facts: BagFacts, request: SealRequest, findings: Findings
    ) -> None:
        self._tree = tree
        self._facts = facts
        self._request = request
        self._findings = findings
        self._declared: set[str] = set()
        self._known: tuple[Certificate, ...] = ()
        self._hints: tuple[Crl, ...] = ()
        self._room = _MAX_BAG_CERTIFICATES_BYTES
        self._stamps_left = _MAX_STAMPS_OF_BAG
        self._seen: dict[bytes, str] = {}

    def run(self) -> Seal:
        facts, request = self._facts, self._request
        seals = facts.info.all(SEAL_LABEL)
        stamp_declared = bool(facts.info.all(STAMP_LABEL))
        sealed = bool(seals or stamp_declared or facts.proofs.signatures)
        asked = sealed or request.anchors.names_signers or request.signatures > 0
        asked_time = bool(stamp_declared or request.anchors.tsa_roots or request.time_stamps)
        self._read_declared(seals)
        signatures: tuple[Signature, ...] = ()
        if sealed:
            self._check_scope()  # step 4
            self._read_certificates()
            signatures = self._signatures()
        counted = self._count(signatures) if asked else ()  # steps 5 and 6
        self._check_lists(signatures)
        if asked_time:
            self._check_time(counted)  # step 7
        else:
            self._mention_time(counted)
        return Seal(
            sealed=sealed,
            asked_signature=asked,
            asked_time=asked_time,
            signatures=signatures,
            counted=counted,
            revocation_known=bool(request.anchors.lists or request.anchors.crls),
        )

    def _read_declared(self, seals: list[str]) -> None:
        for seal in seals:
            fingerprint = parse_fingerprint(seal)
            if fingerprint is None:
                self._findings.add("E-SIG-006", "bag-info.txt", seal=seal)
            else:
                self._declared.add(fingerprint)

    # -- step 4: sealed scope

    def _check_scope(self) -> None:
        facts, findings = self._facts, self._findings
        if "sha512" not in facts.tag_algorithms:
            findings.add("E-SCO-001", SIGNED_FILE)
        else:
            for path in facts.unsigned_tag_files:
                findings.add("E-SCO-002", path)
        for path in facts.proofs.unknown:
            findings.add("E-SCO-003", path)
        for path in facts.proofs.partial:
            findings.add("W-SCO-006", path)
        if facts.info.all("Archiver-Bag-Layout"):
            self._check_layout()
        if facts.weakly_listed:
            weak = ", ".join(facts.payload_algorithms)
            findings.add("E-SCO-005", algorithms=weak, count=facts.weakly_listed)

    def _check_layout(self) -> None:
        """A bag of ours has a tag manifest for each payload manifest, with the same files."""
        payload, tag = (
            ", ".join(sorted(names))
            for names in (self._facts.payload_algorithms, self._facts.tag_algorithms)
        )
        if payload != tag:
            self._findings.add("E-SCO-004", payload=payload, tag=tag)
        for name in sorted({*self._facts.tag_algorithms} - {"sha512"}):
            self._check_other_tag_manifest(name)

    def _check_other_tag_manifest(self, name: str) -> None:
        """It was written as the signed one was, so that no byte of it can be another."""
        file = f"tagmanifest-{name}.txt"
        algorithm = ALGORITHMS.get(name)
        try:
            signed = self._read(SIGNED_FILE, _MAX_SIGNED_BYTES)
            other = self._read(file, _MAX_SIGNED_BYTES)
        except (OSError, CmsError):
            return  # step 3 has told of what can't be read
        if algorithm is not None and _paths(other, algorithm) != _paths(
            signed, ALGORITHMS["sha512"]
        ):
            self._findings.add("E-SCO-007", file)

    # -- step 5: signatures

    def _read_certificates(self) -> None:
        """Certificates and revocation lists that lie in the bag: steps, never anchors."""
        proofs = self._facts.proofs
        found = self._read_all(proofs.certificates, read_certificates)
        certificates = [one for one in unique(found) if one.is_ca][:_MAX_BAG_CERTIFICATES]
        self._hints = self._read_all(proofs.crls, read_crls)[:_MAX_BAG_CERTIFICATES]
        self._known = unique([*self._request.anchors.certificates, *certificates])

    def _read_all(
        self, paths: tuple[str, ...], read: Callable[[bytes], tuple[_Value, ...]]
    ) -> tuple[_Value, ...]:
        """What can be read of these files, those named as ours first, within limits."""
        found: list[_Value] = []
        for path in sorted(paths, key=lambda one: (not is_ours(one), one)):
            try:
                data = self._read(path, self._room)
                self._room -= len(data)
                found += read(data)
            except TooLongError:
                self._room = 0  # it was read up to here: nothing more is
                self._findings.add("W-SIG-010", path, reason=N_("it is too long"))
                break
            except (FormatError, OSError):
                self._findings.add("W-SIG-010", path, reason=N_("it can't be read"))
        return tuple(found)

    def _read(self, path: str, limit: int) -> bytes:
        """A file of the bag. Raises OSError, and CmsError where it is longer than ``limit``."""
        parts, size = [], 0
        with self._tree.open(path) as stream:
            while data := stream.read(min(1 << 20, limit + 1 - size)):
                parts.append(data)
                size += len(data)
                if size > limit:
                    raise TooLongError(N_("it is too long"))
        return b"".join(parts)

    def _signatures(self) -> tuple[Signature, ...]:
        """All of them. Each signer's own file is judged before copies of it, so that no copy
        can use up what there is of time for it.
        """
        declared = {f"signatures/{one[:16]}.p7s" for one in self._declared}
        files = sorted(
            self._facts.proofs.signatures,
            key=lambda file: (file not in declared, not is_ours(file), file),
        )
        if len(files) > MAX_SIGNATURES:
            self._findings.add("W-SIG-011", limit=MAX_SIGNATURES)
        content: bytes | None = None
        try:
            if "sha512" in self._facts.tag_algorithms:
                content = self._read(SIGNED_FILE, _MAX_SIGNED_BYTES)
        except (OSError, CmsError):
            content = None
        if content is not None and not self._is_what_was_read(content):
            self._findings.add("U-BAG-202", SIGNED_FILE)
        read = [self._signature(file, content) for file in files[:MAX_SIGNATURES]]
        own = sorted(read, key=lambda one: one[0].file != signature_path(one[0].fingerprint))
        return tuple(self._judged(*one) for one in own)

    def _is_what_was_read(self, content: bytes) -> bool:
        """Whether the signed bytes are those that steps 1 to 3 went by."""
        return hashlib.sha512(content).hexdigest() == self._facts.signed_digest

    def _signature(
        self, file: str, content: bytes | None
    ) -> tuple[Signature, SignedData | None, bytes]:
        """A signature and whether it holds, with what it was read as and its bytes."""
        try:
            data = self._read(file, MAX_CMS_BYTES)
            signed = parse_signed_data(data)
        except OSError as error:
            return replace(self._broken(file, _reason(error)), unreadable=True), None, b""
        except CmsError as error:
            return self._broken(file, error.message), None, b""
        certificate = signed.certificate
        found = Signature(
            file=file,
            declared=certificate.fingerprint in self._declared,
            signer=certificate.name,
            fingerprint=certificate.fingerprint,
            signing_time=signed.signing_time,
            may_not_sign=certificate.why_not_signer(),
            key_digest=certificate.key_digest,
            certificate=certificate,
        )
        if content is None:
            problem = N_("what it was made over is missing")
            return replace(found, problem=problem, unreadable=True), None, b""
        try:
            check_manifest_signature(signed, content)
        except MismatchError as error:
            return replace(found, problem=error.message, altered=True), None, b""
        except CmsError as error:
            return replace(found, problem=error.message), None, b""
        return found, signed, data

    def _broken(self, file: str, problem: str) -> Signature:
        declared = any(file == f"signatures/{one[:16]}.p7s" for one in self._declared)
        return Signature(file=file, declared=declared, problem=problem)

    # -- step 6: trust

    def _judged(self, found: Signature, signed: SignedData | None, data: bytes) -> Signature:
        """One that holds, with its time stamps and what is to be said of its signer."""
        if signed is None:
            return found
        if self._seen.setdefault(hashlib.sha256(data).digest(), found.file) != found.file:
            return replace(found, problem=N_("it is a copy of another signature"))
        found = replace(found, stamps=self._stamps(found.file, data, signed.certificate))
        proven = proven_by(found.stamps)
        trust = judge_signer(
            signed.certificate,
            (*signed.certificates, *self._known),
            self._request.anchors,
            proven,
            self._request.now,
            self._hints,
        )
        return replace(
            found,
            trust=trust,
            proven_at=min(
                (one.gen_time for one in found.stamps if one.trusted and one.gen_time),
                default=None,
            ),
            pending=len(self._facts.proofs.requests_of(found.file)),
        )

    def _count(self, signatures: tuple[Signature, ...]) -> tuple[Signature, ...]:
        """Which signatures decide; tells what is wrong with them."""
        if self._declared or self._findings.has("E-SIG-006"):
            counted = self._count_declared(signatures)
        else:
            counted = self._count_undeclared(signatures)
        told = {one.file for one in counted}
        for one in signatures:
            if one.problem and one.file not in told and not self._told(one.file):
                self._findings.add("W-SIG-010", one.file, reason=one.problem)
        for one in counted:
            if one.holds:
                self._tell_trust(one)
        return tuple(one for one in counted if one.holds)

    def _check_lists(self, signatures: tuple[Signature, ...]) -> None:
        """Say of each list that the checker brought where it is of no use, or old."""
        seen = {one.subject for one in self._known}
        for one in signatures:
            if one.certificate is not None:
                seen.add(one.certificate.issuer)
            seen |= {issuer for stamp in one.stamps for issuer in stamp.issuers}
        for crl in self._request.anchors.crls:
            issuer, until = crl.issuer.rfc4514_string(), crl.next_update
            if crl.issuer not in seen:
                self._findings.add("W-TRU-008", issuer=issuer)
            elif until is not None and until < self._request.now:
                self._findings.add("W-TRU-009", issuer=issuer, date=until.date())

    def _told(self, file: str) -> bool:
        codes = ("E-SIG-003", "E-SIG-004", "U-SIG-012")
        return any(one.path == file for one in self._findings if one.code in codes)

    def _count_declared(self, signatures: tuple[Signature, ...]) -> tuple[Signature, ...]:
        counted: list[Signature] = []
        for fingerprint in sorted(self._declared):
            own = [one for one in signatures if one.fingerprint == fingerprint]
            named = f"signatures/{fingerprint[:16]}.p7s"
            own += [one for one in signatures if one.file == named and one not in own]
            good = [one for one in own if one.holds and one.fingerprint == fingerprint]
            if good:
                counted.append(min(good, key=_worth))
            elif own:
                problem = own[0].problem or N_("the signature is another signer's")
                code = "U-SIG-012" if own[0].unreadable else "E-SIG-003"
                self._findings.add(code, own[0].file, reason=problem)
            else:
                self._findings.add("E-SIG-002", named, seal=f"sha256:{fingerprint}")
        return tuple(counted)

    def _count_undeclared(self, signatures: tuple[Signature, ...]) -> tuple[Signature, ...]:
        trusted = _best_of_each(one for one in signatures if one.trusted)
        if trusted:
            return self._stamped_enough(trusted)
        holding = _best_of_each(one for one in signatures if one.holds)
        altered = [one for one in signatures if one.altered]
        if holding:  # a trusted signer over other bytes outweighs strangers who signed these
            altered = [one for one in altered if self._is_trusted_signer(one)]
        for one in altered:
            self._findings.add("E-SIG-003", one.file, reason=one.problem)
        if not holding and not altered:
            if signatures:
                first = next((one for one in signatures if one.unreadable), signatures[0])
                code = "U-SIG-012" if first.unreadable else "E-SIG-004"
                self._findings.add(code, first.file, reason=first.problem)
            else:
                self._findings.add("E-SIG-001")
        return holding

    def _stamped_enough(self, trusted: tuple[Signature, ...]) -> tuple[Signature, ...]:
        """Where a time is asked for, a further signature that has none takes nothing away."""
        wanted = max(1, self._request.time_stamps)
        stamped = tuple(one for one in trusted if one.proven_stamps >= wanted)
        return stamped or trusted

    def _is_trusted_signer(self, one: Signature) -> bool:
        if one.certificate is None:
            return False
        anchors, now = self._request.anchors, self._request.now
        trust = judge_signer(one.certificate, self._known, anchors, None, now)
        return trust.standing in (Standing.TRUSTED, Standing.EXPIRED)

    def _tell_trust(self, one: Signature) -> None:
        if one.may_not_sign:
            self._findings.add("E-SIG-005", one.file, reason=one.may_not_sign)
        if one.trust is None or one.trust.standing is Standing.TRUSTED:
            return
        codes = {
            Standing.UNKNOWN: "E-TRU-001",
            Standing.SAME_NAME: "E-TRU-003",
            Standing.EXPIRED: "E-TRU-004",
            Standing.REVOKED: "E-TRU-005",
            Standing.NOT_LISTED: "E-TRU-006",
            Standing.UNDECIDED: "U-TRU-007",
        }
        code = codes[one.trust.standing]
        if code == "E-TRU-001" and not self._request.anchors.names_signers:
            code = "E-TRU-002"
        assert one.certificate is not None
        self._findings.add(
            code,
            one.file,
            signer=one.signer,
            first=one.certificate.not_before.date(),
            last=one.certificate.not_after.date(),
            since=one.trust.since or "",
        )

    # -- step 7: time

    def _stamps(self, signature: str, data: bytes, signer: Certificate) -> tuple[Stamp, ...]:
        files = self._facts.proofs.stamps_of(signature)[: min(_MAX_STAMPS, self._stamps_left)]
        self._stamps_left -= len(files)
        return tuple(self._stamp(file, data, signer) for file in files)

    def _stamp(self, file: str, data: bytes, signer: Certificate) -> Stamp:
        try:
            answer = self._read(file, MAX_ANSWER_BYTES)
        except OSError as error:
            return Stamp(file=file, trusted=False, problem=_reason(error))
        except CmsError as error:
            return Stamp(file=file, trusted=False, problem=error.message)
        judge = Judge(
            anchors=self._request.anchors,
            now=self._request.now,
            known=self._known,
            hints=self._hints,
        )
        return judge.stamp(file, answer, data, signer)

    def _check_time(self, counted: tuple[Signature, ...]) -> None:
        wanted = max(1, self._request.time_stamps)
        if not counted:
            self._findings.add("E-TIM-001")
        for one in counted:
            found = one.proven_stamps
            code = "E-TIM-003" if found < wanted else "W-TIM-010"
            for stamp in one.stamps:
                if stamp.problem:
                    self._findings.add(code, stamp.file, reason=stamp.problem)
            if one.pending:
                self._findings.add("E-TIM-002" if found < wanted else "W-TIM-011", one.file)
            if found < wanted and not one.pending and not one.stamps:
                self._findings.add("E-TIM-001", one.file)
            elif 0 < found < wanted:
                self._findings.add("E-TIM-004", one.file, wanted=wanted, found=found)

    def _mention_time(self, counted: tuple[Signature, ...]) -> None:
        for one in counted:
            for stamp in one.stamps:
                if stamp.problem == NO_ROOTS:
                    self._findings.add("W-TIM-012", stamp.file)
                elif stamp.problem:
                    self._findings.add("W-TIM-010", stamp.file, reason=stamp.problem)
            if one.pending:
                self._findings.add("W-TIM-011", one.file)


def _worth(one: Signature) -> tuple[bool, int, bool, str]:
    """The better of two signatures by one signer sorts first."""
    return (not one.trusted, -one.proven_stamps, not is_ours(one.file), one.file)


def _best_of_each(signatures: Iterable[Signature]) -> tuple[Signature, ...]:
    """One signature for each signer: a copy of a file adds nothing."""
    best = {one.fingerprint: one for one in sorted(signatures, key=_worth, reverse=True)}
    return tuple(best.values())


def _paths(manifest: bytes, algorithm: Algorithm) -> bytes:
    """A manifest of ours without its digests; what isn't written as ours stays."""
    return re.sub(rb"(?m)^[0-9a-f]{%d}  " % (2 * algorithm.size_bytes), b"", manifest)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
