"""One bag without a vault: what is refused, what is chosen, what is read back."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.bag.plan import PlanOptions
from archiver.errors import SourceError, StorageError, UsageError
from archiver.seal import RefusedError, choose_algorithms, plan_sources, read_back
from tests.bag.making import OPTIONS, leftovers, make, verdict, write_tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "source", {"a.txt": b"a", "sub/b.txt": b"bb"})


def names(*given: str) -> list[str]:
    return [algorithm.name for algorithm in choose_algorithms(given)]


def test_sha512_is_always_there() -> None:
    assert names() == ["sha512"]
    assert names("sha256") == ["sha512", "sha256"]
    assert names("sha256", "sha512", "sha256") == ["sha512", "sha256"]


@pytest.mark.parametrize("name", ["md5", "sha1", "SHA512", "sha-256", "", "crc32"])
def test_algorithms_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_algorithms([name])
    assert "sha256" in caught.value.hint
    assert "md5" not in caught.value.hint


def refusal(*sources: Path, bag: Path) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        plan_sources([str(source) for source in sources], str(bag), PlanOptions())
    return caught.value


def test_a_missing_source_is_a_usage_error(tmp_path: Path) -> None:
    error = refusal(tmp_path / "no", bag=tmp_path / "bag")
    assert error.exit_code == 2
    assert "spelling" in error.hint
    assert isinstance(error, SourceError)


def test_other_refusals(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "fifo")
    os.mkfifo(source / "fifo2")
    error = refusal(source, bag=tmp_path / "bag")
    assert error.exit_code == 5
    assert error.message.endswith("and 1 more")
    assert error.hint == "Leave it out with --exclude."
    assert len(error.findings) == 2
    mixed = refusal(source, tmp_path / "no", bag=tmp_path / "bag")
    assert mixed.exit_code == 5


@pytest.mark.parametrize("read_only", [True, False])
def test_reading_back(source: Path, tmp_path: Path, read_only: bool) -> None:
    bag_policy = replace(OPTIONS.policy.bag, verify_after=True, read_only=read_only)
    options = replace(OPTIONS, policy=replace(OPTIONS.policy, bag=bag_policy))
    make(source, tmp_path / "bag", options=options)
    assert verdict(tmp_path / "bag") == "valid"
    make(source, tmp_path / "quick", options=replace(options, verify_after=False))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("damage", ["payload", "manifest", "missing"])
def test_what_cannot_be_read_back_is_an_error(source: Path, tmp_path: Path, damage: str) -> None:
    make(source, bag := tmp_path / "bag")
    place = bag / ("data/a.txt" if damage != "manifest" else "manifest-sha512.txt")
    for path in (place, place.parent):
        path.chmod(0o700)
    place.unlink() if damage == "missing" else place.write_bytes(b"X")
    with pytest.raises(StorageError, match="read back"):
        read_back(str(bag), None, 0)
