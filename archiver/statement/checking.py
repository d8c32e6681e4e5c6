"""Whether what is secret can still be opened: all of it, to the very bytes.

Job: decrypt everything that one bag holds, and keep nothing of it. Limits: tells nothing of the
bag itself (:mod:`archiver.verify`); what no key opens can't be told apart from what never was
anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from archiver.bag.progress import Progress
from archiver.bag.tree import BagTree
from archiver.encrypt import Identities
from archiver.errors import KeyringError
from archiver.statement.envelope import IDENTITY_PATH, Contents
from archiver.statement.opening import Nowhere, open_identity, open_statement, read_plain

__all__ = ["Opens", "check_opens"]


@dataclass(frozen=True, slots=True)
class Opens:
    """What was opened: plain files, their bytes, and whether the identity envelope was too
    (None where there is none, False where it is for other keys). ``in_clear``: nothing in the bag
    is encrypted, only what was amended.
    """

    files: int
    size_bytes: int
    identity: bool | None
    in_clear: bool = False


def check_opens(tree: BagTree, identities: Identities, progress: Progress) -> Opens:
    """Decrypt all of it. Raises KeyringError where none of the keys opens it, FormatError where
    something is not what the list of files tells of, UnreadableError.
    """
    contents = open_statement(tree, identities).contents
    progress.expect(sum(one.size for one in contents.files), len(contents.files))
    for one in contents.files:
        read_plain(tree, one, identities, Nowhere())
        progress.done(one.size, 1)
    return Opens(
        files=len(contents.files),
        size_bytes=sum(one.size for one in contents.files),
        identity=_identity(tree, contents, identities),
    )


def _identity(tree: BagTree, contents: Contents, identities: Identities) -> bool | None:
    sha256 = contents.others.get(IDENTITY_PATH)
    if sha256 is None:
        return None
    try:
        open_identity(tree, identities, contents.code, sha256)
    except KeyringError:
        return False
    return True
