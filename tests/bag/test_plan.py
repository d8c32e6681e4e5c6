"""What stands against a bag is found before a byte is copied; what is recorded."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.bag.plan import PlanOptions, plan_bag, plan_files
from archiver.seal import FileList
from tests.bag.making import (
    ENVIRONMENT,
    ROOT,
    codes,
    make,
    payload,
    plan,
    record,
    sidecar,
    verdict,
    write_tree,
)

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "source", {"a.txt": b"a", "sub/b.txt": b"bb"})


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return tmp_path / "bag"


def odd(base: Path, name: bytes, content: bytes = b"odd") -> None:
    """A file with a name that Python's Path can't take as it is."""
    with open(os.path.join(os.fsencode(base), name), "wb") as file:
        file.write(content)


# -- what goes where


def test_one_directory_goes_below_data(source: Path, bag: Path) -> None:
    make(source, bag)
    assert payload(bag) == {b"a.txt": b"a", b"sub/b.txt": b"bb"}


def test_several_sources_keep_their_names(source: Path, bag: Path, tmp_path: Path) -> None:
    other = write_tree(tmp_path / "other", {"c": b"c"})
    make([source, other / "c"], bag)
    assert payload(bag) == {b"source/a.txt": b"a", b"source/sub/b.txt": b"bb", b"c": b"c"}


def test_one_file_keeps_its_name(source: Path, bag: Path) -> None:
    make([source / "a.txt"], bag)
    assert payload(bag) == {b"a.txt": b"a"}
    assert verdict(bag) == "valid"


def test_an_empty_source_makes_a_valid_bag(tmp_path: Path, bag: Path) -> None:
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty", bag)
    assert payload(bag) == {}
    assert verdict(bag) == "valid"


def test_a_trailing_slash_changes_nothing(source: Path, bag: Path) -> None:
    planned = plan_bag([f"{source}/"], str(bag), PlanOptions())
    assert [d.target for d in planned.directories] == ["data", "data/sub"]


def test_two_sources_of_one_name(source: Path, bag: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "other", {"a.txt": b"other"})
    planned = plan_bag(
        [str(source / "a.txt"), str(tmp_path / "other/a.txt")], str(bag), PlanOptions()
    )
    assert codes(planned) == {"E-SRC-006"}


def test_two_sources_that_differ_in_case(source: Path, bag: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "other", {"A.txt": b"other"})
    sources = [str(source / "a.txt"), str(tmp_path / "other/A.txt")]
    assert codes(plan_bag(sources, str(bag), PlanOptions())) == {"E-SRC-004"}


def test_twins_among_sources_are_kept_apart(source: Path, bag: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "other", {"A.txt": b"other"})
    make([source / "a.txt", tmp_path / "other/A.txt"], bag, encode_names=True)
    assert sorted(payload(bag).values()) == [b"a", b"other"]


def test_counts(source: Path, bag: Path) -> None:
    planned = plan(source, bag)
    assert (planned.files, planned.size_bytes) == (2, 3)


# -- what is refused


def test_a_source_that_is_not_there(source: Path, bag: Path) -> None:
    assert codes(plan(source / "no", bag)) == {"E-SRC-001"}
    assert codes(plan(source / "a.txt/no", bag)) == {"E-SRC-001"}


def test_a_source_that_is_a_link(source: Path, bag: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    assert codes(plan(tmp_path / "link", bag)) == {"E-SRC-010"}
    slash = plan_bag([f"{tmp_path}/link/"], str(bag), PlanOptions())
    assert codes(slash) == set()  # with the slash it names the directory itself


def test_dots_behind_a_link_mean_what_the_kernel_says(
    source: Path, bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = write_tree(tmp_path / "elsewhere", {"wrong": b"w"})
    link = tmp_path / "elsewhere/nested/link"
    link.parent.mkdir()
    link.symlink_to(source / "sub")
    monkeypatch.chdir(elsewhere / "nested")
    planned = plan_bag(["link/.."], str(bag), PlanOptions())
    assert [list(d.names) for d in planned.directories] == [["a.txt"], ["b.txt"]]


@pytest.mark.parametrize("where", ["bag", "sub/bag", ""])
def test_a_bag_inside_its_source(source: Path, where: str) -> None:
    assert codes(plan(source, source / where)) == {"E-SRC-007"}


def test_a_bag_inside_its_source_by_way_of_a_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source / "sub")
    assert codes(plan(source, tmp_path / "link/bag")) == {"E-SRC-007"}


def test_a_neighbour_whose_name_begins_alike(source: Path, tmp_path: Path) -> None:
    assert codes(plan(source, tmp_path / "source-bag")) == set()


def test_a_source_that_is_a_bag(source: Path, bag: Path, tmp_path: Path) -> None:
    make(source, bag)
    assert codes(plan(bag, tmp_path / "second")) == {"E-SRC-008"}
    make(bag, tmp_path / "second", bag_in_bag=True)
    assert verdict(tmp_path / "second") == "valid"
    assert b"data/a.txt" in payload(tmp_path / "second")


def test_special_files(source: Path, bag: Path) -> None:
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        where = os.getcwd()
        os.chdir(source)
        try:
            listener.bind("socket")
        finally:
            os.chdir(where)
    planned = plan(source, bag)
    kinds = {dict(one.details)["kind"] for one in planned.findings}
    assert kinds == {"named pipe", "socket"}
    assert codes(planned) == {"E-SRC-003"}
    assert codes(plan(source / "fifo", bag)) == {"E-SRC-003"}


@AS_ROOT
def test_devices(source: Path, bag: Path) -> None:
    try:
        os.mknod(source / "null", 0o20666, os.makedev(1, 3))
        os.mknod(source / "block", 0o60666, os.makedev(7, 0))
    except PermissionError:
        pytest.skip("devices can't be made here")
    kinds = {dict(one.details)["kind"] for one in plan(source, bag).findings}
    assert kinds == {"character device", "block device"}


def test_a_path_nested_too_deep(source: Path, bag: Path, request: pytest.FixtureRequest) -> None:
    at = os.open(source, os.O_RDONLY)
    request.addfinalizer(lambda: subprocess.run(["rm", "-rf", source], check=True))
    for _ in range(1002):
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    planned = plan(source, bag)
    assert codes(planned) == {"E-SRC-013"}


@pytest.mark.parametrize("name", ["..\\x", "a\\..\\b"])
def test_names_that_no_bag_may_list(source: Path, bag: Path, name: str) -> None:
    (source / name).write_bytes(b"x")
    planned = plan(source, bag)
    if planned.findings.outcome("source").value == "holds":
        make(source, bag)
        assert verdict(bag) == "valid"


# -- what can't be read


def as_nobody(code: str) -> str:
    """Run a piece of Python as another user; its output. It may not be able to import."""
    start = "import os; from archiver.bag.plan import PlanOptions, plan_bag, plan_files\n"
    drop = "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    done = subprocess.run(
        [sys.executable, "-c", start + drop + code],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


PLAN_AS_NOBODY = """
options = PlanOptions()
source, bag, *files = {arguments!r}
plan = plan_files(source, files, bag, options) if files else plan_bag([source], bag, options)
print(sorted((f.code, f.path, dict(f.details).get("reason", "")) for f in plan.findings))
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that another user can reach."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield write_tree(Path(place) / "source", {"open": b"", "closed": b"", "dir/x": b""})


