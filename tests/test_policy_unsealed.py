"""A policy is held against what is encrypted, by who holds a key; never by who holds none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.describe import DESCRIPTION_PATH, Description
from archiver.describe.description import canonical
from archiver.encrypt import Identities, encrypt_bytes, new_identity, read_identities
from archiver.identify.record import FormatRecord, to_bytes
from archiver.policy import DescribePolicy, FormatPolicy, Policy
from archiver.verify.formats import FORMATS_PATH
from tests.helpers import verify
from tests.policies import SEALED

SEALED_DESCRIPTION, SEALED_FORMATS = DESCRIPTION_PATH + ".age", FORMATS_PATH + ".age"
TITLED = Policy(name="own", describe=DescribePolicy(required=True, any=("title",)))
PICTURES = Policy(name="own", formats=FormatPolicy(accepted=("image/*",)))


@pytest.fixture(scope="module")
def pair() -> tuple[str, Identities]:
    text, recipient = new_identity()
    return recipient, read_identities(text.encode(), "key")


def judged(bag: Path, policy: Policy, identities: Identities | None) -> tuple[str, dict[str, str]]:
    """(outcome, {code: path})."""
    report = verify(bag, policy=policy, identities=identities)
    (outcome,) = (one.outcome.value for one in report.claims if one.name == "policy")
    found = [one for one in report.findings if one.entry.step == "policy"]
    return outcome, {one.code: one.path for one in found}


def written(place: Path, recipient: str, tags: Mapping[str, bytes], **more: Any) -> Path:
    """A sealed bag whose tag files are encrypted for ``recipient``."""
    tags = {SEALED_DESCRIPTION: said(title="a"), **tags}
    sealed = {path: encrypt_bytes(data, [recipient]) for path, data in tags.items()}
    files = {"data/0001.age": encrypt_bytes(b"x", [recipient]), **SEALED.files}
    return replace(SEALED, files=files, **more).with_tags(sealed).write(place / "bag")


def said(**values: Any) -> bytes:
    return Description.checked("video", {"confidentiality": "sealed", **values}).to_bytes()


def records(*outcomes: tuple[str, str]) -> bytes:
    return to_bytes(
        FormatRecord(path=path, outcome="identified", puid="fmt/43", mime=mime)
        for path, mime in outcomes
    )


@pytest.mark.parametrize(
    ("values", "outcome", "codes"),
    [
        ({"title": "a"}, "holds", {}),
        ({}, "fails", {"E-POL-012": SEALED_DESCRIPTION}),
    ],
)
def test_what_is_owed(
    tmp_path: Path,
    pair: tuple[str, Identities],
    values: dict[str, str],
    outcome: str,
    codes: dict[str, str],
) -> None:
    bag = written(tmp_path, pair[0], {SEALED_DESCRIPTION: said(**values)})
    assert judged(bag, TITLED, pair[1]) == (outcome, codes)
    assert judged(bag, TITLED, None) == ("undecided", {"U-POL-013": SEALED_DESCRIPTION})


def test_a_key_of_somebody_else_tells_nothing(tmp_path: Path, pair: tuple[str, Identities]) -> None:
    bag = written(tmp_path, new_identity()[1], {SEALED_DESCRIPTION: said(title="a")})
    assert judged(bag, TITLED, pair[1]) == ("undecided", {"U-POL-013": SEALED_DESCRIPTION})


@pytest.mark.parametrize(
    "data",
    [b"", b"no JSON", b"{}", b"\0" * (3 << 20)],
    ids=["empty", "text", "an object", "a bomb"],
)
def test_ciphertext_of_something_else(
    tmp_path: Path, pair: tuple[str, Identities], data: bytes
) -> None:
    bag = written(tmp_path, pair[0], {SEALED_DESCRIPTION: data})
    assert judged(bag, TITLED, pair[1]) == ("fails", {"E-POL-011": SEALED_DESCRIPTION})


def test_ciphertext_that_was_cut_off(tmp_path: Path, pair: tuple[str, Identities]) -> None:
    whole = encrypt_bytes(said(title="a"), [pair[0]])
    bag = SEALED.with_tags({SEALED_DESCRIPTION: whole[:-7]}).write(tmp_path / "bag")
    assert judged(bag, TITLED, pair[1]) == ("fails", {"E-POL-011": SEALED_DESCRIPTION})


@pytest.mark.parametrize(
    ("mimes", "outcome", "code"),
    [
        (("image/jpeg",), "holds", ""),
        (("application/pdf",), "fails", "E-POL-021"),
        ((), "undecided", "U-POL-022"),
    ],
)
def test_formats(
    tmp_path: Path, pair: tuple[str, Identities], mimes: tuple[str, ...], outcome: str, code: str
) -> None:
    """The records are of the files before; the list and the identity were none."""
    data = records(*(("data/0001.age", one) for one in mimes))
    bag = written(tmp_path, pair[0], {SEALED_FORMATS: data})
    told, found = judged(bag, PICTURES, pair[1])
    assert (told, set(found)) == (outcome, {code} - {""})
    assert judged(bag, PICTURES, None) == ("undecided", {"U-POL-024": FORMATS_PATH})


def test_a_record_of_what_is_not_there(tmp_path: Path, pair: tuple[str, Identities]) -> None:
    data = records(("data/0001.age", "image/png"), ("data/0002.age", "image/png"))
    bag = written(tmp_path, pair[0], {SEALED_FORMATS: data})
    assert judged(bag, PICTURES, pair[1]) == ("undecided", {"U-POL-022": "data/0002.age"})


@pytest.mark.parametrize("data", [b"", b"7\n", json.dumps({"schema": "x"}).encode() + b"\n"])
def test_records_that_are_none(tmp_path: Path, pair: tuple[str, Identities], data: bytes) -> None:
    bag = written(tmp_path, pair[0], {SEALED_FORMATS: data})
    outcome, _codes = judged(bag, PICTURES, pair[1])
    assert outcome in ("fails", "undecided")
    assert outcome == "fails" or not data


def test_that_there_is_one_can_t_be_told_without_a_key(
    tmp_path: Path, pair: tuple[str, Identities]
) -> None:
    """Whatever an age header stands before may be anything."""
    wanted = Policy(name="own", describe=DescribePolicy(required=True))
    bag = written(tmp_path, pair[0], {})
    assert judged(bag, wanted, pair[1]) == ("holds", {})
    assert judged(bag, wanted, None) == ("undecided", {"U-POL-013": SEALED_DESCRIPTION})


@pytest.mark.parametrize("which", ["true", "exchanged", "left out", "no list", "no key", "cut"])
def test_only_what_the_list_of_files_tells_of_counts(
    tmp_path: Path, pair: tuple[str, Identities], which: str
) -> None:
    """Whoever knows a recipient can encrypt for it: a description that was exchanged, or another
    statement's, says nothing of this item.
    """
    cipher = encrypt_bytes(said(title="a"), [pair[0]])
    other = encrypt_bytes(said(title="another"), [pair[0]])
    others = {SEALED_DESCRIPTION: hashlib.sha256(cipher).hexdigest()}
    if which == "left out":
        others = {}
    data = canonical(
        {
            "schema": "archiver/statement-files/1",
            "case": "c",
            "files": [],
            "others": {**others, "data/identity.age": "0" * 64},
            "witness_code": "",
        }
    )
    if which == "no list":
        data = canonical({"schema": "archiver/statement-files/1", "others": []})
    key = new_identity()[1] if which == "no key" else pair[0]
    listed = encrypt_bytes(data, [key])[: -3 if which == "cut" else None]
    files = {**SEALED.files, "data/files.json.age": listed}
    tags = {SEALED_DESCRIPTION: other if which == "exchanged" else cipher}
    bag = replace(SEALED, files=files).with_tags(tags).write(tmp_path / "bag")
    good = which in ("true", "no key")
    expected = ("holds", {}) if good else ("fails", {"E-POL-011": SEALED_DESCRIPTION})
    assert judged(bag, TITLED, pair[1]) == expected
