"""Somebody wants a wrong "good", a lost item, a path outside of the vault."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.custody import Event
from archiver.errors import FormatError
from archiver.vault import Vault, open_vault
from archiver.vault.log import CaseLog
from tests.faults.test_disks import tmpfs
from tests.helpers import Ran, run
from tests.sealing import NOW, Office, make_source, tree, write_key
from tests.vault.looking import append, items, links
from tests.vault.test_audit import bag, flip

KEY = ("--key", "keys/ana.key")


@pytest.fixture
def two(filled: Vault, capsys: pytest.CaptureFixture[str]) -> Vault:
    """With a replica that is up to date."""
    run(capsys, "replica", "add", "second", "second")
    assert run(capsys, "replica", "sync").code == 0
    return filled


def forge(vault: Vault, case: str, kind: str, detail: dict[str, Any], outcome: str = "") -> None:
    """An event that nobody's program wrote, in a chain that holds."""
    log = CaseLog(case, vault.log_path(case))
    list(log.read())
    log.append([Event(type=kind, at=NOW, detail=detail, outcome=outcome or "success")])


def verify(capsys: pytest.CaptureFixture[str]) -> Ran:
    return run(capsys, "events", "verify")


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_an_item_ends_once(outcome: str, two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the log's holder could have another bag count as the one that was sealed."""
    detail = {"item": "a-E-0001", "number": 1, "tag_manifest_sha512": "0" * 128}
    forge(two, "a", "ingestion end", detail, outcome)
    done = verify(capsys)
    assert (done.code, "ends that had ended" in done.out) == (1, True)
    assert run(capsys, "audit", "--all").code == 1
    assert [one.state for one in items(two, "a")] == ["sealed"] * 2


def test_a_number_is_given_once(two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    forge(two, "a", "ingestion start", {"item": "a-E-0001", "number": 1, "key": "other"})
    done = verify(capsys)
    assert (done.code, "given twice" in done.out) == (1, True)


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("ingestion end", {"item": "a-E-0001", "number": 1, "tag_manifest_sha512": "0" * 128}),
        ("fixity check", {"item": "a-E-0001", "result": "good"}),
        ("fixity check", {"item": "a-E-0001", "result": "damaged"}),
        ("quality review", {"item": "a-E-0001", "explained": "nothing"}),
        ("fixity check", {"item": "b-E-0001", "result": "good", "codes": 5}),
        ("fixity check", {"item": "b-E-0001", "result": "good", "codes": None}),
        ("fixity check", {"item": "b-E-0001", "result": "good", "replica": ["x"]}),
        ("ingestion start", {"item": f"b-E-{10**12}", "number": 10**12, "key": "k"}),
    ],
    ids=str,
)
def test_a_log_speaks_of_its_own_case(
    kind: str, detail: dict[str, Any], two: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """And in the words that there are; the other case goes on."""
    forge(two, "b", kind, detail)
    assert verify(capsys).code == 1
    listed = run(capsys, "list", "--case", "a")
    assert (listed.code, "b.jsonl is broken" in listed.err) == (1, True)
    assert "Traceback" not in listed.err
    assert "should not happen" not in listed.err
    make_source(Path("new"), {"new": b"1"})
    assert run(capsys, "ingest", "new", "--case", "a", *KEY).code == 0
    assert run(capsys, "ingest", "new", "--case", "b", *KEY).code == 1


HOSTILE = {
    "a path as case": (
        "UPDATE replicas SET case_name = '../../x' WHERE item = 'b-E-0001'",
        "UPDATE bags SET case_name = '../../x' WHERE item = 'b-E-0001'",
    ),
    "a path as item": ("UPDATE bags SET item = '../../../x' WHERE item = 'b-E-0001'",),
    "a path as a log": ("UPDATE cases SET name = '../../x' WHERE name = 'b'",),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON incidents BEGIN DELETE FROM incidents; END",),
    "a view": ("DROP TABLE cases", "CREATE VIEW cases AS SELECT 1"),
    "no json": ("UPDATE bags SET detail = '['",),
    "no table": ("UPDATE bags SET detail = '[]'",),
    "a time beyond all bounds": ("UPDATE replicas SET checked_at = 999999999999999",),
    "a text as time": ("UPDATE bags SET since = 'yesterday'",),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_a_hostile_catalog(what: str, two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """It came with a vault of a stranger: told, never obeyed; made anew it is right again."""
    with sqlite3.connect(two.catalog) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        for statement in HOSTILE[what]:
            connection.execute(statement)
    connection.close()
    before = tree(Path(), signatures=True)
    flip(bag(two))
    for words in (("audit", "--all", "--repair"), ("list",), ("replica", "sync")):
        done = run(capsys, *words)
        assert "should not happen" not in done.err, (words, done.err)
    outside = {name for name in tree(Path(), signatures=True) if not name.startswith(("vault/",))}
    assert outside == {name for name in before if not name.startswith("vault/")}
    assert run(capsys, "catalog", "rebuild").code == 0
    assert run(capsys, "audit", "--all").code == 1
    assert run(capsys, "catalog", "check").code == 0


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """What nobody may touch."""
    place = tmp_path / "outside"
    make_source(place, {"a/a-E-0001/file": b"mine", "file": b"no newline at the end"})
    before = tree(place, signatures=True)
    yield place
    assert tree(place, signatures=True) == before


@pytest.mark.parametrize("name", [".archiver-staging", "set-aside", "bags/new", "bags"])
def test_links_in_a_vault_lead_nowhere(
    name: str, two: Vault, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(bag(two))
    link = Path(two.path) / name
    if link.exists():
        link.rename("moved")
    link.symlink_to(outside)
    make_source(Path("new"), {"new": b"1"})
    assert run(capsys, "ingest", "new", "--case", "new", *KEY).code != 0
    run(capsys, "repair", "a-E-0001", "--yes")
    audited = run(capsys, "audit", "--all", "--quiet")
    assert (audited.code, "is a link" in audited.err) in ((3, True), (1, True))


def test_one_copy_in_two_places_counts_once(two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody wanted to free space: the vault's copies are those of the replica now."""
    shutil.rmtree(Path(two.path) / "bags/a")
    (Path(two.path) / "bags/a").symlink_to(Path("second/bags/a").absolute())
    audited = run(capsys, "audit", "--all", "--json").out.splitlines()
    checked = [json.loads(line) for line in audited[:-1]]
    assert all(one["replica"] == "second" for one in checked)
    assert run(capsys, "audit", "--summary", "--json").json["copies"] != {"2": 3}


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
@pytest.mark.parametrize("name", ["custody/evil.jsonl", "catalog.sqlite", "replicas.json"])
def test_what_is_no_file_is_not_read(
    kind: str, name: str, two: Vault, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No link is followed or cut, no pipe waited for."""
    place = Path(two.path) / name
    place.unlink(missing_ok=True)
    if kind == "link":
        place.symlink_to(outside / "file")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    make_source(Path("new"), {"new": b"1"})
    for words in (("ingest", "new", "--case", "evil", *KEY), ("list",), ("audit", "--all")):
        done = run(capsys, *words)
        assert done.code != 0, words
        assert "should not happen" not in done.err, (words, done.err)


def test_a_vault_whose_words_are_strange(two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    config, replicas = Path(two.path) / "vault.toml", Path(two.path) / "replicas.json"
    config.chmod(0o644)
    good = config.read_text()
    for bad in ('identifier = "urn:x\\nat 1"', 'identifier = ""', 'identifier = "a b"'):
        config.write_text(good.replace(f'identifier = "{two.identifier}"', bad))
        assert run(capsys, "list").code == 5
    config.write_text(good)
    place = {"directory": str(Path("second").absolute()), "location": ""}
    strange: list[Any] = [{"": place}, {"../x": place}, {"x": 1}, []]
    for bad_replicas in (*strange, {"x": {**place, "directory": "second"}}):
        replicas.write_text(json.dumps({"replicas": bad_replicas}))
        assert run(capsys, "audit").code == 5
    replicas.write_text("[" * 100_000)
    assert "is damaged" in run(capsys, "audit").err


def test_a_copy_that_other_hands_made_good(two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """By repair, by a later audit, however young the last check is."""
    place = bag(two)
    whole = (place / "data/x.bin").read_bytes()
    for again in (("repair", "a-E-0001", "--yes"), ("audit",), ("audit", "--repair")):
        flip(place)
        assert run(capsys, "audit", "--all").code == 1
        (place / "data/x.bin").write_bytes(whole)
        assert run(capsys, *again).code == 0, again
        assert run(capsys, "incident", "list").out == ""


def test_what_is_repaired_is_told_all_the_same(
    two: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = tmp_path / "hook"
    hook.write_text('#!/bin/sh\ncat > "$0.told"\n')
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    flip(bag(two))
    assert run(capsys, "audit", "--all", "--repair", "--notify", hook).code == 0
    assert "a-E-0001" in Path(f"{hook}.told").read_text()


def test_worse_damage_than_was_explained(two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    place = bag(two)
    flip(place)
    run(capsys, "audit", "--all")
    run(capsys, "incident", "explain", "a-E-0001", "--reason", "so it came")
    assert run(capsys, "audit", "--all").code == 0
    shutil.rmtree(place / "data")
    assert run(capsys, "audit", "--all").code == 1


@pytest.mark.parametrize("what", ["a tag file", "a tag manifest gone", "certificates gone"])
def test_more_or_less_than_what_was_sealed(
    what: str, two: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    make_source(Path("new"), {"new": b"1"})
    run(capsys, "ingest", "new", "--case", "c", "--unsigned")
    item = "c-E-0001" if what != "certificates gone" else "a-E-0001"
    place = Path(two.bag_path(item[0], item))
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    if what == "a tag file":
        (place / "STATEMENT-RETRACTED.txt").write_bytes(b"")
    elif what == "a tag manifest gone":
        (place / "tagmanifest-sha256.txt").unlink()
    else:
        shutil.rmtree(place / "signatures/certificates")
    assert f"{item}: DAMAGED" in run(capsys, "audit", "--all").out


def test_proofs_that_come_later_reach_the_replicas(
    two: Vault, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a repair from there would lose them."""
    write_key(office.ben, tmp_path / "keys", "ben")
    place = Path(two.bag_path("a", "a-E-0001"))
    assert run(capsys, "bag", "sign", place, "--key", "keys/ben.key").code == 0
    assert "a-E-0001 (second): good" in run(capsys, "replica", "sync").out
    assert tree(Path("second/bags/a/a-E-0001"), signatures=True) == tree(place, signatures=True)
    assert run(capsys, "replica", "sync").out == "second: nothing to copy\n"
    flip(bag(two))
    assert run(capsys, "repair", "a-E-0001", "--yes").code == 0
    assert len(list((place / "signatures").glob("*.p7s"))) == 2
    assert run(capsys, "audit", "--all").code == 0


def test_a_strangers_bag_under_a_begun_number(
    two: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is intact and signed, and made of something else."""
    make_source(Path("new"), {"new": b"1"})
    make_source(Path("other"), {"new": b"2"})
    begin = {"item": "c-E-0001", "number": 1}
    run(capsys, "ingest", "new", "--case", "c", *KEY)
    key = links(two, "c")[0].event.detail["key"]
    for path in (Path(two.log_path("c")), Path(two.catalog)):
        path.unlink()
    shutil.rmtree(Path(two.path) / "bags/c")
    forge(two, "c", "ingestion start", {**begin, "key": key})
    (Path(two.path) / "bags/c").mkdir()
    made = run(capsys, "bag", "create", "other", "-o", two.bag_path("c", "c-E-0001"), *KEY)
    assert made.code == 0, made.err
    done = run(capsys, "ingest", "new", "--case", "c", *KEY)
    assert (done.code, "not intact" in done.err) == (5, True)


def test_a_broken_log_and_no_catalog(two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """The other cases go on."""
    log = Path(two.log_path("a"))
    log.write_bytes(log.read_bytes() + b"garbage\n")
    Path(two.catalog).write_bytes(b"garbage")
    rebuilt = run(capsys, "catalog", "rebuild")
    assert (rebuilt.code, "a.jsonl is broken" in rebuilt.err) == (1, True)
    listed = run(capsys, "list")
    assert (listed.code, listed.out.count("sealed")) == (1, 3)
    make_source(Path("new"), {"new": b"1"})
    assert run(capsys, "ingest", "new", "--case", "b", *KEY).code == 0


def test_a_vault_that_was_put_back_from_an_old_copy(
    two: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would give numbers a second time."""
    shutil.copytree(two.path, "old", symlinks=True)
    make_source(Path("new"), {"new": b"1"})
    make_source(Path("newer"), {"newer": b"1"})
    assert run(capsys, "ingest", "new", "--case", "a", *KEY).code == 0
    assert run(capsys, "replica", "sync").code == 0
    shutil.rmtree(two.path)
    Path("old").rename(two.path)
    done = run(capsys, "ingest", "newer", "--case", "a", *KEY)
    assert (done.code, "knows more of a" in done.err) == (1, True)
    assert verify(capsys).code == 1


def test_a_replica_is_a_vault_where_the_first_is_lost(
    two: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "events", "checkpoint", *KEY)
    assert run(capsys, "replica", "sync").code == 0
    before = run(capsys, "list", "--json").json["bags"]
    shutil.rmtree(two.path)
    shutil.copytree("second", two.path, symlinks=True)
    told = run(capsys, "list")
    assert (told.code, "is a replica, no vault" in told.err) == (5, True)
    os.unlink(os.path.join(two.path, "archiver-replica.json"))
    after = run(capsys, "list", "--json").json["bags"]
    assert [one["id"] for one in after] == [one["id"] for one in before]  # type: ignore[attr-defined]
    assert verify(capsys).code == 0
    assert run(capsys, "audit", "--all").code == 0
    assert open_vault(two.path).identifier == two.identifier


def test_a_replica_that_was_wiped_or_put_back(
    two: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("second/bags/a")
    told = run(capsys, "replica", "sync")
    assert (told.code, told.out.count("the copy is gone")) == (5, 2)
    shutil.rmtree("second/bags")
    assert run(capsys, "audit", "--all").out.count("MISSING") == 3
    assert run(capsys, "audit", "--repair").code == 0
    assert run(capsys, "audit", "--all").code == 0


def test_withdrawing_what_was_begun(two: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """Its number stays, with the reason; what was copied for it goes."""
    forge(two, "a", "ingestion start", {"item": "a-E-0003", "number": 3, "key": "k"})
    why = ("withdraw", "a-E-0003", "--reason")
    assert run(capsys, *why, "two\nlines").code == 2
    assert run(capsys, "repair", "a-E-0003").code == 2
    assert run(capsys, *why, "the source was exchanged").code == 0
    assert [one.state for one in items(two, "a")] == ["sealed", "sealed", "refused"]
    assert "exchanged" in run(capsys, "events", "a").out
    assert run(capsys, *why, "again").code == 5
    assert run(capsys, "withdraw", "a-E-0001", "--reason", "x").code == 5
    assert verify(capsys).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_reading_goes_on_where_the_disk_is_full(
    two: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tmpfs(tmp_path / "disk", "size=2m") as disk:
        shutil.copytree(two.path, disk / "vault", symlinks=True)
        place = ("--vault", disk / "vault")
        fill = os.open(disk / "fill", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(fill, b"x" * 4096)
        os.close(fill)
        for words in (("list",), ("incident", "list"), ("events", "verify"), ("show", "a-E-0001")):
            done = run(capsys, *words, *place)
            assert done.code == 0, (words, done.err)
        for words in (("audit", "--all"), ("catalog", "rebuild"), ("catalog", "check")):
            done = run(capsys, *words, *place)
            assert "should not happen" not in done.err, (words, done.err)
        (disk / "fill").unlink()
        assert run(capsys, "audit", "--all", *place).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--days", "nan"),
        ("audit", "--days", "inf"),
        ("audit", "--days", "1e9"),
        ("events", "verify", "--against-head", "xyz"),
        ("replica", "add", "../x", "new"),
    ],
    ids=" ".join,
)
def test_wrong_words(
    arguments: tuple[str, ...], two: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, *arguments)
    assert (done.code, "should not happen" in done.err) == (2, False), done.err


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_log_at_a_replica(
    kind: str, two: Vault, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told; nothing is written to it, and nobody waits for it."""
    place = Path("second/custody/a.jsonl")
    place.unlink()
    place.symlink_to(outside / "file") if kind == "link" else os.mkfifo(place)
    synced = run(capsys, "replica", "sync")
    assert (synced.code, "should not happen" in synced.err) == (5, False)
    assert verify(capsys).code in (0, 1)


def test_no_event_is_written_that_would_break_the_log(two: Vault) -> None:
    """A program's own mistake must not cost a case its log."""
    before = Path(two.log_path("a")).read_bytes()
    for kind, detail in (
        ("ingestion end", {"item": "a-E-0001", "number": 1}),
        ("ingestion end", {"item": "a-E-0009", "number": 9}),
        ("ingestion start", {"item": "a-E-0001", "number": 1, "key": "other"}),
        ("fixity check", {"item": "b-E-0001", "result": "good"}),
    ):
        with pytest.raises(FormatError):
            append(two, "a", Event(type=kind, at=NOW, detail=detail))
        assert Path(two.log_path("a")).read_bytes() == before
