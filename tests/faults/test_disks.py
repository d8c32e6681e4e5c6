"""Real file systems with limits: full, without inodes, read-only, gone, exFAT."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.errors import ArchiverError, SourceError, StorageError
from tests.bag.making import (
    At,
    child,
    leftovers,
    make,
    payload,
    record,
    snapshot,
    staging_path,
    tree_bytes,
    verdict,
    write_tree,
)
from tests.faults.checks import run_when_free
from tests.faults.sticks import Stick

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
MB = 1024 * 1024


@contextlib.contextmanager
def tmpfs(place: Path, options: str) -> Iterator[Path]:
    """A small file system in memory."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a tmpfs can't be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {f"d{i}/f{j}": bytes([i]) * 3000 for i in range(5) for j in range(20)}
    return write_tree(tmp_path / "source", files | {"large": os.urandom(MB)})


def attempt(source: Path, bag: Path, tally: Counter[str]) -> bool:
    """Whether a bag could be made; where not, nothing is left and the error is clean."""
    try:
        make(source, bag)
    except StorageError:
        tally["refused"] += 1
        assert os.listdir(bag.parent) == []
        return False
    assert verdict(bag) == "valid"
    assert payload(bag) == tree_bytes(source)
    tally["whole"] += 1
    assert leftovers(bag.parent) == []
    return True


def test_too_small_at_many_sizes(
    source: Path, tmp_path: Path, full: bool, tally: Counter[str]
) -> None:
    sizes = range(4, 2400, 20 if full else 200)
    before = snapshot(source)
    made = []
    for kilobytes in sizes:
        with tmpfs(tmp_path / f"t{kilobytes}", f"size={kilobytes}k") as disk:
            made.append(attempt(source, disk / "bag", tally))
    assert not made[0]
    assert made[-1]
    assert made == sorted(made)
    assert snapshot(source) == before


def test_filled_by_somebody_else_meanwhile(
    source: Path, tmp_path: Path, full: bool, tally: Counter[str]
) -> None:
    """There was room when it was asked; from some moment on there is none."""
    for left in range(0, 2000, 40 if full else 400):
        with tmpfs(tmp_path / f"t{left}", "size=8m") as disk:

            def fill(disk: Path = disk, left: int = left) -> None:
                free = os.statvfs(disk).f_bavail * 4096
                with open(disk / "filler", "wb") as file:
                    os.posix_fallocate(file.fileno(), 0, max(4096, free - left * 1024))

            try:
                make(source, disk / "bag", progress=At("expect", fill))
            except StorageError as error:
                assert "no space left" in error.message
                tally["no space"] += 1
                assert os.listdir(disk) == ["filler"]
            else:
                assert verdict(disk / "bag") == "valid"
                tally["whole"] += 1


def test_too_few_inodes(source: Path, tmp_path: Path, full: bool, tally: Counter[str]) -> None:
    for inodes in range(2, 140, 4 if full else 23):
        with tmpfs(tmp_path / f"t{inodes}", f"size=8m,nr_inodes={inodes}") as disk:
            made = attempt(source, disk / "bag", tally)
            assert made == (inodes >= 124) or 110 < inodes < 124


