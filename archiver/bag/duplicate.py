"""Copies a bag as it is: every file byte for byte, with its times and modes.

Job: list a bag's files, copy them into a staged bag, hash what was written. Limits:
regular files and directories only; whether the bag is intact is judged elsewhere.

The source is opened once; every directory below it component by component with
O_NOFOLLOW, so that a link put in a file's place while we copy leads nowhere. The target
is ours and new: nothing is ever opened in it that was there before.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from archiver.bag.names import encode_path
from archiver.bag.plan import PlannedDirectory
from archiver.bag.progress import Progress
from archiver.bag.tree import kind_of_mode
from archiver.bag.write import copy_error
from archiver.digest import ALGORITHMS
from archiver.digest.engine import Answer, Batch, Engine, plan_batches
from archiver.digest.worker import COPY, open_beneath
from archiver.errors import FormatError, StorageError, UnreadableError
from archiver.i18n import _

__all__ = ["CopyOptions", "Digests", "Original", "copy_bag", "list_bag", "manifest_lines"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_HASHED = ALGORITHMS["sha512"]
_OWNER_BITS = 0o700
"""A directory that things are put into must let us in, whatever its original says."""


@dataclass(slots=True)
class Original:
    """A bag that is to be copied: ``root`` is its open directory; parents come first."""

    name: str
    root: int
    directories: list[PlannedDirectory] = field(default_factory=list)

    @property
    def files(self) -> int:
        """How many files there are, tag files included."""
        return sum(len(one.names) for one in self.directories)

    @property
    def size_bytes(self) -> int:
        """The size of all of them."""
        return sum(sum(one.sizes) for one in self.directories)

    def rows(self) -> Iterator[tuple[PlannedDirectory, int]]:
        """Each directory with the row of its first file."""
        row = 0
        for directory in self.directories:
            yield directory, row
            row += len(directory.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """``clear_mode``: permission bits that no copy keeps. ``lock`` is held by every process
    that copies.
    """

    clear_mode: int
    lock: int
    workers: int | None = None


Digests = bytearray
"""The SHA-512 digests of a copy's files, joined, by row."""


