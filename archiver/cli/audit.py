"""``archiver audit``: fixity checks of what a vault keeps."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from archiver.cli.output import Output, finding_json, printable
from archiver.cli.vault import catalog_option, find_vault, vault_option
from archiver.errors import UsageError
from archiver.i18n import N_, _

__all__ = ["add_audit"]

_WORDS = {
    "good": N_("good"),
    "damaged": N_("DAMAGED: it is not what was sealed"),
    "missing": N_("MISSING: the bag is not there"),
    "undecided": N_("UNDECIDED: it can't be read"),
}
_FINDINGS_SHOWN = 20
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_audit(app: typer.Typer, summary: str) -> None:
    """``audit``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver audit --due --days 90 --for 2h"),
    )
    def audit(
        everything: Annotated[
            bool, typer.Option("--all", help=_("Check every item, whenever it was checked last."))
        ] = False,
        due: Annotated[
            bool, typer.Option("--due", help=_("Check what is due (this is the default)."))
        ] = False,
        days: Annotated[
            float,
            typer.Option(
                "--days", metavar="N", min=0.0, help=_("Due is what was not checked for N days.")
            ),
        ] = 90.0,
        duration: Annotated[
            str,
            typer.Option("--for", metavar="TIME", help=_("Stop after this time: 30m, 2h, 1d.")),
        ] = "",
        size: Annotated[
            str,
            typer.Option("--bytes", metavar="SIZE", help=_("Stop after so much: 500G.")),
        ] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each, then all."))
        ] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help=_("Only what is wrong."))
        ] = False,
    ) -> int:
        from datetime import UTC, datetime, timedelta

        from archiver.audit import AuditOptions
        from archiver.audit import audit as check
        from archiver.cli.progress import progress_for
        from archiver.cli.sizes import parse_size

        if everything and due:
            raise UsageError(
                _("--all and --due don't go together"), hint=_("See 'archiver audit --help'.")
            )
        opened, output = find_vault(vault, catalog), Output(quiet=quiet)
        options = AuditOptions(
            every=None if everything else timedelta(days=days),
            seconds=_seconds(duration) if duration else None,
            size_bytes=parse_size(size) if size else None,
        )
        for place in opened.replicas():
            problem = place.reachable()
            if problem:
                output.warning(
                    _("{name} was not checked: {problem}").format(name=place.name, problem=problem)
                )
        counts: dict[str, int] = {}
        progress = progress_for(quiet=quiet)
        for one in check(opened, options, lambda: datetime.now(UTC), progress=progress):
            progress.clear()
            counts[one.result.value] = counts.get(one.result.value, 0) + 1
            if as_json:
                output.json(_checked_json(one))
            elif one.result.value != "good" or not quiet:
                _tell(one, output)
        return _summary(opened, counts, output, as_json=as_json)


def _seconds(text: str) -> float:
    """``2h`` in seconds. Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not found:
        raise UsageError(
            _("{text!r} is no span of time").format(text=text),
            hint=_("Write a number with s, m, h or d: 2h."),
        )
    return int(found[1]) * _UNITS[found[2]]


def _checked_json(one: Any) -> dict[str, object]:
    return {
        "schema": "archiver/audit-item/1",
        "id": one.item,
        "replica": one.replica or None,
        "case": one.case,
        "path": one.path,
        "result": one.result.value,
        "findings": [finding_json(finding) for finding in one.findings],
    }


def _tell(one: Any, output: Output) -> None:
    name = f"{one.item} ({one.replica})" if one.replica else one.item
    output.line(f"{name}: {_(_WORDS[one.result.value])}")
    if one.result.value == "good":
        return
    for finding in one.findings[:_FINDINGS_SHOWN]:
        output.line(output.finding(finding))
    more = len(one.findings) - _FINDINGS_SHOWN
    if more > 0:
        output.line("  " + _("and {count} more").format(count=more))


def _summary(vault: Any, counts: dict[str, int], output: Output, *, as_json: bool) -> int:
    from archiver.audit import open_incidents

    open_, lost = open_incidents(vault), vault.without_log()
    for path in lost:
        text = _("MISSING: there are bags, and no log that tells of them")
        output.warning(f"{path}: {text}")
    checked = sum(counts.values())
    if as_json:
        output.json(
            {
                "schema": "archiver/audit/1",
                "checked": checked,
                "results": counts,
                "open_incidents": [str(one) for one in open_],
                "without_log": lost,
            }
        )
    else:
        text = _("{count} items checked, {good} good; open incidents: {open}")
        good = counts.get("good", 0)
        names = ", ".join(map(str, open_)) or _("none")
        output.say(printable(text.format(count=checked, good=good, open=names)))
    if lost:
        return 1
    if counts.get("undecided") and len(open_) == counts["undecided"]:
        return 3
    return 1 if open_ else 0
