"""Whether a policy file says only what a policy can say, and where it doesn't.

Job: check the keys and types of one file. Limits: reads no files, merges nothing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from archiver.digest import ALGORITHMS
from archiver.errors import PolicyError
from archiver.i18n import _
from archiver.policy.model import TABLES
from archiver.tomlfile import TomlText, hint_for

__all__ = ["Checker"]

_MAX_COUNT = 16
_A_DAY = 86_400
_LIMITS = {
    "every_days": (1, 36_500),
    "quiet_seconds": (1, _A_DAY),
    "share_quiet_seconds": (1, _A_DAY),
    "empty_quiet_seconds": (1, _A_DAY),
    "unproved_quiet_seconds": (1, _A_DAY),
    "large_bytes": (1, 1 << 62),
    "seconds": (1, 86_400),
    "memory_mb": (64, 1 << 20),
    "clean": (0, 255),
    "infected": (0, 255),
    "retention_years": (0, 1000),
}
"""Of whole numbers; the others go from 0 to :data:`_MAX_COUNT`."""
_CHOICES = {
    "group": ("file", "folder"),
    "originals": ("keep", "move", "delete"),
    "unsigned": ("wait", "allow"),
    "found": ("keep", "refuse"),
    "payload": ("never", "secret", "always"),
}
"""Texts that only a few words will do for."""
_PATTERNS = ("ignore", "temporary")
_NAMES = ("done_marker",)
"""Texts that must be the name of a file."""
_TOP_LEVEL = ("description", "extends", *TABLES)


class Checker:
    """Checks the keys and types of one file, and says where they are wrong."""

    def __init__(self, path: Path, text: TomlText) -> None:
        self._path, self._text = path, text

    def check(self, table: dict[str, Any]) -> None:
        """Check ``table``, and turn its lists into tuples. Raises PolicyError."""
        for key, value in table.items():
            if key not in _TOP_LEVEL:
                self._unknown(key, "", _TOP_LEVEL)
            if key in TABLES:
                self._check_table(key, value)
            elif not isinstance(value, str):
                self._fail(key, "", _("{key} must be text").format(key=key))

    def _check_table(self, name: str, value: object) -> None:
        if not isinstance(value, dict):
            self._fail(name, "", _("{key} must be a table").format(key=name))
        assert isinstance(value, dict)
        fields = {item.name: item for item in dataclasses.fields(TABLES[name])}
        for key, given in value.items():
            if key not in fields:
                self._unknown(key, name, tuple(fields))
            value[key] = self._check_value(key, name, fields[key].default, given)

    def _check_value(self, key: str, table: str, default: object, given: object) -> object:
        if isinstance(default, bool):
            if not isinstance(given, bool):
                self._fail(key, table, _("{key} must be true or false").format(key=key))
            return given
        if isinstance(default, int):
            least, limit = _LIMITS.get(key, (0, _MAX_COUNT))
            if type(given) is not int or not least <= given <= limit:
                text = _("{key} must be a whole number from {least} to {limit}")
                self._fail(key, table, text.format(key=key, least=least, limit=limit))
            return given
        if isinstance(default, str):
            return self._check_text(key, table, given)
        return self._check_list(key, table, given)

    def _check_text(self, key: str, table: str, given: object) -> str:
        if not isinstance(given, str) or "\0" in given:
            self._fail(key, table, _("{key} must be text").format(key=key))
        assert isinstance(given, str)
        choices = _CHOICES.get(key)
        if choices and given not in choices:
            text = _("{key} must be one of: {choices}")
            self._fail(key, table, text.format(key=key, choices=", ".join(choices)))
        if key in _NAMES and (given in ("", ".", "..") or "/" in given):
            self._fail(key, table, _("{key} must be the name of a file").format(key=key))
        return given

    def _check_list(self, key: str, table: str, given: object) -> tuple[str, ...]:
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            self._fail(key, table, _("{key} must be a list of names").format(key=key))
        assert isinstance(given, list)
        if key in _PATTERNS:
            if any(not item.strip("*") or "\0" in item for item in given):
                text = _("{key}: a pattern must not be empty or match every name")
                self._fail(key, table, text.format(key=key))
            return tuple(given)
        if key != "algorithms":
            return tuple(given)
        unknown = [item for item in given if item not in ALGORITHMS]
        if unknown or not given:
            text = _("{key}: {value} is no known digest algorithm")
            self._fail(key, table, text.format(key=key, value=(unknown or [""])[0]))
        return tuple(given)

    def _unknown(self, key: str, table: str, known: tuple[str, ...]) -> None:
        self._fail(key, table, _("unknown key {key}").format(key=key), hint_for(key, known))

    def _fail(self, key: str, table: str, message: str, hint: str = "") -> None:
        place = f"{self._path}:{self._text.line(key, table)}"
        raise PolicyError(
            _("policy {place}: {message}").format(place=place, message=message), hint=hint
        )
