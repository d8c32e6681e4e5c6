"""The catalog: what the logs say, made again from them, never more."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from archiver.catalog import Catalog, open_catalog
from archiver.catalog.model import Position
from archiver.catalog.schema import METADATA, MIGRATIONS, VERSION
from archiver.catalog.sqlite import open_engine
from archiver.custody import Event, Link, chain_lines, parse_event
from archiver.errors import CatalogError, StorageError
from archiver.vault import Vault, default_catalog, open_vault
from archiver.vault.rebuild import check_catalog, rebuild_catalog
from archiver.vault.records import reading
from tests.faults.test_disks import tmpfs
from tests.helpers import run
from tests.sealing import DAY, NOW, make_source
from tests.vault.looking import append, items
from tests.vault.test_audit import bag, flip

Run = Callable[..., Any]


@pytest.fixture
def lived(filled: Vault, capsys: pytest.CaptureFixture[str]) -> Vault:
    """A vault that something happened in: a replica, an incident that is open, one that was
    closed, one that was explained.
    """
    run(capsys, "replica", "add", "second", "second")
    run(capsys, "replica", "sync")
    place = bag(filled)
    whole = (place / "data/x.bin").read_bytes()
    flip(place)
    assert run(capsys, "audit", "--all").code == 1
    (place / "data/x.bin").write_bytes(whole)
    assert run(capsys, "audit", "--all").code == 0
    shutil.rmtree("second/bags/a/a-E-0002")
    shutil.rmtree("second/bags/b/b-E-0001")
    assert run(capsys, "audit", "--all").code == 1
    told = ("--replica", "second", "--reason", "the disk was wiped")
    assert run(capsys, "incident", "explain", "b-E-0001", *told).code == 0
    return open_vault(filled.path)


def answers(capsys: pytest.CaptureFixture[str]) -> list[str]:
    questions = (
        ("list", "--json"),
        ("show", "a-E-0001", "--json"),
        ("show", "b-E-0001", "--json"),
        ("incident", "list", "--all", "--json"),
        ("replica", "list", "--json"),
        ("events", "--json"),
    )
    return [run(capsys, *words).out for words in questions]


def test_rebuilt_it_answers_the_same_to_the_byte(
    lived: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    before = answers(capsys)
    assert '"state": "explained"' in before[3]
    assert '"state": "closed"' in before[3]
    assert '"state": "open"' in before[3]
    assert run(capsys, "catalog", "check").code == 0
    assert run(capsys, "catalog", "rebuild").code == 0
    assert answers(capsys) == before
    os.unlink(lived.catalog)
    assert answers(capsys) == before
    assert run(capsys, "catalog", "check", "--json").json["right"] is True


def test_each_answer_is_the_same_after_each_event(lived: Vault) -> None:
    """Taken in one by one or all at once: the rows are the same."""
    lines = Path(lived.log_path("a")).read_bytes().splitlines(keepends=True)
    links = [parse_event(line) for line in lines]
    size = 0
    with open_catalog() as slow, open_catalog() as fast:
        for index, link in enumerate(links):
            size += len(lines[index])
            position = Position(lines=index + 1, size=size, tail=1, head="x")
            slow.take("a", [link], position)
        fast.take("a", links, position)
        for table in slow.tables():
            assert list(slow.rows_of(table)) == list(fast.rows_of(table))


@pytest.mark.parametrize("how", ["garbage", "cut", "empty", "another database", "a bit flipped"])
def test_a_corrupted_catalog(how: str, lived: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    before, path = answers(capsys), Path(lived.catalog)
    data = bytearray(path.read_bytes())
    if how == "another database":
        path.unlink()
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE versions (version INTEGER NOT NULL PRIMARY KEY)")
            other.execute("INSERT INTO versions VALUES (99)")
        other.close()
    elif how == "a bit flipped":
        place = data.index(b"a-E-0001")
        data[place + 7] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(
            {"garbage": b"garbage" * 999, "cut": bytes(data[:9000]), "empty": b""}[how]
        )
    checked = run(capsys, "catalog", "check")
    if how == "empty":  # is one that nothing was taken in of yet
        assert checked.code in (0, 5)
    else:
        assert checked.code == 5
        assert "archiver catalog rebuild" in checked.err
    assert "Traceback" not in checked.err
    assert run(capsys, "catalog", "rebuild").code == 0
    assert answers(capsys) == before


def test_from_an_older_version(lived: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    before = answers(capsys)
    old = f"{lived.catalog}.old"
    rows: dict[str, list[tuple[Any, ...]]] = {}
    with open_catalog(lived.catalog) as catalog:
        for table in catalog.tables():
            rows[table] = list(catalog.rows_of(table))
    with sqlite3.connect(old) as connection:
        connection.execute("CREATE TABLE versions (version INTEGER NOT NULL PRIMARY KEY)")
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO versions VALUES (1)")
        for table, found in rows.items():
            if not found:
                continue  # tables that came later, and nothing has happened for them
            marks = ",".join("?" * len(found[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", found)
    connection.close()
    os.replace(old, lived.catalog)
    assert answers(capsys) == before
    assert run(capsys, "catalog", "check").code == 0


def test_a_migration_commits_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "catalog.sqlite")
    broken = (*MIGRATIONS, ("CREATE TABLE more (x INTEGER)", "CREATE nonsense"))
    open_catalog(path).close()
    monkeypatch.setattr("archiver.catalog.sqlite.MIGRATIONS", broken)
    monkeypatch.setattr("archiver.catalog.sqlite.VERSION", VERSION + 1)
    with pytest.raises(CatalogError):
        open_catalog(path)
    monkeypatch.undo()
    open_catalog(path).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT max(version) FROM versions").fetchone() == (VERSION,)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'more'")
        assert tables.fetchall() == []
    connection.close()


def test_the_steps_lead_to_the_tables_that_are_asked(tmp_path: Path) -> None:
    """The tables as they are defined are those that the migrations make."""
    engine = open_engine(str(tmp_path / "defined.sqlite"))
    with engine.connect() as connection:
        METADATA.create_all(connection)
        connection.commit()
        defined = _columns(connection)
    with open_catalog(str(tmp_path / "migrated.sqlite")) as catalog:
        migrated = _columns(catalog._connection)
    assert migrated == defined


def _columns(connection: Any) -> dict[str, Any]:
    look = inspect(connection)
    return {
        table: (
            sorted(
                (one["name"], str(one["type"]), one["nullable"], one["primary_key"])
                for one in look.get_columns(table)
            ),
            sorted(
                (one["name"], tuple(one["column_names"]), one["unique"])
                for one in look.get_indexes(table)
            ),
            [one["referred_table"] for one in look.get_foreign_keys(table)],
        )
        for table in look.get_table_names()
    }


def test_a_catalog_that_is_behind_catches_up(lived: Vault) -> None:
    """As after a kill between the log and the catalog."""
    kept = Path(lived.catalog).read_bytes()
    event = Event(type="fixity check", at=NOW, detail={"item": "a-E-0001", "result": "damaged"})
    append(lived, "a", event)
    after = items(lived)
    Path(lived.catalog).write_bytes(kept)
    assert items(lived) == after
    assert check_catalog(lived).is_right


@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_log_that_the_catalog_contradicts(
    how: str, lived: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written to it, the other case goes on, rebuild is what accepts it."""
    log = Path(lived.log_path("a"))
    lines = log.read_bytes().splitlines(keepends=True)
    if how == "gone":
        log.unlink()
    else:
        log.write_bytes(b"".join(lines[:-1]) + (b"" if how == "cut" else b"x" * 300 + b"\n"))
    make_source(Path("new"), {"new": b"1"})
    make_source(Path("newer"), {"newer": b"2"})
    refused = run(capsys, "ingest", "new", "--case", "a", "--key", "keys/ana.key")
    assert (refused.code, "cut off or changed" in refused.err) == (1, True)
    assert run(capsys, "ingest", "newer", "--case", "b", "--key", "keys/ana.key").code == 0
    verified = run(capsys, "events", "verify")
    assert verified.code == 1
    rebuilt = run(capsys, "catalog", "rebuild")
    assert rebuilt.code == (1 if how == "changed" else 0)
    if how == "cut":
        assert run(capsys, "ingest", "new", "--case", "a", "--key", "keys/ana.key").code == 0


