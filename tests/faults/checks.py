"""What must hold after any fault: no bag or a whole one, sources untouched."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from tests.bag.making import child, leftovers, payload, snapshot, tree_bytes, verdict


class Scene:
    """One source and many bags made from it."""

    def __init__(self, source: Path, base: Path, tally: Counter[str]) -> None:
        self.source = source
        self.base = base
        self.tally = tally
        self._before = snapshot(source)
        self._bytes = tree_bytes(source)
        self.problems: list[str] = []

    def bag(self, name: str) -> Path:
        """A bag in a directory of its own."""
        (self.base / name).mkdir()
        return self.base / name / "bag"

    def judge(self, bag: Path, what: str) -> bool:
        """Whether there is a bag; counted, and a problem where it is not whole."""
        if snapshot(self.source) != self._before:
            self.problems.append(f"{what}: the source was changed")
        if not bag.exists():
            self.tally["absent"] += 1
            return False
        if verdict(bag) != "valid":
            self.tally["half"] += 1
            self.problems.append(f"{what}: half a bag")
        elif payload(bag) != self._bytes:
            self.tally["lost"] += 1
            self.problems.append(f"{what}: files were lost")
        else:
            self.tally["whole"] += 1
        return True

    def run_again(self, bag: Path, what: str, *more: str) -> None:
        """A second run succeeds and leaves nothing else."""
        out, err, code = run_when_free(self.source, bag, *more)
        if code != 0 or verdict(bag) != "valid" or payload(bag) != self._bytes:
            self.problems.append(f"{what}: the second run failed: {code} {err}")
            return
        self.tally["second runs"] += 1
        self.tally["resumed"] += json.loads(out)["resumed"] > 0
        if leftovers(bag.parent):
            self.problems.append(f"{what}: the second run left its staging")


def run_when_free(source: Path, bag: Path, *more: str) -> tuple[str, str, int]:
    """Run as soon as the orphans of a killed run have let its lock go."""
    for _ in range(100):
        process = child(source, bag, *more)
        out, err = process.communicate(timeout=120)
        if b"another process" not in err:
            break
        time.sleep(0.1)
    return out.decode(), err.decode(), process.returncode
