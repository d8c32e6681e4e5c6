"""Thumbnails: of open items alone, beside the bags, and nothing of the file but its dots."""

from __future__ import annotations

import base64
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.derive import is_open, make_thumbnails
from archiver.describe import Description
from archiver.encrypt import new_identity
from archiver.errors import StorageError, VaultError
from archiver.identify.thumbnail import Thumbnail, decoded
from archiver.policy import FormatPolicy
from archiver.vault import Vault, create_vault
from archiver.vault.derived import forget_derived
from tests.helpers import run
from tests.identify.hostile import hostile_files, picture
from tests.identify.looking import none_left
from tests.vault.describing import amend

pytest.importorskip("PIL")
WANTED = FormatPolicy(thumbnails=True, seconds=5)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    made = create_vault(str(tmp_path / "vault"), identifier="urn:x", policy="default")
    bag = Path(made.bag_path("c", "c-E-0001"))
    (bag / "data").mkdir(parents=True)
    (bag / "metadata").mkdir()
    (bag / "data/a.png").write_bytes(picture("PNG", (600, 300)))
    (bag / "data/note.txt").write_text("no picture")
    return made


def describe(vault: Vault, confidentiality: str, name: str = "description.json") -> None:
    values = {"confidentiality": confidentiality} if confidentiality else {}
    made = Description(kind="photograph", values=values)
    Path(vault.bag_path("c", "c-E-0001"), "metadata", name).write_bytes(made.to_bytes())


def made(vault: Vault, policy: FormatPolicy = WANTED) -> int:
    return make_thumbnails(vault, "c", "c-E-0001", policy)


@pytest.mark.parametrize("word", ["public", "restricted"])
def test_of_an_open_item(vault: Vault, word: str) -> None:
    from PIL import Image

    describe(vault, word)
    assert made(vault) == made(vault) == 1
    place = Path(vault.path, "derived/c-E-0001")
    assert sorted(os.listdir(place)) == ["0001.jpg", "index.jsonl"]
    assert (place / "index.jsonl").read_text() == '{"file": "0001.jpg", "path": "data/a.png"}\n'
    with Image.open(place / "0001.jpg") as small:
        assert small.size == (256, 128)
    assert none_left() == []
    forget_derived(vault, "c-E-0001")
    assert not place.exists()


@pytest.mark.parametrize("word", ["confidential", "sealed", ""])
def test_none_of_a_secret_item_or_where_nobody_said(vault: Vault, word: str) -> None:
    describe(vault, word)
    assert made(vault) == 0
    assert not Path(vault.path, "derived").exists()


def test_none_without_a_description_or_with_one_that_is_encrypted(vault: Vault) -> None:
    bag = vault.bag_path("c", "c-E-0001")
    assert not is_open(bag)
    describe(vault, "public")
    assert is_open(bag)
    Path(bag, "metadata/description.json.age").write_bytes(b"x")
    assert not is_open(bag)
    os.unlink(f"{bag}/metadata/description.json.age")
    Path(bag, "metadata/description.json").write_text("{}")
    assert not is_open(bag)


def test_none_unless_the_policy_wants_them(vault: Vault) -> None:
    describe(vault, "public")
    assert made(vault, FormatPolicy()) == 0


def test_hostile_pictures(vault: Vault) -> None:
    describe(vault, "public")
    data = Path(vault.bag_path("c", "c-E-0001"), "data")
    for name, content in hostile_files(3).items():
        (data / name).write_bytes(content)
    count = made(vault, replace(WANTED, memory_mb=256))
    place = Path(vault.path, "derived/c-E-0001")
    assert 0 < count == len(list(place.glob("*.jpg")))
    assert none_left() == []


def test_nothing_of_the_file_but_its_dots(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F] = "Secret Maker"
    Image.new("RGB", (400, 400)).save(tmp_path / "a.jpg", exif=exif, comment=b"Maria")
    data = decoded(Thumbnail().run(str(tmp_path / "a.jpg"))["thumbnail"])
    assert data
    assert b"Secret" not in data
    assert b"Maria" not in data
    (tmp_path / "b").write_text("no picture")
    assert Thumbnail().run(str(tmp_path / "b")) == {}


def test_too_many_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.identify.thumbnail._MAX_DOTS", 10)
    (tmp_path / "a.png").write_bytes(picture("PNG"))
    assert Thumbnail().run(str(tmp_path / "a.png")) == {}


def test_an_answer_that_is_no_picture() -> None:
    script = b"<script>"
    whole = b"\xff\xd8\xff" + bytes(200_000) + b"\xff\xd9"
    wrong: list[Any] = [None, 5, "%%%", base64.b64encode(script).decode()]
    for value in (*wrong, base64.b64encode(whole).decode(), "A" * (1 << 20)):
        assert decoded(value) == b""


def test_an_item_that_is_a_way_out(vault: Vault) -> None:
    for name in ("../x", "", ".", "a/b"):
        with pytest.raises(ValueError, match="no item"):
            forget_derived(vault, name)


def test_a_place_that_cannot_be_written(vault: Vault) -> None:
    describe(vault, "public")
    Path(vault.path, "derived").write_text("a file")
    with pytest.raises(StorageError):
        made(vault)
    shutil.rmtree(vault.bag_path("c", "c-E-0001"))


def test_what_became_secret_gets_none_though_its_bag_is_made_again_of(
    filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo").mkdir()
    (tmp_path / "photo/a.png").write_bytes(picture("PNG"))
    (tmp_path / "form.toml").write_text('kind = "photograph"\nconfidentiality = "public"\n')
    _text, recipient = new_identity()
    policy = f'extends = "default"\n[encryption]\nrecipients = ["{recipient}"]\n'
    (tmp_path / "p.toml").write_text(f"{policy}[formats]\nthumbnails = true\n")
    config = Path(filled.path, "vault.toml")
    path = tmp_path / "p.toml"
    config.write_text(config.read_text().replace('"default"', f'"{path}"'))
    words = ("ingest", "photo", "--case", "c", "--unsigned", "--describe", "form.toml")
    assert run(capsys, *words).code == 0
    place = Path(filled.path, "derived/c-E-0001")
    assert (place / "0001.jpg").exists()
    done = amend(capsys, "c-E-0001", "confidentiality=confidential", signed=False)
    assert done.code == 0, done.err
    assert not place.exists()
    run(capsys, *words)
    assert not place.exists()


def test_a_link_out_of_the_vault_is_not_followed(vault: Vault, tmp_path: Path) -> None:
    describe(vault, "public")
    outside = tmp_path / "outside"
    (outside / "c-E-0001").mkdir(parents=True)
    (outside / "c-E-0001/mine.jpg").write_bytes(b"mine")
    Path(vault.path, "derived").symlink_to(outside)
    with pytest.raises(VaultError):
        made(vault)
    with pytest.raises(VaultError):
        forget_derived(vault, "c-E-0001")
    assert os.listdir(outside / "c-E-0001") == ["mine.jpg"]
