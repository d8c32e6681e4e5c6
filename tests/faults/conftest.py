"""Short and full forms of the fault tests, and the figures that they give.

``ARCHIVER_SOAK=1`` runs the full form; ``ARCHIVER_SOAK_REPORT`` names a JSON file that
gathers per test what was done: kills, injected errors, bags whole, absent, resumed,
lost (a source file that is in no bag), half (a bag that is there and not whole).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracing import FULL


@pytest.fixture
def full() -> bool:
    """Whether the full form was asked for."""
    return FULL


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where there is room: hundreds of syncs of a busy disk take minutes."""
    memory = Path(os.environ.get("ARCHIVER_SOAK_DIRECTORY", "/dev/shm"))
    if not memory.is_dir() or shutil.disk_usage(memory).free < 1 << 30:
        memory = tmp_path_factory.getbasetemp()
    place = Path(tempfile.mkdtemp(prefix="archiver-", dir=memory))
    yield place
    subprocess.run(["rm", "-rf", "--one-file-system", place], check=True)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Counts what a test did; added to the report when it ends."""
    counts: Counter[str] = Counter(lost=0, half=0)
    yield counts
    report = os.environ.get("ARCHIVER_SOAK_REPORT")
    if report:
        add_to_report(Path(report), request.node.nodeid, counts)


def add_to_report(report: Path, name: str, counts: Counter[str]) -> None:
    """Add one test's figures; several processes may do so at once."""
    with open(report, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        document = json.loads(file.read() or '{"tests": {}}')
        document["tests"][name.removeprefix("tests/faults/")] = dict(counts)
        total: Counter[str] = Counter()
        for figures in document["tests"].values():
            total.update(figures)
        document["total"] = dict(sorted(total.items()))
        file.truncate(0)
        file.write(json.dumps(document, indent=1) + "\n")
