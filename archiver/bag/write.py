"""Makes a bag from a plan: copy and hash, tag files, commit (RFC 8493 §2).

Job: everything from an approved :class:`~archiver.bag.plan.Plan` to a bag under
its name. Limits: knows no keys; who wants to seal the bag gives a callback that
runs when the tag manifests stand and before the bag can be seen.

Each source byte is read once. What is hashed is what was written: small files
from one buffer, large ones from the copy's pages, which the kernel has just
filled. A source that changes meanwhile is noticed by size, times and inode.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, takewhile

from archiver import __version__
from archiver.bag.model import BagInfo, Oxum
from archiver.bag.names import encode_path
from archiver.bag.plan import Plan, PlannedDirectory
from archiver.bag.progress import Progress, Silent
from archiver.bag.proofs import SIGNATURES, SIGNED_FILE
from archiver.bag.sidecar import SIDECAR_PATH, Holes, sidecar_lines
from archiver.bag.stage import Finished, Slot, Staging, refuse_existing
from archiver.bag.verifytext import verify_text
from archiver.digest import Algorithm
from archiver.digest.engine import Answer, Batch, Engine, FileError, plan_batches
from archiver.digest.worker import COPY, HASH
from archiver.errors import (
    ArchiverError,
    SourceError,
    StorageError,
    UsageError,
    storage_error,
)
from archiver.filesystem import free_space
from archiver.i18n import _
from archiver.policy import SidecarPolicy

__all__ = [
    "WRITE_BITS",
    "BagRequest",
    "BagWriter",
    "WrittenBag",
    "check_info",
    "copy_error",
    "fingerprint",
    "take_write_permission_away",
    "write_bag",
]

LAYOUT = "1"
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_LINE = 79
_PORTION = 1 << 20
WRITE_BITS = 0o222
_FILE_OVERHEAD_BYTES = 4096 // 2 + 400
"""Per file: half a block lost, a line in each manifest and in the side-car."""
_COMPUTED_LABELS = frozenset({"payload-oxum", "bag-size", "bagging-date", "bagging-software-agent"})


_ONCE = ("bag-group-identifier", "bag-count", "external-identifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class BagRequest:
    """How a bag is to be made. ``now`` is an aware time; ``identifier`` a URI."""

    algorithms: tuple[Algorithm, ...]
    info: BagInfo
    identifier: str
    now: datetime
    sidecar: SidecarPolicy = field(default_factory=SidecarPolicy)
    read_only: bool = True
    tag_files: Mapping[str, bytes] = field(default_factory=dict)
    """Further tag files, by their paths in the bag."""
    examine: Callable[[str], Mapping[str, bytes]] | None = None
    """Called with the staged bag's path once its payload is there and before any tag file
    is: further tag files, which go before those of ``tag_files``.
    """
    checkpoint_seconds: float = 20.0
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBag:
    """A bag that is there, whole and on the disk."""

    path: str
    payload_files: int
    payload_bytes: int
    resumed_files: int
    weaknesses: frozenset[str]
    """What the file system couldn't do: ``modes``, ``times``, ``rename`` (never replacing)."""
    changed_directories: tuple[str, ...]
    """Source directories that changed meanwhile: what was added there is not in the bag."""


Seal = Callable[[str], None]
"""Called with the staged bag's path once its tag manifests stand."""


def write_bag(
    plan: Plan,
    destination: str,
    request: BagRequest,
    *,
    progress: Progress | None = None,
    seal: Seal | None = None,
) -> WrittenBag:
    """Make the bag of ``plan`` at ``destination``, which must not exist.

    Raises ArchiverError, and leaves nothing behind but what a later run can
    resume.
    """
    staging = Staging(destination, fingerprint(plan, request))
    refuse_existing(destination)
    writer = BagWriter(plan, staging, request, progress or Silent())
    staging.open()
    try:
        with _errors_of_storage(staging.destination):
            writer.stage()
            if seal is not None:
                seal(staging.bag)
            staging.commit()
    except (KeyboardInterrupt, _NoRoomError):
        staging.keep()
        raise
    except BaseException:
        staging.discard()
        raise
    staging.discard()
    return writer.written()