@AS_ROOT
def test_what_another_user_cannot_read(public: Path) -> None:
    (public / "closed").chmod(0o600)
    (public / "dir").chmod(0o700)
    told = as_nobody(PLAN_AS_NOBODY.format(arguments=[str(public), "/nonexistent/bag"]))
    assert told.strip() == str(
        [
            ("E-SRC-002", f"{public}/closed", "permission denied"),
            ("E-SRC-002", f"{public}/dir", "Permission denied"),
        ]
    )
    one = as_nobody(PLAN_AS_NOBODY.format(arguments=[f"{public}/closed", "/nonexistent/bag"]))
    assert "permission denied" in one
    listed = [str(public), "/nonexistent/bag", "closed", "dir/x"]
    told = as_nobody(PLAN_AS_NOBODY.format(arguments=listed))
    assert told.count("E-SRC-002") == 2
    public.chmod(0o700)
    told = as_nobody(PLAN_AS_NOBODY.format(arguments=[str(public), "/nonexistent/bag"]))
    assert told.count("E-SRC-002") == 1
    told = as_nobody(PLAN_AS_NOBODY.format(arguments=[f"{public}/open", "/nonexistent/bag"]))
    assert told.count("E-SRC-002") == 1


# -- links


def test_links_inside_are_recorded_not_followed(source: Path, bag: Path) -> None:
    (source / "link").symlink_to("sub/b.txt")
    (source / "dirlink").symlink_to("sub")
    make(source, bag)
    assert payload(bag) == {b"a.txt": b"a", b"sub/b.txt": b"bb"}
    assert record(bag, "data/link") == {"path": "data/link", "type": "link", "target": "sub/b.txt"}
    assert record(bag, "data/dirlink")["target"] == "sub"
    assert codes(plan(source, bag)) == {"W-SRC-021"}


