"""A program that makes one bag: what the fault tests kill and disturb.

``python -m tests.faults.child SOURCE BAG [CHECKPOINT_SECONDS [WORKERS]]``; exit codes
and messages as ``archiver bag create`` gives them, but checkpoints as often as wanted.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from archiver.bag.plan import PlanOptions
from archiver.errors import ArchiverError
from archiver.seal import create_bag, plan_sources
from tests.bag.making import OPTIONS


def main(source: str, bag: str, checkpoint_seconds: str = "20", workers: str = "") -> int:
    options = replace(
        OPTIONS,
        checkpoint_seconds=float(checkpoint_seconds),
        workers=int(workers) if workers else None,
    )
    try:
        plan = plan_sources([source], bag, PlanOptions())
        made = create_bag(plan, bag, options)
    except ArchiverError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({"files": made.payload_files, "resumed": made.resumed_files}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
