"""Absences that are confidential or sealed: encrypted; deadlines are told to who holds a key."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from archiver.vault.log import read_links
from tests.cli.test_ask import Sitting
from tests.helpers import Ran
from tests.statement.scene import CASE, ITEM, Scene
from tests.statement.test_secret_items import NEEDLES, house, in_clear

__all__ = ["house"]
FORM = """\
kind = "absence"
confidentiality = "sealed"
title = "Quirquincho was never looked for"
should_exist = "A search of the casa amarilla"
absence_kind = "never-made"
answer = "silence"
[[asked]]
whom = "The prosecutor of Quirquincho"
at = 2026-01-05
reference = "carta 14"
deadline = 2026-02-05
"""


@pytest.fixture
def form(house: Scene) -> Path:
    return house.write("absence.toml", FORM)


def policy(house: Scene) -> tuple[str, str]:
    return "--policy", str(house.base / "house.toml")


def record(house: Scene, form: Path, *more: object) -> Ran:
    words = ("--case", CASE, "--form", form, "--unsigned", *policy(house))
    return house.run("absence", "record", *words, *more)


def answer(house: Scene, monkeypatch: pytest.MonkeyPatch, text: str, *more: object) -> Ran:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    words = ("absence", "answer", ITEM, "--answer", "-", "--unsigned", *policy(house))
    return house.run(*words, *more)


def key(house: Scene, name: str = "reader") -> tuple[str, str]:
    return "--identity", str(house.keys[name].file)


def overdue(house: Scene, *more: str) -> Any:
    done = house.run("list", "--overdue", "--json", *more)
    assert done.code == 0, done.err
    return done.json["items"]


@pytest.mark.parametrize("documents", [False, True])
def test_it_is_encrypted_with_what_shows_it(house: Scene, form: Path, documents: bool) -> None:
    request = house.write("Quirquincho.pdf", b"casa amarilla")
    done = record(house, form, *([request] if documents else []))
    assert done.code == 0, done.err
    assert done.out.startswith(f"{ITEM}: encrypted, 1 file, ")
    assert in_clear(house.base / "vault") == []
    assert not any(needle in done.out + done.err for needle in NEEDLES)
    told = house.open(ITEM, "-o", "out")
    assert "should_exist: A search of the casa amarilla" in told.out
    name = "Quirquincho.pdf" if documents else "absence.toml"
    assert Path("out", name).read_bytes() == (b"casa amarilla" if documents else FORM.encode())
    (end,) = [
        one.event
        for one in read_links(CASE, house.vault.log_path(CASE))
        if one.event.type == "ingestion end"
    ]
    assert end.detail["description"]["kind"] == "absence"


def test_deadlines_are_told_to_who_holds_a_key(house: Scene, form: Path) -> None:
    """Without one it is said that it can't be told: never nothing."""
    assert record(house, form).code == 0
    (told,) = overdue(house)
    assert (told["id"], told["secret"], told["whom"], told["deadline"]) == (ITEM, True, None, None)
    assert "encrypted: --identity KEYFILE" in house.run("list", "--overdue").out
    (told,) = overdue(house, *key(house))
    assert (told["whom"], told["deadline"]) == ("The prosecutor of Quirquincho", "2026-02-05")
    assert (told["secret"], told["opened"]) == (True, True)
    done = house.run("list", "--overdue", *key(house, "stranger"))
    assert (done.code, "encrypted: none of these keys opens it" in done.out) == (0, True)
    assert house.run("list", *key(house)).code == 2
    assert in_clear(house.base / "vault") == []


def test_items_of_several_readers_hide_no_others(house: Scene, form: Path) -> None:
    """A vault of two teams: who holds one team's key is told of its own, and of the rest that
    it can't be told.
    """
    assert record(house, form).code == 0
    rules = house.base / "house.toml"
    ours, theirs = house.keys["reader"].recipient, house.keys["stranger"].recipient
    rules.write_text(rules.read_text().replace(ours, theirs))
    assert record(house, form, "--again").code == 0
    first, second = overdue(house, *key(house))
    assert (first["opened"], first["deadline"]) == (True, "2026-02-05")
    assert (second["opened"], second["deadline"], second["problem"]) == (False, None, None)
    both = overdue(house, *key(house), *key(house, "stranger"))
    assert [one["deadline"] for one in both] == ["2026-02-05"] * 2


def test_a_secret_item_that_was_altered_hides_no_others(house: Scene, form: Path) -> None:
    assert record(house, form).code == 0
    assert record(house, form, "--again").code == 0
    bag = Path(house.vault.bag_path(CASE, ITEM))
    (bag / "metadata").chmod(0o700)
    said = bag / "metadata/description.json.age"
    said.chmod(0o600)
    said.write_bytes(said.read_bytes()[:-1])
    done = house.run("list", "--overdue", *key(house))
    assert done.code == 1
    altered, whole = done.out.splitlines()
    assert altered.startswith(f"{ITEM}  ")
    assert "NOT INTACT" in altered
    assert "due on 2026-02-05" in whole


