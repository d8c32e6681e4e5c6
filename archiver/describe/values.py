"""Whether a value is one that its field can have.

Job: check and normalise one value; the first problem, with the way to it. Limits: what a
field is, stands in :mod:`archiver.describe.fields`.

"None known" is an answer that a person must give: an empty text is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from archiver.describe.fields import AUTOMATIC, KINDS, Field, fields_of
from archiver.i18n import _
from archiver.tomlfile import hint_for

__all__ = ["MAX_LIST", "MAX_TEXT", "UNFIT", "WHEN", "FieldError", "check_fields", "check_value"]

MAX_TEXT = 100_000
"""Characters of one text."""
MAX_LIST = 1000
"""Entries of one list."""
_SHOWN = 100
"""Characters of a stranger's key that are shown."""
WHEN = (
    r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)
"""A day or time as text, as a regular expression."""
UNFIT = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]"
"""Control characters, halves of characters, and what turns the direction of writing."""
_WHEN, _UNFIT = re.compile(WHEN), re.compile(UNFIT)


class FieldError(Exception):
    """``key`` is the way to the field, from the outermost table on; ``hint`` the next step;
    ``is_known``: there is such a field, so that the message holds no word of a stranger's.
    """

    def __init__(self, key: str, message: str, hint: str = "", *, is_known: bool = True) -> None:
        super().__init__(message)
        self.key, self.message, self.hint, self.is_known = key, message, hint, is_known


def check_fields(values: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """``values`` as JSON has them, in the order of ``fields``. Raises FieldError."""
    for key in values:
        if key in AUTOMATIC and key not in fields:
            text = _("{key} is filled in by the program ({place})")
            raise FieldError(key, text.format(key=key, place=AUTOMATIC[key]), _("Leave it out."))
        if key not in fields:
            shown = key[:_SHOWN]
            message = _("unknown key {key}").format(key=shown)
            others = [kind for kind in KINDS if key in fields_of(kind)]
            hint = hint_for(shown, tuple(fields))
            if others:
                hint = _("It is a field of: {kinds}.").format(kinds=", ".join(others))
            raise FieldError(key, message, hint, is_known=False)
    return {key: check_value(field, values[key]) for key, field in fields.items() if key in values}


def check_value(field: Field, value: object) -> Any:
    """``value`` as JSON has it. Raises FieldError."""
    return _CHECKS[field.type](field, value)


def _fail(field: Field, message: str, hint: str = "") -> FieldError:
    return FieldError(field.key, message.format(key=field.key), hint)


def _text(field: Field, value: object) -> str:
    if not isinstance(value, str):
        raise _fail(field, _("{key} must be text"))
    if not value.strip():
        raise _fail(
            field,
            _("{key} is empty"),
            _('Leave the key out, or say what is known: "none known" is an answer.'),
        )
    if len(value) > MAX_TEXT:
        raise _fail(field, _("{key} is too long"), _("Put it into a document of its own."))
    if _UNFIT.search(value):
        raise _fail(field, _("{key} holds control characters"))
    return value


def _when(field: Field, value: object) -> str:
    if isinstance(value, datetime | date):
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    if isinstance(value, str):
        if value == "unknown":
            return value
        if _WHEN.fullmatch(value) and _exists(value):
            return value
    raise _fail(
        field,
        _("{key} must be a date or time"),
        _('As in 2026-03-01T14:30:00-05:00, 2026-03-01, "2026-03", "2026", or "unknown".'),
    )


def _exists(text: str) -> bool:
    """Whether there is such a day and time: 2026-02-30 is none."""
    whole = text + "0001-01-01"[len(text) :] if len(text) < 10 else text
    try:
        datetime.fromisoformat(whole)
    except ValueError:
        return False
    return True


def _choice(field: Field, value: object) -> str:
    if isinstance(value, bool) and {"yes", "no"} <= set(field.choices):
        return "yes" if value else "no"
    if not isinstance(value, str) or value not in field.choices:
        text = _("{key} must be one of: {choices}")
        choices = ", ".join(field.choices)
        raise FieldError(field.key, text.format(key=field.key, choices=choices))
    return value


def _count(field: Field, value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise _fail(field, _("{key} must be a whole number"))
    return value


def _list(field: Field, value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _fail(field, _("{key} must be a list with something in it"))
    if len(value) > MAX_LIST:
        raise _fail(field, _("{key} is too long"), _("Put it into a document of its own."))
    return value


def _texts(field: Field, value: object) -> list[str]:
    return [_text(field, one) for one in _list(field, value)]


def _table(field: Field, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _fail(field, _("{key} must be a table"))
    inner = {one.key: one for one in field.fields}
    try:
        return check_fields(value, inner)
    except FieldError as problem:
        place = f"{field.key}.{problem.key}"
        message = f"{field.key}.{problem.key[:_SHOWN]}: {problem.message}"
        raise FieldError(place, message, problem.hint, is_known=problem.is_known) from problem


def _tables(field: Field, value: object) -> list[dict[str, Any]]:
    return [_table(field, one) for one in _list(field, value)]


_CHECKS = {
    "text": _text,
    "when": _when,
    "choice": _choice,
    "count": _count,
    "texts": _texts,
    "table": _table,
    "tables": _tables,
}
