"""Kills and errors while amending: the log knows a record that is whole, or there is none that
counts; the next run goes on, and no number is given twice.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from archiver.vault import Vault, create_vault
from archiver.vault.check import check_logs
from tests.bag.making import ENVIRONMENT, ROOT
from tests.faults.test_seal import CALLS
from tests.faults.test_vault import copy_of
from tests.sealing import Office, make_source, write_key
from tests.tracing import STRACE, chosen, fault, needs_strace, recording, touching
from tests.vault.looking import links

ITEM = "c-E-0001"
FIRST = ("--kind", "video", "--set", "title=first")


class Scene:
    """A vault with one item, and copies of it to be harmed."""

    def __init__(self, base: Path, office: Office, tally: Counter[str]) -> None:
        self.base, self.tally = base, tally
        self.key, _certificate = write_key(office.ben, base / "keys", "ben")
        self.origin = create_vault(str(base / "vault"), identifier="urn:x", policy="default")
        source = make_source(base / "source")
        done = self.archiver(self.origin, "ingest", str(source), "--case", "c", "--unsigned")
        assert done.returncode == 0, done.stderr
        self.number = 0

    def archiver(
        self, vault: Vault, *words: str, strace: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        prefix = [*STRACE, *strace] if strace else []
        return subprocess.run(
            [*prefix, *self.command(vault, *words)],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def command(self, vault: Vault, *words: str) -> list[str]:
        return [sys.executable, "-m", "archiver", *words, "--vault", vault.path]

    def amending(self, *words: str) -> tuple[str, ...]:
        more = ("--reason", "seen", "--key", str(self.key))
        return ("describe", "amend", ITEM, *words, *more)

    def vault(self) -> Vault:
        self.number += 1
        return copy_of(self.origin, self.base / f"copy-{self.number}")

    def judge(self, vault: Vault, what: str) -> None:
        """After any fault: what counts is whole, and one more amendment makes all well."""
        for problem in check_logs(vault).problems:
            known = "ADDED" in problem.problem or "torn by a crash" in problem.problem
            assert known, (what, problem)
        before = len(numbers(vault))
        word = ("--set", "title=second") if before else (*FIRST[:2], "--set", "title=second")
        done = self.archiver(vault, *self.amending(*word))
        assert done.returncode == 0, (what, done.stderr)
        assert numbers(vault) == list(range(1, before + 2)), what
        assert check_logs(vault).problems == (), what
        shown = self.archiver(vault, "show", ITEM)
        assert (shown.returncode, "title: second" in shown.stdout) == (0, True), what
        place = Path(vault.path) / "amendments" / ITEM
        assert len(list(place.iterdir())) == 2 * (before + 1), what
        self.tally["whole"] += 1
        subprocess.run(["rm", "-rf", vault.path], check=True)


def numbers(vault: Vault) -> list[int]:
    """The amendments that the log knows; its chain is checked."""
    told = (one.event.detail.get("amendment") for one in links(vault, "c"))
    return [one for one in told if isinstance(one, int)]


@pytest.fixture
def scene(tmp_path: Path, office: Office, tally: Counter[str]) -> Scene:
    return Scene(tmp_path, office, tally)


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", ["mkdir", "openat", "write", "fsync", "renameat2", "pwrite64"])
def test_each_system_call(scene: Scene, call: str, how: str, full: bool) -> None:
    assert call in (*CALLS, "pwrite64")
    probe, log = scene.vault(), scene.base / "log"
    done = scene.archiver(probe, *scene.amending(*FIRST), strace=recording(call, log))
    assert done.returncode == 0, done.stderr
    found = touching(log, call, probe.path)
    assert found, f"{call} is not used: nothing was tested"
    for number in chosen(found, how, full):
        vault = scene.vault()
        scene.archiver(vault, *scene.amending(*FIRST), strace=fault(call, how, number))
        scene.tally["kills" if "KILL" in how else "injected errors"] += 1
        scene.judge(vault, f"{how} at {call} {number}")


@needs_strace
def test_a_kill_between_the_record_and_the_log(scene: Scene) -> None:
    """The record is there, the log knows nothing of it: it counts for nothing, is named, and
    kept aside by the next.
    """
    vault = scene.vault()
    log = vault.log_path("c")
    inject = ("-P", log, "-e", "trace=pwrite64", "-e", "inject=pwrite64:signal=SIGKILL:when=1")
    scene.archiver(vault, *scene.amending(*FIRST), strace=("-o", "/dev/null", *inject))
    left = sorted(path.name for path in (Path(vault.path) / "amendments" / ITEM).iterdir())
    assert left == ["0001.json", "0001.json.p7s"]
    told = [one.problem for one in check_logs(vault).problems]
    assert any("ADDED" in one for one in told)
    shown = scene.archiver(vault, "show", ITEM)
    assert "first" not in shown.stdout
    kept = Path(vault.path) / "set-aside"
    assert not kept.exists()
    place = scene.base / "aside"
    done = scene.archiver(vault, *scene.amending(*FIRST[:2], "--set", "title=second"))
    assert done.returncode == 0, done.stderr
    kept.rename(place)
    assert len(list(place.glob("c/*"))) == 2
    assert check_logs(vault).problems == ()


def test_kills_at_random_instants(scene: Scene, full: bool) -> None:
    probe = scene.vault()
    begun = time.monotonic()
    assert scene.archiver(probe, *scene.amending(*FIRST)).returncode == 0
    seconds, chance = time.monotonic() - begun, random.Random(6)
    for number in range(200 if full else 8):
        vault = scene.vault()
        with subprocess.Popen(
            scene.command(vault, *scene.amending(*FIRST)),
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(seconds * (0.5 + 0.5 * chance.random()))
            process.kill()
            process.wait()
        scene.tally["kills"] += 1
        scene.judge(vault, f"kill {number}")
