"""A vault, keys for readers, escrow and identities, and a statement to take."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from archiver.catalog.model import Item
from archiver.encrypt import Identities, new_identity, read_identities
from archiver.vault import Vault, open_vault
from tests.bag.making import ROOT
from tests.helpers import Ran, run
from tests.vault.looking import items

CASE, ITEM = "c", "c-E-0001"
NAME = "Xochiquetzal Ñandubay"
FORM = """\
witness_code = "W-07"
title = "What was seen on the square"
interviewer = "R-02"
interview_start = 2026-11-20T10:00:00-05:00
persons_present = ["R-03", "interpreter I-01"]

[consent]
explained = true
lawyer = "yes"
court = "ask"
media = "no"
"""
WHO = f'name = "{NAME}"\ncontact = "+51 999 123 456"\ndate_of_birth = 1980-02-29\n'
FILES = {"Ñandubay.txt": b"I saw it.\n" * 1000, "b.bin": bytes(range(256)) * 700}


@dataclass(frozen=True)
class Pair:
    """A key pair, and its file."""

    recipient: str
    file: Path
    identities: Identities


def pair(place: Path) -> Pair:
    """A new one, whose secret key lies at ``place``."""
    text, recipient = new_identity()
    place.write_text(text)
    place.chmod(0o600)
    return Pair(recipient, place, read_identities(text.encode(), "key"))


@dataclass
class Scene:
    """``home`` is where plain files lie: whoever takes a statement, not the vault."""

    base: Path
    capsys: pytest.CaptureFixture[str]
    keys: dict[str, Pair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.base / "home"
        self.home.mkdir()
        for name in ("reader", "escrow", "identity", "stranger"):
            self.keys[name] = pair(self.base / f"{name}.key")
        self.write("form.toml", FORM)
        self.write("who.toml", WHO)
        self.files = [self.write(name, data) for name, data in FILES.items()]
        assert run(self.capsys, "init", self.base / "vault").code == 0

    @property
    def vault(self) -> Vault:
        """The vault, opened anew."""
        return open_vault(str(self.base / "vault"))

    def write(self, name: str, data: str | bytes) -> Path:
        """A plain file."""
        path = self.home / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def recipients(self) -> list[str]:
        """The options that say for whom."""
        keys = self.keys
        return [
            "--recipient", keys["reader"].recipient,
            "--escrow", keys["escrow"].recipient,
            "--identity-recipient", keys["identity"].recipient,
        ]  # fmt: skip

    def words(self, *more: object, files: Sequence[object] | None = None) -> list[str]:
        """``statement new`` with a form for each thing."""
        home = self.home
        words = ["statement", "new", "--case", CASE, "--unsigned", "--form", home / "form.toml"]
        words += ["--identity", home / "who.toml", *self.recipients(), *more]
        return [str(one) for one in (*words, *(self.files if files is None else files))]

    def run(self, *words: object) -> Ran:
        """``archiver WORDS`` in this process."""
        return run(self.capsys, *words)

    def run_raw(self, *words: object) -> subprocess.CompletedProcess[str]:
        """``archiver WORDS`` as a process of its own, without a terminal."""
        return subprocess.run(
            [sys.executable, "-m", "archiver", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )

    def run_raw_without_vault(self, *words: object) -> subprocess.CompletedProcess[str]:
        """The same where the environment names no vault."""
        kept = os.environ.pop("ARCHIVER_VAULT")
        try:
            return self.run_raw(*words)
        finally:
            os.environ["ARCHIVER_VAULT"] = kept

    def take(self, *more: object, files: Sequence[object] | None = None) -> Path:
        """A statement, taken; its bag."""
        before = {one.item for one in items(self.vault)}
        done = self.run(*self.words(*more, files=files))
        assert done.code == 0, done.err
        (item,) = {one.item for one in items(self.vault)} - before
        return Path(self.vault.bag_path(CASE, item))

    def item(self, name: str = ITEM) -> Item:
        """From the catalog."""
        (found,) = (one for one in items(self.vault) if one.item == name)
        return found

    def open(self, wanted: object, *more: object, key: str = "reader") -> Ran:
        """``statement open``."""
        return self.run("statement", "open", wanted, "--identity", self.keys[key].file, *more)


@pytest.fixture
def scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Scene:
    """See the module."""
    monkeypatch.setenv("ARCHIVER_VAULT", str(tmp_path / "vault"))
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    return Scene(tmp_path, capsys)


def hidden(vault: Vault) -> list[str]:
    """Staging that was left behind."""
    return [str(one) for one in Path(vault.path).rglob(".archiver-*")]


def writable(bag: Path, copy: Path) -> Path:
    """A copy of a bag that may be changed."""
    shutil.copytree(bag, copy)
    for one in [copy, *copy.rglob("*")]:
        one.chmod(one.stat().st_mode | stat.S_IWUSR)
    return copy


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Any:
    """``data`` on descriptor 0; call what is returned afterwards."""
    kept, (reading, writing) = os.dup(0), os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    with io.open(writing, "wb") as file:  # noqa: UP020
        file.write(data)

    def put_back() -> None:
        os.dup2(kept, 0)
        os.close(kept)

    return put_back
