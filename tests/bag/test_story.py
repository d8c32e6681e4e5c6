"""What a bag says of itself, and side-cars that lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archiver.bag import story as subject
from archiver.bag.opening import open_tree
from archiver.bag.sidecar import SCHEMA, SIDECAR_PATH
from archiver.bag.story import Story, tell_story
from archiver.errors import FormatError
from archiver.findings import Findings
from tests.bag.archives import Files, bag, write_tree

HEAD = {"schema": SCHEMA}


def story(directory: Path, extra: Files | None = None, base: Files | None = None) -> Story:
    path = write_tree(directory / "bag", (bag() if base is None else base) | (extra or {}))
    tree = open_tree(str(path), Findings(), workers=0)
    try:
        return tell_story(tree)
    finally:
        tree.close()


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_a_whole_story(tmp_path: Path) -> None:
    records = lines(
        HEAD,
        {"path": "data", "type": "directory", "empty": True},
        {"path": "data/a.txt", "type": "file", "mtime_ns": 5, "name_bytes": "00"},
        {"path": "data/b", "type": "file", "mtime_ns": -7},
        {"path": "data/l", "type": "link"},
    )
    told = story(tmp_path, {SIDECAR_PATH: records})
    assert told.payload_files == 4
    assert told.payload_bytes == sum(size for _path, size in told.files)
    assert told.algorithms == ("sha256",)
    assert SIDECAR_PATH in told.tag_files
    assert told.info.first("payload-oxum")
    side = told.sidecar
    assert side is not None
    assert side.kinds == {"directory": 1, "file": 2, "link": 1}
    assert (side.renamed, side.empty_directories) == (1, 1)
    assert (side.earliest_mtime_ns, side.latest_mtime_ns) == (-7, 5)


def test_little_to_tell(tmp_path: Path) -> None:
    told = story(tmp_path, base={"bagit.txt": bag()["bagit.txt"]})
    assert (told.payload_files, told.algorithms, told.sidecar) == (0, (), None)
    assert list(told.info) == []


def test_no_data_and_an_encoding_nobody_knows(tmp_path: Path) -> None:
    declared = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: zlib\n"
    path = tmp_path / "bag"
    write_tree(path, {"bagit.txt": declared})
    (path / "data").rmdir()
    tree = open_tree(str(path), Findings(), workers=0)
    assert tell_story(tree).declaration.encoding == "UTF-8"
    tree.close()


@pytest.mark.parametrize("base", [{}, {"bagit.txt": b"nonsense"}])
def test_no_bag(tmp_path: Path, base: Files) -> None:
    with pytest.raises(FormatError, match="no bag"):
        story(tmp_path, base=base)


def test_many_files_are_counted_and_some_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MAX_FILES_SHOWN", 5)
    payload = {f"data/{n % 4}/{n}": b"x" for n in range(40)}
    told = story(tmp_path, base=bag(payload))
    assert (told.payload_files, len(told.files)) == (40, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"not json\n",
        b"[]\n",
        lines({"schema": "other/1"}),
        lines(HEAD, {"type": "file"}),
        lines(HEAD, {"type": "file", "mtime_ns": None}),
        lines(HEAD, {"type": "file", "mtime_ns": "x"}),
        lines(HEAD) + b'{"type": "file", "mtime_ns": NaN}\n',
        lines(HEAD, "text"),
        lines(HEAD) + b"\xff\n",
        lines(HEAD) + b'{"a": ' + b"9" * 5000 + b"}\n",
        lines(HEAD) + b"x" * (3 << 20),
    ],
    ids=range(13),
)
def test_a_damaged_side_car_is_none(tmp_path: Path, data: bytes) -> None:
    assert story(tmp_path, {SIDECAR_PATH: data}).sidecar is None


@pytest.mark.parametrize(
    "data",
    [
        lines(HEAD) + b"[" * 100_000 + b"\n",
        lines(HEAD) + b'{"type": "file", "mtime_ns": 1e999}\n',
        lines(HEAD) + b'{"type": "file", "mtime_ns": Infinity}\n',
    ],
    ids=["deep", "1e999", "Infinity"],
)
def test_a_hostile_side_car_is_none(tmp_path: Path, data: bytes) -> None:
    assert story(tmp_path, {SIDECAR_PATH: data}).sidecar is None


def test_a_side_car_cannot_fill_memory(tmp_path: Path) -> None:
    records = lines(HEAD, *({"type": f"{n}" + "x" * 10_000} for n in range(300)))
    side = story(tmp_path, {SIDECAR_PATH: records}).sidecar
    assert side is None or sum(map(len, side.kinds)) < 10_000
