"""Forms to fill in, in both languages; the JSON Schema; what is confidential; the clock."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from archiver.describe import KINDS, Description, fields_of, read_form
from archiver.describe.description import SCHEMA
from archiver.describe.moment import clock_quality, recorded_now, zone_name
from archiver.describe.schema import json_schema
from archiver.describe.secrecy import is_held_back, may_be_secret
from archiver.describe.templates import example_of, explain, kind_label, template
from archiver.i18n import _, use_language
from tests.describe.making import UNFILLED, descriptions, filled, whole


@pytest.fixture(params=["en", "es"])
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    use_language(request.param)
    yield request.param
    use_language("en")


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_with_nothing_filled_in_is_a_form(kind: str, language: str) -> None:
    found = read_form(template(kind).encode(), "f")
    assert (found.kind, found.values) == (kind, {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_with_its_examples_is_a_whole_description(kind: str, language: str) -> None:
    found = read_form(UNFILLED.sub("", template(kind)).encode(), "f")
    assert list(found.values) == list(fields_of(kind))
    assert found.missing(found.required()) == []
    assert Description.parse(found.to_bytes()) == found


@pytest.mark.parametrize("kind", KINDS)
def test_each_line_of_a_template_can_be_filled_in_alone(kind: str) -> None:
    lines = template(kind).split("\n")
    for number, line in enumerate(lines):
        if re.match(r"#\w+ =", line):
            above = [one for one in lines[:number] if one.startswith(("#[", "[", "#[["))]
            text = [*lines]
            text[number] = line[1:]
            if above:  # in a table, whose heading is needed too
                text[lines.index(above[-1])] = above[-1][1:]
            assert read_form("\n".join(text).encode(), "f").values


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_explains_every_field(kind: str, language: str) -> None:
    text = template(kind)
    told = " ".join(text.replace("\n# ", " ").split())
    assert f"# {kind_label(kind)}." in text
    for field in fields_of(kind).values():
        assert explain(field) in told
        assert _(field.label).rstrip(".") in told
        if field.key != "lost_when":  # explained like one in a table, which is required
            required = field.required or field.owed_if is not None
            assert ("* " + explain(field) in told) == required
        assert all(choice in explain(field) for choice in field.choices)
    assert all(len(line) <= 100 for line in text.split("\n"))


FORMS = sorted(Path(__file__).parents[2].glob("examples/**/*.toml"))


@pytest.mark.parametrize(
    "path",
    [one for one in FORMS if one.read_text("utf-8").count("\nkind =")],
    ids=lambda path: path.name,
)
def test_the_forms_among_the_examples_are_whole(path: Path) -> None:
    found = read_form(path.read_bytes(), path.name)
    assert found.missing(found.required()) == []
    CHECK.validate(json.loads(found.to_bytes()))


def test_examples_fit_their_fields() -> None:
    for kind in KINDS:
        values = {key: example_of(field) for key, field in fields_of(kind).items()}
        assert Description.checked(kind, values).values == values


# -- the schema


SCHEMA_DOCUMENT = json_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA_DOCUMENT)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA_DOCUMENT)
    assert SCHEMA in SCHEMA_DOCUMENT["$id"]
    assert json.loads(json.dumps(SCHEMA_DOCUMENT)) == SCHEMA_DOCUMENT


@given(descriptions())
@settings(max_examples=60)
def test_every_description_is_valid_by_the_schema(described: Description) -> None:
    CHECK.validate(json.loads(described.to_bytes()))


@pytest.mark.parametrize("kind", KINDS)
def test_whole_descriptions_are_valid_by_the_schema(kind: str) -> None:
    CHECK.validate(json.loads(whole(kind).to_bytes()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "film"},
        {"schema": "archiver/description/2"},
        {"recorded": {"who": "x"}},
        {"titel": "x"},
        {"title": ""},
        {"title": " \t"},
        {"title": "a\u202eb"},
        {"title": "\x1b[2J"},
        {"title": "x" * 100_001},
        {"title": 1},
        {"event_time": "yesterday"},
        {"event_time": "2026-03-01 14:30"},
        {"reencoded": "perhaps"},
        {"derived_from": []},
        {"derived_from": [{"who": "x"}]},
        {"derived_from": [{"item": ""}]},
        {"scan_dpi": 600},
        {"consent": {}},
    ],
    ids=str,
)
def test_what_the_program_refuses_the_schema_refuses(wrong: dict[str, Any]) -> None:
    document = {"schema": SCHEMA, "kind": "video", "recorded": {}, **wrong}
    assert not CHECK.is_valid(document)


def test_lacking_parts_are_refused_by_the_schema() -> None:
    whole_one: dict[str, Any] = {"schema": SCHEMA, "kind": "video", "recorded": {}}
    assert CHECK.is_valid(whole_one)
    for key in whole_one:
        assert not CHECK.is_valid({name: one for name, one in whole_one.items() if name != key})


# -- what may not stand in clear


@pytest.mark.parametrize(
    ("kind", "confidentiality", "held"),
    [
        ("video", None, False),
        ("video", "public", False),
        ("video", "restricted", False),
        ("video", "confidential", True),
        ("video", "sealed", True),
        ("statement", None, True),
        ("statement", "sealed", True),
        ("statement", "confidential", True),
        ("statement", "restricted", True),
        ("statement", "public", False),
    ],
)
def test_what_is_held_back(kind: str, confidentiality: str | None, held: bool) -> None:
    values = {"confidentiality": confidentiality} if confidentiality else {}
    assert is_held_back(Description.checked(kind, values)) is held


@pytest.mark.parametrize(
    "form",
    [
        "confidentiality = 'sealed'\nx",
        "confidentiality='confidential",
        "  confidentiality = sealed",
        '"confidentiality" = "sealed"',
        "Confidentiality: Sealed",
        "confidencialidad = 'sellado'",
        "confidencialidad = confidencial",
        "title = 'x'\r\nconfidentiality = 'sealed'\r\n]",
        "title = 'x'\rconfidentiality = 'sealed'",
        "kind = 'statement'",
        "kind = statement",
        "x = { kind = 'statement' }",
        "{ confidentiality = 'sealed' }",
        "x = [{ a = 1, confidentiality = 'sealed' }",
        "witness_code = 'W-7'",
        "[consent]",
        "consent.media = 'no'",
        "interviewer = 'x'",
        "confidentiality = “sealed”",
        "confidentiality = «sealed»",
        "confidentiality =\u00a0'sealed'",
        "\u00a0confidentiality = 'sealed'",
        "confidentiality = 'top secret'",
        "confidentiality = 'strictly confidential'",
        "confidentiality = 'private'",
        "confidentiality = ['sealed']",
        "[confidentiality]\nlevel = 'sealed'",
        "confidential = true",
        "sealed = true",
        "cofidentiality = 'sealed'",
        "confidentiality => 'sealed'",
        "confidentiality == 'sealed'",
        'confidentiality = "se\\u0061led"\nx = 1',
        "kind = “statement”\ntitle = “x”",
        "confidentiality = 'public'\nconfidentiality = 'sealed'",
    ],
)
def test_a_form_that_nobody_can_read_is_held_where_it_may_be_secret(form: str) -> None:
    assert may_be_secret(form.encode())
    assert may_be_secret(form.encode("utf-16"))
    assert may_be_secret(b"\xff\n" + form.encode("utf-16-be"))


@pytest.mark.parametrize(
    "form",
    [
        "",
        "title = 'the statement of the police, which is not confidential'",
        "confidentiality = 'restricted'\n]",
        "confidentiality = 'public'",
        "kind = 'video'\ntitel = 'x'",
        "# kind = 'statement'",
        "# confidentiality: public, restricted, confidential, sealed",
        "description = 'It shows how the house was sealed'",
        "confidentiality = 'public'\nsource = «the witness»",
        "kind = 'video'\ntitel = 'x'\ncollected_by = 'a witness'",
    ],
)
def test_other_forms_are_not_held(form: str) -> None:
    assert not may_be_secret(form.encode())


@pytest.mark.parametrize(
    "piece", [b"{", b",", b"[", b'"', b" ", b"kind=", b"confiden", b"\n", b"a"]
)
def test_looking_for_signs_takes_no_longer_than_the_form(piece: bytes) -> None:
    begun = time.process_time()
    assert may_be_secret(piece * ((1 << 20) // len(piece))) is (piece == b"confiden")
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("kind", KINDS)
def test_templates_that_are_spoilt_are_held_where_they_are_secret(kind: str) -> None:
    plain = filled(kind) + b"]"
    assert may_be_secret(plain) is (kind == "statement")
    for word in ("sealed", "confidential"):
        assert may_be_secret(filled(kind, confidentiality=f'"{word}"') + b"]")
    assert not may_be_secret(template("video").encode() + b"]")


# -- the moment


def test_what_the_program_says_itself() -> None:
    now = datetime(2026, 3, 1, 14, 30, 59, 123, tzinfo=timezone(timedelta(hours=-5)))
    recorded = recorded_now(now)
    assert recorded["at"] == "2026-03-01T19:30:59Z"
    assert recorded["clock"] in ("synchronised", "unsynchronised", "unknown")
    assert recorded["program"].startswith("archiver ")
    Description(kind="video", recorded=recorded)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("UTC", "+00:00 UTC"), ("America/La_Paz", "-04:00"), ("XYZ5", "-05:00 XYZ"),
     ("<+0530>-5:30", "+05:30")],
)  # fmt: skip
def test_time_zones(zone: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from datetime import *; from archiver.describe.moment import zone_name;"
        "print(zone_name(datetime(2026, 3, 1, tzinfo=UTC)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"TZ": zone}, capture_output=True, text=True, check=True
    )
    assert done.stdout == expected + "\n"
    assert zone_name(datetime.now(UTC))[0] in "+-"


@pytest.mark.parametrize(
    ("state", "word"), [(0, "synchronised"), (1, "synchronised"), (5, "unsynchronised"),
                        (-1, "unknown")]
)  # fmt: skip
def test_what_the_kernel_says_of_its_clock(
    state: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        def adjtimex(self, given: Any) -> int:
            assert bytes(given) == bytes(1024)  # changes nothing
            return state

    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Library())
    assert clock_quality() == word


def test_a_system_without_that_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    assert clock_quality() == "unknown"
