"""Search: what people mean is found, what is protected or secret never stands in the index."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.bag.plan import PlanOptions
from archiver.catalog.fulltext import Entry, Filter, match_expression, open_words
from archiver.errors import CatalogError, UsageError
from archiver.ingest import IngestOptions, ingest
from archiver.policy import load_policy
from archiver.seal import CreateOptions, plan_sources
from archiver.search import days_of
from archiver.search import search as find
from archiver.vault import Vault, open_vault
from archiver.vault.records import reading
from tests.helpers import Ran, run
from tests.sealing import NOW, make_source
from tests.vault.describing import amend, holds, records
from tests.vault.test_amendments import forge

A, B, C = "a-E-0001", "a-E-0002", "b-E-0001"


@pytest.fixture
def told(filled: Vault, capsys: pytest.CaptureFixture[str]) -> Vault:
    """Three described items."""
    for item, words in (
        (
            A,
            (
                *("--kind", "video", "title=La niñez en la Plaza de Armas"),
                *("description=El señor García filmó desde el balcón", "event_time=2026-03"),
                *("filmed_by=Quispe Zzyzx", "confidentiality=public"),
            ),
        ),
        (
            B,
            (
                *("--kind", "document", "title=Letter of the prosecutor", "issuer=Fiscalía"),
                *(
                    "description=100% of it_is blacked out",
                    "collected_at=2025-12-31T23:30:00-05:00",
                ),
                *("collected_by=Zzyzx", "photographs=Retamas"),
            ),
        ),
        (C, ("--kind", "video", "title=Plaza", "event_time=unknown", "collected_at=2027")),
    ):
        done = amend(capsys, item, *words)
        assert done.code == 0, done.err
    return filled


def search(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    done = run(capsys, "search", *words, "--json")
    assert done.code == 0, done.err
    found = done.json["found"]
    assert isinstance(found, list)
    return [one["id"] for one in found]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("ninez",), [A]),
        (("NIÑEZ",), [A]),
        (("nin\u0303ez",), [A]),  # n and a tilde of its own
        (("niñ*",), [A]),
        (("nin",), []),
        (("garcia", "plaza"), [A]),
        (("García filmó",), [A]),
        (('"plaza de armas"',), [A]),
        (('"armas plaza"',), []),
        (("fiscalia",), [B]),
        (("retamas",), [B]),
        (("plaza",), [C, A]),  # the shorter title first
        (("100%",), [B]),
        (("it_is",), [B]),
        (("it*is",), [B]),  # a star within a word is none
        (("letter", "plaza"), []),
        (("garcia OR letter",), []),
        (("NOT plaza",), []),
    ],
)
def test_what_is_found(
    words: tuple[str, ...], found: list[str], told: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(capsys, *words) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--kind", "video"), [A, C]),
        (("--case", "b"), [C]),
        (("plaza", "--case", "a"), [A]),
        (("--since", "2026-03-20"), [A, C]),
        (("--since", "2026-04"), [C]),
        (("--until", "2026-03-01"), [A, B]),
        (("--until", "2025"), [B]),
        (("--since", "2025-12-31", "--until", "2025-12-31"), [B]),
        (("--since", "2026-01-01", "--until", "2026-02"), []),
        (("--confidentiality", "public"), [A]),
        (("--confidentiality", "restricted"), [B, C]),
        (("--confidentiality", "sealed"), []),
        (("--format", "*"), []),
    ],
)
def test_filters(
    words: tuple[str, ...], found: list[str], told: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(capsys, *words) == found


def test_how_it_is_told(told: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(capsys, "search", "balcon")
    assert "[balcón]" in done.out
    assert A in done.out
    assert "nothing was found" in run(capsys, "search", "nowhere").err
    done = run(capsys, "search", "plaza", "--limit", "1")
    assert (len(done.out.splitlines()), "There is more" in done.err) == (1, True)


@pytest.mark.parametrize(
    "words", [(), ("",), ('""',), ("***", "--kind", "video"), ("-", "+"), ("\x00",), ("\udcff",)]
)
def test_nothing_to_search_for(
    words: tuple[str, ...], told: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "search", *(("--", *words) if "-" in words else words)).code in (0, 2)
    assert "Traceback" not in run(capsys, "search", "--json", "x").err


@pytest.mark.parametrize(
    "words",
    [
        ("--kind", "film"),
        ("--confidentiality", "secret"),
        ("--since", "yesterday"),
        ("--until", "2026-3"),
        ("--limit", "0"),
        ("--case", "%"),
        ("--case", "nowhere"),
    ],
)
def test_filters_that_cannot_be(
    words: tuple[str, ...], told: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "search", "x", *words).code == 2


HOSTILE = (
    '"',
    '""',
    '" OR "',
    "title:plaza",
    "{title body}: plaza",
    "- plaza",
    "^plaza",
    "NEAR(plaza armas, 3)",
    "plaza AND",
    "OR OR OR",
    "(((",
    "plaza*plaza",
    "*",
    "'; DROP TABLE words; --",
    '"; DROP TABLE words; --',
    "%",
    "_",
    "a\x00b",
    "a" * 100_000,
    " ".join(["plaza"] * 2000),
    "\ud800",
    "\u202eazalp",
    "\N{COMBINING TILDE}",
    "日本 العربية",
)


@pytest.mark.parametrize("word", HOSTILE)
def test_no_query_is_heard_as_one(word: str) -> None:
    ask(word)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)
@given(st.text(max_size=40))
def test_no_text_at_all_is(word: str) -> None:
    ask(word)


def ask(word: str) -> None:
    """It is found or not; nothing is raised, and nothing is gone afterwards."""
    with open_words() as index:
        index.take([Entry(item="c-E-0001", case="c", kind="video", secret=False, title="plaza")])
        expression = match_expression([word.encode("utf-8", "replace").decode()])
        if expression:
            index.find(expression, Filter(), 5)
        wanted = Filter(case=word.encode("utf-8", "replace").decode(), format="%*")
        assert index.find("", wanted, 5) == []
        assert len(index.find(match_expression(["plaza"]), Filter(), 5)) == 1


def test_phrases_and_beginnings() -> None:
    assert match_expression(["a b", '"c d"', "e*"]) == '"a" AND "b" AND "c d" AND "e" *'
    assert match_expression(['"c*"', "d-e*", "*"]) == '"c" AND "d e" *'
    assert match_expression(['"', "", '""', "-"]) == ""


def test_days() -> None:
    assert days_of("2026") == ("2026-01-01", "2026-12-31")
    assert days_of("2026-03") == ("2026-03-01", "2026-03-31")
    assert days_of("2026-03-01T23:59:00-05:00") == ("2026-03-01", "2026-03-01")
    assert days_of("unknown") == days_of("") == ("", "")


# -- formats


def ingest_with(vault: Vault, place: Path, tag_files: dict[str, bytes]) -> str:
    source = make_source(place)
    plan = plan_sources([str(source)], vault.bag_path("a", "new"), PlanOptions())
    create = CreateOptions(
        policy=load_policy("default"), now=NOW, identifier="", tag_files=tag_files
    )
    return ingest(vault, "a", [str(source)], plan, IngestOptions(create=create)).item


FORMATS = (
    b'{"schema":"archiver/formats/1"}\n'
    b'{"path":"data/a","puid":"fmt/199","mime":"application/mp4"}\n'
    b'{"path":"data/b","puid":7,"mime":["x"]}\n[]\n7\nnot json\n' + b"[" * 5000 + b"\n"
)


def test_formats_are_those_of_the_sealed_bag(
    told: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = "metadata/formats.jsonl"
    item = ingest_with(told, tmp_path / "more", {name: FORMATS})
    assert amend(capsys, item, "--kind", "video", "title=x").code == 0
    for wanted in ("fmt/199", "application/mp4", "video/mp4", "video/*", "fmt/*"):
        assert search(capsys, "--format", wanted) == [item]
    for wanted in ("fmt/19", "video", "video/_p4", "v%", "audio/*"):
        assert search(capsys, "--format", wanted) == []
    path = Path(told.bag_path("a", item)) / name
    os.chmod(path, 0o600)
    path.write_bytes(FORMATS.replace(b"fmt/199", b"fmt/666"))
    assert run(capsys, "catalog", "rebuild").code == 0
    assert search(capsys, "--format", "fmt/*") == []
    assert search(capsys, "--kind", "video") == [A, item, C]


# -- what must not stand in the index


def index_of(vault: Vault) -> Path:
    return Path(vault.search_index)


def test_protected_fields_are_not_in_it(told: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(capsys, "zzyzx") == []
    assert search(capsys, "balcon") == [A]
    place = Path(told.path)
    beside = [one for one in holds(place, "zzyzx") if "amendments/" not in one]
    assert holds(place, "balcón")  # such a look would find it
    assert beside == []
    assert [one for one in holds(place, "Zzyzx") if "amendments/" not in one] == []
    assert stat.S_IMODE(index_of(told).stat().st_mode) == 0o600


def hide(vault: Vault, number: int) -> None:
    """The log says that an item is secret from now on."""
    place = records(vault, A) / f"{number:04}.json.age"
    place.write_bytes(b"age-encryption.org/v1\n")
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    forge(vault, amendment=number, path=place.name, sha256=digest)


def words_in(path: Path) -> bytes:
    """All files of the index, as they lie there."""
    return b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))


def test_what_becomes_secret_leaves_no_trace(
    told: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(capsys, "balcon") == [A]
    words = (b"balc", b"garcia", b"ninez", "señor".encode())
    assert all(one in words_in(index_of(told)) for one in words)
    hide(told, 2)
    assert search(capsys, "balcon") == []
    assert [one for one in words if one in words_in(index_of(told))] == []
    assert search(capsys, "--confidentiality", "sealed") == [A]
    assert search(capsys, "--confidentiality", "confidential") == [A]
    assert search(capsys, "--confidentiality", "public") == []
    assert search(capsys, "--kind", "video") == [A, C]
    assert "(secret)" in run(capsys, "search", "--kind", "video").out
    assert search(capsys, "letter") == [B]


def test_nor_where_the_search_is_killed_in_between(
    told: Vault, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search(capsys, "balcon") == [A]
    hide(told, 2)

    def stop(_index: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("archiver.catalog.fulltext.WordIndex.purge", stop)
        run(capsys, "search", "balcon")
    assert b"balc" in words_in(index_of(told))
    assert search(capsys, "letter") == [B]
    assert b"balc" not in words_in(index_of(told))


def test_who_makes_it_secret_leaves_none_either(
    told: Vault, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not anybody searches again."""
    assert search(capsys, "balcon") == [A]
    monkeypatch.setattr("archiver.amend._refuse_readerless", lambda _policy: None)
    monkeypatch.setattr("archiver.amend._sealed", lambda _data, _policy: b"age-encryption.org/v1")
    assert amend(capsys, A, "confidentiality=sealed", reason="a witness is seen").code == 0
    assert words_in(index_of(told)) == b""
    assert search(capsys, "balcon") == []
    assert run(capsys, "events", "verify").code == 0
    assert holds(Path(told.path), "a witness is seen") == []
    assert amend(capsys, A, "confidentiality=public").code == 2
    assert amend(capsys, A, "title=x", "--remove", "confidentiality").code == 2


