"""A case's log: torn lines, tampering, what the catalog makes of it, one writer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from archiver.catalog.model import BEGUN, REFUSED, SEALED
from archiver.custody import Event
from archiver.errors import (
    AlreadyExistsError,
    LockedError,
    LogError,
    NotFoundError,
    StorageError,
    UsageError,
    VaultError,
)
from archiver.vault import Vault, check_case, create_vault, open_vault
from archiver.vault.log import CaseLog, read_links
from archiver.vault.records import reading
from tests.sealing import NOW
from tests.vault.looking import append, items


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return create_vault(str(tmp_path / "vault"), identifier="urn:x", policy="default")


def log(vault: Vault) -> CaseLog:
    """Read to its end."""
    found = CaseLog("c", vault.log_path("c"))
    list(found.read())
    return found


def start(number: int, key: str = "k") -> Event:
    detail = {"item": f"c-E-{number:04}", "key": key, "number": number}
    return Event(type="ingestion start", at=NOW, detail=detail)


def end(number: int, outcome: str = "success") -> Event:
    detail = {"item": f"c-E-{number:04}", "number": number}
    return Event(type="ingestion end", at=NOW, outcome=outcome, detail=detail)


def test_what_became_of_each_item(vault: Vault) -> None:
    append(vault, "c", start(1, "a"), end(1))
    append(vault, "c", start(2, "b"), end(2, "failure"))
    append(vault, "c", start(3, "c"))
    assert [one.state for one in items(vault)] == [SEALED, REFUSED, BEGUN]
    with reading(vault) as records:
        assert records.catalog.next_number("c") == 4
        (found,) = records.catalog.with_keys("c", ["b", "none"])["b"]
        assert found.item == "c-E-0002"
        assert records.catalog.position("c") == log(vault).position
    append(vault, "c", start(3, "c"), end(3))
    assert items(vault)[2].state == SEALED
    assert vault.cases() == ["c"]


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_torn_last_line_is_set_aside_and_told(cut: int, vault: Vault) -> None:
    append(vault, "c", start(1), end(1))
    path = Path(vault.log_path("c"))
    whole = path.read_bytes()
    log(vault).append([start(2)])
    torn = path.read_bytes()[len(whole) : -cut]
    path.write_bytes(whole + torn)
    read = log(vault)
    assert (read.torn, read.position.lines, path.read_bytes()) == (torn, 2, whole + torn)
    append(vault, "c", start(2))
    (aside,) = path.parent.glob("*.torn-*")
    assert aside.read_bytes() == torn
    after = log(vault)
    assert (after.torn, after.position.lines) == (b"", 4)
    told = read_links("c", str(path))[2].event
    assert (told.type, told.detail["set_aside"]) == ("modification", aside.name)


def test_every_tampering_with_whole_lines_is_found(vault: Vault) -> None:
    append(vault, "c", start(1), end(1), start(2), end(2))
    path = Path(vault.log_path("c"))
    lines = path.read_bytes().splitlines(keepends=True)
    for index in range(4):
        altered = lines[index].replace(b'"outcome":"success"', b'"outcome":"failure"')
        for changed in (
            [*lines[:index], *lines[index + 1 :]] if index < 3 else [*lines, lines[0]],
            [*lines[:index], altered, *lines[index + 1 :]] if index < 3 else [lines[3]],
            [*lines[:index], b"\n", *lines[index:]],
        ):
            path.write_bytes(b"".join(changed))
            with pytest.raises(LogError) as caught:
                log(vault)
            assert caught.value.exit_code == 1
    path.write_bytes(b"".join(lines))
    assert log(vault).position.lines == 4


def test_what_could_not_be_written_whole_is_taken_back(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(vault, "c", start(1))
    before = Path(vault.log_path("c")).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError):
        append(vault, "c", end(1))
    monkeypatch.undo()
    assert Path(vault.log_path("c")).read_bytes() == before
    assert items(vault)[0].state == BEGUN
    append(vault, "c", end(1))
    assert log(vault).position.lines == 2


@pytest.mark.parametrize("case", ["", "A", "a b", "../x", "-a", "a-", ".a", "a/b", "x" * 65, "ñ"])
def test_names_of_cases(case: str) -> None:
    with pytest.raises(UsageError):
        check_case(case)
    assert check_case("caso-014") == "caso-014"


def test_making_and_opening(tmp_path: Path, vault: Vault) -> None:
    assert open_vault(vault.path) == vault
    with pytest.raises(AlreadyExistsError):
        create_vault(vault.path, identifier="urn:y", policy="default")
    with pytest.raises(NotFoundError):
        open_vault(str(tmp_path / "nothing"))
    for text in ("", "layout = 1", "layout = 2\nidentifier = 'x'\npolicy = 'y'", "x", "\udcff"):
        (tmp_path / "vault/vault.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(VaultError):
            open_vault(vault.path)


HOLD = """
import sys, time
from archiver.vault import open_vault
with open_vault(sys.argv[1]).locked("hold", 0):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_writer_and_a_dead_ones_lock(vault: Vault) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, vault.path], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(LockedError, match=str(holder.pid)), vault.locked("x", 0.2):
            pass
        holder.kill()
        holder.wait()
    with vault.locked("x", 0.0):
        pass


def test_a_second_writer_waits(vault: Vault) -> None:
    taken: list[float] = []

    def second() -> None:
        with vault.locked("second", 10):
            taken.append(time.monotonic())

    thread = threading.Thread(target=second)
    with vault.locked("first", 0):
        thread.start()
        time.sleep(0.3)
        assert taken == []
    thread.join(10)
    assert len(taken) == 1
