"""``archiver audit``: fixity checks of what a vault keeps."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from archiver.cli.output import Output, finding_json, printable
from archiver.cli.summary import print_summary
from archiver.cli.vault import catalog_option, find_vault, tell_broken, vault_option
from archiver.errors import ArchiverError, UsageError
from archiver.i18n import N_, _

__all__ = ["add_audit"]

_WORDS = {
    "good": N_("good"),
    "damaged": N_("DAMAGED: it is not what was sealed"),
    "missing": N_("MISSING: the bag is not there"),
    "undecided": N_("UNDECIDED: it can't be read"),
}
_FINDINGS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    """Who is to be told of incidents, besides who reads the output."""

    notify: str
    mail: str


def add_audit(app: typer.Typer, summary: str) -> None:
    """``audit``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver audit --due --for 2h --idle --mail office@example.org"),
    )
    def audit(
        everything: Annotated[
            bool, typer.Option("--all", help=_("Check every copy, whenever it was checked last."))
        ] = False,
        due: Annotated[
            bool, typer.Option("--due", help=_("Check what is due (this is the default)."))
        ] = False,
        days: Annotated[
            float | None,
            typer.Option(
                "--days",
                metavar="N",
                min=0.0,
                max=36_500.0,
                help=_("Due is what was not checked for N days (else the policy says)."),
                show_default=False,
            ),
        ] = None,
        duration: Annotated[
            str,
            typer.Option("--for", metavar="TIME", help=_("Stop after this time: 30m, 2h, 1d.")),
        ] = "",
        size: Annotated[
            str,
            typer.Option("--bytes", metavar="SIZE", help=_("Stop after so much: 500G.")),
        ] = "",
        sample: Annotated[
            str,
            typer.Option("--sample", metavar="PERCENT", help=_("Of these only a random part: 5%.")),
        ] = "",
        rate: Annotated[
            str,
            typer.Option(
                "--rate", metavar="SIZE", help=_("Read at most so much a second from a disk: 50M.")
            ),
        ] = "",
        idle: Annotated[
            bool, typer.Option("--idle", help=_("Leave disk and processor to all others first."))
        ] = False,
        repair: Annotated[
            bool,
            typer.Option(
                "--repair", help=_("Make good what is broken, as 'archiver repair --yes' does.")
            ),
        ] = False,
        notify: Annotated[
            str,
            typer.Option(
                "--notify",
                metavar="COMMAND",
                help=_("Run this once for new incidents, with JSON on its standard input."),
            ),
        ] = "",
        mail: Annotated[
            str,
            typer.Option(
                "--mail", metavar="ADDRESS", help=_("Mail new incidents there, through sendmail.")
            ),
        ] = "",
        only_summary: Annotated[
            bool, typer.Option("--summary", help=_("Read nothing: say how things stand."))
        ] = False,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each, then all."))
        ] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help=_("Only what is wrong."))
        ] = False,
    ) -> int:
        from archiver.cli.sizes import parse_seconds, parse_size
        from archiver.policy import load_policy

        if everything and (due or days is not None):
            raise UsageError(
                _("--all doesn't go with --due or --days"), hint=_("See 'archiver audit --help'.")
            )
        if days is not None and not math.isfinite(days):
            raise UsageError(
                _("{text} is no number of days").format(text=days),
                hint=_("See 'archiver audit --help'."),
            )
        opened, output = find_vault(vault, catalog), Output(quiet=quiet)
        every = load_policy(opened.policy).audit.every_days if days is None else days
        options = {
            "seconds": parse_seconds(duration) if duration else None,
            "size_bytes": parse_size(size) if size else None,
            "rate_bytes": parse_size(rate) if rate else None,
            "share": _share(sample) if sample else None,
        }
        telling = _Telling(notify=notify, mail=mail)
        _check_telling(telling)
        if only_summary:
            replicas = load_policy(opened.policy).keep.replicas
            return print_summary(
                opened, every, output, replicas=replicas, as_json=as_json, quiet=quiet
            )
        if idle:
            _be_idle(output)
        counts = _check(
            opened, None if everything else every, options, output, as_json=as_json, quiet=quiet
        )
        _notify(opened, telling)
        if repair:
            _repair_all(opened, output)
        asked = None if everything else every
        return _end(opened, counts, asked, output, as_json=as_json)


def _be_idle(output: Output) -> None:
    from archiver.pace import be_idle

    if not be_idle():
        output.warning(_("this system has no idle class for its disks"))


def _check(
    vault: Any,
    every_days: float | None,
    limits: dict[str, Any],
    output: Output,
    *,
    as_json: bool,
    quiet: bool,
) -> dict[str, int]:
    """Run it, tell each; how many came out how."""
    from datetime import UTC, datetime, timedelta

    from archiver.audit import AuditOptions
    from archiver.audit import audit as check
    from archiver.cli.progress import progress_for

    every = None if every_days is None else timedelta(days=every_days)
    options = AuditOptions(every=every, **limits)
    gone = _tell_gone(vault, ())
    counts: dict[str, int] = {}
    progress = progress_for(quiet=quiet)
    for one in check(vault, options, lambda: datetime.now(UTC), progress=progress):
        progress.clear()
        counts[one.result.value] = counts.get(one.result.value, 0) + 1
        if as_json:
            output.json(_checked_json(one))
        elif one.result.value != "good" or not quiet:
            _tell(one, output)
    progress.clear()
    _tell_gone(vault, gone)
    return counts


