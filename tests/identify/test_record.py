"""Records: bounded, canonical, and nothing in them that a terminal would obey."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.identify.record import (
    MAX_RECORD_BYTES,
    FormatRecord,
    bounded,
    mime,
    path_text,
    puid,
    text,
    to_bytes,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=60,
)


@given(json_values, st.text())
def test_whatever_a_tool_says_the_line_is_one_line_of_json(value: Any, told: str) -> None:
    record = FormatRecord(
        path=path_text(told),
        format=text(told),
        technical={"x": bounded(value)},
        warnings=(text(told),),
    )
    line = record.line()
    assert len(line) <= MAX_RECORD_BYTES
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert not any(byte < 32 or byte == 127 for byte in line[:-1])
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line)["path"] == path_text(told)
    assert json.loads(line, parse_constant=pytest.fail)


def test_a_record_that_is_too_long_says_so() -> None:
    wide = {str(n): {str(m): "ü" * 500 for m in range(64)} for n in range(64)}
    record = FormatRecord(path="data/a", puid="fmt/1", outcome="identified", technical=wide)
    line = record.line()
    assert len(line) < MAX_RECORD_BYTES
    told = json.loads(line)
    assert (told["puid"], told["technical"]) == ("fmt/1", {})
    assert "left out" in told["warnings"][-1]


def test_texts_are_cut() -> None:
    assert text("a" * 1000) == "a" * 500 + "…"
    assert text(None) == text(7) == ""
    assert text("\ud800") == "?"
    assert len(path_text("a" * 5000)) == 4097


def test_only_what_has_the_shape_of_an_identifier_is_one() -> None:
    assert puid("x-fmt/111") == "x-fmt/111"
    for other in ("UNKNOWN", "fmt/1\n", "fmt/", "../fmt/1", 5, None, "fmt/1234567", "FMT/1"):
        assert puid(other) == ""
    assert mime("video/mp4; codecs=x") == "video/mp4"
    for other in ("video", "a/b/c", "a/b\x1b[0m", "ä/b", None, "a /b"):
        assert mime(other) == ""


def test_numbers_that_json_does_not_know() -> None:
    assert bounded(float("inf")) == "inf"
    assert bounded(float("nan")) == "nan"
    assert bounded(1 << 70) == "0x" + "4" + "0" * 17
    assert bounded(10**5000) != ""
    assert bounded([[[[[["x"]]]]]]) == [[[[["…"]]]]]
    assert len(bounded(list(range(1000)))) == 64


def test_an_outcome_that_is_none() -> None:
    with pytest.raises(ValueError, match="no such outcome"):
        FormatRecord(path="data/a", outcome="fine")


def test_the_file_begins_with_its_schema() -> None:
    lines = to_bytes([FormatRecord(path="data/b"), FormatRecord(path="data/a")]).splitlines()
    assert json.loads(lines[0]) == {"schema": "archiver/formats/1"}
    assert [json.loads(one)["path"] for one in lines[1:]] == ["data/b", "data/a"]
    assert lines[1] == (
        b'{"basis":"","format":"","found":{},"identifier":"","mime":"","outcome":"unknown",'
        b'"path":"data/b","puid":"","reason":"","technical":{},"version":"","warnings":[]}'
    )
