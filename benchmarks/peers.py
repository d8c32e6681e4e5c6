"""The contestants: the commands they run, and how their work is checked."""

import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.datasets import DataSet
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Contest, Contestant
from benchmarks.workspace import set_aside

VERIFY = "verify"
CREATE = "create"
START_UP = "start-up"
INTERPRETER = "interpreter"

ARCHIVER = "archiver"
BAGIT_1 = "bagit, 1 process"
BAGIT_2 = "bagit, 2 processes"
COREUTILS = "sha256sum + sha512sum"
LIMIT = "limit"
COPY_BAGIT_1 = "cp + bagit, 1 process"
COPY_BAGIT_2 = "cp + bagit, 2 processes"
COPY = "cp alone"
HELP = "archiver --help"
IMPORT_TYPER = "import typer"
PASS = "python -c pass"

# How many contestants create.
CREATORS = 4

_START_UP_ROUNDS = 15
_MANIFESTS = ("manifest-sha256.txt", "manifest-sha512.txt")


def verify_with_archiver(bag: Path) -> Contestant:
    """The contestant archiver, verifying `bag`."""
    return Contestant(ARCHIVER, (*_archiver(), "bag", "verify", str(bag), "--quiet"))


def verify_contest(data_set: DataSet, bag: Path, names: Path, rounds: int) -> Contest:
    """Who verifies `bag`; `names` is a file listing its payload files, for the limit."""
    bagit = _program("bagit_verify.py")
    limit = (_program("limit.py"), str(bag / "data"), str(names), str(data_set.payload_bytes))
    contestants = (
        verify_with_archiver(bag),
        Contestant(BAGIT_1, (sys.executable, bagit, str(bag), "1")),
        Contestant(BAGIT_2, (sys.executable, bagit, str(bag), "2")),
        Contestant(COREUTILS, ("sh", _program("coreutils_verify.sh"), str(bag))),
        Contestant(LIMIT, (sys.executable, *limit)),
    )
    return Contest(VERIFY, data_set.name, data_set.payload_bytes, rounds, contestants)


def create_contest(data_set: DataSet, source: Path, output: Path, rounds: int) -> Contest:
    """Who makes a bag of `source` at `output`, and the floor, which only copies."""
    contestants = (
        create_with_archiver(data_set, source, output),
        _copy_and_bag(COPY_BAGIT_1, data_set, source, output, processes=1),
        _copy_and_bag(COPY_BAGIT_2, data_set, source, output, processes=2),
        Contestant(
            COPY,
            ("sh", _program("copy.sh"), str(source), str(output)),
            check=partial(check_files, output, data_set),
            clean=partial(set_aside, output),
        ),
    )
    return Contest(CREATE, data_set.name, data_set.payload_bytes, rounds, contestants)


def create_with_archiver(data_set: DataSet, source: Path, output: Path) -> Contestant:
    """The contestant archiver, making a bag of `source` at `output`."""
    return Contestant(
        ARCHIVER,
        (*_archiver(), "bag", "create", str(source), "-o", str(output), "--quiet"),
        check=partial(check_bag, output, data_set),
        clean=partial(set_aside, output),
    )


def memory_contest(operation: str, data_set: DataSet, contestant: Contestant) -> Contest:
    """One contestant, of which only the memory is measured."""
    return Contest(operation, data_set.name, data_set.payload_bytes, 0, (contestant,))


def interpreter_contest() -> Contest:
    """The memory of a Python interpreter that does nothing."""
    command = (sys.executable, "-c", "import time; time.sleep(.2)")
    return Contest(INTERPRETER, "", 0, 0, (Contestant("python, idle", command),))


def start_up_contest() -> Contest:
    """How long archiver takes to say how it is used, beside what it cannot do without."""
    contestants = (
        Contestant(HELP, (*_archiver(), "--help")),
        Contestant(IMPORT_TYPER, (sys.executable, "-c", "import typer")),
        Contestant(PASS, (sys.executable, "-c", "pass")),
    )
    return Contest(START_UP, "", 0, _START_UP_ROUNDS, contestants)


def check_bag(bag: Path, data_set: DataSet) -> None:
    """Raise BenchmarkError unless `bag` holds all files, each in both manifests."""
    check_files(bag / "data", data_set)
    for name in _MANIFESTS:
        if not (bag / name).is_file():
            raise BenchmarkError(f"made a bag without {name}")
        with (bag / name).open("rb") as manifest:
            lines = sum(1 for _ in manifest)
        if lines != data_set.files:
            raise BenchmarkError(f"{name} has {lines} lines for {data_set.files} files")


def check_files(directory: Path, data_set: DataSet) -> None:
    """Raise BenchmarkError unless `directory` has the number and total size of the files."""
    found_files = found_bytes = 0
    for parent, _, names in os.walk(directory):
        found_files += len(names)
        found_bytes += sum(os.stat(os.path.join(parent, name)).st_size for name in names)
    if (found_files, found_bytes) != (data_set.files, data_set.payload_bytes):
        raise BenchmarkError(
            f"made {found_files} files of {found_bytes} bytes together "
            f"instead of {data_set.files} of {data_set.payload_bytes}"
        )


def _copy_and_bag(
    name: str, data_set: DataSet, source: Path, output: Path, processes: int
) -> Contestant:
    """The reference library bags in place, so whoever wants to keep the source copies it."""
    library = (sys.executable, _program("bagit_make.py"), str(processes))
    return Contestant(
        name,
        ("sh", _program("copy_and_bag.sh"), str(source), str(output), *library),
        check=partial(check_bag, output, data_set),
        clean=partial(set_aside, output),
    )


def _archiver() -> tuple[str, ...]:
    """How archiver is started."""
    return (sys.executable, "-m", "archiver")


def _program(name: str) -> str:
    """The path of a peer's program in this package."""
    return str(Path(__file__).parent / "programs" / name)
