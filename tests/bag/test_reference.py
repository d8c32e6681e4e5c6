"""The Library of Congress library as a second opinion."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from archiver.bag import reference as subject
from archiver.bag.reference import Opinion, ask_reference
from archiver.findings import Findings
from archiver.verify import Verdict, VerificationReport, VerifyOptions, verify_bag
from tests.bag.archives import ASCII, END, bag, in_base, raw_tar, write_tree


def asked(path: Path) -> VerificationReport:
    return verify_bag(str(path), VerifyOptions(second_opinion=True, workers=0))


def test_both_agree(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "bag", bag())
    report = asked(path)
    assert (report.verdict, len(report.findings)) == (Verdict.VALID, 0)
    (path / "data/a.txt").write_bytes(b"alphA\n")
    report = asked(path)
    assert set(report.findings.counts) == {"E-BAG-200"}


def test_a_stray_file_both_notice(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "bag", bag())
    (path / "data/stray\x1b[2J").write_bytes(b"")
    opinion = ask_reference(str(path), Findings())
    assert opinion.valid is False
    assert opinion.reason


def test_theirs_is_milder(tmp_path: Path) -> None:
    """An algorithm it doesn't know is passed over there; here it can't be decided."""
    files = bag() | {"manifest-sha999.txt": b""}
    report = asked(write_tree(tmp_path / "bag", files))
    assert report.verdict is not Verdict.VALID
    assert set(report.findings.counts) & {"W-SEC-001", "U-SEC-002"} or "U-SEC-003" not in set(
        report.findings.counts
    )


def test_theirs_is_stricter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tree(tmp_path / "bag", bag())
    monkeypatch.setattr(subject, "ask_reference", lambda *_given: Opinion(False, "they say so"))
    report = asked(path)
    assert report.verdict is Verdict.UNDECIDED
    assert report.findings.has("U-SEC-003")


def test_what_is_unsafe_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: pytest.fail("was asked"))
    path = write_tree(tmp_path / "bag", bag())
    os.mkfifo(path / "data/pipe")
    report = asked(path)
    assert report.findings.has("U-SEC-002")
    for code in subject._UNSAFE:
        findings = Findings()
        findings.add(code, "x", manifest="m", line=1, kind="pipe", limit=1)
        assert ask_reference(str(path), findings).valid is None


def test_archives_are_not_for_it(tmp_path: Path) -> None:
    path = tmp_path / "bag.tar"
    path.write_bytes(raw_tar(in_base(bag(ASCII))) + END)
    report = asked(path)
    assert report.verdict is Verdict.UNDECIDED
    assert "directories only" in next(iter(report.findings)).message


@pytest.mark.parametrize(
    ("out", "err", "reason"),
    [
        (b"", b"Traceback\nModuleNotFoundError: no bagit\n", "ModuleNotFoundError: no bagit"),
        (b"", b"", "without an answer"),
        (b"[]", b"", "without an answer"),
        (b"{}", b"x", "x"),
        (b"\xff", b"\xff", "\ufffd"),
    ],
)
def test_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: bytes, err: bytes, reason: str
) -> None:
    done = SimpleNamespace(stdout=out, stderr=err)
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: done)
    monkeypatch.delattr(os, "sched_getaffinity")
    opinion = ask_reference(str(tmp_path), Findings())
    assert opinion.valid is None
    assert reason in opinion.reason


def test_it_is_given_a_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def run(*_given: object, **options: object) -> object:
        seen.update(options)
        return subprocess.CompletedProcess([], 0, b"{}", b"")

    monkeypatch.setattr(subprocess, "run", run)
    ask_reference(str(tmp_path), Findings())
    assert seen.get("timeout")
