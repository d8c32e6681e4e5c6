"""The inner loop in this process: hashing, copying, and whose fault an error is."""

from __future__ import annotations

import errno
import hashlib
import io
import marshal
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archiver.digest import worker as subject
from archiver.digest.worker import (
    BUFFER_BYTES,
    COPY,
    FRAME,
    HASH,
    LARGE_BYTES,
    MAX_ROOTS,
    Worker,
    open_beneath,
)

SHM = Path("/dev/shm")


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than ``tmp_path``."""
    if not SHM.is_dir() or SHM.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    place = SHM / f"archiver-test-{os.getpid()}-{tmp_path.name}"
    place.mkdir()
    yield place
    subprocess.run(["rm", "-rf", str(place)], check=True)


def hashed(worker: Worker, root: Path, name: str, path: str = "", *, split: bool = False) -> Any:
    sizes, digests, errors, _ = worker.run((HASH, ("sha256",), split, str(root), path, [name]))
    return errors[0][0] if errors else (sizes[0], digests)


def planned(path: Path) -> list[int]:
    found = os.stat(path, follow_symlinks=False)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def copied(worker: Worker, source: Path, target: Path, **options: Any) -> Any:
    """(size, digest, holes), or (kind, errno) of the error."""
    plan = options.get("plan") or planned(source)
    sizes, digests, errors, holes = worker.run(
        (
            COPY,
            ("sha256",),
            options.get("split", False),
            str(source.parent),
            "",
            str(target.parent),
            "",
            [(source.name, target.name, *plan)],
            options.get("clear_mode", 0),
        )
    )
    return errors[0][:2] if errors else (sizes[0], digests, holes.get(0, []))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


SIZES = [0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, LARGE_BYTES + 7]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_files_of_every_size(worker: Worker, tmp_path: Path, size: int, *, split: bool) -> None:
    data = os.urandom(min(size, 1000)).ljust(size, b"z")
    (tmp_path / "f").write_bytes(data)
    assert hashed(worker, tmp_path, "f", split=split) == (size, sha256(data))
    assert copied(worker, tmp_path / "f", tmp_path / "g", split=split) == (size, sha256(data), [])
    assert (tmp_path / "g").read_bytes() == data
    assert (tmp_path / "g").stat().st_mtime_ns == (tmp_path / "f").stat().st_mtime_ns


def test_progress_is_told_for_large_files_alone(tmp_path: Path) -> None:
    told: list[int] = []
    worker = Worker(told.append)
    for name, size in (("small", BUFFER_BYTES * 3), ("large", 3 * LARGE_BYTES)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
        hashed(worker, tmp_path, name)
    assert sum(told) == 3 * LARGE_BYTES
    worker.close()


def test_what_is_no_file_is_not_read(worker: Worker, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "directory", "link", "loop"):
        assert hashed(worker, tmp_path, name) == "not-regular"
        assert copied(worker, tmp_path / name, tmp_path / "copy")[0] == "not-regular"
    assert hashed(worker, tmp_path, "absent") == "io"
    assert hashed(worker, tmp_path, "x", "link") == "io"
    assert not (tmp_path / "copy").exists()


def test_open_beneath_follows_nothing(tmp_path: Path) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/a/b/f").write_bytes(b"in")
    (tmp_path / "f").write_bytes(b"out")
    (tmp_path / "root/a/up").symlink_to("../..")
    (tmp_path / "root/file").symlink_to("../f")
    root = os.open(tmp_path / "root", os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    descriptor = open_beneath(root, "a/b/f", os.O_RDONLY)
    assert os.read(descriptor, 9) == b"in"
    os.close(descriptor)
    for path in ("a/up/f", "file", "a/up/up/f", "a/b/f/g", "absent/f"):
        with pytest.raises(OSError):
            open_beneath(root, path, os.O_RDONLY | os.O_NOFOLLOW)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(root)


def test_opening_without_noatime_where_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    real = os.open

    def refuse(name: str, flags: int, *mode: int, **given: Any) -> int:
        if flags & os.O_NOATIME:
            raise PermissionError(errno.EPERM, "only the owner")
        return real(name, flags, *mode, **given)

    monkeypatch.setattr(os, "open", refuse)
    worker = Worker()
    assert hashed(worker, tmp_path, "f") == (1, sha256(b"x"))
    worker.close()


# -- files that change ---------------------------------------------------------------


def during(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[], object]) -> None:
    """Run ``change`` once, just after the first ``os.NAME`` of the worker."""
    real = getattr(os, name)
    pending = [change]

    def call(*given: Any) -> Any:
        answer = real(*given)
        if pending:
            pending.pop()()
        return answer

    monkeypatch.setattr(os, name, call)


def grow(path: Path, data: bytes) -> Callable[[], object]:
    def change() -> None:
        with path.open("ab") as file:
            file.write(data)

    return change


@pytest.mark.parametrize("size", [100, BUFFER_BYTES * 3])
@pytest.mark.parametrize("how", ["grows", "shrinks", "vanishes"])
def test_a_file_that_changes_while_it_is_hashed(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, how: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    changes: dict[str, Callable[[], object]] = {
        "grows": grow(path, b"more"),
        "shrinks": lambda: os.truncate(path, size // 2),
        "vanishes": path.unlink,
    }
    if size == 100 and how == "vanishes":
        pytest.skip("it was read with one call before")
    during(monkeypatch, "fstat", changes[how])
    assert hashed(worker, tmp_path, "f") == "changed"


def test_a_file_that_grows_for_ever_ends(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can write extends the file faster than it is read (ftruncate costs nothing)."""
    path = tmp_path / "f"
    path.write_bytes(bytes(BUFFER_BYTES * 2))
    real, calls = os.readv, iter(range(100))

    def readv(descriptor: int, buffers: list[bytearray]) -> int:
        if next(calls, None) is None:
            pytest.fail("it reads on and on")
        os.truncate(path, path.stat().st_size + BUFFER_BYTES)
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "readv", readv)
    assert hashed(worker, tmp_path, "f") == "changed"


