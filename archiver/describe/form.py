"""Forms: descriptions as TOML, as people write them.

Job: text in, :class:`~archiver.describe.description.Description` out, or every line that is
wrong. Limits: opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archiver.describe.description import MAX_DESCRIPTION_BYTES, Description
from archiver.describe.fields import KINDS, fields_of
from archiver.describe.values import FieldError, check_fields
from archiver.errors import ArchiverError
from archiver.i18n import _
from archiver.tomlfile import TomlText, hint_for

__all__ = ["DescriptionError", "Mistake", "read_form"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong at a line of a form."""

    line: int
    message: str
    hint: str = ""


class DescriptionError(ArchiverError):
    """A form that can't be taken; ``mistakes`` are all of them, by line."""

    exit_code = 2

    def __init__(self, place: str, mistakes: list[Mistake]) -> None:
        first = mistakes[0]
        message = f"{place}:{first.line}: {first.message}"
        if len(mistakes) > 1:
            text = _("{message}, and {count} more")
            message = text.format(message=message, count=len(mistakes) - 1)
        super().__init__(message, hint=first.hint)
        self.mistakes = tuple(mistakes)


def read_form(
    data: bytes, place: str, *, kind: str = "", recorded: Mapping[str, str] | None = None
) -> Description:
    """The description in a form; ``place`` names it in errors, ``kind`` is what it must be
    where it doesn't say so itself. Raises DescriptionError.
    """
    if len(data) > MAX_DESCRIPTION_BYTES:
        raise DescriptionError(place, [Mistake(line=1, message=_("a form is at most 1 MiB"))])
    try:
        text = TomlText(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except ValueError as error:
        raise DescriptionError(place, [Mistake(line=_line_of(error), message=str(error))]) from None
    table = dict(text.table)
    kind = _kind(table, text, place, kind)
    mistakes, values = [], dict[str, Any]()
    fields = fields_of(kind)
    for key, value in table.items():
        try:
            values |= check_fields({key: value}, fields)
        except FieldError as problem:
            head, _dot, tail = problem.key.rpartition(".")
            line = text.line(tail, head)
            if head and line == 1:  # in a table that stands in one line
                line = text.line(key)
            mistakes.append(Mistake(line=line, message=problem.message, hint=problem.hint))
    if mistakes:
        raise DescriptionError(place, sorted(mistakes, key=lambda one: one.line))
    return Description.checked(kind, values, recorded)


def _kind(table: dict[str, Any], text: TomlText, place: str, wanted: str) -> str:
    given = table.pop("kind", wanted)
    if given in KINDS and wanted in ("", given):
        return str(given)
    if not given:
        message = _("the form doesn't say what it describes: kind = …")
    elif given in KINDS:
        message = _("this must be a {wanted}, and it is a {kind}").format(wanted=wanted, kind=given)
    else:
        message = _("there is no kind {kind}").format(kind=given)
    hint = hint_for(str(given), KINDS)
    raise DescriptionError(place, [Mistake(line=text.line("kind"), message=message, hint=hint)])


def _line_of(error: ValueError) -> int:
    """As tomllib says it in words: "… (at line 3, column 7)"."""
    words = str(error).replace(",", " ").split()
    if "line" in words[:-1]:
        number = words[words.index("line") + 1]
        return int(number) if number.isdigit() else 1
    return 1
