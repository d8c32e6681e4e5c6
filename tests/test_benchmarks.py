"""The benchmarks: their pure parts, and one whole run at a tiny scale."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import datasets, memory, peers, process, suite, targets
from benchmarks.environment import Environment
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Contest, Contestant, Row, hold, ratio, turn
from benchmarks.report import Report, to_json
from benchmarks.table import to_markdown
from benchmarks.workspace import set_aside, temporary_directory

ROOT = Path(__file__).parents[1]

needs_programs = pytest.mark.skipif(
    not all(find_spec(name) for name in ("archiver", "bagit", "typer")),
    reason="archiver, bagit and typer have to be installed",
)


def quiet(_text: str) -> None:
    """Progress that nobody wants to read."""


def row(operation: str, data_set: str, contestant: str, *wall_s: float) -> Row:
    """A row with these wall times, CPU times twice as long, and 50 MB of memory."""
    return Row(
        operation=operation,
        data_set=data_set,
        contestant=contestant,
        payload_bytes=8_000_000,
        wall_s=wall_s,
        cpu_s=tuple(2 * seconds for seconds in wall_s),
        peak_rss_bytes=50_000_000,
        peak_is_upper_bound=False,
        private_bytes=50_000_000,
    )


def verdict(rows: list[Row], start: str) -> targets.Verdict:
    """The verdict on the target whose text starts with `start`."""
    (found,) = (each for each in targets.judge(rows) if each.target.startswith(start))
    return found


def settings(
    sets: tuple[str, ...], operations: tuple[str, ...] = (peers.VERIFY, peers.CREATE)
) -> suite.Settings:
    """Settings for a plan that is not carried out."""
    return suite.Settings(
        scale=0.01,
        sets=sets,
        rounds=3,
        operations=frozenset(operations),
        directory=Path("disk"),
        tmpfs=Path("memory"),
        tmpfs_required=False,
        progress=quiet,
    )


def report(*rows: Row, scale: float = 1.0) -> Report:
    """A report on these rows."""
    environment = Environment(
        date="2024-01-02",
        cpu="Some CPU",
        sha_instructions=True,
        cores=2,
        kernel="6.1",
        python="3.11.0",
        openssl="OpenSSL 3",
        coreutils="9.1",
        archiver="1.0",
        bagit="1.9.0",
        typer="0.1",
        file_system="ext4",
    )
    return Report(environment, scale, 3, (), rows, targets.judge(rows))


# Data sets


@pytest.mark.parametrize(
    ("name", "files", "file_bytes"),
    [
        ("L", 4, 1024**3),
        ("L1", 1, 1024**3),
        ("M", 2_000, 1024**2),
        ("S", 100_000, 4096),
        ("MANY", 1_000_000, 16),
    ],
)
def test_data_sets_at_scale_1(name: str, files: int, file_bytes: int) -> None:
    data_set = datasets.scaled(name, 1)
    assert (data_set.files, data_set.file_bytes) == (files, file_bytes)
    assert data_set.payload_bytes == files * file_bytes


def test_scale_changes_the_size_of_large_files_and_the_number_of_small_ones() -> None:
    assert datasets.scaled("L", 0.5) == datasets.DataSet("L", 4, 1024**3 // 2)
    assert datasets.scaled("S", 0.01) == datasets.DataSet("S", 1000, 4096)


def test_a_scaled_set_is_never_empty() -> None:
    assert datasets.scaled("M", 1e-9).files == 1
    assert datasets.scaled("L", 1e-12).file_bytes > 0


def test_unknown_data_set() -> None:
    with pytest.raises(BenchmarkError, match="'X'"):
        datasets.scaled("X", 1)


def test_files_are_spread_over_directories() -> None:
    paths = list(datasets.DataSet("S", files=5, file_bytes=8, files_per_directory=2).paths())
    assert len(set(paths)) == 5
    assert [path.split("/")[0] for path in paths] == ["d0000"] * 2 + ["d0001"] * 2 + ["d0002"]


def test_written_files_have_their_size_and_differ(tmp_path: Path) -> None:
    data_set = datasets.DataSet("S", files=7, file_bytes=16, files_per_directory=3)
    datasets.write(data_set, tmp_path / "source")
    contents = [(tmp_path / "source" / path).read_bytes() for path in data_set.paths()]
    assert {len(content) for content in contents} == {16}
    assert len(set(contents)) == 7
    peers.check_files(tmp_path / "source", data_set)
    with pytest.raises(BenchmarkError, match="7 files"):
        peers.check_files(tmp_path / "source", replace(data_set, files=8))


def test_a_file_larger_than_one_chunk_has_its_exact_size(tmp_path: Path) -> None:
    data_set = datasets.DataSet("L", files=1, file_bytes=datasets.MIB + 3)
    datasets.write(data_set, tmp_path / "source")
    peers.check_files(tmp_path / "source", data_set)
    datasets.warm(tmp_path)


# The plan


def test_small_files_are_also_bagged_on_tmpfs() -> None:
    disk, in_memory = suite.planned(settings(("S",)))
    assert (disk.data_set.name, disk.parent.name, disk.optional) == ("S", "disk", False)
    assert in_memory.data_set.name == "S (tmpfs)"
    assert (in_memory.parent.name, in_memory.optional) == ("memory", True)
    assert in_memory.operations == {peers.CREATE}


def test_many_files_are_only_for_memory_on_tmpfs() -> None:
    (job,) = suite.planned(settings(("MANY",)))
    assert (job.data_set.name, job.parent.name, job.rounds) == ("MANY (tmpfs)", "memory", 0)


def test_jobs_without_operations_are_left_out() -> None:
    assert not list(suite.planned(settings(("L1",), (peers.CREATE,))))
    assert len(list(suite.planned(settings(("S",), (peers.VERIFY,))))) == 1
    assert not list(suite.planned(settings(("L", "S"), (peers.START_UP,))))


# Figures


def test_medians_and_throughput() -> None:
    figures = row("verify", "L", "archiver", 9.0, 2.0, 1.0)
    assert (figures.median_wall_s, figures.median_cpu_s, figures.mb_per_s) == (2.0, 4.0, 4.0)


def test_figures_that_were_not_measured() -> None:
    figures = row("verify", "MANY", "archiver")
    assert (figures.median_wall_s, figures.median_cpu_s, figures.mb_per_s) == (None, None, None)


def test_ratio() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(None, 2.0) is None
    assert ratio(3.0, None) is None
    assert ratio(3.0, 0.0) is None


def test_everybody_runs_once_a_round_and_another_one_first() -> None:
    assert [turn(3, number) for number in range(3)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]


# Targets


@pytest.mark.parametrize(("limit_s", "reached"), [(0.9, True), (0.89, False)])
def test_speed_target(limit_s: float, reached: bool) -> None:
    rows = [row("verify", "L", peers.ARCHIVER, 1.0), row("verify", "L", peers.LIMIT, limit_s)]
    assert verdict(rows, "verify L: >= 0.9 x limit").reached is reached


def test_speed_target_takes_the_best_rival() -> None:
    rows = [
        row("verify", "L1", peers.ARCHIVER, 1.0),
        row("verify", "L1", peers.BAGIT_1, 1.2),
        row("verify", "L1", peers.BAGIT_2, 5.0),
    ]
    result = verdict(rows, "verify L1")
    assert (result.measured, result.reached) == ("1.20 x", False)


def test_cpu_target_compares_cpu_time() -> None:
    own = replace(row("verify", "S", peers.ARCHIVER, 1.0), cpu_s=(1.0,))
    rows = [own, row("verify", "S", peers.BAGIT_2, 4.0)]
    assert verdict(rows, "verify S: >= 8").measured == "4.00 x"
    assert verdict(rows, "verify S: >= 5").measured == "8.00 x"


@pytest.mark.parametrize(("idle_bytes", "reached"), [(0, True), (-10_000_000, False)])
def test_memory_target_is_about_what_exceeds_the_interpreter(
    idle_bytes: int, reached: bool
) -> None:
    idle = replace(row(peers.INTERPRETER, "", "python, idle"), private_bytes=idle_bytes)
    result = verdict([idle, row("create", "L", peers.ARCHIVER, 1.0)], "create L: private")
    assert result.reached is reached


def test_memory_target_for_many_files_is_absolute() -> None:
    result = verdict([row("create", "MANY (tmpfs)", peers.ARCHIVER)], "create MANY")
    assert (result.measured, result.reached) == ("50.0 MB", True)


@pytest.mark.parametrize(("help_s", "reached"), [(1.3, True), (1.4, False)])
def test_start_up_target(help_s: float, reached: bool) -> None:
    rows = [
        row(peers.START_UP, "", peers.HELP, help_s),
        row(peers.START_UP, "", peers.IMPORT_TYPER, 1.0),
    ]
    assert verdict(rows, "archiver --help").reached is reached


def test_nothing_measured_is_neither_yes_nor_no() -> None:
    assert {each.reached for each in targets.judge([])} == {None}


# Output


def test_table_has_figures_and_ratios() -> None:
    text = to_markdown(
        report(
            row("verify", "L", peers.ARCHIVER, 2.0),
            replace(row("verify", "L", peers.LIMIT, 1.0), peak_is_upper_bound=True),
        )
    )
    own = "| verify | L | archiver | 2.000 | 4.000 | 4 | 50.0 | 50.0 | 1.00 | 1.00 |"
    assert own in text.splitlines()
    assert "| verify | L | limit | 1.000 | 2.000 | 8 | ≤ 50.0 | 50.0 | 0.50 | 0.50 |" in text
    assert "| verify L: >= 0.9 x limit, wall | 0.50 x | **no** |" in text
    assert "- CPU: Some CPU, 2 cores, with SHA instructions" in text
    assert "scale" not in text


def test_a_scaled_report_says_so() -> None:
    assert "- scale: 0.01" in to_markdown(report(scale=0.01))


def test_json_has_the_times_of_all_rounds() -> None:
    loaded = json.loads(to_json(report(row("verify", "L", peers.ARCHIVER, 2.0, 1.0))))
    assert loaded["rows"][0]["wall_s"] == [2.0, 1.0]


# Running programs


def test_run_reports_time_and_memory() -> None:
    work = "x = bytearray(60_000_000); sum(range(3_000_000))"
    usage = process.run((sys.executable, "-c", work))
    assert usage.wall_s > 0
    assert usage.cpu_s > 0
    assert usage.peak_rss_bytes > 60_000_000


def test_private_memory_of_the_tree_is_sampled() -> None:
    child = "x = bytearray(b'1') * 30_000_000; import time; time.sleep(0.3)"
    tree = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert 30_000_000 < memory.peak_private_bytes((sys.executable, "-c", tree)) < 60_000_000


def test_a_failing_program_ends_the_contest_and_is_cleaned_up(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.touch()
    failing = Contestant("loser", ("sh", "-c", "echo why >&2; exit 3"), clean=output.unlink)
    with pytest.raises(BenchmarkError, match=r"verify L: loser failed: exit status 3: why"):
        hold(Contest("verify", "L", 1, 1, (failing,)), quiet)
    assert not output.exists()


def _interrupt_after_writing(work: Path) -> None:
    (work / "file").touch()
    raise KeyboardInterrupt


def test_temporary_directory_is_removed_after_an_interrupt(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), temporary_directory(tmp_path) as work:
        _interrupt_after_writing(work)
    assert not list(tmp_path.iterdir())


def test_what_is_set_aside_frees_its_name_and_room_but_not_that_of_others(tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "output"
    source.write_bytes(b"source")
    output.mkdir()
    (output / "file").write_bytes(b"copy")
    (output / "hard").hardlink_to(source)
    (output / "soft").symlink_to(source)
    set_aside(output)
    set_aside(output)
    assert not output.exists()
    assert source.read_bytes() == b"source"
    assert {path.stat().st_size for path in tmp_path.rglob("file")} <= {0}


def test_limit_hashes_every_file(tmp_path: Path) -> None:
    program = Path(peers.__file__).parent / "programs" / "limit.py"
    data_set = datasets.DataSet("M", files=3, file_bytes=300_000)
    datasets.write(data_set, tmp_path / "data")
    names = tmp_path / "names"
    names.write_text("".join(f"{path}\n" for path in data_set.paths()), encoding="utf-8")
    command = (sys.executable, str(program), str(tmp_path / "data"), str(names))
    process.run((*command, "900000"))
    with pytest.raises(BenchmarkError, match="not every byte"):
        process.run((*command, "900001"))


# The whole


@needs_programs
def test_the_whole_at_a_tiny_scale(tmp_path: Path) -> None:
    work, results = tmp_path / "work", tmp_path / "results.json"
    work.mkdir()
    options = ("--scale", "0.0005", "--rounds", "1", "--sets", "L,L1,M,S,MANY")
    places = ("--dir", str(work), "--tmpfs", str(work), "--json", str(results))
    done = subprocess.run(
        (sys.executable, "-m", "benchmarks", *options, *places),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(work.iterdir())
    assert "not measured" not in done.stdout
    for private in (str(tmp_path), os.uname().nodename):
        assert private not in done.stdout + results.read_text(encoding="utf-8")
    rows = json.loads(results.read_text(encoding="utf-8"))["rows"]
    # Interpreter, start-up, four sets to verify, four to create, MANY twice.
    assert len(rows) == 1 + 3 + 4 * 5 + 4 * 4 + 2


def test_the_benchmark_of_identification_runs() -> None:
    pytest.importorskip("pygfried")
    command = [sys.executable, "-m", "benchmarks.identify", "--scale", "0.05"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "identification adds, on one core" in done.stdout, done.stderr
