"""Batches of bags: as if each had been made alone, but for the syncs."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.bag.plan import PlanOptions
from archiver.bag.stage import BatchStaging
from archiver.bag.write import WrittenBag
from archiver.errors import ArchiverError, DestinationError, SourceError, StorageError
from archiver.seal import Sealing, create_bag, plan_sources
from archiver.seal import batch as module
from archiver.seal.batch import Order, StagedBag, commit_bags, discard_bags, stage_bags
from archiver.seal.stamping import StampOptions
from tests.bag.making import OPTIONS
from tests.sealing import Office, check, make_source, tree


@pytest.fixture
def orders(tmp_path: Path, office: Office) -> list[Order]:
    (tmp_path / "out").mkdir()
    sealing = Sealing(signers=(office.ana,), stamps=StampOptions(), require_stamp=True)
    options = replace(OPTIONS, sealing=sealing, verify_after=True, workers=0)
    made = []
    for number in range(4):
        source = make_source(tmp_path / f"source-{number}", {"a": b"a" * number, "d/b": b"b"})
        bag = str(tmp_path / f"out/{number}")
        plan = plan_sources([str(source)], bag, PlanOptions())
        made.append(Order(plan=plan, destination=bag, options=options))
    return made


def staged(made: list[StagedBag | ArchiverError]) -> list[StagedBag]:
    return [one for one in made if isinstance(one, StagedBag)]


def test_as_if_each_was_made_alone(orders: list[Order], tmp_path: Path, office: Office) -> None:
    made = staged(stage_bags(str(tmp_path / "out"), orders))
    assert len(made) == 4
    assert all(name.startswith(".") for name in os.listdir(tmp_path / "out"))
    written = commit_bags(made)
    assert sorted(os.listdir(tmp_path / "out")) == ["0", "1", "2", "3"]
    for number, (order, one) in enumerate(zip(orders, written, strict=True)):
        assert isinstance(one, WrittenBag)
        assert (one.path, one.payload_files) == (order.destination, 2)
        alone = tmp_path / f"alone-{number}"
        create_bag(order.plan, str(alone), order.options)
        ours, theirs = tree(Path(one.path)), tree(alone)
        assert ours == theirs
        modes = [
            sorted(
                (p.relative_to(b), p.stat().st_mode) for p in b.rglob("*") if "sig" not in str(p)
            )
            for b in (Path(one.path), alone)
        ]
        assert modes[0] == modes[1]
        assert (Path(one.path) / "signatures").is_dir()
        assert check(Path(one.path)).exit_code == check(alone).exit_code


def test_none(tmp_path: Path) -> None:
    assert stage_bags(str(tmp_path), []) == []
    assert commit_bags([]) == []
    assert os.listdir(tmp_path) == []


def test_one_fails_alone(orders: list[Order], tmp_path: Path) -> None:
    (tmp_path / "source-1/a").write_bytes(b"another")
    os.mkdir(orders[2].destination)
    made = stage_bags(str(tmp_path / "out"), orders)
    assert isinstance(made[1], SourceError)
    assert isinstance(made[2], DestinationError)
    os.mkdir(orders[3].destination)  # meanwhile
    done = commit_bags(staged(made))
    assert isinstance(done[0], WrittenBag)
    assert isinstance(done[1], DestinationError)
    assert sorted(os.listdir(tmp_path / "out")) == ["0", "2", "3"]
    assert os.listdir(orders[3].destination) == []


def test_all_fail(orders: list[Order], tmp_path: Path) -> None:
    for number in range(4):
        shutil.rmtree(tmp_path / f"source-{number}")
    made = stage_bags(str(tmp_path / "out"), orders)
    assert all(isinstance(one, ArchiverError) for one in made)
    assert os.listdir(tmp_path / "out") == []


def test_digests_by_source_path(orders: list[Order], tmp_path: Path) -> None:
    made = staged(stage_bags(str(tmp_path / "out"), orders))
    for one in made:
        manifest = (Path(one.path) / "manifest-sha512.txt").read_text()
        found = one.digests()
        assert sorted(found) == ["a", "d/b"]
        assert all(f"{digest}  data/{path}\n" in manifest for path, digest in found.items())
    discard_bags(made[:2])
    assert len(os.listdir(tmp_path / "out")) == 1
    discard_bags(made)
    assert os.listdir(tmp_path / "out") == []


def test_a_disk_that_lies(
    orders: list[Order], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is another thing when it is read back: that bag fails, no other."""
    from archiver.seal import forget as real

    def damage(path: str) -> None:
        victim = Path(path) / "1/data/a"
        victim.chmod(0o600)
        victim.write_bytes(b"b")
        real(path)

    monkeypatch.setattr(module, "forget", damage)
    made = stage_bags(str(tmp_path / "out"), orders)
    assert isinstance(made[1], StorageError)
    assert [isinstance(one, WrittenBag) for one in commit_bags(staged(made))] == [True] * 3
    assert sorted(os.listdir(tmp_path / "out")) == ["0", "2", "3"]


def test_an_interrupt_leaves_nothing(
    orders: list[Order], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "seal_staged", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage_bags(str(tmp_path / "out"), orders)
    assert os.listdir(tmp_path / "out") == []


def test_no_place_for_staging(orders: list[Order], tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        stage_bags(str(tmp_path / "none"), orders)


def test_staging_that_is_swept_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making the directory and locking it another run may take it for a dead one's."""
    real, turns = os.open, iter([True, False])

    def swept(path: Any, *arguments: Any, **more: Any) -> int:
        if ".archiver-batch-" in str(path) and next(turns, False):
            os.rmdir(path)
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "open", swept)
    batch = BatchStaging(str(tmp_path))
    batch.open()
    assert os.listdir(tmp_path) == [os.path.basename(batch.path)]
    batch.complete()
    assert os.listdir(tmp_path) == []
