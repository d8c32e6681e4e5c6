"""Whether a policy file says only what a policy can say, and where it doesn't.

Job: check the keys and types of one file; every mistake, with its line. Limits: reads no
files, merges nothing; which fields of a description there are, is known further up
(:mod:`archiver.describe.owed`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from archiver.digest import ALGORITHMS
from archiver.errors import PolicyError
from archiver.i18n import N_, _
from archiver.policy.model import TABLES
from archiver.policy.recipient import PRIVATE_PREFIX, is_recipient
from archiver.tomlfile import TomlText, hint_for, shown

__all__ = [
    "CHOICES",
    "FORMAT_PATTERN",
    "Checker",
    "FieldCheck",
    "Mistake",
    "MistakesError",
    "Wrong",
    "limits_of",
]

_MAX_COUNT = 16
_MAX_MISTAKES = 100
_MAX_ITEMS = 1000
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
CHOICES = {
    "group": ("file", "folder"),
    "originals": ("keep", "move", "delete"),
    "unsigned": ("wait", "allow"),
    "found": ("keep", "refuse"),
    "payload": ("never", "secret", "always"),
}
"""Texts that only a few words will do for."""
_NAMES = ("done_marker",)
"""Texts that must be the name of a file."""
_TOP_LEVEL = ("description", "extends", *TABLES)
FORMAT_PATTERN = (
    r"(x-)?fmt/[0-9*?]+"
    r"|[a-z0-9*?][a-z0-9!#$&^_.+*?-]*/[a-z0-9*?][a-z0-9!#$&^_.+*?-]*"
)
"""PRONOM's identifiers, and MIME types in small letters, with wildcards."""
_FORMAT = re.compile(FORMAT_PATTERN)


