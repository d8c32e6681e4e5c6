"""Who changes a bag can change the catalog beside it: what was sealed is what the log says."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from archiver.custody import Event
from archiver.errors import CatalogError, LogError
from archiver.vault import Vault
from archiver.vault.records import reading
from archiver.vault.sealed import refuse_changed, refuse_changed_case
from tests.helpers import Bag, run
from tests.sealing import NOW
from tests.vault.looking import append, items

ITEM = "a-E-0001"
CHANGED = "is not what the log says"
Capture = pytest.CaptureFixture[str]


def change(vault: Vault, question: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(vault.catalog)) as catalog, catalog:
        catalog.execute(question, values)


def forge(vault: Vault) -> Path:
    """Another bag in the item's place, which the catalog calls the one that was sealed."""
    place = Path(vault.bag_path("a", ITEM))
    subprocess.run(["chmod", "-R", "u+w", place], check=True)
    shutil.rmtree(place)
    Bag({"data/x.bin": b"forged"}, info="Contact-Name: x\n").write(place)
    import hashlib

    digest = hashlib.sha512((place / "tagmanifest-sha512.txt").read_bytes()).hexdigest()
    (item,) = (one for one in items(vault) if one.item == ITEM)
    detail: dict[str, Any] = {**item.detail, "tag_manifest_sha512": digest, "proofs": {}}
    detail |= {"signatures": 0, "tag_manifests": ["sha512"], "custody_head": ""}
    change(vault, "UPDATE bags SET detail = ? WHERE item = ?", json.dumps(detail), ITEM)
    return place


def test_a_forgery_is_not_good_and_goes_nowhere(filled: Vault, capsys: Capture) -> None:
    assert run(capsys, "replica", "add", "far", "far").code == 0
    forge(filled)
    done = run(capsys, "audit", "--all")
    assert (done.code, CHANGED in done.err) == (5, True), done.err
    assert f"{ITEM}: good" not in done.out
    assert "b-E-0001: good" in done.out  # the other case goes on
    done = run(capsys, "replica", "sync")
    assert (done.code, CHANGED in done.err) == (5, True), done.err
    assert not Path("far/bags/a").exists()
    assert Path("far/bags/b/b-E-0001").exists()
    for words in (
        ("export", ITEM, "out"),
        ("repair", ITEM, "--yes"),
        ("describe", ITEM, "--kind", "video", "--set", "title=x", "--reason", "x", "--unsigned"),
        ("export", ITEM, "out", "--for", "court"),
    ):
        done = run(capsys, *words)
        assert (done.code, CHANGED in done.err) == (5, True), (words, done.err)
    assert not os.path.lexists("out")


def test_a_true_replica_is_not_replaced(filled: Vault, capsys: Capture) -> None:
    assert run(capsys, "replica", "add", "far", "far").code == 0
    assert run(capsys, "replica", "sync").code == 0
    forge(filled)
    done = run(capsys, "audit", "--all", "--repair")
    assert (done.code, CHANGED in done.err) == (5, True), done.err
    assert not Path("far/set-aside").exists()
    assert run(capsys, "catalog", "rebuild").code == 0
    done = run(capsys, "audit", "--all", "--repair")
    assert "DAMAGED" in done.out
    assert run(capsys, "audit", "--all").code == 0
    assert Path(filled.bag_path("a", ITEM), "data/witness-maria.txt").read_bytes() == b"one"


@pytest.mark.parametrize(
    "question",
    [
        "UPDATE bags SET detail = '{}' WHERE item = 'a-E-0002'",
        "UPDATE bags SET state = 'refused' WHERE item = 'a-E-0002'",
        "DELETE FROM bags WHERE item = 'a-E-0002'",
        "INSERT",
    ],
)
def test_whatever_of_a_case_was_changed(filled: Vault, question: str) -> None:
    with contextlib.closing(sqlite3.connect(filled.catalog)) as catalog, catalog:
        columns = [one[1] for one in catalog.execute("PRAGMA table_info(bags)")]
        if question == "INSERT":
            told = {"item": "'a-E-0009'", "number": "9", "source_key": "'x'"}
            chosen = ", ".join(told.get(one, one) for one in columns)
            question = f"INSERT INTO bags SELECT {chosen} FROM bags WHERE item = 'a-E-0001'"
        catalog.execute(question)
    with reading(filled) as records:
        with pytest.raises(CatalogError):
            refuse_changed_case(filled, records.catalog, "a")
        refuse_changed_case(filled, records.catalog, "b")


def test_a_log_that_was_changed_where_nothing_was_sealed(filled: Vault) -> None:
    """The chain is checked over the lines that are not read, too."""
    checked = Event(type="fixity check", at=NOW, detail={"item": ITEM, "result": "good"})
    append(filled, "a", checked, checked)
    found = items(filled, "a")
    refuse_changed(filled, found)
    log = Path(filled.log_path("a"))
    lines = log.read_bytes().splitlines(keepends=True)
    lines[-2] = lines[-2].replace(b'"good"', b'"goad"')
    log.write_bytes(b"".join(lines))
    with pytest.raises(LogError):
        refuse_changed(filled, found)


