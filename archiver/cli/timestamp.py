"""``archiver timestamp request | import``: time stamps for a machine without a network."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from archiver.cli.bag_sign import refuse_unsigned
from archiver.cli.options import json_option, tsa_option, tsa_root_option
from archiver.cli.output import Output, printable
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["timestamp_app"]


def timestamp_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver timestamp``."""
    app = typer.Typer(
        help=summary,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings=settings,
    )
    _add_request(app)
    _add_import(app)
    return app


def _add_request(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Copy the requests that wait in bags to a directory, with a script that sends them."
        ),
        epilog=_("Example: archiver timestamp request case-001 -o /media/stick/requests"),
    )
    def request(
        bags: Annotated[
            list[str],
            typer.Argument(metavar="BAG...", help=_("Bags in directories."), show_default=False),
        ],
        output: Annotated[
            str, typer.Option("--output", "-o", metavar="DIR", help=_("Where to put the requests."))
        ],
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.bag.stage import refuse_within_bag
        from archiver.cli.keys import stamp_options
        from archiver.seal.outbox import lay_out_requests

        for bag in bags:
            refuse_unsigned(bag)
        refuse_within_bag(output)
        if os.path.lexists(output) and not os.path.isdir(output):
            raise UsageError(
                _("{path} is not a directory").format(path=output),
                hint=_("Name a directory for the requests; it is made if it isn't there."),
            )
        written = lay_out_requests(bags, output, stamp_options(tsa or [], []))
        out = Output()
        if as_json:
            out.json(
                {
                    "schema": "archiver/timestamp-request/1",
                    "requests": [{"bag": bag, "file": file} for bag, file in written],
                }
            )
            return 0
        for bag, file in written:
            out.line(printable(f"{file}  {bag}"))
        if not written:
            out.line(_("nothing waits for a time stamp"))
        else:
            out.say(_("On a machine with a network: sh send.sh URL. Then bring the answers back."))
        return 0


def _add_import(app: typer.Typer) -> None:
    @app.command(
        "import",
        help=_(
            "Bring answers back into the bags they belong to. Imprint, nonce and signature are"
            " checked; nothing is overwritten."
        ),
        epilog=_("Example: archiver timestamp import /media/stick/requests case-001"),
    )
    def import_(
        answers: Annotated[
            str,
            typer.Argument(
                metavar="ANSWERS",
                help=_("A directory with .tsr files, or one."),
                show_default=False,
            ),
        ],
        bags: Annotated[
            list[str],
            typer.Argument(metavar="BAG...", help=_("Bags in directories."), show_default=False),
        ],
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.cli.keys import stamp_options
        from archiver.seal.outbox import import_answers

        for bag in bags:
            refuse_unsigned(bag)
        roots = stamp_options([], tsa_root or []).roots
        found = import_answers([answers], bags, roots, datetime.now(UTC))
        if not found:
            raise UsageError(
                _("there is no answer (.tsr) in {path}").format(path=answers),
                hint=_("On a machine with a network: sh send.sh URL."),
            )
        out = Output()
        if not roots and any(one.signature for one in found):
            out.warning(_("whose stamps they are was not checked: no --tsa-root was given"))
        return _tell_imported(found, out, as_json=as_json)


def _tell_imported(found: Any, out: Output, *, as_json: bool) -> int:
    if as_json:
        out.json(
            {
                "schema": "archiver/timestamp-import/1",
                "answers": [
                    {
                        "answer": one.answer,
                        "bag": one.bag or None,
                        "signature": one.signature or None,
                        "gen_time": one.gen_time.isoformat() if one.gen_time else None,
                        "problem": one.problem or None,
                    }
                    for one in found
                ],
            }
        )
    for one in found:
        if one.stray:
            out.warning(f"{one.answer}: {one.problem}")
        elif one.problem:
            out.error(f"{one.answer}: {one.problem}", "")
        elif not as_json:
            time = one.gen_time.isoformat(" ", "seconds") if one.gen_time else ""
            text = (
                _("{bag}: has it already: {time}")
                if one.already
                else _("{bag}: time stamp: {time}")
            )
            out.line(printable(text.format(bag=one.bag, time=time)))
    refused = [one for one in found if one.problem and not one.stray]
    if refused or all(one.problem for one in found):
        out.hint(_("Nothing was changed for the answers that were refused."))
        return 5
    return 0
