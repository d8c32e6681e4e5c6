"""``--describe`` and ``--ask`` of the commands that make bags.

Job: options in, a description out, checked before anything is copied. Limits: what becomes
of it in a bag is said by :mod:`archiver.seal.described`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from archiver.i18n import _
from archiver.secrecy import guarded, harden, sits_there

if TYPE_CHECKING:
    from archiver.cli.draft import Draft
    from archiver.describe import Description

__all__ = [
    "Described",
    "ask_option",
    "describe_option",
    "find_description",
    "load_quietly",
    "without_names",
    "without_path",
]


def describe_option() -> Any:
    """``--describe``."""
    text = _("What is known of it: a form in TOML (see 'archiver describe new').")
    return typer.Option("--describe", metavar="FILE", help=text)


def ask_option() -> Any:
    """``--ask``."""
    text = _("Ask at the terminal for what the form doesn't say, field by field.")
    return typer.Option("--ask", help=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What was said of something, and its tag files; ``used`` is called once they are in a
    bag.
    """

    description: Description | None = None
    files: dict[str, bytes]
    draft: Draft | None = None
    secret: bool = False
    """Then there are no files: what is said is to be encrypted."""

    def used(self) -> None:
        """The draft isn't needed any more."""
        if self.draft is not None:
            self.draft.remove()


def find_description(
    form: str,
    *,
    ask: bool,
    command: str,
    paths: Iterable[str],
    now: datetime,
    case: str = "",
    allow: Callable[[Description], object] = lambda _description: None,
    encrypts: bool = False,
) -> Described:
    """What ``--describe`` and ``--ask`` say. ``allow`` raises where what it says can't be so;
    ``encrypts``: it may be secret. Raises ArchiverError.
    """
    if not form and not ask:
        return Described(files={})
    from archiver.seal.described import description_files

    def files_of(description: Description) -> dict[str, bytes]:
        """None of what is encrypted; raises where it can be neither encrypted nor in clear."""
        return {} if encrypts and description.is_secret else description_files(description)

    given = load_quietly(form, now, case=case) if form else None
    if given is not None:
        files_of(given)
    draft = None
    if ask:
        given, draft = _asked(given, command, tuple(paths), case, now, files_of)
    assert given is not None
    files = files_of(given)
    allow(given)
    secret = encrypts and given.is_secret
    return Described(description=given, files=files, draft=draft, secret=secret)


def load_quietly(form: str, now: datetime, *, kind: str = "", case: str = "") -> Description:
    """The form. What is wrong with one that may be that of something secret is told without a
    word of it to who isn't at a terminal. Raises ArchiverError.
    """
    from archiver.cli.statement_forms import without_words
    from archiver.describe import DescriptionError
    from archiver.seal.described import load_form

    try:
        return load_form(form, now, kind=kind, case=case)
    except DescriptionError as error:
        if sits_there() or not _may_be_secret(form):
            raise
        raise without_words(error, _("the form")) from None


def _may_be_secret(form: str) -> bool:
    from archiver.describe.description import MAX_DESCRIPTION_BYTES
    from archiver.describe.secrecy import may_be_secret
    from archiver.filesystem import read_regular

    try:
        return may_be_secret(read_regular(os.path.realpath(form), MAX_DESCRIPTION_BYTES + 1))
    except OSError:
        return False


@contextmanager
def without_names(form: str) -> Iterator[None]:
    """What stands against the sources of what may be secret is told without their names to
    who isn't at a terminal.
    """
    from archiver.seal import RefusedError

    try:
        yield
    except RefusedError as error:
        if sits_there() or not form or not _may_be_secret(form):
            raise
        raise error.without_names() from None


@contextmanager
def without_path() -> Iterator[None]:
    """What is to lie nowhere in clear is told without its name to who isn't at a terminal."""
    from archiver.errors import SourceError
    from archiver.seal.plain import PlainSourceError

    try:
        yield
    except PlainSourceError as error:
        if sits_there():
            raise
        raise SourceError(error.reason, hint=error.hint) from None


def _asked(
    given: Description | None,
    command: str,
    paths: tuple[str, ...],
    case: str,
    now: datetime,
    allow: Callable[[Description], object],
) -> tuple[Description, Draft]:
    from archiver.cli.ask import Interview, Talk
    from archiver.cli.draft import draft_for
    from archiver.describe.moment import recorded_now

    harden()  # what is typed may turn out to be secret
    talk, draft = Talk(), draft_for(command, case=case, paths=paths)
    answers = dict(given.values) if given else {"case": case} if case else {}
    interview = Interview(talk, draft, allow, given.kind if given else "", dict(answers))
    with guarded():
        return interview.run(recorded_now(now)), draft
