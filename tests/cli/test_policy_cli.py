"""``archiver policy``, and what the commands that make bags do by policies."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from archiver.cli.output import Output
from archiver.cli.owed import tell_owed
from archiver.describe import DESCRIPTION_PATH
from archiver.policy import load_policy, policy_names
from tests.helpers import Ran, run
from tests.policies import OPEN, SEALED, age_file, described
from tests.sealing import Office, make_source, seal, write_key


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("ARCHIVER_KEY_DIR", "ARCHIVER_PASSPHRASE_FILE", "ARCHIVER_VAULT"):
        monkeypatch.delenv(name, raising=False)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    ran = run(capsys, "policy", "list")
    assert ran.code == 0
    for name in policy_names():
        assert f"{name} " in ran.out
        assert load_policy(name).description in ran.out
    made = run(capsys, "policy", "list", "--json").json
    assert made["schema"] == "archiver/policy-list/1"
    assert [one["name"] for one in made["policies"]] == policy_names()  # type: ignore[attr-defined]
    extends = {one["name"]: one["extends"] for one in made["policies"]}  # type: ignore[attr-defined]
    assert (extends["statement"], extends["default"]) == ("evidence", None)
    assert "statement   extends evidence   Statements" in ran.out


def test_what_the_policies_that_ship_say_can_be_translated() -> None:
    from archiver.cli.policy import _SHIPPED

    assert {load_policy(name).description for name in policy_names()} == set(_SHIPPED)


def test_show_is_the_whole_policy_as_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in policy_names():
        ran = run(capsys, "policy", "show", name)
        assert ran.code == 0
        again = tmp_path / "again.toml"
        again.write_text(ran.out)
        made, first = load_policy(str(again)), load_policy(name)
        assert tomllib.loads(ran.out)["description"] == first.description
        for table in ("bag", "proof", "watch", "describe", "formats", "scan", "encryption", "keep"):
            assert getattr(made, table) == getattr(first, table)


def test_show_says_which_file_says_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("extends = 'evidence'\n\n[proof]\nsignatures = 2\n")
    out = run(capsys, "policy", "show", own).out
    for key, place in (
        ("signatures = 2", "own.toml:4"),
        ("time_stamps = 0", "default.toml:24"),
        ("verify_after = true", "evidence.toml:9"),
    ):
        (line,) = (one for one in out.splitlines() if one.startswith(key))
        assert line.endswith(place)
    bare = tmp_path / "bare.toml"
    bare.write_text("[bag]\nread_only = true\n")
    assert "# built in" in run(capsys, "policy", "show", bare).out
    made = run(capsys, "policy", "show", own, "--json").json
    tables: Any = made["tables"]
    assert tables["proof"]["signatures"] == {"value": 2, "from": f"{own}:4"}
    assert made["files"][0] == str(own)  # type: ignore[index]


def test_show_can_write_one_thing_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "policy", "show", "court", "--json", "--bagit-profile").code == 2
    assert run(capsys, "policy", "show", "court", "--identifier", "urn:x").code == 2
    made = run(capsys, "policy", "show", "court", "--bagit-profile", "--identifier", "urn:x").json
    assert made["BagIt-Profile-Info"]["BagIt-Profile-Identifier"] == "urn:x"  # type: ignore[index]


def test_control_characters_of_a_strangers_policy_do_not_steer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('description = "\\u001b[2J\\u202e"\n"\\u001b]0;x" = 1\n')
    for command in ("show", "check"):
        ran = run(capsys, "policy", command, own)
        assert "\x1b" not in ran.out + ran.err
    own.write_text('description = "\\u001b[2J\\u202e"\n')
    ran = run(capsys, "policy", "show", own)
    assert ran.code == 0
    assert "\x1b" not in ran.out


def test_check_says_all_that_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[describe]\nvideo = [\n 'event_tiem',\n]\n[keep]\nreplica = 1\n")
    ran = run(capsys, "policy", "check", own)
    assert ran.code == 2
    assert ran.err.count("error:") == 2
    for text in ("own.toml:3", "event_time?", "own.toml:6", "replicas?"):
        assert text in ran.err
    made = run(capsys, "policy", "check", own, "--json")
    assert made.code == 2
    places = [one["place"] for one in made.json["mistakes"]]  # type: ignore[attr-defined]
    assert places == [f"{own}:3", f"{own}:6"]
    own.write_text("[keep]\nreplicas = 1\n")
    assert "nothing is wrong" in run(capsys, "policy", "check", own).out
    assert run(capsys, "policy", "check", own, "--json").json["mistakes"] == []
    assert run(capsys, "policy", "check", "absent.toml").code == 2
    assert "evidence" in run(capsys, "policy", "check", "evidense").err


def trusted(office: Office, place: Path) -> Path:
    ca = place / "ca.pem"
    ca.write_bytes(office.ca.certificate.pem)
    return ca


def test_check_of_a_bag_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, office: Office
) -> None:
    source = make_source(tmp_path / "source", {"a.mp4": b"moving"})
    tags = {DESCRIPTION_PATH: described("video", collected_by=None)}
    bag = seal(source, tmp_path / "bag", [office.ana], tag_files=tags)
    ca = trusted(office, tmp_path)
    ran = run(capsys, "policy", "check", "evidence", bag, "--trust", ca)
    assert ran.code == 4
    assert "lacks" in ran.out
    assert "collected_by" in ran.out
    made = run(capsys, "policy", "check", "evidence", bag, "--trust", ca, "--json").json
    assert [one["code"] for one in made["missing"]] == ["E-POL-012"]  # type: ignore[attr-defined]
    verified = run(capsys, "bag", "verify", bag, "--policy", "evidence", "--trust", ca)
    assert verified.code == 4
    assert "collected_by" in verified.out
    whole = seal(source, tmp_path / "whole", [office.ana], tag_files=dict(OPEN.tags))
    ran = run(capsys, "policy", "check", "evidence", whole, "--trust", ca)
    assert (ran.code, "has all" in ran.out) == (0, True)


def test_what_is_encrypted_can_not_be_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text("extends = 'statement'\n[proof]\nsignatures = 0\n")
    bag = SEALED.write(tmp_path / "bag")
    ran = run(capsys, "policy", "check", own, bag)
    assert ran.code == 3
    assert "can't be told" in ran.out
    verified = run(capsys, "bag", "verify", bag, "--policy", own)
    assert verified.code == 3
    assert "intact, but" in verified.out
    assert "whether the bag is intact" not in verified.out


def test_several_bags_and_what_is_no_bag(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bag = OPEN.write(tmp_path / "bag")
    damaged = OPEN.write(tmp_path / "damaged")
    (damaged / "data/a.mp4").write_bytes(b"other!")
    assert run(capsys, "policy", "check", "default", bag, "absent").code == 2
    ran = run(capsys, "policy", "check", "default", bag, damaged)
    assert ran.code == 1
    assert "INVALID" in ran.out


def test_many_findings_are_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[encryption]\npayload = 'always'\n")
    source = make_source(tmp_path / "s", {f"{number}.txt": b"x" for number in range(120)})
    bag = seal(source, tmp_path / "bag", [])
    ran = run(capsys, "policy", "check", own, bag)
    assert ran.code == 4
    assert "and 20 more" in ran.out


# -- making bags by a policy


@pytest.fixture
def place(tmp_path: Path, office: Office) -> Path:
    """A vault, a key and a source."""
    write_key(office.ana, tmp_path / "keys", "ana")
    make_source(tmp_path / "source")
    return tmp_path


KEY = ("--key", "keys/ana.key")


def ingest(capsys: pytest.CaptureFixture[str], *more: object) -> Ran:
    return run(capsys, "ingest", "source", "--case", "caso-1", "--vault", "vault", *KEY, *more)


def test_create_seals_and_says_what_is_owed(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    ran = run(capsys, "bag", "create", "source", "-o", "bag", "--policy", "evidence", *KEY)
    assert ran.code == 0
    assert "requires a description" in ran.err
    assert (place / "bag").is_dir()
    quiet = run(capsys, "bag", "create", "source", "-o", "b2", "--policy", "evidence", *KEY, "-q")
    assert "description" not in quiet.err
    plain = run(capsys, "bag", "create", "source", "-o", "b3")
    assert "description" not in plain.err


def test_nothing_is_sealed_in_clear_where_all_must_be_encrypted(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    ran = run(capsys, "bag", "create", "source", "-o", "bag", "--policy", "statement", *KEY)
    assert ran.code == 5
    assert "archiver statement new" in ran.err
    assert not (place / "bag").exists()
    make_source(place / "closed", {"0001.age": age_file(), "identity.age": age_file()})
    ran = run(capsys, "bag", "create", "closed", "-o", "bag", "--policy", "statement", *KEY)
    assert ran.code == 0


def test_a_vault_follows_its_policy_or_the_one_that_is_named(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    assert run(capsys, "init", "vault", "--policy", "evidence").code == 0
    ran = ingest(capsys)
    assert ran.code == 0
    assert "requires a description" in ran.err
    make_source(place / "source", {"more.txt": b"more"})
    ran = ingest(capsys, "--policy", "default")
    assert (ran.code, "description" in ran.err) == (0, False)
    make_source(place / "source", {"again.txt": b"more"})
    ran = ingest(capsys, "--policy", "statement")
    assert (ran.code, "statement new" in ran.err) == (5, True)
    bag = OPEN.write(place / "foreign")
    ran = run(capsys, "ingest", bag, "--adopt", "--case", "caso-1", "--vault", "vault", *KEY,
              "--policy", "statement")  # fmt: skip
    assert (ran.code, "statement new" in ran.err) == (5, True)
    items = run(capsys, "list", "--vault", "vault", "--json").json["bags"]
    assert len(items) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["bag create", "ingest", "watch", "bag verify", "init"])
def test_a_misspelt_field_stops_every_command(
    capsys: pytest.CaptureFixture[str], place: Path, command: str
) -> None:
    assert run(capsys, "init", "vault").code == 0
    own = place / "own.toml"
    own.write_text("[describe]\nany = ['titel']\n")
    (place / "inbox").mkdir()
    arguments: dict[str, list[object]] = {
        "bag create": ["bag", "create", "source", "-o", "bag"],
        "ingest": ["ingest", "source", "--case", "c", "--vault", "vault", "--unsigned"],
        "watch": ["watch", "inbox", "-o", "out", "--once"],
        "bag verify": ["bag", "verify", "source"],
        "init": ["init", "other"],
    }
    ran = run(capsys, *arguments[command], "--policy", own)
    assert ran.code == 2
    assert "own.toml:2" in ran.err
    assert "title?" in ran.err


def test_a_watched_folder_keeps_nothing_in_clear_either(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    own = place / "own.toml"
    own.write_text(
        "[encryption]\npayload = 'always'\n[watch]\nquiet_seconds = 1\nunproved_quiet_seconds = 1\n"
    )
    (place / "out").mkdir()
    make_source(place / "inbox", {"her-name.txt": b"I saw it"})
    run(capsys, "watch", "inbox", "-o", "out", "--policy", own, "--once", "--quiet-period", "1s")
    assert not [one for one in (place / "out").iterdir() if not one.name.startswith(".")]
    shown = run(capsys, "watch", "status", "inbox/her-name.txt")
    assert "keeps nothing in clear" in shown.out + shown.err


def test_a_watcher_says_that_descriptions_are_owed(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    (place / "out").mkdir()
    (place / "inbox").mkdir()
    watch = ("watch", "inbox", "-o", "out", "--once", *KEY)
    assert "wants descriptions" in run(capsys, *watch, "--policy", "evidence").err
    assert "wants descriptions" not in run(capsys, *watch).err


def test_the_summary_counts_the_replicas_that_the_policy_wants(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    own = place / "own.toml"
    own.write_text("[keep]\nreplicas = 2\n")
    assert run(capsys, "init", "vault", "--policy", own).code == 0
    assert ingest(capsys).code == 0
    assert run(capsys, "audit", "--all", "--vault", "vault").code == 0
    ran = run(capsys, "audit", "--summary", "--vault", "vault")
    assert "the policy wants 3 copies on different disks: 1 bag has fewer" in ran.err
    assert json.loads(run(capsys, "audit", "--summary", "--vault", "vault", "--json").out)


def test_what_is_owed_of_a_bag_that_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    tell_owed(load_policy("evidence"), "absent", Output())
    assert "absent: No such file" in capsys.readouterr().err
