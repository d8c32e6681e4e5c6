"""Forms: each mistake with its line, and strangers' forms."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.describe import Description, DescriptionError, read_form
from archiver.tomlfile import TomlText, hint_for
from tests.describe.making import filled

MIB = 1 << 20


def mistakes(text: str | bytes, **options: Any) -> list[tuple[int, str]]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(DescriptionError) as caught:
        read_form(data, "f.toml", **options)
    return [(one.line, one.message) for one in caught.value.mistakes]


def read(text: str) -> dict[str, object]:
    return dict(read_form(text.encode(), "f.toml").values)


# -- the types


@pytest.mark.parametrize("written", ['"x"', "'x'", '"""\nx"""'])
def test_texts(written: str) -> None:
    assert read(f"kind = 'video'\ntitle = {written}") == {"title": "x"}


@pytest.mark.parametrize("written", ["1", "true", "[]", "{}", "2026-01-01", '""', '" \\t"'])
def test_what_is_no_text(written: str) -> None:
    ((line, message),) = mistakes(f"kind = 'video'\ntitle = {written}")
    assert line == 2
    assert message in ("title must be text", "title is empty")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-03-01", "2026-03-01"),
        ("2026-03-01T14:30:00", "2026-03-01T14:30:00"),
        ("2026-03-01 14:30:00-05:00", "2026-03-01T14:30:00-05:00"),
        ("2026-03-01T14:30:00Z", "2026-03-01T14:30:00Z"),
        ("2026-03-01T14:30:00+00:00", "2026-03-01T14:30:00Z"),
        ("2026-03-01T14:30:00.5Z", "2026-03-01T14:30:00.500000Z"),
        ('"2026"', "2026"),
        ('"2026-03"', "2026-03"),
        ('"2024-02-29"', "2024-02-29"),
        ('"unknown"', "unknown"),
    ],
)
def test_times(written: str, kept: str) -> None:
    described = read_form(f"kind = 'video'\nevent_time = {written}".encode(), "f")
    assert described.values == {"event_time": kept}
    assert Description.parse(described.to_bytes()) == described


@pytest.mark.parametrize(
    "written",
    ["14:30:00", "2026", '"yesterday"', '"2026-13"', '"2026-02-30"', '"0000"', '"2026-03-01T25:00"',
     '"2026-03-01T14:30+25:00"', '"2026-03-01\\n"', '"٢٠٢٦"', "[]", "true"],
)  # fmt: skip
def test_what_is_no_time(written: str) -> None:
    ((line, message),) = mistakes(f"kind = 'video'\nevent_time = {written}")
    assert (line, message) == (2, "event_time must be a date or time")


def test_choices() -> None:
    assert read("kind = 'video'\nreencoded = true") == {"reencoded": "yes"}
    assert read("kind = 'video'\nreencoded = false") == {"reencoded": "no"}
    assert read("kind = 'video'\nreencoded = 'unknown'") == {"reencoded": "unknown"}
    for written in ("'YES'", "'perhaps'", "1", "['yes']", "''"):
        ((line, message),) = mistakes(f"kind = 'video'\n\nreencoded = {written}")
        assert (line, message) == (3, "reencoded must be one of: yes, no, unknown")
    assert mistakes("kind = 'video'\noriginal = true")[0][0] == 2


def test_counts() -> None:
    assert read("kind = 'document'\nscan_dpi = 600") == {"scan_dpi": 600}
    for written in ("-1", "1.0", "true", "'600'", str(1 << 53)):
        ((_line, message),) = mistakes(f"kind = 'document'\nscan_dpi = {written}")
        assert message == "scan_dpi must be a whole number"


def test_lists_of_texts() -> None:
    assert read("kind = 'document'\nphotographs = ['a', 'b']") == {"photographs": ["a", "b"]}
    many = str(["x"] * 1001)
    for written in ("[]", "'a'", "[1]", "['']", many):
        assert len(mistakes(f"kind = 'document'\nphotographs = {written}")) == 1


def test_tables_and_their_mistakes() -> None:
    text = """kind = "absence"
title = '''
answer = "not this one"
[[asked]]
'''

[[asked]]
whom = "x"
at = 2026-01-01

[[asked]]
when = 2026-01-01
at = 1
reference = ""

