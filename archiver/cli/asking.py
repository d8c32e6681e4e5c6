"""Questions at the terminal whose answers are kept nowhere but in memory.

Job: a statement's fields, and who its witness is, asked one by one. Limits: nothing is
resumed, since nothing is written down; what is typed stands on the screen, where it can be
read again, and in the terminal's own scrollback.

The terminal itself is read and written, ``/dev/tty``: whoever redirects a stream into a file
gets neither questions nor answers.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from archiver.cli.output import printable
from archiver.errors import UsageError
from archiver.i18n import N_, _

__all__ = ["Terminal", "ask_files", "ask_identity", "ask_statement"]

_IDENTITY = {
    "name": N_("The name of the witness"),
    "contact": N_("How to reach the witness: telephone, e-mail, handle"),
    "address": N_("Where the witness lives"),
    "date_of_birth": N_("The date of birth"),
    "notes": N_("Whatever else identifies the witness"),
}
_CODE = "witness_code"
_LEFT_OUT = ("case", "derived_from")
"""What the command knows already, and what a statement is not."""


class Terminal:
    """The terminal that somebody sits at. Raises UsageError where there is none."""

    def __init__(self, place: str = "/dev/tty") -> None:
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            raise UsageError(
                _("nobody is at a terminal to be asked"),
                hint=_("Give the answers in a form: --form FILE, and --identity FILE."),
            ) from None
        self._file = io.TextIOWrapper(io.FileIO(descriptor, "r+"), encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def say(self, text: str) -> None:
        """A line for who sits there."""
        self._file.write(f"{printable(text)}\n")
        self._file.flush()

    def ask(self, question: str) -> str:
        """One line, or several where they end in a backslash: terminals take short ones."""
        self._file.write(f"{printable(question)}: ")
        self._file.flush()
        lines: list[str] = []
        while True:
            try:
                line = self._file.readline()
            except UnicodeDecodeError:
                self.say(_("That was not UTF-8. Once more."))
                continue
            if not line:
                raise KeyboardInterrupt
            line = line.rstrip("\r\n")
            lines.append(line.removesuffix("\\"))
            if not line.endswith("\\"):
                return "".join(lines).strip()

    def confirm(self, question: str) -> bool:
        """Yes or no; no by itself."""
        choice = _("y/N")
        answer = self.ask(f"{question} [{choice}]").lower()
        return answer in ("y", "yes", "s", "si", "sí")


def ask_statement(terminal: Terminal, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a statement that are not ``given``, one by one."""
    from archiver.describe.fields import fields_of

    terminal.say(_("Each question can be left empty, but for the code of the witness."))
    terminal.say(_("? explains a question; Ctrl-C breaks it all off, and nothing is kept."))
    terminal.say(_("A long answer goes on in the next line after a backslash \\."))
    values = dict(given)
    fields = fields_of("statement")
    for key in (_CODE, *(one for one in fields if one != _CODE)):
        condition = fields[key].owed_if
        if key in values or key in _LEFT_OUT:
            continue
        if condition and values.get(condition[0]) != condition[1]:
            continue
        answer = _ask_field(terminal, fields[key])
        if answer is not None:
            values[key] = answer
    return values


def _ask_field(terminal: Terminal, field: Any, prefix: str = "") -> Any:
    from archiver.cli.ask import help_lines
    from archiver.describe.values import FieldError

    if field.type == "table":
        terminal.say(_(field.label))
        inner = {one.key: _ask_field(terminal, one, "  ") for one in field.fields}
        return {key: value for key, value in inner.items() if value is not None} or None
    if field.type == "tables":
        return None
    while True:
        text = terminal.ask(prefix + _question(field))
        if text == "?":
            for line in help_lines(field):
                terminal.say(f"{prefix}  {line}")
            continue
        if not text and field.key != _CODE:
            return None
        try:
            return _answer(field, text)
        except (FieldError, UsageError) as problem:
            terminal.say(f"{problem.message}. {problem.hint}".strip())


def _question(field: Any) -> str:
    words = _(field.label)
    if field.choices:
        words = f"{words} ({' / '.join(field.choices)})"
    if field.type == "texts":
        several = _("several with ; between them")
        words = f"{words} ({several})"
    return f"{words} *" if field.required else words


def _answer(field: Any, text: str) -> Any:
    """The value that was meant. Raises FieldError; UsageError where a name may stand in place
    of the code.
    """
    from archiver.cli.ask import checked_answer
    from archiver.consent import check_code

    if field.key == _CODE:
        return check_code(text)
    if field.type == "texts":
        parts = [part.strip() for part in text.split(";")]
        return [checked_answer(field, part) for part in parts if part] or None
    return checked_answer(field, text)


def ask_identity(terminal: Terminal) -> dict[str, Any]:
    """Who the witness is; at least something has to be said."""
    terminal.say(_("Who the witness is: this is encrypted for its own recipients alone."))
    while True:
        asked = {key: terminal.ask(_(label)) for key, label in _IDENTITY.items()}
        found = {key: value for key, value in asked.items() if value}
        if found:
            return found
        terminal.say(_("Where the identity is not known, say --no-identity."))


def ask_files(terminal: Terminal, exists: Callable[[str], bool] = os.path.isfile) -> list[str]:
    """Paths of plain files: asked for, since an argument can be seen by others."""
    found: list[str] = []
    while path := terminal.ask(_("A file of the statement (empty: no more)")):
        path = os.path.expanduser(path)
        if exists(path):
            found.append(path)
        else:
            terminal.say(_("There is no such file."))
    return found
