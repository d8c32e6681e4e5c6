"""``metadata/filesystem.jsonl``: what BagIt has no place for.

Job: write, per source path, what the file system knew of it, one JSON object a
line. Limits: nothing about people or machines unless the policy asks: no
owners, no extended attributes (a browser keeps download addresses there), no
absolute paths. Sizes in bytes, times in nanoseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as quote

from archiver.bag.names import is_utf8
from archiver.bag.plan import Note, Plan, PlannedDirectory
from archiver.policy import SidecarPolicy

__all__ = ["SCHEMA", "SIDECAR_PATH", "sidecar_lines", "sizes_and_times"]

SIDECAR_PATH = "metadata/filesystem.jsonl"
SCHEMA = "archiver/filesystem/1"

Holes = dict[str, list[tuple[int, int]]]


def sidecar_lines(plan: Plan, holes: Holes, policy: SidecarPolicy) -> Iterator[str]:
    """The side-car's lines, each with its line break. ``holes`` by path in the bag."""
    yield json.dumps({"schema": SCHEMA}) + "\n"
    for directory in plan.directories:
        if directory.mode >= 0:
            yield _directory_line(directory, policy)
        yield from _file_lines(directory, holes, policy)
    for note in plan.notes:
        yield _note_line(note)
    for pattern, count in plan.excluded.items():
        yield json.dumps({"type": "excluded", "count": count} | _text("pattern", pattern)) + "\n"


def _directory_line(directory: PlannedDirectory, policy: SidecarPolicy) -> str:
    record: dict[str, object] = {
        "path": directory.target,
        "type": "directory",
        "mtime_ns": directory.mtime_ns,
        "mode": f"{directory.mode:04o}",
    }
    if directory.empty:
        record["empty"] = True
    if directory.original:
        record["name_bytes"] = os.fsencode(directory.original).hex()
    record |= _people(os.path.join(directory.root, directory.path), policy)
    return json.dumps(record) + "\n"


def _file_lines(directory: PlannedDirectory, holes: Holes, policy: SidecarPolicy) -> Iterator[str]:
    asks = policy.owners or policy.extended_attributes
    for index, name in enumerate(directory.names):
        stored = directory.target_name(index)
        path = f"{directory.target}/{stored}"
        line = (
            f'{{"path": {quote(path)}, "type": "file", "size": {directory.sizes[index]},'
            f' "mtime_ns": {directory.mtimes[index]}, "mode": "{directory.modes[index]:04o}"'
        )
        if path in holes:
            line += f', "holes": {json.dumps(holes[path])}'
        if stored != name:
            line += f', "name_bytes": "{os.fsencode(name).hex()}"'
        if asks:
            people = _people(os.path.join(directory.root, directory.path, name), policy)
            line += "".join(f", {quote(key)}: {json.dumps(people[key])}" for key in people)
        yield line + "}\n"


def _note_line(note: Note) -> str:
    record: dict[str, object] = {"path": note.target, "type": note.kind}
    if note.kind == "link" and note.value is None:
        record["target_withheld"] = True
    elif note.kind == "link":
        record |= _text("target", note.value or "")
    if note.name_bytes != os.fsencode(note.target.rpartition("/")[2]):
        record["name_bytes"] = note.name_bytes.hex()
    return json.dumps(record) + "\n"


def _people(path: str, policy: SidecarPolicy) -> dict[str, object]:
    """Owners and extended attributes, where the policy asks for them."""
    told: dict[str, object] = {}
    if policy.owners:
        found = os.lstat(path)
        told |= {"uid": found.st_uid, "gid": found.st_gid}
    if policy.extended_attributes and hasattr(os, "listxattr"):
        try:
            names = os.listxattr(path, follow_symlinks=False)
            values = [
                _text("name", name)
                | {"value": os.getxattr(path, name, follow_symlinks=False).hex()}
                for name in names
            ]
        except OSError:
            values = []
        if values:
            told["extended_attributes"] = values
    return told


def _text(key: str, value: str) -> dict[str, object]:
    """``value`` under ``key``, or its bytes under ``key_bytes`` where it is not UTF-8."""
    if is_utf8(value):
        return {key: value}
    return {f"{key}_bytes": os.fsencode(value).hex()}


def sizes_and_times(bag: str) -> dict[str, tuple[int, int]]:
    """(size, mtime in ns) of each file that the side-car in ``bag`` tells of, by its path in
    the bag. Raises OSError, and ValueError or KeyError where it isn't one of ours.
    """
    with open(os.path.join(bag, *SIDECAR_PATH.split("/")), encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    if not records or records[0] != {"schema": SCHEMA}:
        raise ValueError(SIDECAR_PATH)
    files = (one for one in records if one.get("type") == "file")
    return {one["path"]: (one["size"], one["mtime_ns"]) for one in files}
