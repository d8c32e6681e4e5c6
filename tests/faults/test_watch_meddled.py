"""Somebody meddles with a watched folder all the while: files come, change, are renamed, go.

Oracle, once the folder is empty and the watcher has looked: no row waits for a file that isn't
there, nothing is due, nothing secret is named, no item is left half; every sealed bag is whole, and
what is secret opens.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.fixity import Result, look_at
from archiver.vault.check import check_logs
from archiver.watch.journal import ENCRYPTED, Journal
from archiver.watch.model import State
from archiver.watch.watcher import WatchedRoot, Watcher
from tests.sealing import Office
from tests.vault.looking import items
from tests.watch.house import House
from tests.watch.scene import QUICK, FastClock, until
from tests.watch.test_described import SECRET

FACTOR = 10.0
GONE = {"archived", "superseded", "disposed", "vanished"}


class Meddler:
    """Whoever works in the folder; what was dropped into it as secret, by name."""

    def __init__(self, inbox: Path, seed: int) -> None:
        self.inbox, self.chance, self.number = inbox, random.Random(seed), 0

    def work(self, seconds: float, tally: Counter[str]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(FileNotFoundError):  # the watcher was faster
                tally[self._once()] += 1
            time.sleep(self.chance.uniform(0, 0.12))

    def _once(self) -> str:
        what, there = self.chance.random(), sorted(os.listdir(self.inbox))
        if what < 0.5 or not there:
            self.number += 1
            name = f"maria-{self.number}.mp4"
            form = SECRET if self.chance.random() < 0.8 else SECRET + b"]"
            (self.inbox / f"{name}.toml").write_bytes(form)
            (self.inbox / name).write_bytes(b"moving pictures %d" % self.number)
            return "dropped"
        one = self.inbox / self.chance.choice(there)
        if what < 0.8:
            one.unlink()
            return "removed"
        if what < 0.9 and one.suffix != ".toml":
            one.write_bytes(b"another cut %f" % what)
            return "changed"
        one.rename(self.inbox / f"renamed-{one.name}")
        return "renamed"

    def empty(self) -> None:
        for one in self.inbox.iterdir():
            with suppress(FileNotFoundError):
                one.unlink()


@contextmanager
def running(house: House, inbox: Path, originals: str) -> Iterator[Journal]:
    """A watcher with its threads and hints."""
    policy = replace(QUICK, originals=originals)
    with Journal(str(house.place / "journal")) as journal:
        root = WatchedRoot(path=str(inbox), policy=policy, journal=journal)
        watcher, stop = Watcher([root], house.sink(), clock=FastClock(FACTOR)), threading.Event()
        broken: list[BaseException] = []

        def run() -> None:
            try:
                watcher.run(stop)
            except BaseException as error:  # raised below
                broken.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield journal
        finally:
            stop.set()
            watcher.wake()
            thread.join()
        assert broken == []
        assert watcher.health().problem == ""


def states(journal: Journal) -> dict[str, int]:
    assert journal.sums_agree()
    return {state.value: count for state, count in journal.counts().items() if count}


def lying(journal: Journal) -> list[tuple[object, ...]]:
    """What the journal takes for being in the folder, or being archived."""
    return journal._read(
        "SELECT state, name, reason FROM files WHERE current = 1"
        " AND (present = 1 OR state IN ('seen', 'stable', 'ingesting', 'quarantined'))"
    )


@pytest.mark.parametrize("originals", ["delete", "keep"])
def test_whatever_is_done_to_the_folder(
    tmp_path: Path, office: Office, full: bool, tally: Counter[str], originals: str
) -> None:
    house, inbox = House(tmp_path, office), tmp_path / "inbox"
    inbox.mkdir()
    for seed in range(12 if full else 1):
        meddler = Meddler(inbox, seed)
        with running(house, inbox, originals) as journal:
            meddler.work(20.0 if full else 6.0, tally)
            time.sleep(0.5)
            meddler.empty()
            until(lambda journal=journal: not lying(journal), 60)  # type: ignore[misc]
            assert set(states(journal)) <= GONE
            assert journal.next_due() is None
        judge(house, originals)


def judge(house: House, originals: str) -> None:
    """The oracle."""
    with Journal(str(house.place / "journal")) as journal:
        journal.forget_secret()
        named = journal._read("SELECT key, state FROM files WHERE instr(name, x'6d61726961')")
        assert ENCRYPTED not in [key for key, _state in named]
        assert State.QUARANTINED.value not in [state for _key, state in named]
        if originals == "keep":
            assert State.DISPOSED.value not in states(journal)
    found = items(house.vault)
    for one in found:
        # A number stays begun for the same file, should it come back: of what is secret, none does.
        open_one = not one.key.startswith("statement:")
        assert one.state in ("sealed", "refused") or (one.state == "begun" and open_one)
        if one.state == "sealed":
            bag = house.vault.bag_path("c", one.item)
            assert look_at(bag, one)[0] is Result.GOOD
            if not open_one:
                ((name, data),) = house.opened(bag)[0].items()
                assert "maria" in name
                assert data.startswith((b"moving pictures", b"another cut"))
    assert check_logs(house.vault).problems == ()
    assert list((house.place / "out").rglob(".archiver-*")) == []
