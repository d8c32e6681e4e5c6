"""Temporary directories that are removed whatever happens, and room for them."""

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.datasets import DataSet
from benchmarks.environment import available_memory_bytes, file_system

# Source and bag exist at the same time, and a bag's manifests are small.
_COPIES = 2.1
# Of the memory that is available, some has to stay for the programs that are measured.
_MEMORY_SHARE = 0.8


@contextmanager
def temporary_directory(parent: Path) -> Iterator[Path]:
    """A new directory in `parent`, removed at the end, also after an error or Ctrl-C."""
    path = Path(tempfile.mkdtemp(prefix="archiver-benchmark-", dir=parent))
    try:
        yield path
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Remove a directory and all in it; signals to end wait until it is gone."""
    if not path.exists():
        return
    blocked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        shutil.rmtree(path)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def set_aside(path: Path) -> None:
    """Free the room that a directory takes, and its name, without costing the next run time.

    ext4 without a journal takes no inode again within a minute or more of its deletion, and
    each creation of a file searches past all those: after removing many files, creating new
    ones takes many times as long. So the files stay, empty, until all is measured. A tmpfs
    does not do this, but each file that stays takes memory, so there they are removed.
    """
    if not path.exists():
        return
    if file_system(path.parent) == "tmpfs":
        remove(path)
        return
    for parent, _, names in os.walk(path):
        for name in names:
            _empty(os.path.join(parent, name))
    path.rename(Path(tempfile.mkdtemp(prefix="done-", dir=path.parent)) / path.name)


def _empty(path: str) -> None:
    """Make a file empty, unless it is (or may be) the same as one of another directory."""
    status = os.lstat(path)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size:
        os.truncate(path, 0)


def lacks_room(directory: Path, data_set: DataSet, times: int) -> str | None:
    """Why `directory` has no room for `data_set` and bags of it; None when it has.

    `times` is how often its files are made. Two copies at most hold their data.
    """
    if not directory.is_dir():
        return "needs a tmpfs"
    status = os.statvfs(directory)
    needed = int(_COPIES * data_set.footprint_bytes)
    free = status.f_bavail * status.f_frsize
    if file_system(directory) == "tmpfs":
        # A tmpfs may be declared larger than the memory that has to hold it.
        free = min(free, int(_MEMORY_SHARE * available_memory_bytes()))
    if free < needed:
        return f"needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
    # Some file systems have no fixed number of files, and say 0.
    if status.f_files and status.f_favail < times * data_set.files:
        return f"needs {times * data_set.files} files, {status.f_favail} are free"
    return None


def lacks_cache(data_set: DataSet) -> bool:
    """Whether source and bag of `data_set` may be too large to stay in the page cache."""
    return available_memory_bytes() < _COPIES * data_set.footprint_bytes
