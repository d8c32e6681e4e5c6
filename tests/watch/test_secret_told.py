"""What the watcher's journal and its logs tell of secret files: nothing, once they are gone."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.describe.description import MAX_DESCRIPTION_BYTES
from archiver.errors import StorageError, VaultError
from archiver.ingest import batch
from archiver.policy import WatchPolicy
from archiver.watch.journal import ENCRYPTED, Journal
from archiver.watch.logs import JsonLines, WatchLog
from archiver.watch.model import Sink, State
from archiver.watch.sinks import DirectorySink
from archiver.watch.watcher import WatchedRoot, Watcher
from tests.vault.looking import items
from tests.watch.house import House
from tests.watch.scene import QUICK, FastClock
from tests.watch.test_described import SECRET, put

PUBLIC = SECRET.replace(b"sealed", b"public")


# -- what the journal and the log tell


def test_no_log_names_what_is_or_may_be_secret() -> None:
    """Though names of files were asked for."""
    lines = io.StringIO()
    log = WatchLog(JsonLines(lines), names=True)
    log.file("archived", b"")
    log.file("quarantined", b"", "its description is confidential")
    log.file("archived", b"b.mp4")
    told = [json.loads(one) for one in lines.getvalue().splitlines()]
    assert [one.get("path") for one in told] == [None, None, "b.mp4"]


@pytest.mark.parametrize("killed", [False, True])
def test_the_journal_forgets_what_is_gone(
    house: House, inbox: Path, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(house.place / "state"))
    heard: list[tuple[str, bytes]] = []
    policy = replace(QUICK, originals="delete")

    def once() -> None:
        path = str(house.place / "journal")
        with Journal(path) as journal:
            root = WatchedRoot(path=str(inbox), policy=policy, journal=journal)
            tell = lambda event, path, _reason: heard.append((event, path))  # noqa: E731
            clock = FastClock()
            Watcher([root], house.sink(), hints=False, clock=clock, tell=tell).run_once()

    public = SECRET.replace(b"sealed", b"public")
    put(inbox, SECRET, "maria.mp4")
    put(inbox, public, "b.mp4")
    if killed:
        forget = Journal.forget_secret
        monkeypatch.setattr(Journal, "forget_secret", _killed)
        with pytest.raises(KeyboardInterrupt):
            once()
        assert b"maria" in journal_bytes(house)
        monkeypatch.setattr(Journal, "forget_secret", forget)
    once()
    assert os.listdir(inbox) == []
    told = journal_bytes(house)
    assert (b"maria" in told, b"b.mp4" in told) == (False, True)
    with Journal(str(house.place / "journal")) as journal:
        assert journal.sums_agree()
        assert journal.counts()[State.DISPOSED] == 4
    assert not any(b"maria" in path for _event, path in heard)
    assert (State.DISPOSED.value, b"b.mp4") in heard
    put(inbox, SECRET, "maria.mp4")  # it comes again: another item
    once()
    assert house.states().count("sealed") == 3


def _killed(journal: Journal) -> None:
    """Not at its beginning: once something has gone."""
    if journal.counts().get(State.DISPOSED):
        raise KeyboardInterrupt


def journal_bytes(house: House) -> bytes:
    return b"".join(one.read_bytes() for one in house.place.glob("journal*"))


# -- names, while the journal is in use


class Watched:
    """An inbox, its journal (open, and read by others), what was told."""

    def __init__(self, house: House, inbox: Path, *, policy: WatchPolicy = QUICK) -> None:
        self.house, self.inbox, self.policy = house, inbox, policy
        self.journal = Journal(str(house.place / "journal"))
        self.heard: list[tuple[str, bytes]] = []

    def once(self, sink: Sink | None = None) -> None:
        """One run, with the journal as it is."""
        root = WatchedRoot(path=str(self.inbox), policy=self.policy, journal=self.journal)
        told = lambda event, path, _reason: self.heard.append((event, path))  # noqa: E731
        sink = sink or self.house.sink()
        Watcher([root], sink, hints=False, clock=FastClock(), tell=told).run_once()

    def empty(self) -> None:
        """A person takes everything away."""
        for one in self.inbox.iterdir():
            one.unlink()

    def told(self, needle: bytes) -> bool:
        """Whether any file of the journal, or what was told, has it."""
        heard = any(needle in path for _event, path in self.heard)
        return needle in journal_bytes(self.house) or heard

    def states(self) -> dict[str, int]:
        assert self.journal.sums_agree()
        return {state.value: count for state, count in self.journal.counts().items() if count}


@contextmanager
def watched(house: House, inbox: Path, *, policy: WatchPolicy = QUICK) -> Iterator[Watched]:
    found = Watched(house, inbox, policy=policy)
    with found.journal:
        yield found


def test_a_person_takes_them_away(house: House, inbox: Path) -> None:
    with watched(house, inbox) as place:
        put(inbox, SECRET, "maria.mp4")
        put(inbox, PUBLIC, "b.mp4")
        place.once()
        assert place.told(b"maria")  # they lie there
        (inbox / "maria.mp4").unlink()
        place.once()
        assert place.told(b"maria")  # its description still does
        (inbox / "maria.mp4.toml").unlink()
        place.once()
        assert (place.told(b"maria"), place.told(b"b.mp4")) == (False, True)
        assert place.states() == {"archived": 4}
        place.empty()
        place.once()
        assert (place.told(b"maria"), place.told(b"b.mp4")) == (False, True)


def test_former_versions_are_forgotten_too(house: House, inbox: Path) -> None:
    with watched(house, inbox) as place:
        put(inbox, SECRET, "maria.mp4")
        place.once()
        (inbox / "maria.mp4").write_bytes(b"another cut of it")
        place.once()
        first, second = items(house.vault)
        assert [one.key for one in place.journal.history(b"maria.mp4")] == [ENCRYPTED] * 2
        assert {first.state, second.state} == {"sealed"}
        place.empty()
        place.once()
        assert not place.told(b"maria")
        assert place.states() == {"archived": 2, "superseded": 2}


def test_a_version_that_nobody_archived_is_forgotten_too(house: House, inbox: Path) -> None:
    with watched(house, inbox) as place:
        put(inbox, SECRET, "maria.mp4")
        place.once()
        (inbox / "maria.mp4").write_bytes(b"another cut of it")
        place.once(_Broken(house))
        assert place.states() == {"ingesting": 2, "superseded": 2}
        place.empty()
        place.once()
        assert not place.told(b"maria")
        assert place.states() == {"superseded": 2, "vanished": 2}


def _Broken(house: House) -> Sink:  # noqa: N802  # stands for a class
    """A vault whose log can't be written when the bag is there."""
    sink = house.sink()

    def commit(*_given: object) -> list[object]:
        raise StorageError("full")

    sink.commit = commit  # type: ignore[assignment,method-assign]
    return sink


