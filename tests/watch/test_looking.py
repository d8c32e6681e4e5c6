"""Scans, proofs, hints, clocks: the parts by themselves."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.policy import WatchPolicy
from archiver.watch import scan
from archiver.watch.clock import Beats, Clock
from archiver.watch.hints import Hints, watch_limit
from archiver.watch.journal import Journal
from archiver.watch.model import Fingerprint, State
from archiver.watch.rules import Rules
from archiver.watch.scan import Identity, Scanner, identify, open_directory, same
from archiver.watch.settle import Proof, Writers, holds, lease, open_file, prove
from tests.watch.scene import until

LOCAL = Identity(kind="ext4", device=1, fsid=2, inode=3)


class Looker:
    """A scanner over a directory, with a clock that is set by hand."""

    def __init__(self, base: Path) -> None:
        self.inbox = base / "inbox"
        self.inbox.mkdir()
        self.journal = Journal(str(base / "j.sqlite"))
        self.now = 100.0
        self.scanner = self.with_identity(LOCAL)

    def with_identity(self, identity: Identity) -> Scanner:
        rules = Rules(WatchPolicy())
        return Scanner(self.journal, rules, identity, lambda: self.now)

    def look(self, directory: bytes | None = None) -> dict[bytes, State]:
        root = os.open(self.inbox, os.O_RDONLY)
        try:
            if directory is None:
                self.result = self.scanner.whole(root)
            else:
                self.result = self.scanner.directory(root, directory)
        finally:
            os.close(root)
        rows = [row for state in State for row in self.journal.pages(state)]
        return {row.path: row.state for row in rows if row.present}


@pytest.fixture
def looker(tmp_path: Path) -> Iterator[Looker]:
    made = Looker(tmp_path)
    yield made
    made.journal.close()


def test_a_second_look_writes_nothing(looker: Looker) -> None:
    for name in ("a", "b", "d/c", "d/e/f"):
        (looker.inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (looker.inbox / name).write_bytes(b"x")
    found = looker.look()
    assert set(found) == {b"a", b"b", b"d/c", b"d/e/f"}
    assert (looker.result.files, looker.result.directories, looker.result.changes) == (4, 3, 4)
    for thorough in (True, False):
        looker.scanner.thorough = thorough
        assert looker.look() == found
        assert looker.result.changes == 0
    (looker.inbox / "d/c").unlink()
    (looker.inbox / "a").unlink()
    (looker.inbox / "a").mkdir()
    (looker.inbox / "a/g").write_bytes(b"")
    assert set(looker.look(b"")) == {b"b", b"d/c", b"d/e/f"}
    assert set(looker.look(b"d/")) == {b"b", b"d/e/f"}
    assert set(looker.look()) == {b"b", b"d/e/f", b"a/g"}
    assert looker.journal.counts()[State.VANISHED] == 2


def test_a_directory_that_went(looker: Looker) -> None:
    (looker.inbox / "d").mkdir()
    (looker.inbox / "d/f").write_bytes(b"")
    (looker.inbox / "other").mkdir()
    (looker.inbox / "other/f").write_bytes(b"")
    looker.look()
    os.rename(looker.inbox / "d", looker.inbox / "e")
    assert set(looker.look(b"d/")) == {b"other/f"}
    assert set(looker.look()) == {b"e/f", b"other/f"}
    os.symlink("e", looker.inbox / "d")
    assert set(looker.look()) == {b"d", b"e/f", b"other/f"}
    assert looker.journal.at(b"d").state is State.IGNORED  # type: ignore[union-attr]


@pytest.mark.skipif(os.geteuid() != 0, reason="a directory that fails asks for root")
def test_what_cannot_be_read_is_not_gone(looker: Looker) -> None:
    (looker.inbox / "d/deep").mkdir(parents=True)
    (looker.inbox / "d/deep/f").write_bytes(b"")
    looker.look()
    root = os.open(looker.inbox, os.O_RDONLY)
    found: list[tuple[bool, bool]] = []

    def as_nobody() -> None:
        looker.result = looker.scanner.whole(root)

    os.chmod(looker.inbox / "d", 0)
    os.seteuid(65534)
    try:
        as_nobody()
    finally:
        os.seteuid(0)
        os.close(root)
    row = looker.journal.at(b"d/deep/f")
    assert row is not None
    found.append((row.present, looker.result.complete))
    assert found == [(True, False)]


@pytest.mark.parametrize("what", ["changed", "gone", "renewed"])
def test_a_look_that_was_a_moment_earlier_undoes_nothing(
    looker: Looker, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Between what it saw and what it writes the file began to be archived: were it taken for
    the changed one, that would never be archived.
    """
    path, journal = looker.inbox / "a.txt", looker.journal
    path.write_bytes(b"first")
    looker.look()
    row = journal.at(b"a.txt")
    assert row is not None
    journal.turn([row], State.STABLE)
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(b"second, and longer")
    write = scan._Pass._write

    def later(self: scan._Pass) -> None:
        if what == "renewed":
            journal.archived([row], item="i", bag="b", digests=["d"], seal="", key="k", due=None)
        else:
            journal.ingesting([row], key="k", item="i", bag="b", digests=["d"])
        write(self)

    with monkeypatch.context() as patch:
        patch.setattr(scan._Pass, "_write", later)
        looker.look()
    found = journal.at(b"a.txt")
    assert found is not None
    state = State.ARCHIVED if what == "renewed" else State.INGESTING
    assert (found.state, found.fingerprint, found.present) == (state, row.fingerprint, True)
    if what == "gone":
        return
    journal.archived([row], item="i", bag="b", digests=["d"], seal="", key="k", due=None)
    looker.look()  # as it is looked at again when that is over
    states = [one.state for one in journal.history(b"a.txt")]
    assert states == [State.SEEN, State.SUPERSEDED]


