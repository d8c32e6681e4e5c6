"""``VERIFY.txt``: how to check a bag without this program (docs/proof.md).

Job: give the text that lies beside this module; it is the same in every bag. A test
takes the commands out of it and runs them.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["verify_text"]


@cache
def verify_text() -> str:
    """The whole text, English and Spanish."""
    return files("archiver.bag").joinpath("VERIFY.txt").read_text("utf-8")
