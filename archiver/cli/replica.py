"""``archiver replica add | list | remove | sync``."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from archiver.cli.options import json_option
from archiver.cli.output import Output, printable
from archiver.cli.vault import catalog_option, find_vault, tell_broken, vault_option
from archiver.errors import NotFoundError
from archiver.i18n import _

__all__ = ["replica_app"]


def replica_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver replica``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    for add in (_add_add, _add_list, _add_remove, _add_sync):
        add(app)
    return app


def _named(vault: Any, name: str) -> Any:
    for one in vault.replicas():
        if one.name == name:
            return one
    raise NotFoundError(
        _("there is no replica named {name}").format(name=name),
        hint=_("See 'archiver replica list'."),
    )


def _add_add(app: typer.Typer) -> None:
    @app.command(
        help=_("Add a place for replicas: a directory on another disk, or a mounted share."),
        epilog=_("Example: archiver replica add second-disk /media/disk2/archive"),
    )
    def add(
        name: Annotated[
            str, typer.Argument(metavar="NAME", help=_("What to call it."), show_default=False)
        ],
        directory: Annotated[
            str,
            typer.Argument(metavar="DIR", help=_("A new or empty directory."), show_default=False),
        ],
        location: Annotated[
            str,
            typer.Option(
                "--location", metavar="TEXT", help=_("Where in the world it is, for the summary.")
            ),
        ] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
    ) -> int:
        from archiver.replicate import add_replica

        opened = find_vault(vault, catalog)
        place = add_replica(opened, name, directory, 10.0, location=location)
        output = Output()
        if os.stat(place.directory).st_dev == os.stat(opened.path).st_dev:
            output.warning(
                _("{name} is on the vault's disk, and is lost with it").format(name=name)
            )
        text = _("{name}: added; now run: archiver replica sync")
        output.line(printable(text.format(name=name)))
        return 0


def _add_list(app: typer.Typer) -> None:
    @app.command(
        "list",
        help=_("List the places, whether they can be reached, and how many good copies they hold."),
        epilog=_("Example: archiver replica list"),
    )
    def list_replicas(
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.vault.records import reading

        opened, output = find_vault(vault, catalog), Output()
        rows = []
        with reading(opened) as records:
            bags, _files, _size = records.catalog.totals()
            counts = records.catalog.counts()
        for place in opened.replicas():
            results = counts.get(place.name, {"results": {}})["results"]
            copies = sum(results.values())
            rows.append(
                {
                    "name": place.name,
                    "directory": place.directory,
                    "location": place.location or None,
                    "unreachable": place.reachable() or None,
                    "good": results.get("good", 0),
                    "not_good": copies - results.get("good", 0),
                    "pending": bags - copies,
                }
            )
        if as_json:
            output.json({"schema": "archiver/replica-list/1", "replicas": rows})
            return 0
        for row in rows:
            text = _("{name}: {good} good, {bad} not good, {pending} pending; {place}")
            told = text.format(
                name=row["name"],
                good=row["good"],
                bad=row["not_good"],
                pending=row["pending"],
                place=row["unreachable"] or row["directory"],
            )
            output.line(printable(told))
        return 0


def _add_remove(app: typer.Typer) -> None:
    @app.command(
        help=_("Forget a place. What lies there stays as it is."),
        epilog=_("Example: archiver replica remove second-disk"),
    )
    def remove(
        name: Annotated[
            str, typer.Argument(metavar="NAME", help=_("Which one."), show_default=False)
        ],
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
    ) -> int:
        opened = find_vault(vault, catalog)
        with opened.locked("replica remove", 10.0):
            gone = _named(opened, name)
            opened.set_replicas([one for one in opened.replicas() if one.name != name])
        text = _("{name} is forgotten; its bags lie in {path} as before")
        Output().line(printable(text.format(name=name, path=gone.directory)))
        return 0


def _add_sync(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Copy to the replicas what they don't have yet. A copy counts once it was read back"
            " and is what was sealed; nothing is ever removed or written over."
        ),
        epilog=_("Example: archiver replica sync"),
    )
    def sync(
        names: Annotated[
            list[str] | None,
            typer.Argument(metavar="[NAME...]", help=_("Only these."), show_default=False),
        ] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each."))
        ] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.cli.progress import progress_for
        from archiver.replicate import sync as copy
        from archiver.vault.records import reading

        opened, output = find_vault(vault, catalog), Output()
        places = [_named(opened, name) for name in names] if names else opened.replicas()
        if not places:
            output.hint(_("There is no replica yet; see 'archiver replica add --help'."))
        failed = False
        reached, idle = [], {one.name for one in places}
        for place in places:
            problem = place.reachable()
            if problem:
                failed = True
                idle.discard(place.name)
                output.warning(f"{place.name}: {problem}")
            else:
                reached.append(place)
        progress = progress_for(quiet=as_json)
        for one in copy(opened, reached, lambda: datetime.now(UTC), progress=progress):
            progress.clear()
            failed = failed or bool(one.problem)
            idle.discard(one.replica)
            if as_json:
                output.json(
                    {
                        "schema": "archiver/replica-sync-item/1",
                        "id": one.item,
                        "replica": one.replica,
                        "problem": one.problem or None,
                    }
                )
                continue
            told = f"{one.item} ({one.replica}): {one.problem or _('good')}"
            output.line(printable(told))
        if not as_json:
            for name in sorted(idle):
                output.line(_("{name}: nothing to copy").format(name=name))
        with reading(opened) as records:
            broken = tell_broken(records, output)
        return broken or (5 if failed else 0)
