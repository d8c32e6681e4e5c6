"""TOML files that people write, read so that a mistake can be shown to them.

Job: parse, say at which line a key stands, name the key that was meant. Limits: knows nothing
of what the keys mean. :mod:`tomllib` tells no lines, so they are looked for in the text.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from archiver.i18n import _

__all__ = ["TomlText", "hint_for"]

_MARKS = ('"' * 3, "'" * 3)
_HEADING = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")


class TomlText:
    """The text of one file, and what is in it. Raises ValueError where it is no TOML."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        try:
            self.table: dict[str, Any] = tomllib.loads(text)
        except RecursionError as error:
            raise ValueError(_("its tables are nested too deeply")) from error

    def line(self, key: str, table: str = "", number: int = 0) -> int:
        """The line where ``key`` stands, from 1 on; ``table`` "" is the one above all
        headings, ``number`` which of several of the same name, from 0 on. 1 where it isn't
        found: in a table that stands in one line, say.
        """
        current, met = "", 0
        assignment = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]")
        for at, line in self._outside_texts():
            if found := _HEADING.match(line):
                current = found[1].strip("\"'")
                met += current == table
                if not table and current == key:
                    return at
            elif current == table and met in (0, number + 1) and assignment.match(line):
                return at
        return 1

    def _outside_texts(self) -> Iterator[tuple[int, str]]:
        """The lines that don't begin within a text of several lines."""
        within = ""
        for at, line in enumerate(self._lines, start=1):
            if not within:
                yield at, line
                marks = [mark for mark in _MARKS if line.count(mark) % 2]
                within = min(marks, key=line.index, default="")
            elif line.count(within) % 2:
                within = ""


def hint_for(key: str, known: Sequence[str]) -> str:
    """Which of ``known`` was meant by ``key``, or which there are."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    if near:
        return _("Did you mean {near}?").format(near=near[0])
    return _("Known keys here: {known}.").format(known=", ".join(known))
