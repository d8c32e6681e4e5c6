"""``archiver watch`` as people type it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.cli.watch_status import remember_folder
from archiver.watch.journal import Journal, Wait, journal_path
from archiver.watch.model import State
from archiver.watch.scan import fingerprint_of
from tests.helpers import run
from tests.sealing import Office, write_key

WAIT = Wait(0.0, 5.0)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of one's own with an empty inbox."""
    for name in list(os.environ):
        if name.startswith("ARCHIVER_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "inbox").mkdir()
    return tmp_path


# What makes no sense


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inbox"], "where are bags to go"),
        (["--case", "a"], "no folder was named"),
        (["inbox", "--case", "a"], "no vault was named"),
        (["inbox", "-o", "bags", "--case", "a"], "without a vault"),
        (["nowhere", "-o", "bags"], "is no folder"),
        (["inbox", "./inbox/", "-o", "bags"], "another folder that is watched"),
        (["inbox", "inbox/sub", "-o", "bags"], "another folder that is watched"),
        (["inbox", "-o", "bags", "--quiet-period", "soon"], "no span of time"),
        (["inbox", "-o", "bags", "--policy", "nope"], "no policy"),
        (["--rule", "inbox", "-o", "bags"], "is no rule"),
        (["--rule", "=default", "-o", "bags"], "is no rule"),
        (["--rule", "inbox=nope", "-o", "bags"], "no policy"),
        (["inbox", "-o", "bags", "--listen", "70000"], "listen"),
        (["inbox", "-o", "bags", "--key", "x", "--unsigned"], "contradict each other"),
        (["inbox", "-o", "bags", "--nope"], "--nope"),
        (["inbox", "-o", "inbox/bags"], "lie in each other"),
        (["inbox", "-o", "."], "lie in each other"),
        (["status", "a", "b"], "unexpected"),
        (["retry"], "FILE"),
    ],
)
def test_what_makes_no_sense(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (place / "inbox" / "sub").mkdir()
    done = run(capsys, "watch", *arguments)
    assert done.code == 2
    assert said in done.err
    assert "hint: " in done.err
    assert not (place / "bags").exists()
    assert not (place / "state").exists()


def test_a_vault_keeps_sealed_bags(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "init", "vault").code == 0
    done = run(capsys, "watch", "inbox", "--case", "a", "--vault", "vault")
    assert done.code == 2
    assert "no key was given" in done.err


def test_help_is_about_both(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["-h"]):
        done = run(capsys, "watch", *arguments)
        assert done.code == 0
        for part in ("[FOLDER...] | COMMAND", "--quiet-period", "status ", "release ", "Example:"):
            assert part in done.out
    assert "--quiet-period" in run(capsys, "watch", "inbox", "--help").out
    done = run(capsys, "watch")
    assert done.code == 2
    assert "--quiet-period" in done.out


# The question of whoever stands at the folder


class Kept:
    """A journal with one row for each file that is put into the folder."""

    def __init__(self, place: Path) -> None:
        self.folder, self.bags = place / "inbox", place / "bags"
        self.journal = Journal(journal_path("vault", str(self.folder)))
        remember_folder(self.journal, str(self.folder), "vault (a)")

    def put(self, name: str, state: State, reason: str = "") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        relative = os.fsencode(name)
        self.journal.add(relative, relative, fingerprint_of(path.lstat()), WAIT)
        row = self.journal.at(relative)
        assert row
        if state is State.ARCHIVED:
            bag = self.bags / name.replace("/", "-")
            bag.mkdir(parents=True)
            (bag / "bagit.txt").write_text("x")
            self.journal.archived(
                [row],
                item="a-E-0001",
                bag=str(bag),
                digests=["00"],
                seal="11",
                key="22",
                due=None,
            )
        else:
            self.journal.turn([row], state, reason=reason)
        return path


@pytest.fixture
def kept(place: Path) -> Iterator[Kept]:
    made = Kept(place)
    yield made
    made.journal.close()


def test_archived_and_unchanged(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept.put("v.mp4", State.ARCHIVED)
    done = run(capsys, "watch", "status", "inbox/v.mp4")
    assert (done.code, done.err) == (0, "")
    assert "ARCHIVED\n" in done.out
    assert "a-E-0001, since 20" in done.out
    answer: Any = run(capsys, "watch", "status", path, "--json").json
    assert answer["watched"] is True
    (one,) = answer["files"]
    assert (one["answer"], one["safe"], one["id"]) == ("archived", True, "a-E-0001")
    path.unlink()
    done = run(capsys, "watch", "status", path)
    assert done.code == 0
    assert "not in the folder any more" in done.out


@pytest.mark.parametrize("how", ["written", "same size and time", "replaced"])
def test_changed_since(kept: Kept, capsys: pytest.CaptureFixture[str], how: str) -> None:
    path = kept.put("v.mp4", State.ARCHIVED)
    before = path.stat()
    if how == "written":
        path.write_text("another")
    elif how == "replaced":
        (path.parent / "x").write_text(path.read_text())
        os.utime(path.parent / "x", ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(path.parent / "x", path)
    else:
        path.write_text("v.mP4")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = run(capsys, "watch", "status", path)
    assert done.code == 4
    assert "CHANGED" in done.out


def test_its_bag_is_gone(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept.put("v.mp4", State.ARCHIVED)
    (kept.bags / "v.mp4" / "bagit.txt").unlink()
    done = run(capsys, "watch", "status", path)
    assert done.code == 1
    assert "NOT SAFE" in done.out
    (kept.bags / "v.mp4").rmdir()
    kept.bags.rmdir()
    done = run(capsys, "watch", "status", path)
    assert done.code == 3
    assert "UNDECIDED" in done.out


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State.SEEN, "NOT YET ARCHIVED"),
        (State.STABLE, "NOT YET ARCHIVED: it is in the queue"),
        (State.INGESTING, "being archived now"),
        (State.QUARANTINED, "in quarantine (it can't be read)"),
        (State.IGNORED, "NOT ARCHIVED: it is left out (a rule)"),
        (State.DISPOSED, "CHANGED since"),
    ],
)
def test_not_archived(
    kept: Kept, capsys: pytest.CaptureFixture[str], state: State, word: str
) -> None:
    reasons = {State.QUARANTINED: "it can't be read", State.IGNORED: "a rule"}
    path = kept.put("v.mp4", state, reasons.get(state, ""))
    done = run(capsys, "watch", "status", path)
    assert done.code == 4
    assert word in done.out


def test_no_scan_has_found_it(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    (kept.folder / "new").write_text("x")
    done = run(capsys, "watch", "status", "inbox/new")
    assert done.code == 4
    assert "no scan has found it" in done.out
    done = run(capsys, "watch", "status", "inbox/nothing")
    assert done.code == 2
    assert "does not exist" in done.err


def test_of_a_whole_folder(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.put("d/a", State.ARCHIVED)
    kept.put("d/b", State.ARCHIVED)
    assert run(capsys, "watch", "status", "inbox/d").code == 0
    kept.put("d/wait\x1b[2J", State.SEEN)
    done = run(capsys, "watch", "status", "inbox/d")
    assert done.code == 4
    assert "2 of 3 files are archived" in done.out
    assert "wait\\x1b[2J: NOT YET ARCHIVED" in done.out
    assert run(capsys, "watch", "status", "inbox", "--json").json["safe"] == 2


def test_nobody_watches(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept.put("v", State.SEEN)
    kept.journal.close()
    done = run(capsys, "watch", "status", path)
    assert done.code == 4
    assert "no watcher runs for this folder now" in done.err
    assert "no watcher runs; seen: 1" in run(capsys, "watch", "status").out


def test_of_all_folders(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.put("v", State.QUARANTINED, "it can't be read")
    done = run(capsys, "watch", "status")
    assert done.code == 0
    assert f"{kept.folder} -> vault (a)" in done.out
    assert "quarantined: v: it can't be read" in done.out
    document = json.loads(run(capsys, "watch", "status", "--json").out)
    (one,) = document["folders"]
    assert (one["watched"], one["files"]["quarantined"]) == (True, 1)


def test_somewhere_else(kept: Kept, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "inbox-2").mkdir()
    (place / "inbox-2" / "v").write_text("x")
    done = run(capsys, "watch", "status", "inbox-2/v")
    assert done.code == 2
    assert "no folder that is watched" in done.err


def test_nothing_was_ever_watched(capsys: pytest.CaptureFixture[str]) -> None:
    done = run(capsys, "watch", "status")
    assert done.code == 2
    assert "no folder is watched" in done.err


def test_through_a_link_to_the_folder(
    kept: Kept, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.put("v", State.ARCHIVED)
    (place / "short").symlink_to("inbox")
    assert run(capsys, "watch", "status", "short/v").code == 0


@pytest.mark.parametrize("what", ["retry", "release"])
def test_requests_are_left_in_the_journal(
    kept: Kept, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path = kept.put("v", State.QUARANTINED, "x")
    kept.put("fine", State.ARCHIVED)
    done = run(capsys, "watch", what, path)
    assert (done.code, done.err) == (0, "")
    assert kept.journal.asked() == [(what, b"v")]
    done = run(capsys, "watch", what, "inbox/fine")
    assert done.code == 2
    assert "not in quarantine" in done.err
    assert run(capsys, "watch", what, path, "--json").json["request"] == what


def test_another_folder_is_accepted(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "watch", "accept", "inbox").code == 0
    assert kept.journal.asked() == [("accept", b"")]
    assert run(capsys, "watch", "accept", kept.put("v", State.SEEN)).code == 2


# Run


QUIET = ("--quiet-period", "1s")


@pytest.fixture
def quick(place: Path) -> Path:
    """A policy that waits for nothing longer than a second."""
    lines = ["empty_quiet_seconds = 1", "unproved_quiet_seconds = 1", 'group = "folder"']
    text = "\n".join(['extends = "default"', "[watch]", "quiet_seconds = 1", *lines])
    (place / "folders.toml").write_text(text + "\n")
    return place


def test_bags_without_a_vault(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (quick / "inbox" / "a.txt").write_text("alpha")
    (quick / "inbox" / "b.part").write_text("half")
    dry = run(capsys, "watch", "inbox", "-o", "bags", "--dry-run")
    assert dry.code == 0
    assert "a.txt: would be archived" in dry.out
    assert "b.part: is left out (a temporary name: still being written)" in dry.out
    assert not (quick / "bags").exists()
    assert not (quick / "state").exists()
    done = run(capsys, "watch", "inbox", "-o", "bags", "--once", *QUIET)
    assert (done.code, done.out) == (0, "archived: 1, waiting: 0, quarantined: 0\n")
    (bag,) = (quick / "bags").iterdir()
    assert (bag / "data" / "a.txt").read_text() == "alpha"
    events = [json.loads(line) for line in done.err.splitlines()]
    assert [one["event"] for one in events][:2] == ["unsigned", "started"]
    assert "a.txt" not in done.err
    assert str(quick) not in done.err
    assert run(capsys, "watch", "status", "inbox/a.txt").code == 0
    assert run(capsys, "watch", "status", "inbox/b.part").code == 4
    rows = run(capsys, "watch", "inbox", "-o", "bags", "--dry-run", "--json").out.splitlines()
    plan = {json.loads(row)["path"]: json.loads(row)["state"] for row in rows}
    assert plan == {"a.txt": "archived", "b.part": "ignored"}
    again: Any = run(capsys, "watch", "inbox", "-o", "bags", "--once", "--json", *QUIET).json
    assert again["ended_in_order"] is True
    assert again["files"]["archived"] == 1
    assert len(list((quick / "bags").iterdir())) == 1


def test_each_folder_by_its_own_rule(
    quick: Path, office: Office, tsa: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_key(office.ana, quick / "keys", "ana")
    assert run(capsys, "init", "vault").code == 0
    for name in ("inbox/a.txt", "inbox/b.txt", "grouped/one/c.txt", "grouped/one/d.txt"):
        (quick / name).parent.mkdir(parents=True, exist_ok=True)
        (quick / name).write_text(name)
    (quick / "grouped" / "one" / ".done").touch()
    common = ["--case", "a", "--vault", "vault", "--key", "keys/ana.key", *QUIET]
    stamps = ["--tsa", tsa.url, "--tsa-root", tsa.directory / "root.pem"]
    rule = ["--rule", "grouped=folders.toml"]
    done = run(capsys, "watch", "inbox", *rule, "--once", "--log-names", *common, *stamps)
    assert done.code == 0, done.err
    bags = sorted((quick / "vault" / "bags" / "a").iterdir())
    payloads = sorted(sorted(p.name for p in bag.rglob("data/**/*.txt")) for bag in bags)
    assert payloads == [["a.txt"], ["b.txt"], ["c.txt", "d.txt"]]
    for bag in bags:
        trust = ["--trust", "keys/ana.pem", "--tsa-root", tsa.directory / "root.pem"]
        found: Any = run(capsys, "bag", "verify", bag, "--json", *trust).json
        assert found["verdict"] == "valid"
        assert found["claims"]["time"]["outcome"] == "holds"
    names = {json.loads(line).get("path") for line in done.err.splitlines()}
    assert {"a.txt", "one/c.txt"} <= names
    assert run(capsys, "audit", "--all", "--vault", "vault", "--quiet").code == 0
    assert run(capsys, "events", "verify", "--vault", "vault").code == 0


def test_a_tsa_that_is_down_keeps_nobody_waiting(
    quick: Path, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    write_key(office.ana, quick / "keys", "ana")
    (quick / "inbox" / "a.txt").write_text("alpha")
    more = ["--key", "keys/ana.key", "--tsa", "http://127.0.0.1:9/", *QUIET]
    done = run(capsys, "watch", "inbox", "-o", "bags", "--once", *more)
    assert done.code == 0
    events = [json.loads(line)["event"] for line in done.err.splitlines()]
    assert events.count("stamps-wait") == 2
    (request,) = (quick / "bags").rglob("*.tsq")
    assert request.stat().st_size


def test_what_can_not_be_archived_is_told(
    quick: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vault that may not be written: everything waits, the exit code says so."""
    (quick / "inbox" / "a.txt").write_text("alpha")
    (quick / "bags").write_text("a file")
    done = run(capsys, "watch", "inbox", "-o", "bags", "--once", *QUIET)
    assert done.code == 5
    assert "error: the directory" in done.err
    assert run(capsys, "watch", "status", "inbox/a.txt").code == 4
    (quick / "bags").unlink()
    assert run(capsys, "watch", "inbox", "-o", "bags", "--once", *QUIET).code == 0
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    done = run(capsys, "watch", "inbox", "-o", "bags", "--once", *QUIET)
    assert done.code == 5
    assert "journal" in done.err


def test_quarantine_retry_and_release(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that something else has taken the place of, until that is put away."""
    inbox, bags = quick / "inbox", quick / "bags"
    once = ["watch", "inbox", "-o", "bags", "--once", "--no-hints", *QUIET]
    for name in ("a.txt", "b.txt"):
        (inbox / name).write_text(name)
    assert run(capsys, *once).code == 0
    kept = {bag: (next(bag.rglob("data/*")).name) for bag in bags.iterdir()}
    for journal in (quick / "state").rglob("*.sqlite*"):
        journal.unlink()
    for bag in kept:  # not what the journal, were it there, would know
        bag.chmod(0o755)
        for path in bag.iterdir():
            path.chmod(0o755)
            path.rename(quick / f"{bag.name}-{path.name}")
    done = run(capsys, *once)
    assert done.code == 5
    assert "quarantined" in done.out
    assert "archiver watch status" in done.err
    for name in ("a.txt", "b.txt"):
        asked = run(capsys, "watch", "status", inbox / name)
        assert asked.code == 4
        assert "in quarantine (something else lies in the place of" in asked.out
    assert run(capsys, "watch", "retry", inbox / "a.txt").code == 0
    assert run(capsys, "watch", "release", inbox / "b.txt").code == 0
    for bag in kept:
        bag.rmdir()
    assert run(capsys, *once).code == 0
    assert run(capsys, "watch", "status", inbox / "a.txt").code == 0
    asked = run(capsys, "watch", "status", inbox / "b.txt")
    assert asked.code == 4
    assert "let go by hand" in asked.out


def test_quiet_says_only_what_is_wrong(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (quick / "inbox" / "a.txt").write_text("alpha")
    done = run(capsys, "watch", "inbox", "-o", "bags", "--once", "-q", *QUIET)
    assert done.code == 0
    assert [json.loads(line)["level"] for line in done.err.splitlines()] == ["warning"]


def test_it_ends_when_it_is_told_to(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, so that what it covers is counted; tests/faults has the real thing."""
    (quick / "inbox" / "a.txt").write_text("alpha")

    def tell() -> None:
        for _second in range(200):
            if list(quick.glob("bags/2*")):
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=tell)
    thread.start()
    done = run(capsys, "watch", "inbox", "-o", "bags", "--listen", "0", "--json", *QUIET)
    thread.join()
    assert done.code == 0
    found: Any = done.json
    assert found["files"]["archived"] == 1
    events = [json.loads(line)["event"] for line in done.err.splitlines()]
    assert events[0] == "unsigned"
    assert {"listening", "started"} <= set(events)
    assert events[-1] == "stopped"


def test_at_a_terminal(quick: Path) -> None:
    """Sentences and a live line that is taken away, no JSON."""
    (quick / "inbox" / "a.txt").write_text("alpha")
    command = [sys.executable, "-m", "archiver", "watch", "inbox", "-o", "bags", "--once", *QUIET]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.PIPE, text=True) as started:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(ours, 4096):
                shown += data
        os.close(ours)
        out = started.communicate()[0]
    assert started.returncode == 0
    assert out == "archived: 1, waiting: 0, quarantined: 0\n"
    text = shown.decode()
    assert "{" not in text
    assert "waiting: 1" in text
    lines = [line.rpartition("\033[K")[2] for line in text.replace("\r\n", "\n").splitlines()]
    assert re.fullmatch(r"[0-9:]{8}  stopped; nothing is left half-done", lines[-1])
