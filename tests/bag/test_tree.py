"""A directory's files: links, special files, depths, faults."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from archiver.bag import tree as tree_module
from archiver.bag.tree import DirectoryTree, Listing, kind_of_mode
from archiver.digest import ALGORITHMS
from archiver.digest.worker import open_beneath
from archiver.findings import Findings
from tests.helpers import Bag, codes, digest

SHA512 = ALGORITHMS["sha512"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Bag(tag_files={"tags/x": b"x"}).write(tmp_path / "bag")


def walk(base: Path, *, payload: bool = True) -> tuple[list[str], Findings]:
    findings = Findings()
    tree = DirectoryTree(str(base))
    paths = [path for one in tree.walk(findings, payload=payload) for path in one.paths()]
    tree.close()
    return paths, findings


def test_listings_have_whole_paths() -> None:
    assert Listing("", ["a"], [1]).paths() == ["a"]
    assert Listing("data/d", ["a", "b"], [1, 2]).paths() == ["data/d/a", "data/d/b"]


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        (stat.S_IFLNK, "symbolic link"),
        (stat.S_IFIFO, "named pipe"),
        (stat.S_IFSOCK, "socket"),
        (stat.S_IFBLK, "block device"),
        (stat.S_IFCHR, "character device"),
        (stat.S_IFDIR, "directory"),
        (0, "special file"),
    ],
)
def test_kinds(mode: int, word: str) -> None:
    assert kind_of_mode(mode | 0o644) == word


def test_payload_and_tag_files_are_walked_apart(base: Path) -> None:
    (base / "tags/data").mkdir()
    (base / "tags/data/y").write_bytes(b"")
    assert walk(base)[0] == ["data/a.txt", "data/dir/b.bin"]
    tags = walk(base, payload=False)[0]
    assert {"bagit.txt", "tags/x", "tags/data/y"} <= set(tags)
    assert not any(path.startswith("data/") for path in tags)


def test_what_is_no_directory_is_refused(base: Path) -> None:
    with pytest.raises(NotADirectoryError):
        DirectoryTree(str(base / "bagit.txt"))


def test_base_files_and_directories(base: Path) -> None:
    tree = DirectoryTree(str(base))
    sizes = tree.base_files()
    assert sizes["manifest-sha512.txt"] == (base / "manifest-sha512.txt").stat().st_size
    assert "data" not in sizes
    for path, there in {"data": True, "data/dir": True, "data/a.txt": False, "x": False}.items():
        assert tree.has_directory(path) is there
    tree.close()


def test_opening_is_for_regular_files_within(base: Path) -> None:
    os.mkfifo(base / "pipe")
    os.symlink("/etc", base / "out")
    tree = DirectoryTree(str(base))
    with tree.open("data/a.txt") as stream:
        assert stream.read() == b"alpha\n"
    for path in ("pipe", "data", "out/passwd", "no-such"):
        with pytest.raises(OSError):
            tree.open(path)
    tree.close()


def test_names_of_any_bytes_are_listed(base: Path) -> None:
    name = os.fsdecode(b"\xff\n\xc3\xa9 ")
    (base / "data" / name).write_bytes(b"")
    assert f"data/{name}" in walk(base)[0]


def test_a_link_within_is_read_where_it_leads(base: Path) -> None:
    os.symlink("../data/dir/b.bin", base / "data" / "link")
    findings = Findings()
    tree = DirectoryTree(str(base))
    listings = list(tree.walk(findings, payload=True))
    readings = list(tree.read(listings, (SHA512,), lambda _count: None))
    found = {
        path: reading.digests.hex() for reading in readings for path in reading.listing.paths()
    }
    assert found["data/link"] == found["data/dir/b.bin"] == digest("sha512", b"\0\1\2")
    assert codes(findings) == {"W-BAG-108"}
    with tree.open("data/link") as stream:
        assert stream.read() == b"\0\1\2"
    tree.close()


def test_a_file_replaced_by_a_link_after_listing_is_not_followed(base: Path) -> None:
    tree = DirectoryTree(str(base))
    listings = list(tree.walk(Findings(), payload=True))
    (base / "data/a.txt").unlink()
    os.symlink("/etc/passwd", base / "data/a.txt")
    (base / "data/dir/b.bin").unlink()
    os.mkfifo(base / "data/dir/b.bin")
    errors = [one.errors[0].kind for one in tree.read(listings, (SHA512,), lambda _count: None)]
    assert errors == ["not-regular", "not-regular"]
    tree.close()


def test_a_directory_replaced_by_a_link_while_walking_is_not_followed(
    base: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"")
    tree, findings, seen = DirectoryTree(str(base)), Findings(), []
    for listing in tree.walk(findings, payload=True):
        seen += listing.paths()
        if listing.path == "data":
            (base / "data/dir").rename(tmp_path / "dir")
            os.symlink("../../outside", base / "data/dir")
    tree.close()
    assert seen == ["data/a.txt"]
    assert codes(findings) == {"U-BAG-110"}


def test_depth_has_a_limit(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_DEPTH", 2)
    (base / "data/dir/deeper").mkdir()
    (base / "data/dir/deeper/x").write_bytes(b"")
    paths, findings = walk(base)
    assert paths == ["data/a.txt", "data/dir/b.bin"]
    assert [(one.code, one.path) for one in findings] == [("U-BAG-111", "data/dir/deeper")]


def test_an_unreadable_directory_is_a_doubt(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = open_beneath

    def deny(root: int, path: str, flags: int) -> int:
        if path == "data/dir":
            raise PermissionError(13, "Permission denied")
        return real(root, path, flags)

    monkeypatch.setattr(tree_module, "open_beneath", deny)
    paths, findings = walk(base)
    assert paths == ["data/a.txt"]
    assert [(one.code, one.path) for one in findings] == [("U-BAG-110", "data/dir")]


def test_a_bag_of_somebody_else_is_opened_without_o_noatime(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def deny(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & getattr(os, "O_NOATIME", 0):
            raise PermissionError(1, "Operation not permitted")
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", deny)
    assert walk(base)[0] == ["data/a.txt", "data/dir/b.bin"]


def test_no_descriptor_is_left_open(base: Path) -> None:
    os.symlink("a.txt", base / "data/link")
    os.symlink("/etc", base / "data/out")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        tree = DirectoryTree(str(base))
        list(tree.read(tree.walk(Findings(), payload=True), (SHA512,), lambda _count: None))
        with pytest.raises(OSError):
            tree.open("data/dir")
        tree.close()
    assert len(os.listdir("/proc/self/fd")) == before
