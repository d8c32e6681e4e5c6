"""One bag, checked from end to end: the numbered steps and one verdict.

Job: run the steps of docs/verification.md and say of each claim whether it
holds, fails, can't be decided or wasn't asked. Limits: no vault, no network,
writes nothing.

From Python::

    from archiver.verify import VerifyOptions, load_anchors, verify_bag
    anchors = load_anchors(trust=["ca.pem"], tsa_roots=["tsa-root.pem"])
    report = verify_bag("case-001", VerifyOptions(anchors=anchors))
    print(report.verdict, [finding.message for finding in report.findings])
    report.raise_for_errors()
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from archiver.bag.opening import MAX_EXPANSION, open_tree
from archiver.bag.progress import Progress
from archiver.bag.tree import BagTree
from archiver.bag.validate import BagFacts, check_bag
from archiver.findings import Claim, Findings, Outcome, VerificationError
from archiver.findings.catalogue import STEPS
from archiver.i18n import _
from archiver.policy import Policy, ProofPolicy
from archiver.verify.custody import check_custody

if TYPE_CHECKING:  # cryptography costs start-up time: only where there is something to check
    from archiver.encrypt import Identities
    from archiver.pki.anchors import Anchors
    from archiver.verify.seal import Seal

__all__ = ["Verdict", "VerificationReport", "VerifyOptions", "load_anchors", "verify_bag"]


class Verdict(enum.Enum):
    """The whole answer. ``complete`` is all that can be said without checksums."""

    VALID = "valid"
    COMPLETE = "complete"
    INVALID = "invalid"
    UNDECIDED = "undecided"
    UNPROVEN = "unproven"


EXIT_CODES = {
    Verdict.VALID: 0,
    Verdict.COMPLETE: 0,
    Verdict.INVALID: 1,
    Verdict.UNDECIDED: 3,
    Verdict.UNPROVEN: 4,
}
_INTEGRITY = ("structure", "complete", "fixity")
_PROOF = ("seal-scope", "signature", "trust", "time", "custody", "policy")
_ALTERED = ("E-SCO-001", "E-SCO-002", "E-SCO-003", "E-SCO-004", "E-SCO-007", "E-SIG-003")
"""Failures of a proof that mean: this is not what was sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What to check, and within which limits (docs/verification.md).

    ``anchors`` are what the checker trusts (:func:`load_anchors`); ``at`` (aware) judges as
    of that moment instead of now; with ``identities`` the policy is held against what is
    encrypted, too.
    """

    fast: bool = False
    second_opinion: bool = False
    policy: Policy | None = None
    anchors: Anchors | None = None
    at: datetime | None = None
    identities: Identities | None = None
    max_expansion: int = MAX_EXPANSION
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """The answer for one bag. ``claims`` in the order of the steps."""

    bag: str
    verdict: Verdict
    claims: tuple[Claim, ...]
    findings: Findings
    facts: BagFacts
    seal: Seal | None = None
    """The signatures and time stamps; None where there are none and none were asked for."""

    @property
    def exit_code(self) -> int:
        """0, 1, 3 or 4 (docs/cli.md)."""
        return EXIT_CODES[self.verdict]

    def raise_for_errors(self) -> None:
        """Raise VerificationError unless the verdict is ``valid`` or ``complete``."""
        if self.exit_code:
            raise VerificationError(
                _("{bag}: {verdict}").format(bag=self.bag, verdict=self.verdict.value),
                report=self,
                exit_code=self.exit_code,
            )


def verify_bag(
    path: str, options: VerifyOptions | None = None, *, progress: Progress | None = None
) -> VerificationReport:
    """Check the bag at ``path``: a directory, ``.tar``, ``.tar.gz`` or ``.zip``.

    Raises UsageError where there is nothing that could hold a bag; everything
    else is in the report.
    """
    options = options or VerifyOptions()
    findings = Findings()
    tree = open_tree(path, findings, max_expansion=options.max_expansion, workers=options.workers)
    try:
        # Steps 1 to 3: structure, complete, fixity.
        facts = check_bag(tree, findings, fast=options.fast, progress=progress)
        seal = _check_seal(tree, facts, options, findings)  # steps 4 to 7
        custody = check_custody(tree, facts, findings)  # step 8
        if options.policy is not None:
            _check_policy(options, tree, facts, seal, findings)  # step 9
    finally:
        tree.close()
    if options.second_opinion:
        _ask_reference(path, findings)  # step 10
    asked = _asked(options, seal, findings)
    if custody:
        asked.add("custody")
    listed = bool(facts.payload_algorithms)
    claims = tuple(_claim(step, asked, findings, listed=listed) for step in STEPS)
    return VerificationReport(
        bag=path,
        verdict=_verdict(claims, altered=findings.has(*_ALTERED), fast=options.fast),
        claims=claims,
        findings=findings,
        facts=facts,
        seal=seal,
    )


def load_anchors(
    *,
    trust: Sequence[str] = (),
    tsa_roots: Sequence[str] = (),
    crls: Sequence[str] = (),
) -> Anchors:
    """What is trusted, from files (see :func:`archiver.verify.anchors.load_anchors`)."""
    from archiver.verify.anchors import load_anchors as load

    return load(trust=trust, tsa_roots=tsa_roots, crls=crls)


def _asked(options: VerifyOptions, seal: Seal | None, findings: Findings) -> set[str]:
    """The steps that are judged. What a fast look finds by the way counts."""
    asked = {"structure", "complete"}
    if not options.fast or findings.outcome("fixity") is not Outcome.HOLDS:
        asked.add("fixity")
    if seal is not None:
        asked |= {"seal-scope"} if seal.sealed else set()
        asked |= {"signature"} if seal.asked_signature else set()
        asked |= {"trust"} if seal.asked_signature and seal.counted else set()
        asked |= {"time"} if seal.asked_time or seal.proven_time else set()
    if options.policy is not None:
        asked.add("policy")
    if options.second_opinion:
        asked.add("second-opinion")
    return asked


def _check_seal(
    tree: BagTree, facts: BagFacts, options: VerifyOptions, findings: Findings
) -> Seal | None:
    """Steps 4 to 7, where there is a seal or somebody asks for one. Nothing is claimed of
    a bag that could only be seen in part, or read by guessing.
    """
    wanted = options.policy.proof if options.policy else ProofPolicy()
    seals = any(facts.info.all(label) for label in ("Archiver-Seal", "Archiver-Time-Stamp"))
    asked = options.anchors is not None or wanted.signatures or wanted.time_stamps
    unseen = tree.cut_short or not facts.payload_algorithms
    if unseen or not (seals or facts.proofs.signatures or asked):
        return None
    from archiver.pki.anchors import Anchors
    from archiver.verify.seal import SealRequest, check_seal

    request = SealRequest(
        anchors=options.anchors or Anchors(),
        now=options.at or datetime.now(UTC),
        signatures=wanted.signatures,
        time_stamps=wanted.time_stamps,
    )
    return check_seal(tree, facts, request, findings)


def _check_policy(
    options: VerifyOptions, tree: BagTree, facts: BagFacts, seal: Seal | None, findings: Findings
) -> None:
    from archiver.verify.policy import check_policy  # only where it is asked for

    assert options.policy is not None
    check_policy(options.policy, tree, facts, seal, findings, options.identities)


def _ask_reference(path: str, findings: Findings) -> None:
    from archiver.bag.reference import ask_reference  # only where it is asked for

    ours = _integrity(findings)
    opinion = ask_reference(path, findings)
    if opinion.valid is None:
        findings.add("U-SEC-002", reason=opinion.reason)
    elif opinion.valid != (ours is Verdict.VALID):
        code = "W-SEC-001" if opinion.valid else "U-SEC-003"
        theirs = "valid" if opinion.valid else "invalid"
        findings.add(code, theirs=theirs, ours=ours.value, reason=opinion.reason)


def _integrity(findings: Findings) -> Verdict:
    outcomes = [findings.outcome(step) for step in _INTEGRITY]
    if Outcome.FAILS in outcomes:
        return Verdict.INVALID
    return Verdict.UNDECIDED if Outcome.UNDECIDED in outcomes else Verdict.VALID


def _claim(step: str, asked: set[str], findings: Findings, *, listed: bool) -> Claim:
    if step not in asked:
        return Claim(name=step, outcome=Outcome.NOT_ASKED)
    outcome = findings.outcome(step)
    if outcome is Outcome.HOLDS and not listed and step in _INTEGRITY[1:]:
        outcome = Outcome.UNDECIDED  # nothing was listed: nothing can be said to be there
    return Claim(name=step, outcome=outcome)


def _verdict(claims: tuple[Claim, ...], *, altered: bool, fast: bool) -> Verdict:
    """The worst wins: not intact, then undecided, then unproven."""
    outcome = {claim.name: claim.outcome for claim in claims}
    if altered or any(outcome[step] is Outcome.FAILS for step in _INTEGRITY):
        return Verdict.INVALID
    if Outcome.UNDECIDED in outcome.values():
        return Verdict.UNDECIDED
    if any(outcome[step] is Outcome.FAILS for step in _PROOF):
        return Verdict.UNPROVEN
    return Verdict.COMPLETE if fast else Verdict.VALID
