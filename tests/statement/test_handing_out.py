"""Exports obey the witness: for a purpose, as long as it is allowed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from archiver.amend import Wanted, amend
from archiver.consent import ConsentError, Permission
from archiver.describe import DESCRIPTION_PATH, Description
from archiver.errors import PolicyError
from archiver.export import ExportRequest, export
from archiver.policy import load_policy
from archiver.receipt import parse_receipt
from archiver.secrecy import SecretError
from archiver.vault.check import check_logs
from tests.helpers import Bag
from tests.sealing import NOW, make_source
from tests.statement.scene import CASE, FORM, ITEM, NAME, Scene
from tests.vault.looking import links


def hand_out(scene: Scene, *more: object, item: str = ITEM) -> Any:
    number = len(list(scene.base.glob("out-*.tar")))
    return scene.run("export", item, scene.base / f"out-{number}.tar", *more)


def key(scene: Scene, name: str = "reader") -> list[object]:
    return ["--identity", scene.keys[name].file]


def exported(scene: Scene) -> list[dict[str, Any]]:
    found = [one.event for one in links(scene.vault, CASE)]
    return [dict(one.detail) for one in found if one.type == "dissemination"]


def test_the_answer_is_read_with_the_key(scene: Scene) -> None:
    scene.take()
    for purpose, code, words in (
        ("lawyer", 0, ""),
        ("media", 4, "has not consented"),
        ("court", 4, "wants to be asked first"),
        ("research", 4, "doesn't say"),
        ("gossip", 2, "no purpose gossip"),
    ):
        done = hand_out(scene, "--for", purpose, *key(scene))
        assert (done.code, words in done.err) == (code, True), done.err
    (event,) = exported(scene)
    assert event["consent"] == {"basis": "yes", "purpose": "lawyer"}
    receipt = (scene.base / "out-0.tar.receipt.txt").read_bytes()
    assert parse_receipt(receipt).consent == "lawyer yes"
    assert len(list(scene.base.glob("out-*"))) == 2


def test_what_the_witness_answered_stands_in_the_receipt_alone(scene: Scene) -> None:
    scene.take()
    done = hand_out(scene, "--for", "court", "--asked", "yes, by telephone", *key(scene))
    assert done.code == 0
    text = (scene.base / "out-0.tar.receipt.txt").read_bytes()
    assert parse_receipt(text).consent == "court asked yes, by telephone"
    assert exported(scene)[0]["consent"] == {"basis": "asked", "purpose": "court"}
    assert "telephone" not in Path(scene.vault.log_path(CASE)).read_text()
    assert scene.run("receipt", "list").code == 0
    done = hand_out(scene, "--for", "media", "--asked", "yes", *key(scene))
    assert done.code == 4
    done = hand_out(scene, "--for", "court", "--asked", "a\nb", *key(scene))
    assert done.code == 2


def test_without_a_key_somebody_has_to_stand_for_it(scene: Scene) -> None:
    scene.take()
    done = hand_out(scene, "--for", "court")
    assert (done.code, "--consent-confirmed-by CODE" in done.err) == (4, True)
    for wrong in (NAME, "ana", "R"):
        done = hand_out(scene, "--for", "court", "--consent-confirmed-by", wrong)
        assert (done.code, "no code" in done.err) == (2, True)
        assert NAME not in done.err
    done = hand_out(scene, "--for", "court", "--consent-confirmed-by", "R-02")
    assert done.code == 0
    (event,) = exported(scene)
    assert event["consent"] == {"basis": "confirmed", "purpose": "court", "confirmed_by": "R-02"}
    assert b"consent court confirmed R-02\n" in (scene.base / "out-0.tar.receipt.txt").read_bytes()
    # Who holds the key looks, and doesn't confirm.
    more = ["--consent-confirmed-by", "R-02", *key(scene)]
    assert hand_out(scene, "--for", "media", *more).code == 4


def test_the_identity_s_key_and_a_stranger_s_tell_nothing(scene: Scene) -> None:
    scene.take()
    for name in ("identity", "stranger"):
        done = hand_out(scene, "--for", "lawyer", *key(scene, name))
        assert (done.code, "none of the keys" in done.err) == (5, True)


def test_no_purpose_no_export(scene: Scene) -> None:
    scene.take()
    done = hand_out(scene)
    assert (done.code, "--for PURPOSE" in done.err) == (4, True)
    for more in (key(scene), ["--asked", "x"], ["--consent-confirmed-by", "R-1"]):
        assert hand_out(scene, *more).code == 2
    request, item = ExportRequest(form="tar", receipt="0" * 32), scene.item()
    with pytest.raises(ConsentError):
        export(scene.vault, item, str(scene.base / "x.tar"), request, lambda: NOW)
    assert exported(scene) == []


def test_expired_consent(scene: Scene) -> None:
    scene.write("form.toml", FORM + "expires = 2025-01-01\n")
    scene.take()
    done = hand_out(scene, "--for", "lawyer", *key(scene))
    assert (done.code, "has expired" in done.err) == (4, True)


def test_what_was_withdrawn_is_not_handed_out_whoever_confirms(scene: Scene) -> None:
    scene.take()
    assert hand_out(scene, "--for", "lawyer", *key(scene)).code == 0
    done = scene.run("consent", "withdraw", ITEM, "--scope", "lawyer,media", "--reason", "told us")
    assert done.code == 0
    assert "can't be called back" in done.out
    (event,) = exported(scene)
    assert event["receipt"] in done.out
    for more in (key(scene), ["--consent-confirmed-by", "R-1"]):
        done = hand_out(scene, "--for", "lawyer", *more)
        assert (done.code, "was withdrawn" in done.err) == (4, True)
    assert hand_out(scene, "--for", "court", "--asked", "yes", *key(scene)).code == 0
    again = scene.run(
        "consent", "withdraw", ITEM, "--scope", "media", "--reason", "again", "--json"
    ).json
    assert (again["new"], len(again["handed_out"])) == (False, 2)  # type: ignore[arg-type]
    assert scene.run("consent", "withdraw", ITEM, "--reason", "all of it").code == 0
    assert hand_out(scene, "--for", "court", "--asked", "yes", *key(scene)).code == 4
    assert check_logs(scene.vault).problems == ()
    Path(scene.vault.catalog).unlink()  # it is read from the log
    assert hand_out(scene, "--for", "court", "--asked", "yes", *key(scene)).code == 4


def test_withdrawn_while_it_is_being_handed_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last word is said under the vault's lock."""
    from archiver.consent import withdraw_consent
    from archiver.export import _Run

    scene.take()
    item, staged = scene.item(), _Run.stage

    def meddling(run: Any, *arguments: Any) -> Any:
        assert withdraw_consent(scene.vault, item, ["all"], "told us", NOW, 5.0)
        return staged(run, *arguments)

    monkeypatch.setattr(_Run, "stage", meddling)
    permission = Permission(purpose="lawyer", basis="yes")
    request = ExportRequest(form="tar", receipt="0" * 32, permission=permission)
    with pytest.raises(ConsentError, match="was withdrawn"):
        export(scene.vault, item, str(scene.base / "x.tar"), request, lambda: NOW)
    assert list(scene.base.glob("x.tar*")) == []
    assert exported(scene) == []
    assert list(scene.base.glob(".archiver-*")) == []


