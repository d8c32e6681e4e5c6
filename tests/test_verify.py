"""One bag from end to end: claims, verdicts, exit codes, the second opinion."""

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from archiver.bag.reference import Opinion, ask_reference
from archiver.errors import UsageError
from archiver.findings import Claim, Findings, Outcome, VerificationError
from archiver.findings.catalogue import STEPS
from archiver.policy import BagPolicy, Policy
from archiver.verify import Verdict, verify_bag
from archiver.verify import _verdict as verdict_of
from tests.helpers import Bag, codes, run, verify

CLAIMED = {"structure": "holds", "complete": "holds", "fixity": "holds"}


def claims(report_claims: tuple[Claim, ...]) -> dict[str, str]:
    return {
        one.name: one.outcome.value for one in report_claims if one.outcome.value != "not-asked"
    }


def sealed(label: str, base: Path) -> Path:
    return Bag(info=f"{label}: required\n").write(base)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Bag(algorithms=("sha256", "sha512")).write(tmp_path / "bag")


def test_a_sound_bag(base: Path) -> None:
    report = verify_bag(str(base))
    assert report.bag == str(base)
    assert (report.verdict, report.exit_code) == (Verdict.VALID, 0)
    assert [one.name for one in report.claims] == list(STEPS)
    assert claims(report.claims) == CLAIMED
    report.raise_for_errors()


def test_fast_says_complete_and_claims_no_fixity(base: Path) -> None:
    (base / "data/a.txt").write_bytes(b"ALPHA\n")
    report = verify(base, fast=True)
    assert (report.verdict, report.exit_code) == (Verdict.COMPLETE, 0)
    assert claims(report.claims) == {"structure": "holds", "complete": "holds"}
    report.raise_for_errors()


def test_a_broken_bag_raises_with_its_report(base: Path) -> None:
    (base / "data/a.txt").write_bytes(b"ALPHA\n")
    report = verify(base)
    with pytest.raises(VerificationError, match="invalid") as caught:
        report.raise_for_errors()
    assert (caught.value.report, caught.value.exit_code) == (report, 1)


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("Archiver-Seal", "E-SIG-006"),
        ("archiver-SEAL", "E-SIG-006"),
        ("Archiver-Time-Stamp", "E-SIG-001"),
    ],
)
@pytest.mark.parametrize("fast", [True, False])
def test_a_declared_seal_is_never_passed_over(
    label: str, code: str, fast: bool, tmp_path: Path
) -> None:
    report = verify(sealed(label, tmp_path / "bag"), fast=fast)
    assert (report.verdict, report.exit_code) == (Verdict.UNPROVEN, 4)
    assert claims(report.claims)["signature"] == "fails"
    assert code in codes(report.findings)


@pytest.mark.parametrize(
    "info", ["Archiver-Seal: \n", "A: b\nArchiver-Seal: a\nArchiver-Seal: b\n"]
)
def test_seals_however_declared(info: str, tmp_path: Path) -> None:
    assert verify(Bag(info=info).write(tmp_path / "bag")).exit_code == 4


def test_a_broken_bag_with_a_seal_is_broken(tmp_path: Path) -> None:
    base = sealed("Archiver-Seal", tmp_path / "bag")
    (base / "data/a.txt").unlink()
    assert verify(base).exit_code == 1


def test_a_seal_without_a_declaration_file(tmp_path: Path) -> None:
    base = sealed("Archiver-Seal", tmp_path / "bag")
    (base / "bagit.txt").unlink()
    report = verify(base)
    assert report.exit_code == 1
    assert "E-SIG-006" in codes(report.findings)


@pytest.mark.parametrize(
    ("algorithms", "code"),
    [(("sha512",), 0), (("sha256", "sha512"), 0), (("sha384",), 4), (("sha512", "md5"), 4)],
)
def test_policy(algorithms: tuple[str, ...], code: int, base: Path) -> None:
    policy = Policy(name="mine", bag=BagPolicy(algorithms=algorithms))
    report = verify(base, policy=policy)
    assert report.exit_code == code
    assert claims(report.claims)["policy"] == ("fails" if code else "holds")
    assert report.findings.has("E-POL-001") is bool(code)


def test_a_tag_manifest_does_not_satisfy_a_policy(tmp_path: Path) -> None:
    base = Bag(algorithms=("sha256",), tag_algorithms=("sha512",)).write(tmp_path / "bag")
    policy = Policy(name="mine", bag=BagPolicy(algorithms=("sha512",)))
    assert verify(base, policy=policy).verdict is Verdict.UNPROVEN