def fingerprint(plan: Plan, request: BagRequest) -> str:
    """What makes two runs the same: algorithms, permissions, sources, targets."""
    state = hashlib.sha256(b"read-only" if request.read_only else b"writable")
    for algorithm in request.algorithms:
        state.update(algorithm.name.encode() + b"\0")
    for directory in plan.directories:
        state.update(os.fsencode(f"{directory.root}\0{directory.target}\0"))
    return state.hexdigest()


def check_info(elements: Iterable[tuple[str, str]]) -> BagInfo:
    """Elements that a person gave for bag-info.txt. Raises UsageError (§2.2.2)."""
    checked: list[tuple[str, str]] = []
    for label, value in elements:
        name = label.casefold()
        if name in _COMPUTED_LABELS or name.startswith("archiver-"):
            raise UsageError(
                _("{label} is computed by the program and can't be given").format(label=label)
            )
        if not label or label != label.strip() or any(c in label for c in ":\r\n"):
            raise UsageError(
                _("{label!r} is no label for bag-info.txt").format(label=label),
                hint=_("Write it as 'Label: value', for example 'Contact-Name: Archive'."),
            )
        if not _is_line(label + value):
            raise UsageError(_("the value of {label} must be one line of text").format(label=label))
        if name in _ONCE and any(name == known.casefold() for known, _value in checked):
            raise UsageError(_("{label} may be given only once").format(label=label))
        checked.append((label, value.strip()))
    return BagInfo(tuple(checked))


def _is_line(text: str) -> bool:
    """Whether every reader takes ``text`` as one line: Python's know more line ends."""
    odd = any("\ud800" <= character <= "\udfff" or character in "\0\ufeff" for character in text)
    return not odd and len(text.splitlines()) <= 1


class _NoRoomError(StorageError):
    """What is to be copied can't fit; what was staged before may stay."""


@dataclass(slots=True)
class _Token:
    """Where a batch's files stand: their directory and the row of the first."""

    directory: PlannedDirectory
    start: int
    row: int


