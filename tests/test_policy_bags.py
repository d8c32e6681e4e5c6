"""Hostile bags judged by policies: no traceback, no endless reading, nothing taken for good."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.bag import archive
from archiver.custody import CUSTODY_PATH
from archiver.describe import DESCRIPTION_PATH
from archiver.describe.owed import checked_policy
from archiver.policy import ScanPolicy, load_policy
from archiver.verify import Verdict
from archiver.verify.formats import FORMATS_PATH
from archiver.verify.policy import IDENTITY_PATH
from tests.helpers import Bag, verify
from tests.policies import (
    AGE,
    OPEN,
    SCANNED,
    SEALED,
    TALKING,
    Kit,
    age_file,
    described,
    judged,
    unproved,
)
from tests.sealing import outcome

SEALED_DESCRIPTION = DESCRIPTION_PATH + ".age"


# -- hostile records


HOSTILE: list[bytes] = [
    b"",
    b"\n",
    b"null\n",
    b"[]\n",
    b"\xff\n",
    b"{" * 100_000 + b"\n",
    b'{"a":' * 50_000 + b"\n",
    b"[" * 100_000 + b"]" * 100_000 + b"\n",
    b'{"path":"data/a.mp4","path":"data/b","puid":"","mime":"video/mp4","outcome":"identified"}\n',
    b'{"path":"data/a.mp4","puid":NaN,"mime":"video/mp4","outcome":"identified"}\n',
    b'{"path":"data/a.mp4","puid":"","mime":"video/mp4","outcome":"identified","x":Infinity}\n',
    b'{"path":["data/a.mp4"],"puid":"","mime":"video/mp4","outcome":"identified"}\n',
    b'{"path":"../a.mp4","puid":"","mime":"video/mp4","outcome":"identified"}\n',
    b'{"path":"data/a.mp4","mime":"video/mp4","outcome":"identified"}\n',
    b'{"path":"data/a.mp4","puid":"' + b"x" * (2 << 20) + b'","mime":"","outcome":"failed"}\n',
    b"1" * 5000 + b"\n",
    b'{"schema":"archiver/description/1","kind":"video","recorded":{},"title":1e999}\n',
    *(
        b'{"schema":"archiver/formats/1"}\n' + one
        for one in (
            b"null\n",
            b'{"path":"data/a.mp4","path":"data/b","puid":"","mime":"","outcome":"identified"}\n',
            b'{"path":["data/a.mp4"],"puid":"","mime":"video/mp4","outcome":"identified"}\n',
            b'{"path":"../a.mp4","puid":"","mime":"video/mp4","outcome":"identified"}\n',
            b'{"path":"data/a.mp4","mime":"video/mp4","outcome":"identified"}\n',
            b"[" * 100_000 + b"]" * 100_000 + b"\n",
        )
    ),
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("path", [FORMATS_PATH, DESCRIPTION_PATH, CUSTODY_PATH])
def test_hostile_records_are_never_taken_for_good(tmp_path: Path, path: str, data: bytes) -> None:
    kit = SCANNED.with_tags({path: data})
    policy = replace(unproved(checked_policy("video")), scan=ScanPolicy(required=True))
    result, codes = judged(policy, kit.write(tmp_path / "bag"))
    assert result in ("fails", "undecided")
    assert codes


def test_a_megabyte_of_description_is_too_much(tmp_path: Path) -> None:
    kit = OPEN.with_tags({DESCRIPTION_PATH: described("video") + b" " * (1 << 20)})
    policy = unproved(checked_policy("evidence"))
    assert judged(policy, kit.write(tmp_path / "bag")) == ("fails", {"E-POL-011"})


@pytest.mark.parametrize("path", [FORMATS_PATH, DESCRIPTION_PATH, SEALED_DESCRIPTION])
@pytest.mark.parametrize("make", ["link", "pipe", "directory"])
def test_records_that_are_no_files(tmp_path: Path, path: str, make: str) -> None:
    bag = OPEN.with_tags({SEALED_DESCRIPTION: None}).write(tmp_path / "bag")
    outside = tmp_path / "outside"
    outside.write_bytes(described("video"))
    place = bag / path
    place.unlink(missing_ok=True)
    made: dict[str, Callable[[], object]] = {
        "link": lambda: place.symlink_to(outside),
        "pipe": lambda: os.mkfifo(place),
        "directory": place.mkdir,
    }
    made[make]()
    report = verify(bag, policy=unproved(checked_policy("video")))
    if path != SEALED_DESCRIPTION:
        assert report.verdict is Verdict.INVALID
        assert outcome(report, "policy") != "holds"


# -- archives


def zipped(bag: Path, damaged: str = "") -> Path:
    """The bag in a zip; of the file ``damaged`` a byte is not what it was."""
    made = bag.with_suffix(".zip")
    with zipfile.ZipFile(made, "w") as file:
        for path in sorted(one for one in bag.rglob("*") if one.is_file()):
            file.write(path, f"{bag.name}/{path.relative_to(bag)}")
        place = file.getinfo(f"{bag.name}/{damaged}").header_offset if damaged else 0
    if damaged:
        data = bytearray(made.read_bytes())
        data[place + 30 + len(bag.name) + 1 + len(damaged) + 25] ^= 1
        made.write_bytes(data)
    return made


def test_a_bag_in_a_zip_is_judged_like_any(tmp_path: Path) -> None:
    policy = unproved(checked_policy("video"))
    assert judged(policy, zipped(OPEN.write(tmp_path / "bag"))) == ("holds", set())
    fast = verify(zipped(OPEN.write(tmp_path / "two")), policy=policy, fast=True)
    assert (fast.verdict, outcome(fast, "policy")) == (Verdict.COMPLETE, "holds")


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.timeout(120)
def test_an_archive_can_not_make_us_read_it_over_and_over(tmp_path: Path, linked: bool) -> None:
    """Behind forty megabytes: a thousand files in the wrong order, or names of one file."""
    closed = age_file()
    files = {f"data/{number:04}.age": closed for number in range(1000)}
    large = closed + bytes(40 << 20)
    kit = replace(TALKING, files={**files, "data/0.age": large, IDENTITY_PATH: closed})
    bag = kit.write(tmp_path / "bag")
    made = tmp_path / "bag.tar.gz"
    names = ["data/0.age", *sorted(files, reverse=True), IDENTITY_PATH]
    with tarfile.open(made, "w:gz", compresslevel=1) as file:
        for path in [
            *sorted(bag.rglob("*.txt")),
            bag / DESCRIPTION_PATH,
            *(bag / n for n in names),
        ]:
            info = file.gettarinfo(path, f"bag/{path.relative_to(bag)}")
            if linked and str(path.relative_to(bag)) in list(files)[:-1]:
                info.type, info.size = tarfile.LNKTYPE, 0
                info.linkname = f"bag/{list(files)[-1]}"
            with path.open("rb") as data:
                file.addfile(info, data if info.size else None)
    assert judged(unproved(checked_policy("statement")), made) == ("holds", set())


@pytest.mark.parametrize(
    ("kit", "path"),
    [
        (SCANNED, DESCRIPTION_PATH),
        (SCANNED, FORMATS_PATH),
        (SCANNED, CUSTODY_PATH),
        (SEALED, SEALED_DESCRIPTION),
        (SEALED, "data/0001.age"),
    ],
)
def test_what_can_not_be_read_is_undecided(tmp_path: Path, kit: Kit, path: str) -> None:
    wanted = checked_policy("statement" if kit is SEALED else "video")
    policy = replace(unproved(wanted), scan=ScanPolicy(required=kit is SCANNED))
    report = verify(zipped(kit.write(tmp_path / "bag"), path), policy=policy)
    assert path in [one.path for one in report.findings if one.code == "U-POL-015"]
    assert outcome(report, "policy") == "undecided"


def test_of_an_archive_that_is_not_read_nothing_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_FREE_EXPANSION_BYTES", 1 << 19)
    bag = Bag({"data/zeros": bytes(1 << 20)}, algorithms=("sha512", "sha256")).write(tmp_path / "b")
    made = tmp_path / "b.zip"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(one for one in bag.rglob("*") if one.is_file()):
            file.write(path, f"b/{path.relative_to(bag)}")
    report = verify(made, policy=load_policy("default"), max_expansion=2)
    assert report.verdict in (Verdict.UNDECIDED, Verdict.INVALID)
    assert outcome(report, "policy") != "holds"


# -- what looks like age


NOT_AGE: list[bytes] = [
    b"",
    b"age-encryption.org/v1",
    b"age-encryption.org/v1\n",
    b"age-encryption.org/v1\nI saw it, and my name is",
    b"age-encryption.org/v2\n" + AGE[22:] + b"x" * 48,
    AGE,
    AGE + b"x" * 31,
    AGE.replace(b"X25519", b"") + b"x" * 48,
    AGE.replace(b"--- ", b"-- ") + b"x" * 48,
    AGE.replace(b"B" * 43, b"B" * 64) + b"x" * 48,
    AGE.replace(b"B" * 43, b"B" * 65) + b"x" * 48,
    b"age-encryption.org/v1\n--- " + b"C" * 43 + b"\n" + b"x" * 48,
    b"age-encryption.org/v1\n-> X " + b"A" * (1 << 17),
    b" " + AGE + b"x" * 48,
]


@pytest.mark.parametrize("data", NOT_AGE, ids=range(len(NOT_AGE)))
def test_what_only_begins_like_age_is_no_age_file(tmp_path: Path, data: bytes) -> None:
    kit = replace(TALKING, files={"data/0001.age": data, IDENTITY_PATH: age_file()})
    policy = unproved(checked_policy("statement"))
    assert judged(policy, kit.write(tmp_path / "bag")) == ("fails", {"E-POL-040"})


@pytest.mark.parametrize("length", [32, 33, 200_000])
def test_headers_with_several_recipients_and_full_lines(tmp_path: Path, length: int) -> None:
    stanza = b"-> scrypt salt 18\n" + b"D" * 64 + b"\n" + b"\n"
    data = AGE.replace(b"--- ", stanza + b"--- ") + b"x" * length
    kit = replace(TALKING, files={"data/0001.age": data, IDENTITY_PATH: age_file()})
    policy = unproved(checked_policy("statement"))
    assert judged(policy, kit.write(tmp_path / "bag")) == ("holds", set())