def limits_of(key: str) -> tuple[int, int]:
    """The least and the greatest whole number that ``key`` can be."""
    return _LIMITS.get(key, (0, _MAX_COUNT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong at ``place``: FILE:LINE."""

    place: str
    message: str
    hint: str = ""


class MistakesError(PolicyError):
    """Policy files with mistakes; ``mistakes`` are all of them."""

    usual_hint = N_("Correct it; 'archiver policy check FILE' tells of all mistakes.")

    def __init__(self, mistakes: list[Mistake]) -> None:
        first = mistakes[0]
        text = _("policy {place}: {message}")
        message = text.format(place=first.place, message=first.message)
        if len(mistakes) > 1:
            text = _("{message}, and {count} more")
            message = text.format(message=message, count=len(mistakes) - 1)
        super().__init__(message, hint=first.hint)
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Wrong:
    """One mistake; ``item`` is the part of a list that it is about."""

    message: str
    hint: str = ""
    item: str = ""


FieldCheck = Callable[[str, str], Wrong | None]
"""Of a list of ``[describe]`` and a field in it: what is wrong with that."""


def _any_field(_key: str, _field: str) -> Wrong | None:
    return None


class Checker:
    """Checks the keys and types of one file, and says where they are wrong."""

    def __init__(self, path: str, text: TomlText, fields: FieldCheck = _any_field) -> None:
        self._path, self._text, self._fields = path, text, fields
        self.mistakes: list[Mistake] = []

    def check(self, table: dict[str, Any]) -> None:
        """Check ``table``, and turn its lists into tuples; see ``mistakes`` then."""
        for key, value in table.items():
            if key not in _TOP_LEVEL:
                self._note(key, "", _unknown(key, _TOP_LEVEL))
            elif key in TABLES:
                self._check_table(key, value)
            elif not isinstance(value, str):
                self._note(key, "", Wrong(_("{key} must be text").format(key=key)))

    def _check_table(self, name: str, value: object) -> None:
        if not isinstance(value, dict):
            self._note(name, "", Wrong(_("{key} must be a table").format(key=name)))
            return
        defaults = {item.name: item.default for item in dataclasses.fields(TABLES[name])}
        for key, given in value.items():
            if key not in defaults:
                self._note(key, name, _unknown(key, tuple(defaults)))
                continue
            for wrong in self._wrongs(key, name, defaults[key], given):
                self._note(key, name, wrong)
            if isinstance(given, list):
                value[key] = tuple(given)

    def _wrongs(self, key: str, table: str, default: object, given: object) -> Iterator[Wrong]:
        if isinstance(default, bool):
            if not isinstance(given, bool):
                yield Wrong(_("{key} must be true or false").format(key=key))
        elif isinstance(default, int):
            least, limit = limits_of(key)
            if type(given) is not int or not least <= given <= limit:
                text = _("{key} must be a whole number from {least} to {limit}")
                yield Wrong(text.format(key=key, least=least, limit=limit))
        elif isinstance(default, str):
            yield from _text_wrongs(key, given)
        elif not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            yield Wrong(_("{key} must be a list of names").format(key=key))
        elif len(given) > _MAX_ITEMS:
            text = _("{key} is too long: {limit} at most")
            yield Wrong(text.format(key=key, limit=_MAX_ITEMS))
        elif table == "describe":
            found = (self._fields(key, item) for item in given)
            yield from (one for one in found if one is not None)
        else:
            yield from (_LISTS.get((table, key)) or _LISTS[table, ""])(key, given)

    def _note(self, key: str, table: str, wrong: Wrong) -> None:
        if len(self.mistakes) >= _MAX_MISTAKES:
            return
        line = self._text.line(key, table)
        if wrong.item:
            line = self._text.item_line(wrong.item, key, table)
        place = f"{self._path}:{line}"
        self.mistakes.append(Mistake(place=place, message=wrong.message, hint=wrong.hint))


def _unknown(key: str, known: tuple[str, ...]) -> Wrong:
    return Wrong(_("unknown key {key}").format(key=shown(key)), hint_for(key, known))


def _text_wrongs(key: str, given: object) -> Iterator[Wrong]:
    choices = CHOICES.get(key)
    if not isinstance(given, str) or "\0" in given:
        yield Wrong(_("{key} must be text").format(key=key))
    elif choices and given not in choices:
        text = _("{key} must be one of: {choices}")
        yield Wrong(text.format(key=key, choices=", ".join(choices)), hint_for(given, choices))
    elif key in _NAMES and (given in ("", ".", "..") or "/" in given):
        yield Wrong(_("{key} must be the name of a file").format(key=key))


def _pattern_wrongs(key: str, given: list[str]) -> Iterator[Wrong]:
    for item in given:
        if not item.strip("*") or "\0" in item:
            text = _("{key}: a pattern must not be empty or match every name")
            yield Wrong(text.format(key=key), item=item)


def _algorithm_wrongs(key: str, given: list[str]) -> Iterator[Wrong]:
    for item in given or [""]:
        if item not in ALGORITHMS:
            text = _("{key}: {value} is no known digest algorithm")
            hint = hint_for(item, tuple(ALGORITHMS))
            yield Wrong(text.format(key=key, value=shown(item)), hint, item)


def _format_wrongs(key: str, given: list[str]) -> Iterator[Wrong]:
    for item in given:
        if not _FORMAT.fullmatch(item):
            text = _("{key}: {value} is no format")
            hint = _(
                "Write PRONOM's identifiers (fmt/199) or MIME types (video/*), in small letters."
            )
            yield Wrong(text.format(key=key, value=shown(item)), hint, item)


def _recipient_wrongs(key: str, given: list[str]) -> Iterator[Wrong]:
    for item in given:
        if item.strip().upper().startswith(PRIVATE_PREFIX):
            text = _("{key}: this is a private key, and must not stand here")
            hint = _("Write its public half, age1…; make a new key if others could read this file.")
            yield Wrong(text.format(key=key), hint, item)
        elif not is_recipient(item):
            text = _("{key}: {value} is no age recipient, or is mistyped")
            hint = _("It begins with age1 and has 62 characters; copy it whole.")
            yield Wrong(text.format(key=key, value=shown(item)), hint, item)


def _secret_command_wrongs(key: str, given: list[str]) -> Iterator[Wrong]:
    if any(not item or "\0" in item for item in given):
        yield Wrong(_("{key}: no part of a command can be empty").format(key=key))
    for item in given:
        if "{path}" in item:
            text = _("{key}: the scanner of what is secret is told no path")
            hint = _('It reads standard input, as in ["clamdscan", "--no-summary", "-"].')
            yield Wrong(text.format(key=key), hint, item)


def _command_wrongs(key: str, given: list[str]) -> Iterator[Wrong]:
    if any(not item or "\0" in item for item in given):
        yield Wrong(_("{key}: no part of a command can be empty").format(key=key))
    elif given and ("{path}" in given[0] or not any("{path}" in item for item in given)):
        text = _("{key} doesn't say where the path goes")
        hint = _('As in ["clamdscan", "--no-summary", "{path}"], each part by itself.')
        yield Wrong(text.format(key=key), hint, given[0])


_LISTS: dict[tuple[str, str], Callable[[str, list[str]], Iterator[Wrong]]] = {
    ("bag", "algorithms"): _algorithm_wrongs,
    ("watch", "ignore"): _pattern_wrongs,
    ("watch", "temporary"): _pattern_wrongs,
    ("formats", ""): _format_wrongs,
    ("scan", "command"): _command_wrongs,
    ("scan", "secret_command"): _secret_command_wrongs,
    ("encryption", ""): _recipient_wrongs,
}
"""By table and key; "" are all other lists of a table."""
