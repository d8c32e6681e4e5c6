"""No trace of what is said later, of secret files and absences, nor of a folder they came from.

As :mod:`tests.faults.test_leaks`, for whatever else is encrypted: amendments, secret items of
``ingest`` and ``bag create``, absences with their answers, a watched folder whose originals go.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.vault import open_vault
from archiver.vault.check import check_logs
from tests.faults.desk import NEEDLES, Desk
from tests.faults.leaking import leaks, place
from tests.vault.looking import items

STATEMENT = "c-E-0001"
WATCH = 8
"""Which of the commands watches. While files lie in the folder, its journal names them; what it
was written on may hold that afterwards (docs/security.md), so the blocks of the disk are searched
only before.
"""
JOURNALS = "/archiver/watch/"


class Office(Desk):
    """A desk with a policy that names readers, and more to be taken in."""

    def prepare(self) -> None:
        """Forms for everything; names stand in them, and nowhere on a command line."""
        home, told = self.home, {k: v for k, v in NEEDLES.items() if isinstance(v, str)}
        text = "\n".join(f"{name}: {one}" for name, one in told.items())
        rules = [
            'extends = "default"', "[encryption]", f'recipients = ["{self.keys["reader"]}"]',
            f'escrow = ["{self.keys["escrow"]}"]', "[watch]", "quiet_seconds = 1",
            "unproved_quiet_seconds = 1", 'originals = "delete"',
        ]  # fmt: skip
        (home / "p.toml").write_text("\n".join(rules) + "\n")
        (home / "later.toml").write_text(
            f"title = '''{told['handle']}'''\ndescription = '''{text}'''\n"
        )
        sealed = f"confidentiality = 'sealed'\ntitle = '''{told['name']}'''\n"
        (home / "secret.toml").write_text(
            f"kind = 'document'\n{sealed}description = '''{text}'''\n"
        )
        (home / "absence.toml").write_text(
            f"kind = 'absence'\n{sealed}should_exist = '''{text}'''\n"
            "absence_kind = 'never-made'\nanswer = 'silence'\n"
            f"[[asked]]\nwhom = '''{told['address']}'''\nat = 2026-01-05\n"
            "reference = 'carta 14'\ndeadline = 2026-02-05\n"
        )
        (home / "document.txt").write_text(text)
        (home / "typed").write_text(told["words"])
        (home / "inbox").mkdir()

    def policy(self) -> list[str]:
        return ["--policy", str(self.home / "p.toml"), "--unsigned"]

    def drop(self) -> None:
        """Secret files into the watched folder, under telling names."""
        for path, data in self.files.items():
            beside = self.home / "inbox" / f"{path.name}.toml"
            beside.write_bytes((self.home / "secret.toml").read_bytes())
            (self.home / "inbox" / path.name).write_bytes(data)

    def commands(self) -> list[list[object]]:
        """All of it, in an order in which each can be done; each ends with 0."""
        home, policy = self.home, self.policy()
        pack: list[object] = pack_of(self)
        reader = ["--identity", str(home / "reader.key")]
        return [
            [*self.words()],
            ["describe", "amend", STATEMENT, "--form", home / "later.toml", "--reason", "told us",
             *policy],
            ["ingest", self.folder, "--case", "c", "--describe", home / "secret.toml", *policy],
            [*pack, "-o", "bag"],
            ["absence", "record", home / "document.txt", "--case", "c", "--form",
             home / "absence.toml", *policy],
            ["absence", "record", "--case", "c", "--again", "--form", home / "absence.toml",
             *policy],
            ["absence", "answer", "c-E-0003", "--answer", "-", "--reason", "by letter",
             *reader, *policy],
            ["describe", "amend", "c-E-0002", "--form", home / "later.toml", "--reason", "told us",
             *policy, "--json"],
            ["watch", home / "inbox", "--case", "c", "--once", "--log-names", *policy],
            ["show", STATEMENT], ["show", "c-E-0003", "--json"],
            ["show", "c-E-0002", "--premis"], ["search", "Xochitl"],
            ["list", "--overdue", "--json"], ["events", "verify"],
            ["catalog", "rebuild"], ["catalog", "check"], ["audit", "--all"],
            ["replica", "add", "second", "second"], ["replica", "sync"],
            ["statement", "check", *reader],
            ["bag", "verify", "bag", "--policy", home / "p.toml", *reader],
            ["export", "c-E-0002", "out.tar"], ["export", "c-E-0003", "out"],
        ]  # fmt: skip


def pack_of(office: Office) -> list[object]:
    """A secret bag, without a vault."""
    home = office.home
    words = ("bag", "create", home / "document.txt", "--describe", home / "secret.toml")
    return [*words, *office.policy()[:2]]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with place(tmp_path) as made:
        found = Office(tmp_path, made)
        found.prepare()
        yield found


def test_nothing_is_found_of_any_of_them(office: Office) -> None:
    office.drop()
    for number, words in enumerate(office.commands()):
        if number == WATCH:
            assert office.place.leaks(NEEDLES) == []
        done = office.run(*words)
        assert done.returncode == 0, (words, office.said())
    assert os.listdir(office.home / "inbox") == []
    states = [one.state for one in items(open_vault(str(office.vault)))]
    assert states == ["sealed"] * 6  # statement, folder, two absences, two files that came
    assert office.place.leaks(NEEDLES, raw=False) == []
    for number, item in enumerate(("c-E-0001", "c-E-0002", "c-E-0003", "c-E-0005")):
        opened = office.home / f"opened-{number}"
        reader = office.home / "reader.key"
        done = office.run("statement", "open", item, "--identity", reader, "-o", opened)
        assert done.returncode == 0, office.said()
        assert leaks(opened, NEEDLES)  # it was all in there


def test_killed_at_random(office: Office, full: bool, tally: Counter[str]) -> None:
    """Whatever of it is ended at any instant, and done again."""
    chance = random.Random(1982)
    commands = office.commands()[: WATCH + 1]
    for number in range(40 if full else 1):
        for index, words in enumerate(commands):
            if index == WATCH:
                office.drop()
            process = office.start(*words)
            time.sleep(chance.uniform(0.2, 3.0 if index == WATCH else 1.2))
            ended = process.poll() is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            tally["whole" if ended else "kills"] += 1
            found = office.place.leaks(NEEDLES, raw=index < WATCH and number == 0)
            lying = os.listdir(office.home / "inbox")
            assert all(lying and JOURNALS in one for one in found), (number, words, found)
    office.drop()
    assert office.run(*commands[WATCH]).returncode == 0, office.said()
    assert office.run(*office.words()).returncode == 0, office.said()
    done = office.run(*pack_of(office), "-o", "bag-2")
    assert done.returncode == 0, office.said()
    assert os.listdir(office.home / "inbox") == []
    assert office.place.leaks(NEEDLES, raw=False) == []
    vault = open_vault(str(office.vault))
    assert list(office.root.rglob(".archiver-*")) == []
    assert {one.state for one in items(vault)} <= {"sealed", "refused"}
    assert check_logs(vault).problems == ()
