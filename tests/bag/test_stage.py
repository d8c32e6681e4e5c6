"""The staging directory: its lock, its journal, what it takes over and what it leaves."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.bag.stage import Finished, Staging, refuse_existing
from archiver.errors import DestinationError, StorageError
from tests.bag.making import ENVIRONMENT, ROOT, leftovers, staging_path, write_tree

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ONE = Finished(target="data", names=["a"], planned=[(1, 2, 3, 4)], digests=b"\x01\x02", holes={})
TWO = Finished(
    target="data/d",
    names=["b\n\u00e9", "c"],
    planned=[(1, 2, 3, 4), (5, 6, 7, 8)],
    digests=b"\x03\x04",
    holes={"c": [(0, 4096)]},
)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return tmp_path / "bag"


@pytest.fixture
def staging(bag: Path) -> Iterator[Staging]:
    staging = Staging(str(bag), "same")
    staging.open()
    yield staging
    staging.keep()


def again(bag: Path, fingerprint: str = "same") -> Staging:
    """What a later run finds."""
    later = Staging(str(bag), fingerprint)
    later.open()
    return later


def test_its_name_tells_nothing(bag: Path, staging: Staging) -> None:
    (name,) = leftovers(bag.parent)
    assert name.startswith(".archiver-staging-")
    assert "bag" not in name
    assert Path(staging.path).stat().st_mode & 0o777 == 0o700


def test_commit_and_discard(bag: Path, staging: Staging) -> None:
    write_tree(Path(staging.bag), {"data/a": b"a"})
    staging.commit()
    staging.discard()
    assert (bag / "data/a").read_bytes() == b"a"
    assert leftovers(bag.parent) == []


def test_discard_removes_read_only_directories(bag: Path, staging: Staging) -> None:
    write_tree(Path(staging.bag), {"data/a": b"a"})
    Path(staging.bag, "data").chmod(0o500)
    staging.discard()
    assert leftovers(bag.parent) == []


@pytest.mark.parametrize("kind", ["file", "directory", "empty directory", "dangling link"])
def test_commit_replaces_nothing(bag: Path, staging: Staging, kind: str) -> None:
    if kind == "file":
        bag.write_bytes(b"mine")
    elif kind == "dangling link":
        bag.symlink_to("nowhere")
    else:
        write_tree(bag, {"mine": b"m"} if kind == "directory" else {})
    before = os.lstat(bag)
    with pytest.raises(DestinationError, match="exists already"):
        staging.commit()
    assert os.lstat(bag) == before
    with pytest.raises(DestinationError, match="exists already"):
        refuse_existing(str(bag))


def test_the_parent_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for parent in ("no", "file"):
        with pytest.raises(DestinationError, match="does not exist"):
            refuse_existing(str(tmp_path / parent / "bag"))
    refuse_existing(str(tmp_path / "bag"))


def test_the_parent_is_gone(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path / "no/bag"), "same")
    with pytest.raises(StorageError):
        staging.open()


# -- the lock


def test_two_runs_for_one_destination(bag: Path, staging: Staging) -> None:
    write_tree(Path(staging.bag), {"data/a": b"a"})
    with pytest.raises(DestinationError, match="another process"):
        again(bag)
    assert Path(staging.bag, "data/a").exists()


def test_the_lock_is_given_back(bag: Path, staging: Staging) -> None:
    staging.keep()
    again(bag).discard()
    assert leftovers(bag.parent) == []


RACE = """
import fcntl, os, shutil, sys
from archiver.bag.stage import Staging
from archiver.errors import ArchiverError
path = sys.argv[1]
other = Staging(path, "same")
done = []
def hook(event, arguments):
    if event == "fcntl.flock" and not done:  # just before we get the lock ...
        done.append(1)
        shutil.rmtree(Staging(path, "same").path)  # ... its holder finishes,
        other.open()  # ... and a third run begins
        open(os.path.join(other.bag, "precious"), "w").close()
sys.addaudithook(hook)
late = Staging(path, "same")
try:
    late.open()
except ArchiverError as error:
    print("refused")