def test_a_witness_is_found_by_code_alone(
    filled: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from archiver.custody import Event
    from tests.vault.looking import append

    described = {
        "kind": "statement",
        "code": "W-07",
        "path": "metadata/description.json.age",
        "sha256": "0" * 64,
    }
    begin = {"item": "a-E-0003", "key": "k", "number": 3}
    end = {"item": "a-E-0003", "number": 3, "description": described}
    append(filled, "a", Event(type="ingestion start", at=NOW, detail=begin))
    append(filled, "a", Event(type="ingestion end", at=NOW, detail=end))
    assert search(capsys, "W-07") == ["a-E-0003"]
    assert search(capsys, "--kind", "statement") == ["a-E-0003"]
    shown = run(capsys, "show", "a-E-0003")
    assert "W-07" in shown.out
    assert shown.code == 0


# -- an index is no truth


def test_what_is_not_as_the_log_says_is_not_indexed(
    told: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    path = records(told, A) / "0001.json"
    whole = path.read_bytes()
    os.chmod(path, 0o600)
    path.write_bytes(whole.replace(b"Plaza", b"Calle"))
    done = run(capsys, "search", "calle", "--json")
    assert done.code == 1
    assert done.json["found"] == []
    assert "MODIFIED" in str(done.json["not_intact"])
    done = run(capsys, "search", "letter")
    assert (done.code, B in done.out, "was not searched" in done.err) == (1, True, True)
    path.write_bytes(whole)  # put back, it is found again
    assert search(capsys, "ninez") == [A]


def test_new_amendments_are_found_at_once(told: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(capsys, "plaza") == [C, A]
    assert amend(capsys, A, "title=Calle").code == 0
    assert search(capsys, "plaza") == [C]
    assert search(capsys, "calle") == [A]


@pytest.mark.parametrize("how", ["garbage", "cut", "empty", "another", "trigger", "gone", "old"])
def test_a_damaged_index_is_made_anew(
    how: str, told: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(capsys, "plaza") == [C, A]
    path = index_of(told)
    if how == "garbage":
        path.write_bytes(b"x" * 9000)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:6000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "gone":
        path.unlink()
    else:
        statement = {
            "another": "CREATE TABLE mine (x)",
            "trigger": "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM unread; END",
            "old": "PRAGMA user_version=7",
        }[how]
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()
    assert search(capsys, "plaza") == [C, A]


@pytest.mark.parametrize("name", ["", "-journal", "-wal"])
def test_an_index_that_leads_elsewhere(
    name: str, told: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    Path(f"{told.search_index}{name}").symlink_to(victim)
    done = run(capsys, "search", "plaza")
    assert (done.code, "not a regular file" in done.err) == (5, True)
    assert victim.read_bytes() == b""


def test_rows_that_no_log_gave(told: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(capsys, "plaza") == [C, A]
    with sqlite3.connect(told.search_index) as connection:
        connection.execute("UPDATE entries SET item = '../x' WHERE item = ?", (A,))
    connection.close()
    assert run(capsys, "search", "plaza").code == 5
    assert run(capsys, "catalog", "rebuild").code == 0
    assert search(capsys, "plaza") == [C, A]


def test_a_log_that_was_exchanged_is_read_anew(
    told: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """The catalog was made from another log than the index was."""
    old = Path(told.log_path("a")).read_bytes()
    assert amend(capsys, A, "title=Calle").code == 0
    assert search(capsys, "calle") == [A]
    index = index_of(told).read_bytes()
    Path(told.log_path("a")).write_bytes(old)
    run(capsys, "catalog", "rebuild")
    index_of(told).write_bytes(index)  # somebody keeps the index, and not the catalog
    assert search(capsys, "calle") == []
    assert search(capsys, "plaza") == [C, A]


def test_a_case_that_is_gone(told: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(capsys, "letter") == [B]
    index = index_of(told).read_bytes()
    os.rename(told.log_path("a"), "kept")
    run(capsys, "catalog", "rebuild")
    index_of(told).write_bytes(index)
    assert search(capsys, "letter") == []
    assert search(capsys, "plaza") == [C]


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_vault_that_can_only_be_read(told: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    os.chmod(told.path, 0o500)
    try:
        assert search(capsys, "plaza") == [C, A]
    finally:
        os.chmod(told.path, 0o700)


def test_where_the_index_cannot_be_written_one_in_memory_is_made(
    told: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    import archiver.search

    real = open_words

    def only_in_memory(path: str = ":memory:") -> Any:
        if path != ":memory:":
            from archiver.errors import StorageError

            raise StorageError("read-only")
        return real()

    monkeypatch.setattr(archiver.search, "open_words", only_in_memory)
    with reading(told) as found:
        answer = find(open_vault(told.path), found, ["plaza"], Filter())
        assert [one.item for one in answer.found] == [C, A]
        with pytest.raises(UsageError):
            find(told, found, [], Filter())


def test_an_index_in_memory_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.catalog.fulltext._SCHEMA", ("nonsense",))
    with pytest.raises(CatalogError):
        open_words()


def test_much_at_once(told: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces are put together; and somebody hears how much was read."""
    monkeypatch.setattr("archiver.search._MANY", 2)
    heard: list[int] = []
    with reading(told) as found:
        answer = find(told, found, ["plaza"], Filter(), tell=heard.append)
    assert ([one.item for one in answer.found], sum(heard)) == ([C, A], 3)


def test_the_command_says_once_that_it_takes_a_while(
    told: Vault, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.cli.search._MANY", 2)
    done: Ran = run(capsys, "search", "plaza")
    assert done.err.count("reading descriptions") == 1
    assert "reading descriptions" not in run(capsys, "search", "plaza").err


def test_titles_are_shown_escaped(told: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(capsys, "plaza") == [C, A]
    with sqlite3.connect(told.search_index) as connection:
        connection.execute("UPDATE entries SET title = ? WHERE item = ?", ("\x1b[2Jx\u202e", A))
    connection.close()
    out = run(capsys, "search", "plaza").out
    assert "\x1b" not in out
    assert "\u202e" not in out
