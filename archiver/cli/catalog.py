"""``archiver catalog rebuild | check``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.cli.options import json_option
from archiver.cli.output import Output, printable
from archiver.cli.vault import catalog_option, find_vault, vault_option
from archiver.errors import CatalogError
from archiver.i18n import _

__all__ = ["catalog_app"]


def catalog_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver catalog``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    _add_rebuild(app)
    _add_check(app)
    return app


def _add_rebuild(app: typer.Typer) -> None:
    @app.command(
        help=_("Make the index anew from the custody logs: items, replicas, checks, incidents."),
        epilog=_("Example: archiver catalog rebuild"),
    )
    def rebuild(
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.vault.rebuild import rebuild_catalog

        opened, output = find_vault(vault, catalog), Output()
        rebuilt = rebuild_catalog(opened, datetime.now(UTC))
        for error in rebuilt.broken:
            output.warning(error.message)
        if as_json:
            output.json(
                {
                    "schema": "archiver/catalog-rebuild/1",
                    "path": opened.catalog,
                    "events": rebuilt.events,
                    "broken_logs": [error.message for error in rebuilt.broken],
                }
            )
        else:
            text = _("{path}: made from {count} events")
            output.line(printable(text.format(path=opened.catalog, count=rebuilt.events)))
        return 1 if rebuilt.broken else 0


def _add_check(app: typer.Typer) -> None:
    @app.command(
        help=_("Compare the index with what the custody logs say, row by row."),
        epilog=_("Example: archiver catalog check"),
    )
    def check(
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.vault.rebuild import check_catalog

        opened, output = find_vault(vault, catalog), Output()
        report = check_catalog(opened)
        if as_json:
            output.json(
                {
                    "schema": "archiver/catalog-check/1",
                    "path": opened.catalog,
                    "right": report.is_right,
                    "problem": report.problem or None,
                    "differing": list(report.differing),
                    "amendments_not_intact": [path for path, _problem in report.amendments],
                }
            )
        for path, problem in report.amendments:
            output.warning(f"{path}: {problem}")
        if not report.is_right:
            raise CatalogError(
                _("the catalog {path} is not what the logs say: {what}").format(
                    path=opened.catalog, what=report.problem or ", ".join(report.differing)
                ),
                hint=_("Make it anew with 'archiver catalog rebuild': nothing is lost by that."),
            )
        if not as_json:
            output.line(printable(_("{path}: as the logs say").format(path=opened.catalog)))
        return 1 if report.amendments else 0
