"""The words for verdicts, claims and outcomes.

Job: one table, so that every command says the same thing the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.cli.output import count_files, human_size
from archiver.findings import Claim, Outcome
from archiver.i18n import N_, _
from archiver.verify import Verdict, VerificationReport

if TYPE_CHECKING:
    from archiver.verify.seal import Seal

__all__ = [
    "HINTS",
    "LIMITS",
    "VERDICTS",
    "WEAKNESSES",
    "claim_lines",
    "proven_line",
    "signature_lines",
    "verdict_text",
]

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
_CANT_TELL = N_("UNDECIDED: intact, but something that was asked for can't be told")
LIMITS = {
    "fast": N_("No checksum was read: a changed file of the same size would not be noticed."),
    "unsigned": N_(
        "Not proved: who made this bag and when. No signature was checked, and whoever"
        " changes a file can also change its checksum."
    ),
    "revocation": N_(
        "Not proved: that the signer's key had not been revoked (no trust list and no revocation"
        " list was given)."
    ),
    "sealed": N_(
        "Not proved: that what the files show is true, nor that no other version was kept."
    ),
    "sealed-undated": N_(
        "Not proved: when it was signed (no trusted time stamp was checked), that what the files"
        " show is true, nor that no other version was kept."
    ),
}
_DESCRIBE = N_(
    "Describe it when it is packed (--describe FILE.toml), or an item of a vault later:"
    " archiver describe ID."
)
HINTS = {
    "E-TRU-002": N_(
        "Name whom you trust, with a certificate you have from outside of the bag: --trust ca.pem"
        " (or --trust sha256:... with the fingerprint that you were told)."
    ),
    "E-TRU-001": N_("Ask who signed it for their CA's certificate, and compare its fingerprint."),
    "E-TRU-003": N_(
        "Somebody made a CA of the same name. Compare its fingerprint with the one you were told."
    ),
    "E-TRU-004": N_("A trusted time stamp from before the end would help: --tsa-root FILE."),
    "E-TRU-005": N_(
        "Only a trusted time stamp from before the revocation would help. Is there another"
        " signature, or another copy?"
    ),
    "E-TRU-006": N_("Get the newest trust list, and compare its CA's fingerprint."),
    "E-POL-002": N_("Add a signature: archiver bag sign BAG --key NAME."),
    "E-POL-010": _DESCRIBE,
    "E-POL-012": _DESCRIBE,
    "E-POL-040": N_("Take statements with 'archiver statement new'; it encrypts before it packs."),
    "E-POL-003": N_("Get a time stamp: archiver bag timestamp BAG --tsa URL; name its root."),
    "U-TRU-007": N_("Name the certificate of the revocation list's issuer with --trust."),
    "E-SIG-001": N_("Get a sealed copy, or sign the bag: archiver bag sign BAG --key NAME."),
    "E-SIG-002": N_("Look for another copy of the bag: signatures/ was lost or taken away."),
    "E-TIM-002": N_("Send the request: archiver bag timestamp BAG --tsa URL."),
    "E-TIM-001": N_("Get a time stamp now: archiver bag timestamp BAG --tsa URL."),
    "E-TIM-003": N_("Name the TSA's root certificate: --tsa-root FILE."),
}
"""The next step where a proof is missing, by finding."""
WEAKNESSES = {
    "rename": N_("this file system has no rename that never replaces; a plain one was used"),
    "modes": N_("this file system keeps no permissions: the bag is not read-only"),
    "times": N_("this file system keeps times coarsely; the side-car has them exactly"),
}
_STANDINGS = {
    "trusted": N_("trusted"),
    "unknown": N_("unknown signer"),
    "same-name": N_("unknown signer, of a CA with a trusted name"),
    "not-listed": N_("not on the trust list"),
    "expired": N_("not valid then"),
    "revoked": N_("revoked"),
    "undecided": N_("can't be told"),
}
_WIDTH = 15


def verdict_text(report: VerificationReport) -> str:
    """The whole answer in a line. What a policy asks can be undecided of a bag that is intact."""
    whole = {
        one.outcome for one in report.claims if one.name in ("structure", "complete", "fixity")
    }
    if report.verdict is Verdict.UNDECIDED and whole == {Outcome.HOLDS}:
        return _(_CANT_TELL)
    return _(VERDICTS[report.verdict.value])


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
    if report.seal is not None:
        return _proof_basis(claim.name, report.seal)
    return ""


def _proof_basis(step: str, seal: Seal) -> str:
    """What stands behind a claim of the seal; names are those of certificates."""
    counted = seal.counted
    if step == "signature":
        return ", ".join(f"{one.signer} ({one.fingerprint[:16]})" for one in counted)
    if step == "trust":
        return ", ".join(dict.fromkeys(one.trust.anchor for one in counted if one.trust))
    if step == "time":
        times = (one.proven_at for one in counted if one.proven_at)
        return ", ".join(dict.fromkeys(time.isoformat(" ", "seconds") for time in times))
    return ""


def signature_lines(report: VerificationReport) -> list[str]:
    """A line for each signature that holds beside those that decide."""
    if report.seal is None:
        return []
    counted = {one.file for one in report.seal.counted}
    others = [one for one in report.seal.signatures if one.holds and one.file not in counted]
    return [
        _("also signed by {name} ({fingerprint}): {standing}, {time}").format(
            name=one.signer,
            fingerprint=one.fingerprint[:16],
            standing=_(_STANDINGS[one.trust.standing.value]) if one.trust else "",
            time=one.proven_at.isoformat(" ", "seconds") if one.proven_at else _("not dated"),
        )
        for one in others
    ]


def proven_line(seal: Seal) -> str:
    """What a sealed bag proves, in one sentence."""
    names = ", ".join(dict.fromkeys(one.signer for one in seal.counted))
    times = [one.proven_at for one in seal.counted if one.proven_at]
    if not seal.proven_time:
        return _("Proved: not a byte was changed since {names} signed it.").format(names=names)
    return _("Proved: not a byte was changed since {time}, when {names} had signed it.").format(
        time=max(times).isoformat(" ", "seconds"), names=names
    )
