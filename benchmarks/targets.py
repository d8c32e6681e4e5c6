"""The targets that archiver has set itself, and whether the figures reach them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import peers
from benchmarks.measure import Row, ratio

_MB = 1_000_000
_L_LIMIT_MB = 60
_MANY_LIMIT_MB = 400
_START_UP_FACTOR = 1.4
_MANY = "MANY (tmpfs)"
_UNKNOWN = "-"


@dataclass(frozen=True)
class SpeedTarget:
    """archiver is to be at least `factor` times as fast as the fastest of `rivals`.

    `cpu` compares seconds of CPU time, otherwise those from start to end.
    """

    operation: str
    data_set: str
    rivals: tuple[str, ...]
    factor: float
    cpu: bool = False


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured for it, and whether that reaches it (None: not measured)."""

    target: str
    measured: str
    reached: bool | None


SPEED_TARGETS = (
    SpeedTarget(peers.VERIFY, "L", (peers.LIMIT,), 0.9),
    SpeedTarget(peers.VERIFY, "L", (peers.BAGIT_2,), 1.0),
    SpeedTarget(peers.VERIFY, "M", (peers.LIMIT,), 0.9),
    SpeedTarget(peers.VERIFY, "M", (peers.BAGIT_2,), 1.25),
    SpeedTarget(peers.VERIFY, "S", (peers.BAGIT_2,), 8.0),
    SpeedTarget(peers.VERIFY, "S", (peers.BAGIT_2,), 5.0, cpu=True),
    SpeedTarget(peers.VERIFY, "L1", (peers.BAGIT_1, peers.BAGIT_2), 1.3),
    SpeedTarget(peers.CREATE, "L", (peers.COPY_BAGIT_2,), 1.0),
    SpeedTarget(peers.CREATE, "M", (peers.COPY_BAGIT_2,), 1.25),
    SpeedTarget(peers.CREATE, "S", (peers.COPY_BAGIT_2,), 3.0),
    SpeedTarget(peers.CREATE, "S (tmpfs)", (peers.COPY_BAGIT_2,), 5.0),
)


def judge(rows: Sequence[Row]) -> tuple[Verdict, ...]:
    """A verdict on every target, in the order in which they are stated."""
    return (
        *(_judge_speed(rows, target) for target in SPEED_TARGETS),
        *_judge_memory(rows),
        _judge_start_up(rows),
    )


def _judge_speed(rows: Sequence[Row], target: SpeedTarget) -> Verdict:
    """Whether archiver is as much faster than its best rival as `target` asks."""

    def seconds(contestant: str) -> float | None:
        row = _find(rows, target.operation, target.data_set, contestant)
        return None if row is None else row.median_cpu_s if target.cpu else row.median_wall_s

    times = [time for rival in target.rivals if (time := seconds(rival)) is not None]
    faster = ratio(min(times, default=None), seconds(peers.ARCHIVER))
    text = (
        f"{target.operation} {target.data_set}: >= {target.factor:g} x "
        f"{' or '.join(target.rivals)}, {'CPU' if target.cpu else 'wall'}"
    )
    if faster is None:
        return Verdict(text, _UNKNOWN, None)
    return Verdict(text, f"{faster:.2f} x", faster >= target.factor)


def _judge_memory(rows: Sequence[Row]) -> Iterator[Verdict]:
    """Whether archiver's private memory stays below its limits."""
    idle = next((row.private_bytes for row in rows if row.operation == peers.INTERPRETER), None)
    for operation in (peers.VERIFY, peers.CREATE):
        row = _find(rows, operation, "L", peers.ARCHIVER)
        over = None if row is None or idle is None else row.private_bytes - idle
        yield _below(f"{operation} L: private memory over the interpreter's", over, _L_LIMIT_MB)
    for operation in (peers.VERIFY, peers.CREATE):
        row = _find(rows, operation, _MANY, peers.ARCHIVER)
        used = None if row is None else row.private_bytes
        yield _below(f"{operation} {_MANY}: private memory", used, _MANY_LIMIT_MB)


def _below(text: str, used_bytes: int | None, limit_mb: int) -> Verdict:
    """Whether `used_bytes` are fewer than `limit_mb` MB."""
    target = f"{text} < {limit_mb} MB"
    if used_bytes is None:
        return Verdict(target, _UNKNOWN, None)
    return Verdict(target, f"{used_bytes / _MB:.1f} MB", used_bytes < limit_mb * _MB)


def _judge_start_up(rows: Sequence[Row]) -> Verdict:
    """Whether `archiver --help` is quick enough beside importing typer."""
    target = f"{peers.HELP}: < {_START_UP_FACTOR:g} x the time of {peers.IMPORT_TYPER}"
    own = _find(rows, peers.START_UP, "", peers.HELP)
    typer = _find(rows, peers.START_UP, "", peers.IMPORT_TYPER)
    slower = ratio(
        own.median_wall_s if own else None,
        typer.median_wall_s if typer else None,
    )
    if slower is None:
        return Verdict(target, _UNKNOWN, None)
    return Verdict(target, f"{slower:.2f} x", slower < _START_UP_FACTOR)


def _find(rows: Sequence[Row], operation: str, data_set: str, contestant: str) -> Row | None:
    """The row with these three names; None when it was not measured."""
    wanted = (operation, data_set, contestant)
    for row in rows:
        if (row.operation, row.data_set, row.contestant) == wanted:
            return row
    return None
