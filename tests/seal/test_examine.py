"""What is learnt of a payload between its copy and its seal."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.bag.plan import PlanOptions
from archiver.custody import CUSTODY_PATH, Event, read_chain
from archiver.errors import SourceError
from archiver.seal import Examined, plan_sources
from archiver.seal.batch import Order, StagedBag, commit_bags, stage_bags
from tests.bag.making import NOW, OPTIONS, leftovers, make, payload, tree_bytes, verdict
from tests.bag.test_write import interrupted
from tests.sealing import make_source


class Examiner:
    """Tells the names of the payload, and what else lay there."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.beside: list[list[str]] = []

    def __call__(self, staged: str) -> Examined:
        self.beside.append(sorted(os.listdir(staged)))
        names = sorted(os.listdir(f"{staged}/data"))
        self.seen.append(staged)
        event = Event(type="format identification", at=NOW, detail={"files": len(names)})
        return Examined({"metadata/seen.txt": "\n".join(names).encode()}, (event,))


def events(bag: Path) -> list[str]:
    lines = (bag / CUSTODY_PATH).read_bytes().splitlines(keepends=True)
    return [link.event.type for link in read_chain(lines)]


def test_the_payload_is_there_and_no_tag_file_yet(tmp_path: Path) -> None:
    source, examiner = make_source(tmp_path / "source", {"a": b"1", "b": b"2"}), Examiner()
    bag = tmp_path / "bag"
    make(source, bag, options=replace(OPTIONS, examine=examiner))
    assert examiner.beside == [["data"]]
    assert (bag / "metadata/seen.txt").read_text() == "a\nb"
    assert "metadata/seen.txt" in (bag / "tagmanifest-sha512.txt").read_text()
    assert verdict(bag) == "valid"
    usual = ["ingestion", "message digest calculation"]
    assert events(bag) == [*usual, "format identification"]


def test_what_it_raises_leaves_nothing(tmp_path: Path) -> None:
    def refuse(staged: str) -> Examined:
        raise SourceError("data/a: not wanted")

    source = make_source(tmp_path / "source", {"a": b"1"})
    with pytest.raises(SourceError, match="not wanted"):
        make(source, tmp_path / "bag", options=replace(OPTIONS, examine=refuse))
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "bag").exists()


def test_an_interrupted_run_examines_again(tmp_path: Path) -> None:
    files = {f"d{i}/f{j}": os.urandom(99) for i in range(4) for j in range(5)}
    source, bag, examiner = make_source(tmp_path / "source", files), tmp_path / "bag", Examiner()
    with interrupted(source, bag, examine=examiner) as staging:
        assert staging.is_dir()
        assert examiner.seen == []  # it was killed while it copied
        options = replace(OPTIONS, examine=examiner, checkpoint_seconds=0)
        assert make(source, bag, options=options).resumed_files
    assert len(examiner.seen) == 1
    assert payload(bag) == tree_bytes(source)
    assert events(bag)[-1] == "format identification"


def test_a_run_that_was_ended_while_it_examined_examines_again(tmp_path: Path) -> None:
    def end(staged: str) -> Examined:
        raise KeyboardInterrupt

    files = {f"d{i}/f{j}": os.urandom(99) for i in range(4) for j in range(5)}
    source, bag, examiner = make_source(tmp_path / "source", files), tmp_path / "bag", Examiner()
    options = replace(OPTIONS, checkpoint_seconds=0, workers=0)
    with pytest.raises(KeyboardInterrupt):
        make(source, bag, options=replace(options, examine=end))
    assert leftovers(tmp_path) != []
    made = make(source, bag, options=replace(options, examine=examiner))
    assert made.resumed_files == made.payload_files == 20
    assert examiner.beside == [["data"]]
    assert verdict(bag) == "valid"
    assert leftovers(tmp_path) == []


def test_in_a_batch_one_that_is_refused_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    def choose(staged: str) -> Examined:
        if Path(staged, "data/bad").exists():
            raise SourceError("data/bad: not wanted")
        return Examined({"metadata/good.txt": b"yes"})

    options, orders = replace(OPTIONS, examine=choose, workers=0), []
    for name in ("good", "bad"):
        source = make_source(tmp_path / name, {name: b"x"})
        goal = str(tmp_path / "out" / name)
        plan = plan_sources([str(source)], goal, PlanOptions())
        orders.append(Order(plan=plan, destination=goal, options=options))
    good, bad = stage_bags(str(tmp_path / "out"), orders)
    assert isinstance(good, StagedBag)
    assert isinstance(bad, SourceError)
    commit_bags([good])
    assert os.listdir(tmp_path / "out") == ["good"]
    assert (tmp_path / "out/good/metadata/good.txt").read_bytes() == b"yes"
    shutil.rmtree(tmp_path / "bad")
