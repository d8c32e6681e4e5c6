"""Step 8 of a verification: the bag's own chain of custody is unbroken (docs/custody.md).

Job: read ``metadata/custody.jsonl`` and follow it. Limits: that its bytes are those that
were sealed is said by the tag manifest; what it tells is what its writer says.
"""

from __future__ import annotations

from archiver.bag.tree import BagTree
from archiver.bag.validate import BagFacts
from archiver.custody import CUSTODY_PATH, MAX_EVENT_BYTES, read_chain
from archiver.errors import FormatError
from archiver.findings import Findings
from archiver.verify.reading import lines_of

__all__ = ["check_custody"]


def check_custody(tree: BagTree, facts: BagFacts, findings: Findings) -> bool:
    """Whether there is a chain to check, in a bag of ours and listed in its tag manifests."""
    if CUSTODY_PATH not in facts.tag_files or facts.info.first("Archiver-Bag-Layout") is None:
        return False
    events = 0
    try:
        for link in read_chain(lines_of(tree, CUSTODY_PATH, MAX_EVENT_BYTES)):
            events = link.seq
        if not events:
            raise FormatError("")
    except FormatError as error:
        findings.add("E-CUS-001", CUSTODY_PATH, line=events + 1, reason=error.message)
    except OSError as error:
        findings.add("U-CUS-002", CUSTODY_PATH, reason=error.strerror or str(error))
    return True
