"""Command line of the benchmarks."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks import datasets, peers, suite
from benchmarks.environment import describe
from benchmarks.errors import BenchmarkError
from benchmarks.process import adopt_orphans
from benchmarks.report import Report, to_json
from benchmarks.table import to_markdown
from benchmarks.targets import judge

_DEFAULT_SETS = ("L", "L1", "M", "S")
_OPERATIONS = (peers.VERIFY, peers.CREATE, peers.START_UP)
_DEFAULT_TMPFS = Path("/dev/shm")
_INTERRUPTED = 130
_FAILED = 1

_DESCRIPTION = """\
Measure archiver beside the reference library (bagit), coreutils and a practical limit:
seconds from start to end, seconds of CPU time, and memory. The contestants take turns;
figures are medians. The table goes to standard output, progress to standard error.
"""
_EPILOG = """\
data sets:
  L     4 files of 1 GiB              (--scale changes the size of the files)
  L1    1 file of 1 GiB               (likewise; verify only)
  M     2,000 files of 1 MiB          (--scale changes the number of files)
  S     100,000 files of 4 KiB        (likewise; create also on tmpfs)
  MANY  1,000,000 files of 16 bytes   (likewise; only archiver's memory, only on tmpfs)

At scale 1, the first four need about 9 GB of disk, 1.1 GB of tmpfs, and 12 GB of memory that
is free for the page cache; MANY needs 11 GB of tmpfs. All temporary data are removed at the
end, also after an error or Ctrl-C; that may take minutes. Run it on an otherwise idle machine,
in the environment in which archiver, bagit and typer are installed. Where ext4 has no journal,
let five minutes pass since many files were removed (by an earlier run, say): so long, creating
files is slow for everybody.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what `arguments` ask for, and print it; the exit status."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup has SIGHUP ignored, and it is to stay so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        report = _measure(options)
        _publish(report, options.markdown, options.json)
    except KeyboardInterrupt:
        print("interrupted; nothing is reported", file=sys.stderr)
        return _INTERRUPTED
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _FAILED
    return 0


def _measure(options: argparse.Namespace) -> Report:
    """The report on what `options` ask for."""
    adopt_orphans()
    # First, because it fails at once when one of the programs is missing.
    environment = describe(options.dir)
    settings = suite.Settings(
        scale=options.scale,
        sets=options.sets,
        rounds=options.rounds,
        operations=frozenset(options.only),
        directory=options.dir.absolute(),
        tmpfs=(options.tmpfs or _DEFAULT_TMPFS).absolute(),
        tmpfs_required=options.tmpfs is not None,
        progress=_progress,
    )
    rows, notes = suite.measure(settings)
    return Report(environment, options.scale, options.rounds, notes, rows, judge(rows))


def _publish(report: Report, markdown: Path | None, json: Path | None) -> None:
    """Print the report, and write it to the files that were asked for."""
    text = to_markdown(report)
    print(text, end="")
    if markdown is not None:
        markdown.write_text(text, encoding="utf-8")
    if json is not None:
        json.write_text(to_json(report), encoding="utf-8")


def _progress(text: str) -> None:
    """Tell the user what happens now."""
    print(text, file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Make other signals to end do what Ctrl-C does, so that temporary data are removed."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_amounts(parser)
    _add_places(parser)
    return parser


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to measure and how much of it."""
    parser.add_argument(
        "--scale",
        type=_positive_float,
        default=1.0,
        metavar="FACTOR",
        help="multiply the data sets' size by this, such as 0.01 (default: 1)",
    )
    parser.add_argument(
        "--sets",
        "--set",
        type=lambda text: _choice(text, datasets.names()),
        default=_DEFAULT_SETS,
        metavar="LIST",
        help=f"data sets, with commas between (default: {','.join(_DEFAULT_SETS)})",
    )
    parser.add_argument(
        "--only",
        type=lambda text: _choice(text, _OPERATIONS),
        default=_OPERATIONS,
        metavar="LIST",
        help=f"what to measure, with commas between (default: {','.join(_OPERATIONS)})",
    )
    parser.add_argument(
        "--rounds",
        type=_positive_int,
        default=3,
        metavar="N",
        help="timed runs of each contestant (default: 3; start-up always has 15)",
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that name directories and files."""
    parser.add_argument(
        "--dir",
        type=_directory,
        default=Path(),
        help="where to make temporary data, on the disk to measure (default: here)",
    )
    parser.add_argument(
        "--tmpfs",
        type=_directory,
        metavar="DIR",
        help=f"a tmpfs for S and MANY (default: {_DEFAULT_TMPFS}; without room, S leaves it out)",
    )
    parser.add_argument(
        "--markdown", type=_new_file, metavar="FILE", help="write the table here too"
    )
    parser.add_argument(
        "--json", type=_new_file, metavar="FILE", help="write all figures, of every round, here"
    )


def _choice(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names in a list with commas, in the order of `known` and each once."""
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return tuple(name for name in known if name in chosen)


def _positive_float(text: str) -> float:
    """A finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _positive_int(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _directory(text: str) -> Path:
    """A directory that exists."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a directory")
    return path


def _new_file(text: str) -> Path:
    """A path that can be written; asked now, not when an hour of measuring is over."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written")
    return path


if __name__ == "__main__":
    sys.exit(main())
