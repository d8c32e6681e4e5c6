"""TOML files that people write, read so that a mistake can be shown to them.

Job: parse, say at which line a key stands, name the key that was meant. Limits: knows nothing
of what the keys mean. :mod:`tomllib` tells no lines, so they are looked for in the text.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from archiver.i18n import _

__all__ = ["TomlText", "hint_for"]

_HEADING = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")


class TomlText:
    """The text of one file, and what is in it. Raises ValueError where it is no TOML."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        try:
            self.table: dict[str, Any] = tomllib.loads(text)
        except RecursionError as error:
            raise ValueError(_("its tables are nested too deeply")) from error

    def line(self, key: str, table: str = "") -> int:
        """The line where ``key`` stands, from 1 on; "" is the table above all headings."""
        current = ""
        assignment = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]")
        for number, line in enumerate(self._lines, start=1):
            if found := _HEADING.match(line):
                current = found[1].strip("\"'")
                if not table and current == key:
                    return number
            elif current == table and assignment.match(line):
                return number
        return 1


def hint_for(key: str, known: Sequence[str]) -> str:
    """Which of ``known`` was meant by ``key``, or which there are."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    if near:
        return _("Did you mean {near}?").format(near=near[0])
    return _("Known keys here: {known}.").format(known=", ".join(known))
