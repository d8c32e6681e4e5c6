"""Kills and errors while ingesting: no sealed bag lost or half there, the log unbroken."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from archiver.vault import Vault, create_vault, open_vault
from archiver.vault.check import check_logs
from tests.bag.making import ENVIRONMENT, ROOT
from tests.faults.checks import can_trace
from tests.faults.test_seal import CALLS, chosen
from tests.sealing import Office, check, make_source, tree, write_key
from tests.vault.looking import items


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
        prefix = ["strace", "-f", "-qq", *strace] if strace else []
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


@pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace")
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", [*CALLS, "pwrite64", "ftruncate"])
def test_each_system_call(scene: Scene, call: str, how: str, full: bool) -> None:
    probe = scene.vault()
    log = scene.base / "log"
    done = scene.run(probe, "-y", "-s", "4096", "-o", str(log), "-e", f"trace={call}")
    assert done.returncode == 0, done.stderr
    lines = [line for line in log.read_text("latin-1").splitlines() if f" {call}(" in line]
    numbers = [n for n, line in enumerate(lines, start=1) if probe.path in line]
    if call == "openat":
        numbers = [n for n in numbers if "O_CREAT" in lines[n - 1]]
    for number in chosen(numbers, full):
        vault = scene.vault()
        inject = f"inject={call}:{how}:when={number}"
        scene.run(vault, "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        scene.tally["kills" if "KILL" in how else "injected errors"] += 1
        scene.judge(vault, f"{how} at {call} {number}")


@pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace")
@pytest.mark.parametrize("call", ["pwrite64", "fsync", "openat"])
def test_kills_while_auditing(scene: Scene, call: str, full: bool) -> None:
    """A check is written down whole or not at all; the next audit goes on."""
    vault = scene.vault()
    assert scene.run(vault).returncode == 0
    command = [sys.executable, "-m", "archiver", "audit", "--all", "--vault", vault.path]
    for number in range(1, 40 if full else 4):
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        path = ["-P", vault.log_path("c")]
        subprocess.run(
            [*strace, *path, *command], env=ENVIRONMENT, cwd=ROOT, capture_output=True, check=False
        )
        scene.tally["kills"] += 1
        assert {one.state for one in items(vault)} == {"sealed"}
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert check_logs(vault).problems == ()


@pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace")
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", [*CALLS, "pwrite64"])
def test_keeping_a_checkpoint(scene: Scene, call: str, how: str, full: bool) -> None:
    """It is there and signed, or not at all; the next run has it stamped, or waiting."""
    origin = scene.vault()
    assert scene.run(origin).returncode == 0
    anchors = scene.office.anchors()

    def strace(vault: Vault, *options: str) -> int:
        command = ["archiver", "events", "checkpoint", "--key", str(scene.key)]
        command += ["--tsa", "http://127.0.0.1:9/", "--vault", vault.path]
        return subprocess.run(
            ["strace", "-f", "-qq", *options, sys.executable, "-m", *command],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            check=False,
        ).returncode

    probe, log = copy_of(origin, scene.base / "probe"), scene.base / "log"
    assert strace(probe, "-y", "-s", "4096", "-o", str(log), "-e", f"trace={call}") == 4
    lines = [line for line in log.read_text("latin-1").splitlines() if f" {call}(" in line]
    numbers = [n for n, line in enumerate(lines, start=1) if f"{probe.path}/custody" in line]
    if call == "openat":
        numbers = [n for n in numbers if "O_CREAT" in lines[n - 1]]
    for number in chosen(numbers, full):
        vault = copy_of(origin, scene.base / f"checkpoint-{number}")
        inject = f"inject={call}:{how}:when={number}"
        strace(vault, "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
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
        prefix = ["strace", "-f", "-qq", *strace] if strace else []
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
        done = self.archiver(
            *words, strace=("-y", "-s", "4096", "-o", str(log), "-e", f"trace={call}")
        )
        assert done.returncode == 0, done.stderr
        lines = [line for line in log.read_text("latin-1").splitlines() if f" {call}(" in line]
        places = (self.vault.path, str(self.second))
        numbers = [n for n, line in enumerate(lines, 1) if any(one in line for one in places)]
        # On kernels before 5.8 syncfs(2) tells no errors, and is not used.
        assert numbers or call == "syncfs", f"{call} is not used: nothing was tested"
        for number in chosen(numbers, full):
            self.again()
            inject = f"inject={call}:{how}:when={number}"
            self.archiver(*words, strace=("-o", "/dev/null", "-e", f"trace={call}", "-e", inject))
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


@pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace")
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


@pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace")
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
