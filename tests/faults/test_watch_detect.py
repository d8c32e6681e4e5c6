"""The fault list of watched folders, entries 8 to 28, 30, 33 to 35: what is noticed, when,
and what the journal says of it. The numbers stand in the tests' names.

After each: every accepted (path, bytes) lies in exactly one whole bag, originals are intact,
staging is empty, the journal's sums agree (``Scene.oracle``).
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import LockedError
from archiver.watch.journal import Journal
from archiver.watch.model import State
from tests.faults.sticks import Stick
from tests.tracing import FEW_STOPS, STRACE
from tests.watch.scene import QUICK, Scene, until

ROOT = Path(__file__).parent.parent.parent
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="this fault needs root")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


class Child:
    """The watcher as a process; the test's own journal is closed while it runs."""

    def __init__(self, scene: Scene, *prefix: str, **options: Any) -> None:
        scene.journal.close()
        self.scene = scene
        self.log = scene.base / "stderr"
        command = [*prefix, sys.executable, "-m", "tests.faults.watch_child"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, str(scene.base), json.dumps(options)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.log.read_text()

    def archived(self) -> int:
        """As anybody may ask while it runs."""
        with Journal(str(self.scene.base / "state/journal.sqlite"), read_only=True) as journal:
            return journal.counts()[State.ARCHIVED]

    def wait_for(self, count: int, seconds: float = 60) -> None:
        def reached() -> bool:
            time.sleep(0.1)
            return self.archived() >= count

        until(reached, seconds)

    def end(self) -> dict[str, Any]:
        self.process.send_signal(signal.SIGTERM)
        out, _err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, self.log.read_text()
        self.scene.journal = Journal(str(self.scene.base / "state/journal.sqlite"))
        answer = json.loads(out)
        assert answer["sums_agree"]
        return answer  # type: ignore[no-any-return]


def flood(scene: Scene, count: int, per_directory: int = 0) -> dict[bytes, bytes]:
    """Many small files, flat or in new directories."""
    files = {}
    for number in range(count):
        name = f"{number // per_directory}/{number}" if per_directory else f"{number}"
        files[name.encode()] = str(number).encode()
        scene.write(name, files[name.encode()])
    return files


def test_08_stopped_while_files_arrive(scene: Scene, full: bool, tally: Counter[str]) -> None:
    """SIGSTOP: the kernel's queue of events overflows; one scan finds them all."""
    child = Child(scene)
    scene.write("first", b"first")
    child.wait_for(1)  # the kernel watches
    child.process.send_signal(signal.SIGSTOP)
    files = flood(scene, 100_000 if full else 12_000) | {b"first": b"first"}
    child.process.send_signal(signal.SIGCONT)
    child.wait_for(len(files), 1200)
    answer = child.end()
    scene.oracle(files)
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    assert answer["hints_lost"] > 0 or queue > 2 * len(files)
    tally.update({"files": len(files), "hints lost": answer["hints_lost"]})
    assert child.log.stat().st_size == 0


@pytest.mark.parametrize("hints", [True, False])
def test_09_many_files_in_one_directory(
    scene: Scene, full: bool, tally: Counter[str], hints: bool
) -> None:
    before = flood(scene, 50_000 if full else 1000)
    child = Child(scene, hints=hints, factor=10 if hints else 100)
    for number in range(50_000 if full else 1000):
        before[b"later %d" % number] = b"x"
        scene.write(f"later {number}", b"x")
    child.wait_for(len(before), 2400)
    answer = child.end()
    scene.oracle(before)
    assert answer["peak_kib"] < 300 * 1024
    tally.update({"files": len(before), "peak MiB": answer["peak_kib"] // 1024})


def test_10_many_new_directories(scene: Scene, full: bool, tally: Counter[str]) -> None:
    child = Child(scene)
    files = flood(scene, 20_000 if full else 1500, 10)
    child.wait_for(len(files), 600)
    child.end()
    scene.oracle(files)
    assert child.log.stat().st_size == 0  # 1 MB was the limit
    tally["files"] = len(files)


def test_11_too_few_watches(scene: Scene) -> None:
    """Five directories may be watched: the others are found by scans, and it is said."""
    for number in range(20):
        (scene.inbox / str(number)).mkdir()
    script = 'echo 5 > /proc/sys/user/max_inotify_watches; exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "sh", "-ec", script, "sh"]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces with limits of their own are not to be had")
    child = Child(scene, *prefix, factor=100)
    time.sleep(0.5)
    files = {f"{number}/f".encode(): b"x" for number in range(20)}
    for name in files:
        scene.write(name, b"x")
    child.wait_for(20)
    answer = child.end()
    scene.oracle(files)
    assert "directories can be watched (limit 5)" in answer["degraded"]


def test_12_a_slow_writer_that_holds_the_file_open(scene: Scene) -> None:
    with scene.running():
        with open(scene.inbox / "slow", "wb", buffering=0) as file:
            for _number in range(3):
                file.write(b"x" * 1000)
                time.sleep(0.5)  # five quiet periods
            assert scene.state("slow") is State.SEEN
            assert scene.bags() == Counter()
        scene.wait_for("slow", State.ARCHIVED)
    scene.oracle({b"slow": b"x" * 3000})
    assert sum(scene.bags().values()) == 1


def test_12_a_writer_of_another_user(scene: Scene) -> None:
    """Neither a lease nor a whole sweep: it is unproved, and the longer period counts."""
    if os.geteuid() != 0:
        pytest.skip("this fault needs root")
    scene.write("theirs", b"x")
    os.chown(scene.inbox / "theirs", 65533, 65533)
    for path in (scene.base, *scene.base.rglob("*")):
        if path.name != "theirs":
            os.chown(path, 65534, 65534)
    child = Child(scene, uid=65534, policy={"unproved_quiet_seconds": 20})
    time.sleep(1)
    assert child.archived() == 0  # quiet for ten periods, but not for twenty seconds
    child.wait_for(1)
    child.end()
    row = scene.journal.at(b"theirs")
    assert row is not None
    assert row.proof == "unproved"
    scene.oracle({b"theirs": b"x"})


def test_13_a_slow_writer_that_opens_it_again_and_again(scene: Scene) -> None:
    data = b""
    with scene.running():
        for number in range(20):
            data += b"%d" % number * 100
            with open(scene.inbox / "again", "ab") as file:
                file.write(b"%d" % number * 100)
            time.sleep(0.04)
        until(lambda: (b"again", data) in contents(scene))
    scene.oracle({b"again": data})


def contents(scene: Scene) -> set[tuple[bytes, bytes]]:
    """(path, bytes) of every file in a bag."""
    found = set()
    for manifest in scene.sink.base.glob("*/manifest.json"):
        if manifest.parent.parent == scene.sink.base:
            for number, path in enumerate(json.loads(manifest.read_bytes())["paths"]):
                data = (manifest.parent / "data" / str(number)).read_bytes()
                found.add((bytes.fromhex(path), data))
    return found


def test_14_written_through_a_mapping_after_it_was_closed(scene: Scene) -> None:
    scene.write("mapped", bytes(8192))
    with open(scene.inbox / "mapped", "r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)
    with scene.running():
        time.sleep(0.7)
        mapping[:4] = b"late"
        time.sleep(0.5)
        assert scene.state("mapped") is State.SEEN
        mapping.close()
        scene.wait_for("mapped", State.ARCHIVED)
    scene.oracle({b"mapped": b"late" + bytes(8188)})
    assert sum(scene.bags().values()) == 1


def test_15_appended_to_while_it_is_copied(scene: Scene) -> None:
    data = os.urandom(3 << 20)
    scene.write("growing", data)
    appended: list[bytes] = []

    def append(path: bytes) -> None:
        if not appended:
            with open(scene.inbox / "growing", "ab") as file:
                file.write(b"more")
            appended.append(path)

    scene.sink.while_copying = append
    with scene.running():
        until(lambda: (b"growing", data + b"more") in contents(scene))
        scene.wait_for("growing", State.ARCHIVED)
    scene.oracle({b"growing": data + b"more"})
    assert sum(scene.bags().values()) == 1


def test_16_replaced_while_it_is_copied_with_the_same_mtime(scene: Scene) -> None:
    old, new = os.urandom(2 << 20), os.urandom(2 << 20)
    path = scene.write("swapped", old)
    kept = os.stat(path)
    swapped: list[bytes] = []

    def swap(path_below: bytes) -> None:
        if not swapped:
            swapped.append(path_below)
            (scene.inbox / "new.tmp").write_bytes(new)
            os.utime(scene.inbox / "new.tmp", ns=(kept.st_atime_ns, kept.st_mtime_ns))
            os.rename(scene.inbox / "new.tmp", path)

    scene.sink.while_copying = swap
    with scene.running():
        until(lambda: (b"swapped", new) in contents(scene))
        scene.wait_for("swapped", State.ARCHIVED)
    scene.oracle({b"swapped": new})
    assert sum(scene.bags().values()) == 1


def test_17_temporary_names(scene: Scene) -> None:
    with scene.running():
        for end in ("part", "crdownload", "filepart", "tmp"):
            scene.write(f"a.{end}", end.encode())
        scene.write("~$letter.docx", b"lock")
        time.sleep(0.5)
        assert scene.journal.counts()[State.ARCHIVED] == 0
        for end in ("part", "crdownload", "filepart", "tmp"):
            os.rename(scene.inbox / f"a.{end}", scene.inbox / f"{end}.bin")
        for end in ("part", "crdownload", "filepart", "tmp"):
            scene.wait_for(f"{end}.bin", State.ARCHIVED)
    scene.oracle({f"{end}.bin".encode(): end.encode() for end in ("part", "tmp", "filepart")})
    assert sum(scene.bags().values()) == 4


def test_18_a_storm_of_renames(scene: Scene) -> None:
    scene.write("0", b"data")
    with scene.running():
        end = time.monotonic() + 1.0
        number = 0
        while time.monotonic() < end:
            os.rename(scene.inbox / str(number), scene.inbox / str(number + 1))
            number += 1
        scene.wait_for(str(number), State.ARCHIVED)
    scene.oracle({str(number).encode(): b"data"})
    assert sum(scene.bags().values()) == 1


def test_19_deleted_before_it_settled(scene: Scene) -> None:
    scene.policy = replace(QUICK, quiet_seconds=20)
    with scene.running():
        scene.write("short", b"x")
        scene.wait_for("short", State.SEEN)
        (scene.inbox / "short").unlink()
        scene.wait_for("short", State.VANISHED)
    scene.oracle({})
    assert scene.bags() == Counter()


def test_20_trees_moved_in_and_out(scene: Scene) -> None:
    outside = scene.base / "outside"
    (outside / "tree/deep").mkdir(parents=True)
    (outside / "tree/deep/f").write_bytes(b"f")
    (outside / "tree/g").write_bytes(b"g")
    with scene.running():
        time.sleep(0.3)
        os.rename(outside / "tree", scene.inbox / "tree")
        scene.wait_for("tree/deep/f", State.ARCHIVED)
        scene.wait_for("tree/g", State.ARCHIVED)
        os.rename(scene.inbox / "tree", outside / "gone")
        until(lambda: not getattr(scene.journal.at(b"tree/g"), "present", True))
    assert scene.journal.counts()[State.ARCHIVED] == 2  # archived stays archived
    scene.oracle({b"tree/deep/f": b"f", b"tree/g": b"g"}, intact=False)
    with scene.running():
        scene.write("tree/new", b"n")
        scene.wait_for("tree/new", State.ARCHIVED)


def test_21_the_root_is_replaced(scene: Scene) -> None:
    scene.write("a", b"a")
    scene.policy = replace(QUICK, quiet_seconds=5)
    with scene.running() as watcher:
        scene.wait_for("a", State.SEEN)
        os.rename(scene.inbox, scene.base / "away")
        until(lambda: "not there" in watcher.health().folders[0].paused)
        scene.inbox.mkdir()
        until(lambda: "another folder" in watcher.health().folders[0].paused)
        scene.write("b", b"b")
        time.sleep(1)
        assert scene.state("a") is State.SEEN  # not vanished
        assert scene.state("b") is None
        shutil.rmtree(scene.inbox)
        os.rename(scene.base / "away", scene.inbox)
        until(lambda: watcher.health().folders[0].paused == "")
        scene.wait_for("a", State.ARCHIVED)
        scene.write("c", b"c")
        scene.wait_for("c", State.ARCHIVED)
    scene.oracle({b"a": b"a", b"c": b"c"})


def test_21_a_new_root_is_accepted_by_hand(scene: Scene) -> None:
    scene.write("a", b"a")
    scene.once()
    os.rename(scene.inbox, scene.base / "away")
    scene.inbox.mkdir()
    shutil.copy2(scene.base / "away/a", scene.inbox / "a")
    scene.write("b", b"b")
    scene.once()
    assert scene.state("b") is None
    scene.journal.ask("accept")
    scene.once()
    scene.oracle({b"a": b"a", b"b": b"b"})
    assert sum(scene.bags().values()) == 2  # a is known, byte for byte


@needs_root
def test_21_the_share_is_unmounted(scene: Scene) -> None:
    share = scene.base / "share"
    share.mkdir()
    command = ["mount", "--bind", str(share), str(scene.inbox)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with scene.running() as watcher:
            scene.write("a", b"a")
            scene.wait_for("a", State.ARCHIVED)
            subprocess.run(["umount", "-l", str(scene.inbox)], check=True)
            until(lambda: watcher.health().folders[0].paused != "")
            assert getattr(scene.journal.at(b"a"), "present", False)
            subprocess.run(command, check=True)
            until(lambda: watcher.health().folders[0].paused == "")
            scene.write("b", b"b")
            scene.wait_for("b", State.ARCHIVED)
        scene.oracle({b"a": b"a", b"b": b"b"})
    finally:
        subprocess.run(["umount", "-l", str(scene.inbox)], check=False, capture_output=True)


@needs_root
def test_22_a_file_that_may_not_be_read_yet(scene: Scene) -> None:
    """The watcher runs as somebody for whom modes count."""
    scene.write("secret", b"s")
    (scene.inbox / "dir").mkdir()
    scene.write("dir/f", b"f")
    for path in (scene.base, *scene.base.rglob("*")):
        os.chown(path, 65534, 65534)
    (scene.inbox / "secret").chmod(0)
    (scene.inbox / "dir").chmod(0)
    child = Child(scene, uid=65534, factor=100)
    with Journal(str(scene.base / "state/journal.sqlite"), read_only=True) as journal:
        until(lambda: journal.counts()[State.QUARANTINED] == 1)
    (scene.inbox / "secret").chmod(0o644)
    (scene.inbox / "dir").chmod(0o755)
    child.wait_for(2)
    child.end()
    scene.oracle({b"secret": b"s", b"dir/f": b"f"})


def test_23_links_pipes_sockets_and_devices_are_never_opened(scene: Scene) -> None:
    scene.write("file", b"x")
    (scene.base / "elsewhere").mkdir()
    (scene.base / "elsewhere/evil").write_bytes(b"evil")
    os.symlink(scene.base / "elsewhere/evil", scene.inbox / "link")
    os.symlink(scene.base / "elsewhere", scene.inbox / "directory")
    os.symlink("loop", scene.inbox / "loop")
    os.symlink(scene.inbox, scene.inbox / "itself")
    os.mkfifo(scene.inbox / "pipe")
    with contextlib.chdir(scene.inbox), socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            os.mknod(scene.inbox / "device", 0o600 | 0o020000, os.makedev(1, 3))
    trace = scene.base / "trace"
    strace = [*STRACE, FEW_STOPS, "-e", "trace=open,openat,openat2", "-o", str(trace)]
    prefix = strace if shutil.which("strace") else []
    child = Child(scene, *prefix)
    child.wait_for(1)
    if prefix:
        (pid,) = (
            Path(f"/proc/{child.process.pid}/task/{child.process.pid}/children").read_text().split()
        )
        os.kill(int(pid), signal.SIGTERM)
        child.process.communicate(timeout=60)
        scene.journal = Journal(str(scene.base / "state/journal.sqlite"))
        opened = trace.read_text()
        assert '"file"' in opened
        for name in ("link", "loop", "itself", "pipe", "socket", "device", "evil"):
            assert f'"{name}"' not in opened
    else:
        child.end()
    assert [row.reason for row in scene.journal.history(b"pipe")] == ["named pipe"]
    assert scene.state("link") is State.IGNORED
    assert scene.state("directory/evil") is None
    scene.oracle({b"file": b"x"})


def test_24_all_the_names_that_there_are(scene: Scene) -> None:
    names = [
        b"new\nline",
        b"\xff\xfe not utf-8",
        b"n" * 255,
        "é".encode(),
        b"e\xcc\x81",
        b" ",
        b"-rf",
        b"a\\b",
        b"quo\"te's",
        b"\x01\x7f",
        b"dir\xff/\xfe",
        b"*?[a]",
    ]
    files = {name: b"%d" % number for number, name in enumerate(names)}
    with scene.running():
        for name, data in files.items():
            scene.write(name, data)
        for name in names:
            scene.wait_for(name, State.ARCHIVED)
    scene.oracle(files)
    assert sum(scene.bags().values()) == len(names)


def test_25_duplicates_and_hard_links_are_each_recorded(scene: Scene) -> None:
    scene.write("one", b"same")
    scene.write("two", b"same")
    os.link(scene.inbox / "one", scene.inbox / "three")
    scene.once()
    scene.oracle(dict.fromkeys((b"one", b"two", b"three"), b"same"))
    assert sum(scene.bags().values()) == 3


def test_26_times_that_mean_nothing(scene: Scene) -> None:
    times = {b"1970": 0, b"1969": -(10**9), b"2030": 1_900_000_000 * 10**9, b"2400": 135 * 10**17}
    for name, when in times.items():
        path = scene.write(name, name)
        with contextlib.suppress(OSError, OverflowError):
            os.utime(path, ns=(when, when))
    scene.once()
    scene.oracle({name: name for name in times})
    scene.once()
    assert sum(scene.bags().values()) == len(times)


@pytest.mark.skipif(
    shutil.which("faketime") is None and "ARCHIVER_CI" not in os.environ, reason="needs faketime"
)
def test_26_the_clock_is_set_while_it_runs(scene: Scene) -> None:
    """Months ahead and years back, for every call but stat and the monotonic clock."""
    asked = subprocess.run(
        ["faketime", "-f", "+0", "env"], capture_output=True, text=True, check=True
    )
    (preload,) = (one for one in asked.stdout.splitlines() if one.startswith("LD_PRELOAD="))
    clock = scene.base / "clock"
    how = (
        f"FAKETIME_TIMESTAMP_FILE={clock}",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    )
    prefix = ("env", preload, *how, "NO_FAKE_STAT=1")
    clock.write_text("+90d")
    program = [*prefix, sys.executable, "-c", "import time; print(time.time())"]
    told = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert float(told) > time.time() + 89 * 86_400  # it is really set
    clock.write_text("+0")
    child = Child(scene, *prefix)
    files = {}
    for number, offset in enumerate(("+0", "+90d", "-2000d", "+0")):
        replacement = clock.with_name("clock.new")
        replacement.write_text(offset)
        replacement.replace(clock)
        for name in (f"{number}-a", f"{number}-b"):
            files[name.encode()] = name.encode()
            scene.write(name, name.encode())
        child.wait_for(len(files), 30)
    child.end()
    scene.oracle(files)
    assert sum(scene.bags().values()) == len(files)


def test_27_an_inode_that_is_used_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On a disk: file systems in memory give out new numbers."""
    scene = Scene(Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp())))
    path = Path(os.fsdecode(scene.write("reused", b"old")))
    scene.once()
    before = path.stat()
    for _attempt in range(200):
        path.unlink()
        path.write_bytes(b"new")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        if path.stat().st_ino == before.st_ino:
            break
    else:
        scene.close()
        pytest.skip("this file system does not use inodes again")
    scene.once()
    scene.oracle({b"reused": b"new"})
    assert sum(scene.bags().values()) == 2
    scene.close()


@needs_root
@pytest.mark.parametrize("originals", ["keep", "delete"])
def test_27_a_stick_that_is_plugged_in_again(
    originals: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """exFAT: after a remount the same files have other inodes, and nobody made them anew."""
    base = tmp_path_factory.mktemp("stick")
    scene = Scene(base, replace(QUICK, originals=originals, share_quiet_seconds=1))
    try:
        stick = Stick(base / "stick.img", scene.inbox)
    except (OSError, subprocess.CalledProcessError) as error:
        scene.close()
        pytest.skip(f"exFAT needs mkfs.exfat, mount.exfat-fuse and a loop device: {error}")
    try:
        files = {f"{number}.bin".encode(): bytes([number]) * 5000 for number in range(20)}
        for name, data in files.items():
            scene.write(name, data)
        before = {name: (scene.inbox / name.decode()).stat().st_ino for name in files}
        if originals == "keep":
            scene.once()
        stick.pull_out()
        stick.plug_in()
        for name in sorted(files, reverse=True):  # looked up in another order: numbered anew
            (scene.inbox / name.decode()).stat()
        after = {name: (scene.inbox / name.decode()).stat().st_ino for name in files}
        scene.once()
        assert sum(scene.bags().values()) == len(files)
        assert before != after, "the inodes are the same: this shows nothing"
        scene.oracle(files, intact=originals == "keep")
        if originals == "delete":
            assert list(scene.inbox.iterdir()) == []
        stick.pull_out()  # what is below is another folder: nothing counts as deleted
        scene.once()
        assert scene.journal.counts()[State.ARCHIVED] == (len(files) if originals == "keep" else 0)
    finally:
        stick.remove()
        scene.close()


def test_28_changed_after_it_was_archived(scene: Scene, full: bool) -> None:
    with scene.running():
        for number in range(30 if full else 4):
            data = b"%d" % number * (number + 1)
            scene.write("f", data)
            until(lambda data=data: (b"f", data) in contents(scene))  # type: ignore[misc]
            scene.wait_for("f", State.ARCHIVED)
            scene.oracle({b"f": data})
    rows = scene.journal.history(b"f")
    assert [row.follows for row in rows[:-1]] == [row.item for row in rows[1:]]


def test_30_the_second_watcher_refuses_and_names_the_first(scene: Scene) -> None:
    child = Child(scene)
    with pytest.raises(LockedError, match=f"pid {child.process.pid}"):
        Journal(str(scene.base / "state/journal.sqlite"))
    child.process.kill()
    child.process.communicate()
    scene.journal = Journal(str(scene.base / "state/journal.sqlite"))  # a dead one holds nothing


@pytest.mark.parametrize("fault", ["lost", "empty", "garbage", "torn", "sums"])
@pytest.mark.parametrize("originals", ["keep", "delete"])
def test_33_a_journal_that_was_lost(scene: Scene, fault: str, originals: str) -> None:
    scene.policy = replace(QUICK, originals=originals, required_replicas=1)
    files = {f"d/{number}".encode(): b"%d" % number for number in range(50)}
    for name, data in files.items():
        scene.write(name, data)
    scene.once()
    scene.write("d/3", b"three, but longer")
    scene.once()
    kept = os.stat(scene.inbox / "d/4")
    scene.write("d/4", b"f")
    os.utime(scene.inbox / "d/4", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    scene.once()
    files |= {b"d/3": b"three, but longer", b"d/4": b"f"}
    bags = scene.bags()
    scene.journal.close()
    spoil(scene.base / "state/journal.sqlite", fault)
    scene.journal = Journal(str(scene.base / "state/journal.sqlite"))
    assert bool(scene.journal.set_aside) == (fault not in ("lost", "empty"))
    watcher = scene.watcher()
    watcher.run_once()
    assert scene.bags() == bags  # nothing is archived twice
    scene.oracle(files)  # and nothing was deleted
    assert scene.journal.counts()[State.ARCHIVED] == 50
    if scene.journal.set_aside:
        assert "set aside" in watcher.health().folders[0].degraded
    scene.write("d/5", b"fifth")
    scene.once()
    scene.oracle({**files, b"d/5": b"fifth"})


def spoil(journal: Path, fault: str) -> None:
    """What happens to journals."""
    if fault == "sums":
        import sqlite3

        with contextlib.closing(sqlite3.connect(journal)) as database, database:
            database.execute("UPDATE sums SET files = files + 1")
        return
    data = journal.read_bytes()
    for left in journal.parent.iterdir():
        left.unlink()
    if fault == "empty":
        journal.write_bytes(b"")
    elif fault == "garbage":
        journal.write_bytes(random.Random(33).randbytes(len(data)))
    elif fault == "torn":
        page = random.Random(33).randbytes(4096)
        journal.write_bytes(data[:8192] + page * ((len(data) - 8192) // 4096))


def test_34_a_bit_flips_in_the_bag_before_the_original_goes(scene: Scene) -> None:
    scene.policy = replace(QUICK, originals="delete")
    path = Path(os.fsdecode(scene.write("precious", b"bytes")))
    real = scene.sink.is_proved

    def flip(done: Any, replicas: int) -> bool:
        data = Path(done.bag) / "data/0"
        data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
        return real(done, replicas)

    scene.sink.is_proved = flip  # type: ignore[method-assign]
    scene.once()
    assert path.read_bytes() == b"bytes"
    assert scene.state("precious") is State.ARCHIVED
    assert "stays" in getattr(scene.journal.at(b"precious"), "reason", "")


def test_34_a_bit_flips_in_the_original_before_it_goes(scene: Scene) -> None:
    """On the disk below, so that no time tells of it: only the digest can."""
    scene.policy = replace(QUICK, originals="delete")
    path = Path(os.fsdecode(scene.write("precious", b"bytes")))
    real = scene.sink.is_proved

    def flip(done: Any, replicas: int) -> bool:
        proved = real(done, replicas)
        kept = path.stat()
        path.write_bytes(b"bytez")
        os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        with scene.journal.together():  # ctime can't be put back: what was journaled can
            scene.journal.refresh(row_of(scene, b"precious"), fingerprint(path))
        return proved

    scene.sink.is_proved = flip  # type: ignore[method-assign]
    scene.once()
    assert path.read_bytes() == b"bytez"
    scene.sink.is_proved = real  # type: ignore[method-assign]
    scene.once()
    assert not path.exists()
    assert contents(scene) == {(b"precious", b"bytes"), (b"precious", b"bytez")}


def row_of(scene: Scene, path: bytes) -> Any:
    row = scene.journal.at(path)
    assert row is not None
    return row


def fingerprint(path: Path) -> Any:
    from archiver.watch.scan import fingerprint_of

    return fingerprint_of(path.stat())


@needs_root
def test_34_a_move_to_another_file_system_is_no_move(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "none", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    scene = Scene(tmp_path, replace(QUICK, originals="move", move_to=str(place)))
    try:
        scene.write("a", b"a")
        scene.once()
        row = scene.journal.at(b"a")
        assert row is not None
        assert (row.state, row.reason) == (
            State.ARCHIVED,
            "move_to is on another file system: the original stays",
        )
        scene.oracle({b"a": b"a"})
    finally:
        scene.close()
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def test_35_a_member_that_comes_after_done(scene: Scene) -> None:
    scene.policy = replace(QUICK, group="folder", quiet_seconds=80, empty_quiet_seconds=80)
    with scene.running():
        scene.write("case/a", b"a")
        scene.write("case/b", b"b")
        time.sleep(0.3)
        assert scene.state("case/a") is State.SEEN
        scene.write("case/.done")
        scene.wait_for("case/a", State.ARCHIVED, 7)  # no quiet period, which would be 8 s
        scene.write("case/late", b"late")
        scene.wait_for("case/late", State.ARCHIVED, 60)
    rows = [row_of(scene, name) for name in (b"case/a", b"case/b", b"case/late")]
    assert len({row.bag for row in rows}) == 1
    assert rows[0].follows == scene.journal.history(b"case/a")[1].item
    assert sum(scene.bags().values()) == 5
    assert scene.journal.sums_agree()


@pytest.mark.parametrize("hints", [True, False])
def test_everything_works_with_hints_off(scene: Scene, hints: bool) -> None:
    threads = []
    files: dict[bytes, bytes] = {}

    def write(part: int) -> None:
        for number in range(30):
            name, data = b"%d/%d" % (part, number), os.urandom(50)
            scene.write(name, data)
            files[name] = data
            time.sleep(0.01)

    from tests.watch.scene import FastClock

    scene.clock = FastClock(10 if hints else 200)
    with scene.running(hints=hints):
        for part in range(4):
            threads.append(threading.Thread(target=write, args=(part,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        until(lambda: scene.journal.counts()[State.ARCHIVED] == 120)
    scene.oracle(files)
