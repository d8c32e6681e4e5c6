"""The child's parts in this process, where coverage looks: rights are taken from a thread."""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archiver.identify import child, confine, tools
from tests.identify.faults import Tool


def in_thread(work: Callable[[], Any]) -> Any:
    """Landlock and seccomp hold for the thread that asks for them, which ends here."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    (one,) = found
    return one


def test_a_view_of_one_directory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a", "out"):
        (tmp_path / name).write_text("x")

    def work() -> tuple[int, list[str]]:
        confine.no_new_privileges()
        abi = confine.read_only_view([str(tmp_path / "in"), str(tmp_path / "missing")])
        return abi, [_tried(tmp_path / "in/a", "r"), _tried(tmp_path / "out", "r")]

    abi, tried = in_thread(work)
    if abi:
        assert tried == ["done", "PermissionError"]
    assert _tried(tmp_path / "out", "r") == "done"  # this thread is as it was


def test_calls_are_filtered(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")

    def work() -> tuple[bool, list[str]]:
        confine.no_new_privileges()
        filtered = confine.filter_calls()
        return filtered, [_tried(tmp_path / "a", "r"), _tried(tmp_path / "a", "a")]

    filtered, tried = in_thread(work)
    if filtered:
        assert tried == ["done", "PermissionError"]
    assert _tried(tmp_path / "a", "a") == "done"


def _tried(path: Path, mode: str) -> str:
    try:
        with open(path, mode):
            return "done"
    except OSError as error:
        return type(error).__name__


def test_what_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_thread(confine.new_namespaces)  # not with several threads
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert not confine.filter_calls()
    for answers in ([0], [3, -1]):
        left = iter(answers)
        monkeypatch.setattr(
            confine, "_libc", SimpleNamespace(syscall=lambda *_given, left=left: next(left))
        )
        assert confine.read_only_view(["/"]) == 0


def test_the_filter_is_a_program_whose_jumps_stay_within() -> None:
    for arch, refused, opening in confine._MACHINES.values():
        rows = [struct.unpack("=HBBI", one) for one in confine._program(arch, refused, opening)]
        assert len(rows) < 4096
        assert rows[-1] == (0x06, 0, 0, 0x7FFF0000)
        for place, (code, true, false, _operand) in enumerate(rows):
            if code & 0x07 == 0x05:
                assert place + 1 + max(true, false) < len(rows)
        numbers = [one for group in refused for one in group]
        assert len(numbers) == len(set(numbers))


def test_a_limit_is_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, given: kept.append(given))
    for hard, asked, given in ((5, 3, 3), (5, 9, 5), (resource.RLIM_INFINITY, 9, 9), (0, 9, 0)):
        monkeypatch.setattr(resource, "getrlimit", lambda _kind, hard=hard: (0, hard))
        confine.limit(resource.RLIMIT_CORE, asked)
        assert kept.pop() == (given, given)
    confine.die_with_parent(0)


class Moody(Tool):
    def run(self, path: str) -> dict[str, Any]:
        if path == "memory":
            raise MemoryError
        if path == "value":
            raise ValueError("x" * 1000)
        return {"technical": {"bytes": b"raw"}}


def test_requests_and_answers() -> None:
    reading, writing = os.pipe()
    requests = [
        json.dumps({"tool": "moody", "path": path}).encode() for path in ("memory", "value", "ok")
    ]
    child._answer({"moody": Moody()}, requests, writing)
    os.close(writing)
    with open(reading, "rb") as answers:
        first, second, third = [json.loads(line) for line in answers]
    assert first == {"error": "memory"}
    assert second["error"].startswith("ValueError: xxx")
    assert len(second["error"]) == 500
    assert third == {"technical": {"bytes": "b'raw'"}}


def test_how_it_tells_of_its_confinement() -> None:
    told = child._told(7, filtered=True, namespaces=True)
    assert told[2:] == ["namespaces: user, network, processes", "landlock 7", "seccomp"]
    assert child._told(0, filtered=False, namespaces=False) == ["limits", "no new privileges"]
    order = {"memory_bytes": 1, "programs": {}, "tools": ["c2pa"]}
    assert list(child._load(order)[0]) == ["c2pa"]
    loaded, unusable = child._load({**order, "tools": ["no.such:Tool", "c2pa"]})
    assert (list(loaded), list(unusable)) == (["c2pa"], ["no.such:Tool"])


def match(**changes: str) -> dict[str, str]:
    usual = {"id": "fmt/1", "format": "F", "version": "1", "mime": "a/b", "class": "Image"}
    return {**usual, "basis": "byte match", "warning": "", **changes}


class Scanner:
    """As pygfried's, with the answer that is wanted."""

    matches: list[dict[str, str]] = []  # noqa: RUF012 - set by the tests
    errors = ""

    def identify(self, _path: str, *, detailed: bool) -> dict[str, Any]:
        assert detailed
        return {"files": [{"matches": self.matches, "errors": self.errors}]}

    def identify_many(self, _paths: list[str]) -> dict[str, Any]:
        raise OSError("no file")


def test_siegfried_says_what_else_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "empty").write_text("")
    monkeypatch.setitem(sys.modules, "pygfried", SimpleNamespace(Scanner=Scanner))
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "9")
    tool = tools.load_tool("siegfried", {}, 0)
    assert tool.version == "pygfried 9"
    monkeypatch.setattr(Scanner, "matches", [match(warning="w"), match(id="fmt/2")])
    monkeypatch.setattr(Scanner, "errors", "odd")
    told = tool.run(str(tmp_path / "a"))["format"]
    assert (told["puid"], told["class"]) == ("fmt/1", "Image")
    assert told["warnings"] == ["w", "odd", "also possible: fmt/2"]
    monkeypatch.setattr(Scanner, "matches", [match(id="UNKNOWN", warning="no match")])
    assert tool.run(str(tmp_path / "a")) == {"format": {"warnings": ["no match", "odd"]}}
    assert tool.run(str(tmp_path / "empty"))["format"]["warnings"] == ["the file is empty"]


def test_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    there: set[str] = set()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in there or None)
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/exiftool")
    assert tools.installed() == ()
    there.add("pygfried")
    assert tools.installed() == ("siegfried", "exiftool", "c2pa")
    there.add("pymediainfo")
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert tools.installed() == ("siegfried", "mediainfo", "c2pa")
    assert tools.programs() == {}


def test_an_exiftool_that_ends_or_never_stops(tmp_path: Path) -> None:
    program = tmp_path / "exiftool"
    for text, told in (("exit 0", "ended"), ("exec yes 12345678", "without end")):
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        with pytest.raises((ChildProcessError, BrokenPipeError)) as raised:
            tools.load_tool("exiftool", {"exiftool": str(program)}, 1 << 30)
        assert isinstance(raised.value, BrokenPipeError) or told in str(raised.value)


def test_claims_by_topic() -> None:
    assert tools._topic("GPSLatitude") == "gps"
    assert tools._topic("com_apple_quicktime_location_ISO6709") == "gps"
    assert (
        tools._topic("Duration") == tools._topic("Width") == tools._topic("File_Created_Date") == ""
    )
    assert tools._topic("CreateDate") == "times"
    assert tools._topic("LensModel") == "device"
    assert tools._topic("Artist") == "people"
    exif = tools._exif_facts(
        {
            "SourceFile": "x",
            "System:FileName": "secret.jpg",
            "ExifTool:Warning": "odd",
            "IFD0:Make": {"not": "text"},
            "IFD0:Model": "M",
        }
    )
    assert exif == {"technical": {"Warning": "odd"}, "found": {"device": {"IFD0:Model": "M"}}}