def test_what_is_owed_of_secret_items_is_told_to_who_holds_a_key(house: Scene, form: Path) -> None:
    rules = (house.base / "house.toml").read_text() + '[describe]\nabsence = ["known_gaps"]\n'
    (house.base / "house.toml").write_text(rules)
    config = Path(house.vault.path, "vault.toml")
    config.write_text(config.read_text().replace('"default"', f'"{house.base / "house.toml"}"'))
    assert record(house, form).code == 0
    done = house.run("list", "--undescribed")
    assert (done.code, done.out) == (0, "")
    assert "of 1 secret item it can't be told without a key" in done.err
    found: Any = house.run("list", "--undescribed", "--json").json["items"]
    (told,) = found
    assert (told["id"], told["secret"], told["missing"]) == (ITEM, True, [])
    assert told["opened"] is False
    done = house.run("list", "--undescribed", *key(house, "stranger"))
    assert (done.code, done.out) == (0, "")
    assert "of 1 secret item it can't be told: none of these keys opens it" in done.err
    done = house.run("list", "--undescribed", *key(house))
    assert (done.code, "owed are known_gaps" in done.out, done.err) == (0, True, "")


def test_it_is_answered_by_who_holds_a_key(
    house: Scene, form: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert record(house, form).code == 0
    done = answer(house, monkeypatch, "x\n")
    assert (done.code, "who was asked can't be read" in done.err) == (2, True)
    spoken = ("absence", "answer", ITEM, "--answer", "Quirquincho", "--unsigned", *policy(house))
    done = house.run(*spoken, *key(house))
    assert (done.code, "can't be given on the command line" in done.err) == (2, True)
    assert answer(house, monkeypatch, "x\n", *key(house, "stranger")).code == 5
    done = answer(house, monkeypatch, "Quirquincho was found\n", *key(house))
    assert done.code == 0, done.err
    assert overdue(house, *key(house)) == []
    shown = house.run("show", ITEM, *key(house), "--json").json["description"]
    assert shown["now"]["asked"][0]["answer"] == "Quirquincho was found"  # type: ignore[index]
    assert in_clear(house.base / "vault") == []
    assert house.run("events", "verify").code == 0


def test_an_answer_to_what_was_amended_meanwhile(
    house: Scene, form: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would undo what the other one wrote."""
    from archiver.statement import opening

    assert record(house, form).code == 0
    read = opening.history_of

    def overtaken(*given: Any) -> Any:
        found = read(*given)
        more = house.write("more.toml", 'kind = "absence"\nknown_gaps = "none known"\n')
        words = ("--form", more, "--reason", "x", "--unsigned", *policy(house))
        assert house.run("describe", "amend", ITEM, *words).code == 0
        return found

    monkeypatch.setattr(opening, "history_of", overtaken)
    done = answer(house, monkeypatch, "x\n", *key(house))
    assert (done.code, "it was amended meanwhile" in done.err) == (2, True)
    monkeypatch.setattr(opening, "history_of", read)
    assert answer(house, monkeypatch, "x\n", *key(house)).code == 0


def test_without_readers_it_is_refused_as_before(house: Scene, form: Path) -> None:
    done = house.run("absence", "record", "--case", CASE, "--form", form, "--unsigned")
    assert (done.code, "names recipients and escrow" in done.err) == (2, True)
    assert in_clear(house.base / "vault") == []


def test_it_is_asked_for(house: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write("request.pdf", b"a request")
    told = Sitting(confidentiality=["sealed"], should_exist=["Quirquincho"], absence_kind=["lost"])
    monkeypatch.setattr("archiver.cli.ask.Talk", lambda: told)
    words = ("--case", CASE, "--ask", "--unsigned", *policy(house))
    done = house.run("absence", "record", house.home / "request.pdf", *words)
    assert done.code == 0, done.err
    assert "should_exist: Quirquincho" in house.open(ITEM).out
    assert in_clear(house.base / "vault") == []
    assert list((house.base / "user").rglob("drafts/*")) == []


def test_mistakes_in_the_form_are_told_without_its_words(house: Scene, form: Path) -> None:
    form.write_text(FORM.replace('"never-made"', '"Quirquincho"'))
    done = record(house, form)
    assert (done.code, "the form:5: " in done.err) == (2, True)
    assert not any(needle in done.err for needle in NEEDLES)


def test_an_open_absence_is_in_clear_as_ever(house: Scene, form: Path) -> None:
    form.write_text(FORM.replace('"sealed"', '"public"'))
    assert record(house, form).code == 0
    bag = Path(house.vault.bag_path(CASE, ITEM))
    said = json.loads((bag / "metadata/description.json").read_bytes())
    assert said["should_exist"] == "A search of the casa amarilla"
    (told,) = overdue(house)
    assert (told["secret"], told["whom"]) == (False, "The prosecutor of Quirquincho")
