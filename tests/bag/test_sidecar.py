"""``metadata/filesystem.jsonl``: what each kind of path gives."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from archiver.bag.plan import Note, Plan, PlannedDirectory
from archiver.bag.sidecar import sidecar_lines
from archiver.policy import SidecarPolicy
from tests.bag.making import write_tree


def note(kind: str, value: str | None, name: bytes = b"x") -> dict[str, Any]:
    """The record of one note."""
    one = Note(kind=kind, target="data/x", name_bytes=name, value=value)
    _head, line = sidecar_lines(Plan(notes=[one]), {}, SidecarPolicy())
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_head() -> None:
    assert list(sidecar_lines(Plan(), {}, SidecarPolicy())) == [
        '{"schema": "archiver/filesystem/1"}\n'
    ]


def test_notes() -> None:
    place = {"path": "data/x"}
    assert note("link", "a") == place | {"type": "link", "target": "a"}
    assert note("link", None) == place | {"type": "link", "target_withheld": True}
    assert note("link", "a", b"\xff")["name_bytes"] == "ff"


def test_a_target_that_is_not_utf8_is_given_in_bytes() -> None:
    assert note("link", os.fsdecode(b"caf\xe9"))["target_bytes"] == b"caf\xe9".hex()


def test_two_targets_are_never_told_alike() -> None:
    odd, plain = note("link", os.fsdecode(b"caf\xe9")), note("link", "caf\\xe9")
    assert odd != plain


def test_every_line_is_ascii_and_json(tmp_path: Path) -> None:
    name = 'quote" \\ \n \u2028 é \U0001f600'
    source = write_tree(tmp_path / "s", {name: b"12"})
    planned = PlannedDirectory(root=str(source), path="", target="data", mode=0o755, mtime_ns=-5)
    planned.add(name, (source / name).lstat())
    lines = list(sidecar_lines(Plan(directories=[planned]), {}, SidecarPolicy()))
    assert all(line.isascii() and line.count("\n") == 1 for line in lines)
    assert [json.loads(line)["path"] for line in lines[1:]] == ["data", f"data/{name}"]
    assert json.loads(lines[1])["mtime_ns"] == -5
    assert json.loads(lines[2])["size"] == 2


def test_attributes_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    planned = PlannedDirectory(root=str(tmp_path), path="gone", target="data", mode=0o755)
    policy = SidecarPolicy(extended_attributes=True)
    _head, line = sidecar_lines(Plan(directories=[planned]), {}, policy)
    assert "extended_attributes" not in json.loads(line)
