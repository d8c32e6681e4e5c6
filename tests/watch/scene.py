"""A watched folder with a sink that makes plain, checkable bags, and the oracle.

``CopySink`` is a real sink, small: a bag is a directory with the files and a manifest; it
stages, syncs, renames without replacing, verifies what it finds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from archiver.filesystem import rename_no_replace, sync_tree
from archiver.policy import WatchPolicy
from archiver.watch.clock import Clock
from archiver.watch.journal import Journal
from archiver.watch.model import Done, Failed, Prepared, State, Unit
from archiver.watch.scan import fingerprint_of
from archiver.watch.settle import open_file
from archiver.watch.watcher import WatchedRoot, Watcher

QUICK = WatchPolicy(
    quiet_seconds=1, share_quiet_seconds=1, empty_quiet_seconds=1, unproved_quiet_seconds=1
)


class FastClock(Clock):
    """Real time, so many times as fast: quiet periods of seconds take moments."""

    def __init__(self, factor: float = 10.0) -> None:
        self._factor = factor

    def now(self) -> float:
        return time.monotonic() * self._factor

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(max(0.0, seconds) / self._factor)


class CopySink:
    """Bags in a directory."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.staging = base / ".staging"
        self.staging.mkdir(parents=True, exist_ok=True)
        self.trouble = ""
        self.replicas = 0
        self.while_copying: Callable[[bytes], None] = lambda _path: None
        self.before_commit: Callable[[], None] = lambda: None
        self.calls: Counter[str] = Counter()

    def problem(self) -> str:
        return self.trouble

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        self.calls["prepare"] += 1
        made = [self._stage(unit) for unit in units]
        sync_tree(str(self.staging))
        return made

    def _stage(self, unit: Unit) -> Prepared | Failed:
        staged = self.staging / unit.key
        shutil.rmtree(staged, ignore_errors=True)
        (staged / "data").mkdir(parents=True)
        digests = []
        root = os.open(unit.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for number, member in enumerate(unit.members):
                try:
                    directory, slash, name = member.path.rpartition(b"/")
                    descriptor, found = open_file(root, directory + slash, name)
                except PermissionError as error:
                    return Failed(unit=unit, kind="refused", reason=str(error.strerror))
                except OSError as error:
                    return Failed(unit=unit, kind="changed", reason=str(error.strerror))
                digest = hashlib.sha512()
                with open(descriptor, "rb", buffering=0) as source:
                    with open(staged / "data" / str(number), "wb") as target:
                        while data := source.read(1 << 20):
                            digest.update(data)
                            target.write(data)
                            self.while_copying(member.path)
                    after = fingerprint_of(os.fstat(source.fileno()))
                named = os.stat(member.path, dir_fd=root, follow_symlinks=False)
                if not member.fingerprint == found == after == fingerprint_of(named):
                    shutil.rmtree(staged)
                    return Failed(unit=unit, kind="changed", reason="changed while copied")
                digests.append(digest.hexdigest())
        finally:
            os.close(root)
        paths = [member.path.hex() for member in unit.members]
        manifest = {
            "paths": paths,
            "digests": digests,
            "description": unit.description.hex(),
            "follows": unit.follows,
        }
        (staged / "manifest.json").write_text(json.dumps(manifest))
        bag = self.base / unit.key
        return Prepared(
            unit=unit, item=unit.key, bag=str(bag), digests=tuple(digests), staged=str(staged)
        )

    def commit(self, prepared: Sequence[Prepared]) -> list[Done | Failed]:
        self.before_commit()
        done: list[Done | Failed] = []
        for one in prepared:
            try:
                rename_no_replace(one.staged, one.bag)
            except FileExistsError:
                shutil.rmtree(one.staged)
                done.append(Failed(unit=one.unit, kind="refused", reason="there is a bag already"))
                continue
            found = self.find(one.unit)
            assert found is not None
            done.append(found)
        return done

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        for one in prepared:
            shutil.rmtree(one.staged, ignore_errors=True)

    def find(self, unit: Unit) -> Done | None:
        self.calls["find"] += 1
        bag = self.base / unit.key
        if not bag.is_dir():
            return None
        digests = verified(bag)
        assert digests is not None, "half a bag"
        seal = hashlib.sha512((bag / "manifest.json").read_bytes()).hexdigest()
        return Done(
            unit=unit,
            item=unit.key,
            bag=str(bag),
            digests=tuple(digests),
            tag_manifest_sha512=seal,
        )

    def resume(self, *_noted: object) -> None:
        """Nothing is encrypted here."""

    def is_proved(self, done: Done, replicas: int) -> bool:
        return self.replicas >= replicas and verified(Path(done.bag)) is not None

    def sweep(self) -> None:
        for left in self.staging.iterdir():
            shutil.rmtree(left)


def verified(bag: Path) -> list[str] | None:
    """The digests of a bag that is whole."""
    manifest = json.loads((bag / "manifest.json").read_bytes())
    found = [
        hashlib.sha512((bag / "data" / str(number)).read_bytes()).hexdigest()
        for number in range(len(manifest["digests"]))
    ]
    return found if found == manifest["digests"] else None


class Scene:
    """One watched folder, ``inbox``, its journal and sink."""

    def __init__(self, base: Path, policy: WatchPolicy = QUICK) -> None:
        self.base = base
        self.inbox = base / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.policy = policy
        self.sink = CopySink(base / "bags")
        self.journal = Journal(str(base / "state/journal.sqlite"))
        self.clock: Clock = FastClock()
        self.told: list[tuple[str, bytes, str]] = []

    def close(self) -> None:
        self.journal.close()

    def reopen(self) -> None:
        """As another process would find it."""
        self.journal.close()
        self.journal = Journal(str(self.base / "state/journal.sqlite"))

    def watcher(self, *, hints: bool = False, root: Path | None = None) -> Watcher:
        watched = WatchedRoot(
            path=str(root or self.inbox), policy=self.policy, journal=self.journal
        )
        return Watcher(
            [watched],
            self.sink,
            hints=hints,
            clock=self.clock,
            tell=lambda *news: self.told.append(news),
        )

    def once(self) -> None:
        self.watcher().run_once()

    @contextmanager
    def running(self, *, hints: bool = True) -> Iterator[Watcher]:
        stop, watcher = threading.Event(), self.watcher(hints=hints)
        thread = threading.Thread(target=watcher.run, args=(stop,))
        thread.start()
        try:
            yield watcher
        finally:
            stop.set()
            watcher.wake()
            thread.join(60)
            assert not thread.is_alive()

    def write(self, name: str | bytes, data: bytes = b"data") -> bytes:
        path = os.path.join(os.fsencode(self.inbox), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def state(self, name: str | bytes) -> State | None:
        row = self.journal.at(os.fsencode(name))
        return row.state if row else None

    def wait_for(self, name: str | bytes, state: State, seconds: float = 20) -> None:
        until(lambda: self.state(name) is state, seconds)

    def bags(self) -> Counter[tuple[bytes, str]]:
        """How often each (path, digest) lies in a bag; every bag must be whole."""
        found: Counter[tuple[bytes, str]] = Counter()
        for bag in self.sink.base.iterdir():
            if bag.name != ".staging":
                assert verified(bag) is not None, f"half a bag: {bag}"
                manifest = json.loads((bag / "manifest.json").read_bytes())
                paths = map(bytes.fromhex, manifest["paths"])
                found.update(zip(paths, manifest["digests"], strict=True))
        return found

    def oracle(self, accepted: dict[bytes, bytes] | None = None, *, intact: bool = True) -> None:
        """What must hold after anything: every accepted (path, bytes) is in exactly one
        bag, originals are there, staging is empty, the journal's sums agree.
        """
        bags = self.bags()
        for path, data in (accepted or {}).items():
            key = (path, hashlib.sha512(data).hexdigest())
            assert bags[key] == 1, f"{path!r} is in {bags[key]} bags"
            if intact:
                full = os.path.join(os.fsencode(self.inbox), path)
                with open(full, "rb") as file:
                    assert file.read() == data
        assert list(self.sink.staging.iterdir()) == []
        assert self.journal.sums_agree()
        archived = [*self.journal.pages(State.ARCHIVED), *self.journal.pages(State.SUPERSEDED)]
        for row in archived:
            if row.digest:
                assert bags[(row.path, row.digest)] >= 1, f"{row.path!r} is in no bag"


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