@pytest.mark.parametrize("outcomes", list(itertools.product(Outcome, repeat=3)))
@pytest.mark.parametrize("fast", [True, False])
def test_the_worst_claim_is_the_verdict(outcomes: tuple[Outcome, ...], fast: bool) -> None:
    given = dict(zip(("complete", "trust", "second-opinion"), outcomes, strict=True))
    claimed = tuple(Claim(name=step, outcome=given.get(step, Outcome.HOLDS)) for step in STEPS)
    intact, trusted, _second = outcomes
    if intact is Outcome.FAILS:
        expected = Verdict.INVALID
    elif Outcome.UNDECIDED in outcomes:
        expected = Verdict.UNDECIDED
    elif trusted is Outcome.FAILS:
        expected = Verdict.UNPROVEN
    else:
        expected = Verdict.COMPLETE if fast else Verdict.VALID
    assert verdict_of(claimed, altered=False, fast=fast) is expected
    assert verdict_of(claimed, altered=True, fast=fast) is Verdict.INVALID


@pytest.mark.parametrize("name", ["nothing", "file", "pipe"])
def test_what_can_hold_no_bag_is_a_wrong_argument(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError):
        verify(tmp_path / name)
    assert run(capsys, "bag", "verify", tmp_path / name).code == 2


def test_several_bags_the_worst_counts(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unproven = sealed("Archiver-Seal", tmp_path / "sealed")
    undecided = Bag(algorithms=("sha512", "whirlpool")).write(tmp_path / "undecided")
    assert run(capsys, "bag", "verify", base, unproven).code == 4
    assert run(capsys, "bag", "verify", base, unproven, undecided).code == 3
    assert run(capsys, "bag", "verify", base, tmp_path / "nothing").code == 2
    assert run(capsys, "bag", "verify", tmp_path, undecided, base).code == 1


def test_the_answer_in_json(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "bag", "verify", "--json", base).json
    assert (answer["verdict"], answer["findings"]) == ("valid", [])


# -- the second opinion


def test_both_agree(base: Path) -> None:
    report = verify(base, second_opinion=True)
    assert report.verdict is Verdict.VALID
    assert claims(report.claims) == {**CLAIMED, "second-opinion": "holds"}


def test_both_agree_that_it_is_broken(base: Path) -> None:
    (base / "data/a.txt").write_bytes(b"ALPHA\n")
    report = verify(base, second_opinion=True)
    assert report.verdict is Verdict.INVALID
    assert not any(code.startswith(("W-SEC", "U-SEC")) for code in codes(report.findings))


def test_the_library_accepts_what_we_refuse(tmp_path: Path) -> None:
    base = Bag(info="A:b\n").write(tmp_path / "bag")
    report = verify(base, second_opinion=True)
    assert report.verdict is Verdict.INVALID
    assert "W-SEC-001" in codes(report.findings)


def test_the_library_refuses_what_we_accept(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Opinion(False, "because")
    monkeypatch.setattr("archiver.bag.reference.ask_reference", lambda *_: refusal)
    report = verify(base, second_opinion=True)
    assert (report.verdict, report.exit_code) == (Verdict.UNDECIDED, 3)
    assert "U-SEC-003" in codes(report.findings)
    assert any("because" in one.message for one in report.findings)


def test_fast_and_the_library_finds_a_change(base: Path) -> None:
    (base / "data/a.txt").write_bytes(b"ALPHA\n")
    report = verify(base, second_opinion=True, fast=True)
    assert report.verdict is Verdict.UNDECIDED
    assert "U-SEC-003" in codes(report.findings)


@pytest.mark.parametrize("kind", ["pipe", "link-out", "way-out"])
def test_nothing_unsafe_is_shown_to_the_library(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = Bag()
    if kind == "way-out":
        bag.edit("manifest-sha512.txt", lambda data: data + b"0" * 128 + b"  ../../x\n")
    base = bag.write(tmp_path / "bag")
    if kind == "pipe":
        os.mkfifo(base / "data/pipe")
    if kind == "link-out":
        os.symlink("/etc/passwd", base / "data/link")
    monkeypatch.setattr(subprocess, "run", None)
    report = verify(base, second_opinion=True)
    assert report.verdict is Verdict.INVALID
    assert "U-SEC-002" in codes(report.findings)


def test_the_library_reads_no_archives(tmp_path: Path) -> None:
    assert ask_reference(str(tmp_path / "x.zip"), Findings()).valid is None


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b"no json"])
def test_an_answer_that_is_none(answer: bytes, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, answer, b"x\nImportError: no bagit\n")
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: done)
    assert ask_reference(str(base), Findings()) == Opinion(None, "ImportError: no bagit")
