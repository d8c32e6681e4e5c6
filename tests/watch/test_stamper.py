"""Time stamps behind everybody's back: a real TSA, and one that is down."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archiver.pki.certificates import Certificate
from archiver.seal.stamping import StampOptions, stamp_bag
from archiver.watch import stamper as subject
from archiver.watch.stamper import Stamper
from tests.sealing import IMPATIENT, Office, make_source, seal

DEAD = "http://127.0.0.1:9/"


@pytest.fixture
def bags(tmp_path: Path, office: Office) -> list[Path]:
    """Three sealed bags without a stamp."""
    source = make_source(tmp_path / "source")
    return [seal(source, tmp_path / f"bag{number}", [office.ana]) for number in range(3)]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def stamped(bags: list[Path]) -> int:
    return sum(len(list(bag.glob("signatures/*.tsr"))) for bag in bags)


def test_every_bag_gets_one(bags: list[Path], tsa: Any, tsa_root: Certificate) -> None:
    told: list[str] = []
    options = StampOptions(urls=(tsa.url,), roots=(tsa_root,), patience=IMPATIENT)
    with Stamper(options, told.append) as stamper:
        for bag in bags:
            stamper.add(str(bag))
        until(lambda: stamped(bags) == 3)
    assert stamper.left_out == 0
    assert told == []


def test_a_tsa_that_is_down_is_told_once_and_the_bags_stay(bags: list[Path]) -> None:
    told: list[str] = []
    options = StampOptions(urls=(DEAD,), patience=IMPATIENT)
    with Stamper(options, told.append, again_seconds=0.05) as stamper:
        for bag in bags:
            stamper.add(str(bag))
        until(lambda: len(told) == 1)
        time.sleep(0.3)
    assert len(told) == 1
    assert stamper.left_out == 3
    assert stamped(bags) == 0
    assert len(list(bags[0].glob("signatures/*.tsq"))) == 1


def test_when_it_is_up_again_that_is_told(
    bags: list[Path], tsa: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    urls = [DEAD]
    real = stamp_bag

    def by_the_one_that_is_up(bag: str, _options: StampOptions, now: Any) -> Any:
        return real(bag, StampOptions(urls=(urls[0],), patience=IMPATIENT), now)

    monkeypatch.setattr(subject, "stamp_bag", by_the_one_that_is_up)
    with Stamper(StampOptions(), told.append, again_seconds=0.05) as stamper:
        stamper.add(str(bags[0]))
        until(lambda: len(told) == 1)
        urls[0] = tsa.url
        until(lambda: len(told) == 2)
    assert told[1] == ""
    assert stamped(bags) == 1


def test_there_is_an_end_to_what_waits(bags: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_MOST", 1)
    stamper = Stamper(StampOptions(urls=(DEAD,), patience=IMPATIENT), lambda _text: None)
    stamper.add(str(bags[0]))
    stamper.add(str(bags[1]))
    assert stamper.left_out == 1
    stamper.drain()
    assert stamped(bags) == 0


def test_a_bag_that_has_gone_is_passed_over(
    bags: list[Path], tmp_path: Path, tsa: Any, tsa_root: Certificate
) -> None:
    told: list[str] = []
    options = StampOptions(urls=(tsa.url,), roots=(tsa_root,), patience=IMPATIENT)
    stamper = Stamper(options, told.append)
    stamper.add(str(tmp_path / "nothing"))
    stamper.add(str(bags[0]))
    stamper.drain()
    assert stamped(bags) == 1
