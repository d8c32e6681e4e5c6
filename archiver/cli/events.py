"""``archiver events``: what happened, and whether the logs are what they were."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from archiver.cli.options import (
    key_dir_option,
    key_option,
    passphrases_option,
    trust_option,
    tsa_option,
    tsa_root_option,
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
                metavar="[ID|CASE|verify|checkpoint]",
                help=_("An item's events, or a case's, or verify, or checkpoint."),
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
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each."))
        ] = False,
    ) -> int:
        opened, output = find_vault(vault, catalog), Output()
        asked = {
            "--against-head": against_head,
            "--trust": trust,
            "--key": key,
            "--tsa": tsa,
            "--tsa-root": tsa_root,
        }
        _refuse_strays(item, [name for name, given in asked.items() if given], against_head or [])
        if item == "verify":
            heads, named = against_head or [], (trust or [], tsa_root or [])
            return _verify(opened, heads, named, output, as_json=as_json)
        if item == "checkpoint":
            from datetime import UTC, datetime

            from archiver.cli.keys import sealing_for

            files, roots, now = passphrase_file or [], tsa_root or [], datetime.now(UTC)
            sealing = sealing_for(key, key_dir, files, tsa or [], roots, now) if key else None
            return _checkpoint(opened, sealing, now, output, as_json=as_json)
        return _tell_events(opened, item, output, as_json=as_json)


_GOES_WITH = {
    "verify": ("--against-head", "--trust", "--tsa-root"),
    "checkpoint": ("--key", "--tsa", "--tsa-root"),
}


def _refuse_strays(item: str, given: list[str], heads: list[str]) -> None:
    """Raise UsageError for options that would be passed over in silence."""
    for name in given:
        if name not in _GOES_WITH.get(item, ()):
            places = [place for place, names in _GOES_WITH.items() if name in names]
            commands = " / ".join(f"'archiver events {place}'" for place in places)
            raise UsageError(
                _("{option} goes with {command}").format(option=name, command=commands),
                hint=_("See 'archiver events --help'."),
            )
    if not all(re.fullmatch(r"[0-9A-Fa-f]{64}", head) for head in heads):
        raise UsageError(
            _("a head has 64 hexadecimal digits"), hint=_("'archiver events verify' prints them.")
        )
    if item == "checkpoint" and given and "--key" not in given:
        raise UsageError(
            _("there is no signature to stamp without --key"),
            hint=_("Name the key to sign with: --key NAME."),
        )


def _tell_events(vault: Any, item: str, output: Output, *, as_json: bool) -> int:
    import json

    from archiver.vault.log import CaseLog
    from archiver.vault.records import reading

    cases = vault.cases()
    if item in cases:
        cases, item = [item], ""
    elif item:
        with reading(vault) as records:
            cases = [find_item(records, item).case]
    for case in cases:
        for link in CaseLog(case, vault.log_path(case)).read():
            if item and link.event.detail.get("item") != item:
                continue
            if as_json:
                output.json({"case": case, **json.loads(link.line())})
                continue
            output.line(printable(_event_line(case, link.event)))
    return 0


def _event_line(case: str, event: Any) -> str:
    what, when = str(event.detail.get("item", case)), event.at.isoformat(" ", "seconds")
    told = [
        str(event.detail[key])
        for key in ("replica", "result", "reason", "explained")
        if event.detail.get(key)
    ]
    more = f" ({', '.join(told)})" if told else ""
    return f"{when}  {what:<28} {event.type}, {event.outcome}{more}"


def _checkpoint(vault: Any, sealing: Any, now: Any, output: Output, *, as_json: bool) -> int:
    from archiver.vault.checkpoint import write_checkpoint
    from archiver.vault.stamping import request_stamps

    signers, stamps = (sealing.signers, sealing.stamps) if sealing else ((), None)
    with vault.locked("checkpoint", 10.0):
        path, checkpoint = write_checkpoint(vault, signers, now)
        if stamps is not None:
            request_stamps(vault, path, stamps)
    results, whole = _stamp(vault, stamps, path, output)
    if as_json:
        from archiver.cli.bag_sign import stamps_json

        output.json(
            {
                "schema": "archiver/events-checkpoint/1",
                "path": path,
                "signed": bool(signers),
                "cases": [
                    {"case": one.case, "events": one.events, "root": one.root, "head": one.head}
                    for one in checkpoint.cases
                ],
                "time_stamps": stamps_json(results),
            }
        )
    else:
        output.line(printable(path))
        for one in checkpoint.cases:
            output.line(f"  {one.case}  {one.events}  {one.head}")
        if not signers:
            text = _("It is unsigned: give a copy to somebody else, or sign it with --key NAME.")
            output.say(text)
    _tell_stamps(results, output, as_json=as_json)
    return 0 if whole else 4


def _stamp(vault: Any, options: Any, path: str, output: Output) -> tuple[Any, bool]:
    """Ask the TSAs, for older checkpoints too: what came of it, and whether all did."""
    if options is None or not options.urls:
        return (), True
    from datetime import UTC, datetime

    from archiver.errors import LockedError
    from archiver.vault.stamping import ask_for_stamps

    output.say(_("asking for time stamps"))
    try:
        results = ask_for_stamps(vault, options, datetime.now(UTC))
    except LockedError as error:  # another run asks, and will find the requests or leave them
        output.warning(error.message)
        output.hint(_later())
        return (), False
    except KeyboardInterrupt:
        output.warning(_("{path} is kept; its time stamp waits").format(path=path))
        output.hint(_later())
        raise
    return results, not any(one.problem for one in results)


def _tell_stamps(results: Any, output: Output, *, as_json: bool) -> None:
    from archiver.cli.bag_sign import tell_stamps

    waits = _("{file} waits for its time stamp; the checkpoint is kept all the same")
    tell_stamps(results, output, as_json=as_json, waits=waits, later=_later())


def _later() -> str:
    return _("The next 'archiver events checkpoint --key NAME --tsa URL' asks again.")


def _verify(
    vault: Any,
    heads: list[str],
    named: tuple[list[str], list[str]],
    output: Output,
    *,
    as_json: bool,
) -> int:
    """``named``: whom the checker trusts, and which roots of TSAs."""
    from archiver.cli.bag_verify import anchors_for
    from archiver.vault.check import check_logs

    report = check_logs(vault, heads, anchors_for(*named, [], output))
    if as_json:
        output.json(_report_json(report))
    else:
        for one in report.cases:
            text = _("{case}: {count} events, unbroken; head {head}")
            output.line(text.format(case=one.case, count=one.events, head=one.head))
        for mark in report.checkpoints:
            output.line(printable(_checkpoint_line(mark)))
        for problem in report.problems:
            output.line(printable(f"  {problem.path}: {problem.problem}"))
    return 1 if report.problems else 0


def _checkpoint_line(mark: Any) -> str:
    names = ", ".join(mark.signers) or _("nobody")
    when = mark.at.isoformat(" ", "seconds")
    text = _("checkpoint of {time}, signed by {names}").format(time=when, names=names)
    if mark.proven_at is not None:
        when = mark.proven_at.isoformat(" ", "seconds")
        return _("{checkpoint}; proven to be there on {time}").format(checkpoint=text, time=when)
    if mark.stamps:
        return _("{checkpoint}; stamped, by none that you trust").format(checkpoint=text)
    if mark.waiting:
        return _("{checkpoint}; waits for its time stamp").format(checkpoint=text)
    return text


def _report_json(report: Any) -> dict[str, object]:
    return {
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
                "stamps": [
                    {
                        "gen_time": stamp.gen_time.isoformat() if stamp.gen_time else None,
                        "trusted": stamp.trusted,
                    }
                    for stamp in one.stamps
                ],
            }
            for one in report.checkpoints
        ],
        "problems": [{"path": one.path, "problem": one.problem} for one in report.problems],
    }
