"""Policies for other programs: as BagIt Profiles, and the schema of their files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import bagit
import bagit_profile
import jsonschema
import pytest

from archiver.bag.model import BagInfo
from archiver.describe.owed import checked_policy
from archiver.policy import Policy, ScanPolicy, policy_names
from archiver.policy.load import _directory
from archiver.policy.model import DescribePolicy, EncryptionPolicy
from archiver.verify.profile import bagit_profile as profile_of
from tests.helpers import run
from tests.policies import OPEN, TALKING
from tests.sealing import Office, make_source, seal

KEYS = {
    "BagIt-Profile-Info",
    "Bag-Info",
    "Manifests-Required",
    "Manifests-Allowed",
    "Tag-Manifests-Required",
    "Tag-Manifests-Allowed",
    "Tag-Files-Required",
    "Tag-Files-Allowed",
    "Payload-Files-Required",
    "Payload-Files-Allowed",
    "Allow-Fetch.txt",
    "Fetch.txt-Required",
    "Data-Empty",
    "Serialization",
    "Accept-Serialization",
    "Accept-BagIt-Version",
}
"""All that the specification knows, in version 1.4.0."""


def check_form(profile: dict[str, Any]) -> None:
    """The rules of the specification for a profile itself."""
    assert set(profile) <= KEYS
    info = profile["BagIt-Profile-Info"]
    for key in ("BagIt-Profile-Identifier", "Source-Organization", "External-Description"):
        assert isinstance(info[key], str)
        assert info[key]
    assert info["BagIt-Profile-Version"] == "1.4.0"
    assert isinstance(info["Version"], str)
    for tag in profile["Bag-Info"].values():
        assert set(tag) <= {"required", "values", "repeatable", "description"}
    for required, allowed in (
        ("Manifests-Required", "Manifests-Allowed"),
        ("Tag-Manifests-Required", "Tag-Manifests-Allowed"),
    ):
        assert set(profile.get(required, ())) <= set(profile[allowed])
    assert profile["Serialization"] in ("required", "optional", "forbidden")
    assert profile["Accept-Serialization"]
    assert profile["Accept-BagIt-Version"]
    assert all(isinstance(one, str) for one in profile["Accept-BagIt-Version"])
    assert isinstance(profile["Allow-Fetch.txt"], bool)


@pytest.mark.parametrize("name", policy_names())
def test_profiles_have_the_form_that_the_specification_asks_for(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run(capsys, "policy", "show", name, "--bagit-profile")
    assert ran.code == 0
    profile = json.loads(ran.out)
    check_form(profile)
    assert profile == profile_of(checked_policy(name))


def sealed(place: Path, office: Office, name: str, identifier: str, **options: Any) -> Path:
    kit = TALKING if name == "statement" else OPEN
    files = {path.removeprefix("data/"): data for path, data in kit.files.items()}
    info = BagInfo((("BagIt-Profile-Identifier", identifier),))
    signers = [office.ana]
    source = make_source(place / "source", files)
    return seal(source, place / "bag", signers, tag_files=dict(kit.tags), info=info, **options)


@pytest.mark.parametrize("name", policy_names())
@pytest.mark.parametrize("identifier", ["", "https://example.org/profile.json"])
def test_a_bag_of_ours_passes_with_another_tool(
    tmp_path: Path, office: Office, name: str, identifier: str
) -> None:
    made = profile_of(checked_policy(name), identifier)
    uri = made["BagIt-Profile-Info"]["BagIt-Profile-Identifier"]
    assert uri == identifier or (not identifier and uri.startswith("urn:uuid:"))
    bag = sealed(tmp_path, office, name, uri, require_stamp=name == "court")
    profile = bagit_profile.Profile(uri, profile=json.dumps(made))
    assert profile.validate(bagit.Bag(str(bag))), str(profile.report)
    assert profile.validate_serialization(str(bag))


@pytest.mark.parametrize("broken", ["sha256", "seal", "stamp", "fetch"])
def test_a_bag_that_breaks_the_policy_fails_with_another_tool(
    tmp_path: Path, office: Office, broken: str
) -> None:
    made = profile_of(checked_policy("court"))
    uri = made["BagIt-Profile-Info"]["BagIt-Profile-Identifier"]
    bag = sealed(tmp_path, office, "court", uri, require_stamp=broken != "stamp")
    info = bag / "bag-info.txt"
    if broken == "sha256":
        (bag / "manifest-sha256.txt").unlink()
    elif broken == "seal":
        lines = info.read_text().splitlines(keepends=True)
        info.write_text("".join(one for one in lines if not one.startswith("Archiver-Seal")))
    elif broken == "fetch":
        (bag / "fetch.txt").write_text("")
    profile = bagit_profile.Profile(uri, profile=json.dumps(made))
    assert not profile.validate(bagit.Bag(str(bag)))


def test_other_rules_have_another_name() -> None:
    def name(policy: Policy) -> str:
        made: str = profile_of(policy)["BagIt-Profile-Info"]["BagIt-Profile-Identifier"]
        return made

    assert name(Policy(name="a")) == name(Policy(name="b"))
    assert name(Policy(name="a")) != name(checked_policy("court"))


def test_files_that_always_have_one_name_are_required() -> None:
    policy = Policy(
        name="own",
        describe=DescribePolicy(required=True),
        encryption=EncryptionPolicy(payload="never", envelope=True),
        scan=ScanPolicy(required=True),
    )
    made = profile_of(policy)
    check_form(made)
    assert made["Tag-Files-Required"] == ["metadata/description.json", "metadata/custody.jsonl"]
    assert made["Payload-Files-Required"] == ["data/identity.age"]
    assert made["BagIt-Profile-Info"]["External-Description"] == "own"


# -- the schema


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> Any:
    ran = run(capsys, "policy", "schema")
    assert ran.code == 0
    made = json.loads(ran.out)
    assert json.loads(run(capsys, "policy", "show", "default", "--json-schema").out) == made
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    return jsonschema.Draft202012Validator(made)


@pytest.mark.parametrize("name", policy_names())
def test_the_shipped_policies_follow_the_schema(schema: Any, name: str) -> None:
    schema.validate(tomllib.loads((_directory() / f"{name}.toml").read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vidio = 1",
        "[bag]\nalgoritms = []",
        "[bag]\nalgorithms = ['sha999']",
        "[bag]\nalgorithms = []",
        "[bag]\nread_only = 1",
        "[describe]\nvideo = ['event_tiem']",
        "[describe]\nany = ['event_time']",
        "[formats]\naccepted = ['video']",
        "[formats]\nseconds = 0",
        "[scan]\nfound = 'delete'",
        "[encryption]\npayload = 'all'",
        "[encryption]\nrecipients = ['age1x']",
        "[keep]\nreplicas = 17",
        "description = 1",
        "bag = 1",
    ],
)
def test_what_the_program_refuses_the_schema_refuses_too(
    schema: Any, tmp_path: Path, text: str
) -> None:
    assert not schema.is_valid(tomllib.loads(text))
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(Exception, match="policy"):
        checked_policy(str(tmp_path / "p.toml"))


def test_the_schema_says_what_is_built_in_and_what_it_means(schema: Any) -> None:
    tables = schema.schema["properties"]
    assert tables["audit"]["properties"]["every_days"]["default"] == 90
    for name, table in tables.items():
        for key, value in table.get("properties", {}).items():
            assert value["description"], (name, key)
            assert "default" in value