def test_on_a_disk_that_is_read_only(
    lived: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A vault that was handed over on a write-protected disk can be looked at."""
    before = [run(capsys, *words).out for words in (("list",), ("incident", "list"))]
    os.unlink(lived.catalog)
    with tmpfs(tmp_path / "disk", "size=20m") as disk:
        shutil.copytree(lived.path, disk / "vault", symlinks=True)
        os.system(f"mount -o remount,ro {disk}")
        place = ("--vault", disk / "vault")
        after = [run(capsys, *words, *place).out for words in (("list",), ("incident", "list"))]
        assert after == before
        assert run(capsys, "events", "verify", *place).code == 0
        refused = run(capsys, "audit", *place, "--all")
        assert (refused.code, refused.err.count("error: ")) == (5, 1)
        os.system(f"mount -o remount,rw {disk}")


def test_no_room_for_the_catalog(lived: Vault, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "size=40k") as small:
        vault = open_vault(lived.path, str(small / "catalog.sqlite"))
        assert items(vault) == items(open_vault(lived.path))  # read from the logs
        with pytest.raises(StorageError):
            rebuild_catalog(vault, NOW)
    assert check_catalog(open_vault(lived.path)).is_right


def test_a_vault_on_another_machines_disk(
    lived: Vault,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its catalog lies in the user's state directory, or where it is told."""
    before = answers(capsys)
    os.unlink(lived.catalog)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("archiver.vault.file_system_type", lambda _path: "nfs4")
    assert answers(capsys) == before
    place = default_catalog(lived.path, lived.identifier)
    assert Path(place).parent == tmp_path / "state/archiver/catalogs"
    assert os.path.exists(place)
    assert not os.path.exists(lived.catalog)
    assert run(capsys, "list", "--catalog", "mine.sqlite").code == 0
    assert os.path.exists("mine.sqlite")
    monkeypatch.setenv("ARCHIVER_CATALOG", str(tmp_path / "yours.sqlite"))
    assert run(capsys, "list").code == 0
    assert (tmp_path / "yours.sqlite").exists()


def test_two_machines_at_one_vault(lived: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a catalog of its own; what one has done the other takes in."""
    mine, yours = ("--catalog", "mine.sqlite"), ("--catalog", "yours.sqlite")
    assert run(capsys, "list", *yours).code == 0
    make_source(Path("new"), {"new": b"1"})
    done = run(capsys, "ingest", "new", "--case", "a", "--key", "keys/ana.key", *mine)
    assert done.code == 0
    assert "a-E-0003" in run(capsys, "list", *yours).out
    make_source(Path("newer"), {"newer": b"1"})
    done = run(capsys, "ingest", "newer", "--case", "a", "--key", "keys/ana.key", *yours)
    assert "a-E-0004" in done.out


HOSTILE: dict[str, dict[str, Any]] = {
    "no number": {"item": "a-E-0009", "key": "k"},
    "a number that is text": {"item": "a-E-0009", "key": "k", "number": "9"},
    "a number that is true": {"item": "a-E-0001", "key": "k", "number": True},
    "a negative number": {"item": "a-E--001", "key": "k", "number": -1},
    "a number beyond all bounds": {"item": f"a-E-{10**20}", "key": "k", "number": 10**20},
    "no key": {"item": "a-E-0009", "number": 9},
    "another case's item": {"item": "b-E-0009", "key": "k", "number": 9},
    "an item that is a list": {"item": ["a-E-0009"], "key": "k", "number": 9},
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_a_hostile_event(what: str, lived: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    last = _last(lived)
    event = Event(type="ingestion start", at=NOW, detail=HOSTILE[what])
    with open(lived.log_path("a"), "ab") as file:
        file.write(b"".join(chain_lines([event], seq=last.seq, prev=_head(last))))
    for words in (("list",), ("audit", "--all"), ("events", "verify"), ("catalog", "rebuild")):
        done = run(capsys, *words)
        assert done.code == 1, (words, done)
        assert "broken at line" in done.err + done.out
        assert "Traceback" not in done.err


def _last(vault: Vault) -> Link:
    return parse_event(Path(vault.log_path("a")).read_bytes().splitlines(keepends=True)[-1])


def _head(link: Link) -> str:
    import hashlib

    return hashlib.sha256(link.line()).hexdigest()


def test_sizes_from_a_hostile_log(lived: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers that no database takes, texts that aren't sizes: shown as nothing."""
    for number, size in enumerate((10**30, -5, "much", None), start=3):
        name = f"a-E-{number:04}"
        begin = {"item": name, "key": "k", "number": number}
        end = {"item": name, "payload_bytes": size, "payload_files": size}
        append(lived, "a", Event(type="ingestion start", at=NOW, detail=begin))
        append(lived, "a", Event(type="ingestion end", at=NOW, detail=end))
    listed = run(capsys, "list")
    assert listed.code == 0, listed.err
    assert run(capsys, "audit", "--summary").code == 1
    assert run(capsys, "audit", "--all", "--bytes", "1G").code == 1  # those bags aren't there


def test_pages(lived: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    everything = [one["id"] for one in run(capsys, "list", "--json").json["bags"]]  # type: ignore[attr-defined]
    paged: list[str] = []
    while True:
        after = ("--after", paged[-1]) if paged else ()
        page = run(capsys, "list", "--json", "--limit", "2", *after).json["bags"]
        if not page:
            break
        paged += [one["id"] for one in page]  # type: ignore[attr-defined]
    assert paged == everything
    assert run(capsys, "list", "--after", "a-E-0099").code == 2


def test_a_due_list_in_any_order_of_checks() -> None:
    """Paged through, it is the sorted list of all copies, each once."""
    chance = random.Random(7)
    with open_catalog() as catalog:
        _fill(catalog, 60, chance)
        whole = catalog.due(["", "x", "y"], before=NOW, limit=10_000)
        order = [
            (one.checked_at or datetime.fromtimestamp(0, UTC), one.item.case, one.item.number)
            for one in whole
        ]
        assert order == sorted(order)
        assert len({(one.item.item, one.place) for one in whole}) == len(whole) == 180
        for size in (1, 7, 50):
            paged, last = [], None
            while page := catalog.due(["", "x", "y"], before=NOW, after=last, limit=size):
                paged += page
                last = page[-1]
            assert paged == whole
        limit = NOW - 3 * DAY
        assert all(
            one.checked_at is None or one.checked_at <= limit
            for one in catalog.due([""], before=limit)
        )


def _fill(catalog: Catalog, count: int, chance: random.Random) -> None:
    events = []
    for number in range(1, count + 1):
        name = f"c-E-{number:04}"
        detail = {"item": name, "key": "k", "number": number}
        events.append(Event(type="ingestion start", at=NOW, detail=detail))
        events.append(Event(type="ingestion end", at=NOW, detail={"item": name}))
        for place in ("x", "y"):
            check = {"item": name, "replica": place, "result": "good"}
            at = NOW - timedelta(seconds=chance.randrange(4) * 86_400)
            events.append(Event(type="replication", at=at, detail=check))
    lines = list(chain_lines(events))
    catalog.take(
        "c",
        [parse_event(line) for line in lines],
        Position(lines=len(lines), size=1, tail=1, head="x"),
    )


def test_a_reader_while_somebody_writes(lived: Vault) -> None:
    """Many may read: nobody waits for the writer, nobody sees half of anything."""
    before = items(lived)
    with lived.locked("test", 0.0), reading(lived, 0.0) as records:
        assert list(records.catalog.items()) == before