@pytest.mark.parametrize("target", ["../outside", "missing", "loop", "/etc/hostname"])
def test_links_that_lead_nowhere_inside(
    source: Path, bag: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "outside").write_bytes(b"o")
    (source / "loop").symlink_to(target)
    assert codes(plan(source, bag)) == {"E-SRC-009"}
    make(source, bag, record_links_out=True)
    found = record(bag, "data/loop")
    tells_of_places = target.startswith(("/", "../"))
    assert found.get("target") == (None if tells_of_places else target)
    assert found.get("target_withheld") == (True if tells_of_places else None)
    assert not (bag / "data/loop").is_symlink()


def test_absolute_targets_only_where_asked(source: Path, bag: Path, tmp_path: Path) -> None:
    (source / "link").symlink_to(source / "a.txt")
    make(source, bag)
    assert record(bag, "data/link")["target_withheld"] is True
    make(source, tmp_path / "told", absolute_link_targets=True)
    assert record(tmp_path / "told", "data/link")["target"] == str(source / "a.txt")


def test_a_target_that_climbs_out_and_comes_back_is_withheld(source: Path, bag: Path) -> None:
    up = "../" * (len(source.parts) - 1)
    (source / "link").symlink_to(up + str(source / "a.txt")[1:])
    make(source, bag)
    assert str(source)[1:] not in (bag / "metadata/filesystem.jsonl").read_text()


def test_a_link_to_the_source_itself_stays_inside(source: Path, bag: Path) -> None:
    (source / "here").symlink_to(".")
    assert codes(plan(source, bag)) == {"W-SRC-021"}


# -- exclusions


def test_exclusions_are_recorded(source: Path, bag: Path) -> None:
    write_tree(source, {"sub/x.tmp": b"", "sub/deep/y.tmp": b"", "cache/z": b""})
    make(source, bag, exclude=("*.tmp", "sub/b.*", "cache"))
    assert payload(bag) == {b"a.txt": b"a"}
    recorded = {r["pattern"]: r["count"] for r in sidecar(bag) if r["type"] == "excluded"}
    assert recorded == {"*.tmp": 2, "sub/b.*": 1, "cache": 1}


def test_the_name_of_what_is_excluded_stays_out_of_the_bag(source: Path, bag: Path) -> None:
    """A file is often left out because its name tells who a witness is."""
    write_tree(source, {"sub/witness-maria-unseen.txt": b"secret"})
    make(source, bag, exclude=("*witness*",))
    for path in bag.rglob("*"):
        assert "unseen" not in path.name
        assert not path.is_file() or b"unseen" not in path.read_bytes()


def test_what_is_excluded_is_not_judged(source: Path, bag: Path) -> None:
    os.mkfifo(source / "x.fifo")
    odd(source, b"\xff.fifo")
    assert codes(plan(source, bag, exclude=("*.fifo",))) == {"W-SRC-023"}
    make(source, bag, exclude=("*.fifo",))
    (found,) = [r for r in sidecar(bag) if r["type"] == "excluded"]
    assert found == {"type": "excluded", "pattern": "*.fifo", "count": 2}


def test_exclusions_hold_for_listed_files_too(source: Path, bag: Path) -> None:
    make(FileList(str(source), ("a.txt", "sub/b.txt")), bag, exclude=("a.*",))
    assert payload(bag) == {b"sub/b.txt": b"bb"}


