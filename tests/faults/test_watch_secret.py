"""Secret files in a watched folder, and a watcher that is killed: once each, and no trace.

Oracle: after every kill nothing of a needle lies in the vault, in logs or temporary files; in
the end each file is in exactly one sealed item that opens to its bytes, and its original is
gone only then.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from archiver.bag.tree import DirectoryTree
from archiver.catalog.model import Item
from archiver.encrypt import new_identity, read_identities
from archiver.statement.opening import open_statement, restore
from archiver.vault import open_vault
from archiver.vault.check import check_logs
from archiver.verify import Verdict, verify_bag
from tests.faults.leaking import leaks
from tests.faults.watching import Site
from tests.sealing import Office
from tests.tracing import HOWS, STRACE, chosen, fault, needs_strace, recording, touching
from tests.vault.looking import items

NEEDLES = {
    "name": "Xóchitl Ñandubay-Zzyzx",
    "home": "-13.518333, -71.978056",
    "words": "vi cómo los uniformados dispararon",
    "address": "xochitl.zzyzx@correo.invalid",
}
"""All of it invented."""


class Secrets(Site):
    """An inbox of secret files, which go once they are sealed."""

    def __init__(self, place: Path, office: Office) -> None:
        super().__init__(place, office)
        text, reader = new_identity()
        self.identities = read_identities(text.encode(), "key")
        self.opened = place / "opened"
        rules = [
            'extends = "default"', "[watch]", "quiet_seconds = 1", "unproved_quiet_seconds = 1",
            'originals = "delete"', "[encryption]", f'recipients = ["{reader}"]',
            f'escrow = ["{new_identity()[1]}"]',
        ]  # fmt: skip
        (place / "watch.toml").write_text("\n".join(rules) + "\n")
        self.given: dict[str, bytes] = {}
        (place / "tmp").mkdir()
        self.environment["TMPDIR"] = str(place / "tmp")

    def put(self, number: int) -> None:
        """One more, with what is said of it."""
        name = f"{NEEDLES['name']} {number}.txt"
        data = f"{NEEDLES['words']} {number} {NEEDLES['address']}\n".encode() * 3000
        (self.inbox / f"{name}.toml").write_text(
            f"kind = 'document'\nconfidentiality = 'sealed'\ntitle = '''{NEEDLES['name']}'''\n"
            f"description = '''{NEEDLES['home']}'''\n"
        )
        (self.inbox / name).write_bytes(data)
        self.given[name] = data

    def leaks(self, *, complete: bool = False) -> list[str]:
        """What can be read elsewhere than in the inbox: the journal names what lies there, and
        nothing when that is gone.
        """
        places = [self.vault, self.place / "tmp"]
        if complete:
            places.append(Path(self.journal_path).parent)
        return [one for place in places for one in leaks(place, NEEDLES)]

    def plain(self, item: Item) -> dict[str, bytes]:
        """What a sealed item opens to."""
        bag = open_vault(str(self.vault)).bag_path(item.case, item.item)
        assert verify_bag(bag).verdict in (Verdict.VALID, Verdict.UNPROVEN)
        tree, place = DirectoryTree(bag), self.opened / item.item
        self.opened.mkdir(exist_ok=True)
        try:
            restore(
                tree, open_statement(tree, self.identities).contents, self.identities, str(place)
            )
        finally:
            tree.close()
        return {one.name: one.read_bytes() for one in place.iterdir()}

    def judge_secrets(self, *, complete: bool) -> None:
        """The oracle."""
        assert self.leaks(complete=complete) == []
        vault = open_vault(str(self.vault))
        if not complete:
            return
        found = items(vault)
        assert {one.state for one in found} <= {"sealed", "refused"}
        sealed = [self.plain(one) for one in found if one.state == "sealed"]
        assert sorted(name for one in sealed for name in one) == sorted(self.given)
        assert {name: data for one in sealed for name, data in one.items()} == self.given
        assert os.listdir(self.inbox) == []
        assert list(self.vault.rglob(".archiver-*")) == []
        assert check_logs(vault).problems == ()


@pytest.fixture
def site(tmp_path: Path, office: Office) -> Secrets:
    return Secrets(tmp_path, office)


def test_once(site: Secrets) -> None:
    for number in range(3):
        site.put(number)
    done = site.once()
    assert done.returncode == 0, done.stderr
    assert not any(one in done.stdout + done.stderr for one in NEEDLES.values())
    site.judge_secrets(complete=True)


def test_kills_at_random(site: Secrets, full: bool, tally: Counter[str]) -> None:
    chance = random.Random(6)
    begun = time.monotonic()
    site.put(0)
    assert site.once().returncode == 0
    seconds = time.monotonic() - begun
    for number in range(1, 101 if full else 8):
        site.put(number)
        words = [sys.executable, "-m", "archiver", *site.command("--once")]
        with open(site.place / "tmp" / "log", "ab") as log:
            process = subprocess.Popen(
                words, env=site.environment, cwd=site.place, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        time.sleep(chance.uniform(0.3, 1.0) * seconds)
        tally["kills" if process.poll() is None else "whole"] += 1
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        site.judge_secrets(complete=False)
    for _again in range(3):  # one looks, one waits until it is quiet
        assert site.once().returncode == 0
    site.judge_secrets(complete=True)


@needs_strace
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("call", ["mkdir", "write", "renameat2", "pwrite64", "fsync"])
def test_each_system_call(
    tmp_path: Path, office: Office, call: str, how: str, full: bool, tally: Counter[str]
) -> None:
    """At those that touch the vault."""
    probe, log = Secrets(_place(tmp_path, "probe"), office), tmp_path / "log"
    probe.put(0)
    assert _traced(probe, [*STRACE, *recording(call, log)]).returncode == 0
    found = touching(log, call, probe.vault, creating=False)
    assert found, f"{call} is not used: nothing was tested"
    for number in chosen(found, how, full):
        site = Secrets(_place(tmp_path, f"{call}-{number}"), office)
        site.put(0)
        _traced(site, [*STRACE, *fault(call, how, number)])
        tally["kills" if "KILL" in how else "injected errors"] += 1
        site.judge_secrets(complete=False)
        for _again in range(3):
            done = site.once()
        assert done.returncode == 0, done.stderr
        site.judge_secrets(complete=True)


def _place(base: Path, name: str) -> Path:
    (base / name).mkdir()
    return base / name


def _traced(site: Secrets, strace: list[str]) -> subprocess.CompletedProcess[bytes]:
    words = [*strace, sys.executable, "-m", "archiver", *site.command("--once")]
    return subprocess.run(
        words, env=site.environment, cwd=site.place, stdin=subprocess.DEVNULL,
        capture_output=True, check=False,
    )  # fmt: skip