class BagWriter:
    """Stages one bag. ``engine`` is one that several share; else it has its own."""

    def __init__(
        self,
        plan: Plan,
        staging: Staging | Slot,
        request: BagRequest,
        progress: Progress,
        engine: Engine | None = None,
    ) -> None:
        self._plan = plan
        self._request = request
        self._progress = progress
        self._engine = engine
        self._width = sum(algorithm.size_bytes for algorithm in request.algorithms)
        self._digests = bytearray(plan.files * self._width)
        self._holes: Holes = {}
        self.staging = staging
        self._unsaved: list[tuple[_Token, int]] = []
        self._checkpoint_at = time.monotonic() + request.checkpoint_seconds
        self._again: list[Batch] = []
        self._resumed = 0
        self._copied = 0
        self._weaknesses: frozenset[str] = frozenset()
        self._changed: tuple[str, ...] = ()
        self._done = bytearray(plan.files)
        self._places: dict[str, list[tuple[PlannedDirectory, int]]] = {}
        self._indexed: PlannedDirectory | None = None
        self._index: dict[str, int] = {}
        self.signed_digest = ""
        """SHA-512 of tagmanifest-sha512.txt as it was written."""

    def stage(self) -> None:
        """Copy the payload and write the tag files. Raises ArchiverError."""
        staging = self.staging
        with _errors_of_storage(staging.destination):
            self._weaknesses = staging.weaknesses
            self._check_names()
            self._make_directories()
            self._copy()
            self._changed = tuple(self._changed_directories())
            self._write_tag_files(self._examined())
            if "modes" not in self._weaknesses:
                os.chmod(staging.bag, 0o777 & ~_umask())

    def written(self) -> WrittenBag:
        """What was made, once it is in its place; there it becomes read-only."""
        if self._request.read_only:
            take_write_permission_away(self.staging.destination)
        return WrittenBag(
            path=self.staging.destination,
            payload_files=self._plan.files,
            payload_bytes=self._plan.size_bytes,
            resumed_files=self._resumed,
            changed_directories=self._changed,
            weaknesses=self._weaknesses | ({"rename"} if self.staging.said_fallback else set()),
        )

    def digests(self, algorithm: Algorithm) -> dict[str, str]:
        """The digest of each source file as it was copied, by its path below its root."""
        offset = self._offset(algorithm)
        found = {}
        for directory, row in self._rows():
            for index, name in enumerate(directory.names, start=row):
                start = index * self._width + offset
                path = f"{directory.path}/{name}" if directory.path else name
                found[path] = self._digests[start : start + algorithm.size_bytes].hex()
        return found

    # -- payload

    def _check_names(self) -> None:
        """Refuse early names that the file system can't keep."""
        troubled = [one for one in self._plan.findings if one.code == "W-SRC-020"]
        if "names" in self._weaknesses and troubled:
            refused = StorageError(
                _("the destination's file system can't keep the name {path}").format(
                    path=troubled[0].path
                ),
                hint=_("Choose a destination on another file system, or leave it out."),
            )
            refused.errno = errno.EILSEQ
            raise refused

    def _make_directories(self) -> None:
        bag = self.staging.bag
        os.makedirs(f"{bag}/data", exist_ok=True)
        for directory in self._plan.directories:
            if directory.names:
                os.makedirs(f"{bag}/{directory.target}", exist_ok=True)

    def _copy(self) -> None:
        algorithms = self._request.algorithms
        keep_open = (self.staging.lock,)
        if self.staging.resumes:
            self._read_journal()
            self.staging.clear(self._finished_names)
        self._check_space()
        self._progress.expect(self._plan.size_bytes, self._plan.files)
        own = Engine(workers=self._request.workers, keep_open=keep_open)
        with nullcontext(self._engine) if self._engine else own as engine:
            if self.staging.resumes:
                for answer in engine.run(self._taken_over(), algorithms, self._progress.within):
                    self._take_over(answer)
            for answer in engine.run(self._batches(), algorithms, self._progress.within):
                self._take(answer)
        if self._copied + self._resumed != self._plan.files:
            raise StorageError(_("not every file was copied; this should not happen"))

    def _check_space(self) -> None:
        """Refuse early what can't fit beside what is staged already."""
        free, free_files = free_space(self.staging.path)
        staged_files = sum(self._done)
        staged_bytes = sum(
            size
            for directory, row in self._rows()
            for first, last in self._runs(directory, row, finished=True)
            for size in directory.sizes[first:last]
        )
        hint = _("Free some space or choose another destination.")
        needed = max(0, self._plan.allocated_bytes - staged_bytes)
        needed += (self._plan.files - staged_files) * _FILE_OVERHEAD_BYTES
        if needed > free:
            raise _NoRoomError(
                _("the bag needs about {needed} bytes, but {path} has {free} free").format(
                    needed=needed, path=os.path.dirname(self.staging.destination), free=free
                ),
                hint=hint,
            )
        entries = self._plan.files - staged_files
        if free_files is not None and entries > free_files:
            raise _NoRoomError(
                _("the bag needs {needed} files, but {path} has room for {free}").format(
                    needed=entries,
                    path=os.path.dirname(self.staging.destination),
                    free=free_files,
                ),
                hint=hint,
            )

    def _rows(self) -> Iterator[tuple[PlannedDirectory, int]]:
        """Each directory with the row of its first file."""
        row = 0
        for directory in self._plan.directories:
            yield directory, row
            row += len(directory.names)

    def _batches(self) -> Iterator[Batch]:
        """What is to be copied, but for what an earlier run has finished."""
        for directory, row in self._rows():
            for first, last in self._runs(directory, row, finished=False):
                for start, stop, _size in plan_batches(directory.sizes[first:last]):
                    yield self._copy_batch(directory, first + start, first + stop, row)
        yield from self._again

    def _copy_batch(self, directory: PlannedDirectory, start: int, stop: int, row: int) -> Batch:
        files = [
            (directory.names[i], directory.target_name(i), *directory.planned(i))
            for i in range(start, stop)
        ]
        clear = WRITE_BITS if self._request.read_only else 0
        places = (directory.root, directory.path, self.staging.bag, directory.target)
        return Batch(
            request=(COPY, *places, files, clear),
            files=stop - start,
            size_bytes=sum(directory.sizes[start:stop]),
            token=_Token(directory, start, row + start),
        )

    def _take(self, answer: Answer) -> None:
        token: _Token = answer.batch.token
        if answer.errors:
            self._fail(answer)
        offset = token.row * self._width
        self._digests[offset : offset + len(answer.digests)] = answer.digests
        for index, holes in answer.holes.items():
            path = f"{token.directory.target}/{token.directory.target_name(token.start + index)}"
            self._holes[path] = holes
        self._progress.done(answer.batch.size_bytes, answer.batch.files)
        self._unsaved.append((token, answer.batch.files))
        self._copied += answer.batch.files
        if time.monotonic() >= self._checkpoint_at:
            self._checkpoint()

    def _fail(self, answer: Answer) -> None:
        """Tell the first failure of a batch as what it is."""
        token: _Token = answer.batch.token
        directory = token.directory
        index, error = min(answer.errors.items())
        source = os.path.join(directory.root, directory.path, directory.names[token.start + index])
        place = f"{directory.target}/{directory.target_name(token.start + index)}"
        hint = _("Make it readable or leave it out with --exclude, then run the command again.")
        raise copy_error(error, source, place, hint)

    def _changed_directories(self) -> Iterator[str]:
        """Source directories whose time is not the one that was planned."""
        for directory in self._plan.directories:
            path = os.path.join(directory.root, directory.path)
            try:
                same = directory.mode < 0 or os.stat(path).st_mtime_ns == directory.mtime_ns
            except OSError:
                same = False
            if not same:
                yield path

    # -- resumption

    def _checkpoint(self) -> None:
        self.staging.checkpoint(self._finished(token, count) for token, count in self._unsaved)
        self._unsaved.clear()
        self._checkpoint_at = time.monotonic() + self._request.checkpoint_seconds

    def _finished(self, token: _Token, count: int) -> Finished:
        directory = token.directory
        indices = range(token.start, token.start + count)
        names = [directory.target_name(index) for index in indices]
        offset = token.row * self._width
        holes = {name: self._holes.get(f"{directory.target}/{name}") for name in names}
        return Finished(
            target=directory.target,
            names=names,
            planned=[directory.planned(index) for index in indices],
            digests=bytes(self._digests[offset : offset + count * self._width]),
            holes={name: found for name, found in holes.items() if found},
        )

    def _read_journal(self) -> None:
        """Mark what an earlier run finished and the plan still wants, with its digests."""
        for directory, row in self._rows():
            self._places.setdefault(directory.target, []).append((directory, row))
        for finished in self.staging.finished():
            for directory, row in self._places.get(finished.target, ()):
                self._mark(finished, directory, row)

    def _mark(self, finished: Finished, directory: PlannedDirectory, row: int) -> None:
        if self._indexed is not directory:  # entries of one directory follow each other
            self._indexed = directory
            self._index = {name: i for i, name in enumerate(directory.target_names())}
        for position, name in enumerate(finished.names):
            index = self._index.get(name)
            if index is None or directory.planned(index) != finished.planned[position]:
                continue
            self._done[row + index] = 1
            start, offset = position * self._width, (row + index) * self._width
            self._digests[offset : offset + self._width] = finished.digests[
                start : start + self._width
            ]
            if name in finished.holes:
                self._holes[f"{directory.target}/{name}"] = finished.holes[name]

    def _runs(
        self, directory: PlannedDirectory, row: int, *, finished: bool
    ) -> Iterator[tuple[int, int]]:
        """Neighbouring files that are, or aren't, finished: (first, behind the last)."""
        states = self._done[row : row + len(directory.names)]
        start = 0
        for done, group in groupby(states):
            stop = start + len(list(group))
            if bool(done) is finished:
                yield start, stop
            start = stop

    def _finished_names(self, target: str) -> set[str]:
        """The names in a directory of the bag that an earlier run finished."""
        return {
            directory.target_name(index)
            for directory, row in self._places.get(target, ())
            for first, last in self._runs(directory, row, finished=True)
            for index in range(first, last)
        }

    def _taken_over(self) -> Iterator[Batch]:
        """Files that an earlier run finished, to be read again before they count."""
        for directory, row in self._rows():
            for first, last in self._runs(directory, row, finished=True):
                for start, stop, size in plan_batches(directory.sizes[first:last]):
                    names = [directory.target_name(first + i) for i in range(start, stop)]
                    yield Batch(
                        request=(HASH, self.staging.bag, directory.target, names),
                        files=stop - start,
                        size_bytes=size,
                        token=_Token(directory, first + start, row + first + start),
                    )

    def _take_over(self, answer: Answer) -> None:
        """Compare what was read again with what the journal says of it."""
        token: _Token = answer.batch.token
        directory = token.directory
        for position in range(answer.batch.files):
            index, row = token.start + position, token.row + position
            found = answer.digests[position * self._width : (position + 1) * self._width]
            known = self._digests[row * self._width : (row + 1) * self._width]
            if position in answer.errors or found != known:  # not what was synced
                path = f"{directory.target}/{directory.target_name(index)}"
                self._holes.pop(path, None)
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.staging.bag, path))
                self._again.append(self._copy_batch(directory, index, index + 1, row - index))
                continue
            self._resumed += 1
            self._progress.done(directory.sizes[index], 1)

    # -- tag files

    def _examined(self) -> Mapping[str, bytes]:
        """The tag files of the request, and those that tell what the payload is."""
        tag_files, examine = self._request.tag_files, self._request.examine
        return {**tag_files, **examine(self.staging.bag)} if examine else tag_files

    def _write_tag_files(self, further: Mapping[str, bytes]) -> None:
        os.makedirs(f"{self.staging.bag}/metadata", exist_ok=True)
        tag_files = [
            self._write("bagit.txt", ["BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"]),
            self._write("bag-info.txt", self._info_lines()),
            self._write("VERIFY.txt", [verify_text()]),
            *(self._write_bytes(path, [data]) for path, data in further.items()),
            self._write(
                SIDECAR_PATH, sidecar_lines(self._plan, self._holes, self._request.sidecar)
            ),
        ]
        tag_files += [
            self._write(f"manifest-{algorithm.name}.txt", self._manifest_lines(algorithm))
            for algorithm in self._request.algorithms
        ]
        tag_files.sort()
        for algorithm in self._request.algorithms:
            lines = (f"{found[algorithm.name]}  {encode_path(path)}\n" for path, found in tag_files)
            path, digests = self._write(f"tagmanifest-{algorithm.name}.txt", lines)
            if path == SIGNED_FILE:
                self.signed_digest = digests["sha512"]

    def _write(self, path: str, lines: Iterable[str]) -> tuple[str, dict[str, str]]:
        """Write a tag file of text; as :meth:`_write_bytes`."""
        return self._write_bytes(path, _portions(lines))

    def _write_bytes(self, path: str, portions: Iterable[bytes]) -> tuple[str, dict[str, str]]:
        """Write a tag file and hash what was written; (path, digest by algorithm)."""
        hashers = {algorithm.name: algorithm.new() for algorithm in self._request.algorithms}
        with open(self._new_file(path), "wb", buffering=0) as file:
            for portion in portions:
                for hasher in hashers.values():
                    hasher.update(portion)
                view = memoryview(portion)
                while view:
                    view = view[file.write(view) :]
        return path, {name: hasher.hexdigest() for name, hasher in hashers.items()}

    def _new_file(self, path: str) -> int:
        """A tag file to write to, made with the mode that it keeps."""
        full = os.path.join(self.staging.bag, path)
        if self.staging.resumes and os.path.lexists(full):  # a run was killed here
            os.unlink(full)
        keeps_modes = "modes" not in self._weaknesses
        mode = 0o444 if self._request.read_only and keeps_modes else 0o666
        return os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)

    def _manifest_lines(self, algorithm: Algorithm) -> Iterator[str]:
        offset = self._offset(algorithm)
        width, size = 2 * self._width, 2 * algorithm.size_bytes
        for directory, row in self._rows():
            names = directory.target_names()
            digests = self._digests[row * self._width : (row + len(names)) * self._width].hex()
            prefix = encode_path(directory.target)
            if any(mark in name for name in names for mark in "%\r\n"):
                names = [encode_path(name) for name in names]
            starts = range(2 * offset, len(digests), width)
            yield "".join(
                [
                    f"{digests[start : start + size]}  {prefix}/{name}\n"
                    for start, name in zip(starts, names, strict=True)
                ]
            )

    def _offset(self, algorithm: Algorithm) -> int:
        """Where an algorithm's digest begins in the row of a file."""
        before = takewhile(lambda one: one is not algorithm, self._request.algorithms)
        return sum(one.size_bytes for one in before)

    def _info_lines(self) -> Iterator[str]:
        request = self._request
        elements = list(request.info)
        given = {label.casefold() for label, _value in elements}
        if "external-identifier" not in given:
            elements.append(("External-Identifier", request.identifier))
        elements += [
            ("Bagging-Date", request.now.date().isoformat()),
            ("Bagging-Software-Agent", f"archiver {__version__}"),
            ("Payload-Oxum", str(Oxum(self._plan.size_bytes, self._plan.files))),
            ("Bag-Size", _human_size(self._plan.size_bytes)),
            ("Archiver-Bag-Layout", LAYOUT),
        ]
        for label, value in elements:
            yield from _folded(label, value)


