"""Letting contestants run in turn, and the figures that come of it."""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.errors import BenchmarkError
from benchmarks.memory import peak_private_bytes
from benchmarks.process import Usage, run

T = TypeVar("T")


def nothing() -> None:
    """The default for steps that a contestant does not have."""


@dataclass(frozen=True)
class Contestant:
    """One program in a contest.

    After each run, untimed, `check` raises BenchmarkError if the program did not do its work,
    and `clean` removes what it made.
    """

    name: str
    command: tuple[str, ...]
    check: Callable[[], None] = nothing
    clean: Callable[[], None] = nothing


@dataclass(frozen=True)
class Contest:
    """Programs that do the same work on the same data.

    `payload_bytes` is the size of the data in bytes, 0 where there are none. With 0 `rounds`,
    only the memory is measured.
    """

    operation: str
    data_set: str
    payload_bytes: int
    rounds: int
    contestants: tuple[Contestant, ...]


@dataclass(frozen=True)
class Row:
    """The figures of one contestant.

    `wall_s` and `cpu_s` hold the seconds of each round; `peak_rss_bytes` is the peak of its
    largest process over all rounds (None: not timed), an upper bound when
    `peak_is_upper_bound`; `private_bytes` the peak of its process tree's private memory.
    """

    operation: str
    data_set: str
    contestant: str
    payload_bytes: int
    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    peak_rss_bytes: int | None
    peak_is_upper_bound: bool
    private_bytes: int

    @property
    def median_wall_s(self) -> float | None:
        """Median seconds from start to end; None when not timed."""
        return statistics.median(self.wall_s) if self.wall_s else None

    @property
    def median_cpu_s(self) -> float | None:
        """Median seconds of CPU time; None when not timed."""
        return statistics.median(self.cpu_s) if self.cpu_s else None

    @property
    def mb_per_s(self) -> float | None:
        """Payload in MB (1,000,000 bytes) per second of wall time; None when there is none."""
        wall = self.median_wall_s
        return self.payload_bytes / 1e6 / wall if wall and self.payload_bytes else None


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """The quotient; None when either is unknown or the denominator 0."""
    return numerator / denominator if numerator is not None and denominator else None


def hold(contest: Contest, progress: Callable[[str], None]) -> tuple[Row, ...]:
    """Run the contest: once each for memory, then the timed rounds; one row per contestant."""
    label = f"{contest.operation} {contest.data_set}".strip()
    # The runs for memory come first: they also load programs, and compile them, before the
    # first timed run.
    private = [
        once(contestant, label, progress, peak_private_bytes) for contestant in contest.contestants
    ]
    usages: list[list[Usage]] = [[] for _ in contest.contestants]
    for number in range(contest.rounds):
        for index in turn(len(contest.contestants), number):
            contestant = contest.contestants[index]
            round_label = f"{label}, round {number + 1} of {contest.rounds}"
            usages[index].append(once(contestant, round_label, progress, run))
    return tuple(
        _row(contest, contestant, runs, peak)
        for contestant, runs, peak in zip(contest.contestants, usages, private, strict=True)
    )


def turn(contestants: int, number: int) -> list[int]:
    """Who runs in which order in round `number`: everybody once, each round another first."""
    return [(index + number) % contestants for index in range(contestants)]


def once(
    contestant: Contestant,
    label: str,
    progress: Callable[[str], None],
    measure: Callable[[tuple[str, ...]], T],
) -> T:
    """Measure one run of `contestant`, check its work, and remove it."""
    progress(f"{label}: {contestant.name}")
    # Pages that earlier runs left to be written must not cost this one any time.
    os.sync()
    try:
        result = measure(contestant.command)
        contestant.check()
    except BenchmarkError as error:
        raise BenchmarkError(f"{label}: {contestant.name} failed: {error}") from error
    finally:
        contestant.clean()
    return result


def _row(contest: Contest, contestant: Contestant, runs: list[Usage], private: int) -> Row:
    """The row of one contestant from its runs."""
    largest = max(runs, key=lambda usage: usage.peak_rss_bytes, default=None)
    return Row(
        operation=contest.operation,
        data_set=contest.data_set,
        contestant=contestant.name,
        payload_bytes=contest.payload_bytes,
        wall_s=tuple(usage.wall_s for usage in runs),
        cpu_s=tuple(usage.cpu_s for usage in runs),
        peak_rss_bytes=largest.peak_rss_bytes if largest else None,
        peak_is_upper_bound=largest.peak_is_upper_bound if largest else False,
        private_bytes=private,
    )
