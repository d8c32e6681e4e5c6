"""The real tools, on files whose facts are known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.identify import FormatRecord, Identifier, Limits, identify_payload, payload_files
from archiver.identify.tools import installed, load_tool, programs
from tests.bag.making import ROOT
from tests.identify.hostile import mp4, pdf, picture, wav
from tests.identify.looking import none_left

pytestmark = pytest.mark.skipif(
    "siegfried" not in installed() and not os.environ.get("ARCHIVER_CI"),
    reason="pygfried isn't installed",
)
exiftool = pytest.mark.skipif(
    not shutil.which("exiftool") and not os.environ.get("ARCHIVER_CI"),
    reason="exiftool isn't installed",
)


@pytest.fixture(scope="module")
def identifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identifier]:
    place = os.path.dirname(tmp_path_factory.getbasetemp())
    with Identifier([place], Limits()) as made:
        yield made
    assert none_left() == []


def record(identifier: Identifier, path: Path) -> FormatRecord:
    return identifier.record(str(path), f"data/{path.name}")


def photo(path: Path) -> Path:
    path.write_bytes(picture("JPEG", (64, 48)))
    claims = {
        "GPSLatitude": "52.5",
        "GPSLatitudeRef": "N",
        "GPSLongitude": "13.25",
        "GPSLongitudeRef": "E",
        "Make": "Canon",
        "SerialNumber": "A-17",
        "DateTimeOriginal": "2024:01:02 03:04:05",
        "Artist": "\x1b[31mAna",
    }
    words = [f"-{tag}={value}" for tag, value in claims.items()]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *words, str(path)], check=True)
    return path


@exiftool
def test_a_photograph_and_what_it_says(identifier: Identifier, tmp_path: Path) -> None:
    told = record(identifier, photo(tmp_path / "photo.jpg"))
    assert (told.outcome, told.puid, told.mime) == ("identified", "fmt/43", "image/jpeg")
    assert told.identifier.startswith("pygfried ")
    assert "PRONOM" in told.identifier
    assert "byte match" in told.basis
    assert told.technical["exiftool"]["ImageWidth"] == 64
    assert told.found["gps"]["exiftool GPS:GPSLatitude"] == 52.5
    assert told.found["device"]["exiftool IFD0:Make"] == "Canon"
    assert told.found["times"]["exiftool ExifIFD:DateTimeOriginal"] == "2024:01:02 03:04:05"
    assert told.found["people"]["exiftool IFD0:Artist"] == "\x1b[31mAna"
    assert b"\x1b" not in told.line()
    assert str(tmp_path).encode() not in told.line()


@exiftool
@pytest.mark.parametrize(
    "name",
    [
        "-config=evil.jpg",
        "@args.jpg",
        "new\nline\r.jpg",
        "pipe; touch x |.jpg",
        " space.jpg ",
        "&amp >x.jpg",
        "back\\slash\n.jpg",
        "%d%f.jpg",
        "ümläut.jpg",
        "#[CSTR]x.jpg",
    ],
)
def test_names_that_a_program_could_take_for_something_else(
    identifier: Identifier, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    shutil.copyfile(photo(tmp_path / "plain.jpg"), path)
    told = record(identifier, path)
    assert told.outcome == "identified"
    assert told.found["gps"]["exiftool GPS:GPSLongitude"] == 13.25
    assert sorted(os.listdir(tmp_path)) == sorted([name, "plain.jpg"])


def test_video_and_sound(identifier: Identifier, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(mp4())
    (tmp_path / "sound.wav").write_bytes(wav())
    clip = record(identifier, tmp_path / "clip.mp4")
    assert clip.mime in ("video/mp4", "application/mp4")
    general = clip.technical["mediainfo"]["tracks"][0]
    assert (general["type"], general["Format"]) == ("General", "MPEG-4")
    assert any("mediainfo" in key for key in clip.found["times"])
    sound = record(identifier, tmp_path / "sound.wav")
    assert sound.technical["mediainfo"]["tracks"][1]["SamplingRate"] == "8000"


@exiftool
def test_pages_of_a_document(identifier: Identifier, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(pdf())
    told = record(identifier, tmp_path / "report.pdf")
    assert told.puid == "fmt/18"
    assert told.technical["exiftool"]["PDFVersion"] == 1.4


def test_text_is_not_asked_about_further(identifier: Identifier, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    told = record(identifier, tmp_path / "note.txt")
    assert (told.puid, told.technical, told.found) == ("x-fmt/111", {}, {})


def test_what_nobody_knows(identifier: Identifier, tmp_path: Path) -> None:
    (tmp_path / "thing.qqq").write_bytes(b"\x01\x02\x03\xfe" * 9)
    (tmp_path / "empty").write_bytes(b"")
    thing = record(identifier, tmp_path / "thing.qqq")
    assert (thing.outcome, thing.puid, thing.reason) == ("unknown", "", "")
    assert thing.warnings
    empty = record(identifier, tmp_path / "empty")
    assert (empty.outcome, empty.warnings) == ("unknown", ("the file is empty",))


def test_a_name_that_lies_is_seen_through(identifier: Identifier, tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(picture("PNG"))
    told = record(identifier, tmp_path / "holiday.mp4")
    assert told.mime == "image/png"
    assert "extension mismatch" in told.warnings


def test_a_name_that_is_no_text(identifier: Identifier, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    Path(os.fsdecode(path)).write_bytes(picture("PNG"))
    told = identifier.record(os.fsdecode(path), "data/x")  # in a bag there is none
    assert told.outcome == "failed"
    assert "siegfried" in told.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(identifier: Identifier, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0)
    assert record(identifier, tmp_path / "a").outcome == "failed"


def test_a_library_that_has_too_little_memory_is_known_as_such(tmp_path: Path) -> None:
    """Go's runtime says so in the first line of many."""
    (tmp_path / "report.pdf").write_bytes(pdf())
    with Identifier([str(tmp_path)], Limits(memory_bytes=8 << 20)) as identifier:
        told = record(identifier, tmp_path / "report.pdf")
    assert told.outcome == "out of memory"


