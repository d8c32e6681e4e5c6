"""What it costs to notice files: `python -m benchmarks.watch_detect [--seconds S] FILES…`.

Two figures: many files at once (memory at its highest, none missed; a bag for each folder of
a hundred), and a folder with ten thousand directories in which nothing happens (share of a
core, hints on and off). Each in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from archiver.policy import WatchPolicy, load_policy
from archiver.watch.journal import Journal
from archiver.watch.model import State
from archiver.watch.sinks import DirectorySink, SinkOptions
from archiver.watch.watcher import WatchedRoot, Watcher
from benchmarks.figures import Figure, tell

_PER_FOLDER = 100
_DIRECTORIES = 10_000


def _watcher(base: Path, policy: WatchPolicy, *, hints: bool) -> tuple[Watcher, Journal]:
    (base / "bags").mkdir(exist_ok=True)
    (base / "inbox").mkdir(exist_ok=True)
    journal = Journal(str(base / "journal.sqlite"))
    root = WatchedRoot(path=str(base / "inbox"), policy=policy, journal=journal)
    sink = DirectorySink(str(base / "bags"), SinkOptions(policy=load_policy("default")))
    return Watcher([root], sink, hints=hints), journal


def _many(base: Path, count: int) -> dict[str, float]:
    """The watcher runs while they are written."""
    policy = replace(WatchPolicy(), group="folder")
    watcher, journal = _watcher(base, policy, hints=True)
    stop = threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    script = (
        "import os, sys\n"
        "for number in range(int(sys.argv[2])):\n"
        f"    place = f'{{sys.argv[1]}}/{{number // {_PER_FOLDER}}}'\n"
        f"    number % {_PER_FOLDER} or os.mkdir(place)\n"
        "    open(f'{place}/{number}', 'wb').write(os.urandom(4096))\n"
    )
    begun = time.monotonic()
    command = [sys.executable, "-c", script, str(base / "inbox"), str(count)]
    subprocess.run(command, check=True)
    written = time.monotonic() - begun
    while journal.counts()[State.ARCHIVED] < count:
        time.sleep(0.5)
    ended = time.monotonic() - begun
    stop.set()
    watcher.wake()
    thread.join()
    assert journal.sums_agree()
    return {
        "files": count,
        "written_seconds": round(written, 1),
        "archived_seconds": round(ended, 1),
        "superseded": journal.counts()[State.SUPERSEDED],
        "peak_mib": _peak_mib(),
    }


def _peak_mib() -> int:
    """This process's own: ru_maxrss begins with that of whoever started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))


def _idle(base: Path, seconds: float, *, hints: bool) -> dict[str, float | bool]:
    for number in range(_DIRECTORIES):
        (base / f"inbox/{number // 100}/{number}").mkdir(parents=True)
    watcher, _journal = _watcher(base, WatchPolicy(), hints=hints)
    stop = threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    while (watcher.health().folders[0].scan_took_seconds or 0) == 0:
        time.sleep(0.2)
    time.sleep(3)
    before, begun = sum(os.times()[:2]), time.monotonic()
    time.sleep(seconds)
    used, passed = sum(os.times()[:2]) - before, time.monotonic() - begun
    stop.set()
    watcher.wake()
    thread.join()
    return {
        "hints": hints,
        "directories": _DIRECTORIES,
        "seconds": round(passed),
        "scan_seconds": round(watcher.health().folders[0].scan_took_seconds or 0, 2),
        "percent_of_a_core": round(100 * used / passed, 2),
    }


def _figures(measured: dict[str, dict[str, float]]) -> list[Figure]:
    many, idle, scans = (measured[name] for name in _PARTS)
    count, peak = int(many["files"]), int(many["peak_mib"])
    what = f"{count:,} files of 4 KiB in new folders of {_PER_FOLDER}, written while it watches"
    return [
        Figure(f"{what}: all archived after", f"{many['archived_seconds']} s"),
        Figure("its memory at the highest", f"{peak} MiB", "< 300 MB", peak * 1.048576 < 300),
        *(
            Figure(
                f"{_DIRECTORIES:,} directories in which nothing happens, {how}",
                f"{one['percent_of_a_core']} % of a core over {one['seconds']} s",
                "< 1 %",
                one["percent_of_a_core"] < 1,
            )
            for how, one in (("hints on", idle), ("by scans only", scans))
        ),
    ]


_PARTS = ("many", "idle", "idle-scans")


def main(arguments: list[str]) -> int:
    """Print the table, and write it to the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files-at-once", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--only", choices=_PARTS, default="", help="one part, as JSON")
    parser.add_argument("files", nargs="*")
    chosen = parser.parse_args(arguments)
    if not chosen.only:
        own = [sys.executable, "-m", "benchmarks.watch_detect"]
        given = ["--files-at-once", str(chosen.files_at_once), "--seconds", str(chosen.seconds)]
        measured = {}
        for name in _PARTS:
            command = [*own, *given, "--only", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            measured[name] = json.loads(done.stdout)
        return tell(_figures(measured), chosen.files)
    with tempfile.TemporaryDirectory() as place:
        if chosen.only == "many":
            print(json.dumps(_many(Path(place), chosen.files_at_once)))
        else:
            print(json.dumps(_idle(Path(place), chosen.seconds, hints=chosen.only == "idle")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