@contextlib.contextmanager
def list_bag(path: str) -> Iterator[Original]:
    """List the bag in the directory ``path``, which stays open.

    Raises FormatError for what is neither a file nor a directory, links included, and
    UnreadableError.
    """
    try:
        root = os.open(os.path.abspath(path), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unreadable(path, error) from error
    original = Original(path, root)
    try:
        stack = [""]
        while stack:
            below = stack.pop()
            try:
                directory, children = _list(original, below)
            except OSError as error:
                raise _unreadable(os.path.join(path, below), error) from error
            original.directories.append(directory)
            prefix = f"{below}/" if below else ""
            stack.extend(prefix + name for name in reversed(children))
        yield original
    finally:
        os.close(root)


def _list(original: Original, path: str) -> tuple[PlannedDirectory, list[str]]:
    descriptor = open_beneath(original.root, path or ".", _DIRECTORY)
    try:
        found = os.fstat(descriptor)
        mode = stat.S_IMODE(found.st_mode) & 0o777
        directory = PlannedDirectory(
            root=original.name, path=path, target=path, mtime_ns=found.st_mtime_ns, mode=mode
        )
        children: list[str] = []
        with os.scandir(descriptor) as entries:
            seen = sorted((one.name, one.stat(follow_symlinks=False)) for one in entries)
        for name, status in seen:
            if stat.S_ISREG(status.st_mode):
                directory.add(name, status)
            elif stat.S_ISDIR(status.st_mode):
                children.append(name)
            else:
                _refuse(original.name, f"{path}/{name}" if path else name, status.st_mode)
        return directory, children
    finally:
        os.close(descriptor)


def _refuse(bag: str, path: str, mode: int) -> None:
    raise FormatError(
        _("{bag}: {path} is a {kind}, and only files can be taken over as they are").format(
            bag=bag, path=path, kind=_(kind_of_mode(mode))
        ),
        hint=_(
            "Put what the link leads to in its place and make the bag anew, or pack it whole:"
            " archiver bag create --bag-in-bag."
        ),
    )


def copy_bag(original: Original, target: str, options: CopyOptions, progress: Progress) -> Digests:
    """Copy everything into the empty directory ``target``; the digests of what was written.

    Raises SourceError where a file changed since it was listed, UnreadableError where one
    can't be read, StorageError, and OSError where a directory can't be made.
    """
    progress.expect(original.size_bytes, original.files)
    digests = bytearray(original.files * _HASHED.size_bytes)
    place = os.open(target, _DIRECTORY)
    try:
        for directory in original.directories:
            if directory.path:
                os.mkdir(directory.path, _OWNER_BITS, dir_fd=place)
        copied = 0
        keep_open = (original.root, place, options.lock)
        with Engine(workers=options.workers, keep_open=keep_open) as engine:
            for answer in engine.run(
                _batches(original, place, options.clear_mode), (_HASHED,), progress.within
            ):
                _take(answer, digests)
                progress.done(answer.batch.size_bytes, answer.batch.files)
                copied += answer.batch.files
        if copied != original.files:
            raise StorageError(_("not every file was copied; this should not happen"))
        _keep_attributes(original, place)
    finally:
        os.close(place)
    return digests


@dataclass(frozen=True, slots=True)
class _Token:
    """Where a batch's files stand: their directory, the first in it, and its row."""

    directory: PlannedDirectory
    start: int
    row: int


def _batches(original: Original, place: int, clear_mode: int) -> Iterator[Batch]:
    for directory, row in original.rows():
        for start, stop, size in plan_batches(directory.sizes):
            names = directory.names
            files = [(names[i], names[i], *directory.planned(i)) for i in range(start, stop)]
            yield Batch(
                request=(
                    COPY,
                    original.root,
                    directory.path,
                    place,
                    directory.path,
                    files,
                    clear_mode,
                ),
                files=stop - start,
                size_bytes=size,
                token=_Token(directory, start, row + start),
            )


def _take(answer: Answer, digests: bytearray) -> None:
    token: _Token = answer.batch.token
    if answer.errors:
        index, error = min(answer.errors.items())
        directory = token.directory
        place = os.path.join(directory.path, directory.names[token.start + index])
        source = os.path.join(directory.root, place)
        if error.kind == "io":
            raise _unreadable(source, OSError(error.errno, error.reason))
        hint = _("Wait until nothing writes to it any more, then run the command again.")
        raise copy_error(error, source, place, hint)
    offset = token.row * _HASHED.size_bytes
    digests[offset : offset + len(answer.digests)] = answer.digests


def _unreadable(path: str, error: OSError) -> UnreadableError:
    return UnreadableError(
        _("{path} can't be read: {reason}").format(path=path, reason=error.strerror or str(error)),
        hint=_("Mend its permissions, or run the command as somebody who may read it."),
    )


def _keep_attributes(original: Original, place: int) -> None:
    """Times and modes of the directories, as far as the file system has them: last, since
    what is put into a directory changes its time.
    """
    for directory in original.directories:
        path, moment = directory.path or ".", directory.mtime_ns
        with contextlib.suppress(PermissionError):
            os.chmod(path, directory.mode | _OWNER_BITS, dir_fd=place)
            os.utime(path, ns=(moment, moment), dir_fd=place)


def manifest_lines(
    original: Original, digests: Digests, spelt: Mapping[str, str], *, encoded: bool
) -> Iterator[str]:
    """The lines of a sha512 payload manifest over what was copied.

    ``spelt`` gives the paths that the bag's own manifests list under another spelling:
    all manifests have to agree. ``encoded``: as BagIt 1.0 does.
    """
    width = _HASHED.size_bytes
    for directory, row in original.rows():
        if directory.path != "data" and not directory.path.startswith("data/"):
            continue
        for index, name in enumerate(directory.names, start=row):
            path = f"{directory.path}/{name}"
            path = spelt.get(path, path)
            digest = digests[index * width : (index + 1) * width].hex()
            yield f"{digest}  {encode_path(path) if encoded else path}\n"
