"""The engine: many files on all cores, in this process and with worker processes."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.digest import ALGORITHMS, Digest
from archiver.digest import engine as subject
from archiver.digest.engine import Answer, Batch, Engine, plan_batches, worker_count
from archiver.digest.worker import HASH, LARGE_BYTES

MD5 = ALGORITHMS["md5"]
BOTH = (ALGORITHMS["sha512"], MD5)


def batch(root: Path, names: list[str], path: str = "") -> Batch:
    size = sum(
        os.stat(root / path / name).st_size for name in names if (root / path / name).exists()
    )
    return Batch(
        request=(HASH, str(root), path, names), files=len(names), size_bytes=size, token=names
    )


def expected(root: Path, names: list[str]) -> bytes:
    digests = []
    for name in names:
        data = (root / name).read_bytes()
        digests += [hashlib.sha512(data).digest(), hashlib.md5(data).digest()]
    return b"".join(digests)


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, list[list[str]]]:
    """800 small files in batches of 40: enough that processes are started."""
    names = [f"{number:03}" for number in range(800)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 10)
    return tmp_path, [names[start : start + 40] for start in range(0, 800, 40)]


def check(root: Path, answers: list[Answer], batches: list[list[str]]) -> None:
    assert sorted(answer.batch.token for answer in answers) == batches
    for answer in answers:
        assert answer.digests == expected(root, answer.batch.token)
        assert answer.sizes == [30] * len(answer.sizes)
        assert not answer.errors


@pytest.mark.parametrize("workers", [0, 1, 2, None])
def test_digests_are_right_with_any_number_of_workers(
    many: tuple[Path, list[list[str]]], workers: int | None
) -> None:
    root, batches = many
    with Engine(workers=workers) as engine:
        for _turn in range(2):  # the second time the workers are there already
            answers = list(engine.run((batch(root, names) for names in batches), BOTH))
            check(root, answers, batches)


def test_a_few_files_need_no_process(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with Engine(workers=2) as engine:
        [answer] = engine.run([batch(tmp_path, ["a", "absent"])], (MD5,))
        assert not engine._processes
    assert answer.digests[:16] == hashlib.md5(b"x").digest()
    assert answer.errors[1].kind == "io"
    assert list(Engine(workers=1).run([], BOTH)) == []


def test_large_files_come_last_and_tell_their_progress(tmp_path: Path) -> None:
    sizes = {"small": 10, "large": LARGE_BYTES + 5, "larger": LARGE_BYTES * 3}
    for name, size in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    told: list[int] = []
    with Engine(workers=2) as engine:
        batches = (batch(tmp_path, [name]) for name in ("large", "larger", "small"))
        answers = {a.batch.token[0]: a for a in engine.run(batches, (MD5,), told.append)}
    for name, size in sizes.items():
        assert answers[name].sizes == [size]
        assert answers[name].digests == hashlib.md5(bytes(size)).digest()
    assert sum(told) == sizes["large"] + sizes["larger"]


def test_requests_longer_than_a_pipe_holds(tmp_path: Path) -> None:
    """The request pipe is full and is written to in turns."""
    names = [f"{'n' * 200}{number}" for number in range(2000)]
    with Engine(workers=1) as engine:
        answers = list(engine.run([batch(tmp_path, names) for _ in range(3)], (MD5,)))
    assert [len(answer.errors) for answer in answers] == [2000] * 3


# -- workers that die -----------------------------------------------------------


def kill(engine: Engine, index: int) -> None:
    os.kill(engine._processes[index]._popen.pid, signal.SIGKILL)


def test_a_killed_worker_fails_its_own_batches_only(many: tuple[Path, list[list[str]]]) -> None:
    root, batches = many
    with Engine(workers=2) as engine:

        def feed() -> Iterator[Batch]:
            for number, names in enumerate(batches):
                if number == 18:
                    kill(engine, 0)
                    time.sleep(0.1)
                yield batch(root, names)

        answers = list(engine.run(feed(), BOTH))
    assert sorted(answer.batch.token for answer in answers) == batches
    lost = [answer for answer in answers if answer.errors]
    assert len(lost) <= 3
    for answer in lost:
        assert {error.kind for error in answer.errors.values()} == {"worker"}
        assert len(answer.errors) == len(answer.batch.token) == len(answer.sizes)
        assert answer.digests == bytes(len(answer.digests))
    for answer in answers:
        if not answer.errors:
            assert answer.digests == expected(root, answer.batch.token)


@pytest.mark.parametrize("name_length", [3, 200])
def test_when_all_workers_are_dead_everything_fails_and_nothing_hangs(
    tmp_path: Path, name_length: int
) -> None:
    names = ["n" * name_length + str(number) for number in range(700)]
    with Engine(workers=2) as engine:
        list(engine.run([batch(tmp_path, names)], BOTH))
        kill(engine, 0)
        kill(engine, 1)
        answers = list(engine.run([batch(tmp_path, names) for _ in range(9)], BOTH))
        assert len(answers) == 9
        assert {e.kind for a in answers for e in a.errors.values()} == {"worker"}
        again = list(engine.run([batch(tmp_path, names)], BOTH))
        assert {e.kind for e in again[0].errors.values()} == {"worker"}


def test_a_worker_killed_in_the_middle_of_a_large_file(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(20 << 30)
    with Engine(workers=1) as engine:
        timer = threading.Timer(0.5, lambda: kill(engine, 0))
        timer.start()
        [answer] = engine.run([batch(tmp_path, ["huge"])], BOTH)
        timer.join()
    assert answer.errors[0].kind == "worker"


def test_leaving_in_the_middle_ends_the_workers(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    for number in range(700):
        (tmp_path / str(number)).write_bytes(b"")
    small = [batch(tmp_path, [str(number) for number in range(700)])]
    with Engine(workers=2) as engine:
        next(engine.run([*small, batch(tmp_path, ["huge"])], BOTH))
        processes = [process._popen for process in engine._processes]
    assert all(process.returncode is not None for process in processes)


def test_a_run_after_an_abandoned_one_gets_its_own_answers(
    many: tuple[Path, list[list[str]]], tmp_path: Path
) -> None:
    root, batches = many
    with Engine(workers=1) as engine:
        first = engine.run((batch(root, names) for names in batches), BOTH)
        next(first)
        first.close()  # type: ignore[attr-defined]
        turned = [list(reversed(names)) for names in batches]
        answers = list(engine.run((batch(root, names) for names in turned), BOTH))
    assert all(answer.digests == expected(root, answer.batch.token) for answer in answers)


def test_a_closed_pipe_while_writing(
    many: tuple[Path, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent's write may meet the death before its read does."""
    root, batches = many
    real = os.write

    def broken(descriptor: int, data: bytes) -> int:
        if len(data) > 1:
            raise BrokenPipeError
        return real(descriptor, data)  # pragma: no cover

    with Engine(workers=1) as engine:
        engine._start()
        kill(engine, 0)
        monkeypatch.setattr(os, "write", broken)
        answers = list(engine.run((batch(root, names) for names in batches), BOTH))
    assert all(len(answer.errors) == 40 for answer in answers)


# -- plans and values --------------------------------------------------------------


def test_batches_are_cut_by_count_and_size() -> None:
    assert list(plan_batches([])) == []
    assert list(plan_batches([1, 2, 3])) == [(0, 3, 6)]
    assert list(plan_batches([0] * 300)) == [(0, 256, 0), (256, 300, 0)]
    huge = subject.BATCH_BYTES + 1
    assert list(plan_batches([1, huge, 1])) == [(0, 1, 1), (1, 2, huge), (2, 3, 1)]


def test_worker_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_count() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert worker_count() == 1


def test_digests_know_their_width() -> None:
    assert str(Digest(MD5, bytes(16))) == "0" * 32
    with pytest.raises(ValueError, match="16 bytes"):
        Digest(MD5, b"")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms(name: str) -> None:
    algorithm = ALGORITHMS[name]
    assert len(algorithm.new().digest()) == algorithm.size_bytes