def _tell_gone(vault: Any, known: Sequence[str]) -> list[str]:
    """Say which places can't be reached, but those that are ``known``; also where one asked
    to hear only what is wrong.
    """
    places = {"": vault.storage(), **{one.name: one for one in vault.replicas()}}
    gone = {name: place.reachable() for name, place in places.items()}
    gone = {name or vault.path: problem for name, problem in gone.items() if problem}
    for name, problem in gone.items():
        if name not in known:
            Output().warning(
                _("{name} was not checked: {problem}").format(name=name, problem=problem)
            )
    return list(gone)


def _share(text: str) -> float:
    """``5%`` as 0.05. Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%?", text)
    if not found or not 0 < float(found[1]) <= 100:
        raise UsageError(
            _("{text!r} is no percentage").format(text=text), hint=_("Write it like this: 5%.")
        )
    return float(found[1]) / 100


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


def _repair_all(vault: Any, output: Output) -> None:
    """Every item with an open incident, or amendments that aren't what was written; what
    can't be done is told, and the next is done.
    """
    from archiver.audit import altered_amendments, open_incidents
    from archiver.cli.repair import repair_item, repair_records

    bags = {one.item for one in open_incidents(vault)}
    records = {item for item, _path, _problem in altered_amendments(vault)}
    for item in sorted(bags | records):
        try:
            with vault.copying(f"repair {item}", 60.0):
                if item in bags:
                    repair_item(vault, item, output, yes=True)
                if item in records:
                    repair_records(vault, item, output, yes=True)
        except ArchiverError as error:
            output.warning(f"{item}: {error.message}")


def _check_telling(telling: _Telling) -> None:
    """Raise UsageError now, and not in the night in which it matters."""
    from archiver.notify import check_address, split_command

    if telling.notify:
        split_command(telling.notify)
    if telling.mail:
        check_address(telling.mail)


def _notify(vault: Any, telling: _Telling) -> None:
    """Tell of incidents that nobody was told of; where nobody could be told they stay so."""
    from datetime import UTC, datetime

    from archiver.audit import mark_told, untold_incidents
    from archiver.notify import run_hook, send_mail

    incidents = untold_incidents(vault) if telling.notify or telling.mail else []
    if not incidents:
        return
    done = [
        _try_to_tell(run_hook, telling.notify, vault, incidents) if telling.notify else False,
        _try_to_tell(send_mail, telling.mail, vault, incidents) if telling.mail else False,
    ]
    if any(done):
        mark_told(vault, incidents, datetime.now(UTC))


def _try_to_tell(tell: Any, whom: str, vault: Any, incidents: Any) -> bool:
    try:
        tell(whom, vault.identifier, incidents)
    except ArchiverError as error:
        Output().warning(_("nobody was told: {problem}").format(problem=error.message))
        Output().hint(error.next_step)
        return False
    return True


def _end(
    vault: Any,
    counts: dict[str, int],
    every_days: float | None,
    output: Output,
    *,
    as_json: bool,
) -> int:
    from archiver.audit import altered_amendments, open_incidents
    from archiver.vault.records import reading

    open_, lost = open_incidents(vault), vault.without_log()
    for path in lost:
        text = _("MISSING: there are bags, and no log that tells of them")
        Output().warning(f"{path}: {text}")
    altered = altered_amendments(vault)
    for _item, path, problem in altered:
        Output().warning(f"{path}: {problem}")
    with reading(vault) as records:
        broken = tell_broken(records, Output())
    unread = _unread(vault, every_days)
    checked = sum(counts.values())
    if as_json:
        output.json(
            {
                "schema": "archiver/audit/1",
                "checked": checked,
                "results": counts,
                "open_incidents": [str(one) for one in open_],
                "without_log": lost,
                "amendments_not_intact": [path for _item, path, _problem in altered],
                "broken_logs": sorted(records.broken),
                "unreachable": sorted(unread),
            }
        )
    else:
        text = _("copies checked: {count}, good: {good}; open incidents: {open}")
        good = counts.get("good", 0)
        names = ", ".join(map(str, open_)) or _("none")
        output.say(printable(text.format(count=checked, good=good, open=names)))
    if lost or altered or broken or any(one.result != "undecided" for one in open_):
        return 1
    return 3 if open_ or unread else 0


def _unread(vault: Any, every_days: float | None) -> list[str]:
    """The places that can't be reached and have copies that should have been read: it can't
    be said how these are.
    """
    from datetime import UTC, datetime, timedelta

    from archiver.vault.records import reading

    now = datetime.now(UTC)
    before = now - timedelta(days=every_days or 0)
    places = (vault.storage(), *vault.replicas())
    with reading(vault) as records:
        return [
            one.name or vault.path
            for one in places
            if one.reachable() and records.catalog.overdue([one.name], before, now)
        ]
