"""Amendments as values: canonical bytes, a strict parser, what they make of a description."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.describe import Description
from archiver.describe.amendment import Amendment, fold_amendments, record_name
from archiver.describe.description import canonical
from archiver.errors import FormatError

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ITEM = "c-E-0001"
FIRST = Description.checked("video", {"title": "one", "edits_known": "none known"})
DIGEST = hashlib.sha256(FIRST.to_bytes()).hexdigest()


def amendment(number: int = 1, previous: str = DIGEST, **changes: Any) -> Amendment:
    values: dict[str, Any] = {"item": ITEM, "at": AT, "reason": "seen", "set": {"title": "two"}}
    return Amendment(number=number, previous=previous, **(values | changes))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def chain(*changes: dict[str, Any]) -> list[bytes]:
    """Records that follow one another."""
    records: list[bytes] = []
    for number, one in enumerate(changes, start=1):
        previous = digest(records[-1]) if records else DIGEST
        records.append(amendment(number, previous, **one).to_bytes())
    return records


def test_its_bytes_are_read_back_as_they_were() -> None:
    one = amendment(remove=("edits_known",), set={"title": "dos ñ"})
    data = one.to_bytes()
    assert Amendment.parse(data) == one
    assert data.endswith(b"}\n")
    assert list(json.loads(data)) == sorted(json.loads(data))
    assert json.loads(data)["schema"] == "archiver/amendment/1"
    assert (record_name(1), record_name(12, sealed=True)) == ("0001.json", "0012.json.age")


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"number": 10_000},
        {"reason": " "},
        {"reason": "two\nlines"},
        {"reason": "x" * 3000},
        {"reason": "\x1b[2J"},
        {"previous": "0" * 63},
        {"previous": "../../etc/passwd"},
        {"kind": "film"},
        {"remove": ("title",)},
        {"remove": ("edits_known", "edits_known")},
        {"remove": (), "set": {}},
    ],
)
def test_what_can_be_no_amendment(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        amendment(**changes)


def altered(**changes: Any) -> bytes:
    record = json.loads(amendment().to_bytes()) | changes
    return canonical({key: value for key, value in record.items() if value is not None})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]\n",
        b"\xff\xfe",
        b"[" * 100_000,
        amendment().to_bytes()[:-1],
        amendment().to_bytes().replace(b":", b": ", 1),
        altered(schema="archiver/amendment/2"),
        altered(more=1),
        altered(item=None),
        altered(item=7),
        altered(number="1"),
        altered(number=True),
        altered(number=1.0),
        altered(at="2026-03-01"),
        altered(at="2026-02-30T00:00:00Z"),
        altered(at="2026-03-01T12:00:00+00:00"),
        altered(remove="title"),
        altered(remove=[1]),
        altered(remove=["b", "a"]),
        altered(set=[]),
        altered(set={}),
        altered(reason="a\u202eb"),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Amendment.parse(data)


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(data: bytes) -> None:
    with pytest.raises(FormatError):
        Amendment.parse(data)


def test_what_holds_after_each() -> None:
    records = chain(
        {"set": {"title": "two"}},
        {"set": {"event_time": "2026"}, "remove": ("edits_known",)},
    )
    history = fold_amendments(ITEM, FIRST, DIGEST, records)
    assert history.problem == ""
    assert history.now is not None
    assert dict(history.now.values) == {"title": "two", "event_time": "2026"}
    assert history.first == FIRST
    first, second = history.steps
    assert [(one.key, one.before, one.after) for one in first.changes] == [("title", "one", "two")]
    assert [(one.key, one.before, one.after) for one in second.changes] == [
        ("edits_known", "none known", None),
        ("event_time", None, "2026"),
    ]
    assert second.sha256 == digest(records[1])


def test_an_item_that_nobody_has_described_is_given_its_kind_once() -> None:
    first = amendment(1, "", kind="document", set={"title": "letter"}).to_bytes()
    again = amendment(2, digest(first), kind="video").to_bytes()
    history = fold_amendments(ITEM, None, "", [first, again])
    assert history.now is not None
    assert history.now.kind == "document"
    assert len(history.steps) == 1
    assert "said once" in history.problem
    nothing = fold_amendments(ITEM, None, "", [amendment(1, "").to_bytes()])
    assert (nothing.now, "what kind" in nothing.problem) == (None, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"item": "c-E-0002"}, "another item's"),
        ({"number": 2}, "number is another one"),
        ({"previous": "0" * 64}, "doesn't follow"),
        ({"previous": ""}, "doesn't follow"),
        ({"set": {"titel": "x"}}, "unknown key titel"),
        ({"set": {"title": ""}}, "title is empty"),
        ({"set": {"title": "\x1b[2J"}}, "control characters"),
        ({"set": {"witness_code": "W-07"}}, "unknown key"),
        ({"set": {"reencoded": True}}, "canonical form"),
        ({"set": {"size": 3}}, "filled in by the program"),
    ],
)
def test_what_does_not_fit_counts_for_nothing(changes: dict[str, Any], words: str) -> None:
    record = amendment(**changes).to_bytes()
    history = fold_amendments(ITEM, FIRST, DIGEST, [record, *chain({}, {})[1:]])
    assert words in history.problem
    assert "amendment 1" in history.problem
    assert (history.now, history.steps) == (FIRST, ())


def test_the_second_is_named_where_it_is_wrong() -> None:
    one, two = chain({}, {"set": {"title": "three"}})
    for records in ([two, one], [one, one], [one, two.replace(b"three", b"threx"), two]):
        history = fold_amendments(ITEM, FIRST, DIGEST, records)
        assert history.problem
        assert history.now is not None
        assert len(history.steps) < len(records)


def test_what_is_secret_stays_secret() -> None:
    secret = Description.checked("video", {"confidentiality": "sealed"})
    before = digest(secret.to_bytes())
    for changes in (
        {"set": {"confidentiality": "public"}},
        {"set": {"title": "x"}, "remove": ("confidentiality",)},
    ):
        record = amendment(1, before, **changes).to_bytes()
        assert "stays secret" in fold_amendments(ITEM, secret, before, [record]).problem
    raised = amendment(1, before, set={"confidentiality": "confidential"}).to_bytes()
    assert fold_amendments(ITEM, secret, before, [raised]).problem == ""
