"""``archiver incident list | explain``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.cli.options import json_option
from archiver.cli.output import Output, printable
from archiver.cli.vault import (
    RESULTS,
    catalog_option,
    check_reason,
    find_item,
    find_vault,
    tell_broken,
    vault_option,
)
from archiver.errors import NotFoundError
from archiver.i18n import N_, _

__all__ = ["incident_app"]

_STATES = {"open": N_("open"), "explained": N_("explained"), "closed": N_("closed")}


def incident_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver incident``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    _add_list(app)
    _add_explain(app)
    return app


def _state(one: Any) -> str:
    if one.explained:
        return "explained"
    return "open" if one.closed_at is None else "closed"


def _add_list(app: typer.Typer) -> None:
    @app.command(
        "list",
        help=_("List the incidents that are open, or all that there ever were."),
        epilog=_("Example: archiver incident list --all"),
    )
    def list_incidents(
        everything: Annotated[
            bool, typer.Option("--all", help=_("Those that are closed or explained too."))
        ] = False,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.vault.records import reading

        opened, output = find_vault(vault, catalog), Output()
        with reading(opened) as records:
            found = records.catalog.incidents(only_open=not everything)
            code = tell_broken(records, output)
        if as_json:
            rows = (_incident_json(one) for one in found)
            output.json_list({"schema": "archiver/incident-list/1"}, "incidents", rows)
            return code
        for one in found:
            since = one.opened_at.isoformat(" ", "seconds")
            result, state = _(RESULTS[one.result]), _(_STATES[_state(one)])
            output.line(printable(f"{one}: {result}, {since}, {state}"))
        return code


def _incident_json(one: Any) -> dict[str, object]:
    return {
        "id": one.item,
        "case": one.case,
        "replica": one.place or None,
        "result": one.result,
        "state": _state(one),
        "opened_at": one.opened_at.isoformat(),
        "closed_at": one.closed_at.isoformat() if one.closed_at else None,
    }


def _add_explain(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Say why a copy that is not good is to stay so. It is no longer counted as open, until"
            " a check finds something else. The reason stands in the log: no names."
        ),
        epilog=_("Example: archiver incident explain caso-014-E-0001 --reason 'test bag'"),
    )
    def explain(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help=_("Why."))],
        replica: Annotated[
            str, typer.Option("--replica", metavar="NAME", help=_("Of which replica."))
        ] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
    ) -> int:
        from datetime import UTC, datetime

        from archiver.custody import Event
        from archiver.vault.records import writing

        check_reason(reason)
        opened = find_vault(vault, catalog)
        with writing(opened, "incident explain", 10.0) as records:
            case = find_item(records, item).case
            mine = [one for one in records.catalog.incidents() if one.item == item]
            if replica not in [one.place for one in mine]:
                raise NotFoundError(
                    _("no incident of {item} is open there").format(item=item),
                    hint=_("See 'archiver incident list'."),
                )
            detail = {"explained": reason, "item": item} | ({"replica": replica} if replica else {})
            event = Event(type="quality review", at=datetime.now(UTC), detail=detail)
            records.append(case, [event])
        Output().line(printable(_("{item}: explained").format(item=item)))
        return 0
