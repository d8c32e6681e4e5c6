"""The confined child against parsers that were taken over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from archiver.identify import Identifier, Limits
from archiver.identify.keeper import Child, ChildDiedError, Keeper
from tests.bag.making import ROOT
from tests.identify.faults import MARK
from tests.identify.looking import FAULTS, LEVELS, QUICK, ask, children, none_left, technical

levels = pytest.mark.parametrize("level", LEVELS, ids=lambda one: "-".join(one) or "all")


def test_it_says_how_it_is_confined(tmp_path: Path) -> None:
    with Identifier([str(tmp_path)], Limits(), tools=FAULTS) as identifier:
        (tmp_path / "a").write_text("good")
        before = identifier.confinement
        identifier.record(str(tmp_path / "a"), "data/a")
        told = identifier.confinement
    assert before == ()
    assert told[:2] == ("limits", "no new privileges")
    if os.environ.get("ARCHIVER_CI"):
        assert "seccomp" in told


@levels
def test_what_is_left_out_is_not_claimed(tmp_path: Path, level: dict[str, Any]) -> None:
    with Keeper([str(tmp_path)], Limits(**level), FAULTS) as keeper:
        keeper.start()
        told = " ".join(keeper.confinement)
    words = {"namespaces": "namespaces", "landlock": "landlock", "filter": "seccomp"}
    assert all(words[off] not in told for off in level)


@pytest.mark.parametrize("fault", ["hang", "spin"])
def test_one_that_takes_too_long_is_ended(tmp_path: Path, fault: str) -> None:
    begun = time.monotonic()
    slow, after = ask(tmp_path / "x", f"{fault}:", "good", seconds=1)
    assert time.monotonic() - begun < 10
    assert (slow.outcome, "no answer within 1 second" in slow.reason) == ("timed out", True)
    assert after.puid == "fmt/1"
    assert none_left() == []


@pytest.mark.parametrize("fault", ["eat", "eat-c"])
@levels
def test_one_that_eats_memory(tmp_path: Path, fault: str, level: dict[str, Any]) -> None:
    before, hungry, after = ask(tmp_path / "x", "good", f"{fault}:", "good", seconds=20, **level)
    assert hungry.outcome == "out of memory"
    assert "memory" in hungry.reason
    assert (before.outcome, after.outcome) == ("identified", "identified")
    assert none_left() == []


@pytest.mark.parametrize("fault", ["die", "leave"])
def test_one_that_dies_takes_nobody_with_it(tmp_path: Path, fault: str) -> None:
    before, dead, after = ask(tmp_path / "x", "good", f"{fault}:raw", "good")
    assert dead.outcome == "failed"
    assert "ended itself" in dead.reason
    assert (before.outcome, after.outcome) == ("identified", "identified")


def test_one_that_answers_without_end(tmp_path: Path) -> None:
    flood, noise, after = ask(tmp_path / "x", "flood:", "noise:", "good")
    assert (flood.outcome, "without end" in flood.reason) == ("failed", True)
    assert technical(noise) == {"said": "enough"}  # what it prints beside is no answer
    assert after.outcome == "identified"


@levels
def test_a_daemon_does_not_outlive_the_child(tmp_path: Path, level: dict[str, Any]) -> None:
    if level == {"filter": False, "namespaces": False}:
        pytest.skip("nothing holds it then")
    (left,) = ask(tmp_path / "x", "daemon:", **level)
    assert technical(left) == {"left": True}
    assert none_left() == []


@levels
def test_nothing_can_be_written(tmp_path: Path, level: dict[str, Any]) -> None:
    if level.get("filter") is False:
        pytest.skip("Landlock has no say over modes and times")
    place = tmp_path / "x"
    (tried,) = ask(place, "write:", **level)
    told = technical(tried)
    assert len(told) == 14
    assert {one.partition(":")[0] for one in told.values()} == {"refused"}, told
    assert sorted(os.listdir(place)) == ["0"]
    assert (place / "0").read_text() == "write:"
    assert not os.path.exists("/tmp/archiver-was-here")


def test_without_the_filter_landlock_still_keeps_files_as_they_are(tmp_path: Path) -> None:
    place = tmp_path / "x"
    (tried,) = ask(place, "write:", filter=False)
    told = technical(tried)
    if not told["create"].startswith("refused"):
        pytest.skip("no Landlock here")
    kept = ("append", "create", "temporary", "unlink", "rename", "truncate", "mkdir", "symlink")
    assert all(told[one].startswith("refused") for one in kept), told
    assert sorted(os.listdir(place)) == ["0"]


@levels
def test_there_is_no_network(tmp_path: Path, level: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as other:
        other.bind("\0archiver-test")
        other.listen()
        port = server.getsockname()[1]
        (tried,) = ask(tmp_path / "x", f"network:{port}:", **level)
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    told = technical(tried)
    assert told["tcp"].startswith("refused")
    assert told["abstract"].startswith("refused")


@levels
def test_others_are_left_alone(tmp_path: Path, level: dict[str, Any]) -> None:
    secret = tmp_path / "secret" / "witness.txt"
    secret.parent.mkdir()
    secret.write_text("Maria")
    (tried,) = ask(tmp_path / "x", f"pry:{secret}:{os.getpid()}:", **level)
    told = technical(tried)
    if level.get("landlock") is not False and "landlock" not in level:
        refused = {name for name, one in told.items() if one.startswith("refused")}
        assert refused == {"secret", "list", "environ", "passwd", "signal", "run"}, told
    else:
        assert told["signal"].startswith("refused")


def test_it_gets_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHIVER_PASSPHRASE", "secret")
    (told,) = ask(tmp_path / "x", "environment:")
    assert technical(told)["environ"] == ["LC_ALL", "PATH", "PYTHONDONTWRITEBYTECODE"]


def test_what_it_starts_may_do_no_more(tmp_path: Path) -> None:
    place = tmp_path / "x"
    (tried,) = ask(place, "forked:", seconds=10)
    assert technical(tried)["code"] != 0
    assert sorted(os.listdir(place)) == ["0"]


def test_modules_are_never_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    (told,) = ask(tmp_path / "x", "good")
    assert told.outcome == "identified"


_PARENT = """
import os, sys, time
from archiver.identify import Identifier, Limits
place = sys.argv[1]
identifier = Identifier([place], Limits(seconds=60, namespaces=sys.argv[2] == "1"), tools={tools!r})
print("begun", flush=True)
identifier.record(place + "/0", "data/0")
"""


@pytest.mark.parametrize("namespaces", ["1", "0"])
@pytest.mark.parametrize("fault", ["hang", "daemon"])
def test_no_child_outlives_a_parent_that_is_killed(
    tmp_path: Path, namespaces: str, fault: str
) -> None:
    (tmp_path / "0").write_text(f"{fault}:stay")
    code = _PARENT.replace("{tools!r}", repr(FAULTS))
    command = [sys.executable, "-c", code, str(tmp_path), namespaces]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        deadline = time.monotonic() + 20
        while not _descendants(parent.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        below = _descendants(parent.pid)
        assert below
        parent.kill()
    deadline = time.monotonic() + 20
    while any(_is_alive(one) for one in below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [one for one in below if _is_alive(one)] == []
    while any(MARK in line for line in children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(MARK in line for line in children())


def _descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(name)] = int(fields[1])
    found, layer = [], {pid}
    while layer:
        layer = {one for one, parent in parents.items() if parent in layer}
        found += sorted(layer)
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_that_was_ended_from_outside_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("good")
    with Identifier([str(tmp_path)], Limits(**QUICK), tools=FAULTS) as identifier:
        first = identifier.record(str(tmp_path / "a"), "data/a")
        for pid in _descendants(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        second = identifier.record(str(tmp_path / "a"), "data/a")
    assert (first.outcome, second.outcome) == ("identified", "identified")
    assert none_left() == []


def test_what_waits_can_be_broken_off(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def stop() -> None:
        raise Stop

    (tmp_path / "a").write_text("hang:")
    begun = time.monotonic()
    limits = Limits(seconds=60)
    with Identifier([str(tmp_path)], limits, tools=FAULTS, waiting=stop) as identifier:
        with pytest.raises(Stop):
            identifier.record(str(tmp_path / "a"), "data/a")
        assert none_left() == []
    assert time.monotonic() - begun < 20


def test_a_tool_that_cannot_be_loaded_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("good")
    for tools in (("no.such:Tool",), ("no.such:Tool", *FAULTS)):
        with Identifier([str(tmp_path)], Limits(), tools=tools) as identifier:
            told = identifier.record(str(tmp_path / "a"), "data/a")
            assert identifier.unusable == ("no.such:Tool",)
        assert told.outcome == ("identified" if FAULTS[0] in tools else "not asked")


def test_a_child_that_cannot_be_started_is_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.identify.keeper._BOOT", "raise SystemExit('broken')")
    with pytest.raises(ChildDiedError, match="ended itself"):
        Child([str(tmp_path)], FAULTS, Limits())
    (tmp_path / "a").write_text("good")
    with Identifier([str(tmp_path)], Limits(), tools=FAULTS) as identifier:
        told = [identifier.record(str(tmp_path / "a"), "data/a").reason for _time in range(5)]
    assert all("the child can't be started" in one for one in told)
    assert "it failed before" in told[4]


def test_a_child_is_replaced_before_its_limits_end_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("good")
    with Keeper([str(tmp_path)], Limits(), FAULTS) as keeper:
        keeper.ask(FAULTS[0], str(tmp_path / "a"), 5)
        assert keeper._child is not None
        first = keeper._child
        first.busy_seconds = 1e6
        keeper.ask(FAULTS[0], str(tmp_path / "a"), 5)
        assert keeper._child is not first


def test_each_bag_has_its_own_view(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two/secret").write_text("Maria")
    (tmp_path / "one/0").write_text(f"pry:{tmp_path}/two/secret:1:")
    (tmp_path / "two/0").write_text("good")
    with Identifier((), Limits(**QUICK), tools=FAULTS) as identifier:
        identifier.begin([str(tmp_path / "two")])
        assert identifier.record(str(tmp_path / "two/0"), "data/0").outcome == "identified"
        identifier.begin([str(tmp_path / "one")])
        told = technical(identifier.record(str(tmp_path / "one/0"), "data/0"))
        if any("landlock" in one for one in identifier.confinement):
            assert told["secret"].startswith("refused")