def test_who_made_a_secret_item_an_open_one_in_the_catalog(
    filled: Vault, tmp_path: Path, capsys: Capture
) -> None:
    """Its amendments would be written in clear."""
    from archiver.encrypt import new_identity

    policy = tmp_path / "p.toml"
    policy.write_text(f'extends = "default"\n[encryption]\nrecipients = ["{new_identity()[1]}"]\n')
    words = ("describe", "amend", ITEM, "--reason", "x", "--unsigned", "--policy", policy)
    done = run(capsys, *words, "--kind", "video", "--set", "confidentiality=sealed")
    assert done.code == 0, done.err
    for question in (
        "UPDATE descriptions SET secret = 0, sha256 = '', last_sha256 = '', kind = ''",
        "DELETE FROM descriptions",
        "DELETE FROM amendments",
    ):
        kept = Path(filled.catalog).read_bytes()
        change(filled, question)
        (tmp_path / "form.toml").write_text('kind = "video"\ntitle = "Xochiquetzal"\n')
        done = run(capsys, *words, "--form", tmp_path / "form.toml")
        assert (done.code, CHANGED in done.err) == (5, True), (question, done.err)
        Path(filled.catalog).write_bytes(kept)
        written = subprocess.run(
            ["grep", "-rl", "Xochiquetzal", filled.path], capture_output=True, check=False
        )
        assert written.stdout == b"", question


# -- a vault that has forgotten


def test_a_vault_put_back_from_an_old_copy_hands_nothing_out(
    filled: Vault, capsys: Capture
) -> None:
    """The replica knows what was withdrawn since; another event would fork the log."""
    assert run(capsys, "replica", "add", "far", "far").code == 0
    assert run(capsys, "replica", "sync").code == 0
    shutil.copytree(filled.path, "kept", symlinks=True)
    done = run(capsys, "consent", "withdraw", ITEM, "--reason", "told")
    assert done.code == 0, done.err
    assert run(capsys, "replica", "sync").code == 0
    subprocess.run(["rm", "-rf", filled.path], check=True)
    shutil.move("kept", filled.path)
    before = Path(filled.log_path("a")).read_bytes()
    for words in (
        ("export", ITEM, "out"),
        ("consent", "withdraw", ITEM, "--reason", "again"),
        ("audit", "--all"),
    ):
        done = run(capsys, *words)
        assert (done.code, "knows more of a than the vault does" in done.err) == (1, True), words
    assert not os.path.lexists("out")
    assert Path(filled.log_path("a")).read_bytes() == before


# -- amendments that nobody could read again


def test_what_is_removed_from_a_secret_item_twice_breaks_nothing(
    filled: Vault, tmp_path: Path, capsys: Capture
) -> None:
    from archiver.encrypt import new_identity

    secret, recipient = new_identity()
    identity, policy = tmp_path / "id.key", tmp_path / "p.toml"
    identity.write_text(secret)
    identity.chmod(0o600)
    policy.write_text(f'extends = "default"\n[encryption]\nrecipients = ["{recipient}"]\n')
    words = ("describe", "amend", ITEM, "--reason", "x", "--unsigned", "--policy", policy)
    more = ("--kind", "video", "--set", "confidentiality=sealed")
    assert run(capsys, *words, *more).code == 0
    assert run(capsys, *words, "--remove", "place").code == 0
    (tmp_path / "form.toml").write_text('place = "plaza"\n')
    assert run(capsys, *words, "--form", tmp_path / "form.toml").code == 0
    done = run(capsys, "show", ITEM, "--identity", identity)
    assert (done.code, "place: plaza" in done.out) == (0, True), done.err


def test_an_amendment_that_is_longer_than_what_can_be_read(
    filled: Vault, tmp_path: Path, capsys: Capture
) -> None:
    keys = ("title", "description", "source", "known_gaps", "collected_how", "collected_by")
    text = "\n" * 95_000
    lines = "".join(f'{key} = """\nx{text}"""\n' for key in keys)
    (tmp_path / "form.toml").write_text(f'kind = "document"\n{lines}')
    words = ("--form", tmp_path / "form.toml", "--reason", "x", "--unsigned")
    done = run(capsys, "describe", "amend", ITEM, *words)
    assert (done.code, "too long" in done.err) == (2, True), done.err
    assert run(capsys, "show", ITEM).code == 0


def test_others_may_write_meanwhile(
    filled: Vault, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sealed while the rows are compared is no difference."""
    from archiver.vault import sealed

    real, written = sealed._compare, list[int]()

    def meanwhile(*given: Any) -> None:
        real(*given)
        if not written:
            written.append(1)
            shutil.copytree("one", "four")
            Path("four/more").write_bytes(b"more")
            assert run(capsys, "ingest", "four", "--case", "a", "--unsigned").code == 0

    monkeypatch.setattr(sealed, "_compare", meanwhile)
    with reading(filled) as records:
        refuse_changed_case(filled, records.catalog, "a")
        assert records.catalog.count_sealed("a") == 3
        refuse_changed_case(filled, records.catalog, "a")


def test_what_was_refused_first_and_sealed_then(filled: Vault, capsys: Capture) -> None:
    begun = {"item": "a-E-0003", "number": 3, "key": "k"}
    append(filled, "a", Event(type="ingestion start", at=NOW, detail=begun))
    assert run(capsys, "withdraw", "a-E-0003", "--reason", "a slip").code == 0
    with reading(filled) as records:
        refuse_changed_case(filled, records.catalog, "a")
    assert run(capsys, "audit", "--all").code == 0
