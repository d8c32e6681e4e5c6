"""A second opinion: the Library of Congress ``bagit`` library on the same bag.

Job: run ``bagit`` in a process of its own and report its verdict. Limits: it
reads directories only, opens whatever a manifest names and blocks on pipes, so
a bag in which we found something unsafe is not shown to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from archiver.findings import Findings
from archiver.i18n import _

__all__ = ["Opinion", "ask_reference"]

_UNSAFE = ("E-BAG-011", "E-BAG-022", "E-BAG-106", "E-BAG-107", "E-BAG-109", "U-BAG-111")
_MAX_REASON = 2000
_LIMIT_SECONDS = 24 * 3600
"""A bag of many terabytes takes a night; what takes longer hangs."""
_PROGRAM = """
import json, logging, os, sys
sys.stdout, answer = sys.stderr, sys.stdout
logging.disable(logging.CRITICAL)
import bagit
try:
    bagit.Bag(sys.argv[1]).validate(processes=int(sys.argv[2]))
    found = {"valid": True, "reason": ""}
except bagit.BagError as error:
    found = {"valid": False, "reason": str(error)}
answer.write(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Opinion:
    """``valid`` is None where there is no verdict; ``reason`` says why, or why not valid."""

    valid: bool | None
    reason: str


def ask_reference(path: str, findings: Findings) -> Opinion:
    """Ask the library about the directory ``path``; ``findings`` are our own."""
    if not os.path.isdir(path):
        return Opinion(None, _("it reads directories only"))
    if findings.has(*_UNSAFE):
        return Opinion(None, _("the bag holds what is not safe to show it"))
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _PROGRAM, os.path.abspath(path), str(processes)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Opinion(None, _("it took too long"))
    try:
        found = json.loads(done.stdout)
        return Opinion(bool(found["valid"]), str(found["reason"])[:_MAX_REASON])
    except (ValueError, KeyError, TypeError):
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return Opinion(None, last[:_MAX_REASON] or _("it ended without an answer"))