def test_exclusions_hold_for_named_files_too(source: Path, bag: Path) -> None:
    make([source / "a.txt", source / "sub"], bag, exclude=("a.*",))
    assert payload(bag) == {b"sub/b.txt": b"bb"}


# -- odd names


@pytest.mark.parametrize(
    ("one", "two"),
    [("x", "X"), ("é", "e\u0301"), ("straße", "STRASSE"), ("ſ", "s"), ("d/x", "D/y")],
)
def test_twins(source: Path, bag: Path, one: str, two: str) -> None:
    write_tree(source, {one: b"1", two: b"2"})
    assert codes(plan(source, bag)) == {"E-SRC-004"}
    made = make(source, bag, encode_names=True)
    assert made.payload_files == 4
    assert verdict(bag) == "valid"
    assert original_names(bag) == {b"a.txt", b"sub/b.txt", one.encode(), two.encode()}


def original_names(bag: Path) -> set[bytes]:
    """The names that the source had, from the side-car alone."""
    records = {r["path"]: r for r in sidecar(bag)}

    def original(path: str) -> bytes:
        parent, slash, name = path.rpartition("/")
        own = records.get(path, {}).get("name_bytes")
        last = bytes.fromhex(own) if own else name.encode()
        return original(parent) + b"/" + last if slash else last

    return {original(p)[5:] for p, r in records.items() if r["type"] == "file"}


NAMES = [b"caf\xe9", b"\xff", b"caf=E9", b"=\xe9=", b"caf\xe9=2", b"\xc3", b"CAF\xe9"]


def test_names_that_are_not_utf8_are_refused(source: Path, bag: Path) -> None:
    odd(source, b"caf\xe9")
    assert codes(plan(source, bag)) == {"E-SRC-005"}
    assert codes(
        plan_bag([os.fsdecode(os.fsencode(source) + b"/caf\xe9")], str(bag), PlanOptions())
    ) == {"E-SRC-005"}


def test_encoded_names_can_be_had_back(source: Path, bag: Path) -> None:
    for name in NAMES:
        odd(source, name, name)
    directory = os.path.join(os.fsencode(source), b"dir\xfe")
    os.mkdir(directory)
    os.symlink("../a.txt", os.path.join(directory, b"link\xfd"))
    odd(Path(os.fsdecode(directory)), b"in\xfc")
    make(source, bag, encode_names=True)
    assert verdict(bag) == "valid"
    assert original_names(bag) == {*NAMES, b"a.txt", b"sub/b.txt", b"dir\xfe/in\xfc"}
    for path, one in {r["path"]: r for r in sidecar(bag)}.items():
        if one["type"] == "file" and one.get("name_bytes") and "/in" not in path:
            assert (bag / path).read_bytes() == bytes.fromhex(one["name_bytes"])
    links = [r for r in sidecar(bag) if r["type"] == "link"]
    assert [bytes.fromhex(one["name_bytes"]) for one in links] == [b"link\xfd"]


