"""A program that seals, signs or stamps one bag: what the fault tests kill and disturb.

``python -m tests.faults.seal_child create SOURCE BAG KEY URL`` (the request waits),
``… sign BAG KEY`` and ``… stamp BAG ANSWER`` (an answer brought in); exit codes and
messages as ``archiver`` gives them.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from archiver.bag.plan import PlanOptions
from archiver.errors import ArchiverError
from archiver.pki.keyring import SigningKey, open_signer
from archiver.seal import Sealing, create_bag, plan_sources
from archiver.seal.finished import sign_finished
from archiver.seal.outbox import import_answers
from archiver.seal.stamping import StampOptions
from tests.bag.making import OPTIONS
from tests.sealing import NOW, now


def signer(key: str) -> SigningKey:
    return open_signer(key, [], lambda _place: b"", NOW)


def main(what: str, bag: str, *more: str) -> None:
    if what == "create":
        source, key, url = bag, more[1], more[2]
        sealing = Sealing(signers=(signer(key),), stamps=StampOptions(urls=(url,)))
        plan = plan_sources([source], more[0], PlanOptions())
        create_bag(plan, more[0], replace(OPTIONS, sealing=sealing, workers=0))
    elif what == "sign":
        sign_finished(bag, [signer(more[0])], NOW)
    else:
        (done,) = import_answers([more[0]], [bag], [], now())
        if done.problem:
            print(f"error: {done.problem}", file=sys.stderr)
            sys.exit(5)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ArchiverError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
