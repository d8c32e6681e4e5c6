"""The parsers: any bytes in, values and findings out."""

import io
import time
import tracemalloc
from collections.abc import Callable
from encodings.aliases import aliases

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.bag import read
from archiver.bag.model import BagInfo, Declaration, ManifestName
from archiver.bag.read import (
    ManifestReader,
    find_codec,
    parse_bag_info,
    parse_declaration,
    parse_fetch,
    read_blocks,
    strictly,
)
from archiver.errors import FormatError
from archiver.findings import Findings
from tests.helpers import codes, digest, encoded_line

V1 = Declaration((1, 0), "UTF-8")
OLD = Declaration((0, 97), "UTF-8")
CHARSETS = sorted({name for name in aliases.values() if find_codec(name)})

quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
bodies = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [
                b"\r",
                b"\n",
                b"\r\n",
                b" ",
                b"\t",
                b":",
                b"%0A",
                b"%",
                b"data/",
                b"a",
                b"0" * 32,
                b"-",
                b"1",
                b"http://x",
                b"A: b",
                b"../",
                b"*",
                b"./",
                b"\0",
                b"\xff",
                b"\xc3\xa9",
                b"\xe2\x80\xa8",
                b"BagIt-Version: 1.0",
                b"Tag-File-Character-Encoding: UTF-8",
            ]
        ),
        max_size=40,
    ).map(b"".join),
)


