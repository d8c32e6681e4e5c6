"""The words for verdicts, claims and outcomes.

Job: one table, so that every command says the same thing the same way.
"""

from __future__ import annotations

from archiver.cli.output import count_files, human_size
from archiver.findings import Claim, Outcome
from archiver.i18n import N_, _
from archiver.verify import VerificationReport

__all__ = ["LIMITS", "VERDICTS", "WEAKNESSES", "claim_lines"]

VERDICTS = {
    "valid": N_("VALID"),
    "complete": N_("COMPLETE (no checksum was read)"),
    "invalid": N_("INVALID: the bag is not intact"),
    "undecided": N_("UNDECIDED: it can't be told whether the bag is intact"),
    "unproven": N_("UNPROVEN: intact, but something that was asked for is missing"),
}
_OUTCOMES = {
    Outcome.HOLDS: N_("holds"),
    Outcome.FAILS: N_("fails"),
    Outcome.UNDECIDED: N_("undecided"),
}
_CLAIMS = {
    "structure": N_("structure"),
    "complete": N_("complete"),
    "fixity": N_("fixity"),
    "seal-scope": N_("sealed scope"),
    "signature": N_("signature"),
    "trust": N_("trust"),
    "time": N_("time"),
    "custody": N_("custody"),
    "policy": N_("policy"),
    "second-opinion": N_("second opinion"),
}
LIMITS = {
    "fast": N_("No checksum was read: a changed file of the same size would not be noticed."),
    "unsigned": N_(
        "Not proved: who made this bag and when. No signature was checked, and whoever"
        " changes a file can also change its checksum."
    ),
}
WEAKNESSES = {
    "rename": N_("this file system has no rename that never replaces; a plain one was used"),
    "modes": N_("this file system keeps no permissions: the bag is not read-only"),
    "times": N_("this file system keeps times coarsely; the side-car has them exactly"),
}
_WIDTH = 15


def claim_lines(report: VerificationReport) -> list[str]:
    """A line for each claim that was judged, and one for all that weren't asked."""
    lines = [_line(one, report) for one in report.claims if one.outcome is not Outcome.NOT_ASKED]
    rest = [_(_CLAIMS[one.name]) for one in report.claims if one.outcome is Outcome.NOT_ASKED]
    if rest:
        lines.append(_("not asked: {claims}").format(claims=", ".join(rest)))
    return lines


def _line(claim: Claim, report: VerificationReport) -> str:
    line = f"{_(_CLAIMS[claim.name]):<{_WIDTH}} {_(_OUTCOMES[claim.outcome])}"
    return f"{line:<{_WIDTH + 12}} {_basis(claim, report)}".rstrip()


def _basis(claim: Claim, report: VerificationReport) -> str:
    facts = report.facts
    if claim.name == "structure" and facts.declaration is not None:
        return f"BagIt {facts.declaration.version_text}"
    if claim.name == "complete":
        return f"{count_files(facts.payload_files)}, {human_size(facts.payload_bytes)}"
    if claim.name == "fixity":
        return ", ".join(facts.payload_algorithms)
    return ""
