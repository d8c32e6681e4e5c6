"""A house and its inbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sealing import Office
from tests.watch.house import House


@pytest.fixture
def house(tmp_path: Path, office: Office) -> House:
    return House(tmp_path, office)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"
