"""One bag, checked from end to end: the numbered steps and one verdict.

Job: run the steps of docs/verification.md and say of each claim whether it
holds, fails, can't be decided or wasn't asked. Limits: no vault, no network,
writes nothing.

From Python::

    from archiver.verify import verify_bag
    report = verify_bag("case-001")
    print(report.verdict, [finding.message for finding in report.findings])
    report.raise_for_errors()
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from archiver.bag.opening import MAX_EXPANSION, open_tree
from archiver.bag.progress import Progress
from archiver.bag.validate import BagFacts, check_bag
from archiver.findings import Claim, Findings, Outcome, VerificationError
from archiver.findings.catalogue import STEPS
from archiver.i18n import _
from archiver.policy import Policy

__all__ = ["Verdict", "VerificationReport", "VerifyOptions", "verify_bag"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What to check, and within which limits (docs/verification.md)."""

    fast: bool = False
    second_opinion: bool = False
    policy: Policy | None = None
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
    finally:
        tree.close()
    _check_seal(facts, findings)  # steps 4 to 8
    if options.policy is not None:
        _check_policy(options.policy, facts, findings)  # step 9
    asked = [*_INTEGRITY]
    if options.fast:
        asked.remove("fixity")
    if findings.has("U-SEAL-001"):
        asked.append("seal-scope")
    if options.policy is not None:
        asked.append("policy")
    if options.second_opinion:
        _ask_reference(path, findings)  # step 10
        asked.append("second-opinion")
    listed = bool(facts.payload_algorithms)
    claims = tuple(_claim(step, asked, findings, listed=listed) for step in STEPS)
    verdict = _verdict(claims, fast=options.fast)
    return VerificationReport(
        bag=path, verdict=verdict, claims=claims, findings=findings, facts=facts
    )


def _check_seal(facts: BagFacts, findings: Findings) -> None:
    """A declared seal is never passed over in silence."""
    for label in ("Archiver-Seal", "Archiver-Time-Stamp"):
        for value in facts.info.all(label):
            findings.add("U-SEAL-001", _info_file(facts), seal=f"{label}: {value}")


def _info_file(facts: BagFacts) -> str:
    return facts.declaration.info_file if facts.declaration else "bag-info.txt"


def _check_policy(policy: Policy, facts: BagFacts, findings: Findings) -> None:
    for algorithm in policy.bag.algorithms:
        if algorithm not in facts.payload_algorithms:
            findings.add("E-POL-001", policy=policy.name, algorithm=algorithm)


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


def _claim(step: str, asked: list[str], findings: Findings, *, listed: bool) -> Claim:
    if step not in asked:
        return Claim(name=step, outcome=Outcome.NOT_ASKED)
    outcome = findings.outcome(step)
    if outcome is Outcome.HOLDS and not listed and step in _INTEGRITY[1:]:
        outcome = Outcome.UNDECIDED  # nothing was listed: nothing can be said to be there
    return Claim(name=step, outcome=outcome)


def _verdict(claims: tuple[Claim, ...], *, fast: bool) -> Verdict:
    """The worst wins: not intact, then undecided, then unproven."""
    outcome = {claim.name: claim.outcome for claim in claims}
    if any(outcome[step] is Outcome.FAILS for step in _INTEGRITY):
        return Verdict.INVALID
    if Outcome.UNDECIDED in outcome.values():
        return Verdict.UNDECIDED
    if any(outcome[step] is Outcome.FAILS for step in _PROOF):
        return Verdict.UNPROVEN
    return Verdict.COMPLETE if fast else Verdict.VALID
