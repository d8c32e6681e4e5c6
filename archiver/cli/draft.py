"""Answers that ``--ask`` has got so far, kept until they are used.

Job: one file of this user's own for each thing that is described. Limits: of what is
confidential nothing is ever written; who asks says whether that is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from archiver.describe import KINDS, fields_of
from archiver.describe.description import MAX_DESCRIPTION_BYTES, canonical, strict_json
from archiver.describe.values import FieldError, check_fields
from archiver.errors import FormatError, storage_error
from archiver.filesystem import open_regular, replace_file

__all__ = ["Draft", "draft_for"]

_SCHEMA = "archiver/draft/1"


class Draft:
    """The file for one purpose: its name is a digest, and tells nothing of it."""

    def __init__(self, *purpose: str) -> None:
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        told = hashlib.sha256(b"\0".join(os.fsencode(one) for one in purpose)).hexdigest()
        self._directory = os.path.join(state, "archiver", "drafts")
        self.path = os.path.join(self._directory, f"{told[:32]}.json")

    def load(self) -> tuple[str, dict[str, Any]]:
        """(kind, answers); ("", {}) where there are none that can be used: it must be a
        regular file of this user's, which nobody else may write.
        """
        try:
            with open(open_regular(self.path), "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                    return "", {}
                record = strict_json(file.read(MAX_DESCRIPTION_BYTES + 1), _SCHEMA)
            kind = record.pop("kind", "")
            if not isinstance(kind, str) or kind not in KINDS:
                return "", {}
            return kind, check_fields(record, fields_of(kind))
        except (OSError, FormatError, FieldError):
            return "", {}

    def save(self, kind: str, answers: Mapping[str, Any]) -> None:
        """Keep them for this user alone. Raises StorageError."""
        data = canonical({"schema": _SCHEMA, "kind": kind, **answers})
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            replace_file(self.path, data, 0o600)
        except OSError as error:
            raise storage_error(error, self.path) from error

    def remove(self) -> None:
        """They are used, or may not be kept."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def draft_for(command: str, *, case: str = "", paths: Iterable[str] = ()) -> Draft:
    """That of a command for these paths."""
    return Draft(command, case, *(os.path.abspath(one) for one in paths))