def test_other_items_are_handed_out_as_ever_until_something_is_withdrawn(scene: Scene) -> None:
    make_source(scene.base / "video", {"v.mp4": b"x"})
    assert scene.run("ingest", scene.base / "video", "--case", CASE, "--unsigned").code == 0
    assert hand_out(scene).code == 0
    assert hand_out(scene, "--for", "media").code == 0
    assert [one.get("consent") for one in exported(scene)] == [
        None, {"basis": "none", "purpose": "media"},
    ]  # fmt: skip
    done = scene.run("consent", "withdraw", ITEM, "--scope", "media", "--reason", "told us")
    assert done.code == 0
    assert [hand_out(scene, *more).code for more in ((), ("--for", "media"))] == [4, 4]
    assert hand_out(scene, "--for", "court").code == 0


def test_consent_is_shown(scene: Scene) -> None:
    scene.take()
    done = scene.run("consent", "show", ITEM, *key(scene))
    assert done.code == 0
    lines = dict(line.split(None, 1) for line in done.out.splitlines())
    assert (lines["lawyer"], lines["court"], lines["media"]) == ("yes", "ask first", "no")
    assert lines["research"] == "none"
    scene.run("consent", "withdraw", ITEM, "--scope", "court", "--reason", "told us")
    done = scene.run("consent", "show", ITEM)
    lines = dict(line.split(None, 1) for line in done.out.splitlines())
    assert (lines["lawyer"], lines["court"]) == ("not known", "WITHDRAWN")
    assert "told us" in done.out
    assert "--identity" in done.err
    told = scene.run("consent", "show", ITEM, *key(scene), "--json").json
    assert told["consent"]["lawyer"] == "yes"  # type: ignore[index]
    assert told["withdrawn"][0]["scope"] == ["court"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["withdraw", "c-E-0009", "--reason", "x"], 2),
        (["withdraw", ITEM, "--reason", ""], 2),
        (["withdraw", ITEM, "--reason", "a\nb"], 2),
        (["withdraw", ITEM, "--scope", "everything", "--reason", "x"], 2),
        (["show", "c-E-0009"], 2),
    ],
)
def test_what_makes_no_sense(scene: Scene, words: list[str], code: int) -> None:
    scene.take()
    before = len(links(scene.vault, CASE))
    assert scene.run("consent", *words).code == code
    assert len(links(scene.vault, CASE)) == before