def test_quiet_periods(looker: Looker) -> None:
    share = replace(LOCAL, kind="nfs4")
    assert looker.scanner.quiet_seconds(1) == 5
    assert looker.scanner.quiet_seconds(0) == 30
    for kind in ("nfs4", "cifs", "fuse.sshfs", "exfat", "vfat"):
        assert looker.with_identity(replace(LOCAL, kind=kind)).quiet_seconds(1) == 30
    assert share.is_share
    assert not share.renumbers


def test_which_folder_it_is(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    found = identify(str(tmp_path), descriptor)
    os.close(descriptor)
    assert Identity.from_text(found.to_text()) == found
    assert found.is_same(found)
    assert LOCAL.is_same(replace(LOCAL, device=9))
    assert LOCAL.is_same(replace(LOCAL, fsid=9))
    assert not LOCAL.is_same(replace(LOCAL, device=9, fsid=9))
    assert not LOCAL.is_same(replace(LOCAL, inode=9))
    assert not LOCAL.is_same(replace(LOCAL, kind="xfs"))
    assert replace(LOCAL, kind="nfs4").is_same(replace(LOCAL, kind="nfs4", device=9, fsid=0))


def test_the_same_file() -> None:
    one = Fingerprint(device=1, inode=2, size_bytes=3, mtime_ns=4, ctime_ns=5)
    assert same(one, replace(one, device=9))
    for field in ("inode", "size_bytes", "mtime_ns", "ctime_ns"):
        other = replace(one, **{field: 9})
        assert not same(one, other)
        assert same(one, other, renumbers=True) == (field in ("inode", "ctime_ns"))


# Proofs


def test_a_lease_is_broken_and_the_process_lives(tmp_path: Path) -> None:
    """In a thread that has no handler: SIGIO would end the process."""
    (tmp_path / "f").write_bytes(b"x")
    root = os.open(tmp_path, os.O_RDONLY)
    descriptor, found = open_file(root, b"", b"f")
    seen: list[object] = []

    def hold() -> None:
        with lease(descriptor) as proof:
            seen.append((proof, holds(descriptor)))
            writer = subprocess.Popen(["sh", "-c", f"echo more >> {tmp_path}/f"])
            until(lambda: not holds(descriptor))
        assert writer.wait(10) == 0
        seen.append(prove(descriptor))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join(30)
    assert seen == [(Proof.LEASE, True), Proof.LEASE]
    assert found.size_bytes == 1
    os.close(descriptor)
    os.close(root)


def test_open_for_writing_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(5000))
    root = os.open(tmp_path, os.O_RDONLY)
    descriptor, found = open_file(root, b"", b"f")
    for program in (
        "f = open({!r}, 'r+b')",
        "import mmap; f = open({!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close()",
    ):
        code = program.format(str(tmp_path / "f")) + "; print('open', flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert prove(descriptor) is Proof.BUSY
            assert Writers().has(found)
            process.kill()
        assert prove(descriptor) is Proof.LEASE
        assert not Writers().has(found)
    os.close(descriptor)
    os.close(root)


