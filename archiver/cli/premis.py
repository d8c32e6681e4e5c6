"""``archiver show ID --premis``."""

from __future__ import annotations

import sys
from typing import Any

from archiver.i18n import _

__all__ = ["write_premis"]


def write_premis(vault: Any, item: Any, told: Any) -> int:
    """Write the document to standard output; the exit code. ``told`` is what is known of the
    item. Where something goes wrong on the way, its end is missing: it is not well-formed then.
    """
    from archiver.errors import NoIntactReplicaError
    from archiver.premis import premis_of

    if told.problem:
        raise NoIntactReplicaError(
            _("what is said of {item} is not intact: {problem}").format(
                item=item.item, problem=told.problem
            ),
            hint=_("See 'archiver events verify'."),
        )
    sys.stdout.flush()
    for piece in premis_of(vault, item, told.now, secret=told.secret):
        sys.stdout.buffer.write(piece.encode("utf-8"))
    sys.stdout.buffer.flush()
    return 0