def test_a_payload_in_its_order_and_no_links(identifier: Identifier, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "b").mkdir(parents=True)
    (data / "b/x.txt").write_text("x")
    (data / "a.txt").write_text("a")
    (data / "link").symlink_to("/etc/passwd")
    (data / "away").symlink_to("/etc")
    told = identify_payload(str(tmp_path), payload_files(str(tmp_path)), identifier)
    assert [one.path for one in told] == ["data/a.txt", "data/b/x.txt"]


def test_without_an_identifier(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with Identifier([str(tmp_path)], tools=()) as nobody:
        told = nobody.record(str(tmp_path / "a"), "data/a")
    assert told.outcome == "not asked"
    assert told.reason == "not identified (no identifier installed)"
    with Identifier([str(tmp_path)], tools=("c2pa",)) as only:
        told = only.record(str(tmp_path / "a"), "data/a")
    assert (told.outcome, told.reason) == ("not asked", "not identified (no identifier installed)")


_BLOCKED = """
import sys
for name in ("pygfried", "pymediainfo", "PIL"):
    sys.modules[name] = None
import importlib.util
find = importlib.util.find_spec
blocked = ("pygfried", "pymediainfo", "PIL")
importlib.util.find_spec = lambda name, *more: None if name in blocked else find(name, *more)
from archiver.cli import main
sys.argv = ["archiver", *sys.argv[1:]]
sys.exit(main())
"""


def test_the_core_runs_without_the_extras(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a").write_text("x")
    bag = tmp_path / "bag"
    command = [sys.executable, "-c", _BLOCKED, "bag", "create", str(tmp_path / "s"), "-o", str(bag)]
    environment = {**os.environ, "ARCHIVER_IDENTIFY": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(bag / "metadata")) == ["custody.jsonl", "filesystem.jsonl"]
    assert "format" not in (bag / "metadata/custody.jsonl").read_text()


# -- in this process, where coverage looks


@pytest.fixture
def where() -> dict[str, Any]:
    return programs()


@exiftool
def test_tools_by_themselves(tmp_path: Path, where: dict[str, Any]) -> None:
    path = photo(tmp_path / "a\nb.jpg")
    tool = load_tool("exiftool", where, 1 << 30)
    assert tool.version.startswith("exiftool 1")
    told = tool.run(str(path))
    assert told["found"]["gps"]["GPS:GPSLatitude"] == 52.5
    assert tool.run(str(tmp_path / "missing")) == {}
    process = tool._process  # type: ignore[attr-defined]
    process.kill()
    process.wait()
    assert tool.run(str(path)) == told  # it is started again
    tool.close()  # type: ignore[attr-defined]


def test_mediainfo_by_itself(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(mp4())
    (tmp_path / "none").write_bytes(b"\1\2\3")
    tool = load_tool("mediainfo", {}, 0)
    told = tool.run(str(tmp_path / "clip.mp4"))
    assert told["technical"]["tracks"][0]["Format"] == "MPEG-4"
    assert told["found"]["times"]
    assert tool.run(str(tmp_path / "none")) == {}
