"""The watcher with the sinks that it has in earnest: a vault, a directory of bags."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.policy import WatchPolicy
from archiver.watch.journal import Journal
from archiver.watch.model import State
from archiver.watch.watcher import WatchedRoot, Watcher
from tests.sealing import Office
from tests.watch.scene import QUICK, FastClock
from tests.watch.test_sinks import make_sink
from tests.watch.units import bags


class Whole:
    """Folder, journal and a real sink."""

    def __init__(self, kind: str, base: Path, office: Office) -> None:
        self.kind, self.base, self.office = kind, base, office
        self.inbox = base / "inbox"
        self.inbox.mkdir()
        self.policy: WatchPolicy = QUICK

    def once(self) -> dict[bytes, tuple[State, str, str]]:
        """Run it; (state, bag, digest) of each file."""
        with Journal(str(self.base / "state/journal.sqlite")) as journal:
            sink = make_sink(self.kind, self.base / "out", self.office)
            root = WatchedRoot(path=str(self.inbox), policy=self.policy, journal=journal)
            watcher = Watcher([root], sink, clock=FastClock(), hints=False)
            watcher.run_once()
            assert watcher.health().reasons() == []
            assert journal.sums_agree()
            rows = [row for state in State for row in journal.pages(state)]
        return {
            row.path: (row.state, row.bag, row.digest)
            for row in rows
            if row.state is not State.SUPERSEDED
        }

    def payloads(self) -> Counter[str]:
        """The digests of all files below data/ of all bags."""
        files = [
            path
            for bag in bags(self.base / "out")
            for path in (Path(bag) / "data").rglob("*")
            if path.is_file()
        ]
        return Counter(hashlib.sha512(path.read_bytes()).hexdigest() for path in files)


@pytest.fixture(params=["vault", "directory"])
def whole(request: pytest.FixtureRequest, tmp_path: Path, office: Office) -> Whole:
    return Whole(request.param, tmp_path, office)


def test_from_the_folder_into_bags_and_again_without_the_journal(whole: Whole) -> None:
    contents = {f"d/{number}.bin": os.urandom(number * 50) for number in range(1, 12)}
    for name, data in contents.items():
        (whole.inbox / name).parent.mkdir(exist_ok=True)
        (whole.inbox / name).write_bytes(data)
    (whole.inbox / "d/3.bin.toml").write_text('title = "three"\n')
    found = whole.once()
    wanted = Counter(hashlib.sha512(data).hexdigest() for data in contents.values())
    assert whole.payloads() == wanted
    assert {state for state, _bag, _digest in found.values()} == {State.ARCHIVED}
    assert found[b"d/3.bin"][1] == found[b"d/3.bin.toml"][1]
    for left in (whole.base / "state").iterdir():
        left.unlink()
    again = whole.once()
    assert whole.payloads() == wanted
    assert {path: bag for path, (_s, bag, _d) in again.items()} == {
        path: bag for path, (_s, bag, _d) in found.items()
    }


def test_versions_and_originals(whole: Whole) -> None:
    path = whole.inbox / "a.txt"
    path.write_bytes(b"one")
    first = whole.once()[b"a.txt"]
    kept = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    whole.policy = replace(QUICK, originals="delete")
    second = whole.once()[b"a.txt"]
    assert first[1] != second[1]
    assert second[0] is State.DISPOSED
    assert not path.exists()
    assert whole.payloads() == Counter(hashlib.sha512(it).hexdigest() for it in (b"one", b"two"))


def test_folders(whole: Whole) -> None:
    whole.policy = replace(QUICK, group="folder")
    for name in ("case/a", "case/deep/b", "case/.done"):
        (whole.inbox / name).parent.mkdir(exist_ok=True, parents=True)
        (whole.inbox / name).write_bytes(name.encode())
    found = whole.once()
    assert found[b"case/a"][1] == found[b"case/deep/b"][1] != ""
    assert found[b"case/.done"][0] is State.IGNORED
    assert sum(whole.payloads().values()) == 2
