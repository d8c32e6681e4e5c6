"""Forms: descriptions as TOML, as people write them.

Job: text in, :class:`~archiver.describe.description.Description` out, or every line that is
wrong. Limits: opens no file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from archiver.describe.description import MAX_DESCRIPTION_BYTES, Description
from archiver.describe.fields import CODE, KINDS, Field, fields_of
from archiver.describe.values import FieldError, check_fields
from archiver.errors import ArchiverError
from archiver.i18n import N_, _
from archiver.tomlfile import LONG_KEY, TomlText, hint_for, line_of_error

__all__ = ["DescriptionError", "Mistake", "read_form", "to_toml", "write_form"]

_MAX_MISTAKES = 100
"""More than a person reads; a hostile form has a hundred thousand."""
_MAX_TABLES = 5000
_LONG = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong at a line of a form. ``plain`` is the message without a word of the form
    itself, fit for logs.
    """

    line: int
    message: str
    plain: str = ""
    hint: str = ""


class DescriptionError(ArchiverError):
    """A form that can't be taken; ``mistakes`` are all of them, by line."""

    exit_code = 2
    usual_hint = N_("Correct it; 'archiver describe check FILE' tells of all mistakes.")

    def __init__(self, place: str, mistakes: list[Mistake]) -> None:
        first = mistakes[0]
        message = f"{place}:{first.line}: {first.message}"
        if len(mistakes) > 1:
            text = _("{message}, and {count} more")
            message = text.format(message=message, count=len(mistakes) - 1)
        super().__init__(message, hint=first.hint)
        self.mistakes = tuple(mistakes)


def read_form(
    data: bytes,
    place: str,
    *,
    kind: str = "",
    case: str = "",
    recorded: Mapping[str, str] | None = None,
) -> Description:
    """The description in a form; ``place`` names it in errors. ``kind`` is what it must be,
    and ``case`` where it must belong to; where it doesn't say so itself, it is taken to. Raises
    DescriptionError.
    """
    text = _text(data, place)
    table = dict(text.table)
    kind = _kind(table, text, place, kind)
    mistakes, values = list[Mistake](), dict[str, Any]()
    fields = fields_of(kind)
    for key, value in table.items():
        found = list(islice(_mistakes(key, value, fields, text), _MAX_MISTAKES))
        mistakes += found
        if len(mistakes) >= _MAX_MISTAKES:
            break
        if not found:
            values[key] = value
    if not CODE.fullmatch(str(values.get("witness_code", "W-07"))):
        message = _("that is no code: it must look like W-07")
        hint = _("One to three capital letters, a hyphen, digits: never a name or initials.")
        line = text.line("witness_code")
        mistakes.append(Mistake(line=line, message=message, plain=message, hint=hint))
    if case and values.setdefault("case", case) != case:
        plain = _("it belongs to another case")
        message = _("it belongs to the case {other}, not to {case}")
        message = message.format(other=str(values["case"])[:_LONG], case=case)
        hint = _("Correct the form, or name its case with --case.")
        line = text.line("case")
        mistakes.append(Mistake(line=line, message=message, plain=plain, hint=hint))
    if mistakes:
        raise DescriptionError(place, sorted(mistakes, key=lambda one: one.line))
    return Description.checked(kind, values, recorded)


def write_form(description: Description) -> bytes:
    """The form that :func:`read_form` reads as this description; tables come last, as TOML
    wants it.
    """
    head, tables = [f"kind = {to_toml(description.kind)}"], list[str]()
    for key, value in description.values.items():
        if isinstance(value, dict):
            tables += ["", f"[{key}]", *_assignments(value)]
        elif isinstance(value, list) and isinstance(value[0], dict):
            for one in value:
                tables += ["", f"[[{key}]]", *_assignments(one)]
        else:
            head.append(f"{key} = {to_toml(value)}")
    return ("\n".join([*head, *tables]) + "\n").encode()


def _assignments(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {to_toml(value)}" for key, value in table.items()]


def to_toml(value: Any) -> str:
    """A text, a number or a list of texts: as JSON writes them, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _text(data: bytes, place: str) -> TomlText:
    """Raises DescriptionError."""
    line, plain, message, text = 1, "", "", ""
    try:
        if len(data) > MAX_DESCRIPTION_BYTES:
            plain = _("a form is at most 1 MiB")
        else:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
            if text.count("\n[") > _MAX_TABLES:
                plain = _("it has too many tables")
            elif found := LONG_KEY.search(text):
                line, plain = text.count("\n", 0, found.start()) + 1, _("a key has too many parts")
            else:
                return TomlText(text)
    except UnicodeDecodeError as error:
        line, plain = data.count(b"\n", 0, error.start) + 1, _("it is not text in UTF-8")
    except ValueError as error:
        line, plain, message = line_of_error(error, text), _("it is not TOML"), str(error)
    if message:
        message = _("it is not TOML: {problem}").format(problem=message)
    mistake = Mistake(line=line, message=message or plain, plain=plain)
    raise DescriptionError(place, [mistake])


def _mistakes(
    key: str, value: object, fields: Mapping[str, Field], text: TomlText
) -> Iterator[Mistake]:
    """All that is wrong with one key: in tables, with each of their keys."""
    inner = {one.key: one for one in fields[key].fields} if key in fields else {}
    tables = value if isinstance(value, list) else [value]
    count = 0
    for number, table in enumerate(tables if inner else ()):
        for name, one in table.items() if isinstance(table, dict) else ():
            try:
                check_fields({name: one}, inner)
            except FieldError as problem:
                # 1: a table that stands in one line
                line = text.line(name, key, number) if len(name) < _LONG else 1
                line, count = line if line > 1 else text.line(key), count + 1
                yield _mistake(problem, line, f"{key}: ")
    if count:
        return
    try:
        check_fields({key: value}, fields)
    except FieldError as problem:
        yield _mistake(problem, text.line(key) if len(key) < _LONG else 1, "")


def _mistake(problem: FieldError, line: int, place: str) -> Mistake:
    plain = problem.message if problem.is_known else _("unknown key")
    return Mistake(
        line=line, message=f"{place}{problem.message}", plain=f"{place}{plain}", hint=problem.hint
    )


def _kind(table: dict[str, Any], text: TomlText, place: str, wanted: str) -> str:
    given = table.pop("kind", wanted)
    if isinstance(given, str) and given in KINDS and wanted in ("", given):
        return given
    if given == "":
        plain = message = _("the form doesn't say what it describes: kind = …")
    elif isinstance(given, str) and given in KINDS:
        plain = _("this must be of the kind {wanted}, and it is of the kind {kind}")
        plain = message = plain.format(wanted=wanted, kind=given)
    else:
        plain = _("there is no such kind")
        message = _("there is no kind {kind}").format(kind=str(given)[:100])
    known = isinstance(given, str) and given in KINDS
    hint = "" if known else hint_for(str(given)[:100], KINDS)
    mistake = Mistake(line=text.line("kind"), message=message, plain=plain, hint=hint)
    raise DescriptionError(place, [mistake])
