"""Renames that replace nothing, syncs, free space: on real file systems."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from archiver import filesystem
from archiver.filesystem import (
    RenameFallback,
    free_space,
    rename_no_replace,
    sync_directory,
    sync_tree,
    weaknesses,
)
from tests.bag.making import ENVIRONMENT, ROOT, write_tree
from tests.tracing import STRACE, can_trace


def test_rename(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "a", {"x": b"x"})
    rename_no_replace(str(source), str(tmp_path / "b"))
    assert (tmp_path / "b/x").read_bytes() == b"x"


@pytest.mark.parametrize("kind", ["file", "empty", "full", "dangling"])
def test_rename_replaces_nothing(tmp_path: Path, kind: str) -> None:
    source, target = write_tree(tmp_path / "a", {"x": b"x"}), tmp_path / "b"
    if kind == "file":
        target.write_bytes(b"mine")
    elif kind == "dangling":
        target.symlink_to("nowhere")
    else:
        write_tree(target, {"mine": b""} if kind == "full" else {})
    before = os.lstat(target)
    with pytest.raises(FileExistsError):
        rename_no_replace(str(source), str(target))
    assert os.lstat(target) == before
    assert (source / "x").exists()


def test_rename_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename_no_replace(str(tmp_path / "no"), str(tmp_path / "b"))


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "a", {})
    target = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    rename_no_replace(str(source), target)
    assert os.path.isdir(target)


def test_sync(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "a", {"x": b"x", "d/y": b"y"})
    sync_tree(str(tree))
    sync_directory(str(tree))
    with pytest.raises(FileNotFoundError):
        sync_tree(str(tmp_path / "no"))
    with pytest.raises(FileNotFoundError):
        sync_directory(str(tmp_path / "no"))


def test_sync_on_an_old_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where syncfs(2) reports no errors, each file is synced."""
    monkeypatch.setattr(filesystem, "_SYNCFS_REPORTS_ERRORS", (999, 0))
    sync_tree(str(write_tree(tmp_path / "a", {"x": b"x", "d/y": b"y"})))


def test_free_space(tmp_path: Path) -> None:
    free, files = free_space(str(tmp_path))
    assert free > 0
    assert files is None or files > 0


CALLS = """
import sys
from archiver import filesystem
try:
    getattr(filesystem, sys.argv[1])(*sys.argv[2:])
    print("done")
except BaseException as error:
    print(type(error).__name__)
"""


def under(faults: list[str], *arguments: str) -> str:
    """Call a function while a system call fails; "done" or the exception's name."""
    command = [*STRACE, "-o", "/dev/null"]
    command += [word for fault in faults for word in ("-e", f"inject={fault}")]
    if not can_trace():
        pytest.skip("strace is missing or may not trace")
    return subprocess.run(
        [*command, sys.executable, "-c", CALLS, *arguments],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout.strip()


@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM"])
def test_a_plain_rename_where_there_is_no_other(tmp_path: Path, error: str) -> None:
    inject = f"renameat2:error={error}"
    source, target = write_tree(tmp_path / "a", {"x": b""}), tmp_path / "b"
    call = ("rename_no_replace", str(source), str(target))
    target.mkdir()
    assert under([inject], *call) == "FileExistsError"
    target.rmdir()
    assert under([inject], *call) == RenameFallback.__name__
    assert (target / "x").exists()


def test_a_rename_that_fails(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "a", {})
    call = ("rename_no_replace", str(source), str(tmp_path / "b"))
    assert under(["renameat2:error=EIO"], *call) == "OSError"
    assert source.exists()


@pytest.mark.parametrize(
    ("inject", "answer"),
    [
        ("syncfs:error=EIO", "OSError"),
        ("syncfs:error=ENOSPC", "OSError"),
        ("syncfs:error=ENOSYS", "done"),
        ("syncfs:error=EPERM", "done"),
    ],
)
def test_sync_that_fails(tmp_path: Path, inject: str, answer: str) -> None:
    tree = write_tree(tmp_path / "a", {"x": b"x"})
    assert under([inject], "sync_tree", str(tree)) == answer


@pytest.mark.parametrize(("error", "answer"), [("EINVAL", "done"), ("EIO", "OSError")])
def test_directories_that_cannot_be_synced(tmp_path: Path, error: str, answer: str) -> None:
    assert under([f"fsync:error={error}"], "sync_directory", str(tmp_path)) == answer


def test_a_file_that_cannot_be_synced(tmp_path: Path) -> None:
    """No syncfs, and fsync fails: told, not swallowed."""
    tree = write_tree(tmp_path / "a", {"x": b"x"})
    faults = ["syncfs:error=ENOSYS", "fsync:error=EIO"]
    assert under(faults, "sync_tree", str(tree)) == "OSError"


def test_what_a_killed_probe_left_is_no_obstacle(tmp_path: Path) -> None:
    for name in ("probe", 'probe:"*"'):
        (tmp_path / name).touch()
    assert "names" not in weaknesses(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
