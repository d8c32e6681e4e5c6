"""An item as PREMIS 3 XML: valid by the schema, true to what was sealed."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from archiver.bag.plan import PlanOptions
from archiver.catalog.model import Item
from archiver.custody import Event
from archiver.describe import Description
from archiver.errors import NoIntactReplicaError, NotFoundError
from archiver.ingest import IngestOptions, ingest
from archiver.policy import load_policy
from archiver.premis import _Following, premis_of
from archiver.premis.elements import Grant, file, rights
from archiver.premis.xml import NAMESPACE, document
from archiver.seal import CreateOptions, plan_sources
from archiver.vault import Vault
from archiver.vault.records import reading, writing
from tests.helpers import run
from tests.sealing import make_source

SHARED = Path(os.environ.get("ARCHIVER_SHARED", Path(__file__).parents[2].parent / "shared"))
SCHEMA = SHARED / "schemas/premis-v3.xsd"
XMLLINT = shutil.which("xmllint")
needs_schema = pytest.mark.skipif(
    not SCHEMA.exists(), reason=f"no schema at {SCHEMA} (see ARCHIVER_SHARED)"
)
needs_xmllint = pytest.mark.skipif(
    XMLLINT is None and "ARCHIVER_CI" not in os.environ, reason="needs xmllint"
)


def validate(text: str) -> None:
    assert XMLLINT is not None
    command = [XMLLINT, "--nonet", "--noout", "--schema", str(SCHEMA), "-"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def item_of(vault: Vault, name: str) -> Item:
    with reading(vault) as records:
        found = records.catalog.item(name)
    assert found is not None
    return found


def written(vault: Vault, name: str, description: Description | None = None) -> str:
    return "".join(premis_of(vault, item_of(vault, name), description))


def parsed(text: str) -> Element:
    return fromstring(text.replace(f' xmlns="{NAMESPACE}"', ""))


def texts(root: Element, path: str) -> list[str]:
    return [one.text or "" for one in root.iterfind(path)]


RESTRICTION = "rights/rightsStatement/rightsGranted/restriction"
DESCRIPTION = Description.checked(
    "video",
    {
        "title": "Patio <&> noche",
        "confidentiality": "restricted",
        "original": "derived",
        "derived_from": [{"item": "a-E-0002", "tool": "ffmpeg 6", "parameters": "-c copy"}],
    },
)


@needs_schema
@needs_xmllint
def test_it_is_valid_by_the_schema(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "audit", "--all").code == 0
    for name in ("a-E-0001", "b-E-0001"):
        validate(written(filled, name))
        validate(written(filled, name, DESCRIPTION))


@needs_schema
@needs_xmllint
def test_what_is_not_described_withdrawn_or_known_is_valid_too() -> None:
    consent = Grant(act="use: court", restrictions=("consent withdrawn",), note="until 2030")
    found = {"puid": "fmt/199", "mime": "video/mp4", "version": "2", "warnings": ["x"], "basis": ""}
    elements = [
        file("a-E-0001", "data/a.mp4", [("SHA-512", "ab")], None, found),
        file("a-E-0001", "data/b\x01\udcff.bin", [], 5, {"puid": 7, "warnings": "x"}),
        rights("a-E-0001", "consent", [consent]),
    ]
    text = "".join(document(elements))
    validate(text)
    values = texts(parsed(text), "object/objectIdentifier/objectIdentifierValue")
    assert values == ["a-E-0001/data/a.mp4", "a-E-0001/data/b%01%FF.bin"]


def test_the_digests_are_those_of_the_manifests(filled: Vault) -> None:
    root = parsed(written(filled, "a-E-0001"))
    bag = Path(filled.bag_path("a", "a-E-0001"))
    for algorithm, name in (("sha512", "SHA-512"), ("sha256", "SHA-256")):
        manifest = (bag / f"manifest-{algorithm}.txt").read_text().splitlines()
        wanted = {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in manifest}
        found = {}
        for one in root.iterfind("object"):
            path = texts(one, "objectIdentifier/objectIdentifierValue")[0]
            for fixity in one.iterfind("objectCharacteristics/fixity"):
                if texts(fixity, "messageDigestAlgorithm") == [name]:
                    found[path.removeprefix("a-E-0001/")] = texts(fixity, "messageDigest")[0]
        found.pop("tagmanifest-sha512.txt", None)
        assert found == wanted


def test_events_agents_and_signatures_are_there(
    filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "audit", "--all").code == 0
    root = parsed(written(filled, "a-E-0001", DESCRIPTION))
    types = texts(root, "event/eventType")
    assert {"ingestion", "ingestion start", "ingestion end", "fixity check"} <= set(types)
    assert texts(root, "event/eventOutcomeInformation/eventOutcome") == ["success"] * len(types)
    named = {*texts(root, "event/linkingAgentIdentifier/linkingAgentIdentifierValue")}
    known = {*texts(root, "agent/agentIdentifier/agentIdentifierValue")}
    assert named <= known
    (signer,) = texts(root, "object/signatureInformation/signature/signer")
    assert signer in texts(root, "agent/agentName")
    assert texts(root, "rights/rightsStatement/rightsGranted/restriction") == ["restricted"]
    related = texts(
        root, "object/relationship/relatedObjectIdentifier/relatedObjectIdentifierValue"
    )
    assert "a-E-0002" in related
    assert "Patio <&> noche" in texts(
        root, "object/significantProperties/significantPropertiesValue"
    )


def test_events_of_other_items_are_left_out(filled: Vault) -> None:
    root = parsed(written(filled, "a-E-0001"))
    linked = texts(root, "event/linkingObjectIdentifier/linkingObjectIdentifierValue")
    assert {*linked} == {"a-E-0001/bag"}
    assert "a-E-0002" not in written(filled, "a-E-0001")


@pytest.mark.parametrize(
    "file", ["manifest-sha512.txt", "metadata/custody.jsonl", "tagmanifest-sha512.txt"]
)
def test_a_tag_file_that_was_changed_is_not_told_on(file: str, filled: Vault) -> None:
    path = Path(filled.bag_path("a", "a-E-0001")) / file
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:40].replace(data[2:3], b"0" if data[2:3] != b"0" else b"1") + data[40:])
    with pytest.raises(NoIntactReplicaError):
        written(filled, "a-E-0001")


def test_another_bag_in_its_place_is_not_told_on(filled: Vault) -> None:
    one, two = (Path(filled.bag_path("a", f"a-E-000{n}")) for n in (1, 2))
    one.rename(one.with_name("aside"))
    shutil.copytree(two, one)
    with pytest.raises(NoIntactReplicaError):
        written(filled, "a-E-0001")


def test_a_bag_that_is_gone_and_an_item_that_never_was(
    filled: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = Path(filled.bag_path("a", "a-E-0001"))
    path.rename(tmp_path / "away")
    done = run(capsys, "show", "a-E-0001", "--premis")
    assert (done.code, done.out) == (1, "")
    assert "is not what was sealed" in done.err
    item = item_of(filled, "a-E-0002")
    begun = Item(case="a", item="a-E-0009", number=9, key="", state="begun", since=item.since)
    with pytest.raises(NotFoundError, match="never sealed"):
        "".join(premis_of(filled, begun, None))


@needs_schema
@needs_xmllint
def test_the_command_writes_the_document(
    filled: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = make_source(tmp_path / "odd", {"ñandú \x01 %41.txt": b"x", "b\n.txt": b"y"})
    assert run(capsys, "ingest", str(source), "--case", "c", "--unsigned").code == 0
    done = run(capsys, "show", "c-E-0001", "--premis", "--vault", filled.path)
    assert done.code == 0, done.err
    text = done.out
    validate(text)
    values = texts(parsed(text), "object/objectIdentifier/objectIdentifierValue")
    assert "c-E-0001/data/ñandú %01 %2541.txt" in values
    assert "c-E-0001/data/b%0A.txt" in values


def test_a_statement_whose_description_is_sealed_says_its_kind_alone(filled: Vault) -> None:
    item = item_of(filled, "a-E-0001")
    item.detail["description"] = {"kind": "statement", "path": "x", "sha256": "y"}
    root = parsed("".join(premis_of(filled, item, None)))
    assert texts(root, "object/significantProperties/significantPropertiesValue") == ["statement"]
    assert texts(root, RESTRICTION) == ["confidential or sealed"]


@pytest.mark.parametrize("level", ["confidential", "sealed", "restricted", "public"])
def test_the_level_is_told_as_it_is(filled: Vault, level: str) -> None:
    said = Description.checked("video", {"title": "Patio", "confidentiality": level})
    text = written(filled, "a-E-0001", said)
    assert texts(parsed(text), RESTRICTION) == [level]
    assert ("Patio" in text) == (level in ("restricted", "public"))


def test_records_that_come_in_another_order(filled: Vault) -> None:
    """All are found, and what isn't told takes no memory."""
    large = {"technical": {"exiftool": "x" * 60_000}}
    records = [{"path": f"data/{n}", "mime": f"image/{n}", **large} for n in range(2000)]
    found = _Following(reversed(records))
    assert [found.of(f"data/{n}")["mime"] for n in range(2000)] == [
        f"image/{n}" for n in range(2000)
    ]
    assert found.of("data/none") == {}
    assert not found._kept
    first = _Following(iter(records))
    first.of("data/1999")
    assert first.of("data/7") == {"mime": "image/7"}