def test_an_item_that_was_never_sealed_has_no_consent(scene: Scene) -> None:
    from archiver.ingest.numbers import begin
    from tests.statement.test_taking import INGEST

    begin(scene.vault, CASE, ["x"], INGEST)
    assert scene.run("consent", "show", ITEM).code == 2
    assert scene.run("consent", "withdraw", ITEM, "--reason", "x").code == 2


def assert_told_to_who_holds_a_key(scene: Scene) -> None:
    """Nobody reads yes where the witness says no by now."""
    opened = scene.open(ITEM)
    assert opened.code == 0
    assert "amendment 2 of" in opened.out
    assert re.search(r"consent:\n  explained: yes\n  lawyer: ask\n", opened.out)
    told = scene.open(ITEM, "--json").json
    assert isinstance(told["now"], dict)
    assert isinstance(told["amendments"], list)
    assert told["now"]["consent"] == {"explained": "yes", "lawyer": "ask"}
    assert [one["number"] for one in told["amendments"]] == [1, 2]
    shown = scene.run("show", ITEM, *key(scene))
    assert (shown.code, "amendment 2 of" in shown.out) == (0, True)
    assert "lawyer" not in scene.run("show", ITEM).out
    strange = scene.open(ITEM, key="stranger")
    assert (strange.code, "was amended since" in strange.err) == (5, False)
    assert scene.run("show", ITEM, *key(scene, "stranger")).code == 5
    assert scene.run("show", ITEM, *key(scene), "--premis").code == 2
    said = scene.run("show", ITEM, *key(scene), "--json").json["description"]
    assert isinstance(said, dict)
    assert said["now"] == told["now"]


def test_a_secret_item_is_amended_by_a_policy_that_has_recipients(scene: Scene) -> None:
    scene.take()
    Path("p.toml").write_text(
        f'extends = "default"\n[encryption]\nrecipients = ["{scene.keys["reader"].recipient}"]\n'
    )
    form = scene.write("more.toml", 'known_gaps = "none known"\n')
    words = ("describe", "amend", ITEM, "--form", form, "--reason", "asked", "--unsigned")
    done = scene.run(*words)
    assert (done.code, "hint: Nothing was done. Give --policy FILE.toml" in done.err) == (2, True)
    assert scene.run(*words, "--policy", "p.toml").code == 0
    assert "known_gaps: none known" in scene.open(ITEM).out
    assert scene.run("consent", "withdraw", ITEM, "--scope", "media", "--reason", "told").code == 0
    assert "consent withdrawn on" in scene.open(ITEM).out


