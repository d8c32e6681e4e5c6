"""``python -m tests.faults.batch_child KIND PLACE SOURCE KEY [BATCH]``: what the tests kill.

Takes every file of SOURCE into a sink as the watcher does, but for its journal: sweep, ask
what is there, prepare, commit. Prints how many are done; exit code 5 where not all are.
"""

from __future__ import annotations

import sys
from pathlib import Path

from archiver.errors import ArchiverError
from archiver.vault import open_vault
from archiver.watch.model import Done, Failed, Sink
from archiver.watch.sinks import DirectorySink, VaultSink
from tests.faults.seal_child import signer
from tests.watch.units import options, take, units


def sink_at(kind: str, place: str, key: str) -> Sink:
    made = options(signer(key))
    return (
        VaultSink(open_vault(place), "c", made) if kind == "vault" else DirectorySink(place, made)
    )


def work(kind: str, place: str, source: str, key: str, batch: str = "100") -> list[Done | Failed]:
    """What became of each file."""
    sink, size = sink_at(kind, place, key), int(batch)
    sink.sweep()
    outcomes: list[Done | Failed] = []
    given = units(Path(source))
    waiting = []
    for unit in given:
        found = sink.find(unit)
        if found is None:
            waiting.append(unit)
        else:
            outcomes.append(found)
    for start in range(0, len(waiting), size):
        outcomes += take(sink, waiting[start : start + size])
    return outcomes


def main(*arguments: str) -> int:
    outcomes = work(*arguments)
    failed = [one for one in outcomes if isinstance(one, Failed)]
    for one in failed:
        print(f"{one.kind}: {one.reason}", file=sys.stderr)
    print(len(outcomes) - len(failed))
    return 5 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except ArchiverError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
