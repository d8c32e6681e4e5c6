"""What the data sets look like, and writing them to disk."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.errors import BenchmarkError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_CHUNK_BYTES = MIB
_INDEX_BYTES = 8
_PAGE_BYTES = 4 * KIB
_INODE_BYTES = KIB


@dataclass(frozen=True)
class DataSet:
    """A number of equally large files, spread over directories.

    `file_bytes` is the size of one file in bytes.
    """

    name: str
    files: int
    file_bytes: int
    files_per_directory: int = 1000

    @property
    def payload_bytes(self) -> int:
        """Size of all files together, in bytes."""
        return self.files * self.file_bytes

    @property
    def footprint_bytes(self) -> int:
        """About the room its files take on a file system, in bytes."""
        pages = -(-self.file_bytes // _PAGE_BYTES)
        return self.files * (pages * _PAGE_BYTES + _INODE_BYTES)

    def paths(self) -> Iterator[str]:
        """The files' paths relative to the data set's directory, in order."""
        for index in range(self.files):
            yield f"d{index // self.files_per_directory:04d}/f{index:07d}.bin"


# By name: the set at scale 1, and the field that --scale multiplies.
_FULL_SIZE = (
    (DataSet("L", files=4, file_bytes=GIB), "file_bytes"),
    (DataSet("L1", files=1, file_bytes=GIB), "file_bytes"),
    (DataSet("M", files=2_000, file_bytes=MIB), "files"),
    (DataSet("S", files=100_000, file_bytes=4 * KIB), "files"),
    (DataSet("MANY", files=1_000_000, file_bytes=16), "files"),
)


def names() -> tuple[str, ...]:
    """The names of all data sets."""
    return tuple(data_set.name for data_set, _ in _FULL_SIZE)


def scaled(name: str, scale: float) -> DataSet:
    """The data set `name`, its number or size of files multiplied by `scale`."""
    for data_set, field in _FULL_SIZE:
        if data_set.name != name:
            continue
        if field == "files":
            return replace(data_set, files=max(1, round(data_set.files * scale)))
        # A file keeps room for the index that makes it unlike every other one.
        return replace(data_set, file_bytes=max(_INDEX_BYTES, round(data_set.file_bytes * scale)))
    raise BenchmarkError(f"there is no data set {name!r}")


def write(data_set: DataSet, directory: Path, seed: int = 1) -> None:
    """Make the files of `data_set` below `directory`, which is created; no two are equal."""
    directory.mkdir()
    generator = random.Random(seed)
    parent = ""
    for index, relative in enumerate(data_set.paths()):
        if (new_parent := relative.partition("/")[0]) != parent:
            parent = new_parent
            (directory / parent).mkdir()
        _write_file(f"{directory}/{relative}", index, data_set.file_bytes, generator)


def _write_file(path: str, index: int, size: int, generator: random.Random) -> None:
    """Write `size` bytes: the file's index (so that no two are equal), then random bytes."""
    with open(path, "wb", buffering=0) as file:
        remaining = size
        prefix = index.to_bytes(_INDEX_BYTES, "big")
        while remaining:
            # In chunks, so that this process stays small: see Usage.peak_is_upper_bound.
            length = min(remaining, _CHUNK_BYTES)
            file.write(prefix + generator.randbytes(length - len(prefix)))
            prefix = b""
            remaining -= length


def warm(directory: Path) -> None:
    """Read every file below `directory` once, so that later reads come from the page cache."""
    buffer = bytearray(_CHUNK_BYTES)
    for parent, _, files in os.walk(directory):
        for name in files:
            with open(os.path.join(parent, name), "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
