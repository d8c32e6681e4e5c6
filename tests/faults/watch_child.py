"""A watcher in a process of its own: what the fault tests stop, kill and disturb.

``python -m tests.faults.watch_child BASE [JSON]``: watches BASE/inbox into BASE/bags until
SIGTERM, then prints how things stand as JSON. The JSON argument: ``policy`` (values that
differ), ``hints``, ``uid`` (whom to become), ``factor`` (how fast its clock goes).
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from archiver.watch.service import Notifier, Stopping
from tests.watch.scene import QUICK, FastClock, Scene


def peak_kib() -> int:
    """This process's own: ru_maxrss begins with that of whoever started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main(base: str, options: str = "{}") -> int:
    wanted = json.loads(options)
    if "uid" in wanted:
        import watchdog.observers  # noqa: F401  # whoever it becomes may not be able to read it

        for name in ("ascii", "latin-1", "utf-8"):
            codecs.lookup(name)
        os.setgroups([])
        os.setgid(wanted["uid"])
        os.setuid(wanted["uid"])
    scene = Scene(Path(base), replace(QUICK, **wanted.get("policy", {})))
    scene.clock = FastClock(wanted.get("factor", 10))
    watcher = scene.watcher(hints=wanted.get("hints", True))
    with Stopping(Notifier({}), seconds=600).watched(watcher.wake) as stop:
        print("ready", flush=True)
        watcher.run(stop)
    health = watcher.health()
    (folder,) = health.folders
    answer = {
        "counts": {state.value: count for state, count in folder.counts.items()},
        "paused": folder.paused,
        "degraded": folder.degraded,
        "hints_lost": folder.hints_lost,
        "sums_agree": scene.journal.sums_agree(),
        "peak_kib": peak_kib(),
        "cpu_seconds": sum(os.times()[:2]),
    }
    print(json.dumps(answer), flush=True)
    scene.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