@pytest.mark.parametrize("size", [100, BUFFER_BYTES * 3])
@pytest.mark.parametrize("how", ["grows", "shrinks"])
def test_a_file_that_changes_while_it_is_copied(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, how: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    plan = planned(path)
    if how == "grows":
        during(monkeypatch, "fstat", grow(path, b"more"))
    else:
        during(monkeypatch, "fstat", lambda: os.truncate(path, size // 2))
    assert copied(worker, path, tmp_path / "g", plan=plan)[0] == "changed"


def test_a_file_that_changed_since_it_was_listed(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    plan = planned(path)
    path.write_bytes(b"xy")
    assert copied(worker, path, tmp_path / "g", plan=plan) == ("changed", errno.ESTALE)
    assert not (tmp_path / "g").exists()


# -- copying ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_copies_across_file_systems(
    worker: Worker, tmp_path: Path, other_disk: Path, size: int
) -> None:
    data = b"0123456789" * (size // 10 + 1)
    data = data[:size]
    for source, target in ((tmp_path / "f", other_disk / "g"), (other_disk / "h", tmp_path / "i")):
        source.write_bytes(data)
        assert copied(worker, source, target)[:2] == (size, sha256(data))
        assert target.read_bytes() == data


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EIO, None])
def test_copies_without_the_kernels_help(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refuse(*_given: object) -> int:
        if number is None:
            return 0
        raise OSError(number, "no")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    data = os.urandom(BUFFER_BYTES * 3 + 9)
    (tmp_path / "f").write_bytes(data)
    assert copied(worker, tmp_path / "f", tmp_path / "g") == (len(data), sha256(data), [])
    assert (tmp_path / "g").read_bytes() == data
    monkeypatch.delattr(os, "copy_file_range")
    assert copied(worker, tmp_path / "f", tmp_path / "h")[0] == len(data)


def test_short_copies_by_the_kernel(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.copy_file_range
    monkeypatch.setattr(
        os,
        "copy_file_range",
        lambda source, out, count, *where: real(source, out, min(count, 100_000), *where),
    )
    data = os.urandom(BUFFER_BYTES * 2)
    (tmp_path / "f").write_bytes(data)
    assert copied(worker, tmp_path / "f", tmp_path / "g") == (len(data), sha256(data), [])
    assert (tmp_path / "g").read_bytes() == data


def test_short_writes(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda out, data: write(out, data[:7]))
    monkeypatch.setattr(os, "pwrite", lambda out, data, at: pwrite(out, data[:99_999], at))
    monkeypatch.delattr(os, "copy_file_range")
    for size in (100, BUFFER_BYTES * 2):
        data = os.urandom(size)
        (tmp_path / "f").write_bytes(data)
        assert copied(worker, tmp_path / "f", tmp_path / f"g{size}") == (size, sha256(data), [])
        assert (tmp_path / f"g{size}").read_bytes() == data


@pytest.mark.parametrize("pattern", ["hole-data-hole", "data-hole-data", "all hole"])
def test_holes_stay_holes(worker: Worker, tmp_path: Path, pattern: str) -> None:
    step = 1 << 20
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.truncate(3 * step)
        if pattern == "hole-data-hole":
            os.pwrite(file.fileno(), b"d" * step, step)
        elif pattern == "data-hole-data":
            os.pwrite(file.fileno(), b"d" * step, 0)
            os.pwrite(file.fileno(), b"d" * step, 2 * step)
    size, digest, holes = copied(worker, path, tmp_path / "g")
    assert (size, digest) == (3 * step, sha256(path.read_bytes()))
    assert (tmp_path / "g").read_bytes() == path.read_bytes()
    hollow = {"hole-data-hole": 2, "data-hole-data": 1, "all hole": 3}[pattern]
    assert sum(length for _start, length in holes) == hollow * step


def test_a_file_system_that_tells_no_holes(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object) -> int:
        raise OSError(errno.EINVAL, "no")

    with (tmp_path / "f").open("wb") as file:
        file.truncate(1 << 20)
    monkeypatch.setattr(os, "lseek", refuse)
    assert copied(worker, tmp_path / "f", tmp_path / "g")[2] == []


def test_a_sparse_looking_file_without_holes(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed file systems need fewer blocks than bytes."""
    with (tmp_path / "f").open("wb") as file:
        file.truncate(1 << 20)
    monkeypatch.setattr(os, "lseek", lambda _file, _offset, _whence: 1 << 20)
    assert copied(worker, tmp_path / "f", tmp_path / "g")[2] == []


# -- whose fault ----------------------------------------------------------------------------


def test_errors_of_source_and_target_are_told_apart(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    (tmp_path / "there").write_bytes(b"")
    assert copied(worker, path, tmp_path / "there") == ("target", errno.EEXIST)
    assert copied(worker, path, tmp_path / "absent/g") == ("target", errno.ENOENT)
    (tmp_path / "link").symlink_to("nowhere")
    assert copied(worker, path, tmp_path / "link") == ("target", errno.EEXIST)
    gone = planned(path)
    path.unlink()
    assert copied(worker, path, tmp_path / "g", plan=gone) == ("io", errno.ENOENT)


def fail(number: int) -> Callable[..., Any]:
    def call(*_given: Any, **_named: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("call", "size", "expected"),
    [
        ("write", 10, "target"),
        ("pwrite", BUFFER_BYTES, "target"),
        ("copy_file_range", BUFFER_BYTES, "target"),
        ("fchmod", 10, "target"),
        ("readv", 10, "io"),
    ],
)
def test_a_full_disk_and_a_failing_one(
    worker: Worker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    size: int,
    expected: str,
) -> None:
    (tmp_path / "f").write_bytes(bytes(size))
    if call == "pwrite":
        monkeypatch.delattr(os, "copy_file_range")
    monkeypatch.setattr(os, call, fail(errno.ENOSPC))
    assert copied(worker, tmp_path / "f", tmp_path / "g") == (expected, errno.ENOSPC)


def test_a_file_system_without_modes_is_no_error(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    monkeypatch.setattr(os, "fchmod", fail(errno.EPERM))
    assert copied(worker, tmp_path / "f", tmp_path / "g")[0] == 1


def test_modes_are_kept_but_what_is_cleared(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "f").chmod(0o4755)
    copied(worker, tmp_path / "f", tmp_path / "g", clear_mode=0o222)
    assert (tmp_path / "g").stat().st_mode & 0o7777 == 0o555


def test_a_failing_read_ends_the_threads(worker: Worker) -> None:
    before = threading.active_count()
    with pytest.raises(OSError):
        worker.hash_stream([hashlib.md5, hashlib.sha1], split=True, read=fail(errno.EIO))
    assert threading.active_count() == before


def test_directories_are_kept_open_and_closed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(name.encode())
    before = len(os.listdir("/proc/self/fd"))
    worker = Worker()
    for path in ("a", "b", "b", "a"):
        assert hashed(worker, tmp_path, "f", path) == (1, sha256(path.encode()))
    worker.close()
    assert len(os.listdir("/proc/self/fd")) == before


# -- the program -----------------------------------------------------------------------------


def frame(message: tuple[Any, ...]) -> bytes:
    body = marshal.dumps(message)
    return FRAME.pack(len(body)) + body


def program(monkeypatch: pytest.MonkeyPatch, requests: bytes) -> io.BytesIO:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(requests)))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    monkeypatch.setattr(signal, "signal", lambda *_given: None)
    return out


def test_the_program_answers_until_its_input_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(LARGE_BYTES)
    out = program(monkeypatch, frame((7, HASH, ("md5",), False, str(tmp_path), "", ["f"])))
    subject.main()
    messages = []
    out.seek(0)
    while head := out.read(4):
        messages.append(marshal.loads(out.read(FRAME.unpack(head)[0])))
    assert messages[0] == ("progress", LARGE_BYTES)
    assert messages[1][:3] == ("result", 7, [LARGE_BYTES])


def test_an_orphan_ends_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(LARGE_BYTES)
    program(monkeypatch, frame((1, HASH, ("md5",), False, str(tmp_path), "", ["f"])))
    parents = iter([1, 2])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit):
        subject.main()


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(monkeypatch, frame((1, HASH, (), False, str(tmp_path), "", [])))

    class Gone(io.BytesIO):
        def write(self, _data: object) -> int:
            raise BrokenPipeError

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=Gone()))
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as left:
        subject.main()
    assert left.value.code == 1


def test_a_source_stays_open_while_many_targets_come_and_go(tmp_path: Path) -> None:
    """One source, more targets than are kept open: none is taken for another."""
    source = tmp_path / "source"
    source.mkdir()
    worker = Worker()
    for number in range(3 * MAX_ROOTS):
        (source / f"{number}").write_bytes(b"%d" % number)
        target = tmp_path / f"target{number}"
        target.mkdir()
        found = (source / f"{number}").stat()
        planned = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        files = [(f"{number}", f"{number}", *planned)]
        request = (COPY, ("sha512",), False, str(source), "", str(target), "", files, 0)
        assert not worker.run(request)[2]
        assert (target / f"{number}").read_bytes() == b"%d" % number
    worker.close()
    before = sorted(os.listdir("/proc/self/fd"))
    worker.close()  # again: it must not close what has these numbers now
    assert sorted(os.listdir("/proc/self/fd")) == before
