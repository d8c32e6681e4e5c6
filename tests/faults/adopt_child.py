"""``python -m tests.faults.adopt_child SOURCE BAG KEY``: what the fault tests kill."""

from __future__ import annotations

import sys

from archiver.errors import ArchiverError
from archiver.seal import Sealing
from archiver.seal.adopt import AdoptOptions, adopt_bag
from archiver.seal.stamping import StampOptions
from tests.bag.making import OPTIONS
from tests.faults.seal_child import signer
from tests.sealing import NOW


def main(source: str, bag: str, key: str) -> None:
    sealing = Sealing(signers=(signer(key),), stamps=StampOptions(urls=("http://127.0.0.1:9/",)))
    options = AdoptOptions(policy=OPTIONS.policy, now=NOW, sealing=sealing, workers=0)
    adopt_bag(source, bag, options)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ArchiverError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