def test_what_was_amended_since_counts(scene: Scene) -> None:
    """A witness who said yes when it was taken, and no since."""
    scene.take()
    keys = scene.keys
    Path("p.toml").write_text(
        f'extends = "default"\n[encryption]\nrecipients = ["{keys["reader"].recipient}"]\n'
        f'escrow = ["{keys["escrow"].recipient}"]\n'
    )
    assert hand_out(scene, "--for", "lawyer", *key(scene)).code == 0
    policy = load_policy("p.toml")
    for answer in ("no", "ask"):
        wanted = Wanted(reason="told us", set={"consent": {"explained": "yes", "lawyer": answer}})
        amend(scene.vault, scene.item(), wanted, NOW, policy=policy)
        done = hand_out(scene, "--for", "lawyer", *key(scene))
        assert done.code == 4, done.err
        assert "has not consented" in done.err or "asked first" in done.err
    assert hand_out(scene, "--for", "lawyer").code == 4
    told = scene.run("consent", "show", ITEM, *key(scene), "--json").json
    assert told["consent"] == {"explained": "yes", "lawyer": "ask"}
    assert told == scene.run("consent", "show", ITEM, *key(scene, "escrow"), "--json").json
    record = Path(scene.vault.path, "amendments", ITEM, "0002.json.age")
    assert b"explained" not in record.read_bytes()
    assert_told_to_who_holds_a_key(scene)
    with pytest.raises(PolicyError, match="nothing can be encrypted"):
        amend(scene.vault, scene.item(), wanted, NOW, policy=load_policy("default"))
    record.chmod(0o600)
    record.write_bytes(record.with_name("0001.json.age").read_bytes())
    done = hand_out(scene, "--for", "lawyer", "--asked", "yes", *key(scene))
    assert (done.code, "MODIFIED" in done.err) == (1, True)
    done = scene.open(ITEM)
    assert (done.code, "what was amended since can't be told" in done.err) == (1, True)
    assert scene.run("show", ITEM, *key(scene)).code == 1


def test_an_item_that_was_said_to_be_a_statement_later_is_one(scene: Scene) -> None:
    make_source(scene.base / "notes", {"n.txt": b"x"})
    assert scene.run("ingest", scene.base / "notes", "--case", CASE, "--unsigned").code == 0
    values = {"confidentiality": "public", "consent": {"media": "no", "court": "yes"}}
    wanted = Wanted(reason="it is one", kind="statement", set=values)
    amend(scene.vault, scene.item(), wanted, NOW, policy=load_policy("default"))
    for more, code in (((), 4), (("--for", "media"), 4), (("--for", "court"), 0)):
        assert hand_out(scene, *more).code == code


def test_a_catalog_that_somebody_changed_lets_no_statement_out(scene: Scene) -> None:
    scene.take()
    with contextlib.closing(sqlite3.connect(scene.vault.catalog)) as catalog, catalog:
        (text,) = catalog.execute("SELECT detail FROM bags").fetchone()
        detail = json.loads(text)
        del detail["description"]
        catalog.execute("UPDATE bags SET detail = ?", (json.dumps(detail),))
        catalog.execute("DELETE FROM descriptions")
    done = hand_out(scene)
    assert (done.code, "for what purpose" in done.err) == (4, True), done.err
    assert not list(scene.base.glob("out-*"))


def test_a_catalog_that_forgot_a_witness_s_no_lets_nothing_out(scene: Scene) -> None:
    """The amendment is in the log: the index doesn't decide."""
    make_source(scene.base / "notes", {"n.txt": b"x"})
    assert scene.run("ingest", scene.base / "notes", "--case", CASE, "--unsigned").code == 0
    values = {"confidentiality": "public", "consent": {"media": "yes", "court": "yes"}}
    said = Wanted(reason="it is one", kind="statement", set=values)
    amend(scene.vault, scene.item(), said, NOW, policy=load_policy("default"))
    withheld = Wanted(reason="said later", set={"consent": {"media": "no", "court": "yes"}})
    amend(scene.vault, scene.item(), withheld, NOW, policy=load_policy("default"))
    with contextlib.closing(sqlite3.connect(scene.vault.catalog)) as catalog, catalog:
        catalog.execute("DELETE FROM amendments WHERE number = 2")
        catalog.execute(
            "UPDATE descriptions SET amendments = 1,"
            " last_sha256 = (SELECT sha256 FROM amendments WHERE number = 1)"
        )
    done = hand_out(scene, "--for", "media")
    assert (done.code, "has not consented" in done.err) == (4, True), done.err
    copy = scene.base / "for-court"
    assert scene.run("export", ITEM, copy, "--for", "court").code == 0
    assert len(list(Path(f"{copy}.amendments").rglob("*.json"))) == 2