def test_a_read_only_destination(source: Path, tmp_path: Path, tally: Counter[str]) -> None:
    with tmpfs(tmp_path / "disk", "size=8m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StorageError, match="Read-only"):
            make(source, disk / "bag")
        assert os.listdir(disk) == []
        tally["refused"] += 1


def test_a_destination_that_becomes_read_only(source: Path, tmp_path: Path) -> None:
    """The program tells the first error; the same process can try again."""

    def remount() -> None:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    with tmpfs(tmp_path / "disk", "size=8m") as disk:
        with pytest.raises(StorageError, match="Read-only"):
            make(source, disk / "bag", progress=At("expect", remount))
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        make(source, disk / "bag")
        assert verdict(disk / "bag") == "valid"
        assert leftovers(disk) == []


def test_a_killed_run_leaves_room_for_the_next(tmp_path: Path, tally: Counter[str]) -> None:
    """The staged part takes most of the room; the second run needs only the rest."""
    files = {f"d{i}": os.urandom(MB) for i in range(60)}
    source = write_tree(tmp_path / "source", files)
    with tmpfs(tmp_path / "disk", "size=80m") as disk:
        process = child(source, disk / "bag", "0", "1")
        for _ in range(5000):
            if os.statvfs(disk).f_bavail * 4096 < 40 * MB:
                break
            time.sleep(0.0005)
        process.kill()
        process.communicate()
        tally["kills"] += 1
        assert staging_path(disk / "bag").exists()
        _out, err, code = run_when_free(source, disk / "bag")
        assert code == 0, err
        assert payload(disk / "bag") == tree_bytes(source)


def test_a_sparse_file_larger_than_the_disk(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "source", {"image": b"head"})
    os.truncate(source / "image", 64 * MB)
    with tmpfs(tmp_path / "disk", "size=8m") as disk:
        make(source, disk / "bag")
        assert verdict(disk / "bag") == "valid"


def test_a_source_that_is_unmounted(source: Path, tmp_path: Path, tally: Counter[str]) -> None:
    with tmpfs(tmp_path / "stick", "size=8m") as stick:
        write_tree(stick, {"a": b"a", "b": b"b"})
        unmount = At("expect", lambda: subprocess.run(["umount", "-l", stick], check=True))
        with pytest.raises(SourceError):
            make(stick, tmp_path / "bag", progress=unmount)
        tally["sources gone"] += 1
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "bag").exists()


# -- exFAT, through FUSE on a loop device


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[Stick]:
    try:
        made = Stick(tmp_path / "stick.img", tmp_path / "stick")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"exFAT needs mkfs.exfat, mount.exfat-fuse and a loop device: {error}")
    yield made
    made.remove()


def test_a_bag_on_an_exfat_stick(source: Path, stick: Stick, tally: Counter[str]) -> None:
    os.utime(source / "large", ns=(10**18, 1_234_567_890_120_000_000))
    bag = stick.place / "bag"
    made = make(source, bag)
    assert "rename" in made.weaknesses
    assert verdict(bag) == "valid"
    assert payload(bag) == tree_bytes(source)
    assert abs((bag / "data/large").stat().st_mtime - 1_234_567_890) <= 2
    assert record(bag, "data/large")["mtime_ns"] == 1_234_567_890_120_000_000
    assert leftovers(stick.place) == []
    with pytest.raises(ArchiverError, match="exists already"):
        make(source, bag)
    tally["whole"] += 1


@pytest.mark.parametrize("name", ["a:b", "q?", "x" * 256])
def test_names_that_exfat_cannot_keep(source: Path, stick: Stick, name: str) -> None:
    """A clean error, and nothing left."""
    if len(name) > 255:
        name = "é" * 127
    (source / name).write_bytes(b"x")
    try:
        make(source, stick.place / "bag")
    except StorageError as error:
        assert name[:3] in error.message
        assert os.listdir(stick.place) == []
    else:
        assert verdict(stick.place / "bag") == "valid"


def test_a_source_stick_that_is_pulled_out(
    stick: Stick, tmp_path: Path, tally: Counter[str]
) -> None:
    """Its driver dies while a file is read: the kernel answers with errors from then on."""
    write_tree(stick.place, {"a": b"a", "b": os.urandom(MB)})
    with pytest.raises(SourceError):
        make(stick.place, tmp_path / "bag", progress=At("expect", stick.remove))
    tally["sources gone"] += 1
    assert not (tmp_path / "bag").exists()
    assert leftovers(tmp_path) == []


def test_a_destination_stick_that_is_pulled_out(
    source: Path, stick: Stick, tally: Counter[str]
) -> None:
    def pull() -> None:
        stick.driver.kill()
        stick.driver.wait()

    with pytest.raises(StorageError):
        make(source, stick.place / "bag", progress=At("expect", pull))
    tally["destinations gone"] += 1


def test_a_stick_that_is_too_full(stick: Stick, tmp_path: Path, tally: Counter[str]) -> None:
    source = write_tree(tmp_path / "big", {"large": os.urandom(40 * MB)})
    with open(stick.place / "filler", "wb") as file:
        file.write(bytes(20 * MB))
    with pytest.raises(StorageError, match="needs about"):
        make(source, stick.place / "bag")
    tally["refused"] += 1
    assert os.listdir(stick.place) == ["filler"]
