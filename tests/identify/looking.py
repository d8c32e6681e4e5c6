"""What the tests of identification share: questions to faulty tools, what runs on the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from archiver.identify import FormatRecord, Identifier, Limits
from tests.identify.faults import MARK

FAULTS = ("tests.identify.faults:ByContent",)
QUICK: dict[str, Any] = {"seconds": 2, "memory_bytes": 256 << 20}
LEVELS: tuple[dict[str, Any], ...] = (
    {},
    {"namespaces": False},
    {"landlock": False},
    {"filter": False},
    {"namespaces": False, "landlock": False},
)
"""Kernels and containers that allow less."""


def ask(place: Path, *contents: str, tools: tuple[str, ...] = FAULTS, **limits: Any) -> list[Any]:
    """The record of a file for each of ``contents``, all by one child."""
    place.mkdir(exist_ok=True)
    records = []
    with Identifier([str(place)], Limits(**QUICK | limits), tools=tools) as identifier:
        for number, content in enumerate(contents):
            path = place / f"{number}"
            path.write_text(content)
            records.append(identifier.record(str(path), f"data/{number}"))
    return records


def technical(record: FormatRecord) -> dict[str, Any]:
    (told,) = record.technical.values()
    assert isinstance(told, dict)
    return told


def children() -> list[str]:
    """Command lines of confined children and of what they left."""
    found = []
    for name in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
            state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError):
            continue
        ours = b"archiver.identify.child" in line or MARK.encode() in line or b"stay_open" in line
        if ours and state[0] != "Z" and _is_ours(int(name)):
            found.append(line.decode(errors="replace"))
    return found


def _is_ours(pid: int) -> bool:
    """Started by this process, or by nobody who is alive: tests may run side by side."""
    seen = pid
    while seen > 1:
        if seen == os.getpid():
            return True
        try:
            seen = int(Path(f"/proc/{seen}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return MARK in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


def none_left(seconds: float = 5) -> list[str]:
    """What still runs after a while: the kernel takes a moment."""
    deadline = time.monotonic() + seconds
    while (found := children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
