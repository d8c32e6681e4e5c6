"""``archiver repair``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.cli.output import Output, printable
from archiver.cli.vault import catalog_option, find_item, find_vault, vault_option
from archiver.errors import NotFoundError
from archiver.i18n import N_, _

__all__ = ["add_repair", "repair_item"]

_RESULTS = {"damaged": N_("DAMAGED"), "missing": N_("MISSING")}


def add_repair(app: typer.Typer, summary: str) -> None:
    """``repair``."""

    @app.command(help=summary, epilog=_("Example: archiver repair caso-014-E-0001 --yes"))
    def repair(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        yes: Annotated[bool, typer.Option("--yes", help=_("Do it."))] = False,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
    ) -> int:
        opened = find_vault(vault, catalog)
        with opened.copying(f"repair {item}", 60.0):
            output = Output()
            code = repair_item(opened, item, output, yes=yes)
            return repair_records(opened, item, output, yes=yes) or code


def repair_item(opened: Any, item: str, output: Output, *, yes: bool) -> int:
    """Plan, tell, and with ``yes`` do it; the exit code. The caller holds the copying lock."""
    from datetime import UTC, datetime

    from archiver.cli.progress import progress_for
    from archiver.repair import note_good, plan_repair
    from archiver.repair import repair as mend

    one, places = _copies(opened, item, output)
    progress = progress_for(quiet=False)
    plan = plan_repair(opened, one, places, progress=progress)
    progress.clear()
    for place in plan.undecided:
        text = _("{item} ({place}): can't be read now; it is left as it is")
        output.warning(text.format(item=item, place=place.name or _("the vault's own")))
    for place in note_good(opened, plan, lambda: datetime.now(UTC)):
        text = _("{item} ({place}): good again; its incident is closed")
        told = text.format(item=item, place=place.name or _("the vault's own"))
        output.line(printable(told))
    if not plan.broken:
        if plan.undecided:
            return 3
        output.line(_("{item}: every copy that can be reached is good").format(item=item))
        return 0
    assert plan.source is not None
    source = plan.source.name or _("the vault's own")
    for place, result in plan.broken:
        text = _("{item} ({place}): {result}; to be made good from {source}")
        told = text.format(
            item=item,
            place=place.name or _("the vault's own"),
            result=_(_RESULTS[result.value]),
            source=source,
        )
        output.line(printable(told))
    if not yes:
        output.hint(_("Nothing was changed. To do it: --yes."))
        return 1
    for aside in mend(opened, plan, lambda: datetime.now(UTC), progress=progress):
        output.line(printable(_("kept aside: {path}").format(path=aside)))
    progress.clear()
    output.line(_("{item}: repaired").format(item=item))
    return 3 if plan.undecided else 0


def repair_records(opened: Any, item: str, output: Output, *, yes: bool) -> int:
    """The same for the item's amendments: where nothing is lost, nothing is said."""
    from datetime import UTC, datetime

    from archiver.repair import plan_amendments, repair_amendments
    from archiver.vault.records import reading

    with reading(opened) as records:
        one = find_item(records, item)
        amendments = records.catalog.amendments(item)
    places = [place for place in (opened.storage(), *opened.replicas()) if not place.reachable()]
    lost = plan_amendments(one, amendments, places)
    for each in lost:
        text = _("{path}: {problem}")
        output.line(
            printable(text.format(path=each.place.file_path(each.name), problem=each.problem))
        )
    gone = [each for each in lost if each.source is None]
    if gone:
        output.warning(_("no place has it any more: {name}").format(name=gone[0].name))
    if lost and not yes:
        output.hint(_("Nothing was changed. To do it: --yes."))
        return 1
    if lost:
        for aside in repair_amendments(opened, one, lost, lambda: datetime.now(UTC)):
            output.line(printable(_("kept aside: {path}").format(path=aside)))
        if not gone:
            output.line(_("{item}: its amendments are repaired").format(item=item))
    return 1 if gone else 0


def _copies(opened: Any, item: str, output: Output) -> tuple[Any, list[Any]]:
    """The item, and the places that can be reached; the others are told."""
    from archiver.vault.records import reading

    with reading(opened) as records:
        one = find_item(records, item)
    if one.state != "sealed":
        raise NotFoundError(
            _("{item} has no bag: it was never sealed").format(item=item),
            hint=_("See 'archiver show {item}'.").format(item=item),
        )
    places = []
    for place in (opened.storage(), *opened.replicas()):
        problem = place.reachable()
        if problem:
            output.warning(f"{place.name or opened.path}: {problem}")
        else:
            places.append(place)
    return one, places
