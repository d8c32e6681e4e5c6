"""Names and paths as text."""

import os
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.bag import names

ANY_TEXT = st.text(st.characters(codec=None), max_size=40)
OS_NAMES = st.binary(min_size=1, max_size=20).map(os.fsdecode)


@given(ANY_TEXT)
def test_what_is_encoded_is_decoded(path: str) -> None:
    encoded = names.encode_path(path)
    assert names.decode_path(encoded) == path
    assert not {"\n", "\r"} & set(encoded)
    assert not names.has_bare_percent(encoded)


@given(ANY_TEXT)
def test_only_lf_cr_and_percent_are_encoded(path: str) -> None:
    if not {"\n", "\r", "%"} & set(path):
        assert names.encode_path(path) == path


@pytest.mark.parametrize(
    ("encoded", "path"),
    [
        ("a%0Ab", "a\nb"),
        ("a%0ab", "a\nb"),
        ("%0D%0d", "\r\r"),
        ("%25", "%"),
        ("%250A", "%0A"),
        ("%20%41%2f", "%20%41%2f"),
        ("%", "%"),
        ("%0", "%0"),
        ("%%0A", "%\n"),
    ],
)
def test_exactly_three_encodings_are_decoded(encoded: str, path: str) -> None:
    assert names.decode_path(encoded) == path


@pytest.mark.parametrize(
    ("path", "bare"),
    [("a", False), ("%0A%0d%25", False), ("%", True), ("%20", True), ("%0", True), ("%0A%", True)],
)
def test_bare_percent(path: str, bare: bool) -> None:
    assert names.has_bare_percent(path) is bare


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "~",
        "~u/x",
        "\\a",
        "C:",
        "z:x",
        "..",
        "a/..",
        "../a",
        "a\\..\\b",
        "a/..\\b",
        "\\\\?\\C:",
    ],
)
def test_unsafe_shapes(path: str) -> None:
    assert names.has_unsafe_shape(path)


@pytest.mark.parametrize(
    "path", ["a", "a/b", "a..b", "...", "a/...", "a~", "a/~", "1:x", "a/C:x", ""]
)
def test_safe_shapes(path: str) -> None:
    assert not names.has_unsafe_shape(path)


@given(ANY_TEXT)
def test_a_path_without_problems_stays_beneath(path: str) -> None:
    if names.path_problem(path) is None and not names.has_unsafe_shape(path):
        assert os.path.normpath(os.path.join("base", path)) == os.path.join("base", path)


@pytest.mark.parametrize("path", ["", "a\0b", "a//b", "a/", "/", ".", "a/./b", "./a"])
def test_paths_that_are_not_plain(path: str) -> None:
    assert names.path_problem(path)


@pytest.mark.parametrize("path", ["a", "a/b", "a/.b", " ", "a\nb"])
def test_plain_paths(path: str) -> None:
    assert names.path_problem(path) is None


@given(st.binary(max_size=20))
def test_is_utf8_agrees_with_the_bytes(name: bytes) -> None:
    try:
        name.decode("utf-8")
        sound = True
    except UnicodeDecodeError:
        sound = False
    assert names.is_utf8(os.fsdecode(name)) is sound


@given(ANY_TEXT)
def test_folding_makes_twins_equal(path: str) -> None:
    assert names.fold(path) == names.fold(unicodedata.normalize("NFD", path))
    assert names.normalise(path) == names.normalise(unicodedata.normalize("NFD", path))


@pytest.mark.parametrize(
    ("one", "two"), [("A", "a"), ("\N{KELVIN SIGN}", "k"), ("\xdf", "ss"), ("\xc9", "e\u0301")]
)
def test_twins(one: str, two: str) -> None:
    assert names.fold(one) == names.fold(two)


@pytest.mark.parametrize("function", [names.fold, names.normalise])
def test_hostile_names_take_no_quadratic_time(function: object) -> None:
    assert callable(function)
    hostile = "data/" + "\u0301" * 12_000 + "\u0316" * 12_000
    start = time.process_time()
    function(hostile)
    assert time.process_time() - start < 0.3


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("CON", "reserved"),
        ("nul.tar.gz", "reserved"),
        ("Com1.txt", "reserved"),
        ("LPT\N{SUPERSCRIPT TWO}", "reserved"),
        ("a.", "ends with"),
        ("a ", "ends with"),
        ("a:b", "holds"),
        ("a\x1fb", "holds"),
        ("a\\b", "holds"),
    ],
)
def test_windows_problems(name: str, problem: str) -> None:
    assert problem in (names.windows_problem(name) or "")


@pytest.mark.parametrize("name", ["console", "com", "com10", ".con", "a.b", " a", "con1"])
def test_names_windows_keeps(name: str) -> None:
    assert names.windows_problem(name) is None


@given(OS_NAMES)
def test_encoded_names_are_portable_and_utf8_ones_unchanged(name: str) -> None:
    encoded = names.encode_name(name)
    assert names.is_utf8(encoded)
    if names.is_utf8(name):
        assert encoded == name


@given(OS_NAMES, OS_NAMES)
def test_encoded_names_stay_distinct(one: str, two: str) -> None:
    if one != two and not names.is_utf8(one) and not names.is_utf8(two):
        assert names.encode_name(one) != names.encode_name(two)


def test_encode_name() -> None:
    assert names.encode_name(os.fsdecode(b"a=\xff\xc3\xa9")) == "a=3D=FF\xe9"


@pytest.mark.parametrize("name", ["a", "x" * 255, "=FF" * 85, "é" * 127])
def test_short_names_stay(name: str) -> None:
    assert names.short_name(name) == name


def test_long_names_are_cut_and_stay_apart() -> None:
    long = ["=FF" * 86, "=FF" * 100, "=FF" * 99 + "=FE", "é" * 200, "\U0001f600" * 100]
    short = [names.short_name(name) for name in long]
    assert len(set(short)) == len(long)
    assert all(len(name.encode()) <= 255 for name in short)
