"""Chains of custody: every edit, insertion, removal and reordering is found."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.custody import (
    CUSTODY_PATH,
    GENESIS,
    Event,
    Link,
    chain_lines,
    line_digest,
    parse_event,
    read_chain,
    tree_hash,
)
from archiver.errors import FormatError
from tests.sealing import Office, check, found, make_source, outcome, regenerate, seal

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).parent.parent


def events(count: int) -> list[Event]:
    return [Event(type="fixity check", at=NOW, detail={"number": n}) for n in range(count)]


def chain(count: int) -> list[bytes]:
    return list(chain_lines(events(count)))


def holds(lines: list[bytes]) -> bool:
    try:
        list(read_chain(lines))
    except FormatError:
        return False
    return True


def test_a_chain() -> None:
    lines = chain(5)
    links = list(read_chain(lines))
    assert [link.seq for link in links] == [1, 2, 3, 4, 5]
    assert [link.event for link in links] == events(5)
    assert links[0].prev == GENESIS
    assert links[3].prev == line_digest(lines[2])
    more = list(chain_lines(events(2), seq=5, prev=line_digest(lines[-1])))
    assert holds(lines + more)
    assert holds([])


def test_every_tampering_is_found() -> None:
    lines = chain(6)
    for index in range(6):
        assert not holds(lines[:index] + lines[index + 1 :]) or index == 5  # the end may be cut
        assert not holds([*lines[:index], lines[index], *lines[index:]])
        for other in range(index):
            swapped = list(lines)
            swapped[index], swapped[other] = swapped[other], swapped[index]
            assert not holds(swapped)


def test_every_bit_of_a_chain() -> None:
    """In the last line a detail can be changed: what binds the end is the seal."""
    lines = chain(3)
    for index, line in enumerate(lines[:-1]):
        for position in range(8 * len(line)):
            changed = bytearray(line)
            changed[position // 8] ^= 1 << position % 8
            assert not holds([*lines[:index], bytes(changed), *lines[index + 1 :]])


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(seq="1"),
        lambda r: r.update(seq=True),
        lambda r: r.update(seq=2),
        lambda r: r.update(prev="0"),
        lambda r: r.update(prev=None),
        lambda r: r.update(type="gossip"),
        lambda r: r.update(outcome="maybe"),
        lambda r: r.update(at="2026-11-25 12:00:00"),
        lambda r: r.update(at="2026-99-25T12:00:00Z"),
        lambda r: r.update(agent=1),
        lambda r: r.update(detail=[]),
        lambda r: r.update(schema="archiver/event/2"),
        lambda r: r.update(more=1),
        lambda r: r.pop("agent"),
    ],
)
def test_lines_that_are_no_event(change: Any) -> None:
    record = json.loads(chain(1)[0])
    change(record)
    line = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert not holds([line])


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{}\n", b"[]\n", b"1\n", b"\xff\n", b"{" * 100_000, b" " * (2 << 20)],
)
def test_lines_that_are_nothing(line: bytes) -> None:
    with pytest.raises(FormatError):
        parse_event(line)


def test_only_the_canonical_form_counts() -> None:
    (line,) = chain(1)
    for other in (
        line[:-1],
        line[:-1] + b"\r\n",
        b" " + line,
        line.replace(b":", b": ", 1),
        json.dumps(json.loads(line), sort_keys=False, indent=1).encode() + b"\n",
        line.replace(b"archiver 0", b"\\u0061rchiver 0"),
    ):
        with pytest.raises(FormatError):
            parse_event(other)


def test_what_is_no_event() -> None:
    for kind, ending in (("gossip", "success"), ("ingestion", "maybe")):
        with pytest.raises(ValueError, match="no such event"):
            Event(type=kind, at=NOW, outcome=ending)


texts = st.text(max_size=20)
details = st.dictionaries(texts, st.one_of(texts, st.integers(), st.lists(texts, max_size=3)))


@given(details)
def test_any_detail_comes_back(detail: dict[str, Any]) -> None:
    event = Event(type="ingestion", at=NOW, detail=detail)
    try:
        line = Link(seq=1, prev=GENESIS, event=event).line()
    except UnicodeEncodeError:  # lone surrogates have no UTF-8
        return
    assert parse_event(line).event.detail == detail


# -- RFC 9162


def reference(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162 §2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = reference(leaves[:split]), reference(leaves[split:])
    return hashlib.sha256(b"\1" + left + right).digest()


@pytest.mark.parametrize("count", range(34))
def test_tree_hashes(count: int) -> None:
    leaves = [bytes([n]) for n in range(count)]
    assert tree_hash(leaves) == reference(leaves).hex()


# -- in a bag


def test_each_bag_carries_its_own(sealed: Path, office: Office) -> None:
    lines = (sealed / CUSTODY_PATH).read_bytes().splitlines(keepends=True)
    assert [link.event.type for link in read_chain(lines)] == [
        "ingestion",
        "message digest calculation",
    ]
    assert outcome(check(sealed, office.anchors()), "custody") == "holds"


def test_a_broken_chain_fails_though_its_checksum_is_right(tmp_path: Path) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [])
    lines = (bag / CUSTODY_PATH).read_bytes().splitlines(keepends=True)
    for broken, line in ((lines[1:], 1), ([lines[0], lines[0]], 2), ([], 1), ([*lines, b"x"], 3)):
        (bag / CUSTODY_PATH).write_bytes(b"".join(broken))
        regenerate(bag)
        report = check(bag)
        assert report.exit_code == 4
        assert found(report) == {"E-CUS-001"}
        (finding,) = [one for one in report.findings if one.code == "E-CUS-001"]
        assert f"line {line}" in finding.message
    (bag / CUSTODY_PATH).write_bytes(b"x" * (3 << 20))
    regenerate(bag)
    assert check(bag).exit_code == 4


def test_a_bag_without_one_is_not_asked(tmp_path: Path) -> None:
    bag = seal(make_source(tmp_path / "s"), tmp_path / "bag", [])
    (bag / CUSTODY_PATH).unlink()
    regenerate(bag)
    report = check(bag)
    assert (report.exit_code, outcome(report, "custody")) == (0, "not-asked")


def test_the_shell_loop_of_the_docs(sealed: Path) -> None:
    text = (ROOT / "docs" / "custody.md").read_text("utf-8")
    (script,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)

    def run() -> str:
        done = subprocess.run(
            ["sh", "-c", script], cwd=sealed, capture_output=True, text=True, check=True
        )
        return done.stdout

    data = (sealed / CUSTODY_PATH).read_bytes()
    lines = data.splitlines(keepends=True)
    assert run() == f"head: {line_digest(lines[-1])}\n"
    (sealed / CUSTODY_PATH).write_bytes(data.replace(b'"payload_files":2', b'"payload_files":1'))
    assert "BROKEN" in run()
    (sealed / CUSTODY_PATH).write_bytes(lines[1])
    assert "BROKEN" in run()
