"""The journal: one state a file, one process, whatever happens to the disk."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.errors import StorageError
from archiver.watch.journal import Journal, Row, Wait, from_text, journal_path, to_text
from archiver.watch.model import Fingerprint, State
from tests.faults.test_disks import tmpfs

PRINT = Fingerprint(device=1, inode=2**64 - 1, size_bytes=3, mtime_ns=-4, ctime_ns=2**64)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(str(tmp_path / "deep/er/j.sqlite")) as made:
        yield made


def add(journal: Journal, path: bytes, *, due: float = 1.0) -> Row:
    journal.add(path, path, PRINT, Wait(0.0, due))
    row = journal.at(path)
    assert row is not None
    return row


def test_what_is_written_is_read(journal: Journal) -> None:
    path = b"a\xff\n/b'\"\0x".replace(b"\0", b"")
    row = add(journal, path)
    assert (row.path, row.state, row.fingerprint, row.due) == (path, State.SEEN, PRINT, 1.0)
    assert from_text(to_text(PRINT)) == PRINT
    assert stat.S_IMODE(os.stat(journal.path).st_mode) == 0o600
    assert journal.at(b"b") is None


def test_every_state_is_counted_once(journal: Journal) -> None:
    for number, state in enumerate(State):
        journal.turn([add(journal, b"%d" % number)], state)
    assert set(journal.counts().values()) == {1}
    assert journal.sums_agree()
    for row in list(journal.pages(State.IGNORED)):
        journal.gone(row)
    assert journal.counts()[State.IGNORED] == 0
    assert journal.sums_agree()


def test_two_current_rows_for_a_path_cannot_be(journal: Journal) -> None:
    add(journal, b"a")
    with pytest.raises(StorageError):
        add(journal, b"a")
    assert journal.sums_agree()


def test_what_fails_halfway_did_not_happen(journal: Journal) -> None:

    def half() -> None:
        with journal.together():
            add(journal, b"a")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert journal.at(b"a") is None
    add(journal, b"b")
    assert journal.sums_agree()


def test_oldest_first_and_pages(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.watch.journal._PAGE", 3)
    for number in range(10):
        add(journal, b"d/%d" % number, due=10.0 - number)
    assert [row.path for row in journal.due(State.SEEN, 3.0, 2)] == [b"d/9", b"d/8"]
    assert journal.next_due() == 1.0
    assert journal.last_due() == 10.0
    assert [row[0] for row in journal.known(b"d/")] == [b"%d" % n for n in range(10)]
    assert len(list(journal.pages(State.SEEN))) == 10
    for number in range(7):
        add(journal, b"e%d/f" % number)
    wanted = [b"d/", *(b"e%d/" % n for n in range(7))]
    assert list(journal.directories()) == wanted
    assert list(journal.directories(b"e3/")) == [b"e3/"]


def test_clocks_of_other_processes_mean_nothing(journal: Journal) -> None:
    journal.turn([add(journal, b"stable")], State.STABLE)
    add(journal, b"seen", due=1e9)
    journal.begin_clock(7.0, 2.0)
    assert {row.path: row.due for row in journal.pages(State.SEEN)} == {
        b"stable": 7.0,
        b"seen": 7.0,
    }


def test_looking_and_asking_while_another_writes(journal: Journal) -> None:
    add(journal, b"a")
    with Journal(journal.path, read_only=True) as other:
        assert other.counts()[State.SEEN] == 1
        other.ask("retry", b"a")
        assert other.fact("nothing") == ""
    assert journal.asked() == [("retry", b"a")]
    assert journal.asked() == []
    with pytest.raises(StorageError):
        Journal(journal.path + ".absent", read_only=True)


def test_many_threads(journal: Journal) -> None:
    def work(part: int) -> None:
        for number in range(50):
            journal.turn([add(journal, b"%d/%d" % (part, number))], State.STABLE)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.counts()[State.STABLE] == 200
    assert journal.sums_agree()


def test_a_newer_release(tmp_path: Path) -> None:
    path = str(tmp_path / "j.sqlite")
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match="newer release"):
        Journal(path)
    assert not list(tmp_path.glob("*unreadable*"))


def test_its_name_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, two = journal_path("urn:v", "/srv/maria/case"), journal_path("urn:w", "/srv/maria/case")
    assert one != two
    assert one.startswith(str(tmp_path / "archiver/watch"))
    assert "maria" not in one
    monkeypatch.delenv("XDG_STATE_HOME")
    assert "/.local/state/archiver/watch/" in journal_path("v", "f")


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        Journal(str(tmp_path / "file/j.sqlite"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_no_space(tmp_path: Path) -> None:
    """What doesn't fit didn't happen; what was there is still there."""
    with tmpfs(tmp_path / "disk", "size=400k") as disk:
        journal = Journal(str(disk / "j.sqlite"))
        add(journal, b"first")

        def fill() -> None:
            for number in range(100_000):
                add(journal, b"%d" % number)

        with pytest.raises(StorageError):
            fill()
        count = journal.counts()[State.SEEN]
        assert journal.sums_agree()
        journal.close()
        subject = disk / "j.sqlite"
        assert subject.exists()
        os.truncate(f"{subject}.lock", 0)
    assert count > 1


@pytest.mark.parametrize("state", [State.SEEN, State.STABLE, State.QUARANTINED])
def test_what_has_gone_meanwhile_waits_for_nothing(journal: Journal, state: State) -> None:
    """One thread sees that it has gone while another has it in hand."""
    add(journal, b"a")
    row = journal.at(b"a")
    assert row is not None
    journal.gone(row)
    journal.turn([row], state, reason="it changed", due=1.0)
    found = journal.at(b"a")
    assert found is not None
    assert (found.state, found.present, found.due) == (State.VANISHED, False, None)
    assert journal.next_due() is None
    journal.changed(found, row.fingerprint, Wait(0.0, 5.0))  # it is back
    found = journal.at(b"a")
    assert found is not None
    assert (found.state, found.present, found.due) == (State.SEEN, True, 5.0)
    assert journal.sums_agree()
