"""Kills and errors in a vault: no sealed bag lost or half there, the logs unbroken, the
catalog right, or made right by the next command.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from archiver.audit import AuditOptions, audit, open_incidents
from archiver.catalog import Item
from archiver.custody import Event
from archiver.errors import StorageError
from archiver.fixity import Result, look_at
from archiver.replicate import add_replica, sync
from archiver.vault import Vault, create_vault, open_vault
from archiver.vault.check import check_logs
from archiver.vault.rebuild import check_catalog
from tests.bag.making import ENVIRONMENT, ROOT
from tests.faults.test_disks import tmpfs
from tests.faults.test_seal import CALLS
from tests.sealing import NOW, Office, check, make_source, tree, write_key
from tests.tracing import STRACE, chosen, fault, needs_strace, recording, touching
from tests.vault.looking import append, items, links


class Scene:
    def __init__(self, base: Path, office: Office, tally: Counter[str]) -> None:
        self.base, self.tally, self.office = base, tally, office
        self.key, _certificate = write_key(office.ben, base / "keys", "ben")
        self.source = make_source(base / "source")
        self.number = 0

    def vault(self) -> Vault:
        self.number += 1
        place = self.base / f"vault-{self.number}"
        return create_vault(str(place), identifier="urn:x", policy="default")

    def command(self, vault: Vault) -> list[str]:
        program = [sys.executable, "-m", "tests.faults.vault_child"]
        return [*program, vault.path, str(self.source), str(self.key)]

    def run(self, vault: Vault, *strace: str) -> subprocess.CompletedProcess[bytes]:
        prefix = [*STRACE, *strace] if strace else []
        return subprocess.run(
            [*prefix, *self.command(vault)],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def judge(self, vault: Vault, what: str) -> None:
        """After any fault: what is there is whole; one more run ends with exactly one item."""
        for item in items(vault):  # the log is unbroken
            bag = Path(vault.bag_path("c", item.item))
            if bag.exists():
                assert check(bag, self.office.anchors()).exit_code == 0, what
        done = self.run(vault)
        already = b"already" in done.stderr
        assert done.returncode == 0 or already, (what, done.stderr)
        assert [one.state for one in items(vault)] == ["sealed"], what
        report = check_logs(vault)
        assert report.problems == (), (what, report.problems)
        (bag,) = (Path(vault.path) / "bags/c").glob("c-E-*")
        assert check(bag, self.office.anchors()).exit_code == 0, what
        self.tally["whole"] += 1
        subprocess.run(["rm", "-rf", vault.path], check=True)


@pytest.fixture
def scene(tmp_path: Path, office: Office, tally: Counter[str]) -> Scene:
    return Scene(tmp_path, office, tally)


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", [*CALLS, "pwrite64", "ftruncate"])
def test_each_system_call(scene: Scene, call: str, how: str, full: bool) -> None:
    probe = scene.vault()
    log = scene.base / "log"
    done = scene.run(probe, *recording(call, log))
    assert done.returncode == 0, done.stderr
    for number in chosen(touching(log, call, probe.path), how, full):
        vault = scene.vault()
        scene.run(vault, *fault(call, how, number))
        scene.tally["kills" if "KILL" in how else "injected errors"] += 1
        scene.judge(vault, f"{how} at {call} {number}")


@needs_strace
@pytest.mark.parametrize("call", ["pwrite64", "fsync", "openat"])
def test_kills_while_auditing(scene: Scene, call: str, full: bool) -> None:
    """A check is written down whole or not at all; the next audit goes on."""
    vault = scene.vault()
    assert scene.run(vault).returncode == 0
    command = [sys.executable, "-m", "archiver", "audit", "--all", "--vault", vault.path]
    for number in range(1, 40 if full else 4):
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        strace = [*STRACE, "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        path = ["-P", vault.log_path("c")]
        subprocess.run(
            [*strace, *path, *command], env=ENVIRONMENT, cwd=ROOT, capture_output=True, check=False
        )
        scene.tally["kills"] += 1
        assert {one.state for one in items(vault)} == {"sealed"}
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert check_logs(vault).problems == ()


@pytest.fixture(scope="module")
def no_tsa() -> Iterator[str]:
    """The address of a server that refuses at once: where nobody listens is asked thrice."""

    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", ["openat", "write", "fchmod", "fsync", "renameat2", "pwrite64"])
def test_keeping_a_checkpoint(scene: Scene, no_tsa: str, call: str, how: str, full: bool) -> None:
    """It is there and signed, or not at all; the next run has it stamped, or waiting."""
    origin = scene.vault()
    assert scene.run(origin).returncode == 0
    anchors = scene.office.anchors()

    def strace(vault: Vault, *options: str) -> int:
        command = ["archiver", "events", "checkpoint", "--key", str(scene.key)]
        command += ["--tsa", no_tsa, "--vault", vault.path]
        return subprocess.run(
            [*STRACE, *options, sys.executable, "-m", *command],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            check=False,
        ).returncode

    probe, log = copy_of(origin, scene.base / "probe"), scene.base / "log"
    assert strace(probe, *recording(call, log)) == 4
    numbers = touching(log, call, f"{probe.path}/custody")
    assert numbers, f"{call} is not used: nothing was tested"
    for number in chosen(numbers, how, full):
        vault = copy_of(origin, scene.base / f"checkpoint-{number}")
        strace(vault, *fault(call, how, number))
        scene.tally["kills" if "KILL" in how else "injected errors"] += 1
        torn = [one.problem for one in check_logs(vault, (), anchors).problems]
        assert all("torn by a crash" in one for one in torn), (call, number)
        assert strace(vault, "-o", "/dev/null", "-e", f"trace={call}") == 4
        report = check_logs(vault, (), anchors)
        assert report.problems == (), (call, number)
        assert all((one.trusted, one.waiting) == (1, 1) for one in report.checkpoints)
        scene.tally["whole"] += 1


def copy_of(vault: Vault, place: Path) -> Vault:
    subprocess.run(["cp", "-a", vault.path, place], check=True)
    return open_vault(str(place))


class Replicated:
    """A vault with one item and a place for its replica, put back before each try."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.vault = scene, scene.vault()
        assert scene.run(self.vault).returncode == 0
        self.second = scene.base / "second"
        assert self.archiver("replica", "add", "second", str(self.second)).returncode == 0
        self.bag = Path(self.vault.bag_path("c", "c-E-0001"))
        self.copy = self.second / "bags/c/c-E-0001"

    def archiver(self, *words: str, strace: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        prefix = [*STRACE, *strace] if strace else []
        return subprocess.run(
            [*prefix, sys.executable, "-m", "archiver", *words, "--vault", self.vault.path],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def keep(self) -> None:
        """What is there now is where each try begins."""
        for one in (Path(self.vault.path), self.second):
            subprocess.run(["cp", "-a", one, f"{one}.kept"], check=True)

    def again(self) -> None:
        for one in (Path(self.vault.path), self.second):
            subprocess.run(["rm", "-rf", one], check=True)
            subprocess.run(["cp", "-a", f"{one}.kept", one], check=True)

    def faults(self, call: str, how: str, *words: str, full: bool) -> Iterator[str]:
        """Run ``words`` with a fault at each chosen ``call`` that touches either place."""
        self.keep()
        log = self.scene.base / "log"
        done = self.archiver(*words, strace=recording(call, log))
        assert done.returncode == 0, done.stderr
        numbers = touching(log, call, self.vault.path, self.second, creating=False)
        # On kernels before 5.8 syncfs(2) tells no errors, and is not used.
        assert numbers or call == "syncfs", f"{call} is not used: nothing was tested"
        for number in chosen(numbers, how, full):
            self.again()
            self.archiver(*words, strace=fault(call, how, number))
            self.scene.tally["kills" if "KILL" in how else "injected errors"] += 1
            yield f"{how} at {call} {number}"
            self.scene.tally["whole"] += 1

    def is_sound(self, what: str) -> None:
        done = self.archiver("audit", "--all")
        assert (done.returncode, done.stdout.count(": good")) == (0, 2), (what, done)
        assert check_logs(self.vault).problems == (), what


REPLICA_CALLS = (
    "mkdir",
    "openat",
    "sendfile",
    "chmod",
    "fsync",
    "syncfs",
    "renameat2",
    "pwrite64",
)


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", REPLICA_CALLS)
def test_faults_while_copying(scene: Scene, call: str, how: str, full: bool) -> None:
    """A copy that appears is whole; the next sync ends with one good copy."""
    place = Replicated(scene)
    before = tree(place.bag, signatures=True)
    for what in place.faults(call, how, "replica", "sync", full=full):
        assert tree(place.bag, signatures=True) == before, what
        if place.copy.exists():
            assert tree(place.copy, signatures=True) == before, what
        done = place.archiver("replica", "sync")
        assert done.returncode == 0, (what, done.stderr)
        assert tree(place.copy, signatures=True) == before, what
        place.is_sound(what)


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=EIO"])
@pytest.mark.parametrize("call", REPLICA_CALLS)
def test_faults_while_repairing(scene: Scene, call: str, how: str, full: bool) -> None:
    """The good copy stays, the damaged one is kept somewhere, the next repair goes on."""
    place = Replicated(scene)
    assert place.archiver("replica", "sync").returncode == 0
    before = tree(place.bag, signatures=True)
    name = next(one for one in before if one.startswith("data/"))
    subprocess.run(["chmod", "-R", "u+w", place.bag], check=True)
    (place.bag / name).write_bytes(b"damaged")
    damaged = tree(place.bag, signatures=True)
    for what in place.faults(call, how, "repair", "c-E-0001", "--yes", full=full):
        assert tree(place.copy, signatures=True) == before, what
        aside = list(Path(place.vault.path).glob("set-aside/c/*"))
        found = [tree(one, signatures=True) for one in (place.bag, *aside) if one.exists()]
        assert damaged in found, what
        done = place.archiver("repair", "c-E-0001", "--yes")
        assert done.returncode == 0, (what, done.stderr)
        assert tree(place.bag, signatures=True) == before, what
        (kept,) = Path(place.vault.path).glob("set-aside/c/*")
        assert tree(kept, signatures=True) == damaged, what
        place.is_sound(what)


def test_kills_at_random_instants(scene: Scene, full: bool) -> None:
    begun = time.monotonic()
    probe = scene.vault()
    assert scene.run(probe).returncode == 0
    seconds = time.monotonic() - begun
    chance = random.Random(42)
    for number in range(200 if full else 12):
        vault = scene.vault()
        with subprocess.Popen(
            scene.command(vault),
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(seconds * (0.4 + 0.6 * chance.random()))
            process.kill()
            process.wait()
        scene.tally["kills"] += 1
        scene.judge(vault, f"kill {number}")


def prepare_sync(place: Replicated) -> tuple[str, ...]:
    """Three bags to copy."""
    for number in (2, 3):
        source = make_source(place.scene.base / f"source-{number}", {"n": bytes([number]) * 9000})
        done = place.archiver("ingest", str(source), "--case", "c", "--unsigned")
        assert done.returncode == 0, done.stderr
    return ("replica", "sync")


def prepare_audit(place: Replicated) -> tuple[str, ...]:
    """Six copies to read."""
    assert place.archiver(*prepare_sync(place)).returncode == 0
    return ("audit", "--all")


def prepare_repair(place: Replicated) -> tuple[str, ...]:
    """Two broken copies, in different places."""
    assert place.archiver(*prepare_sync(place)).returncode == 0
    subprocess.run(["chmod", "-R", "u+w", place.bag, place.second], check=True)
    name = next(one for one in tree(place.bag, signatures=True) if one.startswith("data/"))
    (place.bag / name).write_bytes(b"damaged")
    (place.second / "bags/c/c-E-0002/data/n").unlink()
    return ("audit", "--all", "--repair", "--quiet")


def prepare_rebuild(place: Replicated) -> tuple[str, ...]:
    """A log of some hundred events."""
    assert place.archiver(*prepare_sync(place)).returncode == 0
    check = {"item": "c-E-0001", "result": "good"}
    for _turn in range(30):
        append(place.vault, "c", *[Event(type="fixity check", at=NOW, detail=check)] * 10)
    return ("catalog", "rebuild")


PREPARE: dict[str, Callable[[Replicated], tuple[str, ...]]] = {
    "sync": prepare_sync,
    "audit": prepare_audit,
    "repair": prepare_repair,
    "rebuild": prepare_rebuild,
}


@pytest.mark.parametrize("work", sorted(PREPARE))
def test_kills_at_random_instants_of(work: str, scene: Scene, full: bool) -> None:
    """The oracle: every bag that was good somewhere is good there still, or again after one
    more run; the log is what it was, and perhaps more; the catalog is what the log says.
    """
    place = Replicated(scene)
    words = PREPARE[work](place)
    bags = {one.name: tree(one, signatures=True) for one in good_bags(place)}
    log = Path(place.vault.log_path("c")).read_bytes()
    place.keep()
    begun = time.monotonic()
    place.archiver(*words)
    seconds = time.monotonic() - begun
    chance = random.Random(43)
    for number in range(200 if full else 12):
        place.again()
        kill_after(place, words, seconds * (0.3 + 0.7 * chance.random()))
        scene.tally["kills"] += 1
        what = f"kill {number} of {work}"
        assert Path(place.vault.log_path("c")).read_bytes().startswith(log), what
        for one in place.second.glob("bags/c/*"):
            assert one.name in bags, what
            if work == "sync":  # a copy that appears is whole
                assert tree(one, signatures=True) == bags[one.name], what
        done = place.archiver(*words)
        assert done.returncode == 0, (what, done.stderr)
        copied = list(sync(place.vault, place.vault.replicas(), lambda: NOW))
        assert [one.problem for one in copied if one.problem] == [], what
        for one in (*place.second.glob("bags/c/*"), *Path(place.vault.path).glob("bags/c/*")):
            assert tree(one, signatures=True) == bags[one.name], what
        checked = [one.result for one in audit(place.vault, AuditOptions(), lambda: NOW)]
        assert checked == [Result.GOOD] * 2 * len(bags), what
        assert open_incidents(place.vault) == [], what
        assert check_logs(place.vault).problems == (), what
        assert check_catalog(place.vault).is_right, what
        scene.tally["whole"] += 1


def good_bags(place: Replicated) -> list[Path]:
    """One good copy of each item, wherever it is."""
    found = {one.item: one for one in items(place.vault)}
    places = (Path(place.vault.path), place.second)
    return [
        next(
            path
            for path in (root / "bags/c" / name for root in places)
            if path.is_dir() and look_at(str(path), item)[0] is Result.GOOD
        )
        for name, item in found.items()
    ]


def kill_after(place: Replicated, words: Sequence[str], seconds: float) -> None:
    command = [sys.executable, "-m", "archiver", *words, "--vault", place.vault.path]
    with subprocess.Popen(
        command, env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(seconds)
        process.kill()
        process.wait()


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", ["openat", "pwrite64", "fsync", "unlink", "rename"])
def test_faults_while_rebuilding(scene: Scene, call: str, how: str, full: bool) -> None:
    """The old catalog, none, or the new one: the next command answers the same."""
    place = Replicated(scene)
    words = prepare_rebuild(place)
    before = place.archiver("list", "--json").stdout
    for what in place.faults(call, how, *words, full=full):
        listed = place.archiver("list", "--json")
        assert (listed.returncode, listed.stdout) == (0, before), (what, listed.stderr)
        assert place.archiver("catalog", "check").returncode == 0, what
        assert place.archiver(*words).returncode == 0, what
        assert sorted(one.name for one in Path(place.vault.path).glob("catalog*")) == [
            "catalog.sqlite"
        ], what


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_vault_that_fills_up(scene: Scene, full: bool) -> None:
    """On a small disk, at every size: what was sealed stays, the log is unbroken, what could
    not be done is done once there is room.
    """
    for kib in range(100, 900, 20 if full else 160):
        with tmpfs(scene.base / f"small-{kib}", f"size={kib}k") as small:
            vault = create_vault(str(small / "vault"), identifier="urn:x", policy="default")
            codes = [scene.run(vault).returncode for _turn in range(2)]
            scene.tally["refused"] += codes[0] != 0
            for item in items_or_none(vault):
                if item.state == "sealed":
                    bag = Path(vault.bag_path("c", item.item))
                    assert check(bag, scene.office.anchors()).exit_code == 0, kib
            grow(small)
            scene.judge(vault, f"{kib} KiB")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_no_room_under_the_log_and_the_catalog(scene: Scene) -> None:
    """Bags lie on a disk with room, log and catalog on one that fills up, event by event."""
    vault = scene.vault()
    assert scene.run(vault).returncode == 0
    with tmpfs(scene.base / "small", "size=320k") as small:
        for name in ("custody", "catalog.sqlite"):
            shutil.move(Path(vault.path) / name, small / name)
        (Path(vault.path) / "custody").symlink_to(small / "custody")
        own = replace(vault, catalog=str(small / "catalog.sqlite"))
        check_event = Event(
            type="fixity check", at=NOW, detail={"item": "c-E-0001", "result": "good"}
        )
        done = 4000
        with contextlib.suppress(StorageError):
            for done in range(4000):  # noqa: B007  # how many went through
                append(own, "c", check_event)
        known = len(links(own, "c"))
        assert 10 < done < 3999
        assert known in (done + 2, done + 3)  # the log has it, the catalog had no room
        grow(small)
        append(own, "c", check_event)
        assert len(links(own, "c")) == known + 1
        assert check_catalog(own).is_right
        assert check_logs(own).problems == ()


def items_or_none(vault: Vault) -> list[Item]:
    """What is known, where there is room to say so."""
    try:
        return items(vault)
    except StorageError:
        return []


def grow(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("how", ["unmounted", "read-only"])
def test_a_replica_that_goes_away_meanwhile(how: str, scene: Scene) -> None:
    """Pulled out, or read-only from one moment to the next: told, nothing half there, and
    gone on with when it is back.
    """
    vault = scene.vault()
    for number in range(4):
        source = make_source(scene.base / f"s{number}", {"n": bytes([number]) * 40_000})
        done = subprocess.run(
            [sys.executable, "-m", "archiver", "ingest", source, "--case", "c", "--unsigned",
             "--vault", vault.path],
            env=ENVIRONMENT, cwd=ROOT, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    with tmpfs(scene.base / "disk", "size=32m") as disk:
        add_replica(vault, "second", str(disk / "r"), 10.0)
        copied = []
        for one in sync(vault, vault.replicas(), lambda: NOW):
            copied.append(one)
            if len(copied) == 1:
                remount(disk, "ro" if how == "read-only" else "")
        assert [bool(one.problem) for one in copied[:4]] == [False, True, True, True]
        (place,) = vault.replicas()
        assert bool(place.reachable()) == (how == "unmounted")
        if how == "read-only":
            remount(disk, "rw")
            assert [one.problem for one in sync(vault, [place], lambda: NOW)] == [""] * 3
            results = [one.result for one in audit(vault, AuditOptions(), lambda: NOW)]
            assert results == [Result.GOOD] * 8
    found = list(audit(vault, AuditOptions(), lambda: NOW))
    assert {one.replica for one in found} == {""}  # the other is unreachable, not damaged
    assert open_incidents(vault) == []


def remount(place: Path, mode: str) -> None:
    if mode:
        subprocess.run(["mount", "-o", f"remount,{mode}", place], check=True)
    else:
        subprocess.run(["umount", "-l", place], check=True)
