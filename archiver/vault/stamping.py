"""Time stamps for the signatures of a vault's checkpoints.

Job: which requests to have waiting, and which to send; all else is as for bags
(:mod:`archiver.seal.stamping`). Limits: what a stamp proves is judged elsewhere.
"""

from __future__ import annotations

import os
from datetime import datetime

from archiver.seal.stamping import (
    StampOptions,
    StampResult,
    add_requests,
    ask_for_stamp,
    tsa_id,
    waiting_requests,
)
from archiver.vault import Vault
from archiver.vault.checkpoint import checkpoint_files, checkpoint_place, text_of

__all__ = ["ask_for_stamps", "request_stamps"]

WAIT_SECONDS = 10.0
"""For another run that asks."""


def request_stamps(vault: Vault, path: str, options: StampOptions) -> None:
    """Have requests waiting for the checkpoint at ``path``, and for signatures that have no
    stamp at all though they are older: a run was ended, or no TSA was named then.

    Raises StorageError. The caller holds the vault's lock.
    """
    place, new = checkpoint_place(vault), os.path.basename(path)
    proofs = place.files()
    kept = {os.path.basename(text) for _number, text in checkpoint_files(vault)}
    stamped = {stamp.rsplit(".", 2)[0] for stamp in proofs.stamps}
    wanted = [
        one
        for one in proofs.signatures
        if text_of(one) == new or (one not in stamped and text_of(one) in kept)
    ]
    add_requests(place, options, signatures=wanted)


def ask_for_stamps(vault: Vault, options: StampOptions, now: datetime) -> tuple[StampResult, ...]:
    """Ask each TSA for what waits for its answer, the newest first. One that fails isn't asked
    again, however much waits: that would take long. Raises LockedError, StorageError.
    """
    results = []
    with vault.asking("checkpoint", WAIT_SECONDS):
        waiting = list(waiting_requests(checkpoint_place(vault)))
        waiting.sort(key=lambda one: one.signature, reverse=True)
        for url in options.urls:
            for one in (each for each in waiting if each.tsa == tsa_id(url)):
                results.append(ask_for_stamp(one, url, options, now))
                if results[-1].problem:
                    break
    return tuple(results)
