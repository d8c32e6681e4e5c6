"""A bag's files, wherever they lie: the access that validation needs.

Job: the :class:`BagTree` protocol and the tree in a directory. Limits: judges
nothing but what can't be a part of a bag (links out, special files).

Nothing outside the bag is ever opened: every directory is opened component by
component with O_NOFOLLOW. Nothing is changed, not even an access time where
the kernel lets us ask for that (O_NOATIME).
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from archiver.digest import Algorithm
from archiver.digest.engine import Batch, Engine, FileError, plan_batches
from archiver.digest.worker import HASH, open_beneath
from archiver.findings import Findings
from archiver.i18n import N_

__all__ = [
    "MAX_DEPTH",
    "BagTree",
    "DirectoryTree",
    "Listing",
    "Reading",
    "kind_of_mode",
    "read_head",
]

MAX_DEPTH = 1000
"""Directories below the base: deeper trees are attacks, and take quadratic time."""

_MAX_LINKS = 40
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW
"""To look at what is there without opening it: a pipe's writer would wake up."""
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Listing:
    """Regular files of one directory, in the order of their names: sizes in bytes.

    ``path`` is the directory's, relative to the bag ("" for its base).
    """

    path: str
    names: list[str]
    sizes: list[int]

    def paths(self) -> list[str]:
        """The files' paths relative to the bag."""
        prefix = f"{self.path}/" if self.path else ""
        return [prefix + name for name in self.names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reading a listing's files gave: bytes read, digests joined, errors by index."""

    listing: Listing
    sizes: list[int]
    digests: bytes
    errors: dict[int, FileError]


class BagTree(Protocol):
    """Access to one bag's files. Paths are relative, with ``/`` between parts."""

    name: str
    cut_short: bool
    """Whether a limit kept us from seeing everything."""

    def base_files(self) -> dict[str, int]:
        """Regular files directly in the base directory, with their sizes."""

    def has_directory(self, path: str) -> bool:
        """Whether ``path`` is a directory of the bag."""

    def open(self, path: str) -> BinaryIO:
        """A regular file's bytes. Raises OSError."""

    def walk(self, findings: Findings, *, payload: bool) -> Iterator[Listing]:
        """The files below ``data/``, or all the others, sorted within directories."""

    def read(
        self,
        listings: Iterable[Listing],
        algorithms: tuple[Algorithm, ...],
        advance: Advance,
    ) -> Iterator[Reading]:
        """Read and hash the files of listings that :meth:`walk` gave, in any order."""

    def heads(self, size: int) -> Iterator[tuple[str, bytes | OSError]]:
        """The first bytes of every payload file that :meth:`walk` gives, each by its path, in
        the order that is cheapest; of those that can't be read, why.
        """

    def close(self) -> None:
        """Give back what is held."""


def kind_of_mode(mode: int) -> str:
    """A word for what is neither file nor directory (translated where it is shown)."""
    for test, word in (
        (stat.S_ISLNK, N_("symbolic link")),
        (stat.S_ISFIFO, N_("named pipe")),
        (stat.S_ISSOCK, N_("socket")),
        (stat.S_ISBLK, N_("block device")),
        (stat.S_ISCHR, N_("character device")),
        (stat.S_ISDIR, N_("directory")),
    ):
        if test(mode):
            return word
    return N_("special file")


class DirectoryTree:
    """A bag in a directory. Making one raises OSError where it can't be opened."""

    cut_short = False

    def __init__(self, path: str, *, workers: int | None = None) -> None:
        self._root_path = os.path.abspath(path)
        self.name = os.path.basename(self._root_path)
        self._root = _open_directory(self._root_path)
        # Workers get this very directory, not its path, which may be swapped meanwhile.
        self._engine = Engine(workers=workers, keep_open=(self._root,))
        self._links: dict[str, str] = {}

    def close(self) -> None:
        """End the reading processes and let the directory go."""
        self._engine.close()
        os.close(self._root)

    def base_files(self) -> dict[str, int]:
        """See :class:`BagTree`."""
        listing, _directories = self._list("", Findings())  # walk() will report
        return dict(zip(listing.names, listing.sizes, strict=True))

    def has_directory(self, path: str) -> bool:
        """See :class:`BagTree`."""
        try:
            os.close(open_beneath(self._root, path, _DIRECTORY))
        except (OSError, ValueError):  # ValueError: no file can have this name
            return False
        return True

    def open(self, path: str) -> BinaryIO:
        """See :class:`BagTree`."""
        path = self._links.get(path, path)
        descriptor = open_beneath(self._root, path, _FILE)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(f"{path} is not a regular file")
        return io.FileIO(descriptor)  # unbuffered: all we need

    def walk(self, findings: Findings, *, payload: bool) -> Iterator[Listing]:
        """See :class:`BagTree`."""
        stack = ["data"] if payload else [""]
        while stack:
            path = stack.pop()
            if path.count("/") >= MAX_DEPTH:
                findings.add("U-BAG-111", path, limit=MAX_DEPTH)
                continue
            listing, directories = self._list(path, findings)
            if listing.names:
                yield listing
            prefix = f"{path}/" if path else ""
            children = [prefix + name for name in directories]
            stack.extend(child for child in reversed(children) if payload or child != "data")

    def _list(self, path: str, findings: Findings) -> tuple[Listing, list[str]]:
        """A directory's regular files and its directories' names, both sorted."""
        files: list[tuple[str, int]] = []
        directories: list[str] = []
        prefix = f"{path}/" if path else ""
        try:
            with self._scan(path) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        files.append((entry.name, entry.stat(follow_symlinks=False).st_size))
                    elif entry.is_dir(follow_symlinks=False):
                        directories.append(entry.name)
                    else:
                        size = self._other(prefix + entry.name, findings)
                        if size is not None:
                            files.append((entry.name, size))
        except OSError as error:
            findings.add("U-BAG-110", path, reason=error.strerror or str(error))
        files.sort()
        directories.sort()
        names = [name for name, _size in files]
        return Listing(path, names, [size for _name, size in files]), directories

    @contextmanager
    def _scan(self, path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        descriptor = open_beneath(self._root, path or ".", _DIRECTORY)
        try:
            with os.scandir(descriptor) as entries:
                yield entries
        finally:
            os.close(descriptor)

    def _other(self, path: str, findings: Findings) -> int | None:
        """Judge a link or special file; the size of what a link within the bag leads to."""
        mode = os.stat(path, dir_fd=self._root, follow_symlinks=False).st_mode
        if not stat.S_ISLNK(mode):
            code = "E-BAG-106" if path.startswith("data/") else "E-BAG-011"
            findings.add(code, path, kind=kind_of_mode(mode))
            return None
        target = self._resolve(path)
        reached = self._stat_beneath(target) if target else None
        if target is None or reached is None:
            findings.add("E-BAG-107", path)
        elif stat.S_ISDIR(reached.st_mode):
            findings.add("E-BAG-109", path)
        elif not stat.S_ISREG(reached.st_mode):
            findings.add("E-BAG-106", path, kind=kind_of_mode(reached.st_mode))
        else:
            findings.add("W-BAG-108", path)
            self._links[path] = target
            return reached.st_size
        return None

    def _stat_beneath(self, path: str) -> os.stat_result | None:
        try:
            descriptor = open_beneath(self._root, path, _LOOK)
        except OSError:
            return None
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _resolve(self, path: str) -> str | None:
        """Where a link leads, relative to the bag, or None where it leaves the bag, even
        if it comes back: that would depend on the bag's name and place.
        """
        rest, reached, links = path.split("/"), list[str](), 0
        while rest:
            part = rest.pop(0)
            if part == "..":
                if not reached:
                    return None
                reached.pop()
            elif part not in ("", "."):
                try:
                    target = os.readlink("/".join([*reached, part]), dir_fd=self._root)
                except OSError:
                    reached.append(part)
                    continue
                links += 1
                if target.startswith("/") or links > _MAX_LINKS:
                    return None
                rest[:0] = target.split("/")
        return "/".join(reached) or None

    def read(
        self,
        listings: Iterable[Listing],
        algorithms: tuple[Algorithm, ...],
        advance: Advance,
    ) -> Iterator[Reading]:
        """See :class:`BagTree`."""
        for answer in self._engine.run(self._batches(listings), algorithms, advance):
            yield Reading(
                listing=answer.batch.token,
                sizes=answer.sizes,
                digests=answer.digests,
                errors=answer.errors,
            )

    def heads(self, size: int) -> Iterator[tuple[str, bytes | OSError]]:
        """See :class:`BagTree`."""
        for listing in self.walk(Findings(), payload=True):  # what is wrong was found before
            for path in listing.paths():
                try:
                    with self.open(path) as stream:
                        yield path, read_head(stream, size)
                except OSError as error:
                    yield path, error

    def _batches(self, listings: Iterable[Listing]) -> Iterator[Batch]:
        for listing in listings:
            for start, stop, size in plan_batches(listing.sizes):
                part = Listing(listing.path, listing.names[start:stop], listing.sizes[start:stop])
                if self._links:
                    yield from self._one_by_one(part)
                else:
                    yield self._batch(part.path, part.names, size, part)

    def _one_by_one(self, listing: Listing) -> Iterator[Batch]:
        """A bag with links within it: each file where it really lies."""
        for path, name, size in zip(listing.paths(), listing.names, listing.sizes, strict=True):
            directory, _slash, target = self._links.get(path, path).rpartition("/")
            yield self._batch(directory, [target], size, Listing(listing.path, [name], [size]))

    def _batch(self, path: str, names: list[str], size: int, token: Listing) -> Batch:
        request = (HASH, self._root, path, names)
        return Batch(request=request, files=len(names), size_bytes=size, token=token)


def read_head(stream: BinaryIO, size: int) -> bytes:
    """At most ``size`` bytes, also of a stream that gives them piece by piece."""
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def _open_directory(path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        return os.open(path, flags)
