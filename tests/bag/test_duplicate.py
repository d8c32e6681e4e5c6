"""Copying a bag as it is: what can go wrong on the way is told as what it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from archiver.bag.duplicate import CopyOptions, copy_bag, list_bag
from archiver.bag.progress import Silent
from archiver.digest.engine import Engine
from archiver.errors import StorageError, UnreadableError
from tests.helpers import Bag


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return Bag().write(tmp_path / "bag")


def copy(bag: Path, target: Path, **options: Any) -> bytearray:
    target.mkdir()
    lock = os.open(target, os.O_RDONLY)
    try:
        with list_bag(str(bag)) as original:
            how = CopyOptions(clear_mode=0, lock=lock, **options)
            return copy_bag(original, str(target), how, Silent())
    finally:
        os.close(lock)


def test_holes_stay_holes(bag: Path, tmp_path: Path) -> None:
    with open(bag / "data/sparse", "wb") as file:
        file.write(b"head")
        file.truncate(50_000_000)
    copy(bag, tmp_path / "copy", workers=0)
    found = (tmp_path / "copy/data/sparse").stat()
    assert (found.st_size, found.st_blocks * 512 < 1_000_000) == (50_000_000, True)


def test_a_directory_that_cannot_be_listed(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def broken(place: Any) -> Any:
        if os.path.samestat(os.stat(place), (bag / "data/dir").stat()):
            raise OSError(5, "Input/output error")
        return real(place)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(UnreadableError, match="data/dir can't be read: Input/output error"):
        copy(bag, tmp_path / "copy")


def test_a_file_that_cannot_be_read(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: Any) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "readv", broken)
    with pytest.raises(UnreadableError, match="can't be read: Input/output error"):
        copy(bag, tmp_path / "copy", workers=0)


def test_an_engine_that_forgets_files(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "run", lambda *_arguments: iter(()))
    with pytest.raises(StorageError, match="not every file"):
        copy(bag, tmp_path / "copy")
