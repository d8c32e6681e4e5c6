"""Bags that are made to satisfy a policy which they break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archiver.custody import CUSTODY_PATH
from archiver.describe import DESCRIPTION_PATH
from archiver.identify import FormatRecord, to_bytes
from archiver.policy import EncryptionPolicy, FormatPolicy, Policy, load_policy
from archiver.verify.formats import FORMATS_PATH
from tests.policies import (
    OPEN,
    SEALED,
    TALKING,
    age_file,
    described,
    formats,
    in_clear,
    judged,
    mp4,
    scanned,
    unproved,
)

VIDEOS = replace(
    Policy(name="v", description=""), formats=FormatPolicy(accepted=("video/*", "x-fmt/2*"))
)
SECRET = unproved(load_policy("statement"))


def test_what_our_own_records_say_is_understood(tmp_path: Path) -> None:
    one = FormatRecord(path="data/a.mp4", outcome="identified", puid="fmt/199", mime="video/mp4")
    bag = OPEN.with_tags({FORMATS_PATH: to_bytes([one])}).write(tmp_path / "b")
    assert judged(VIDEOS, bag) == ("holds", set())


def test_records_of_files_that_are_not_there_prove_nothing(tmp_path: Path) -> None:
    lines = formats(mp4(), mp4("data/A.mp4"))
    bag = OPEN.with_tags({FORMATS_PATH: lines}).write(tmp_path / "b")
    assert judged(VIDEOS, bag) == ("undecided", {"U-POL-022"})


def test_a_file_with_two_records_is_judged_by_both(tmp_path: Path) -> None:
    lines = formats(mp4(puid="fmt/899", mime="application/x-msdownload"), mp4())
    bag = OPEN.with_tags({FORMATS_PATH: lines}).write(tmp_path / "b")
    assert judged(VIDEOS, bag) == ("fails", {"E-POL-021"})


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (FORMATS_PATH, formats(mp4())),
        ("metadata/description.toml", b'title = "Xochiquetzal"\n'),
        (DESCRIPTION_PATH + ".age", b"age-encryption.org/v1\nXochiquetzal"),
    ],
)
def test_nothing_that_is_said_of_what_is_secret_may_stand_in_clear(
    tmp_path: Path, name: str, data: bytes
) -> None:
    bag = SEALED.with_tags({name: data}).write(tmp_path / "b")
    outcome, codes = judged(SECRET, bag)
    assert outcome == "fails", codes


def test_a_clear_statement_is_secret_until_somebody_says_otherwise(tmp_path: Path) -> None:
    policy = replace(SECRET, encryption=EncryptionPolicy(payload="secret"))
    data = described("statement", confidentiality=None)
    bag = TALKING.with_tags({DESCRIPTION_PATH: data}).write(tmp_path / "b")
    outcome, codes = judged(policy, bag)
    assert (outcome, "E-POL-014" in codes) == ("fails", True)


def test_two_scans_of_which_one_was_none(tmp_path: Path) -> None:
    policy = in_clear(unproved(load_policy("evidence")))
    policy = replace(policy, scan=replace(policy.scan, required=True))
    for results, outcome, worked in (
        (("clean",), "success", True),
        (("clean",), "failure", False),
        (("clean", "not scanned"), "success", False),
        (("CLEAN",), "success", False),
        (("clean ",), "success", False),
    ):
        tags = {CUSTODY_PATH: scanned(*results, outcome=outcome)}
        bag = OPEN.with_tags(tags).write(tmp_path / f"{outcome}{'-'.join(results)}")
        assert (judged(policy, bag)[0] == "holds") == worked, results


def test_descriptions_by_other_names_are_none(tmp_path: Path) -> None:
    policy = in_clear(unproved(load_policy("evidence")))
    for name in ("metadata/Description.json", "metadata/description.JSON", "description.json"):
        tags = {DESCRIPTION_PATH: None, name: described("video")}
        bag = OPEN.with_tags(tags).write(tmp_path / name.replace("/", "-"))
        assert judged(policy, bag)[0] == "fails", name
    tags = {DESCRIPTION_PATH + ".age": age_file()}
    bag = OPEN.with_tags(tags).write(tmp_path / "both")
    assert judged(policy, bag)[0] == "fails"
