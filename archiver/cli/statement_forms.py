"""A statement's texts: where they come from, how messages call them, what is left of them.

Job: forms and questions into a statement; plain files that still lie where they were. Limits:
what stands in a form is never shown where nobody sits at a terminal.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archiver.cli.output import Output
from archiver.errors import ArchiverError, UsageError
from archiver.i18n import _, ngettext
from archiver.secrecy import sits_there

if TYPE_CHECKING:
    from datetime import datetime

    from archiver.describe import DescriptionError
    from archiver.statement import Plain, Statement

__all__ = [
    "Asked",
    "gather",
    "settle_originals",
    "tell_form",
    "tell_originals",
    "without_words",
]

_MAX_FORM_BYTES = 1 << 20
_MAX_LIST_BYTES = 1 << 20
_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for: texts as they were given."""

    case: str
    files: tuple[str, ...]
    files_from: str
    form: str
    identity: str
    no_identity: bool

    def check(self) -> None:
        """Raises UsageError."""
        streams = [self.form, self.identity, self.files_from, *self.files].count("-")
        if streams > 1:
            raise UsageError(
                _("standard input can be only one of them"),
                hint=_("Give the others as files, or as /dev/fd/3."),
            )
        if self.identity and self.no_identity:
            raise UsageError(
                _("--identity doesn't go with --no-identity"),
                hint=_("See 'archiver statement new --help'."),
            )


def gather(asked: Asked, now: datetime) -> tuple[Statement, list[tuple[Plain, str]]]:
    """The statement, and the forms (and the list of files) that it was read from, with their
    digests.
    """
    from contextlib import nullcontext

    from archiver.cli.asking import Terminal, ask_files, ask_identity
    from archiver.statement import Statement

    asks = not asked.form or not (asked.identity or asked.no_identity)
    forms: list[tuple[Plain, str]] = []
    paths = _paths(asked, forms)
    with Terminal() if asks else nullcontext() as terminal:
        description = _description(asked, terminal, now, forms)
        identity = None
        if asked.identity:
            from archiver.statement.envelope import read_identity_form

            data, place = _read_form(asked.identity, _("the identity form"), forms)
            identity = read_identity_form(data, place)
        elif not asked.no_identity:
            assert terminal is not None
            identity = ask_identity(terminal)
        if not paths and terminal is not None and not asked.form:
            paths = ask_files(terminal)
    plains = tuple(_named(path, number) for number, path in enumerate(paths, start=1))
    return Statement(description=description, identity=identity, files=plains), forms


def _named(path: str, number: int) -> Plain:
    from archiver.statement import Plain
    from archiver.statement.sources import plain_file

    return Plain("", _("standard input")) if path == "-" else plain_file(path, number)


def _paths(asked: Asked, forms: list[tuple[Plain, str]]) -> list[str]:
    if not asked.files_from:
        return list(asked.files)
    data, _place = _read_form(asked.files_from, _("the list of files"), forms, _MAX_LIST_BYTES)
    separator = b"\0" if b"\0" in data else b"\n"
    listed = [os.fsdecode(one) for one in data.split(separator) if one]
    # In a list "-" is a file: standard input may be the list itself.
    return [*asked.files, *("./-" if one == "-" else one for one in listed)]


def _description(asked: Asked, terminal: Any, now: datetime, forms: list[tuple[Plain, str]]) -> Any:
    """The description: of the form, or of what is answered. Raises ArchiverError."""
    from archiver.cli.asking import ask_statement
    from archiver.describe import Description, DescriptionError, read_form
    from archiver.describe.moment import recorded_now

    recorded = recorded_now(now)
    known = {"case": asked.case}
    if not asked.form:
        values = ask_statement(terminal, known)
        values.setdefault("confidentiality", "confidential")
        return Description.checked("statement", values, recorded)
    data, place = _read_form(asked.form, _("the form"), forms)
    try:
        found = read_form(data, place, kind="statement", recorded=recorded)
    except DescriptionError as error:
        if sits_there():
            raise
        raise without_words(error, place) from None
    values = {"confidentiality": "confidential", **known, **found.values}
    if values["case"] != asked.case:
        raise UsageError(
            _("the form is of another case than --case says"),
            hint=_("Correct the form, or name its case with --case."),
        )
    return Description.checked("statement", values, recorded)


