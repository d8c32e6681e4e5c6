"""Findings: codes, severities, texts, limits; what they say of a step."""

import re
import string

import pytest

from archiver import findings as module
from archiver.errors import ArchiverError
from archiver.findings import Claim, Finding, Findings, Outcome, Severity, VerificationError
from archiver.findings.catalogue import CATALOGUE, STEPS


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_entry_is_whole(code: str) -> None:
    entry = CATALOGUE[code]
    assert re.fullmatch(r"[EUW]-[A-Z]+-[0-9]{3}", code)
    assert entry.step in (*STEPS, "source")
    names = {
        name for _text, name, _spec, _conversion in string.Formatter().parse(entry.message) if name
    }
    finding = Finding(code=code, path="p", details=tuple((name, "{x}") for name in names))
    assert finding.message.count("{x}") >= len(names)
    assert finding.reference == entry.reference
    assert finding.entry is entry


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        ("E-BAG-001", Severity.ERROR),
        ("U-BAG-005", Severity.UNDECIDED),
        ("W-BAG-024", Severity.WARNING),
    ],
)
def test_the_first_letter_is_the_severity(code: str, severity: Severity) -> None:
    assert Finding(code=code).severity is severity


def test_there_are_no_other_codes() -> None:
    with pytest.raises(ValueError, match="E-XXX-000"):
        Finding(code="E-XXX-000")


def test_findings_are_counted_and_kept_in_order() -> None:
    findings = Findings()
    findings.add("E-BAG-101", "b")
    findings.add("W-BAG-037", "a", manifest="m", line=3)
    findings.add("E-BAG-101", "a")
    assert [finding.path for finding in findings] == ["b", "a", "a"]
    assert findings.counts == {"E-BAG-101": 2, "W-BAG-037": 1}
    assert (len(findings), findings.not_kept()) == (3, 0)
    assert findings.has("E-BAG-007", "W-BAG-037")
    assert not findings.has("E-BAG-007")
    assert "m line 3" in list(findings)[1].message


def test_the_first_of_each_code_are_kept_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_FINDINGS_PER_CODE", 3)
    findings = Findings()
    for number in range(10):
        findings.add("E-BAG-101", str(number))
    findings.add("E-BAG-007")
    assert [finding.path for finding in findings] == ["0", "1", "2", ""]
    assert (len(findings), findings.not_kept()) == (11, 7)
    assert findings.outcome("complete") is Outcome.FAILS


@pytest.mark.parametrize(
    ("codes", "outcome"),
    [
        ((), Outcome.HOLDS),
        (("W-BAG-108",), Outcome.HOLDS),
        (("U-BAG-110",), Outcome.UNDECIDED),
        (("U-BAG-110", "E-BAG-101", "W-BAG-108"), Outcome.FAILS),
        (("E-BAG-001", "U-BAG-201"), Outcome.HOLDS),
    ],
)
def test_a_step_s_outcome(codes: tuple[str, ...], outcome: Outcome) -> None:
    findings = Findings()
    for code in codes:
        findings.add(code)
    assert findings.outcome("complete") is outcome


def test_a_claim_holds_what_stands_behind_it() -> None:
    claim = Claim(name="fixity", outcome=Outcome.HOLDS)
    assert (claim.detail, claim.data) == ("", {})


def test_a_verification_error_carries_the_report() -> None:
    error = VerificationError("no", report="the report", exit_code=3, hint="look")
    assert isinstance(error, ArchiverError)
    assert (error.report, error.exit_code, error.message, error.hint) == (
        "the report",
        3,
        "no",
        "look",
    )