def test_a_single_odd_file(source: Path, bag: Path) -> None:
    odd(source, b"caf\xe9")
    make([Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9"))], bag, encode_names=True)
    assert original_names(bag) == {b"caf\xe9"}


def test_an_odd_directory_among_several_sources(source: Path, bag: Path, tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"dir\xfe")
    write_tree(directory, {"x": b"x"})
    make([source, directory], bag, encode_names=True)
    assert b"dir\xfe/x" in original_names(bag)


@pytest.mark.parametrize("name", ["con", "a:b", "dot.", "q?", "NUL.txt", "tab\t"])
def test_names_that_trouble_windows_are_kept(source: Path, bag: Path, name: str) -> None:
    (source / name).write_bytes(b"w")
    assert codes(plan(source, bag)) == {"W-SRC-020"}
    make(source, bag)
    assert payload(bag)[name.encode()] == b"w"
    assert verdict(bag) == "valid"


# -- empty directories and attributes


def test_empty_directories_are_recorded(source: Path, bag: Path) -> None:
    (source / "empty").mkdir(mode=0o750)
    (source / "empty").chmod(0o750)
    assert codes(plan(source, bag)) == {"W-SRC-024"}
    make(source, bag)
    found = record(bag, "data/empty")
    assert found["empty"] is True
    assert found["mode"] == "0750"
    assert found["mtime_ns"] == (source / "empty").stat().st_mtime_ns


@AS_ROOT
def test_an_empty_directory_without_any_permission(source: Path, bag: Path) -> None:
    (source / "empty").mkdir()
    (source / "empty").chmod(0)
    make(source, bag)
    assert record(bag, "data/empty")["empty"] is True


def test_a_time_in_the_far_future(source: Path, bag: Path) -> None:
    future = 10**19
    os.utime(source / "a.txt", ns=(future, future))
    if (source / "a.txt").stat().st_mtime_ns != future:
        pytest.xfail("this file system can't keep such times")
    make(source, bag)
    assert record(bag, "data/a.txt")["mtime_ns"] == future


# -- files named one by one


def listed(source: Path, bag: Path, *paths: str, **options: Any) -> set[str]:
    return codes(plan_files(str(source), paths, str(bag), PlanOptions(**options)))


def test_listed_files_keep_their_paths(source: Path, bag: Path) -> None:
    make(FileList(str(source), ("sub/b.txt", "a.txt", "a.txt")), bag)
    assert payload(bag) == {b"a.txt": b"a", b"sub/b.txt": b"bb"}
    assert verdict(bag) == "valid"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "sub/../../x", "~x", "", "a//b", "C:x"])
def test_listed_paths_that_lead_out(source: Path, bag: Path, path: str) -> None:
    assert listed(source, bag, path) == {"E-SRC-012"}


def test_listed_paths_are_never_followed(source: Path, bag: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "out", {"secret": b"s"})
    (source / "link").symlink_to(tmp_path / "out")
    (source / "file").symlink_to("a.txt")
    assert "E-SRC-001" in listed(source, bag, "link/secret") or "E-SRC-002" in listed(
        source, bag, "link/secret"
    )
    assert listed(source, bag, "file") == {"E-SRC-003"}


def test_listed_files_that_are_missing_or_no_files(source: Path, bag: Path) -> None:
    assert listed(source, bag, "no") == {"E-SRC-001"}
    assert listed(source, bag, "sub") == {"E-SRC-003"}
    assert listed(source / "no", bag, "a") == {"E-SRC-001"}
    assert listed(source, source / "bag", "a.txt") == {"E-SRC-007"}


def test_a_listed_file_without_utf8(source: Path, bag: Path) -> None:
    odd(source, b"caf\xe9")
    name = os.fsdecode(b"caf\xe9")
    assert listed(source, bag, name) == {"E-SRC-005"}
    make(FileList(str(source), (name,)), bag, encode_names=True)
    assert original_names(bag) == {b"caf\xe9"}


def test_a_listed_directory_without_utf8_is_refused(source: Path, bag: Path) -> None:
    write_tree(source / os.fsdecode(b"d\xe9"), {"x": b""})
    assert listed(source, bag, os.fsdecode(b"d\xe9/x")) == {"E-SRC-005"}


def test_a_listed_directory_without_utf8_can_be_had_back(source: Path, bag: Path) -> None:
    write_tree(source / os.fsdecode(b"d\xe9"), {"x": b""})
    make(FileList(str(source), (os.fsdecode(b"d\xe9/x"),)), bag, encode_names=True)
    assert original_names(bag) == {b"d\xe9/x"}


@pytest.mark.parametrize("paths", [("d/x", "D/y"), ("é/x", "e\u0301/x"), ("d", "D/y")])
def test_twins_among_listed_directories(source: Path, bag: Path, paths: tuple[str, ...]) -> None:
    write_tree(source, dict.fromkeys(paths, b""))
    assert listed(source, bag, *paths) == {"E-SRC-004"}


def test_many_sources(tmp_path: Path, bag: Path) -> None:
    sources = [write_tree(tmp_path / f"s{i}", {f"f{i}": b""}) / f"f{i}" for i in range(30)]
    assert make(sources, bag).payload_files == 30


def test_more_sources_than_descriptors(tmp_path: Path, bag: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    sources = [write_tree(tmp_path / f"s{i}", {f"f{i}": b""}) / f"f{i}" for i in range(150)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        assert make(sources, bag).payload_files == 150
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
