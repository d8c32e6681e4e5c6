"""Step 8 of a verification: the bag's own chain of custody is unbroken (docs/custody.md).

Job: read ``metadata/custody.jsonl`` and follow it. Limits: that its bytes are those that
were sealed is said by the tag manifest; what it tells is what its writer says.
"""

from __future__ import annotations

from collections.abc import Iterator

from archiver.bag.tree import BagTree
from archiver.bag.validate import BagFacts
from archiver.custody import CUSTODY_PATH, MAX_EVENT_BYTES, read_chain
from archiver.errors import FormatError
from archiver.findings import Findings

__all__ = ["check_custody"]

_PORTION = 1 << 16


def check_custody(tree: BagTree, facts: BagFacts, findings: Findings) -> bool:
    """Whether there is a chain to check, in a bag of ours and listed in its tag manifests."""
    if CUSTODY_PATH not in facts.tag_files or facts.info.first("Archiver-Bag-Layout") is None:
        return False
    events = 0
    try:
        for link in read_chain(_lines(tree)):
            events = link.seq
        if not events:
            raise FormatError("")
    except FormatError as error:
        findings.add("E-CUS-001", CUSTODY_PATH, line=events + 1, reason=error.message)
    except OSError as error:
        findings.add("U-CUS-002", CUSTODY_PATH, reason=error.strerror or str(error))
    return True


def _lines(tree: BagTree) -> Iterator[bytes]:
    """Lines with their ends, in bounded memory; one without an end is given as it is."""
    rest = b""
    with tree.open(CUSTODY_PATH) as stream:
        while data := stream.read(_PORTION):
            *whole, rest = (rest + data).split(b"\n")
            yield from (line + b"\n" for line in whole)
            if len(rest) > MAX_EVENT_BYTES:
                break
    if rest:
        yield rest
