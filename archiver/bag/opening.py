"""Opens a bag wherever it lies: a directory, or an archive that holds one.

Job: choose the right :class:`~archiver.bag.tree.BagTree`. Limits: looks at the
path's kind and ending, at nothing inside.
"""

from __future__ import annotations

import os
import stat

from archiver.bag.model import ARCHIVE_SUFFIXES
from archiver.bag.tree import BagTree, DirectoryTree
from archiver.errors import UnreadableError, UsageError
from archiver.findings import Findings
from archiver.i18n import _

__all__ = ["MAX_EXPANSION", "open_tree"]

MAX_EXPANSION = 100
"""Unpacked bytes for each byte of the archive, before we stop (disk images full of
zeros reach 1,000, and need ``--max-expansion``)."""


def open_tree(
    path: str, findings: Findings, *, max_expansion: int = MAX_EXPANSION, workers: int | None = None
) -> BagTree:
    """The bag at ``path``: a directory, or an archive that holds one.

    Raises UsageError where there is nothing, or nothing that could hold a bag, and
    UnreadableError where it can't be opened.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UsageError(
            _("{path}: {reason}").format(path=path, reason=error.strerror or str(error)),
            hint=_("Name a bag: a directory, or a .tar, .tar.gz or .zip that holds one."),
        ) from error
    try:
        return _open_tree(path, mode, findings, max_expansion, workers)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableError(
            _("{path} can't be read: {reason}").format(path=path, reason=reason),
            hint=_("Mend its permissions, or run the check as somebody who may read it."),
        ) from error


def _open_tree(
    path: str, mode: int, findings: Findings, max_expansion: int, workers: int | None
) -> BagTree:
    if stat.S_ISDIR(mode):
        return DirectoryTree(path, workers=workers)
    lower = path.lower()
    if not stat.S_ISREG(mode) or not lower.endswith(ARCHIVE_SUFFIXES):
        raise UsageError(
            _("{path} is neither a directory nor a .tar, .tar.gz or .zip").format(path=path),
            hint=_("Name a bag: a directory, or a .tar, .tar.gz or .zip that holds one."),
        )
    from archiver.bag.archive import open_archive  # its libraries cost start-up time

    return open_archive(path, findings, max_expansion)