@pytest.mark.parametrize("form", [SECRET + b"]", SECRET.replace(b"sealed", b"sealled")])
def test_what_waits_for_a_person_is_forgotten_when_it_has_gone(
    house: House, inbox: Path, form: bytes
) -> None:
    with watched(house, inbox) as place:
        put(inbox, form, "maria.mp4")
        place.once()
        assert place.states() == {"quarantined": 2}
        assert place.told(b"maria")
        place.empty()
        place.once()
        assert not place.told(b"maria")
        assert place.states() == {"vanished": 2}


def test_what_nobody_has_read_is_forgotten_when_it_has_gone(house: House, inbox: Path) -> None:
    """It went before it settled: its description may have said anything."""
    policy = replace(QUICK, quiet_seconds=60)
    with watched(house, inbox, policy=policy) as place:
        put(inbox, SECRET, "maria.mp4")
        (inbox / "b.mp4").write_bytes(b"nobody describes it")
        look(place)
        assert place.states() == {"seen": 3}
        place.empty()
        look(place)
        assert place.states() == {"vanished": 3}
        assert (place.told(b"maria"), place.told(b"b.mp4")) == (False, True)


def test_temporary_names_are_forgotten(house: House, inbox: Path) -> None:
    with watched(house, inbox) as place:
        (inbox / "maria.mp4.part").write_bytes(b"moving")
        place.once()
        assert place.told(b"maria")
        place.empty()
        place.once()
        assert not place.told(b"maria")


def look(place: Watched) -> None:
    """Only look, as a run does that is ended before anything has settled."""
    root = WatchedRoot(path=str(place.inbox), policy=place.policy, journal=place.journal)
    watcher = Watcher([root], place.house.sink(), hints=False, clock=FastClock())
    (folder,) = watcher._folders
    folder.begin()
    watcher._tick(folder)