print(os.listdir(other.bag) if os.path.isdir(other.bag) else "gone")
"""


def test_a_lock_on_what_was_removed_meanwhile_is_none(bag: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RACE, bag],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "refused\n['precious']\n", done.stderr


# -- what somebody else put there


def test_a_link_in_its_place_is_never_followed(bag: Path, tmp_path: Path) -> None:
    victim = write_tree(tmp_path / "victim", {"precious": b"p", "deep/er": b"q"})
    staging_path(bag).symlink_to(victim)
    with contextlib.suppress(DestinationError, StorageError):
        again(bag).discard()
    assert (victim / "precious").exists()
    assert (victim / "deep/er").exists()


@AS_ROOT
def test_a_directory_of_another_user_is_not_taken(bag: Path) -> None:
    staging_path(bag).mkdir(mode=0o777)
    os.chown(staging_path(bag), 65534, 65534)
    with pytest.raises((DestinationError, StorageError)):
        again(bag)


def test_a_file_in_its_place(bag: Path) -> None:
    staging_path(bag).write_bytes(b"mine")
    with pytest.raises(StorageError):
        again(bag)
    assert staging_path(bag).read_bytes() == b"mine"


# -- the journal


def test_finished_files_are_taken_over(bag: Path, staging: Staging) -> None:
    staging.checkpoint([ONE])
    staging.checkpoint([TWO])
    assert not staging.resumes
    staging.keep()
    later = again(bag)
    assert later.resumes
    assert list(later.finished()) == [ONE, TWO]
    later.discard()
    assert leftovers(bag.parent) == []


def test_a_resumed_run_adds_to_the_journal(bag: Path, staging: Staging) -> None:
    staging.checkpoint([ONE])
    staging.keep()
    journal = Path(staging.path, "journal.jsonl")
    journal.write_bytes(journal.read_bytes() + b'{"target": "torn')
    later = again(bag)
    later.checkpoint([TWO])
    later.keep()
    last = again(bag)
    assert list(last.finished()) == [ONE, TWO]
    last.discard()


def test_what_no_journal_proves_is_removed(bag: Path, staging: Staging) -> None:
    write_tree(Path(staging.bag), {"data/a": b"a"})
    (Path(staging.bag) / "data/link").symlink_to("/")
    staging._release()  # as a kill would leave it
    later = again(bag)
    assert os.listdir(later.path) == ["bag"]
    assert os.listdir(later.bag) == []
    later.discard()


def test_keeping_what_is_worth_nothing_leaves_nothing(bag: Path, staging: Staging) -> None:
    write_tree(Path(staging.bag), {"data/a": b"a"})
    staging.keep()
    assert leftovers(bag.parent) == []


def test_a_journal_of_another_run_counts_for_nothing(bag: Path, staging: Staging) -> None:
    write_tree(Path(staging.bag), {"data/a": b"a"})
    staging.checkpoint([ONE])
    staging.keep()
    later = again(bag, "other")
    assert not later.resumes
    assert os.listdir(later.bag) == []
    later.discard()


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_journal_counts_up_to_the_tear(bag: Path, staging: Staging, cut: int) -> None:
    staging.checkpoint([ONE, TWO])
    staging.keep()
    journal = Path(staging.path, "journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-cut])
    later = again(bag)
    # Without its line break the record is whole: only that is lost with the first byte.
    assert list(later.finished()) == ([ONE, TWO] if cut == 1 else [ONE])
    later.discard()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0\0\0\0",
        b"[]",
        b"null",
        b'"x"',
        b'{"target": 1}',
        b"\xff",
        b'{"schema": "x"}',
        b"{",
        b'{"target": "data", "names": 7, "planned": [], "digests": "", "holes": {}}',
        b'{"target": "data", "names": [7], "planned": [[1]], "digests": "", "holes": {}}',
        b'{"target": "data", "names": ["a"], "planned": [], "digests": "", "holes": {}}',
        b'{"target": "data", "names": [], "planned": [], "digests": "zz", "holes": {}}',
        b'{"target": "data", "names": [], "planned": [], "digests": "", "holes": {"a": 1}}',
    ],
)
def test_a_journal_that_is_none(bag: Path, staging: Staging, line: bytes) -> None:
    staging.checkpoint([ONE])
    staging._release()
    journal = Path(staging.path, "journal.jsonl")
    head, record, _end = journal.read_bytes().split(b"\n")
    journal.write_bytes(head + b"\n" + line + b"\n" + record + b"\n")
    later = again(bag)
    assert list(later.finished()) == [ONE]
    later._release()
    journal.write_bytes(line + b"\n" + record + b"\n")
    later = again(bag)
    assert not later.resumes
    later.discard()


def test_a_journal_is_plain_json(staging: Staging) -> None:
    staging.checkpoint([ONE])
    head, one = Path(staging.path, "journal.jsonl").read_text("ascii").splitlines()
    assert json.loads(head) == {"schema": "archiver/staging/1", "fingerprint": "same"}
    assert json.loads(one)["digests"] == "0102"


def test_clearing_keeps_what_is_named(staging: Staging) -> None:
    write_tree(Path(staging.bag), {"data/a": b"", "data/d/b": b"", "bagit.txt": b""})
    staging.clear(lambda directory: {"a"} if directory == "data" else set())
    kept = [path for path in Path(staging.bag).rglob("*") if path.is_file()]
    assert [path.name for path in kept] == ["a"]


def test_sweeping_takes_what_a_killed_run_left(bag: Path, staging: Staging) -> None:
    staging._release()
    Staging(str(bag), "any").sweep()
    assert leftovers(bag.parent) == []
    Staging(str(bag), "any").sweep()  # nothing there: nothing to do


def test_sweeping_leaves_what_a_run_could_go_on_from(bag: Path, staging: Staging) -> None:
    staging.checkpoint([ONE])
    staging._release()
    Staging(str(bag), "any").sweep()
    later = again(bag)
    assert list(later.finished()) == [ONE]
    later.discard()


def test_sweeping_leaves_a_run_that_is_alive(bag: Path, staging: Staging) -> None:
    Staging(str(bag), "any").sweep()
    assert os.path.isdir(staging.bag)


def test_a_lock_that_workers_hold(bag: Path, staging: Staging) -> None:
    """A worker that outlives its parent keeps the lock until it ends."""
    held = os.dup(staging.lock)
    staging._release()  # the parent was killed
    with pytest.raises(DestinationError, match="another process"):
        again(bag)
    fcntl.flock(held, fcntl.LOCK_UN)
    os.close(held)
    again(bag).discard()