def without_words(error: DescriptionError, place: str) -> UsageError:
    """What is wrong with a form, without a word of it: the message may quote what was typed."""
    first = error.mistakes[0]
    reason, why = first.plain, _("Run it at a terminal to see why.")
    return UsageError(
        _("{place}:{line}: {reason}").format(
            place=place, line=first.line, reason=reason or _("this can't be taken")
        ),
        hint=first.hint or (_(error.usual_hint) if reason else why),
    )


def _read_form(
    path: str, what: str, forms: list[tuple[Plain, str]], limit: int = _MAX_FORM_BYTES
) -> tuple[bytes, str]:
    """A form's bytes, and how messages call it."""
    from archiver.statement import Plain

    data = _read(path, what, limit)
    label = path if sits_there() and path != "-" else what
    if path != "-" and os.path.isfile(path):
        forms.append((Plain(path, label), hashlib.sha256(data).hexdigest()))
    return data, label


def _read(path: str, what: str, limit: int) -> bytes:
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        place = path if sits_there() else what
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(
            _("{path}: {reason}").format(path=place, reason=reason),
            hint=_("Check the spelling of the path."),
        ) from None
    if len(data) > limit:
        raise UsageError(_("{place} is too long for what it should be").format(place=what))
    return data


# -- what still lies in clear


def settle_originals(
    vault: Any,
    item: str,
    originals: Sequence[tuple[Plain, str]],
    output: Output,
    *,
    remove: bool | None,
) -> None:
    """Plain files that still lie where they were: told, and removed where that is wanted;
    ``remove`` is None for a command that has no option for it.
    """
    left = _left(originals)
    if not left:
        return
    if not remove:
        tell_originals(left, output)
    if not remove and not _wants_removal(output):
        if not output.quiet:
            given = _("Give --remove-original, or remove them yourself, copies too.")
            output.hint(_("Remove them yourself, copies too.") if remove is None else given)
        return
    _remove(vault, item, left, output)
    text = ngettext("{count} plain file was removed", "{count} plain files were removed", len(left))
    output.say(text.format(count=len(left)))
    output.hint(
        _(
            "To remove is not to erase: on an SSD or a stick, in snapshots and backups the bytes"
            " may stay. Only a disk that was encrypted all along keeps them from others."
        )
    )


def _left(originals: Sequence[tuple[Plain, str]]) -> list[tuple[Plain, str]]:
    """Each once, though it may have been given twice."""
    by_path = {
        os.path.abspath(plain.path): (plain, digest)
        for plain, digest in originals
        if plain.path  # what came through standard input lies nowhere
    }
    return [one for path, one in by_path.items() if os.path.lexists(path)]


def tell_form(path: str, output: Output) -> None:
    """The form that something secret was described with says in clear what the item says."""
    from archiver.statement import Plain

    if path:
        tell_originals([(Plain(path, path if sits_there() else _("the form")), "")], output)


def tell_originals(originals: Sequence[tuple[Plain, str]], output: Output) -> None:
    """Plain files that still lie where they were: told, at most a screenful of them."""
    from archiver.cli.watch_status import is_watched

    left = _left(originals)
    for plain, _digest in left[:_TOLD]:
        text = _("the plain original still lies there: {file}")
        if is_watched(plain.path):
            text = _("the plain original still lies in a watched folder: {file}")
        output.warning(text.format(file=plain.label))
    if len(left) > _TOLD:
        output.warning(_("and {count} more like these").format(count=len(left) - _TOLD))


def _remove(vault: Any, item: str, left: Sequence[tuple[Plain, str]], output: Output) -> None:
    """All that can be; then the first error is raised. Raises ArchiverError."""
    from archiver.statement import remove_original

    problems = []
    for plain, digest in left:
        try:
            remove_original(vault, item, plain, digest)
        except ArchiverError as error:
            problems.append(error)
    for problem in problems[1:]:
        output.warning(problem.message)
    if problems:
        raise problems[0]


def _wants_removal(output: Output) -> bool:
    """Ask who sits there, if somebody does."""
    from archiver.cli.asking import Terminal

    if output.quiet or not sits_there():
        return False
    try:
        with Terminal() as terminal:
            return terminal.confirm(_("Remove them now?"))
    except (UsageError, KeyboardInterrupt):
        return False
