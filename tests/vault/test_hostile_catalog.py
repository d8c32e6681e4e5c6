"""Databases that a stranger has laid into a vault: opened, they do no harm."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from archiver.vault import Vault
from tests.helpers import run
from tests.vault.describing import VIDEO, amend

ITEM = "a-E-0001"
_MAGIC = bytes.fromhex("d9d505f920a163d7")


def super_journal(victim: Path) -> bytes:
    """A journal without a page, of a transaction over several databases: SQLite removes the
    super-journal that it names, once it has been played back.
    """
    name = os.fsencode(victim)
    head = _MAGIC + struct.pack(">IIIII", 0, 0, 2, 512, 4096)
    tail = name + struct.pack(">II", len(name), sum(name) & 0xFFFFFFFF) + _MAGIC
    return head.ljust(512, b"\0") + struct.pack(">I", (0x40000000 // 4096) + 1) + tail


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "only-copy.mp4"
    path.write_bytes(b"evidence")
    return path


def test_a_journal_beside_the_index_of_words_removes_no_file(
    filled: Vault, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert amend(capsys, ITEM, *VIDEO, "title=plaza").code == 0
    assert ITEM in run(capsys, "search", "plaza").out
    Path(f"{filled.search_index}-journal").write_bytes(super_journal(victim))
    found = run(capsys, "search", "plaza")
    assert victim.read_bytes() == b"evidence"
    assert (found.code, ITEM in found.out) == (0, True), found.err


def test_a_journal_beside_the_catalog_removes_no_file(
    filled: Vault, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Path(f"{filled.catalog}-journal")
    for words in (["list"], ["search", "x"], ["show", ITEM], ["catalog", "rebuild"]):
        journal.write_bytes(super_journal(victim))
        done = run(capsys, *words)
        assert victim.read_bytes() == b"evidence", words
        assert "Traceback" not in done.err
    assert not journal.exists()
    assert run(capsys, "list").code == 0


def test_a_journal_that_is_no_file_is_not_waited_for(
    filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(f"{filled.catalog}-journal")
    done = run(capsys, "list")
    assert "Traceback" not in done.err
