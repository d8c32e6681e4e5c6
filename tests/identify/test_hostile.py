"""A hundred hostile media files: preserved, all of them, and the record says what went wrong."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.identify import Identifier, Limits
from archiver.identify.record import MAX_RECORD_BYTES, OUTCOMES
from archiver.identify.tools import installed
from archiver.policy import FormatPolicy
from archiver.seal.examine import Examiner
from tests.bag.making import OPTIONS, make, verdict
from tests.identify.faults import ACTS
from tests.identify.hostile import COUNT, hostile_files
from tests.identify.looking import FAULTS, none_left

SEED = int(os.environ.get("ARCHIVER_SEED", "20261126"))


def write(place: Path, files: dict[str, bytes]) -> Path:
    place.mkdir()
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place


def records(bag: Path) -> dict[str, dict[str, object]]:
    lines = (bag / "metadata/formats.jsonl").read_bytes().splitlines(keepends=True)
    assert all(len(line) <= MAX_RECORD_BYTES for line in lines)
    assert not any(byte < 32 or byte == 127 for line in lines for byte in line[:-1])
    head, *rest = [json.loads(line) for line in lines]
    assert head == {"schema": "archiver/formats/1"}
    return {one["path"]: one for one in rest}


@pytest.mark.slow
def test_a_hundred_hostile_files_are_all_preserved(tmp_path: Path) -> None:
    files = hostile_files(SEED)
    assert len(files) == COUNT
    source, bag = write(tmp_path / "source", files), tmp_path / "bag"
    policy = replace(OPTIONS.policy, formats=FormatPolicy(seconds=5, memory_mb=256))
    examiner = Examiner(policy, identify=True)
    if "siegfried" not in installed():
        pytest.fail("the development lock brings pygfried")
    try:
        made = make(source, bag, options=replace(OPTIONS, policy=policy, examine=examiner))
    finally:
        examiner.close()
    assert made.payload_files == COUNT
    assert verdict(bag) == "valid"
    for name, data in files.items():
        kept = (bag / "data" / name).read_bytes()
        assert hashlib.sha256(kept).digest() == hashlib.sha256(data).digest()
    told = records(bag)
    assert set(told) == {f"data/{name}" for name in files}
    assert {one["outcome"] for one in told.values()} <= set(OUTCOMES)
    assert all(one["reason"] for one in told.values() if one["outcome"] in OUTCOMES[2:])
    assert none_left() == []
    assert not Path("/tmp/archiver-was-here").exists()
    assert sorted(os.listdir(source)) == sorted(files)


def test_parsers_that_hang_or_eat_memory_among_sound_files(tmp_path: Path) -> None:
    """Each kind of fault between two files that are sound."""
    faults = [f"{kind}:{'raw' if kind == 'die' else '1:2:'}" for kind in ACTS if kind != "pry"]
    contents = [one for fault in faults for one in ("good", fault, "good")]
    source = write(tmp_path / "s", {f"{n:03}": c.encode() for n, c in enumerate(contents)})
    limits = Limits(seconds=1.5, memory_bytes=128 << 20)
    told = []
    with Identifier([str(source)], limits, tools=FAULTS) as identifier:
        for number in range(len(contents)):
            name = f"{number:03}"
            told.append(identifier.record(str(source / name), f"data/{name}"))
    sound = [one.outcome for one, text in zip(told, contents, strict=True) if text == "good"]
    assert sound == ["identified"] * (2 * len(faults))
    wrong = {
        text.partition(":")[0]: one.outcome
        for one, text in zip(told, contents, strict=True)
        if text != "good"
    }
    assert {wrong["hang"], wrong["spin"]} == {"timed out"}
    assert {wrong["eat"], wrong["eat-c"]} == {"out of memory"}
    assert {wrong["die"], wrong["leave"], wrong["flood"]} == {"failed"}
    assert none_left() == []


def test_after_many_files_that_hang_the_rest_is_not_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.identify.asking._PATIENCE", 2)
    source = write(tmp_path / "s", {f"{n}": b"hang:" for n in range(3)} | {"3": b"good"})
    with Identifier([str(source)], Limits(seconds=0.5), tools=FAULTS) as identifier:
        told = [identifier.record(str(source / f"{n}"), f"data/{n}") for n in range(4)]
        identifier.begin([str(source)])
        after = identifier.record(str(source / "3"), "data/3")
    assert [one.outcome for one in told] == ["timed out", "timed out", "not asked", "not asked"]
    assert "2 files before" in told[3].reason
    assert after.outcome == "identified"


def test_answers_that_lie_are_cut_and_spelt_out(tmp_path: Path) -> None:
    source = write(tmp_path / "s", {"0": b"lie:"})
    with Identifier([str(source)], Limits(), tools=FAULTS) as identifier:
        told = identifier.record(str(source / "0"), "data/0")
    assert (told.puid, told.mime, told.version) == ("", "", "")
    assert told.outcome == "unknown"
    line = told.line()
    assert not any(byte < 32 or byte == 127 for byte in line[:-1])
    text = line.decode()
    assert "\x9b" not in text
    assert "\u202e" not in text
    assert json.loads(line)["format"] == "\x1b]0;owned\x07\x9b31m\u202e"
    assert "c2pa" not in json.loads(line)
    assert set(json.loads(line)["found"]) == {"gps"}


def test_what_lies_in_a_payload_and_is_no_file(tmp_path: Path) -> None:
    """A link, a pipe, a directory, nothing at all: put there after the plan was made."""
    source = write(tmp_path / "s", {"real": b"good"})
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    (source / "dir").mkdir()
    with Identifier([str(source)], Limits(seconds=2), tools=FAULTS) as identifier:
        for name in ("link", "pipe", "dir", "missing"):
            told = identifier.record(str(source / name), f"data/{name}")
            assert told.outcome == "failed"
            assert told.reason


def test_a_file_that_is_exchanged_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the look from outside: by a pipe, which nobody writes to, and by a way out."""
    source = write(tmp_path / "s", {"a": b"good"})
    secret = tmp_path / "secret.txt"
    secret.write_text("good")
    monkeypatch.setattr("archiver.identify.asking._unfit", lambda _path: "")
    (source / "a").unlink()
    os.mkfifo(source / "a")
    with Identifier([str(source)], Limits(seconds=1), tools=FAULTS) as identifier:
        assert identifier.record(str(source / "a"), "data/a").outcome == "timed out"
        (source / "a").unlink()
        (source / "a").symlink_to(secret)
        told = identifier.record(str(source / "a"), "data/a")
        if any("landlock" in one for one in identifier.confinement):
            assert told.puid == ""
    assert none_left() == []
