"""A report as Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from benchmarks import peers
from benchmarks.environment import Environment
from benchmarks.measure import Row, ratio
from benchmarks.report import Report
from benchmarks.targets import Verdict

_UNKNOWN = "-"
_COLUMNS = (
    "operation",
    "data set",
    "contestant",
    "wall s",
    "CPU s",
    "MB/s",
    "peak MB",
    "tree private MB",
    "archiver vs this, wall",
    "archiver vs this, CPU",
)
_TEXT_COLUMNS = 3
_LEGEND = (
    "Times are medians. MB are 1,000,000 bytes. `peak MB` is the resident peak of the largest "
    "process; `≤` stands where it cannot be told from that of the process that started it. "
    "`tree private MB` is the highest sum of RssAnon over the process tree, in a run of its "
    "own; pages shared since a fork count in every process. `archiver vs this` is the time of "
    "this contestant divided by that of archiver: above 1, archiver is faster."
)


def to_markdown(report: Report) -> str:
    """The report as Markdown: circumstances, one table of figures, the targets."""
    lines = [
        *_header(report),
        "",
        *_table(_COLUMNS, _TEXT_COLUMNS, [_cells(row, report.rows) for row in report.rows]),
        "",
        _LEGEND,
        "",
        "Targets:",
        "",
        *_table(("target", "measured", "reached"), 3, map(_verdict_cells, report.verdicts)),
    ]
    return "\n".join(lines) + "\n"


def _header(report: Report) -> Iterator[str]:
    """The circumstances, one list item each."""
    yield from (f"- {name}: {value}" for name, value in _facts(report.environment))
    yield f"- rounds: {report.rounds}"
    if report.scale != 1:
        yield (
            f"- scale: {report.scale:g}; the targets are meant for scale 1, so the verdicts "
            "below only show the direction"
        )
    yield from (f"- note: {note}" for note in report.notes)


def _facts(environment: Environment) -> Iterator[tuple[str, str]]:
    """The environment in words."""
    sha = "with" if environment.sha_instructions else "without"
    yield "date", environment.date
    yield "CPU", f"{environment.cpu}, {environment.cores} cores, {sha} SHA instructions"
    yield "kernel", environment.kernel
    yield "Python", environment.python
    yield "OpenSSL", environment.openssl
    yield "file system", environment.file_system
    yield "archiver", environment.archiver
    yield (
        "peers",
        f"bagit {environment.bagit}, coreutils {environment.coreutils}, typer {environment.typer}",
    )


def _cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    """The cells of one row; `rows` hold archiver's own, for the ratios."""
    own = _archivers_row(row, rows)
    return (
        row.operation,
        row.data_set or _UNKNOWN,
        row.contestant,
        _number(row.median_wall_s, 3),
        _number(row.median_cpu_s, 3),
        _number(row.mb_per_s, 0),
        _peak(row),
        _megabytes(row.private_bytes),
        _number(ratio(row.median_wall_s, own.median_wall_s if own else None), 2),
        _number(ratio(row.median_cpu_s, own.median_cpu_s if own else None), 2),
    )


def _archivers_row(row: Row, rows: Sequence[Row]) -> Row | None:
    """The row of archiver in the contest that `row` belongs to."""
    contest = (row.operation, row.data_set)
    for each in rows:
        if (each.operation, each.data_set) == contest and each.contestant in (
            peers.ARCHIVER,
            peers.HELP,
        ):
            return each
    return None


def _verdict_cells(verdict: Verdict) -> tuple[str, ...]:
    """The cells of one verdict."""
    reached = {True: "yes", False: "**no**", None: "not measured"}[verdict.reached]
    return verdict.target, verdict.measured, reached


def _number(value: float | None, digits: int) -> str:
    """The value with so many decimals, or a dash."""
    return _UNKNOWN if value is None else f"{value:.{digits}f}"


def _peak(row: Row) -> str:
    """The resident peak of the largest process, in MB."""
    if row.peak_rss_bytes is None:
        return _UNKNOWN
    return ("≤ " if row.peak_is_upper_bound else "") + _megabytes(row.peak_rss_bytes)


def _megabytes(size: int) -> str:
    """A size in bytes as MB."""
    return f"{size / 1e6:.1f}"


def _table(
    columns: Sequence[str], text_columns: int, rows: Iterable[Sequence[str]]
) -> Iterator[str]:
    """The lines of a Markdown table; columns after the first `text_columns` are numbers."""
    yield _line(columns)
    yield _line(["---" if i < text_columns else "---:" for i in range(len(columns))])
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
