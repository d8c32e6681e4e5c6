"""What is secret and no statement: encrypted by `ingest` for the policy's readers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from archiver.vault.log import read_links
from archiver.verify import Verdict, verify_bag
from tests.statement.scene import CASE, Scene

ITEM = f"{CASE}-E-0001"
NEEDLES = ("Quirquincho", "casa amarilla", "patio.mp4")
FORM = """
kind = "video"
title = "Quirquincho in the casa amarilla"
confidentiality = "sealed"
known_gaps = "none known"
"""


@pytest.fixture
def house(scene: Scene) -> Scene:
    """A policy that names who may read what is secret."""
    keys = scene.keys
    policy = scene.base / "house.toml"
    policy.write_text(
        'extends = "default"\n[encryption]\n'
        f'recipients = ["{keys["reader"].recipient}"]\nescrow = ["{keys["escrow"].recipient}"]\n'
    )
    scene.write("video.toml", FORM)
    scene.write("patio.mp4", b"casa amarilla " * 1000)
    return scene


def words(scene: Scene, *more: str) -> list[str]:
    return [
        "ingest", str(scene.home / "patio.mp4"), "--case", CASE, "--unsigned",
        "--describe", str(scene.home / "video.toml"),
        "--policy", str(scene.base / "house.toml"), *more,
    ]  # fmt: skip


def in_clear(place: Path) -> list[str]:
    found = []
    for needle in NEEDLES:
        command = ["grep", "-rla", "--", needle, str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found += done.stdout.splitlines()
    return found


def test_it_is_encrypted_and_opened_again(house: Scene) -> None:
    done = house.run(*words(house))
    assert done.code == 0, done.err
    assert done.out.startswith(f"{ITEM}: encrypted, 1 file, ")
    assert "the plain original still lies there" in done.err
    bag = Path(house.vault.bag_path(CASE, ITEM))
    assert sorted(one.name for one in (bag / "data").iterdir()) == ["0001.age", "files.json.age"]
    assert not (bag / "metadata/description.json").exists()
    assert not (bag / "metadata/formats.jsonl").exists()
    assert verify_bag(str(bag)).verdict is Verdict.VALID
    assert in_clear(house.base / "vault") == []
    out = house.base / "opened"
    for name in ("reader", "escrow"):
        place = out / name
        key = str(house.keys[name].file)
        out.mkdir(exist_ok=True)
        opened = house.run("statement", "open", ITEM, "--identity", key, "-o", str(place))
        assert opened.code == 0, opened.err
        assert "Quirquincho in the casa amarilla" in opened.out
        assert (place / "patio.mp4").read_bytes() == b"casa amarilla " * 1000
    stranger = str(house.keys["stranger"].file)
    assert house.run("statement", "open", ITEM, "--identity", stranger).code == 5


def test_nothing_but_its_kind_is_told(house: Scene) -> None:
    assert house.run(*words(house)).code == 0
    (link,) = [
        one
        for one in read_links(CASE, house.vault.log_path(CASE))
        if one.event.type == "ingestion end"
    ]
    told = link.event.detail["description"]
    assert sorted(told) == ["kind", "path", "sha256"]
    assert (told["kind"], told["path"]) == ("video", "metadata/description.json.age")
    for command in (["show", ITEM], ["show", ITEM, "--json"], ["list", "--json"], ["events"],
                    ["search", "Quirquincho"], ["show", ITEM, "--premis"]):  # fmt: skip
        done = house.run(*command)
        assert not any(needle in done.out + done.err for needle in NEEDLES), command
    assert '"secret": true' in house.run("show", ITEM, "--json").out
    assert house.run("catalog", "rebuild").code == 0
    assert house.run("catalog", "check").code == 0
    assert in_clear(house.base / "vault") == []


def test_nobody_is_asked_for_consent(house: Scene) -> None:
    assert house.run(*words(house)).code == 0
    assert house.run("export", ITEM, str(house.base / "out.tar")).code == 0


def test_what_is_learnt_later_is_encrypted_too(house: Scene) -> None:
    assert house.run(*words(house)).code == 0
    form = house.write("more.toml", 'kind = "video"\nplace = "casa amarilla"\n')
    done = house.run(
        "describe", ITEM, "--form", str(form), "--reason", "asked", "--unsigned",
        "--policy", str(house.base / "house.toml"),
    )  # fmt: skip
    assert done.code == 0, done.err
    assert in_clear(house.base / "vault") == []
    shown = house.run("show", ITEM, "--identity", str(house.keys["reader"].file))
    assert "place: casa amarilla" in shown.out


def test_the_json_says_how_much_was_encrypted(house: Scene) -> None:
    answer = json.loads(house.run(*words(house, "--json")).out)
    assert (answer["id"], answer["encrypted"], answer["payload_files"]) == (ITEM, 1, 2)


def test_a_policy_without_readers_refuses_it_as_before(house: Scene) -> None:
    done = house.run(*[one for one in words(house) if "house" not in one and one != "--policy"])
    assert done.code == 2
    assert "it can't be put in clear" in done.err
    assert in_clear(house.base / "vault") == []


@pytest.mark.parametrize("what", ["no escrow", "never", "nothing"])
def test_what_is_refused_leaves_nothing(what: str, house: Scene) -> None:
    policy = house.base / "house.toml"
    given = words(house)
    if what == "no escrow":
        lines = policy.read_text().splitlines()
        policy.write_text("\n".join(one for one in lines if "escrow" not in one))
    elif what == "never":
        policy.write_text(policy.read_text() + 'payload = "never"\n')
    else:
        (house.home / "patio.mp4").unlink()
    done = house.run(*given)
    assert done.code in (2, 5), done.err
    assert done.err.count("error:") == 1
    assert not Path(house.vault.bag_path(CASE, ITEM)).exists()
    assert in_clear(house.base / "vault") == []


def test_a_killed_run_s_item_keeps_its_kind(house: Scene) -> None:
    """The bag appeared, the log doesn't know it yet: the next run writes down what it is."""
    assert house.run(*words(house)).code == 0
    log = Path(house.vault.log_path(CASE))
    lines = log.read_bytes().splitlines(keepends=True)
    token = json.loads(lines[0])["detail"]["key"].removeprefix("statement:")
    log.write_bytes(b"".join(lines[:-1]))
    (house.base / f"vault/bags/.archiver-statement-{CASE}-{token}").mkdir()
    assert house.run("catalog", "rebuild").code == 0
    house.write("patio.mp4", b"another one")
    done = house.run(*words(house))
    assert done.code == 0, done.err
    ends = [
        one.event
        for one in read_links(CASE, house.vault.log_path(CASE))
        if one.event.type == "ingestion end"
    ]
    assert [one.detail["description"]["kind"] for one in ends] == ["video", "video"]
    assert [one.outcome for one in ends] == ["success", "success"]