class Drip(io.RawIOBase):
    """A stream that gives as many bytes at a time as it is told, one after all."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = data
        self._sizes = iter(sizes)

    def read(self, size: int = -1) -> bytes:
        count = max(1, min(size, next(self._sizes, 1)))
        given, self._data = self._data[:count], self._data[count:]
        return given


def manifest(
    data: bytes, file: str = "manifest-md5.txt", declaration: Declaration = V1
) -> tuple[list[tuple[str, str, int]], list[object]]:
    """(path, digest, line) of each entry, and the findings."""
    return _manifest(io.BytesIO(data), file, declaration)


def _manifest(
    stream: object, file: str, declaration: Declaration
) -> tuple[list[tuple[str, str, int]], list[object]]:
    name = ManifestName.parse(file)
    assert name is not None
    findings = Findings()
    width = name.algorithm.size_bytes if name.algorithm else 0
    entries = []
    for block in ManifestReader(name, declaration, findings).read(stream):  # type: ignore[arg-type]
        for index, (path, line) in enumerate(zip(block.paths, block.lines, strict=True)):
            entries.append((path, block.digests[index * width : (index + 1) * width].hex(), line))
    return entries, list(findings)


def text(data: bytes, encoding: str = "UTF-8") -> tuple[list[str], Findings]:
    findings = Findings()
    blocks = list(read_blocks(io.BytesIO(data), encoding, findings, "x"))
    return [line for _first, block in blocks for line in block.split("\n")], findings


def info(data: bytes, declaration: Declaration = V1) -> tuple[BagInfo, Findings]:
    findings = Findings()
    return parse_bag_info(io.BytesIO(data), declaration, findings, "bag-info.txt"), findings


PARSERS: dict[str, Callable[[bytes, Findings], object]] = {
    "declaration": parse_declaration,
    "info": lambda data, findings: parse_bag_info(io.BytesIO(data), V1, findings, "x"),
    "info-old": lambda data, findings: parse_bag_info(io.BytesIO(data), OLD, findings, "x"),
    "fetch": lambda data, findings: list(parse_fetch(io.BytesIO(data), V1, findings)),
    "fetch-old": lambda data, findings: list(parse_fetch(io.BytesIO(data), OLD, findings)),
    "manifest": lambda data, findings: list(
        ManifestReader(ManifestName("manifest-md5.txt", "md5", False), V1, findings).read(
            io.BytesIO(data)
        )
    ),
    "tagmanifest": lambda data, findings: list(
        ManifestReader(ManifestName("tagmanifest-x.txt", "x", True), OLD, findings).read(
            io.BytesIO(data)
        )
    ),
}


@pytest.mark.parametrize("parser", PARSERS)
@quick
@given(data=bodies)
def test_any_bytes_give_values_and_findings(parser: str, data: bytes) -> None:
    findings = Findings()
    PARSERS[parser](data, findings)
    assert all(finding.message for finding in findings)


@pytest.mark.parametrize("parser", PARSERS)
@quick
@given(data=bodies)
def test_the_strict_door_raises_nothing_but_format_errors(parser: str, data: bytes) -> None:
    findings = Findings()
    PARSERS[parser](data, findings)
    errors = [finding for finding in findings if not finding.code.startswith("W")]
    if not errors:
        strictly(lambda found: PARSERS[parser](data, found))
        return
    with pytest.raises(FormatError, match=errors[0].code):
        strictly(lambda found: PARSERS[parser](data, found))


def test_the_strict_door_gives_the_value_and_passes_over_warnings() -> None:
    parsed = strictly(lambda found: parse_bag_info(io.BytesIO(b"A: b"), V1, found, "x"))
    assert list(parsed) == [("A", "b")]


def test_the_strict_door_names_no_file_where_there_is_none() -> None:
    def parse(findings: Findings) -> None:
        findings.add("E-BAG-007")

    with pytest.raises(FormatError, match=r"^there is no payload manifest"):
        strictly(parse)


# -- text


@pytest.mark.parametrize(
    "charset",
    CHARSETS,
)
@pytest.mark.parametrize("data", [b"", b"abc\n" * 3, bytes(range(256)) * 3, b"\x1b$B!\n", b"+2AA-"])
def test_every_character_set_takes_any_bytes(charset: str, data: bytes) -> None:
    text(data, charset)


def test_every_character_set_is_read_in_portions() -> None:
    assert all(codec.incrementaldecoder for codec in map(find_codec, CHARSETS) if codec)


def test_a_character_set_that_can_not_be_read_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_codec("ascii")
    assert found is not None
    monkeypatch.setattr(found, "incrementaldecoder", None)
    monkeypatch.setattr("codecs.lookup", lambda _name: found)
    with pytest.raises(FormatError, match="portions"):
        text(b"x", "ascii")


@pytest.mark.parametrize(
    "name",
    [
        "zlib",
        "base64",
        "rot13",
        "unicode_escape",
        "idna",
        "undefined",
        "",
        "-x",
        "a b",
        "x" * 65,
        "no-such",
        "\N{KELVIN SIGN}OI8-R",
    ],
)
def test_no_character_sets(name: str) -> None:
    assert find_codec(name) is None


def test_lines_end_at_lf_cr_and_crlf_and_nothing_else() -> None:
    lines, findings = text("a\rb\r\nc\nd\x85e\u2028f\fg\vh\x1ci\r\r\n".encode())
    assert lines == ["a", "b", "c", "d\x85e\u2028f\fg\vh\x1ci", ""]
    assert not len(findings)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"\r", [""]),
        (b"\r\n", [""]),
        (b"a\r", ["a"]),
        (b"a\n\r", ["a", ""]),
    ],
)
def test_ends_of_files(data: bytes, lines: list[str]) -> None:
    assert text(data)[0] == lines


def test_a_last_line_without_end_is_warned_of() -> None:
    lines, findings = text(b"a\nb")
    assert lines == ["a", "b"]
    assert codes(findings) == {"W-BAG-048"}


@quick
@given(data=bodies, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=200))
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16LE", "Shift_JIS", "ISO-2022-JP", "cp037"])
def test_any_chunking_gives_the_same(encoding: str, data: bytes, sizes: list[int]) -> None:
    declaration = Declaration((1, 0), encoding)
    sizes = [max(4, sizes[0]), *sizes[1:]]  # where a byte-order mark may stand: see below
    whole, dripped = Findings(), Findings()
    one = parse_bag_info(io.BytesIO(data), declaration, whole, "x")
    two = parse_bag_info(Drip(data, sizes), declaration, dripped, "x")  # type: ignore[arg-type]
    assert one == two
    assert sorted(map(repr, whole)) == sorted(map(repr, dripped))


@quick
@given(
    names=st.lists(st.text("ab\u2028\xe9\r\n%", min_size=1, max_size=5), max_size=20),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    sizes=st.lists(st.integers(1, 60), max_size=400),
)
def test_a_manifest_cut_anywhere_is_the_same_manifest(
    names: list[str], end: bytes, sizes: list[int]
) -> None:
    lines = [encoded_line(digest("md5", b"x"), f"data/{name}") for name in names]
    data = b"".join(line[:-1] + end for line in lines)
    dripped = _manifest(Drip(data, [4, *sizes]), "manifest-md5.txt", V1)
    assert dripped == manifest(data)
    assert [path for path, _digest, _line in dripped[0]] == [f"data/{name}" for name in names]
    assert [line for _path, _digest, line in dripped[0]] == list(range(1, len(names) + 1))


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16"])
def test_a_byte_order_mark_that_comes_byte_by_byte(encoding: str) -> None:
    data = "\ufeffA: b\n".encode(encoding.replace("16", "16-le"))
    whole, dripped = Findings(), Findings()
    declaration = Declaration((1, 0), encoding)
    one = parse_bag_info(io.BytesIO(data), declaration, whole, "x")
    two = parse_bag_info(Drip(data, []), declaration, dripped, "x")  # type: ignore[arg-type]
    assert (one, list(whole)) == (two, list(dripped))


def test_undecodable_bytes_are_told_once_with_their_place() -> None:
    lines, findings = text(b"abc\xffd\n\xfe\n")
    assert lines == ["abc\udcffd", "\udcfe"]
    (finding,) = findings
    assert (finding.code, dict(finding.details)["offset"]) == ("E-BAG-043", "3")


def test_the_place_counts_earlier_portions() -> None:
    findings = Findings()
    stream = Drip(b"abcd\xc3\xa9\xff", [5, 2])
    list(read_blocks(stream, "UTF-8", findings, "x"))
    assert dict(next(iter(findings)).details)["offset"] == "6"


def test_other_encodings_get_replacement_characters() -> None:
    lines, findings = text(b"a\xffb\n", "US-ASCII")
    assert lines == ["a\ufffdb"]
    assert codes(findings) == {"E-BAG-043"}


# -- limits


class Endless(io.RawIOBase):
    """``count`` portions of one kind, then the end."""

    def __init__(
        self, portion: bytes, count: int, end: bytes = b"", start: bytes | None = None
    ) -> None:
        self._portions = iter([*([] if start is None else [start]), *[portion] * count, end])

    def read(self, _size: int = -1) -> bytes:
        return next(self._portions, b"")


@pytest.mark.parametrize("end", [b"", b"\r\nnext\n", b"\nnext"])
def test_a_line_of_100_mb_takes_little_memory(end: bytes) -> None:
    findings = Findings()
    tracemalloc.start()
    start = time.process_time()
    stream = Endless(b"x" * (1 << 20), 100, end)
    blocks = list(read_blocks(stream, "UTF-8", findings, "x"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "U-BAG-051" in codes(findings)
    assert [block for block in blocks if block[1]] == ([(2, "next")] if end else [])
    assert peak < 20 << 20
    assert time.process_time() - start < 10


def test_a_long_line_that_never_ends_is_told_once() -> None:
    findings = Findings()
    stream = Endless(b"x" * (1 << 20), 5)
    assert not list(read_blocks(stream, "UTF-8", findings, "x"))
    assert findings.counts == {"U-BAG-051": 1}


def test_white_space_is_no_part_of_a_digest() -> None:
    entries, findings = manifest(f"{HEX[2:]}    data/a\n".encode())
    assert not entries
    assert len(findings) == 1


def test_a_long_line_within_a_portion_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_LINE", 10)
    lines, findings = text(b"a\n" + b"x" * 11 + b"\nb\n")
    assert lines == ["a", "", "b"]
    assert codes(findings) == {"U-BAG-051"}


def test_line_numbers_go_on_after_a_long_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_LINE", 10)
    findings = Findings()
    stream = Drip(b"a\n" + b"x" * 99 + b"\r\nb\n\nc", [8] * 40)
    blocks = list(read_blocks(stream, "UTF-8", findings, "x"))
    assert [(first, block) for first, block in blocks if block] == [(1, "a"), (3, "b\n"), (5, "c")]
    assert findings.counts["U-BAG-051"] == 1


def test_a_long_line_whose_end_is_cut_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_LINE", 6)
    findings = Findings()
    stream = Drip(b"x" * 7 + b"\r\nb\n", [8, 9])
    blocks = list(read_blocks(stream, "UTF-8", findings, "x"))
    assert blocks[-1] == (2, "b")


def test_the_largest_bag_info_takes_bounded_memory() -> None:
    data = b"a: \n" * (1 << 15)
    tracemalloc.start()
    info(data)
    per_byte = tracemalloc.get_traced_memory()[1] / len(data)
    tracemalloc.stop()
    assert per_byte * read.MAX_TAG_FILE_BYTES < 100 << 20


def test_utf_7_that_never_shifts_back_takes_bounded_memory() -> None:
    tracemalloc.start()
    findings = Findings()
    if find_codec("utf-7") is not None:
        stream = Endless(b"A" * (1 << 20), 20, start=b"+")
        list(read_blocks(stream, "utf-7", findings, "x"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_bag_info_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_TAG_FILE_BYTES", 10)
    assert codes(info(b"A: b\nC: d\n")[1]) == set()
    parsed, findings = info(b"A: b\nC: d\nE: f\n")
    assert list(parsed) == [("A", "b"), ("C", "d")]
    assert codes(findings) == {"U-BAG-051"}


def test_the_limit_holds_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_TAG_FILE_BYTES", 10)
    findings = Findings()
    parse_bag_info(io.BytesIO(b"A: b\nC: d\n\n"), V1, findings, "x")
    assert "U-BAG-051" in codes(findings)


# -- bagit.txt (the checklist tests hold most of it)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (b"x\n", "first line"),
        (b"BagIt-Version: 1\n", "M.N"),
        (b"BagIt-Version: 1.0\n", "is missing"),
        (b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\nx\n", "more than two"),
        (b"BagIt-Version: 1.0\nTag-File-Character-Encoding: a b\n", "second line"),
        (b"BagIt-Version: 1.0\nTag-File-Character-Encoding : UTF-8\n", "white space"),
        (b"x" * 4097, "too long"),
    ],
)
def test_the_declaration_s_problem_is_named(data: bytes, problem: str) -> None:
    findings = Findings()
    parse_declaration(data, findings)
    assert any(problem in finding.message for finding in findings)


def test_an_encoding_that_is_not_ascii_is_kept_apart() -> None:
    findings = Findings()
    data = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: \xff\n"
    declaration = parse_declaration(data, findings)
    assert declaration is not None
    assert find_codec(declaration.encoding) is None


# -- manifests

HEX = digest("md5", b"x")
payload_names = st.text("ab/.%0A\\~*: \t\xe9\u2028\x85\0\ufeff", min_size=1, max_size=8)


@quick
@given(
    names=st.lists(payload_names, min_size=1, max_size=8),
    digests=st.lists(
        st.sampled_from([HEX, HEX.upper(), HEX[2:], "g" * 32, " " + HEX[1:]]), min_size=8
    ),
    mark=st.sampled_from(["  ", "  ", "  ", " ", "\t", " *"]),
    declaration=st.sampled_from([V1, OLD]),
)
def test_the_fast_and_the_careful_road_lead_to_the_same(
    names: list[str], digests: list[str], mark: str, declaration: Declaration
) -> None:
    data = "".join(
        f"{checksum}{mark}data/{name}\n" for checksum, name in zip(digests, names, strict=False)
    ).encode()
    both = manifest(data, declaration=declaration)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ManifestReader, "_fast", lambda *_arguments: None)
        assert manifest(data, declaration=declaration) == both


def test_plain_lines_take_the_fast_road(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ManifestReader, "_careful", None)
    entries, findings = manifest(f"{HEX}  data/a\n{HEX}  data/b c/d\n".encode())
    assert entries == [("data/a", HEX, 1), ("data/b c/d", HEX, 2)]
    assert not findings


@pytest.mark.parametrize("path", ["data/a/", "data/", "data/./a", "data//a", "data/../a"])
def test_the_fast_road_is_closed_to_odd_paths(path: str) -> None:
    entries, findings = manifest(f"{HEX}  data/ok\n{HEX}  {path}\n".encode())
    assert [entry[0] for entry in entries] == ["data/ok"]
    assert len(findings) == 1


def test_an_unknown_algorithm_s_paths_count() -> None:
    entries, findings = manifest(b"00ff  data/a\n1  data/b\n", "manifest-new.txt")
    assert entries == [("data/a", "", 1), ("data/b", "", 2)]
    assert not findings


# -- bag-info.txt and fetch.txt


def test_folded_lines_are_joined_by_one_space() -> None:
    assert list(info(b"A: one\n  two \n\tthree\nB: x\n")[0]) == [("A", "one two three"), ("B", "x")]


def test_a_malformed_line_keeps_what_can_be_read() -> None:
    parsed, findings = info(b"A:b\nnothing\nC: d\n")
    assert list(parsed) == [("A", "b"), ("C", "d")]
    assert findings.counts == {"E-BAG-040": 2}


def test_fetch_entries() -> None:
    findings = Findings()
    data = b"http://x/a 12 data/a b\nhttp://x/%20\t-\tdata/c%0Ad\n"
    one, two = parse_fetch(io.BytesIO(data), V1, findings)
    assert (one.url, one.length_bytes, one.path, one.line) == ("http://x/a", 12, "data/a b", 1)
    assert (two.url, two.length_bytes, two.path, two.line) == ("http://x/%20", None, "data/c\nd", 2)
    assert not len(findings)
