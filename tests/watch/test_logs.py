"""What is said while a hundred thousand files arrive, and what is never said."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest

from archiver.cli.output import printable
from archiver.watch.health import Health
from archiver.watch.logs import JsonLines, Lines, WatchLog, summary_text
from tests.watch.standing import folder, health


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Said:
    """A log, its clock and what it wrote."""

    def __init__(self, **options: Any) -> None:
        self.stream, self.clock = io.StringIO(), Clock()
        self.log = WatchLog(JsonLines(self.stream), clock=self.clock, **options)

    def look(self, health: Health, seconds: float = 1.0) -> list[dict[str, Any]]:
        """The lines of one look, ``seconds`` after the one before."""
        self.clock.now += seconds
        before = self.stream.tell()
        self.log.look(health)
        self.stream.seek(before)
        return [json.loads(line) for line in self.stream.read().splitlines()]


def test_a_hundred_thousand_files_below_a_megabyte() -> None:
    said = Said()
    for archived in range(0, 100_001, 50):  # a look a second, 50 files/s
        said.look(health(folder(seen=100_000 - archived, archived=archived), queue=64))
    said.log.finish(said_last := health(folder(archived=100_000)))
    lines = [json.loads(line) for line in said.stream.getvalue().splitlines()]
    assert len(said.stream.getvalue()) < 100_000
    assert lines[-1]["files"]["archived"] == 100_000
    assert said_last.waiting == 0
    assert {line["event"] for line in lines} == {"progress"}


def test_nothing_new_nothing_said() -> None:
    said = Said()
    said.look(health())
    assert all(said.look(health(), 100.0) == [] for _ in range(50))


def test_changes_are_told_at_once_and_their_end() -> None:
    said = Said(hide=["/srv/vault"])
    said.look(health())
    (line,) = said.look(health(problem="no space left while writing /srv/vault/x"))
    assert (line["event"], line["level"]) == ("target-waits", "warning")
    assert line["reason"] == "no space left while writing …"
    assert said.look(health(problem="no space left while writing /srv/vault/x"), 60) == []
    (line,) = said.look(health(), 60)
    assert line["event"] == "target-goes-on"
    (line,) = said.look(health(folder(paused="not there")), 60)
    assert (line["event"], line["about"]) == ("folder-waits", "folder 1")
    lines = said.look(health(folder(degraded="no watches left")), 60)
    assert [line["event"] for line in lines] == ["folder-goes-on", "hints-waits"]


def test_what_goes_on_and_off_is_told_once_in_a_while() -> None:
    said = Said()
    lines = [said.look(health(problem="x" if number % 2 else "")) for number in range(600)]
    assert sum(map(len, lines)) < 70
    said.clock.now += 60
    assert said.look(health(problem="y"))[0]["reason"] == "y"


def test_the_end_of_it_is_told_at_last() -> None:
    said = Said()
    said.look(health(problem="x"))
    assert said.look(health()) == []
    said.log.finish(health())
    assert "target-goes-on" in said.stream.getvalue()


def test_quarantine_is_a_warning() -> None:
    said = Said()
    said.look(health())
    line = said.look(health(folder(quarantined=2)))[0]
    assert (line["event"], line["level"], line["count"]) == ("quarantined", "warning", 2)


def test_what_cannot_be_ended_is_told_once() -> None:
    said = Said()
    (line, *_more) = said.look(health(left="/v/bags/c/c-E-0001 is there, and it is not intact"))
    assert (line["event"], line["level"]) == ("left", "warning")
    assert "can't be ended" in str(line["message"])
    assert "/v/" not in str(line)
    assert said.look(health(left="/v/bags/c/c-E-0001 is there, and it is not intact")) == []


@pytest.mark.parametrize("names", [False, True])
def test_names_only_where_they_were_asked_for(names: bool) -> None:
    said = Said(names=names)
    said.log.file("archived", b"witness-maria\n\xff.mp4", "in /srv/maria")
    said.look(health(folder(paused="/srv/inbox/witness-maria: gone"), problem="x/maria y"))
    assert ("maria" in said.stream.getvalue()) is names
    for line in said.stream.getvalue().splitlines():
        assert line.isascii()
        json.loads(line)


def test_json_lines_are_one_line_each() -> None:
    said = Said()
    said.log.say("started", "a\nb\u202e\x1b[31m", folders=2)
    (line,) = said.stream.getvalue().splitlines()
    found = json.loads(line)
    assert (found["message"], found["folders"]) == ("a\nb\u202e\x1b[31m", 2)
    assert found["time"].endswith("+00:00")


def test_a_terminal_gets_sentences_and_how_things_stand() -> None:
    stream = Terminal()
    writer = Lines(stream, printable)
    log = WatchLog(writer, clock=Clock())
    log.look(health(folder(seen=3)))
    log.say("x", "steer\x1b[2J")
    log.look(health(folder(archived=3)))
    writer.clear()
    text = stream.getvalue()
    assert "waiting: 3" in text
    assert "steer\\x1b[2J\n" in text
    assert text.endswith("\r\033[K")
    assert text.count("\n") == 1


def test_lines_in_a_file_get_no_live_line() -> None:
    stream = io.StringIO()
    log = WatchLog(Lines(stream, printable), clock=Clock())
    log.look(health(folder(archived=3)))
    assert "\r" not in stream.getvalue()
    assert "archived: 3" in stream.getvalue()


def test_a_full_disk_under_the_log_stops_nothing() -> None:
    with contextlib.suppress(OSError), open("/dev/full", "w") as stream:  # which closing tells
        log = WatchLog(JsonLines(stream))
        log.say("started", "x" * 100_000)
        log.look(health(problem="y"))
        log.say("stopped", "still here")
    closed = io.StringIO()
    closed.close()
    WatchLog(JsonLines(closed)).say("started", "x")


def test_the_summary_says_when_nothing_can_be_archived() -> None:
    assert summary_text(health(folder(archived=1, disposed=1, seen=1))) == (
        "archived: 2, waiting: 1, quarantined: 0"
    )
    assert "now" in summary_text(health(problem="full"))
