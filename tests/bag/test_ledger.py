"""The manifests joined: a million paths with their digests, and what they agree on."""

import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.bag.ledger import Ledger, LedgerManifest
from archiver.bag.read import ManifestBlock
from archiver.digest import ALGORITHMS
from archiver.findings import Findings
from tests.helpers import codes

MD5, SHA1 = ALGORITHMS["md5"], ALGORITHMS["sha1"]
ONE, TWO = b"1" * 16, b"2" * 16

Entries = list[tuple[str, bytes]]


def blocks(*portions: Entries) -> Iterator[ManifestBlock]:
    line = 1
    for entries in portions:
        yield ManifestBlock(
            paths=[path for path, _digest in entries],
            digests=b"".join(digest for _path, digest in entries),
            lines=range(line, line + len(entries)),
        )
        line += len(entries)


def load(ledger: Ledger, name: str, *portions: Entries, strict: bool = True) -> Findings:
    findings = Findings()
    algorithm = ALGORITHMS.get(name)
    column = LedgerManifest(f"manifest-{name}.txt", algorithm)
    ledger.load(column, blocks(*portions), findings, strict=strict)
    ledger.finish()
    return findings


def of(ledger: Ledger, column: int) -> dict[str, bytes]:
    manifest = ledger.manifests[column]
    return {p: manifest.digest(row) for p, row in ledger.rows.items() if manifest.listed[row]}


def test_a_manifest_by_portions() -> None:
    ledger = Ledger()
    assert not len(load(ledger, "md5", [("a", ONE)], [("b", TWO), ("c", ONE)]))
    assert of(ledger, 0) == {"a": ONE, "b": TWO, "c": ONE}
    assert len(ledger) == ledger.manifests[0].entries == 3


@pytest.mark.parametrize(
    ("strict", "digest", "code"),
    [
        (True, ONE, "E-BAG-023"),
        (False, ONE, "W-BAG-024"),
        (True, TWO, "E-BAG-025"),
        (False, TWO, "E-BAG-025"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_path_twice(strict: bool, digest: bytes, code: str, together: bool) -> None:
    ledger = Ledger()
    entries = [("a", ONE), ("b", ONE), ("a", digest)]
    portions = [entries] if together else [entries[:2], entries[2:]]
    findings = load(ledger, "md5", *portions, strict=strict)
    assert codes(findings) == {code}
    assert dict(next(iter(findings)).details)["line"] == "3"
    assert of(ledger, 0) == {"a": ONE, "b": ONE}


def test_a_path_twice_in_a_later_manifest() -> None:
    ledger = Ledger()
    load(ledger, "sha1", [("a", b"x" * 20), ("b", b"y" * 20)])
    assert codes(load(ledger, "md5", [("a", ONE), ("b", ONE)], [("a", ONE)])) == {"E-BAG-023"}


@given(
    st.lists(st.lists(st.sampled_from("abcdefg"), unique=True), min_size=1, max_size=4),
    st.lists(st.integers(1, 4), max_size=6),
)
def test_any_order_and_any_portions_give_each_manifest_s_own_entries(
    manifests: list[list[str]], cuts: list[int]
) -> None:
    ledger = Ledger()
    expected = []
    for number, paths in enumerate(manifests):
        entries = [(path, bytes([number]) * 15 + path.encode()) for path in paths]
        portions, rest = [], entries
        for cut in cuts:
            portions.append(rest[:cut])
            rest = rest[cut:]
        assert not len(load(ledger, "md5", *portions, rest))
        expected.append(dict(entries))
    assert [of(ledger, number) for number in range(len(manifests))] == expected
    assert [column.entries for column in ledger.manifests] == [len(paths) for paths in manifests]
    assert all(len(column.listed) >= len(ledger) for column in ledger.manifests)


def test_agreement_is_with_every_manifest() -> None:
    ledger = Ledger()
    load(ledger, "md5", [("a", ONE), ("b", TWO)])
    load(ledger, "sha1", [("a", b"a" * 20), ("b", b"b" * 20)])
    right = ONE + b"a" * 20 + TWO + b"b" * 20
    assert ledger.agrees(0, 2, right)
    assert ledger.agrees(1, 1, right[36:])
    for index in range(len(right)):
        assert not ledger.agrees(0, 2, right[:index] + b"?" + right[index + 1 :])


def test_no_agreement_where_one_manifest_is_silent() -> None:
    ledger = Ledger()
    load(ledger, "md5", [("a", bytes(16))])
    load(ledger, "sha1", [("b", b"b" * 20)])
    assert not ledger.agrees(0, 1, bytes(36))


def test_an_unknown_algorithm_has_paths_and_no_digests() -> None:
    ledger = Ledger()
    load(ledger, "whirlpool", [("a", b""), ("b", b"")])
    load(ledger, "md5", [("a", ONE), ("b", TWO)])
    assert ledger.algorithms == (MD5,)
    assert ledger.agrees(0, 2, ONE + TWO)
    assert not ledger.agrees(0, 2, TWO + ONE)


def test_rows_and_what_was_not_seen() -> None:
    ledger = Ledger()
    load(ledger, "md5", [("a", ONE), ("b", TWO)])
    assert ledger.rows_of(["b", "x", "a"]) == [1, None, 0]
    ledger.seen[0] = 1
    assert list(ledger.unseen()) == [("b", 1)]


def test_twins() -> None:
    ledger = Ledger()
    names = ["data/a", "data/A", "data/b", "data/\xe9", "data/e\u0301", "data/E\u0301"]
    load(ledger, "md5", [(name, ONE) for name in names])
    assert list(ledger.twins()) == [
        ("data/A", "data/a"),
        ("data/e\u0301", "data/\xe9"),
        ("data/E\u0301", "data/\xe9"),
    ]


def test_no_twins() -> None:
    ledger = Ledger()
    load(ledger, "md5", [("a", ONE), ("b", TWO)])
    assert list(ledger.twins()) == []


def test_equal_hashes_are_not_yet_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.bag.ledger.hash", lambda _text: 1, raising=False)
    ledger = Ledger()
    load(ledger, "md5", [("a", ONE), ("b", TWO), ("B", TWO)])
    assert list(ledger.twins()) == [("B", "b")]


def test_a_manifest_that_ends_in_a_read_error_leaves_a_sound_ledger() -> None:
    def broken() -> Iterator[ManifestBlock]:
        yield from blocks([("new", b"x" * 20)])
        raise OSError("input/output error")

    ledger = Ledger()
    load(ledger, "md5", [("a", ONE)])
    with pytest.raises(OSError, match="input"):
        ledger.load(LedgerManifest("x", SHA1), broken(), Findings(), strict=True)
    assert all(len(column.listed) >= len(ledger) for column in ledger.manifests)


def test_many_entries_in_two_orders_take_bounded_memory_and_time() -> None:
    count, portion = 60_000, 10_000
    names = [f"data/directory/file-{number:07}" for number in range(count)]
    size = sum(map(len, names)) + 49 * count
    start = time.process_time()
    tracemalloc.start()
    ledger = Ledger()
    for order in (names, names[::-1]):
        load(
            ledger,
            "md5",
            *(
                [(name, ONE) for name in order[at : at + portion]]
                for at in range(0, count, portion)
            ),
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [column.entries for column in ledger.manifests] == [count, count]
    assert peak < 250 * count + size
    assert time.process_time() - start < 8
