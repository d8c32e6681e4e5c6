"""Who is told what: summaries, incidents, hooks, mail."""

from __future__ import annotations

import json
import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import RemoteError, UsageError
from archiver.notify import run_hook, send_mail
from archiver.summary import Summary, summarise
from archiver.vault import Vault, open_vault
from tests.faults.test_disks import tmpfs
from tests.helpers import run
from tests.sealing import DAY, make_source
from tests.vault.looking import links
from tests.vault.test_audit import bag, flip


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """A program that keeps what it is given, one file a call."""
    path = tmp_path / "hook"
    path.write_text('#!/bin/sh\ncat > "$0.$$"\n[ ! -e "$0.fails" ]\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def told(hook: Path) -> list[dict[str, Any]]:
    found = sorted(hook.parent.glob("hook.[0-9]*"), key=lambda one: one.stat().st_mtime_ns)
    return [json.loads(one.read_bytes()) for one in found]


def test_an_incident_is_told_once(
    filled: Vault, hook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = bag(filled)
    whole = (place / "data/x.bin").read_bytes()
    assert run(capsys, "audit", "--notify", hook).code == 0
    flip(place)
    for _again in range(3):
        assert run(capsys, "audit", "--all", "--notify", hook).code == 1
    (one,) = told(hook)
    assert one["schema"] == "archiver/incidents/1"
    assert [(each["id"], each["result"]) for each in one["incidents"]] == [("a-E-0001", "damaged")]
    assert "maria" not in json.dumps(one)
    assert run(capsys, "catalog", "rebuild").code == 0
    assert run(capsys, "audit", "--all", "--notify", hook).code == 1
    assert len(told(hook)) == 1  # a rebuilt catalog remembers
    (place / "data/x.bin").write_bytes(whole)
    assert run(capsys, "audit", "--all", "--notify", hook).code == 0
    flip(place)  # another incident
    assert run(capsys, "audit", "--all", "--notify", hook).code == 1
    assert len(told(hook)) == 2


def test_a_hook_that_fails_is_asked_again(
    filled: Vault, hook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(bag(filled))
    fails = Path(f"{hook}.fails")
    fails.touch()
    done = run(capsys, "audit", "--notify", hook)
    assert (done.code, "nobody was told" in done.err) == (1, True)
    fails.unlink()
    run(capsys, "audit", "--notify", hook)
    run(capsys, "audit", "--notify", hook)
    assert len(told(hook)) == 2


@pytest.mark.parametrize("command", ["", "'", "/nowhere/at/all", "/bin/false"])
def test_wrong_hooks(command: str, filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((UsageError, RemoteError)):
        run_hook(command, filled.identifier, [])
    flip(bag(filled))
    done = run(capsys, "audit", "--notify", command or "''", "--quiet")
    if command == "'":  # told at once, not in the night in which it matters
        assert (done.code, "is no command" in done.err) == (2, True)
    else:
        assert (done.code, "nobody was told" in done.err) == (1, True)


def test_no_shell_runs_a_hook(filled: Vault, tmp_path: Path) -> None:
    with pytest.raises(RemoteError):
        run_hook(f"/bin/false; touch {tmp_path}/x", filled.identifier, [])
    run_hook(f"/bin/echo > {tmp_path}/x", filled.identifier, [])
    assert not (tmp_path / "x").exists()


def test_mail(
    filled: Vault, hook: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real program in sendmail's place gets a message."""
    flip(bag(filled))
    run(capsys, "audit")
    from archiver.audit import untold_incidents

    incidents = untold_incidents(filled)
    send_mail("office@example.org", filled.identifier, incidents, [str(hook)])
    (kept,) = tmp_path.glob("hook.[0-9]*")
    text = kept.read_text()
    assert "To: office@example.org" in text
    assert "a-E-0001: damaged" in text
    assert "maria" not in text
    for wrong in ("", "-oQ/tmp/x@example.org", "nobody", "a@b\nBcc: c@d"):
        with pytest.raises(UsageError):
            send_mail(wrong, filled.identifier, incidents, [str(hook)])
    with pytest.raises(RemoteError, match="no sendmail"):
        send_mail("a@b", filled.identifier, incidents, ["/nowhere"])
    assert run(capsys, "audit", "--mail", "nobody").code == 2


def now(vault: Vault, every_days: float = 90, later: int = 0) -> Summary:
    return summarise(open_vault(vault.path), every_days, datetime.now(UTC) + later * DAY)


def test_a_summary_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "init", tmp_path / "v")
    done = run(capsys, "audit", "--summary", "--vault", tmp_path / "v")
    assert (done.code, "level 0 of 4" in done.out) == (0, True)


def test_levels_are_reached_one_by_one(
    filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NDSA: nothing is claimed that isn't so for every bag."""
    found = now(filled)
    assert (found.storage.level, found.integrity.level) == (0, 1)
    assert "3 bags have fewer than 2" in found.storage.reasons[0]
    run(capsys, "replica", "add", "same", "same")  # on the vault's own disk
    run(capsys, "replica", "sync")
    assert now(filled).storage.level == 0
    with tmpfs(tmp_path / "d1", "size=9m") as one, tmpfs(tmp_path / "d2", "size=9m") as two:
        run(capsys, "replica", "add", "one", one / "r")
        run(capsys, "replica", "sync")
        (reason,) = now(filled).storage.reasons  # on another disk, in the same room
        assert "elsewhere" in reason
        run(capsys, "replica", "add", "two", two / "r", "--location", "Geneva")
        assert now(filled).storage.level == 0  # nothing is there yet
        run(capsys, "replica", "sync")
        found = now(filled)
        assert (found.storage.level, dict(found.copies)) == (2, {3: 3})
        assert found.integrity.level == 3  # all are younger than the interval
        assert now(filled, later=91).integrity.level == 2
        run(capsys, "audit", "--all")
        shutil.rmtree(one / "r/bags/b/b-E-0001")
        run(capsys, "audit", "--all")
        found = now(filled)
        assert (found.storage.level, found.open_incidents) == (1, 1)  # one has two only
        assert dict(found.copies) == {2: 1, 3: 2}
        lines = run(capsys, "audit", "--summary").out
        assert "good copies on 2 disks: 1 bag" in lines
        assert "two: 3 good (Geneva)" in lines
    document = run(capsys, "audit", "--summary", "--json").json
    assert document["ndsa"]["storage"]["level"] == 1  # type: ignore[index]
    places = {one["name"]: one["unreachable"] for one in document["places"]}  # type: ignore[attr-defined]
    assert places[None] is None
    assert places["one"]


def test_a_broken_log_is_in_the_summary(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    with open(filled.log_path("a"), "ab") as file:
        file.write(b"garbage\n")
    done = run(capsys, "audit", "--summary")
    assert (done.code, "broken logs: a" in done.out) == (1, True)


def test_what_is_explained_is_not_open_until_it_changes(
    filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    place = bag(filled)
    flip(place)
    assert run(capsys, "audit", "--all").code == 1
    assert "a-E-0001: DAMAGED" in run(capsys, "incident", "list").out
    why = ("incident", "explain", "a-E-0001", "--reason")
    for wrong in ("", " ", "x" * 201, "two\nlines"):
        assert run(capsys, *why, wrong).code == 2
    assert run(capsys, *why, "came so from the camera", "--replica", "nowhere").code == 2
    assert run(capsys, *why, "came so from the camera").code == 0
    assert run(capsys, *why, "again").code == 2
    assert run(capsys, "audit", "--all").code == 0  # it is damaged still, and that is known
    assert run(capsys, "incident", "list").out == ""
    assert "explained" in run(capsys, "incident", "list", "--all").out
    shutil.rmtree(place)  # that isn't what was explained
    assert run(capsys, "audit", "--all").code == 1
    assert "a-E-0001: MISSING" in run(capsys, "incident", "list").out
    assert links(filled, "a")[-1].event.type == "fixity check"
    assert run(capsys, "catalog", "check").code == 0


def test_the_logs_go_with_the_bags(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "replica", "add", "second", "second")
    run(capsys, "replica", "sync")
    for case in ("a", "b"):
        kept = Path("second/custody") / f"{case}.jsonl"
        assert kept.read_bytes() == Path(filled.log_path(case)).read_bytes()
    make_source(Path("new"), {"new": b"1"})
    run(capsys, "ingest", "new", "--case", "a", "--key", "keys/ana.key")
    run(capsys, "replica", "sync")
    assert Path("second/custody/a.jsonl").read_bytes() == Path(filled.log_path("a")).read_bytes()


def test_a_log_that_was_made_anew_is_found_by_its_copy(
    filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chain that holds, a catalog made from it: only the copy elsewhere tells."""
    run(capsys, "replica", "add", "second", "second")
    run(capsys, "replica", "sync")
    copy = Path("second/custody/b.jsonl")
    before = copy.read_bytes()
    from dataclasses import replace

    from archiver.custody import chain_lines

    events = [link.event for link in links(filled, "b")]
    forged = [replace(one, agent="somebody else") for one in events]
    Path(filled.log_path("b")).write_bytes(b"".join(chain_lines(forged)))
    run(capsys, "catalog", "rebuild")
    verified = run(capsys, "events", "verify")
    assert (verified.code, "second: " in verified.out) == (1, True)
    done = run(capsys, "replica", "sync")
    assert (done.code, "is not how the vault's log begins" in done.out) == (5, True)
    assert copy.read_bytes() == before
    os.unlink(copy)
    copy.symlink_to(filled.log_path("b"))
    done = run(capsys, "replica", "sync")
    assert done.code == 5  # a link is no copy
