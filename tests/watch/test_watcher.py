"""The watcher end to end, with real files, a real journal and a sink that makes bags."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.watch.model import State
from tests.watch.scene import QUICK, Scene, until


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def test_files_are_archived_once(scene: Scene) -> None:
    files = {f"d{i % 3}/f{i}".encode(): os.urandom(i * 100) for i in range(20)}
    for name, data in files.items():
        scene.write(name, data)
    scene.once()
    scene.oracle(files)
    row = scene.journal.at(b"d1/f1")
    assert row is not None
    assert (row.state, row.proof) == (State.ARCHIVED, "lease")
    scene.once()
    scene.reopen()
    scene.once()
    scene.oracle(files)
    assert sum(scene.bags().values()) == 20
    assert scene.journal.counts()[State.ARCHIVED] == 20


def test_a_running_watcher_takes_new_files(scene: Scene) -> None:
    with scene.running():
        time.sleep(0.3)
        begun = time.monotonic()
        scene.write("deep/er/a.txt", b"a")
        scene.wait_for("deep/er/a.txt", State.ARCHIVED)
        assert time.monotonic() - begun < 1.0  # a quiet period of 0.1 s, and hints
        scene.write("b.txt", b"b")
        scene.wait_for("b.txt", State.ARCHIVED)
    scene.oracle({b"deep/er/a.txt": b"a", b"b.txt": b"b"})


def test_a_changed_file_is_a_new_version(scene: Scene) -> None:
    scene.write("a.txt", b"one")
    scene.once()
    scene.write("a.txt", b"two, longer")
    scene.once()
    scene.oracle({b"a.txt": b"two, longer"})
    new, old = scene.journal.history(b"a.txt")
    assert (new.state, old.state) == (State.ARCHIVED, State.SUPERSEDED)
    assert new.follows == old.item
    assert sum(scene.bags().values()) == 2


def test_content_changed_with_its_mtime_put_back(scene: Scene) -> None:
    path = scene.write("a.txt", b"one")
    kept = os.stat(path)
    scene.once()
    scene.write("a.txt", b"two")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    scene.once()
    scene.oracle({b"a.txt": b"two"})
    assert sum(scene.bags().values()) == 2


def test_descriptions_go_with_their_file(scene: Scene) -> None:
    scene.write("a.jpg", b"picture")
    scene.write("a.jpg.toml", b"title = 'a'")
    scene.write("lonely.jpg.toml", b"title = 'b'")
    scene.write("settings.toml", b"x = 1")
    scene.once()
    described, alone = scene.journal.at(b"a.jpg.toml"), scene.journal.at(b"lonely.jpg.toml")
    assert described is not None
    assert alone is not None
    assert described.bag == getattr(scene.journal.at(b"a.jpg"), "bag", None) != ""
    assert alone.bag not in ("", described.bag)
    assert len({bag for bag in scene.sink.base.iterdir() if bag.name != ".staging"}) == 3
    scene.write("a.jpg.toml", b"title = 'better'")
    scene.once()
    assert [row.state for row in scene.journal.history(b"a.jpg")] == [
        State.ARCHIVED,
        State.SUPERSEDED,
    ]
    scene.oracle({})


def test_folders_as_units(scene: Scene) -> None:
    scene.policy = replace(QUICK, group="folder")
    files = {b"one/a": b"a", b"one/deep/b": b"b", b"one/a.toml": b"c", b"single": b"d"}
    for name, data in files.items():
        scene.write(name, data)
    scene.write("two/x", b"x")
    scene.write("two/y.part", b"y")
    scene.once()
    scene.oracle(files)
    one = {getattr(scene.journal.at(name), "bag", "") for name in files if name != b"single"}
    assert len(one) == 1
    assert scene.state("two/x") is State.SEEN  # y isn't finished
    scene.write("two/.done", b"")
    scene.once()
    assert scene.state("two/x") is State.ARCHIVED
    scene.write("one/late", b"late")
    scene.once()
    assert scene.bags()[(b"one/a", hashlib.sha512(b"a").hexdigest())] == 2
    assert getattr(scene.journal.at(b"one/a"), "bag", "") == getattr(
        scene.journal.at(b"one/late"), "bag", None
    )
    assert scene.journal.sums_agree()


@pytest.mark.parametrize("originals", ["move", "delete"])
def test_originals_go_once_the_bag_is_proved(scene: Scene, originals: str) -> None:
    scene.policy = replace(QUICK, originals=originals, move_to="archived", required_replicas=1)
    path = Path(os.fsdecode(scene.write("d/a.txt", b"a")))
    scene.once()
    assert path.read_bytes() == b"a"  # no replica
    row = scene.journal.at(b"d/a.txt")
    assert row is not None
    assert "stays" in row.reason
    scene.sink.replicas = 1
    scene.once()
    assert not path.exists()
    assert (scene.inbox / "archived/d/a.txt").exists() == (originals == "move")
    assert scene.state("d/a.txt") is State.DISPOSED
    scene.oracle({b"d/a.txt": b"a"}, intact=False)
    scene.write("d/a.txt", b"again")
    scene.once()
    scene.once()
    assert scene.journal.counts()[State.DISPOSED] == 2
    if originals == "move":
        assert (scene.inbox / "archived/d/a.txt.1").read_bytes() == b"again"
    scene.oracle({b"d/a.txt": b"again"}, intact=False)


@pytest.mark.parametrize("where", ["archived", "archived/d", "archived/d/e"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_nobody_leads_an_original_elsewhere(scene: Scene, where: str, kind: str) -> None:
    """Who may write into the folder can lay a link where originals are moved to."""
    scene.policy = replace(QUICK, originals="move", move_to="archived")
    path = Path(os.fsdecode(scene.write("d/e/a.txt", b"a")))
    elsewhere = scene.base / "elsewhere"
    elsewhere.mkdir()
    (scene.inbox / where).parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        (scene.inbox / where).symlink_to(elsewhere)
    else:
        (scene.inbox / where).write_bytes(b"")
    scene.once()
    scene.once()
    assert path.read_bytes() == b"a"
    assert list(elsewhere.rglob("*")) == []
    row = scene.journal.at(b"d/e/a.txt")
    assert row is not None
    assert "below move_to is a link" in row.reason


@pytest.mark.parametrize("kind", ["absolute", "inside"])
def test_where_originals_are_moved_to(scene: Scene, kind: str) -> None:
    place = scene.base / "far/away" if kind == "absolute" else scene.inbox / "old/ones"
    scene.policy = replace(QUICK, originals="move", move_to=str(place))
    scene.write("d/a.txt", b"a")
    scene.write("b.txt", b"b")
    scene.once()
    scene.once()
    assert (place / "d/a.txt").read_bytes() == b"a"
    assert (place / "b.txt").read_bytes() == b"b"


def test_an_original_that_is_not_what_was_archived_stays(scene: Scene) -> None:
    scene.policy = replace(QUICK, originals="delete", required_replicas=1)
    path = scene.write("a.txt", b"true")
    scene.once()
    row = scene.journal.at(b"a.txt")
    assert row is not None
    with scene.journal.together():  # as a flipped bit would look: nothing else differs
        scene.journal._db.execute("UPDATE files SET digest = 'ffff' WHERE id = ?", (row.id,))
    scene.sink.replicas = 1
    scene.once()
    states = [one.state for one in scene.journal.history(b"a.txt")]
    assert states == [State.DISPOSED, State.SUPERSEDED]  # it went as what it is, archived anew
    assert scene.bags()[(b"a.txt", hashlib.sha512(b"true").hexdigest())] == 2
    assert not Path(os.fsdecode(path)).exists()


def test_quarantine_retry_and_release(scene: Scene) -> None:
    scene.write("a.txt", b"a")
    scene.write("b.txt", b"b")
    blocked: dict[bytes, bool] = {}
    original = scene.sink._stage

    def stage(unit: object) -> object:
        from archiver.watch.model import Failed, Unit

        assert isinstance(unit, Unit)
        if blocked.get(unit.members[0].path):
            return Failed(unit=unit, kind="refused", reason="not wanted")
        return original(unit)

    scene.sink._stage = stage  # type: ignore[method-assign, assignment]
    blocked.update({b"a.txt": True, b"b.txt": True})
    scene.once()
    assert scene.journal.counts()[State.QUARANTINED] == 2
    assert ("quarantined", b"a.txt", "not wanted") in scene.told
    blocked.clear()
    scene.once()
    assert scene.journal.counts()[State.QUARANTINED] == 2
    scene.journal.ask("retry", b"a.txt")
    scene.journal.ask("release", b"b.txt")
    scene.journal.ask("retry", b"absent")
    scene.once()
    assert scene.state("a.txt") is State.ARCHIVED
    assert scene.state("b.txt") is State.IGNORED
    scene.once()
    assert scene.state("b.txt") is State.IGNORED
    scene.write("b.txt", b"other")
    scene.once()
    assert scene.state("b.txt") is State.ARCHIVED
    scene.oracle({b"a.txt": b"a", b"b.txt": b"other"})


def test_a_sink_that_cannot_pauses_everything(scene: Scene) -> None:
    scene.sink.trouble = "the vault is full"
    with scene.running() as watcher:
        scene.write("a.txt", b"a")
        scene.wait_for("a.txt", State.STABLE)
        until(lambda: watcher.health().problem == "the vault is full")
        assert watcher.health().queue == 1
        scene.sink.trouble = ""
        scene.wait_for("a.txt", State.ARCHIVED)
        assert watcher.health().problem == ""
    scene.oracle({b"a.txt": b"a"})


@pytest.mark.parametrize("stage", ["prepare", "commit"])
def test_a_sink_that_fails_meanwhile_loses_nothing(scene: Scene, stage: str) -> None:
    original, fails = getattr(scene.sink, stage), [True]

    def broken(things: object) -> object:
        if fails:
            done = original(things) if stage == "commit" else None
            assert done is None or done
            fails.clear()
            raise OSError(5, "Input/output error")
        return original(things)

    setattr(scene.sink, stage, broken)
    with scene.running():
        scene.write("a.txt", b"a")
        scene.wait_for("a.txt", State.ARCHIVED)
    scene.oracle({b"a.txt": b"a"})


def test_large_files_have_a_lane_of_their_own(scene: Scene) -> None:
    import threading

    scene.policy = replace(QUICK, large_bytes=1000)
    free = threading.Event()

    def wait(path: bytes) -> None:
        if path == b"large":
            free.wait(20)

    scene.sink.while_copying = wait
    with scene.running() as watcher:
        scene.write("large", bytes(5000))
        scene.wait_for("large", State.STABLE)
        until(lambda: scene.sink.calls["prepare"] > 0)
        scene.write("small", b"s")
        scene.wait_for("small", State.ARCHIVED)
        assert scene.state("large") is State.STABLE
        assert watcher.health().archiver_beat_seconds < 100
        free.set()
        scene.wait_for("large", State.ARCHIVED)
    scene.oracle({b"large": bytes(5000), b"small": b"s"})


def test_dry_run_changes_nothing(scene: Scene) -> None:
    scene.write("done.txt", b"a")
    scene.once()
    scene.write("new.txt", b"b")
    scene.write("new.tmp", b"b")
    plan = {one.path: one.state for one in scene.watcher().dry_run()}
    assert plan == {
        b"done.txt": State.ARCHIVED,
        b"new.txt": State.SEEN,
        b"new.tmp": State.IGNORED,
    }
    assert scene.state("new.txt") is None


def test_a_dry_run_that_is_killed_leaves_no_names(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it notes lies in no file that has a name."""
    place = tmp_path / "temporary"
    place.mkdir()
    for name in ("TMPDIR", "SQLITE_TMPDIR"):
        monkeypatch.setenv(name, str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    before = set(tmp_path.rglob("*"))
    for number in range(300):
        scene.write(f"maria-{number}.txt", b"a")
    plan = scene.watcher().dry_run()
    assert next(plan).path == b"maria-0.txt"
    new = [one for one in tmp_path.rglob("*") if one not in before and one.parent != scene.inbox]
    assert new == []
    del plan


def test_rules_that_change(scene: Scene) -> None:
    scene.write("a.log", b"a")
    scene.policy = replace(QUICK, ignore=("*.log",))
    scene.once()
    assert scene.state("a.log") is State.IGNORED
    scene.policy = QUICK
    scene.once()
    assert scene.state("a.log") is State.ARCHIVED
    scene.oracle({b"a.log": b"a"})


def test_health(scene: Scene) -> None:
    scene.write("a.txt", b"a")
    scene.write("x.tmp", b"a")
    watcher = scene.watcher()
    before = watcher.health()
    assert before.folders[0].scan_age_seconds is None
    watcher.run_once()
    (folder,) = watcher.health().folders
    assert folder.counts[State.ARCHIVED] == folder.counts[State.IGNORED] == 1
    assert sum(folder.counts.values()) == 2
    assert folder.scan_age_seconds is not None
    assert (folder.paused, folder.degraded, folder.oldest_waiting_seconds) == ("", "", 0)


def test_folders_within_each_other(scene: Scene) -> None:
    from archiver.errors import UsageError
    from archiver.watch.watcher import WatchedRoot, Watcher

    inner = scene.inbox / "inner"
    inner.mkdir()
    roots = [
        WatchedRoot(path=str(path), policy=QUICK, journal=scene.journal)
        for path in (inner, scene.inbox)
    ]
    with pytest.raises(UsageError, match="is watched as well"):
        Watcher(roots, scene.sink)


def test_a_thread_that_breaks_ends_the_whole(scene: Scene) -> None:
    import threading

    def broken(_units: object) -> list[object]:
        raise ZeroDivisionError

    scene.sink.prepare = broken  # type: ignore[method-assign, assignment]
    scene.write("a")
    with pytest.raises(ZeroDivisionError):
        scene.watcher().run(threading.Event())
    assert scene.state("a") is State.STABLE


def test_a_commit_that_never_began_is_begun_anew(scene: Scene) -> None:
    fails = [True]

    def broken() -> None:
        if fails:
            fails.clear()
            raise OSError(5, "Input/output error")

    scene.sink.before_commit = broken
    scene.write("a.txt", b"a")
    scene.write("d/b.txt", b"b")
    scene.once()
    scene.once()
    assert fails == []
    assert scene.journal.counts()[State.ARCHIVED] == 2
    scene.oracle({b"a.txt": b"a", b"d/b.txt": b"b"})
