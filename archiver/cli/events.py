"""``archiver events``: what happened, and whether the logs are what they were."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.cli.options import (
    key_dir_option,
    key_option,
    passphrases_option,
    trust_option,
)
from archiver.cli.output import Output, printable
from archiver.cli.vault import catalog_option, find_item, find_vault, vault_option
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["add_events"]


def add_events(app: typer.Typer, summary: str) -> None:
    """``events``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver events caso-014-E-0001"),
    )
    def events(
        item: Annotated[
            str,
            typer.Argument(
                metavar="[ID|verify|checkpoint]",
                help=_("One item's events, or verify, or checkpoint."),
                show_default=False,
            ),
        ] = "",
        against_head: Annotated[
            list[str] | None,
            typer.Option(
                "--against-head",
                metavar="HEAD",
                help=_("With verify: this head must be in a chain (repeatable)."),
            ),
        ] = None,
        trust: Annotated[list[str] | None, trust_option()] = None,
        key: Annotated[
            list[str] | None, key_option(_("With checkpoint: sign it with this key (repeatable)."))
        ] = None,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each."))
        ] = False,
    ) -> int:
        opened, output = find_vault(vault, catalog), Output()
        if (against_head or trust) and item != "verify":
            raise UsageError(
                _("--against-head and --trust go with 'archiver events verify'"),
                hint=_("See 'archiver events --help'."),
            )
        if key and item != "checkpoint":
            raise UsageError(
                _("--key goes with 'archiver events checkpoint'"),
                hint=_("See 'archiver events --help'."),
            )
        if item == "verify":
            return _verify(opened, against_head or [], trust or [], output, as_json=as_json)
        if item == "checkpoint":
            files = passphrase_file or []
            return _checkpoint(opened, key or [], key_dir, files, output, as_json=as_json)
        return _tell_events(opened, item, output, as_json=as_json)


def _tell_events(vault: Any, item: str, output: Output, *, as_json: bool) -> int:
    import json

    from archiver.vault.log import CaseLog
    from archiver.vault.records import reading

    cases = vault.cases()
    if item:
        with reading(vault) as records:
            cases = [find_item(records, item).case]
    for case in cases:
        for link in CaseLog(case, vault.log_path(case)).read():
            if item and link.event.detail.get("item") != item:
                continue
            if as_json:
                output.json({"case": case, **json.loads(link.line())})
                continue
            event = link.event
            what = str(event.detail.get("item", case))
            when = event.at.isoformat(" ", "seconds")
            output.line(printable(f"{when}  {what:<28} {event.type}, {event.outcome}"))
    return 0


def _checkpoint(
    vault: Any,
    keys: list[str],
    key_dir: str,
    passphrase_files: list[str],
    output: Output,
    *,
    as_json: bool,
) -> int:
    from datetime import UTC, datetime

    from archiver.cli.keys import load_signers
    from archiver.vault.checkpoint import make_checkpoint, write_checkpoint

    now = datetime.now(UTC)
    signers = load_signers(keys, key_dir, passphrase_files, now) if keys else ()
    with vault.locked("checkpoint", 10.0):
        checkpoint = make_checkpoint(vault, now)
        path = write_checkpoint(vault, checkpoint, signers, now)
    if as_json:
        output.json(
            {
                "schema": "archiver/events-checkpoint/1",
                "path": path,
                "signed": bool(signers),
                "cases": [
                    {"case": one.case, "events": one.events, "root": one.root, "head": one.head}
                    for one in checkpoint.cases
                ],
            }
        )
        return 0
    output.line(printable(path))
    for one in checkpoint.cases:
        output.line(f"  {one.case}  {one.events}  {one.head}")
    if not signers:
        output.say(_("It is unsigned: give a copy to somebody else, or sign it with --key NAME."))
    return 0


def _verify(
    vault: Any, heads: list[str], trust: list[str], output: Output, *, as_json: bool
) -> int:
    from archiver.vault.check import check_logs
    from archiver.verify import load_anchors

    report = check_logs(vault, heads, load_anchors(trust=trust) if trust else None)
    if as_json:
        output.json(
            {
                "schema": "archiver/events-verify/1",
                "cases": [
                    {"case": one.case, "events": one.events, "head": one.head, "root": one.root}
                    for one in report.cases
                ],
                "checkpoints": [
                    {
                        "path": one.path,
                        "at": one.at.isoformat(),
                        "signers": list(one.signers),
                        "trusted": one.trusted,
                    }
                    for one in report.checkpoints
                ],
                "problems": [{"path": one.path, "problem": one.problem} for one in report.problems],
            }
        )
    else:
        for one in report.cases:
            text = _("{case}: {count} events, unbroken; head {head}")
            output.line(text.format(case=one.case, count=one.events, head=one.head))
        for mark in report.checkpoints:
            names = ", ".join(mark.signers) or _("nobody")
            text = _("checkpoint of {time}, signed by {names}")
            when = mark.at.isoformat(" ", "seconds")
            output.line(printable(text.format(time=when, names=names)))
        for problem in report.problems:
            output.line(printable(f"  {problem.path}: {problem.problem}"))
    return 1 if report.problems else 0
