"""What a name means in a watched folder: left out, still being written, a description.

Job: match names and paths against a :class:`~archiver.policy.WatchPolicy`; say which unit
a file belongs to. Limits: looks at nothing on the disk.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from archiver.i18n import N_
from archiver.policy import WatchPolicy

__all__ = ["DESCRIPTION", "TEMPORARY", "Rules", "is_hidden_work"]

DESCRIPTION = b".toml"
"""``NAME.ext.toml`` beside ``NAME.ext`` describes it."""
TEMPORARY = N_("a temporary name: still being written")
_OWN = tuple(
    b".archiver-" + one
    for one in (b"staging", b"batch-", b"statement-", b"secret-", b"opening-", b"watch-")
)
_WILDCARDS = re.compile(r"[*?\[]")


def is_hidden_work(name: bytes) -> bool:
    """Whether it is of this program's own making: staging, not evidence."""
    return name.startswith(_OWN)


class Rules:
    """One folder's rules, ready to be asked a hundred thousand times."""

    def __init__(self, policy: WatchPolicy, root: bytes = b"") -> None:
        """``root`` is the folder's absolute path: originals may be moved to below it."""
        self.policy = policy
        self._ignore = _Patterns(policy.ignore)
        self._temporary = _Patterns(policy.temporary)
        self._marker = policy.done_marker.encode("utf-8", "surrogateescape")
        move_to = policy.move_to.encode("utf-8", "surrogateescape")
        inside = root.rstrip(b"/") + b"/"
        if move_to.startswith(b"/"):
            move_to = move_to.removeprefix(inside) if move_to.startswith(inside) else b""
        self._moved = move_to.strip(b"/")

    def ignored(self, path: bytes) -> str:
        """By which rule a file is left out ("": it is not); a translatable text."""
        if is_hidden_work(path.rpartition(b"/")[2]):
            return N_("this program's own")
        if self._ignore.match(path):
            return N_("the rules leave this name out")
        if self._temporary.match(path):
            return TEMPORARY
        if self.policy.group == "folder" and self.is_marker(path):
            return N_("the marker that a folder is done")
        return ""

    def skips(self, directory: bytes) -> bool:
        """Whether nothing below this directory is looked at."""
        name = directory.rpartition(b"/")[2]
        return (
            is_hidden_work(name)
            or self._ignore.match(directory)
            or bool(self._moved and self.policy.originals == "move" and directory == self._moved)
        )

    def is_marker(self, path: bytes) -> bool:
        """Whether this is ``FOLDER/.done``, with the folder directly below the root."""
        return path.count(b"/") == 1 and path.endswith(b"/" + self._marker)

    def marker(self, group: bytes) -> bytes:
        """Where a folder's marker would lie."""
        return group + self._marker

    def described(self, name: bytes) -> bytes:
        """The name that a file of this name would describe, b"" where it can't be one."""
        base = name.removesuffix(DESCRIPTION)
        return base if base != name and b"." in base.lstrip(b".") else b""

    def group(self, path: bytes) -> bytes:
        """The unit a file is a part of: ``FOLDER/`` (with its slash) or the file itself."""
        top, slash, _rest = path.partition(b"/")
        return top + slash if slash and self.policy.group == "folder" else path


class _Patterns:
    def __init__(self, patterns: Iterable[str]) -> None:
        kept = [pattern for pattern in patterns if pattern]
        self._names = _joined(_name(item) for item in kept if "/" not in item)
        self._paths = _joined(fnmatch.translate(item) for item in kept if "/" in item)

    def match(self, path: bytes) -> bool:
        text = path.decode("utf-8", "surrogateescape")
        if self._names is not None and self._names.match(text.rpartition("/")[2]):
            return True
        return self._paths is not None and self._paths.match(text) is not None


def _name(pattern: str) -> str:
    """``.part`` is the end of a name; case doesn't count: Windows writes to shares."""
    is_end = pattern.startswith(".") and not _WILDCARDS.search(pattern)
    return fnmatch.translate(f"*{pattern}" if is_end else pattern)


def _joined(expressions: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(expressions)
    return re.compile(joined, re.IGNORECASE) if joined else None