def test_formats_consent_and_copies_are_told(
    filled: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With records as bags hold them, and a line that is none."""
    assert run(capsys, "replica", "add", "stick", str(tmp_path / "stick")).code == 0
    assert run(capsys, "replica", "sync").code == 0
    records = b'{"mime":"text/plain","path":"data/x.bin","puid":"x-fmt/111"}\n[1]\n{bad\n'
    other = b'{"mime":"image/png","path":"data/witness-maria.txt"}\n'
    plan = plan_sources([str(tmp_path / "one")], filled.bag_path("a", "new"), PlanOptions())
    create = CreateOptions(
        policy=load_policy("default"),
        now=datetime.now(UTC),
        identifier="",
        tag_files={"metadata/formats.jsonl": records + other},
    )
    made = ingest(filled, "d", [str(tmp_path / "one")], plan, IngestOptions(create=create))
    assert made.item == "d-E-0001"
    assert run(capsys, "replica", "sync").code == 0
    consent = {"explained": "yes", "court": "ask", "media": "no", "lawyer": "yes"}
    described = Description.checked("document", {"consent_reference": "W-01"})
    described = Description(
        kind="document", values={**described.values, "consent": consent | {"expires": "2030"}}
    )
    text = written(filled, "d-E-0001", described)
    if XMLLINT and SCHEMA.exists():
        validate(text)
    root = parsed(text)
    assert texts(root, "object/objectCharacteristics/format/formatRegistry/formatRegistryKey") == [
        "x-fmt/111"
    ]
    names = texts(root, "object/objectCharacteristics/format/formatDesignation/formatName")
    assert {"text/plain", "image/png"} <= {*names}
    acts = texts(root, "rights/rightsStatement/rightsGranted/act")
    assert acts == ["disseminate", "use: lawyer", "use: court", "use: media"]
    assert (
        texts(root, "rights/rightsStatement/rightsGranted/rightsGrantedNote") == ["until 2030"] * 3
    )
    assert texts(root, "object/storage/storageMedium") == ["stick"]


def test_a_consent_that_was_withdrawn_is_told(filled: Vault) -> None:
    detail = {"item": "a-E-0001", "consent": "withdrawn", "scope": ["court", "media"]}
    with writing(filled, "test", 1.0) as records:
        event = Event(type="modification", at=datetime.now(UTC), detail=detail)
        records.append("a", [event])
    root = parsed(written(filled, "a-E-0001"))
    assert texts(root, "rights/rightsStatement/rightsGranted/act") == ["use: court", "use: media"]


@pytest.mark.parametrize("file", ["manifest-sha256.txt", "metadata/custody.jsonl"])
def test_a_tag_file_that_is_gone_is_not_told_on(file: str, filled: Vault) -> None:
    bag = Path(filled.bag_path("a", "a-E-0001"))
    for directory in (bag, bag / "metadata"):
        directory.chmod(0o755)
    (bag / file).rename(bag.parent / "away")
    with pytest.raises(NoIntactReplicaError):
        written(filled, "a-E-0001")


def test_who_is_named_in_a_protected_field_is_not_told(filled: Vault) -> None:
    said = {"title": "Patio", "filmed_by": "Xochiquetzal", "collected_by": "Xochiquetzal"}
    text = written(filled, "a-E-0001", Description.checked("video", said))
    assert "Patio" in text
    assert "Xochiquetzal" not in text


def test_a_secret_description_that_stands_in_clear_is_not_told_on(filled: Vault) -> None:
    said = {"title": "Patio", "consent": {"media": "no"}}
    text = written(filled, "a-E-0001", Description.checked("statement", said))
    assert "Patio" not in text
