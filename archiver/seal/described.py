"""What a description becomes in a bag.

Job: the one place where a description is put into tag files, and where one is kept out that
may not stand in clear. Limits: encrypts nothing; who does (:mod:`archiver.statement`) hands in
the ciphertext as a tag file of its own and never comes here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from datetime import datetime

from archiver.describe import DESCRIPTION_PATH, Description, read_form
from archiver.describe.description import MAX_DESCRIPTION_BYTES
from archiver.describe.moment import recorded_now
from archiver.describe.secrecy import is_held_back
from archiver.errors import FormatError, UsageError
from archiver.filesystem import open_regular, read_regular
from archiver.i18n import _

__all__ = [
    "STATEMENT",
    "InClearError",
    "calls_itself_statement",
    "described_in",
    "description_fact",
    "description_files",
    "load_form",
]

_SEALED_PATH = DESCRIPTION_PATH + ".age"
_STATEMENT_LABEL = re.compile(
    rb"^Archiver-(Code|Kind\s*:\s*statement)\b", re.MULTILINE | re.IGNORECASE
)
_MAX_INFO_BYTES = 1 << 20
STATEMENT = "statement"
"""What the log says, in a sealing's detail, of what calls itself one."""


class InClearError(UsageError):
    """What is confidential would stand in clear."""


def load_form(path: str, now: datetime, *, kind: str = "", case: str = "") -> Description:
    """The description in the form at ``path``; see :func:`~archiver.describe.read_form`.
    Raises DescriptionError, UsageError.
    """
    try:
        data = read_regular(os.path.realpath(path), MAX_DESCRIPTION_BYTES + 1)
    except OSError as error:
        raise UsageError(
            _("{path} can't be read: {reason}").format(path=path, reason=error.strerror),
            hint=_("Check the spelling of the path."),
        ) from error
    return read_form(data, path, kind=kind, case=case, recorded=recorded_now(now))


def description_files(description: Description | None) -> dict[str, bytes]:
    """The tag files of a bag that is described so. Raises InClearError, where it says that it
    is confidential or sealed: nothing of that may stand in clear.
    """
    if description is None:
        return {}
    if is_held_back(description):
        raise InClearError(
            _("the description is that of something confidential: it can't be put in clear"),
            hint=_(
                "A statement: 'archiver statement new'. Anything else: 'archiver ingest' with a"
                " policy whose [encryption] names recipients and escrow."
            ),
        )
    return {DESCRIPTION_PATH: description.to_bytes()}


def described_in(bag: str) -> Description | None:
    """What stands in clear in the bag at ``bag``; None where that is nothing, or no
    description. Raises OSError where it can't be told.
    """
    data = _read(bag)
    return None if data is None else _parsed(data)


def description_fact(bag: str, case: str) -> Mapping[str, str] | None:
    """What the log keeps of the description in the bag at ``bag``: kind, path, and the digest
    of the file as it lies there. In a bag of somebody else's: one that is no description, is
    that of another case, or should not stand in clear, is none. But a statement stays one,
    whoever's it was: without this, nobody would ask for its witness's consent. Raises OSError.
    """
    sealed = _sealed_digest(bag)
    if sealed:
        return {"kind": "statement", "path": _SEALED_PATH, "sha256": sealed}
    data = _read(bag)
    found = None if data is None else _parsed(data)
    if data is None or found is None:
        return None
    is_ours = not is_held_back(found) and found.values.get("case", case) == case
    if not is_ours and found.kind != "statement":
        return None
    digest = hashlib.sha256(data).hexdigest()
    return {"kind": found.kind, "path": DESCRIPTION_PATH, "sha256": digest}


def _sealed_digest(bag: str) -> str:
    """Of a description that is encrypted, in whichever way; "" where there is none. What else
    than a statement it could be is not known, and doubt is enough.
    """
    path = _place(bag, _SEALED_PATH)
    if not path:
        return ""
    with open(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def calls_itself_statement(bag: str) -> bool:
    """Whether the bag at ``bag`` says that it holds a witness's statement, in words that are
    not those of a description of ours: in ``bag-info.txt``, or where the description lies,
    in another form or a later one. Raises OSError.
    """
    path = _place(bag, "bag-info.txt")
    # Without NULs: a tag file may be in UTF-16.
    if path and _STATEMENT_LABEL.search(read_regular(path, _MAX_INFO_BYTES).replace(b"\0", b"")):
        return True
    try:
        told = json.loads(_read(bag) or b"")
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("kind") == "statement"


def _read(bag: str) -> bytes | None:
    path = _place(bag, DESCRIPTION_PATH)
    return read_regular(path, MAX_DESCRIPTION_BYTES + 1) if path else None


def _place(bag: str, name: str) -> str:
    """Where a file of a bag lies; "" where it is none, or a link leads there."""
    path = os.path.join(bag, name)
    for part in (os.path.dirname(path), path):
        if not os.path.lexists(part) or os.path.islink(part):
            return ""
    return path if os.path.isfile(path) else ""


def _parsed(data: bytes) -> Description | None:
    try:
        return Description.parse(data)
    except FormatError:
        return None