def test_a_sweep_that_cannot_be_whole(tmp_path: Path) -> None:
    assert not Writers(str(tmp_path)).complete


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.symlink("pipe", tmp_path / "link")
    root = os.open(tmp_path, os.O_RDONLY)
    for name in (b"pipe", b"link", b"absent"):
        with pytest.raises(FileNotFoundError):
            open_file(root, b"", name)
    with pytest.raises(OSError):
        open_directory(root, b"link/")
    os.close(root)


def test_no_lease_where_the_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"")
    monkeypatch.delattr(fcntl, "F_SETLEASE")
    with open(tmp_path / "f", "rb") as file:
        assert prove(file.fileno()) is Proof.UNPROVED


# Hints


def test_hints_gather_directories(tmp_path: Path) -> None:
    woken = threading.Event()
    hints = Hints(str(tmp_path), woken.set)
    hints.start()
    try:
        (tmp_path / "d").mkdir()
        (tmp_path / "d/f").write_bytes(b"")
        gathered: dict[bytes, bool] = {}

        def is_there() -> bool:
            gathered.update({key: True for key, deep in hints.take()[0].items() if deep})
            return b"d/" in gathered

        until(is_there)
        assert woken.is_set()
        hints.judge(2)
        assert hints.problem == ""
        hints.judge(10**9)
        assert "found by scans only" in hints.problem
        hints.note(b"/somewhere/else", deep=False)
        assert hints.take()[0].get(b"else") is None
    finally:
        hints.close()
    assert watch_limit() > 0


def test_warnings_are_counted_and_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hints = Hints(str(tmp_path), lambda: None)
    hints.start()
    logging.getLogger("watchdog.observers.inotify_c").warning("queue overflowed")
    logging.getLogger("watchdog").debug("nothing of importance")
    assert hints.take() == ({}, True)
    assert hints.lost == 1
    hints.close()
    assert capfd.readouterr().err == ""


def test_a_root_that_is_deleted_is_dead(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    hints = Hints(str(tmp_path / "root"), lambda: None)
    hints.start()
    assert not hints.is_dead()
    (tmp_path / "root").rmdir()
    until(hints.is_dead)
    hints.close()
    assert not hints.runs
    hints.judge(5)


def test_no_hints_from_what_is_not_there(tmp_path: Path) -> None:
    hints = Hints(str(tmp_path / "absent"), lambda: None)
    hints.start()
    assert "found by scans only" in hints.problem
    assert not hints.runs
    hints.close()


def test_too_many_hints_are_a_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.watch.hints._MOST", 2)
    hints = Hints(str(tmp_path), lambda: None)
    for name in ("a", "b", "c"):
        hints.note(os.fsencode(tmp_path / name), deep=False)
    assert hints.take() == ({b"a/": False, b"b/": False}, True)


# Clocks


def test_beats() -> None:
    beats = Beats()
    assert beats.age("scanner") == 0
    beats.begin("scanner")
    time.sleep(0.05)
    assert beats.age("scanner") >= 0.05
    thread = threading.Thread(target=beats.beat)  # no part: it speaks for all
    thread.start()
    thread.join()
    assert beats.age("scanner") < 0.05
    beats.end()
    assert beats.age("scanner") == 0


def test_the_clock_waits() -> None:
    clock, event = Clock(), threading.Event()
    begun = clock.now()
    assert not clock.wait(event, 0.05)
    assert clock.now() - begun >= 0.05
    event.set()
    assert clock.wait(event, -1)
    assert clock.cpu() > 0
