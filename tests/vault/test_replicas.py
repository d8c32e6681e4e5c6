"""Replicas and repair: copies that count once they were read back; damage made good again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archiver.custody import Event, chain_lines, line_digest
from archiver.errors import LockedError
from archiver.replicate import sync
from archiver.vault import Vault, open_vault
from archiver.vault.check import check_logs
from tests.faults.test_disks import tmpfs
from tests.helpers import Ran, run
from tests.sealing import make_source, tree
from tests.vault.looking import links
from tests.vault.test_audit import DAMAGES, flip

ITEMS = ("a-E-0001", "a-E-0002", "b-E-0001")


@pytest.fixture
def two(filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The vault with a replica that is up to date; the replica's directory."""
    assert run(capsys, "replica", "add", "second", "second").code == 0
    done = run(capsys, "replica", "sync")
    assert (done.code, done.out.count(": good")) == (0, 3)
    return tmp_path / "second"


def own() -> Vault:
    return open_vault("vault")


def bag(place: Path, item: str = "a-E-0001") -> Path:
    found = place / "bags" / item[0] / item
    for path in [found, *found.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return found


def log() -> list[str]:
    return [link.event.type for link in links(own(), "a")]


def test_copies_are_the_same_to_the_byte(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for item in ITEMS:
        place = Path("bags") / item[0] / item
        assert tree(two / place, signatures=True) == tree(Path("vault") / place, signatures=True)
        assert not (two / place).stat().st_mode & 0o222
    assert run(capsys, "replica", "sync").out == "second: nothing to copy\n"
    assert log().count("replication") == 2
    (row,) = run(capsys, "replica", "list", "--json").json["replicas"]  # type: ignore[misc]
    assert (row["good"], row["pending"]) == (3, 0)  # type: ignore[has-type]
    listed = run(capsys, "list", "--json").json["bags"]
    assert [one["replicas"][0]["state"] for one in listed] == ["good"] * 3  # type: ignore[attr-defined]
    assert check_logs(own()).problems == ()


@pytest.mark.parametrize("where", ["vault", "second"])
@pytest.mark.parametrize("damage", [*sorted(DAMAGES), "gone"])
def test_damage_is_found_named_and_repaired(
    damage: str, where: str, two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = bag(Path(where))
    before = tree(bag(two if where == "vault" else Path("vault")), signatures=True)
    if damage == "gone":
        shutil.rmtree(place)
    else:
        DAMAGES[damage](place)
    found = run(capsys, "audit", "--all")
    assert found.code == 1
    name = "a-E-0001" if where == "vault" else "a-E-0001 (second)"
    assert f"{name}: {'MISSING' if damage == 'gone' else 'DAMAGED'}" in found.out
    dry = run(capsys, "repair", "a-E-0001")
    assert (dry.code, "--yes" in dry.err) == (1, True)
    damaged = tree(place, signatures=True) if place.exists() else {}
    done = run(capsys, "repair", "a-E-0001", "--yes")
    assert done.code == 0, done.err
    assert tree(place, signatures=True) == before
    aside = list((Path(where) / "set-aside/a").glob("*")) if damage != "gone" else []
    assert [tree(one, signatures=True) for one in aside] == ([damaged] if aside else [])
    assert len(aside) == (damage != "gone")
    assert run(capsys, "audit", "--all").code == 0
    assert log().count("recovery") == 1
    assert check_logs(own()).problems == ()
    again = run(capsys, "repair", "a-E-0001", "--yes")
    assert (again.code, "good" in again.out) == (0, True)


def test_no_good_copy_left(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(bag(Path("vault")))
    (bag(two) / "data/x.bin").unlink()
    before = [tree(Path(one), signatures=True) for one in ("vault", "second")]
    done = run(capsys, "repair", "a-E-0001", "--yes")
    assert done.code == 1
    assert "no copy of a-E-0001 is intact; nothing was changed" in done.err
    assert [tree(Path(one), signatures=True) for one in ("vault", "second")] == before


def test_two_who_copy_at_once(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second waits: half of what the first copies must never appear."""
    with own().copying("replica sync", 0.0):
        with pytest.raises(LockedError, match="replica sync"):
            list(sync(own(), own().replicas(), lambda: datetime.now(UTC), wait_seconds=0.0))
        make_source(Path("three"), {"more": b"1"})  # who ingests needn't wait
        done = run(capsys, "ingest", "three", "--case", "a", "--key", "keys/ana.key")
        assert done.code == 0, done.err
    assert "a-E-0003 (second): good" in run(capsys, "replica", "sync").out
    assert len(list(two.glob("bags/a/*"))) == 3


def test_no_replica_yet(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert filled.replicas() == []
    done = run(capsys, "replica", "sync")
    assert (done.code, "replica add" in done.err) == (0, True)


def test_a_damaged_original_is_not_spread(
    filled: Vault,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flip(bag(Path(filled.path)))
    run(capsys, "replica", "add", "second", "second")
    done = run(capsys, "replica", "sync")
    assert (done.code, done.out.count(": good")) == (5, 2)
    assert not (Path("second") / "bags/a/a-E-0001").exists()
    assert list(Path("second").rglob("x.bin")) != []


@pytest.mark.parametrize("kind", ["unmounted", "another vault's", "mark damaged"])
def test_a_place_that_is_not_there_is_no_damage(
    kind: str, two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = two / "archiver-replica.json"
    change: dict[str, Callable[[], object]] = {
        "unmounted": lambda: shutil.copytree(two.rename("away"), two, ignore=lambda _d, n: n),
        "another vault's": lambda: mark.write_text('{"name": "second", "vault": "urn:other"}'),
        "mark damaged": lambda: mark.write_text("garbage"),
    }
    mark.chmod(0o644)
    change[kind]()
    done = run(capsys, "audit", "--all", "--quiet")
    assert (done.code, done.out) == (3, "")  # its copies were asked for: it can't be said
    assert "warning: second was not checked: " in done.err
    due = run(capsys, "audit")  # none is due there yet
    assert (due.code, due.out.count(": good")) == (0, 0)
    assert "warning: second was not checked: " in due.err
    synced = run(capsys, "replica", "sync")
    assert (synced.code, synced.err.startswith("warning: second: ")) == (5, True)
    assert not (two / "bags").exists() or kind != "unmounted"
    flip(bag(Path("vault")))
    repaired: Ran = run(capsys, "repair", "a-E-0001", "--yes")
    assert repaired.code == 1


def test_what_lies_there_already_is_never_written_over(
    filled: Vault,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys, "replica", "add", "second", "second")
    strange = tmp_path / "second/bags/a/a-E-0001"
    strange.mkdir(parents=True)
    (strange / "file").write_bytes(b"mine")
    left = tmp_path / "second/bags/a/a-E-0002"  # by a run that was killed before the log knew
    shutil.copytree(Path(filled.path) / "bags/a/a-E-0002", left)
    done = run(capsys, "replica", "sync")
    assert done.code == 5
    assert "stays as it is" in done.out
    assert (strange / "file").read_bytes() == b"mine"
    assert "a-E-0002 (second): good" in done.out


def test_a_replica_that_fills_up(
    filled: Vault,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tmpfs(tmp_path / "small", "size=150k") as small:
        run(capsys, "replica", "add", "small", small / "r")
        done = run(capsys, "replica", "sync")
        assert done.code == 5
        assert "no space" in done.out
        for found in (small / "r/bags").glob("*/*"):
            assert run(capsys, "bag", "verify", found, "--trust", "nothing").code == 2
            assert tree(found) == tree(Path(filled.path) / found.relative_to(small / "r"))
        assert list((small / "r").rglob(".archiver-staging/*/*")) == []


def test_a_link_to_the_other_copy_is_no_copy(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = bag(Path("vault"))
    place.rename("away")
    place.symlink_to(bag(two))
    assert "a-E-0001: DAMAGED" in run(capsys, "audit", "--all").out
    assert run(capsys, "repair", "a-E-0001", "--yes").code == 0
    assert not place.is_symlink()
    assert run(capsys, "audit", "--all").code == 0


def test_what_cannot_be_read_is_neither_good_nor_repaired(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bags = Path("vault/bags")
    bags.rename("unmounted")
    done = run(capsys, "repair", "a-E-0001", "--yes")
    assert (done.code, "bags is not there" in done.err) == (0, True)
    assert "every copy that can be reached is good" in done.out
    Path("unmounted").rename(bags)
    assert "vault's disk" in run(capsys, "replica", "add", "third", "third").err


def test_forgetting_a_place(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(two, signatures=True)
    assert run(capsys, "replica", "remove", "second").code == 0
    assert tree(two, signatures=True) == before
    assert run(capsys, "replica", "list").out == ""
    other = run(capsys, "replica", "add", "second", "other")  # its copies would be counted as good
    assert (other.code, "second" in other.err, Path("other").exists()) == (5, True, False)
    assert run(capsys, "replica", "add", "second", "second").code == 0
    assert run(capsys, "replica", "sync").code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("replica", "add", "second", "elsewhere"), 5),
        (("replica", "add", "third", "vault"), 5),
        (("replica", "add", "third", "vault/bags/third"), 5),
        (("replica", "add", "third", "."), 5),
        (("replica", "add", "../x", "new"), 2),
        (("replica", "remove", "nobody"), 2),
        (("replica", "sync", "nobody"), 2),
        (("repair", "a-E-0009"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_wrong_words(
    arguments: tuple[str, ...], code: int, two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, *arguments)
    assert done.code == code, done.err
    assert "hint: " in done.err


@pytest.mark.parametrize("name", ["bags", "bags/a", ".archiver-staging"])
def test_a_replica_that_leads_elsewhere(
    name: str, two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copies that are the vault's own would be counted twice, or files elsewhere removed."""
    link = two / name
    if link.exists():
        link.rename(two / "moved")
    link.symlink_to(Path("vault/bags").absolute())
    done = run(capsys, "replica", "sync")
    assert (done.code, "is a link" in done.err) == (5, True)


def test_a_log_that_names_a_path(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hostile vault: what its log names must not be read, written or removed."""
    victim = two.parent / "victim"
    victim.mkdir()
    (victim / "file").write_bytes(b"mine")
    detail = {"item": "../../../victim", "key": "k", "number": 3}
    last = links(own(), "a")[-1]
    event = Event(type="ingestion start", at=datetime.now(UTC), detail=detail)
    (line,) = chain_lines([event], seq=last.seq, prev=line_digest(last.line()))
    with open(own().log_path("a"), "ab") as file:
        file.write(line)
    for words in (("replica", "sync"), ("audit", "--all")):
        done = run(capsys, *words)
        assert (done.code, "is not that of its number" in done.err) == (1, True)
    assert run(capsys, "repair", "../../../victim").code == 2  # it is in no catalog
    verified = run(capsys, "events", "verify")
    assert (verified.code, "is not that of its number" in verified.out) == (1, True)
    assert (victim / "file").read_bytes() == b"mine"


def bags(vault: Vault) -> dict[str, bytes]:
    """Bags and logs: all but locks and the catalog."""
    found = tree(Path(vault.path), signatures=True)
    return {name: data for name, data in found.items() if name.startswith(("bags/", "custody/"))}


def test_a_log_that_was_removed(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    """Its bags must not be taken for those of new sources, which would then be lost."""
    Path(filled.log_path("b")).unlink()
    done = run(capsys, "events", "verify")
    assert (done.code, "no log that tells of them" in done.out + done.err) == (1, True)
    audited = run(capsys, "audit", "--all")
    assert (audited.code, "no log that tells of them" in audited.err) == (1, True)
    make_source(Path("other"), {"other.txt": b"other"})
    before = bags(filled)
    lost = run(capsys, "ingest", "other", "--case", "b", "--key", "keys/ana.key")
    assert (lost.code, "cut off or changed" in lost.err) == (1, True)
    Path(filled.catalog).unlink()  # with what it knew of the log
    lost = run(capsys, "ingest", "other", "--case", "b", "--key", "keys/ana.key")
    assert (lost.code, "knows nothing of it" in lost.err) == (5, True)
    assert bags(filled) == before