def test_a_reader_only_puts_it_off(house: House, inbox: Path) -> None:
    """Who reads the journal just then keeps the log of what was written before."""
    with watched(house, inbox) as place:
        put(inbox, SECRET, "maria.mp4")
        place.once()
        with closing(sqlite3.connect(place.journal.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM files").fetchone()
            place.empty()
            place.once()
            assert place.states() == {"archived": 2}
            assert place.told(b"maria")
            reader.execute("ROLLBACK")
        place.once()
        assert not place.told(b"maria")


def test_it_comes_back_as_another_item(house: House, inbox: Path) -> None:
    with watched(house, inbox) as place:
        put(inbox, SECRET, "maria.mp4")
        place.once()
        place.empty()
        place.once()
        put(inbox, SECRET, "maria.mp4")
        place.once()
        assert house.states() == ["sealed", "sealed"]


def test_only_a_part_of_it_has_gone(house: House, inbox: Path) -> None:
    """A kill between a file and its description: what is left is still known, and goes."""
    policy = replace(QUICK, originals="delete")
    with watched(house, inbox, policy=policy) as place:
        put(inbox, SECRET, "maria.mp4")
        place.policy = QUICK
        place.once()
        (row,) = place.journal.history(b"maria.mp4")
        (inbox / "maria.mp4").unlink()
        place.journal.disposed(row, "the original was deleted")
        place.journal.forget_secret()
        assert place.told(b"maria")


def test_what_was_forgotten_meanwhile_waits_for_nothing(house: House, inbox: Path) -> None:
    """One thread has the rows in hand while the other sees that the files are gone."""
    with watched(house, inbox) as place:
        put(inbox, SECRET, "maria.mp4")
        place.once()
        rows = place.journal.in_state(State.ARCHIVED)
        place.empty()
        place.once()
        assert not place.told(b"maria")
        place.journal.waits(rows, 0.0, "not proved")
        place.journal.turn(rows, State.SEEN, due=0.0)
        place.journal.hide(rows)
        for state in (State.SEEN, State.ARCHIVED):
            assert place.journal.due(state, 1e9, 10) == []
        assert place.journal.next_due() is None
        place.once()
        assert not place.told(b"maria")
        assert place.states() == {"archived": 2}


# -- names, where nobody could read what is said


@pytest.mark.parametrize("kind", ["too long", "unreadable", "directory", "held", "link"])
@pytest.mark.parametrize("place", ["vault", "directory"])
def test_no_name_is_told_of_what_nobody_could_read(
    house: House, inbox: Path, kind: str, place: str
) -> None:
    sink: Sink = house.sink()
    if place == "directory":
        (house.place / "bags").mkdir()
        sink = DirectorySink(str(house.place / "bags"), house.options())
    (inbox / "maria.mp4").write_bytes(b"moving pictures")
    form = inbox / "maria.mp4.toml"
    if kind == "too long":
        form.write_bytes(SECRET + b"#" * MAX_DESCRIPTION_BYTES)
    elif kind == "directory":
        form.mkdir()
    elif kind == "link":
        form.symlink_to(house.place / "gone")
    else:
        form.write_bytes(SECRET + b"]" * (kind == "held"))
    with watched(house, inbox) as seen:
        if kind == "unreadable":
            _unreadable(seen, sink, form)
        else:
            seen.once(sink)
        assert seen.states()["quarantined"] >= 1
        assert seen.heard
        assert not any(b"maria" in path for _event, path in seen.heard)
    assert house.leaks() == []


def _unreadable(seen: Watched, sink: Sink, form: Path) -> None:
    """Root may read everything: so the system's own answer is put in its place."""
    from archiver.watch import settling

    opened = getattr(settling, "open_file")  # noqa: B009

    def refused(root: int, directory: bytes, name: bytes) -> object:
        if name == os.fsencode(form.name):
            raise PermissionError(13, os.strerror(13))
        return opened(root, directory, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settling, "open_file", refused)
        seen.once(sink)


def test_where_nothing_may_be_in_clear_no_name_is_told(house: House, inbox: Path) -> None:
    (inbox / "maria.mp4").write_bytes(b"moving pictures")
    with watched(house, inbox) as place:
        place.once(house.sink(payload="always"))
        assert place.heard == [("quarantined", b"")]


def test_an_ordinary_file_is_named(house: House, inbox: Path) -> None:
    """It is for who looks after the folder, who asked for names."""
    (inbox / "b.mp4").write_bytes(b"moving pictures")
    with watched(house, inbox) as place:
        _unreadable(place, house.sink(), inbox / "b.mp4")
        assert place.heard == [("quarantined", b"b.mp4")]


# -- a commit that fails, once


@pytest.mark.parametrize("error", [VaultError("another number"), StorageError("full")])
def test_the_bag_is_there_and_the_log_was_not_written(
    house: House, inbox: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What the watcher does by itself: one item, nothing made twice, nothing left."""
    end, failed = getattr(batch, "end"), list[object]()  # noqa: B009

    def once(vault: object, case: object, ends: object, options: object) -> None:
        if ends and not failed:
            failed.append(ends)
            raise error
        end(vault, case, ends, options)

    monkeypatch.setattr(batch, "end", once)
    policy = replace(QUICK, originals="delete")
    with watched(house, inbox, policy=policy) as place:
        put(inbox, SECRET, "maria.mp4")
        place.once()
        assert failed
        assert house.states() == ["begun"]
        assert place.states() == {"ingesting": 2}
        assert sorted(os.listdir(inbox)) == ["maria.mp4", "maria.mp4.toml"]
        place.once()
        (item,) = items(house.vault)
        assert (item.state, item.detail["description"]["kind"]) == ("sealed", "video")
        assert place.states() == {"disposed": 2}
        assert os.listdir(inbox) == []
        assert not place.told(b"maria")
    bag = house.vault.bag_path("c", item.item)
    assert house.opened(bag)[0] == {"maria.mp4": b"moving pictures"}
    assert list((house.place / "out").rglob(".archiver-statement-*")) == []
    assert house.leaks() == []


def test_what_became_secret_is_not_taken_for_the_open_item_before(
    house: House, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its description has other words, and the size and time of the old one: so the unit has the
    key of the item that is open, and a kill comes between.
    """
    with watched(house, inbox) as place:
        public = SECRET.replace(b"sealed", b"public")
        put(inbox, public, "maria.mp4")
        form = inbox / "maria.mp4.toml"
        before = form.stat()
        place.once()
        form.write_bytes(SECRET)
        assert len(SECRET) == len(public)
        os.utime(form, ns=(before.st_atime_ns, before.st_mtime_ns))
        place.once(_Broken(house))
        assert place.states() == {"ingesting": 2, "superseded": 2}
        place.once()
        place.once()
        assert [one.state for one in items(house.vault)] == ["sealed", "refused", "sealed"]
        (row, _old) = place.journal.history(b"maria.mp4")
        assert (row.key, row.item) == (ENCRYPTED, "c-E-0003")
    assert house.opened(house.vault.bag_path("c", "c-E-0003"))[1] == "Maria Quispe"


def test_the_bag_never_came(house: House, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number is withdrawn, its ciphertexts go, and it is made anew."""
    commit_bags, failed = getattr(batch, "commit_bags"), list[object]()  # noqa: B009

    def once(bags: object) -> object:
        if bags and not failed:
            failed.append(bags)
            raise StorageError("full")
        return commit_bags(bags)

    monkeypatch.setattr(batch, "commit_bags", once)
    with watched(house, inbox) as place:
        put(inbox, SECRET, "maria.mp4")
        place.once()
        assert house.states() == ["begun"]
        assert len(list((house.place / "out").rglob(".archiver-statement-*"))) == 1
        place.once()
        place.once()
        assert house.states() == ["refused", "sealed"]
        assert place.states() == {"archived": 2}
    assert list((house.place / "out").rglob(".archiver-statement-*")) == []
    assert house.leaks() == []


def test_the_bag_is_not_intact(house: House, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk lost a part before the log was written: the file becomes another item, what is
    there is left for people to look at.
    """
    with watched(house, inbox) as place:
        put(inbox, SECRET, "maria.mp4")
        with monkeypatch.context() as patch:
            patch.setattr(batch, "end", _no_end)
            place.once()
        (one,) = items(house.vault)
        broken = Path(house.vault.bag_path("c", one.item), "data/0001.age")
        broken.chmod(0o600)
        broken.write_bytes(broken.read_bytes()[:-1])
        place.once()
        place.once()
        assert house.states() == ["begun", "sealed"]
        assert place.states() == {"archived": 2}
    assert broken.exists()


def _no_end(_vault: object, _case: object, ends: object, _options: object) -> None:
    if ends:
        raise VaultError("not now")
