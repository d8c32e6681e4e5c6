"""Kills and errors while handing out: nothing or a whole export, and none that the log
doesn't know.

Each system call that touches the vault or the destination is hit in a run of its own, as in
:mod:`tests.faults.test_vault`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from archiver.receipt import parse_receipt
from archiver.receipts import receipts_of, text_path
from archiver.signing import sign_manifest
from archiver.vault import Vault
from archiver.vault.check import check_logs
from tests.bag.making import ENVIRONMENT, ROOT
from tests.faults.test_vault import Scene
from tests.sealing import NOW, Office, check, tree
from tests.tracing import HOWS, STRACE, chosen, fault, needs_strace, recording, touching

ITEM = "c-E-0001"
FORMS = ("directory", "tar", "zip")
CALLS = (
    "mkdir",
    "openat",
    "write",
    "pwrite64",
    "chmod",
    "fchmod",
    "utimensat",
    "lseek",
    "fsync",
    "syncfs",
    "renameat2",
    "unlink",
)
_ONLY = {"utimensat": "directory", "syncfs": "directory", "lseek": "zip"}
"""Calls that one form alone makes, or makes most of."""


class Desk:
    """A vault with one sealed item, and places to hand it out to, each of them new."""

    def __init__(self, base: Path, office: Office, tally: Counter[str]) -> None:
        self.scene, self.office, self.tally = Scene(base, office, tally), office, tally
        self.vault: Vault = self.scene.vault()
        assert self.scene.run(self.vault).returncode == 0
        self.bag = Path(self.vault.bag_path("c", ITEM))
        self.before = tree(self.bag, signatures=True)
        self.number = 0

    def place(self, form: str) -> Path:
        self.number += 1
        (self.scene.base / f"out-{self.number}").mkdir()
        ending = "" if form == "directory" else f".{form}"
        return self.scene.base / f"out-{self.number}" / f"{ITEM}{ending}"

    def archiver(
        self, *words: object, strace: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix(strace), *self.command(*words)],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def prefix(self, strace: Sequence[str]) -> list[str]:
        return [*STRACE, *strace] if strace else []

    def command(self, *words: object) -> list[str]:
        program = [sys.executable, "-m", "archiver", *map(str, words)]
        return [*program, "--vault", self.vault.path]

    def numbers(self, call: str, *words: object, places: Sequence[str]) -> list[int]:
        """Which of all the calls of this name touch ``places``, counted from 1."""
        log = self.scene.base / "log"
        done = self.archiver(*words, strace=recording(call, log))
        assert done.returncode == 0, done.stderr
        return touching(log, call, *places, creating=False)

    def hit(
        self, call: str, how: str, number: int, *words: object
    ) -> subprocess.CompletedProcess[str]:
        self.tally["kills" if "KILL" in how else "injected errors"] += 1
        return self.archiver(*words, strace=fault(call, how, number))

    def judge(self, made: Path, what: str) -> bool:
        """Whether there is an export: then it is whole, its receipt lies beside it, and the
        log and the vault have the same.
        """
        assert tree(self.bag, signatures=True) == self.before, what
        known = receipts_of(self.vault, "c")  # the log is unbroken
        for one in known.values():
            assert Path(text_path(self.vault, "c", one.receipt)).exists(), what
        if not os.path.lexists(made):
            self.tally["absent"] += 1
            return False
        report = check(made, self.office.anchors())
        assert report.exit_code == 0, (what, [one.message for one in report.findings])
        data = Path(f"{made}.receipt.txt").read_bytes()
        receipt = parse_receipt(data)
        assert receipt.identifier in known, what
        assert not known[receipt.identifier].withdrawn, what
        assert Path(text_path(self.vault, "c", receipt.identifier)).read_bytes() == data, what
        self.tally["whole"] += 1
        return True

    def finish(self, made: Path, what: str) -> None:
        """After any fault one more run ends with a whole export, and nothing else is left."""
        there = self.judge(made, what)
        done = self.archiver("export", ITEM, made)
        assert done.returncode == (5 if there else 0), (what, done.stderr)
        assert self.judge(made, what), what
        names = sorted(one.name for one in made.parent.iterdir())
        assert names == [made.name, f"{made.name}.receipt.txt"], what
        report = check_logs(self.vault)
        # A torn line is told until the next event sets it aside.
        assert all("torn" in one.problem for one in report.problems), (what, report.problems)
        subprocess.run(["rm", "-rf", made.parent], check=True)


@pytest.fixture
def desk(tmp_path: Path, office: Office, tally: Counter[str]) -> Desk:
    return Desk(tmp_path, office, tally)


@needs_strace
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("call", CALLS)
def test_each_system_call(desk: Desk, call: str, how: str, full: bool) -> None:
    forms = FORMS if full else (_ONLY.get(call) or FORMS[(CALLS.index(call) + len(how)) % 3],)
    used = 0
    for form in forms:
        probe = desk.place(form)
        places = (desk.vault.path, str(probe.parent))
        numbers = desk.numbers(call, "export", ITEM, probe, places=places)
        used += len(numbers)
        for number in chosen(numbers, how, full):
            made, what = desk.place(form), f"{form}: {how} at {call} {number}"
            done = desk.hit(call, how, number, "export", ITEM, made)
            if "error" in how and done.returncode not in (0, 1, 3):
                left = [one.name for one in made.parent.iterdir()]
                assert left == [] or made.exists(), (what, left, done.stderr)
            desk.finish(made, what)
    # Times and modes are set by a directory only; before Linux 5.8 syncfs(2) is not used.
    assert used or not full or call == "syncfs", f"{call} is not used: nothing was tested"


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=EIO"])
@pytest.mark.parametrize("call", ["openat", "write", "pwrite64", "fsync", "renameat2", "rename"])
def test_while_a_receipt_is_filed(desk: Desk, call: str, how: str, full: bool) -> None:
    """Filed and in the log, or to be filed once more."""
    places = (f"{desk.vault.path}/receipts", f"{desk.vault.path}/custody")

    def sent() -> tuple[str, Path, Path]:
        made = desk.place("directory")
        assert desk.archiver("export", ITEM, made).returncode == 0
        text = Path(f"{made}.receipt.txt")
        signature = made.with_name("signature.p7s")
        signature.write_bytes(sign_manifest(text.read_bytes(), desk.office.ben, NOW))
        return parse_receipt(text.read_bytes()).identifier, text, signature

    _identifier, text, signature = sent()
    words = ("receipt", "import", text, "--signature", signature)
    numbers = desk.numbers(call, *words, places=places)
    assert numbers, f"{call} is not used: nothing was tested"
    for number in chosen(numbers, how, full):
        identifier, text, signature = sent()
        words, what = ("receipt", "import", text, "--signature", signature), f"{how} at {call}"
        desk.hit(call, how, number, *words)
        filed = bool(receipts_of(desk.vault, "c")[identifier].signatures)
        done = desk.archiver(*words)
        assert done.returncode == (5 if filed else 0), (what, number, done.stderr)
        assert not receipts_of(desk.vault, "c")[identifier].is_open
        assert desk.archiver("receipt", "list").returncode == 0
        assert check_logs(desk.vault).problems == (), what


def test_kills_at_random_instants(desk: Desk, full: bool) -> None:
    begun = time.monotonic()
    assert desk.archiver("export", ITEM, desk.place("tar")).returncode == 0
    seconds = time.monotonic() - begun
    chance = random.Random(42)
    for number in range(200 if full else 9):
        made = desk.place(FORMS[number % 3])
        with subprocess.Popen(
            desk.command("export", ITEM, made),
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(seconds * (0.3 + 0.7 * chance.random()))
            process.kill()
            process.wait()
        desk.tally["kills"] += 1
        desk.finish(made, f"kill {number}")
