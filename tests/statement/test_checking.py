"""`bag verify` and `policy check` with a key: what is encrypted is judged, too, without a vault."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from archiver.describe.description import canonical
from archiver.encrypt import decrypt_bytes, encrypt_bytes
from tests.helpers import Ran
from tests.statement.scene import ITEM, NAME, Scene

WORDS = "the second account differs"
RECORD = Path("out.amendments/0001.json.age")


@pytest.fixture
def handed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A statement with two encrypted amendments, handed out; the vault is gone."""
    keys = scene.keys
    Path("p.toml").write_text(
        f'extends = "default"\n[encryption]\nrecipients = ["{keys["reader"].recipient}"]\n'
        f'escrow = ["{keys["escrow"].recipient}"]\n[describe]\nstatement = ["known_gaps"]\n'
    )
    scene.take()
    for text in ('known_gaps = "none known"\n', f'description = "{WORDS}"\n'):
        form = scene.write("more.toml", text)
        words = ("--form", form, "--reason", "a second talk", "--unsigned", "--policy", "p.toml")
        assert scene.run("describe", "amend", ITEM, *words).code == 0
    done = scene.run("export", ITEM, "out", "--for", "lawyer", "--identity", keys["reader"].file)
    assert done.code == 0, done.err
    shutil.rmtree(scene.vault.path)
    monkeypatch.delenv("ARCHIVER_VAULT")
    return scene


def check(scene: Scene, *more: object, key: str = "reader", words: Any = None) -> Ran:
    given = ("--amendments", "out.amendments") if words is None else words
    return scene.run("bag", "verify", "out", *given, "--identity", scene.keys[key].file, *more)


def told(ran: Ran) -> dict[str, Any]:
    found = ran.json["amendments"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("key", ["reader", "escrow"])
def test_who_holds_a_key_reads_what_was_amended(handed: Scene, key: str) -> None:
    done = check(handed, key=key)
    assert done.code == 0, done.err
    assert "known_gaps: none known" in done.out
    assert f"description: - -> {WORDS}" in done.out
    answer = told(check(handed, "--json", key=key))
    assert (answer["secret"], answer["opened"], answer["count"]) == (True, True, 2)
    assert answer["now"]["known_gaps"] == "none known"
    assert [one["number"] for one in answer["history"]] == [1, 2]


def test_who_holds_none_hears_that_they_are_encrypted(handed: Scene) -> None:
    done = handed.run("bag", "verify", "out", "--amendments", "out.amendments")
    assert (done.code, "--identity KEYFILE opens it" in done.out) == (0, True)
    assert WORDS not in done.out


@pytest.mark.parametrize("key", ["stranger", "identity"])
def test_a_key_that_opens_nothing_leaves_it_undecided(handed: Scene, key: str) -> None:
    done = check(handed, key=key)
    assert done.code == 3
    assert "what they say is encrypted" in done.out
    answer = told(check(handed, "--json", key=key))
    assert (answer["opened"], answer["now"], answer["intact"]) == (False, None, True)


def harm(handed: Scene, what: str) -> None:
    data, recipient = RECORD.read_bytes(), handed.keys["reader"].recipient
    RECORD.chmod(0o600)
    if what == "altered":
        RECORD.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif what == "cut off":
        RECORD.write_bytes(data[:-20])
    elif what == "no ciphertext":
        RECORD.write_bytes(b"x" * 500)
    elif what == "a bomb":
        RECORD.write_bytes(encrypt_bytes(b"\0" * (3 << 20), [recipient]))
    elif what == "no record":
        RECORD.write_bytes(encrypt_bytes(b"{}", [recipient]))
    elif what == "encrypted anew":
        # The same words, by whoever knows the recipient.
        plain = decrypt_bytes(data, handed.keys["reader"].identities, 1 << 20)
        RECORD.write_bytes(encrypt_bytes(plain, [recipient]))
    elif what == "exchanged":
        second = RECORD.with_name("0002.json.age")
        second.chmod(0o600)
        RECORD.write_bytes(second.read_bytes())
        second.write_bytes(data)
    elif what == "another item's":
        plain = decrypt_bytes(data, handed.keys["reader"].identities, 1 << 20)
        other = plain.replace(ITEM.encode(), b"c-E-0009")
        assert other != plain
        RECORD.write_bytes(encrypt_bytes(other, [recipient]))


@pytest.mark.parametrize(
    "what",
    [
        "altered",
        "cut off",
        "no ciphertext",
        "a bomb",
        "no record",
        "encrypted anew",
        "exchanged",
        "another item's",
    ],
)
def test_amendments_that_are_not_what_was_handed_out(handed: Scene, what: str) -> None:
    harm(handed, what)
    done = check(handed)
    assert done.code == 1
    assert done.err.startswith("warning: ")
    assert "Traceback" not in done.err
    assert "they belong to this bag" not in done.out
    answer = told(check(handed, "--json"))
    assert (answer["intact"], answer["now"], answer["history"]) == (False, None, [])


def test_words_of_a_stranger_are_fit_for_a_terminal(handed: Scene) -> None:
    record = RECORD.with_name("0002.json.age")
    identities = handed.keys["reader"].identities
    plain = json.loads(decrypt_bytes(record.read_bytes(), identities, 1 << 20))
    plain["set"]["description"] = "\x1b[31mred\u202e"
    record.chmod(0o600)
    record.write_bytes(encrypt_bytes(canonical(plain), [handed.keys["reader"].recipient]))
    done = check(handed)
    assert (done.code, "holds control characters" in done.err) == (1, True)
    assert "\x1b" not in done.out + done.err
    assert "\u202e" not in done.out + done.err


def test_a_policy_is_held_against_what_is_encrypted(handed: Scene) -> None:
    """By what was sealed: an amendment is not in the bag."""
    policy = ("--policy", "p.toml")
    assert handed.run("bag", "verify", "out", *policy).code == 3
    done = check(handed, words=policy)
    assert (done.code, "known_gaps" in done.out) == (4, True)
    Path("q.toml").write_text(
        'extends = "default"\n[describe]\nrequired = true\nstatement = ["witness_code"]\n'
    )
    assert check(handed, words=("--policy", "q.toml")).code == 0
    assert check(handed, words=("--policy", "q.toml"), key="stranger").code == 3
    file = handed.keys["reader"].file
    done = handed.run("policy", "check", "q.toml", "out", "--identity", file)
    assert (done.code, "has all that the policy" in done.out) == (0, True)
    done = handed.run("policy", "check", "p.toml", "out", "--identity", file, "--json")
    assert (done.code, done.json["missing"][0]["code"]) == (4, "E-POL-012")  # type: ignore[index]
    assert NAME not in done.out


def test_a_key_without_a_question_is_refused(handed: Scene) -> None:
    done = check(handed, words=())
    assert (done.code, "hint: A statement is read" in done.err) == (2, True)


def test_a_key_file_that_is_none(handed: Scene) -> None:
    done = handed.run("bag", "verify", "out", "--policy", "p.toml", "--identity", "p.toml")
    assert (done.code, done.err.count("error:")) == (5, 1)
