"""``--ask``: a description asked for at the terminal, field by field.

Job: questions, answers that are checked at once, drafts. Limits: what a field is and may be
is said by :mod:`archiver.describe`; nothing is put into a bag here.

Who may see it is asked first: until that is known, and where it is confidential, nothing is
written to the disk. Questions go to standard error; nobody is asked without a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archiver.cli.draft import Draft
from archiver.cli.output import Output, printable
from archiver.describe import KINDS, Description, Field, fields_of
from archiver.describe.fields import CONFIDENTIALITIES
from archiver.describe.secrecy import is_held_back
from archiver.describe.templates import example_of, explain, kind_label
from archiver.describe.values import FieldError, check_value
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["Interview", "Talk", "checked_answer", "help_lines"]

_HELP, _END = "?", "."
_YES = {"y": "yes", "s": "yes", "si": "yes", "sí": "yes", "n": "no"}


class _EndError(Exception):
    """That is all that is to be said now."""


class Talk:
    """Questions at a terminal. Raises UsageError where there is none."""

    def __init__(self) -> None:
        if not sys.stdin.isatty():
            raise UsageError(
                _("--ask is a conversation, and nobody is there to answer"),
                hint=_(
                    "Run it in a terminal, or fill in a form: archiver describe new --kind KIND."
                ),
            )
        self._output = Output()

    def say(self, text: str) -> None:
        """A line."""
        self._output.say(text)

    def ask(self, question: str) -> str:
        """One line, stripped; "" where it can't be read as text. Raises KeyboardInterrupt
        where nobody answers any more.
        """
        print(printable(question), end=" ", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline()
        except UnicodeError:
            self.say(_("That was no text in UTF-8."))
            return ""
        if not line:
            raise KeyboardInterrupt
        return line.strip()


@dataclass(slots=True)
class Interview:
    """One description. ``draft`` is where answers may be kept, None: nowhere. ``allow`` is
    asked as soon as it is known who may see it, and raises where that can't be described here.
    """

    talk: Talk
    draft: Draft | None = None
    allow: Callable[[Description], object] = lambda _description: None
    kind: str = ""
    answers: dict[str, Any] = field(default_factory=dict)

    def run(self, recorded: Mapping[str, str]) -> Description:
        """Ask for what isn't answered yet. Raises ArchiverError, KeyboardInterrupt: then what
        may be kept is kept. Who uses the answers removes the draft.
        """
        self._take_up()
        self.talk.say(_("Enter skips, ? explains, a single . ends the questions."))
        try:
            self._ask_all()
        except _EndError:
            pass
        except KeyboardInterrupt:
            if self._may_be_kept():
                self._keep()
                self.talk.say("")
                self.talk.say(
                    _("The answers are kept: the same command with --ask takes them up again.")
                )
            raise
        return Description.checked(self.kind, self.answers, recorded)

    def _take_up(self) -> None:
        """What an earlier run was told; what was given now goes before it."""
        if self.draft is None:
            return
        kind, answers = self.draft.load()
        if not kind or self.kind not in ("", kind):
            return
        self.kind = kind
        self.answers = {**answers, **self.answers}
        self.talk.say(
            _("{count} answers of an earlier run are taken up again (from {path})").format(
                count=len(answers), path=self.draft.path
            )
        )

    def _ask_all(self) -> None:
        while not self.kind:
            self._ask_kind()
        fields = fields_of(self.kind)
        self._ask_field(fields["confidentiality"])
        described = Description.checked(self.kind, self.answers)
        if not self._may_be_kept():
            if self.draft is not None:
                self.draft.remove()
            self.talk.say(
                _("Nothing of these answers is written to the disk before they are used.")
            )
        self.allow(described)
        self._keep()
        required = Description(kind=self.kind).required()
        optional = [key for key in fields if key not in required]
        for key in (*required, *optional):
            condition = fields[key].owed_if
            if condition and self.answers.get(condition[0]) != condition[1]:
                continue
            self._ask_field(fields[key])
            self._keep()

    def _ask_kind(self) -> None:
        answer = self.talk.ask("* {question} [kind]".format(question=_("What is it?")))
        if answer == _END:
            raise KeyboardInterrupt
        found = _chosen(KINDS, answer.lower())
        if found:
            self.kind = found
            return
        for one in KINDS:
            self.talk.say(f"  {one}: {kind_label(one)}")

    def _may_be_kept(self) -> bool:
        """Only what is known not to be confidential; nothing of a statement."""
        known = "confidentiality" in self.answers and self.kind not in ("", "statement")
        return (
            self.draft is not None
            and known
            and not is_held_back(Description(kind=self.kind, values=self.answers))
        )

    def _keep(self) -> None:
        if self.draft is not None and self._may_be_kept():
            self.draft.save(self.kind, self.answers)

    # -- one field

    def _ask_field(self, one: Field) -> None:
        """What was answered counts, wherever within it the questions are ended."""
        if one.key in self.answers:
            return
        if one.type in ("table", "tables"):
            self.talk.say(f"{_mark(one)}{_(one.label)} [{one.key}]:")
        found: Any = {} if one.type == "table" else []
        try:
            if one.type == "table":
                self._table(one, found)
            elif one.type == "tables":
                self._tables(one, found)
            elif one.type == "texts":
                while (text := self._simple(one)) is not None:
                    found.append(text)
            else:
                found = self._simple(one)
        finally:
            if found not in (None, {}, []):
                self.answers[one.key] = found

    def _tables(self, one: Field, found: list[dict[str, Any]]) -> None:
        """Entries, until the first field of one is left out."""
        while True:
            entry: dict[str, Any] = {}
            try:
                self._table(one, entry, ends=True)
            finally:
                if entry:
                    found.append(entry)
            if not entry:
                return

    def _table(self, one: Field, table: dict[str, Any], *, ends: bool = False) -> None:
        """Fill a table. ``ends``: its first field left out means that there is none."""
        for number, inner in enumerate(one.fields):
            value = self._simple(inner, indent="  ")
            if value is not None:
                table[inner.key] = value
            elif ends and number == 0:
                return

    def _simple(self, one: Field, indent: str = "") -> Any:
        choices = f" ({', '.join(one.choices)})" if one.choices else ""
        question = f"{indent}{_mark(one)}{_(one.label)}{choices} [{one.key}]:"
        while True:
            answer = self.talk.ask(question)
            if not answer:
                return None
            if answer == _END:
                raise _EndError
            if answer == _HELP:
                for line in help_lines(one):
                    self.talk.say(f"{indent}  {line}")
                continue
            try:
                return checked_answer(one, answer)
            except FieldError as problem:
                hint = f" {problem.hint}" if problem.hint else ""
                self.talk.say(f"{indent}  {problem.message}.{hint}")


def _mark(one: Field) -> str:
    return "* " if one.required else ""


def help_lines(one: Field) -> list[str]:
    """What a question means, with an example."""
    example = example_of(one)
    shown = example[0] if isinstance(example, list) else example
    return [explain(one), _("For example: {example}").format(example=shown)]


def checked_answer(one: Field, answer: str) -> Any:
    """The value that was meant; of a list, one of its texts. Raises FieldError."""
    value: Any = answer
    if one.type == "count" and answer.isascii() and answer.isdecimal() and len(answer) < 20:
        value = int(answer)
    elif one.type == "choice":
        value = _chosen(one.choices, answer.lower()) or answer
    found = check_value(one, [value] if one.type == "texts" else value)
    return found[0] if one.type == "texts" else found


def _chosen(choices: tuple[str, ...], answer: str) -> str:
    """The choice that was meant: its name, or the beginning of one alone. Who may see it is
    never guessed.
    """
    if answer in choices:
        return answer
    if _YES.get(answer) in choices:
        return _YES[answer]
    near = [one for one in choices if answer and one.startswith(answer)]
    return near[0] if len(near) == 1 and choices != CONFIDENTIALITIES else ""