def take_write_permission_away(bag: str) -> None:
    """From the directories of a bag that is in its place, but for ``signatures/``.

    After the rename, since a directory that is renamed must be writable. A file
    system without modes is no failure: the bag is there and whole.
    """
    proofs = os.path.join(bag, SIGNATURES)
    for directory, _directories, _files in os.walk(bag, topdown=False):
        if f"{directory}/".startswith(f"{proofs}/"):
            continue  # proof may be added later
        try:
            mode = stat.S_IMODE(os.lstat(directory).st_mode)
            os.chmod(directory, mode & ~WRITE_BITS)
        except OSError:
            return


def copy_error(error: FileError, source: str, place: str, hint: str) -> ArchiverError:
    """What to raise where the copy of ``source`` to ``place`` in the bag failed; ``hint``
    is for a source that can't be read.
    """
    if error.kind == "target":
        return storage_error(OSError(error.errno, error.reason), place)
    if error.kind == "changed":
        return SourceError(
            _("{path} changed while it was read").format(path=source),
            hint=_("Wait until nothing writes to it any more, then run the command again."),
        )
    if error.kind == "worker":
        return StorageError(
            _("a process that copied files was ended from outside, at {path}").format(path=source),
            hint=_("There may be too little memory. Run the command again."),
        )
    return SourceError(
        _("{path} can't be read: {reason}").format(path=source, reason=error.reason), hint=hint
    )


