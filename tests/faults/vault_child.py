"""``python -m tests.faults.vault_child VAULT SOURCE KEY``: what the fault tests kill."""

from __future__ import annotations

import sys
from dataclasses import replace

from archiver.bag.plan import PlanOptions
from archiver.errors import ArchiverError
from archiver.ingest import IngestOptions, ingest
from archiver.seal import Sealing, plan_sources
from archiver.seal.stamping import StampOptions
from archiver.vault import open_vault
from tests.bag.making import OPTIONS
from tests.faults.seal_child import signer


def main(place: str, source: str, key: str) -> None:
    vault = open_vault(place)
    plan = plan_sources([source], vault.bag_path("c", "new"), PlanOptions())
    sealing = Sealing(signers=(signer(key),), stamps=StampOptions())
    create = replace(OPTIONS, sealing=sealing, workers=0, checkpoint_seconds=0.0)
    done = ingest(vault, "c", [source], plan, IngestOptions(create=create))
    print(done.item)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ArchiverError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
