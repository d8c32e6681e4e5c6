"""``--describe`` and ``--ask`` of the commands that make bags.

Job: options in, a description out, checked before anything is copied. Limits: what becomes
of it in a bag is said by :mod:`archiver.seal.described`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from archiver.i18n import _

if TYPE_CHECKING:
    from archiver.cli.draft import Draft
    from archiver.describe import Description

__all__ = ["Described", "ask_option", "describe_option", "find_description"]


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
    ``encrypts``: what a form says may be secret. Raises ArchiverError.
    """
    if not form and not ask:
        return Described(files={})
    from archiver.seal.described import description_files, load_form

    given = load_form(form, now, case=case) if form else None
    if given is not None and given.is_secret and encrypts and not ask:
        allow(given)
        return Described(description=given, files={}, secret=True)
    if given is not None:
        description_files(given)
    draft = None
    if ask:
        given, draft = _asked(given, command, tuple(paths), case, now)
    assert given is not None
    files = description_files(given)
    allow(given)
    return Described(description=given, files=files, draft=draft)


def _asked(
    given: Description | None, command: str, paths: tuple[str, ...], case: str, now: datetime
) -> tuple[Description, Draft]:
    from archiver.cli.ask import Interview, Talk
    from archiver.cli.draft import draft_for
    from archiver.describe.moment import recorded_now
    from archiver.seal.described import description_files

    talk, draft = Talk(), draft_for(command, case=case, paths=paths)
    answers = dict(given.values) if given else {"case": case} if case else {}
    interview = Interview(
        talk, draft, description_files, given.kind if given else "", dict(answers)
    )
    return interview.run(recorded_now(now)), draft
