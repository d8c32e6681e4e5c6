"""Every rule of every policy that ships: a bag that keeps it, and one that doesn't."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.custody import CUSTODY_PATH
from archiver.describe import DESCRIPTION_PATH, KINDS, Description, fields_of
from archiver.describe.owed import checked_policy
from archiver.pki.anchors import Anchors
from archiver.pki.certificates import Certificate, read_certificates
from archiver.policy import DescribePolicy, FormatPolicy, Policy, ScanPolicy, load_policy
from archiver.seal.plain import PlainSourceError, refuse_plain
from archiver.verify import Verdict
from archiver.verify.formats import FORMATS_PATH
from archiver.verify.policy import IDENTITY_PATH, find_owed
from tests.helpers import Bag, verify
from tests.policies import (
    OPEN,
    SCANNED,
    SEALED,
    TALKING,
    Kit,
    age_file,
    described,
    formats,
    in_clear,
    judged,
    mp4,
    scanned,
    unproved,
)
from tests.sealing import Office, check, demo_tsa, found, make_source, outcome, seal

SEALED_DESCRIPTION = DESCRIPTION_PATH + ".age"


@pytest.fixture(scope="module")
def second_tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with demo_tsa().Tsa(tmp_path_factory.mktemp("tsa2")) as running:
        yield running


# -- the policies themselves


def test_which_policies_ship_and_that_they_say_what_they_are_for() -> None:
    policies = {
        name: checked_policy(name)
        for name in ("default", "evidence", "statement", "video", "court")
    }
    assert all(one.description for one in policies.values())
    assert policies["court"].keep.replicas == 2
    assert policies["court"].audit.every_days == 30
    assert policies["court"].proof.time_stamps == 2
    assert policies["statement"].encryption.payload == "always"


@pytest.mark.parametrize("name", ["evidence", "statement", "video", "court"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_marked_as_required_is_owed(name: str, kind: str) -> None:
    wanted = checked_policy(name).describe.wanted(kind)
    assert set(Description(kind=kind).required()) <= set(wanted)
    if name == "evidence":
        assert set(Description(kind=kind).required()) == set(wanted)


def test_default_is_what_is_built_in() -> None:
    shipped, built_in = load_policy("default"), Policy(name="default")
    for one in dataclasses.fields(Policy):
        if one.name != "description":
            assert getattr(shipped, one.name) == getattr(built_in, one.name)


# -- descriptions, formats, encryption


BREAKING: list[tuple[str, str, Kit, str, str]] = [
    # policy, what is done to the bag, the bag, outcome, finding
    (name, text, kit, result, code)
    for names, text, kit, result, code in [
        (("default", "evidence"), "nothing", OPEN, "holds", ""),
        (("default", "evidence"), "one algorithm", replace(OPEN, algorithms=("sha512",)),
         "fails", "E-POL-001"),
        (("default", "evidence", "court"), "secret, in clear",
         OPEN.with_tags({DESCRIPTION_PATH: described("video", confidentiality="sealed")}),
         "fails", "E-POL-014 E-POL-040"),
        (("default",), "secret, payload in clear",
         replace(SEALED, files={"data/a.txt": b"I saw it"}), "fails", "E-POL-040"),
        (("evidence", "court"), "secret, payload in clear",
         replace(SEALED, files={"data/a.txt": b"I saw it"}), "fails", "E-POL-040 U-POL-013"),
        (("default",), "sealed", SEALED, "holds", ""),
        (("evidence", "statement", "court"), "sealed", SEALED, "undecided", "U-POL-013"),
        (("evidence", "video", "court"), "not described",
         OPEN.with_tags({DESCRIPTION_PATH: None}), "fails", "E-POL-010"),
        (("default",), "not described", OPEN.with_tags({DESCRIPTION_PATH: None}), "holds", ""),
        (("evidence", "default"), "no JSON", OPEN.with_tags({DESCRIPTION_PATH: b"{"}),
         "fails", "E-POL-011"),
        (("evidence",), "a form that can't be read",
         OPEN.with_tags({DESCRIPTION_PATH: None, "metadata/description.toml": b"?"}),
         "fails", "E-POL-010"),
        (("evidence", "default"), "two descriptions",
         OPEN.with_tags({SEALED_DESCRIPTION: age_file()}), "fails", "E-POL-011 E-POL-040"),
        (("evidence", "default"), "sealed by its name alone",
         SEALED.with_tags({SEALED_DESCRIPTION: described("statement")}), "fails", "E-POL-011"),
        (("video", "court"), "nothing", OPEN, "holds", ""),
        (("video",), "no format", OPEN.with_tags({FORMATS_PATH: None}), "undecided", "U-POL-023"),
        (("video",), "formats sealed",
         OPEN.with_tags({FORMATS_PATH: None, FORMATS_PATH + ".age": age_file()}),
         "undecided", "U-POL-024"),
        (("video",), "another format",
         OPEN.with_tags({FORMATS_PATH: formats(mp4(puid="fmt/18", mime="application/pdf"))}),
         "fails", "E-POL-021"),
        (("video",), "an unknown format",
         OPEN.with_tags({FORMATS_PATH: formats(mp4(outcome="unknown"))}),
         "undecided", "U-POL-022"),
        (("video",), "a file without a record",
         replace(OPEN, files={"data/a.mp4": b"a", "data/b.mp4": b"b"}), "undecided", "U-POL-022"),
        (("statement",), "nothing", TALKING, "holds", ""),
        (("statement",), "one file in clear",
         replace(TALKING, files={**TALKING.files, "data/0002.txt": b"I saw it"}),
         "fails", "E-POL-040"),
        (("statement",), "no envelope",
         replace(TALKING, files={"data/0001.age": age_file()}), "fails", "E-POL-041"),
        (("statement",), "an envelope in clear",
         replace(TALKING, files={"data/0001.age": age_file(), IDENTITY_PATH: b"a name"}),
         "fails", "E-POL-040"),
        (("statement",), "no description",
         TALKING.with_tags({DESCRIPTION_PATH: None}), "fails", "E-POL-010"),
    ]
    for name in names
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kit", "result", "code"),
    [pytest.param(*one[:1], *one[2:], id=f"{one[0]}: {one[1]}") for one in BREAKING],
)
def test_each_rule_is_kept_or_broken(
    tmp_path: Path, name: str, kit: Kit, result: str, code: str
) -> None:
    bag = kit.write(tmp_path / "bag")
    assert judged(unproved(checked_policy(name)), bag) == (result, set(code.split()))


@pytest.mark.parametrize("name", ["evidence", "statement", "video", "court"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_field_that_is_owed_is_missed_by_its_name(
    tmp_path: Path, name: str, kind: str
) -> None:
    policy = in_clear(unproved(checked_policy(name)))
    policy = replace(policy, formats=FormatPolicy())
    whole = Kit(tags={DESCRIPTION_PATH: described(kind)}).write(tmp_path / "bag")
    assert judged(policy, whole) == ("holds", set())
    for number, key in enumerate(policy.describe.wanted(kind)):
        changes = {key: None} | ({"original": "derived"} if key == "derived_from" else {})
        kit = Kit(tags={DESCRIPTION_PATH: described(kind, **changes)})
        report = verify(kit.write(tmp_path / str(number)), policy=policy)
        (one,) = (one for one in report.findings if one.code == "E-POL-012")
        assert dict(one.details)["fields"] == key
        assert report.verdict is Verdict.UNPROVEN


def test_a_field_of_a_table_is_missed_by_its_way(tmp_path: Path) -> None:
    consent = {"explained": "yes", "court": "yes"}
    kit = Kit(tags={DESCRIPTION_PATH: described("statement", consent=consent)})
    policy = in_clear(unproved(checked_policy("evidence")))
    report = verify(kit.write(tmp_path / "bag"), policy=policy)
    (one,) = (one for one in report.findings if one.code == "E-POL-012")
    assert "consent.lawyer" in one.message


def test_a_field_that_does_not_exist_is_missing_always(tmp_path: Path) -> None:
    policy = replace(Policy(name="own"), describe=DescribePolicy(video=("event_tiem",)))
    assert judged(policy, OPEN.write(tmp_path / "bag")) == ("fails", {"E-POL-012"})


# -- signatures and time stamps, with real ones


def sealed_as(policy: str, place: Path, office: Office, urls: list[str]) -> Path:
    """A bag as this policy wants it, sealed by Ana."""
    kit = TALKING if policy == "statement" else OPEN
    files = {path.removeprefix("data/"): data for path, data in kit.files.items()}
    source = make_source(place / "source", files)
    signers = [office.ana] if policy != "default" else []
    return seal(source, place / "bag", signers, urls=urls, tag_files=dict(kit.tags))


@pytest.mark.parametrize("name", ["default", "evidence", "statement", "video", "court"])
def test_a_bag_that_has_everything_is_valid(
    tmp_path: Path, name: str, office: Office, tsa: Any, tsa_root: Certificate, second_tsa: Any
) -> None:
    (other,) = read_certificates((second_tsa.directory / "root.pem").read_bytes())
    stamped = name == "court"
    anchors = office.anchors(tsa_roots=(tsa_root, other) if stamped else ())
    urls = [tsa.url, second_tsa.url] if stamped else []
    bag = sealed_as(name, tmp_path, office, urls)
    report = check(bag, anchors if name != "default" else None, policy=checked_policy(name))
    assert (report.verdict, found(report)) == (Verdict.VALID, set())


@pytest.mark.parametrize("name", ["evidence", "statement", "video", "court"])
def test_an_unsigned_bag_lacks_a_signature(tmp_path: Path, name: str, office: Office) -> None:
    kit = TALKING if name == "statement" else OPEN
    report = check(kit.write(tmp_path / "bag"), office.anchors(), policy=checked_policy(name))
    assert "E-POL-002" in found(report)
    assert report.verdict is Verdict.UNPROVEN


@pytest.mark.parametrize("name", ["evidence", "statement", "video", "court"])
def test_a_strangers_signature_does_not_count(tmp_path: Path, name: str, office: Office) -> None:
    bag = sealed_as(name, tmp_path, office, [])
    strangers = Anchors(certificates=(office.false_ca.certificate,))
    report = check(bag, strangers, policy=checked_policy(name))
    assert "E-POL-002" in found(report)
    assert report.verdict is Verdict.UNPROVEN


def test_for_a_court_one_time_stamp_is_too_few(
    tmp_path: Path, office: Office, tsa: Any, tsa_root: Certificate
) -> None:
    bag = sealed_as("court", tmp_path, office, [tsa.url])
    report = check(bag, office.anchors(tsa_roots=(tsa_root,)), policy=checked_policy("court"))
    assert found(report) == {"E-POL-003", "E-TIM-004"}
    assert report.verdict is Verdict.UNPROVEN


def test_what_no_tag_manifest_lists_describes_nothing(tmp_path: Path, office: Office) -> None:
    bag = seal(make_source(tmp_path / "source"), tmp_path / "bag", [office.ana])
    (bag / DESCRIPTION_PATH).write_bytes(described("video"))
    report = check(bag, office.anchors(), policy=checked_policy("evidence"))
    assert "E-POL-010" in found(report)
    assert outcome(report, "policy") == "fails"


# -- scans


SCANS: list[tuple[dict[str, Any], bytes | None, str, str]] = [
    ({"required": True}, scanned("clean"), "holds", ""),
    ({"required": True}, None, "fails", "E-POL-030"),
    ({"required": True}, scanned(), "fails", "E-POL-030"),
    ({"required": True}, scanned("not scanned"), "fails", "E-POL-030"),
    ({"required": True}, scanned("clean", "not scanned"), "fails", "E-POL-030"),
    ({"required": True}, scanned("Clean"), "fails", "E-POL-030"),
    ({"required": True}, scanned("clean", outcome="failure"), "fails", "E-POL-030"),
    ({"required": True}, scanned("infected"), "holds", "W-POL-032"),
    ({"required": True}, scanned("clean") + b"{}\n", "fails", "E-POL-030"),
    ({"required": True}, scanned("clean")[:-20], "fails", "E-POL-030"),
    ({"found": "refuse"}, scanned("infected", "clean"), "fails", "E-POL-031"),
    ({"found": "refuse"}, scanned("clean"), "holds", ""),
    ({"found": "refuse"}, None, "holds", ""),
    ({}, scanned("infected"), "holds", ""),
]


@pytest.mark.parametrize(("rules", "chain", "result", "code"), SCANS)
def test_scans(
    tmp_path: Path, rules: dict[str, Any], chain: bytes | None, result: str, code: str
) -> None:
    kit = SCANNED.with_tags({CUSTODY_PATH: chain})
    policy = replace(Policy(name="own"), scan=ScanPolicy(**rules))
    assert judged(policy, kit.write(tmp_path / "bag")) == (result, set(code.split()))


# -- formats


FORMATS: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"refused": ("video/*",)}, mp4(), "fails", "E-POL-020"),
    ({"refused": ("fmt/199",)}, mp4(), "fails", "E-POL-020"),
    ({"refused": ("fmt/19?",)}, mp4(mime=""), "fails", "E-POL-020"),
    ({"refused": ("application/pdf",)}, mp4(), "holds", ""),
    ({"refused": ("application/pdf",)}, mp4(mime=""), "undecided", "U-POL-022"),
    ({"refused": ("application/pdf",)}, mp4(outcome="failed"), "undecided", "U-POL-022"),
    ({"accepted": ("fmt/199",)}, mp4(), "holds", ""),
    ({"accepted": ("fmt/1*",)}, mp4(puid=""), "undecided", "U-POL-022"),
    ({"accepted": ("video/*",)}, mp4(mime="VIDEO/mp4; codecs=x"), "holds", ""),
    ({"accepted": ("video/*", "fmt/1")}, mp4(mime="image/png"), "fails", "E-POL-021"),
    ({"accepted": ("video/*",), "refused": ("fmt/199",)}, mp4(), "fails", "E-POL-020"),
    ({"accepted": ("video/*",), "refused": ("fmt/199",)}, mp4(puid=""), "undecided", "U-POL-022"),
]


@pytest.mark.parametrize(("rules", "record", "result", "code"), FORMATS)
def test_formats(
    tmp_path: Path, rules: dict[str, Any], record: dict[str, Any], result: str, code: str
) -> None:
    kit = OPEN.with_tags({FORMATS_PATH: formats(record)})
    policy = replace(Policy(name="own"), formats=FormatPolicy(**rules))
    assert judged(policy, kit.write(tmp_path / "bag")) == (result, set(code.split()))


@pytest.mark.parametrize("schema", [b"", b'{"schema":"archiver/formats/2"}\n', b"{}\n"])
def test_records_whose_schema_is_not_known_are_not_read(tmp_path: Path, schema: bytes) -> None:
    lines = schema + formats(mp4()).partition(b"\n")[2]
    kit = OPEN.with_tags({FORMATS_PATH: lines})
    policy = unproved(checked_policy("video"))
    assert judged(policy, kit.write(tmp_path / "bag")) == ("fails", {"E-POL-025"})


def test_of_two_records_of_one_file_the_worse_counts(tmp_path: Path) -> None:
    lines = formats(mp4(), mp4(puid="fmt/18", mime="application/pdf"))
    kit = OPEN.with_tags({FORMATS_PATH: lines})
    policy = unproved(checked_policy("video"))
    assert judged(policy, kit.write(tmp_path / "bag")) == ("fails", {"E-POL-021"})


# -- what is owed of a bag just made, and what isn't packed in clear


def test_what_is_owed_of_a_new_bag(tmp_path: Path) -> None:
    evidence = checked_policy("evidence")
    bare = Bag().write(tmp_path / "bare")
    assert [one.code for one in find_owed(evidence, str(bare))] == ["E-POL-010"]
    whole = OPEN.write(tmp_path / "whole")
    assert not list(find_owed(evidence, str(whole)))
    assert not list(find_owed(load_policy("default"), str(bare)))
    sealed = SEALED.write(tmp_path / "sealed")
    assert [one.code for one in find_owed(evidence, str(sealed))] == ["U-POL-013"]


def test_nothing_in_clear_is_planned_where_all_must_be_encrypted(tmp_path: Path) -> None:
    from archiver.bag.plan import PlanOptions
    from archiver.seal import plan_sources

    policy = checked_policy("statement")
    source = make_source(tmp_path / "source", {"0001.age": age_file(), "sub/2.age": age_file()})
    refuse_plain(plan_sources([str(source)], str(tmp_path / "bag"), PlanOptions()), policy)
    (source / "sub/note.txt").write_text("her name")
    plan = plan_sources([str(source)], str(tmp_path / "bag"), PlanOptions())
    refuse_plain(plan, checked_policy("evidence"))
    with pytest.raises(PlainSourceError) as raised:
        refuse_plain(plan, policy)
    assert "note.txt" in raised.value.message
    assert "note.txt" not in raised.value.reason
    assert "statement new" in raised.value.hint
    (source / "sub/note.txt").unlink()  # copying will tell
    refuse_plain(plan, policy)


def test_every_kind_has_its_list_and_its_fields() -> None:
    names = {one.name for one in dataclasses.fields(DescribePolicy)} - {"required", "any"}
    assert names == {kind.replace("-", "_") for kind in KINDS}
    assert all(fields_of(kind) for kind in KINDS)