def test_a_statement_that_was_taken_over_is_still_one(scene: Scene) -> None:
    scene.take()
    copy = scene.base / "received"
    assert scene.run("export", ITEM, copy, "--for", "lawyer", *key(scene)).code == 0
    words = ("ingest", copy, "--adopt", "--case", "d", "--unsigned")
    assert scene.run(*words).code == 0
    done = hand_out(scene, item="d-E-0001")
    assert (done.code, "for what purpose" in done.err) == (4, True), done.err
    done = hand_out(scene, "--for", "media", *key(scene), item="d-E-0001")
    assert (done.code, "has not consented" in done.err) == (4, True), done.err
    assert check_logs(scene.vault).problems == ()


@pytest.mark.parametrize("open_to", ["public", ""])
def test_nor_is_one_in_clear_another_thing_in_another_house(scene: Scene, open_to: str) -> None:
    said = {"witness_code": "W-07", "title": "Peregrina", "case": "x", "consent": {"media": "no"}}
    said |= {"confidentiality": open_to} if open_to else {}
    description = Description.checked("statement", said)
    made = Bag({"data/a.txt": b"a"}, tag_files={DESCRIPTION_PATH: description.to_bytes()})
    bag = made.write(scene.base / "received")
    assert scene.run("ingest", bag, "--adopt", "--case", "d", "--unsigned").code == 0
    done = hand_out(scene, item="d-E-0001")
    assert (done.code, "for what purpose" in done.err) == (4, True), done.err
    done = hand_out(scene, "--for", "media", item="d-E-0001")
    assert (done.code, "has not consented" in done.err) == (4, True), done.err
    found = scene.run("search", "Peregrina").out
    assert ("Peregrina" in found) == bool(open_to)
    index = Path(scene.vault.search_index).read_bytes()
    assert (b"peregrina" in index.lower()) == bool(open_to)


@pytest.mark.parametrize(
    "words",
    [
        ("consent", "show", ITEM),
        ("export", ITEM, "out", "--for", "lawyer"),
        ("show", ITEM),
        ("bag", "verify", f"vault/bags/{CASE}/{ITEM}", "--policy", "statement"),
        ("policy", "check", "statement", f"vault/bags/{CASE}/{ITEM}"),
        ("statement", "check"),
        ("statement", "open", ITEM, "-o", "out"),
    ],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_what_nobody_has_thought_of_is_told_without_a_word_of_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """An error of a library's in the midst of it, with what was opened in its text."""
    scene.take()
    monkeypatch.chdir(scene.base)

    def failing(*_given: object) -> None:
        raise ValueError(f"{NAME} is not that")

    told = [*words, "--identity", str(scene.keys["reader"].file)]
    scene.run(*told, *(["--json"] if "-o" not in words else []))  # all that it needs is imported
    shutil.rmtree("out", ignore_errors=True)
    for module in [one for name, one in sys.modules.items() if name.startswith("archiver.")]:
        for function in {"decrypt_bytes", "decrypt"} & set(vars(module)):
            monkeypatch.setattr(module, function, failing)
    done = scene.run(*told)
    assert done.code != 0
    assert NAME not in done.out + done.err
    assert done.err.count("error: ") == 1
    with pytest.raises(SecretError) as caught:
        scene.run(*told, "--debug")
    assert NAME not in "".join(traceback.format_exception(caught.value))
    assert not Path("out").exists()
