"""Groups of bags: a plan cut by number of files and by size."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.bag.plan import Plan, PlannedDirectory, PlanOptions, plan_bag, split_plan


def plan_of(*directories: list[int]) -> Plan:
    """A plan with files of these sizes."""
    plan = Plan()
    for number, sizes in enumerate(directories):
        one = PlannedDirectory(root="/source", path=f"d{number}", target=f"data/d{number}")
        for index, size in enumerate(sizes):
            one.names.append(f"f{index}")
            for values in (one.sizes, one.mtimes, one.ctimes, one.inodes, one.modes):
                values.append(size)
        plan.directories.append(one)
    plan.files = sum(map(len, directories))
    plan.size_bytes = sum(map(sum, directories))
    return plan


def paths(plan: Plan) -> list[str]:
    return [f"{one.target}/{name}" for one in plan.directories for name in one.target_names()]


def test_by_number_of_files() -> None:
    parts = split_plan(plan_of([1] * 5, [1] * 3), max_files=3, max_bytes=None)
    assert [part.files for part in parts] == [3, 3, 2]


def test_by_size_a_large_file_gets_a_bag_of_its_own() -> None:
    parts = split_plan(plan_of([4, 4, 100, 1]), max_files=None, max_bytes=10)
    assert [part.size_bytes for part in parts] == [8, 100, 1]


def test_spellings_and_empty_directories_stay_with_their_files(tmp_path: Path) -> None:
    (tmp_path / "source" / "empty").mkdir(parents=True)
    for name in ("A.txt", "a.txt", "b.txt"):
        (tmp_path / "source" / name).write_text(name)
    options = PlanOptions(encode_names=True)
    plan = plan_bag([str(tmp_path / "source")], str(tmp_path / "bag"), options)
    parts = split_plan(plan, max_files=1, max_bytes=None)
    assert [paths(part) for part in parts] == [
        ["data/A.txt"],
        ["data/a.txt=2"],
        ["data/b.txt"],
    ]
    assert any(one.empty for part in parts for one in part.directories)


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=8), max_size=5),
    st.one_of(st.none(), st.integers(1, 6)),
    st.one_of(st.none(), st.integers(1, 90)),
)
def test_nothing_is_lost_doubled_or_too_large(
    directories: list[list[int]], max_files: int | None, max_bytes: int | None
) -> None:
    plan = plan_of(*directories)
    parts = split_plan(plan, max_files=max_files, max_bytes=max_bytes)
    assert [path for part in parts for path in paths(part)] == paths(plan)
    for part in parts:
        assert part.files == sum(len(one.names) for one in part.directories)
        assert part.size_bytes == sum(sum(one.sizes) for one in part.directories)
        assert max_files is None or part.files <= max_files
        assert max_bytes is None or part.size_bytes <= max_bytes or part.files == 1


@pytest.mark.parametrize("limit", [("--max-files", "2"), ("--max-bytes", "1K")])
def test_group_from_the_command_line(tmp_path: Path, limit: tuple[str, str]) -> None:
    from archiver.cli import main

    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"{number}").write_bytes(b"x" * 500)
    assert main(["bag", "create", str(source), "-o", str(tmp_path / "bag"), *limit]) == 0
    bags = sorted(path for path in tmp_path.iterdir() if path != source)
    assert [path.name for path in bags] == ["bag-1", "bag-2"]
    assert main(["bag", "verify", *map(str, bags)]) == 0
    infos = [(bag / "bag-info.txt").read_text() for bag in bags]
    groups = {info.split("\n")[0] for info in infos}
    assert len(groups) == 1
    assert groups.pop().startswith("Bag-Group-Identifier: urn:uuid:")
    assert ["Bag-Count: 1 of 2" in infos[0], "Bag-Count: 2 of 2" in infos[1]] == [True, True]


def test_group_stops_where_one_of_its_names_is_taken(tmp_path: Path) -> None:
    from archiver.cli import main

    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"{number}").write_bytes(b"x")
    (tmp_path / "bag-3").mkdir()
    code = main(["bag", "create", str(source), "-o", str(tmp_path / "bag"), "--max-files", "1"])
    assert code == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag-3", "source"]


@pytest.mark.parametrize("size", ["0", "4Q", "K", "-1", "1.5G"])
def test_a_wrong_size_is_a_usage_error(
    tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from archiver.cli import main

    code = main(["bag", "create", str(tmp_path), "-o", "x", f"--max-bytes={size}"])
    assert code == 2
    assert capsys.readouterr().err.startswith("error: ")