@contextmanager
def _errors_of_storage(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, place) from error


def _portions(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines joined to about a megabyte, encoded."""
    gathered: list[str] = []
    size = 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= _PORTION:
            yield "".join(gathered).encode("utf-8")
            gathered, size = [], 0
    yield "".join(gathered).encode("utf-8")


def _umask() -> int:
    """The process's umask (proc_pid_status(5)). Elsewhere there is no way to ask but to set
    it, which other threads would feel.
    """
    with suppress(OSError, StopIteration), open("/proc/self/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _folded(label: str, value: str) -> Iterator[str]:
    """One element in lines of at most 79 characters where words allow (§2.2.2).

    Broken only at single spaces, so that unfolding gives the very same value.
    """
    line = f"{label}:"
    for number, word in enumerate(value.split(" ")):
        room = len(line) + 1 + len(word) <= _LINE
        # Beside white space of the value itself a fold would take it away.
        plain = word and not word[0].isspace() and not line[-1].isspace()
        if number and plain and not room:
            yield line + "\n"
            line = f" {word}"
        else:
            line += f" {word}"
    yield line + "\n"


def _human_size(size_bytes: int) -> str:
    """As RFC 8493 shows it: ``42.6 GB``; powers of 1000."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    size, power = float(size_bytes), 0
    while size >= 1000 and power < len(_UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.1f} {_UNITS[power]}"
