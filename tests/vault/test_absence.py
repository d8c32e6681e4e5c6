"""Absences are sealed like any item; what is owed is listed until it is there."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest

from archiver.vault import Vault
from archiver.vault.owed import _is_over
from tests.cli.test_ask import Sitting
from tests.helpers import Ran, run
from tests.sealing import Office
from tests.vault.describing import KEY, amend, records

FORM = """\
kind = "absence"
title = "No investigation was opened"
should_exist = "An investigation of the shots"
absence_kind = "never-made"
answer = "silence"
[[asked]]
whom = "The public prosecutor"
at = 2026-01-05
reference = "carta 14"
deadline = 2026-02-05
"""
SECOND = """\
[[asked]]
whom = "The ministry"
at = 2026-01-06
reference = "carta 15"
deadline = "2099-02"
"""
ID = "a-E-0003"


@pytest.fixture
def form(filled: Vault) -> Path:
    path = Path("no.toml")
    path.write_text(FORM)
    return path


def record(capsys: pytest.CaptureFixture[str], form: Path, *words: str) -> Ran:
    return run(capsys, "absence", "record", "--case", "a", "--form", form, *words, *KEY)


def overdue(capsys: pytest.CaptureFixture[str]) -> list[str]:
    done = run(capsys, "list", "--overdue", "--json")
    assert done.code == 0, done.err
    found = done.json["items"]
    assert isinstance(found, list)
    return [f"{one['id']}: {one['whom']}" for one in found]


def test_it_is_sealed_with_its_documents(
    form: Path, filled: Vault, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("request.pdf").write_bytes(b"a request")
    done = record(capsys, form, "request.pdf", "--json")
    assert (done.code, done.json["id"], done.json["signed"]) == (0, ID, True)
    bag = Path(filled.bag_path("a", ID))
    assert [path.name for path in (bag / "data").iterdir()] == ["request.pdf"]
    said = json.loads((bag / "metadata/description.json").read_bytes())
    assert (said["kind"], said["asked"][0]["deadline"]) == ("absence", "2026-02-05")
    assert said["recorded"]["program"].startswith("archiver ")
    ca = Path("ca.pem")
    ca.write_bytes(office.ca.certificate.pem)
    assert run(capsys, "bag", "verify", bag, "--trust", ca).code == 0
    assert run(capsys, "events", "verify").code == 0
    assert run(capsys, "search", "investigation").out.startswith(ID)
    shown = run(capsys, "show", ID, "--json").json["description"]
    assert isinstance(shown, dict)
    assert shown["kind"] == "absence"


def test_without_documents_the_form_is_kept(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(capsys, form).code == 0
    kept = Path(filled.bag_path("a", ID)) / "data/no.toml"
    assert kept.read_text() == FORM


def test_one_document_may_show_two_absences(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("request.pdf").write_bytes(b"a request")
    assert record(capsys, form, "request.pdf").code == 0
    done = record(capsys, form, "request.pdf")
    assert (done.code, "already" in done.err) == (5, True)
    form.write_text(FORM.replace("shots", "second shots"))
    assert record(capsys, form, "request.pdf").code == 0
    assert record(capsys, form, "request.pdf", "--again").code == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind = 'video'\n", "must be of the kind absence"),
        ("", ""),
        ("kind = 'absence'\nabsence_kind = 'eaten'\n", "no.toml:2"),
        ("kind = 'absence'\nconfidentiality = 'sealed'\n", "can't be recorded here"),
        ("= x\n", "no.toml:1"),
        ("\x1b[2J", "no.toml"),
    ],
)
def test_forms_that_cannot_be_taken(
    text: str, told: str, form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    if not text:
        form.unlink()
    else:
        form.write_text(text)
    before = Path(filled.log_path("a")).read_bytes()
    done = record(capsys, form)
    assert (done.code, told in done.err, "\x1b" in done.err) == (2, True, False)
    assert Path(filled.log_path("a")).read_bytes() == before


def test_the_case_is_that_of_the_item(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(capsys, form).code == 0
    said = json.loads(Path(filled.bag_path("a", ID), "metadata/description.json").read_bytes())
    assert said["case"] == "a"
    assert set(said["recorded"]) == {"at", "clock", "time_zone", "program"}
    form.write_text('case = "b"\n' + FORM)
    done = record(capsys, form)
    assert (done.code, "it belongs to the case b, not to a" in done.err) == (2, True)


def test_what_it_was_made_from_must_be_there(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    made = '[[derived_from]]\nitem = "a-E-0099"\ntool = "x"\nparameters = "y"\n'
    form.write_text(FORM + made)
    done = record(capsys, form)
    assert (done.code, "not in the vault: a-E-0099" in done.err) == (2, True)


def test_it_obeys_the_vault_s_policy(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(
        'extends = "evidence"\n[scan]\ncommand = ["/nowhere/scan", "{path}"]\nrequired = true\n'
    )
    assert run(capsys, "init", "other", "--policy", strict).code == 0
    words = ("absence", "record", "--case", "a", "--form", form, "--vault", "other")
    assert run(capsys, *words, "--unsigned").code == 2
    done = run(capsys, *words, *KEY)
    assert done.code == 0
    assert "not scanned for malware" in done.err
    assert "requires what the description doesn't say" in done.err
    closed = tmp_path / "closed.toml"
    closed.write_text('extends = "default"\n[encryption]\npayload = "always"\n')
    assert run(capsys, "init", "closed", "--policy", closed).code == 0
    done = run(capsys, *words[:-1], "closed", *KEY)
    assert (done.code, "keeps nothing in clear" in done.err) == (5, True)


def test_stamps_that_are_not_there_yet_are_told(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("stamped.toml").write_text('extends = "default"\n[proof]\ntime_stamps = 1\n')
    assert run(capsys, "init", "stamped", "--policy", Path("stamped.toml").resolve()).code == 0
    Path("note").write_bytes(b"x")
    for words in (("absence", "record", "--form", form), ("ingest", "note")):
        done = run(capsys, *words, "--case", "a", *KEY, "--vault", "stamped")
        assert (done.code, "time stamps that are not there yet" in done.err) == (4, True)


def test_nothing_says_what_is_absent(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("absence", "record", "--case", "a", *KEY)
    done = run(capsys, *words)
    assert (done.code, "hint: Give --form" in done.err) == (2, True)
    done = run(capsys, *words, "--ask")
    assert (done.code, "needs a document" in done.err) == (2, True)
    Path("request.pdf").write_bytes(b"a request")
    done = run(capsys, *words, "--ask", "request.pdf")
    assert (done.code, "nobody is there to answer" in done.err) == (2, True)


def test_an_absence_is_asked_for(
    form: Path,
    filled: Vault,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    words = ("absence", "record", "--case", "a", "request.pdf", *KEY, "--ask")
    Path("request.pdf").write_bytes(b"a request")
    monkeypatch.setattr("archiver.cli.ask.Talk", lambda: Sitting(confidentiality=["sealed"]))
    done = run(capsys, *words)
    assert (done.code, "can't be recorded here" in done.err) == (2, True)
    answers = {
        "confidentiality": ["public"],
        "should_exist": ["minutes"],
        "absence_kind": ["lost"],
        "whom": ["The ministry", ""],
        "at": ["2026-01-06"],
        "reference": ["carta 15"],
        "deadline": ["2026-02"],
        "answer": ["", "silence"],
    }
    monkeypatch.setattr("archiver.cli.ask.Talk", lambda: Sitting(**answers))
    assert run(capsys, *words).code == 0
    assert overdue(capsys) == [f"{ID}: The ministry"]
    assert not list((tmp_path / "state/archiver/drafts").iterdir())


def test_answers_that_should_have_come(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    form.write_text(FORM + SECOND)
    assert record(capsys, form).code == 0
    assert overdue(capsys) == [f"{ID}: The public prosecutor"]
    assert (
        "due on 2026-02-05: The public prosecutor, carta 14" in run(capsys, "list", "--overdue").out
    )
    answer = ("absence", "answer", ID, "--answer", "none was opened", *KEY)
    done = run(capsys, *answer)
    assert (done.code, "which of them" in done.err) == (2, True)
    assert run(capsys, *answer, "--asked", "3").code == 2
    done = run(capsys, *answer, "--asked", "1", "--answered-at", "2026-03-01", "--reason", "mail")
    assert done.code == 0, done.err
    assert overdue(capsys) == []
    shown = run(capsys, "show", ID, "--json").json["description"]
    assert isinstance(shown, dict)
    assert shown["now"]["answer"] == "silence"  # what the other one has answered
    assert shown["now"]["asked"][0]["answer"] == "none was opened"
    assert shown["now"]["asked"][0]["answered_at"] == "2026-03-01"
    assert "answer" not in shown["now"]["asked"][1]
    assert run(capsys, "events", "verify").code == 0


@pytest.mark.parametrize("words", [("--answered-at", "soon"), ("--answer", "")])
def test_answers_that_cannot_be(
    words: tuple[str, ...], form: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(capsys, form).code == 0
    given = words if "--answer" in words else ("--answer", "no", *words)
    assert run(capsys, "absence", "answer", ID, *given, *KEY).code == 2


def test_only_an_absence_is_answered(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(capsys, "absence", "answer", "a-E-0001", "--answer", "x", *KEY)
    assert done.code == 2
    assert amend(capsys, "a-E-0001", "--kind", "video", "title=x").code == 0
    done = run(capsys, "absence", "answer", "a-E-0001", "--answer", "x", *KEY)
    assert (done.code, "no absence" in done.err) == (2, True)
    assert amend(capsys, "a-E-0002", "--kind", "absence", "title=x").code == 0
    assert run(capsys, "absence", "answer", "a-E-0002", "--answer", "x", *KEY).code == 2


def test_when_a_deadline_is_over() -> None:
    today = date(2026, 3, 15)
    assert [
        _is_over(text, today)
        for text in (
            "2026-03-14",
            "2026-03-15",
            "2026-02",
            "2026-03",
            "2025",
            "2026",
            "unknown",
            "",
        )
    ] == [True, False, True, False, True, False, False, False]


# -- what is owed


def owed(capsys: pytest.CaptureFixture[str], *words: str) -> list[tuple[str, list[str]]]:
    done = run(capsys, "list", "--undescribed", "--json", *words)
    assert done.code == 0, done.err
    found = done.json["items"]
    assert isinstance(found, list)
    return [(one["id"], one["missing"]) for one in found]


def test_what_nobody_has_described(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert owed(capsys) == [("a-E-0001", []), ("a-E-0002", []), ("b-E-0001", [])]
    assert owed(capsys, "--case", "b") == [("b-E-0001", [])]
    assert owed(capsys, "--limit", "1") == [("a-E-0001", [])]
    assert amend(capsys, "a-E-0001", "--kind", "video", "title=x").code == 0
    assert owed(capsys, "--case", "a") == [("a-E-0002", [])]
    assert "not described yet" in run(capsys, "list", "--undescribed").out


def test_what_the_policy_asks_for(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    strict = Path("strict.toml").absolute()
    strict.write_text('extends = "default"\n[describe]\nany = ["title"]\nvideo = ["event_time"]\n')
    config = Path(filled.path) / "vault.toml"
    config.write_text(config.read_text().replace('"default"', json.dumps(str(strict))))
    assert amend(capsys, "a-E-0001", "--kind", "video", "place=x").code == 0
    assert amend(capsys, "a-E-0002", "--kind", "document", "title=x").code == 0
    assert owed(capsys) == [("b-E-0001", []), ("a-E-0001", ["title", "event_time"])]
    assert "owed are title, event_time" in run(capsys, "list", "--undescribed").out
    assert amend(capsys, "a-E-0001", "title=x", "event_time=unknown").code == 0
    assert owed(capsys, "--case", "a") == []
    path = records(filled, "a-E-0002") / "0001.json"
    os.chmod(path, 0o600)
    path.write_bytes(b"altered")
    done = run(capsys, "list", "--undescribed")
    assert (done.code, "NOT INTACT" in done.out) == (1, True)
    assert run(capsys, "list", "--undescribed", "--json").code == 1


def test_an_absence_that_is_not_intact(
    form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(capsys, form).code == 0
    path = Path(filled.bag_path("a", ID)) / "metadata/description.json"
    os.chmod(path, 0o600)
    path.write_bytes(path.read_bytes().replace(b"2026-02-05", b"2099-02-05"))
    done = run(capsys, "list", "--overdue")
    assert (done.code, "NOT INTACT" in done.out) == (1, True)


def test_what_does_not_go_together(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list", "--overdue", "--undescribed").code == 2
    assert run(capsys, "list", "--overdue", "--after", "a-E-0001").code == 2
    assert run(capsys, "list", "--overdue", "--case", "zz").code == 2


# -- amendments of a bag that has a description


@pytest.mark.parametrize("form_of", ["out", "out.tar"])
def test_amendments_follow_the_description_in_the_bag(
    form_of: str, form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(capsys, form).code == 0
    assert run(capsys, "absence", "answer", ID, "--answer", "none was opened", *KEY).code == 0
    assert run(capsys, "export", ID, form_of).code == 0
    verify = ("bag", "verify", form_of, "--amendments", f"{form_of}.amendments", "--json")
    done = run(capsys, *verify)
    told = done.json["amendments"]
    assert isinstance(told, dict)
    assert (told["count"], told["intact"], told["problems"]) == (1, True, [])
    assert told["now"]["answer"] == "none was opened"
    assert told["now"]["title"] == "No investigation was opened"


@pytest.mark.parametrize("how", ["altered", "gone", "no json", "link", "huge"])
def test_a_description_in_the_bag_that_is_not_theirs(
    how: str, form: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(capsys, form).code == 0
    assert run(capsys, "absence", "answer", ID, "--answer", "none was opened", *KEY).code == 0
    assert run(capsys, "export", ID, "out").code == 0
    path = Path("out/metadata/description.json")
    whole = path.read_bytes()
    os.chmod("out/metadata", 0o700)
    path.unlink()
    if how == "altered":
        path.write_bytes(whole.replace(b"shots", b"shotz"))
    elif how == "no json":
        path.write_bytes(b"\x1b[2J")
    elif how == "link":
        Path("kept").write_bytes(whole)
        path.symlink_to(Path("kept").absolute())
    elif how == "huge":
        with path.open("wb") as file:
            file.truncate(3 << 20)
    words = ("--amendments", "out.amendments", "--json", "--fast")
    done = run(capsys, "bag", "verify", "out", *words)
    assert done.code == 1
    told = done.json["amendments"]
    assert isinstance(told, dict)
    assert (told["intact"], told["now"]) == (False, None)
    assert "\x1b" not in done.err


def test_a_form_that_describes_something_else_is_no_absence(filled: Vault) -> None:
    from archiver.absence import record_absence
    from archiver.describe import Description
    from archiver.errors import UsageError
    from archiver.ingest import IngestOptions
    from archiver.policy import load_policy
    from archiver.seal import CreateOptions
    from tests.sealing import NOW

    create = CreateOptions(policy=load_policy("default"), now=NOW, identifier="")
    video = Description.checked("video", {"title": "x"})
    with pytest.raises(UsageError):
        record_absence(filled, "a", "x.toml", video, [], IngestOptions(create=create))


def test_only_so_many_were_asked(form: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert record(capsys, form).code == 0
    answer = ("absence", "answer", ID, "--answer", "x", "--asked", "2", *KEY)
    done = run(capsys, *answer)
    assert (done.code, "only 1 were asked" in done.err) == (2, True)


@pytest.mark.parametrize(
    "text", ['kind = "absence"\n', 'kind = "absence"\nknown_gaps = "none known"\n'], ids=len
)
def test_a_form_that_says_nothing_is_not_sealed(
    form: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """As 'describe new' writes it, and nobody has filled it in: no number is given for it."""
    form.write_text(text)
    for more in ((), ("request.pdf",)):
        Path("request.pdf").write_bytes(b"a request")
        done = record(capsys, form, *more)
        assert (done.code, "nothing says what is absent" in done.err) == (2, True)
        assert "should_exist" in done.err
    form.write_text(FORM)
    assert record(capsys, form, "--json").json["id"] == ID


def test_an_answer_needs_somebody_who_was_asked(
    form: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form.write_text(FORM.split("[[asked]]", maxsplit=1)[0])
    assert record(capsys, form).code == 0
    for more in ((), ("--asked", "1")):
        done = run(capsys, "absence", "answer", ID, "--answer", "x", *more, *KEY)
        assert (done.code, "nothing says who was asked" in done.err) == (2, True)
        assert "describe amend" in done.err
