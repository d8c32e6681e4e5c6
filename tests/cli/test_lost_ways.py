"""What a stranger types who is nearly right, and whether the way on is named."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from archiver.vault import open_vault
from tests.bag.making import ROOT
from tests.helpers import run
from tests.sealing import Office, make_source, write_key

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("describe", "chek", "x.toml"), "check"),
        (("describe", "ammend", "x"), "amend"),
        (("watch", "statu"), "status"),
        (("watch", "relase", "x"), "release"),
    ],
)
def test_a_command_that_is_nearly_one(capsys: Capture, words: tuple[str, ...], meant: str) -> None:
    done = run(capsys, *words)
    assert done.code == 2
    assert f"there is no command {words[1]}" in done.err
    assert f"Did you mean {meant}?" in done.err


def test_a_folder_of_nearly_a_command_s_name_is_a_folder(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "statu").mkdir()
    done = run(capsys, "watch", "statu", "--once")
    assert (done.code, "where are bags to go?" in done.err) == (2, True), done.err
    done = run(capsys, "watch", "statu", "--once", "-o", "out")
    assert "no command" not in done.err
    assert Path("out").is_dir()


def test_every_command_has_its_help_in_the_docs() -> None:
    page = (ROOT / "docs/cli.md").read_text()
    sections = dict(
        re.findall(
            r"^### `archiver ?([a-z ]*)`\n\n```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL
        )
    )
    assert "statement check" in sections
    for name, text in sections.items():
        _before, _mark, listed = text.partition("\nCommands:\n")
        for command in re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE):
            assert f"{name} {command}".strip() in sections, command


def test_a_policy_goes_with_its_vault(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("house.toml").write_text('extends = "default"\n[keep]\nreplicas = 0\n')
    assert run(capsys, "init", "vault", "--policy", "house.toml").code == 0
    make_source(tmp_path / "source")
    words = ("ingest", "source", "--case", "c", "--unsigned", "--vault")
    shutil.move("house.toml", "vault/house.toml")
    done = run(capsys, *words, "vault")
    assert (done.code, "vault.toml" in done.err) == (2, True), done.err
    config = Path("vault/vault.toml")
    text = re.sub(r'policy = ".*"', 'policy = "house.toml"', config.read_text())
    config.chmod(0o644)
    config.write_text(text)
    shutil.move("vault", "elsewhere")
    assert open_vault("elsewhere").policy == str(tmp_path / "elsewhere/house.toml")
    assert run(capsys, *words, "elsewhere").code == 0


@pytest.mark.parametrize("place", ["receipts", "receipts/c", "custody/checkpoints"])
def test_nothing_is_written_through_a_link(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, office: Office
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARCHIVER_VAULT", str(tmp_path / "vault"))
    assert run(capsys, "init", "vault").code == 0
    make_source(tmp_path / "source")
    assert run(capsys, "ingest", "source", "--case", "c", "--unsigned").code == 0
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "vault" / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    command: tuple[str, ...] = ("export", "c-E-0001", "out")
    if "checkpoints" in place:
        write_key(office.ben, tmp_path / "keys", "ben")
        command = ("events", "checkpoint", "--key", "keys/ben.key")
    done = run(capsys, *command)
    assert (done.code, "is a link: a vault has none" in done.err) == (5, True), done.err
    assert os.listdir("elsewhere") == []
    assert not os.path.lexists("out")


def test_a_plain_file_is_not_named_where_nothing_is_to_be_plain(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sits at a terminal here: what is printed goes into a log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARCHIVER_VAULT", str(tmp_path / "vault"))
    assert run(capsys, "init", "vault").code == 0
    Path("p.toml").write_text('extends = "default"\n[encryption]\npayload = "always"\n')
    Path("Maria-Lopez.txt").write_text("x")
    words = ("--policy", "p.toml")
    for command in (
        ("ingest", "Maria-Lopez.txt", "--case", "c", "--unsigned"),
        ("bag", "create", "Maria-Lopez.txt", "-o", "bag"),
    ):
        done = run(capsys, *command, *words)
        assert (done.code, "keeps nothing in clear" in done.err) == (5, True), done.err
        assert "Maria" not in done.err
