"""Descriptions as JSON, what is owed, and strangers' bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.describe import KINDS, Description, read_form, write_form
from archiver.describe.description import (
    MAX_DESCRIPTION_BYTES,
    SCHEMA,
    canonical,
    strict_json,
)
from archiver.describe.fields import fields_of
from archiver.errors import FormatError
from tests.describe.making import descriptions, whole


@given(descriptions())
def test_what_is_written_is_read_and_written_the_same(described: Description) -> None:
    data = described.to_bytes()
    assert Description.parse(data) == described
    assert Description.parse(data).to_bytes() == data
    assert data.endswith(b"}\n")


@given(descriptions())
def test_a_form_says_what_the_description_says(described: Description) -> None:
    found = read_form(write_form(described), "f", recorded=described.recorded)
    assert found == described


@given(st.binary(max_size=200))
def test_hostile_bytes_are_no_description(data: bytes) -> None:
    with pytest.raises(FormatError):
        Description.parse(data)


@given(descriptions(), st.data())
@settings(max_examples=50)
def test_a_description_with_a_byte_changed_is_another_or_none(
    described: Description, data: st.DataObject
) -> None:
    written = bytearray(described.to_bytes())
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = Description.parse(bytes(written))
    except FormatError:
        return
    assert found != described
    assert found.to_bytes() == written


def record(**more: Any) -> bytes:
    return canonical({"schema": SCHEMA, "kind": "video", "recorded": {}, **more})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null\n",
        b"[]\n",
        b"[" * (1 << 20),
        b'{"a":' * 200_000,
        b'{"kind":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
        b"1" * 5000,
        b'{"schema":"archiver/description/1"}\n',
        record(kind="nothing"),
        record(kind=["video"]),
        record(kind=None),
        record(recorded=[]),
        record(recorded={"who": "Maria"}),
        record(recorded={"at": 1}),
        record(recorded={"at": "x" * 200}),
        record(schema="archiver/description/2"),
        record(title=""),
        record(title="\u202egnp.exe"),
        record(title="\x1b[2J"),
        record(title=1),
        record(titel="x"),
        record(puid="fmt/199"),
        record(scan_dpi=1),
        record(event_time="2026-02-30"),
        record(event_time="26"),
        record(reencoded=True),
        record(derived_from=[]),
        record(derived_from=[{"item": ["x"]}]),
        record(derived_from=[[]]),
        record(derived_from=[{}] * 1001),
        record(title="x")[:-1],
        record(title="x") + b"\n",
        record(title="x").replace(b",", b", ", 1),
        record(title="é").replace("é".encode(), b"\\u00e9"),
        record(title="x").replace(b'"title":"x"', b'"title":"y","title":"x"'),
        b'{"kind":"document","recorded":{},"scan_dpi":NaN,"schema":"archiver/description/1"}\n',
        b'{"kind":"document","recorded":{},"scan_dpi":1.5,"schema":"archiver/description/1"}\n',
        b'{"kind":"video","recorded":{},"schema":"archiver/description/1","title":"\\ud800"}\n',
        b'{"kind":"video","recorded":{},"schema":"archiver/description/1","title":"\xed\xa0\x80"}\n',
        record(description="x" * MAX_DESCRIPTION_BYTES),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_what_is_no_description(data: bytes) -> None:
    with pytest.raises(FormatError):
        Description.parse(data)


def test_other_records_are_canonical_to_the_byte_too() -> None:
    data = canonical({"schema": "s", "b": 1, "a": "ñ"})
    assert data == '{"a":"ñ","b":1,"schema":"s"}\n'.encode()
    assert strict_json(data, "s") == {"a": "ñ", "b": 1}
    for bad in (data.replace(b"1", b"NaN"), data.replace(b"1", b"1e0"), data.replace(b"1", b"-0")):
        with pytest.raises(FormatError):
            strict_json(bad, "s")
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": float("nan")})


def test_a_kind_that_is_none_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError):
        Description(kind="nothing")
    with pytest.raises(ValueError):
        Description(kind="video", recorded={"who": "x"})


# -- what is owed


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_description_owes_nothing_and_an_empty_one_everything(kind: str) -> None:
    described = whole(kind)
    assert described.missing(described.required()) == []
    empty = Description(kind=kind)
    required = [one.key for one in fields_of(kind).values() if one.required]
    assert sorted(empty.missing(empty.required())) == sorted(required)
    assert {"title", "case", "confidentiality", "known_gaps"} <= set(required)


@pytest.mark.parametrize("kind", KINDS)
def test_each_required_field_is_owed_where_it_alone_is_missing(kind: str) -> None:
    described = whole(kind)
    for key in (one.key for one in fields_of(kind).values() if one.required):
        values = {name: value for name, value in described.values.items() if name != key}
        left = Description.checked(kind, values)
        assert left.missing(left.required()) == [key]


@pytest.mark.parametrize("kind", KINDS)
def test_each_required_field_of_a_table_is_owed(kind: str) -> None:
    described = whole(kind)
    for field in fields_of(kind).values():
        for inner in field.fields:
            tables = described.values[field.key]
            cut = [
                {key: value for key, value in table.items() if key != inner.key}
                for table in (tables if isinstance(tables, list) else [tables])
            ]
            values = {**described.values, field.key: cut if isinstance(tables, list) else cut[0]}
            left = Description.checked(kind, values)
            owed = [f"{field.key}.{inner.key}"] if inner.required else []
            assert left.missing([field.key]) == owed


def test_a_guardian_is_owed_for_a_minor_alone() -> None:
    for minor, owed in (("no", []), ("unknown", []), ("yes", ["guardian"])):
        described = Description.checked("statement", {"minor": minor})
        assert described.missing(["minor", "guardian"]) == owed
    assert Description(kind="statement").missing(["minor", "guardian"]) == ["minor"]
    assert "guardian" in Description(kind="statement").required()


def test_what_the_design_requires_is_required() -> None:
    statement = Description.checked("statement", {"consent": {"explained": "yes"}})
    owed = set(statement.missing(statement.required()))
    proof = {f"consent.{key}" for key in ("explained_language", "explained_method", "proof")}
    assert owed > {"first_account", "minor", "risk_assessed_on", *proof}
    post = Description(kind="social-media-post")
    assert set(post.missing(post.required())) > {"captured_at", "captured_by", "captured_with"}


def test_what_it_was_made_from_is_owed_by_what_was_made_alone() -> None:
    for original, owed in (("original", []), ("copy", []), ("derived", ["derived_from"])):
        described = Description.checked("video", {"original": original})
        assert described.missing(["derived_from"]) == owed
    assert Description(kind="video").missing(["derived_from", "no_such_field"]) == []


def test_who_may_see_it() -> None:
    assert Description(kind="video").confidentiality == "restricted"
    for word, secret in (
        ("public", False),
        ("restricted", False),
        ("confidential", True),
        ("sealed", True),
    ):
        described = Description.checked("video", {"confidentiality": word})
        assert (described.confidentiality, described.is_secret) == (word, secret)


def test_depth_is_no_way_to_end_the_program() -> None:
    deep = b'{"kind":"video","recorded":' + b'{"at":' * 170_000 + b"1" + b"}" * 170_000 + b"}\n"
    with pytest.raises(FormatError):
        Description.parse(deep[:MAX_DESCRIPTION_BYTES])
    assert json.loads(Description(kind="video").to_bytes())["kind"] == "video"
