"""``archiver show``: one item, what is said of it, and what became of its copies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from archiver.cli.agekeys import begin_in_secret, identities_option, load_identities
from archiver.cli.options import json_option
from archiver.cli.output import Output, printable
from archiver.cli.vault import (
    RESULTS,
    STATES,
    catalog_option,
    find_item,
    find_vault,
    item_json,
    vault_option,
)
from archiver.errors import UsageError
from archiver.i18n import _
from archiver.secrecy import guarded

__all__ = ["add_show"]

_MOST = 200
"""Lines of what an item was made from."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the vault knows of an item."""

    item: Any
    record: dict[str, object]
    history: Any
    told: Any
    made_from: dict[str, tuple[str, ...]]
    made_into: tuple[str, ...] | None
    withdrawn: Any


def add_show(app: typer.Typer, summary: str) -> None:
    """``show``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver show caso-014-E-0001"),
    )
    def show(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
        premis: Annotated[
            bool, typer.Option("--premis", help=_("Write it as PREMIS 3 XML."))
        ] = False,
        made_into: Annotated[
            bool,
            typer.Option(
                "--made-into",
                help=_("Tell what was made from it, too: brings the index of words up to date."),
            ),
        ] = False,
        identity: Annotated[
            list[str] | None,
            identities_option(
                _("Show what is said of a secret item, with this age identity file (repeatable).")
            ),
        ] = None,
    ) -> int:
        from archiver.cli.premis import write_premis

        if premis and identity:
            raise UsageError(
                _("--identity doesn't go with --premis: what is secret stays out of it"),
                hint=_("See 'archiver show --help'."),
            )
        opened, output = find_vault(vault, catalog), Output()
        known = _known(opened, item, made_into=made_into)
        if identity and known.told.secret:
            known = _with_key(opened, known, identity, output)
        if premis:
            return write_premis(opened, known.item, known.told)
        if as_json:
            output.json(_json(known))
        else:
            output.line(f"{known.item.item}: {_(STATES[known.item.state])}")
            for line in _lines(known):
                output.line("  " + printable(line))
        return 1 if known.told.problem else 0


def _known(vault: Any, name: str, *, made_into: bool) -> _Known:
    from archiver.vault.amendments import tell
    from archiver.vault.derivations import lineage
    from archiver.vault.records import reading

    places = {one.name: one.reachable() for one in vault.replicas()}
    with reading(vault) as records:
        item = find_item(records, name)
        return _Known(
            item=item,
            record=item_json(vault, item, places),
            history=records.catalog.history(name),
            told=tell(vault, records.catalog, item),
            made_from=lineage(vault, records.catalog, [name]),
            made_into=_made_into(vault, records, name) if made_into else None,
            withdrawn=records.catalog.withdrawals(name),
        )


def _made_into(vault: Any, records: Any, name: str) -> tuple[str, ...]:
    from archiver.search import Filter, search

    answer = search(vault, records, [], Filter(made_from=name), limit=_MOST)
    return tuple(one.item for one in answer.found)


def _with_key(vault: Any, known: _Known, identity: list[str], output: Output) -> _Known:
    """The same with what a key opens of it. Raises ArchiverError."""
    from archiver.statement.opening import history_of

    begin_in_secret(output)
    with guarded():
        history = history_of(vault, known.item, lambda: load_identities(identity))
    return replace(known, told=replace(known.told, history=history))


def _json(known: _Known) -> dict[str, object]:
    from archiver.cli.described import told_json, withdrawn_json

    return {
        "schema": "archiver/show/1",
        **known.record,
        "description": told_json(known.told),
        "derivations": {name: list(below) for name, below in known.made_from.items()},
        **({} if known.made_into is None else {"made_into": list(known.made_into)}),
        "consent_withdrawn": withdrawn_json(known.withdrawn),
        "detail": known.item.detail,
        "checks": [
            {"replica": place or None, "at": check.at.isoformat(), "result": check.result}
            for place, check, _codes in known.history
        ],
    }


def _lines(known: _Known) -> Iterator[str]:
    """Raw: who prints them escapes them."""
    from archiver.cli.described import told_lines
    from archiver.vault.derivations import lineage_lines

    if known.item.state == "sealed":
        yield from told_lines(known.told, known.withdrawn)
        if known.made_from[known.item.item]:
            yield _("made from:")
        yield from lineage_lines(known.item.item, known.made_from, _MOST)
        if known.made_into:
            yield _("made into:")
        yield from (f"  {name}" for name in known.made_into or ())
    if "scan" in known.item.detail:
        yield _("malware was found in it before it was sealed: it is kept as it was")
    if known.record["path"]:
        yield _("bag: {path}").format(path=known.record["path"])
    for name, value in sorted(known.item.detail.items()):
        if name in ("description", "scan"):  # told above
            continue
        yield f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
    for place, check, _codes in known.history:
        yield _("read on {time}, {place}: {result}").format(
            time=check.at.isoformat(" ", "seconds"),
            place=place or _("the vault's own"),
            result=_(RESULTS[check.result]),
        )
