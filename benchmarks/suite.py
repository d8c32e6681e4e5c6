"""All measurements that were asked for, one after the other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import peers
from benchmarks.datasets import DataSet, scaled, warm, write
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Row, hold, nothing, once
from benchmarks.process import run
from benchmarks.workspace import lacks_cache, lacks_room, set_aside, temporary_directory

# A single file shows verifying on two cores; creating a bag of it shows no more than L does.
_VERIFY_ONLY = "L1"
_ON_TMPFS_TOO = "S"
_MEMORY_ONLY = "MANY"


@dataclass(frozen=True)
class Settings:
    """What to measure and where.

    `tmpfs_required` says that the user named `tmpfs`, so that lacking room on it is an error.
    """

    scale: float
    sets: tuple[str, ...]
    rounds: int
    operations: frozenset[str]
    directory: Path
    tmpfs: Path
    tmpfs_required: bool
    progress: Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """The operations to measure on one data set, made in a new directory in `parent`.

    With 0 `rounds`, only archiver's memory is measured. `in_memory` says that `parent` is the
    tmpfs; an `optional` job is left out when `parent` lacks room.
    """

    data_set: DataSet
    parent: Path
    operations: frozenset[str]
    rounds: int
    in_memory: bool = False
    optional: bool = False


def on_tmpfs(name: str) -> str:
    """What the tables call the data set `name` when it is on a tmpfs."""
    return f"{name} (tmpfs)"


def measure(settings: Settings) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """All rows, and notes on what could not be measured as usual."""
    # Room is asked for before anything is measured, so that lacking it does not cost an hour.
    notes = [note for job in planned(settings) for note in _notes_on_room(job)]
    jobs = [job for job in planned(settings) if not (job.optional and _lacks_room(job))]
    rows = list(hold(peers.interpreter_contest(), settings.progress))
    if peers.START_UP in settings.operations:
        rows += hold(peers.start_up_contest(), settings.progress)
    with ExitStack() as stack:
        places = {
            parent: stack.enter_context(temporary_directory(parent))
            for parent in {job.parent for job in jobs}
        }
        for job in jobs:
            rows += _do(job, places[job.parent], settings.progress)
        settings.progress("removing the temporary data")
    return tuple(rows), tuple(notes)


def planned(settings: Settings) -> Iterator[Job]:
    """The jobs that `settings` ask for."""
    for name in settings.sets:
        for job in _jobs_for(scaled(name, settings.scale), settings):
            if job.operations:
                yield job


def _jobs_for(data_set: DataSet, settings: Settings) -> Iterator[Job]:
    """The jobs with one data set; some may have no operations."""
    operations = settings.operations & {peers.VERIFY, peers.CREATE}
    on_disk = Job(data_set, settings.directory, operations, settings.rounds)
    in_memory = replace(
        on_disk,
        data_set=replace(data_set, name=on_tmpfs(data_set.name)),
        parent=settings.tmpfs,
        in_memory=True,
    )
    if data_set.name == _MEMORY_ONLY:
        yield replace(in_memory, rounds=0)
    elif data_set.name == _VERIFY_ONLY:
        yield replace(on_disk, operations=operations & {peers.VERIFY})
    else:
        yield on_disk
    if data_set.name == _ON_TMPFS_TOO:
        yield replace(
            in_memory,
            operations=operations & {peers.CREATE},
            optional=not settings.tmpfs_required,
        )


def _notes_on_room(job: Job) -> Iterator[str]:
    """Notes on lacking room and memory; BenchmarkError when the job cannot be left out."""
    name = job.data_set.name
    if reason := _lacks_room(job):
        if not job.optional:
            raise BenchmarkError(f"no room for {name}: it {reason}")
        yield f"{name} is left out: it {reason}."
    elif lacks_cache(job.data_set):
        yield f"{name} may be too large for this machine's page cache."


def _lacks_room(job: Job) -> str | None:
    """Why there is no room for the job; None when there is."""
    # Source and bag; on a disk, the files of all outputs stay, empty, until the end.
    times = 2 if job.in_memory else 2 + peers.CREATORS * (job.rounds + 1)
    return lacks_room(job.parent, job.data_set, times)


def _do(job: Job, place: Path, progress: Callable[[str], None]) -> list[Row]:
    """Make the data set in `place`, measure the operations on it, and set it aside."""
    rows: list[Row] = []
    work = place / job.data_set.name
    work.mkdir()
    progress(f"making {job.data_set.name}: {job.data_set.files} files")
    write(job.data_set, work / "source")
    if peers.VERIFY in job.operations:
        rows += _verify(job, work, progress)
    if peers.CREATE in job.operations:
        rows += _create(job, work, progress)
    set_aside(work)
    return rows


def _verify(job: Job, work: Path, progress: Callable[[str], None]) -> tuple[Row, ...]:
    """Make a bag with archiver, let everybody verify it, and remove it."""
    bag, names = work / "bag", work / "names.txt"
    maker = peers.create_with_archiver(job.data_set, work / "source", bag)
    # Everybody verifies this one bag, so it is not to be removed at once.
    once(replace(maker, clean=nothing), f"making the bag of {job.data_set.name}", progress, run)
    warm(bag)
    if job.rounds:
        with names.open("w", encoding="utf-8") as file:
            file.writelines(f"{path}\n" for path in job.data_set.paths())
        contest = peers.verify_contest(job.data_set, bag, names, job.rounds)
    else:
        archiver = peers.verify_with_archiver(bag)
        contest = peers.memory_contest(peers.VERIFY, job.data_set, archiver)
    rows = hold(contest, progress)
    set_aside(bag)
    return rows


def _create(job: Job, work: Path, progress: Callable[[str], None]) -> tuple[Row, ...]:
    """Let everybody make a bag of the source."""
    source, output = work / "source", work / "output"
    warm(source)
    if job.rounds:
        contest = peers.create_contest(job.data_set, source, output, job.rounds)
    else:
        archiver = peers.create_with_archiver(job.data_set, source, output)
        contest = peers.memory_contest(peers.CREATE, job.data_set, archiver)
    return hold(contest, progress)
