"""Amendments that do not belong, laid into a directory that was handed out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archiver.vault import Vault
from tests.helpers import run
from tests.vault.describing import VIDEO, amend, overwrite, records

ITEM = "a-E-0001"


def handed(
    vault: Vault, base: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[Path, Path]:
    assert amend(capsys, ITEM, *VIDEO, "title=one").code == 0
    assert amend(capsys, ITEM, "title=two").code == 0
    bag = base / "out"
    assert run(capsys, "export", ITEM, str(bag), *more).code == 0
    return bag, Path(f"{bag}.amendments")


def verdict(capsys: pytest.CaptureFixture[str], bag: Path, place: Path) -> int:
    return run(capsys, "bag", "verify", str(bag), "--amendments", str(place)).code


@pytest.mark.parametrize(
    "attack", ["swap", "gap", "future", "other", "edit", "zero", "link", "age", "case", "p7s"]
)
def test_every_exchange_is_noticed(
    filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str], attack: str
) -> None:
    bag, place = handed(filled, tmp_path, capsys)
    good = verdict(capsys, bag, place)
    one, two = place / "0001.json", place / "0002.json"
    if attack == "swap":
        first, second = one.read_bytes(), two.read_bytes()
        overwrite(one, second)
        overwrite(two, first)
    elif attack == "gap":
        one.unlink()
    elif attack == "future":
        shutil.copy(two, place / "0009.json")
    elif attack == "other":
        assert amend(capsys, "a-E-0002", *VIDEO, "title=x").code == 0
        overwrite(one, (records(filled, "a-E-0002") / "0001.json").read_bytes())
    elif attack == "edit":
        overwrite(two, two.read_bytes().replace(b"two", b"tow"))
    elif attack == "zero":
        shutil.copy(one, place / "0000.json")
    elif attack == "link":
        (tmp_path / "elsewhere").write_bytes(two.read_bytes())
        two.unlink()
        two.symlink_to(tmp_path / "elsewhere")
    elif attack == "age":
        shutil.copy(two, place / "0002.json.age")
    elif attack == "p7s":
        shutil.copy(two, place / "0002.json.age.p7s")
    else:
        shutil.copy(two, place / "0002.JSON")
    found = verdict(capsys, bag, place)
    assert found != good
    assert found not in (0, 3)
