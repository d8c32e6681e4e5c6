"""``archiver show ID --premis``."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["write_premis"]


def write_premis(vault: Any, item: Any, description: Any) -> int:
    """Write the document to standard output; the exit code. Where something goes wrong on the
    way, its end is missing: it is not well-formed then.
    """
    from archiver.premis import premis_of

    sys.stdout.flush()
    for piece in premis_of(vault, item, description):
        sys.stdout.buffer.write(piece.encode("utf-8"))
    sys.stdout.buffer.flush()
    return 0
