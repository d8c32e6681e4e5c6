"""``archiver search``."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from archiver.cli.options import json_option
from archiver.cli.output import Output, printable
from archiver.cli.vault import (
    catalog_option,
    find_item,
    find_vault,
    refuse_unknown_case,
    tell_broken,
    vault_option,
)
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["add_search"]

_DAY = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")
_MANY = 2000


def add_search(app: typer.Typer, summary: str) -> None:
    """``search``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver search 'niñ*' '\"plaza de armas\"' --since 2026-03"),
    )
    def search(
        words: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[WORDS...]",
                help=_("What to look for: all of these words. None where a filter is given."),
                show_default=False,
            ),
        ] = None,
        case: Annotated[str, typer.Option("--case", metavar="ID", help=_("Only this case."))] = "",
        kind: Annotated[
            str, typer.Option("--kind", metavar="KIND", help=_("Only items of this kind."))
        ] = "",
        since: Annotated[
            str,
            typer.Option(
                "--since",
                metavar="DAY",
                help=_("Not before this day, month or year: when it happened, else was collected."),
            ),
        ] = "",
        until: Annotated[
            str,
            typer.Option("--until", metavar="DAY", help=_("Not after this day, month or year.")),
        ] = "",
        format_: Annotated[
            str,
            typer.Option(
                "--format",
                metavar="FORMAT",
                help=_("With a file of this format: fmt/199, video/mp4, video/*."),
            ),
        ] = "",
        made_from: Annotated[
            str,
            typer.Option(
                "--made-from", metavar="ID", help=_("Only what was made from this item itself.")
            ),
        ] = "",
        confidentiality: Annotated[
            str,
            typer.Option(
                "--confidentiality",
                metavar="WORD",
                help=_("Only: public, restricted, confidential, sealed."),
            ),
        ] = "",
        limit: Annotated[
            int, typer.Option("--limit", metavar="N", min=1, help=_("At most N answers."))
        ] = 20,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.search import Filter
        from archiver.search import search as find
        from archiver.vault.records import reading

        wanted = Filter(
            case=case,
            kind=_one_of(kind, _kinds()),
            since=_day(since, first=True),
            until=_day(until, first=False),
            format=format_,
            made_from=made_from,
            confidentiality=_one_of(confidentiality, _confidentialities()),
        )
        opened, output = find_vault(vault, catalog), Output()
        given = [word.encode("utf-8", "replace").decode() for word in words or []]
        refuse_unknown_case(opened, case)
        with reading(opened) as records:
            if made_from:
                find_item(records, made_from)
            answer = find(
                opened, records, given, wanted, limit=min(limit, 10_000), tell=_Told(output).tell
            )
            code = tell_broken(records, output)
        for item, problem in answer.problems:
            text = _("{item} is not intact, and was not searched: {problem}")
            output.warning(text.format(item=item, problem=problem))
        if as_json:
            output.json(_as_json(answer))
        else:
            _tell(answer, output)
        return 1 if answer.problems else code


class _Told:
    """Says once that it takes a while."""

    def __init__(self, output: Output) -> None:
        self._output, self._count = output, 0

    def tell(self, count: int) -> None:
        if self._count < _MANY <= self._count + count:
            self._output.say(_("reading descriptions for the index of words"))
        self._count += count


def _kinds() -> tuple[str, ...]:
    from archiver.describe import KINDS

    return KINDS


def _confidentialities() -> tuple[str, ...]:
    from archiver.describe.fields import CONFIDENTIALITIES

    return CONFIDENTIALITIES


def _one_of(word: str, known: tuple[str, ...]) -> str:
    from archiver.tomlfile import hint_for

    if word and word not in known:
        raise UsageError(_("{word!r} is not known").format(word=word), hint=hint_for(word, known))
    return word


def _day(text: str, *, first: bool) -> str:
    """The first or last day of what is asked for. Raises UsageError."""
    from archiver.search import days_of

    if text and not _DAY.fullmatch(text):
        raise UsageError(
            _("{text!r} is no day").format(text=text),
            hint=_("Write a day, a month or a year: 2026-03-01, 2026-03, 2026."),
        )
    return days_of(text)[0 if first else 1]


def _as_json(answer: Any) -> dict[str, object]:
    return {
        "schema": "archiver/search/1",
        "found": [
            {
                "id": one.item,
                "case": one.case,
                "kind": one.kind,
                "secret": one.secret,
                "confidentiality": one.confidentiality or None,
                "first_day": one.first_day or None,
                "last_day": one.last_day or None,
                "title": one.title or None,
                "snippet": one.snippet or None,
            }
            for one in answer.found
        ],
        "more": answer.more,
        "not_intact": [{"id": item, "problem": text} for item, text in answer.problems],
    }


def _tell(answer: Any, output: Output) -> None:
    for one in answer.found:
        title = _("(secret)") if one.secret else one.title
        day = one.first_day if one.first_day == one.last_day else one.first_day[:4]
        head = f"{one.item:<28} {one.kind:<12} {day:<10}  {title}"
        output.line(printable(head).rstrip())
        if one.snippet and not one.secret and one.snippet.strip("[]") != one.title:
            output.line("    " + printable(" ".join(one.snippet.split())))
    if not answer.found:
        output.say(_("nothing was found"))
    if answer.more:
        output.say(_("There is more: give --limit N, or more words."))
