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

__all__ = ["LONG_KEY", "TomlText", "hint_for", "line_of_error", "shown"]

_HEADING = re.compile(r"\s*\[\[?([^\]]*)\]")
LONG_KEY = re.compile(
    r"(?<![\w-])(?:"
    r"""(?:[\w-]{1,200}|"(?:[^"\\\n]|\\.){0,200}"|'[^'\n]{0,200}')[ \t]*\.[ \t]*"""
    r"){24}"
)
"""A key of so many parts, which would take tomllib hours."""
_MARKS = ('"' * 3, "'" * 3)
_MAX_SHOWN = 80


class TomlText:
    """The text of one file, and what is in it. Raises ValueError where it is no TOML."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        if found := LONG_KEY.search(text):
            line = text.count("\n", 0, found.start()) + 1
            raise ValueError(_("a key has too many parts") + f" (at line {line})")
        try:
            self.table: dict[str, Any] = tomllib.loads(text)
        except RecursionError as error:
            raise ValueError(_("its tables are nested too deeply")) from error

    def line(self, key: str, table: str = "", number: int = 0) -> int:
        """The line where ``key`` stands, from 1 on; ``table`` "" is the one above all
        headings, ``number`` which of several of the same name, from 0 on.

        A table can also stand in one line, or its keys with its name before a dot. 1 where
        the key isn't found.
        """
        name = rf"[\"']?{re.escape(key)}[\"']?\s*[=.]"
        assignment = re.compile(rf"\s*{name}")
        dotted = re.compile(rf"\s*{re.escape(table)}\s*\.\s*{name}")
        whole = re.compile(rf"\s*{re.escape(table)}\s*=")
        current, met, inline = "", 0, 0
        for at, line in self._outside_texts():
            if found := _HEADING.match(line):
                current = found[1].strip(" \t\"'")
                met += current == table
                if not table and current == key:
                    return at
                continue
            inside, above = current == table and met in (0, number + 1), bool(table) and not current
            if (inside and assignment.match(line)) or (above and dotted.match(line)):
                return at
            if above and not inline and whole.match(line):
                inline = at
        return inline or 1

    def item_line(self, item: str, key: str, table: str = "") -> int:
        """The line where ``item`` stands in the list ``key``; the key's, where it isn't seen."""
        start = self.line(key, table)
        for number, line in enumerate(self._lines[start - 1 :], start=start):
            if f'"{item}"' in line or f"'{item}'" in line:
                return number
            if number > start and _HEADING.match(line):
                break
        return start

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


def line_of_error(error: ValueError, text: str) -> int:
    """Which line of ``text`` :mod:`tomllib` complains of; it says it in words: "(at line 3,
    column 7)", "(at end of document)".
    """
    said = str(error)
    if said.endswith("(at end of document)"):
        return text.rstrip("\n").count("\n") + 1
    found = re.search(r"at line ([0-9]{1,9})\b", said)
    return int(found[1]) if found else 1


def shown(text: str) -> str:
    """``text`` as an error may quote it: a stranger's key can be as long as a file."""
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def hint_for(key: str, known: Sequence[str]) -> str:
    """Which of ``known`` was meant by ``key``, or which there are."""
    near = difflib.get_close_matches(shown(key), known, n=1, cutoff=0.4)
    if near:
        return _("Did you mean {near}?").format(near=near[0])
    return _("Known keys here: {known}.").format(known=", ".join(known))