[[asked]]
answer = 1
"""
    assert mistakes(text) == [
        (12, "asked: unknown key when"),
        (13, "asked: at must be a date or time"),
        (14, "asked: reference is empty"),
        (17, "asked: answer must be text"),
    ]


def test_tables_in_one_line() -> None:
    text = "kind = 'absence'\n\nasked = [{ whom = 'x', at = 1 }]"
    assert [line for line, _message in mistakes(text)] == [3]
    assert mistakes("kind = 'absence'\nasked = 'x'")[0][0] == 2
    assert mistakes("kind = 'absence'\nasked = ['x']")[0][0] == 2
    assert mistakes("kind = 'statement'\nconsent = 'x'")[0] == (2, "consent must be a table")
    assert mistakes("kind = 'statement'\n[consent]\nmedia = 'never'")[0][0] == 3
    assert mistakes("kind = 'statement'\nconsent.media = 'never'")[0][0] == 2


# -- mistakes


def test_every_mistake_is_told_by_its_line() -> None:
    text = 'kind = "video"\ntitel = "x"\n\nreencoded = "maybe"\n"sha512" = 1\nmime_type = "x"\n'
    found = mistakes(text)
    assert [line for line, _message in found] == [2, 4, 5, 6]
    with pytest.raises(DescriptionError) as caught:
        read_form(text.encode(), "f.toml")
    assert caught.value.message == "f.toml:2: unknown key titel, and 3 more"
    assert caught.value.hint == "Did you mean title?"
    assert "filled in by the program" in caught.value.mistakes[3].message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("title = 'x'", 1),
        ("\nkind = 'film'", 2),
        ("kind = ['video']", 1),
        ("kind = 0", 1),
        ("kind = false", 1),
        ("kind = 2026-01-01", 1),
        ("kind = ''", 1),
    ],
)
def test_a_form_says_what_it_describes(text: str, line: int) -> None:
    ((found, message),) = mistakes(text)
    assert found == line
    assert "kind" in message


def test_the_kind_that_is_wanted() -> None:
    assert read_form(b"title = 'x'", "f", kind="audio").kind == "audio"
    assert read_form(b"kind = 'audio'", "f", kind="audio").kind == "audio"
    found = mistakes("kind = 'audio'", kind="statement")
    assert found == [(1, "this must be of the kind statement, and it is of the kind audio")]


def test_the_case_that_is_wanted() -> None:
    assert read_form(b"kind = 'audio'", "f", case="c-1").values == {"case": "c-1"}
    assert read_form(b"kind = 'audio'\ncase = 'c-1'", "f", case="c-1").values == {"case": "c-1"}
    found = mistakes("kind = 'audio'\n\ncase = 'c-2'", case="c-1")
    assert found == [(3, "it belongs to the case c-2, not to c-1")]
    assert len(mistakes("kind = 'audio'\ncase = 1", case="c-1")) == 1


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"kind = 'video'\nx", 2),
        (b"kind = 'video'\ntitle = 'a'\ntitle = 'b'", 3),
        (b"kind = 'video'\n\n\xff", 3),
        ("kind = 'video'".encode("utf-16"), 1),
        (b"kind = 'video'\rtitle = 'x'", 1),
        (b"kind = 'video'\n\x00", 2),
        (b"\x1b[2J", 1),
    ],
)
def test_what_is_no_toml(data: bytes, line: int) -> None:
    ((found, _message),) = mistakes(data)
    assert found == line


def test_windows_editors_are_welcome() -> None:
    assert read_form(b"\xef\xbb\xbfkind = 'video'\r\ntitle = 'x'\r\n", "f").values == {"title": "x"}
    text = read_form(b"kind = 'video'\r\ntitle = '''a\r\nb'''\r\n", "f").values["title"]
    assert text == "a\nb"


@pytest.mark.parametrize("character", "\x00\x08\x1b\x7f\x85\x9b\u202e\u2066")
def test_what_would_steer_a_terminal_is_refused(character: str) -> None:
    code = f"\\u{ord(character):04x}"
    assert mistakes(f'kind = "video"\ntitle = "a{code}b"') == [
        (2, "title holds control characters")
    ]


def test_what_is_told_plainly_holds_no_word_of_the_form() -> None:
    text = "kind = 'video'\nmaria_quispe = 1\nreencoded = 'maria'\ntitle = 3\ncase = 'maria'\n"
    with pytest.raises(DescriptionError) as caught:
        read_form(text.encode(), "f", case="c")
    with pytest.raises(DescriptionError) as other:
        read_form(b"kind = 'maria'", "f")
    with pytest.raises(DescriptionError) as third:
        read_form(b"kind = 'video'\n[maria.x]\n[maria.x]", "f")
    with pytest.raises(DescriptionError) as fourth:
        read_form(b"kind = 'statement'\n[consent]\nmaria = 1", "f")
    with pytest.raises(DescriptionError) as fifth:
        read_form(b"kind = 'statement'\nconsent = [{ maria = 1 }]", "f")
    errors = (caught, other, third, fourth, fifth)
    found = [one.plain for error in errors for one in error.value.mistakes]
    assert len(found) == 8
    assert all(found)
    assert "maria" not in " ".join(found)


# -- strangers' forms


@given(st.binary(max_size=300))
def test_hostile_bytes_are_mistakes(data: bytes) -> None:
    with pytest.raises(DescriptionError) as caught:
        read_form(data, "f")
    lines = data.count(b"\n") + data.count(b"\r") + 1
    assert all(1 <= one.line <= lines for one in caught.value.mistakes)


@given(st.text(max_size=100), st.integers(0, 4000))
def test_a_form_that_is_spoilt_is_a_form_or_a_mistake(put: str, place: int) -> None:
    text = filled("statement").decode()
    try:
        read_form((text[:place] + put + text[place:]).encode(errors="surrogatepass"), "f")
    except DescriptionError as error:
        assert error.mistakes


@pytest.mark.parametrize(
    "data",
    [
        b".".join([b"a"] * (MIB // 2 - 20)) + b"=1",
        b"x={" + b".".join([b'"a"'] * (MIB // 4 - 20)) + b"=1}",
        b"x=" + b"[" * (MIB - 30),
        b"x=" + b"{a=" * (MIB // 3 - 30),
        b"".join(b"a%d=1\n" % number for number in range(90_000)),
        b"".join(b"[a%d]\n" % number for number in range(100_000)),
        b"".join(b"[a%d" % number + b".a" * 22 + b"]\n" for number in range(19_000)),
        b"".join(b"[a%d" % number + b".a" * 22 + b"]\n" for number in range(4_900)),
        b"a" * (MIB - 50) + b"=1",
        b"title='" + b"a" * (MIB - 50) + b"'",
        b"title='" + b'"a ' * (MIB // 3 - 50) + b"'",
        b"[[derived_from]]\n" * 60_000,
        b"derived_from=[" + b"{x=1}," * 150_000 + b"]",
        b"title=" + b"1" * 1_000_000,
        b"title=0x" + b"f" * 1_000_000,
        b"x = {" + b",".join(b"a%d=1" % number for number in range(90_000)) + b"}",
        b"x" * (MIB + 1),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_a_form_made_to_take_for_ever_does_not(data: bytes) -> None:
    begun = time.process_time()
    found = mistakes(b"kind='video'\n" + data)
    assert time.process_time() - begun < 20
    assert 1 <= len(found) <= 100
    assert all(len(message) < 1000 for _line, message in found)


# -- TOML that people write


def test_lines_of_keys() -> None:
    text = TomlText(
        'a = 1\n"b" = 2\n# c = 3\nc = """\nd = 4\n"""\nd = \'\'\'x\'\'\'\n'
        "[t]\na = 5\n[[u]]\na = 6\n[[u]]\nb = 7\n[ v ]\nx.y = 1\n"
    )
    assert [text.line(key) for key in "abcd"] == [1, 2, 4, 7]
    assert text.line("t") == 8
    assert text.line("a", "t") == 9
    assert text.line("a", "u") == 11
    assert text.line("b", "u", 1) == 13
    assert text.line("x", "v") == 15
    assert text.line("nothing") == text.line("a", "nothing") == text.line("a", "u", 1) == 1


def test_hints() -> None:
    assert hint_for("titel", ("title", "case")) == "Did you mean title?"
    assert hint_for("zzz", ("title", "case")) == "Known keys here: title, case."


@given(st.text(max_size=60), st.text(max_size=10))
def test_any_key_can_be_looked_for(text: str, key: str) -> None:
    try:
        found = TomlText(text)
    except ValueError:
        return
    assert 1 <= found.line(key) <= text.count("\n") + 1
