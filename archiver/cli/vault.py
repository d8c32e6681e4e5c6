"""``archiver init | ingest | list | show | events``: the vault from the command line."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from archiver.cli.bag_sign import stamps_json, tell_stamps, wait_for_stamps
from archiver.cli.options import (
    key_dir_option,
    key_option,
    passphrases_option,
    trust_option,
    tsa_option,
    tsa_root_option,
)
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.errors import NotFoundError, UsageError
from archiver.i18n import N_, _

__all__ = [
    "add_events",
    "add_ingest",
    "add_init",
    "add_list",
    "add_show",
    "find_item",
    "find_vault",
    "vault_option",
]

_RESULTS = {
    "good": N_("good"),
    "damaged": N_("DAMAGED"),
    "missing": N_("MISSING"),
    "undecided": N_("UNDECIDED"),
}
_STATES = {"begun": N_("begun"), "sealed": N_("sealed"), "refused": N_("refused")}


def vault_option() -> Any:
    """``--vault``."""
    return typer.Option("--vault", metavar="DIR", help=_("The vault (else ARCHIVER_VAULT)."))


def find_vault(given: str) -> Any:
    """The vault that is named, or that of the environment. Raises UsageError, VaultError."""
    from archiver.vault import open_vault

    place = given or os.environ.get("ARCHIVER_VAULT", "")
    if not place:
        raise UsageError(
            _("no vault was named"), hint=_("Give --vault DIR, or set ARCHIVER_VAULT.")
        )
    return open_vault(place)


def add_init(app: typer.Typer, summary: str) -> None:
    """``init``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver init vault"),
    )
    def init(
        path: Annotated[
            str, typer.Argument(metavar="VAULT", help=_("Where to make it."), show_default=False)
        ],
        policy: Annotated[
            str, typer.Option("--policy", metavar="NAME", help=_("The policy for its bags."))
        ] = "default",
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
    ) -> int:
        import uuid

        from archiver.policy import load_policy
        from archiver.vault import create_vault

        load_policy(policy)
        chosen = os.path.abspath(policy) if policy.endswith(".toml") else policy
        vault = create_vault(path, identifier=uuid.uuid4().urn, policy=chosen)
        output = Output()
        if as_json:
            output.json(
                {"schema": "archiver/init/1", "vault": path, "identifier": vault.identifier}
            )
        else:
            output.line(printable(_("{path}: a new vault").format(path=path)))
        return 0


def add_ingest(app: typer.Typer, summary: str) -> None:
    """``ingest``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver ingest evidence/ --case caso-014 --key ana-laptop"),
    )
    def ingest(
        sources: Annotated[
            list[str],
            typer.Argument(metavar="SOURCE...", help=_("What to take in."), show_default=False),
        ],
        case: Annotated[str, typer.Option("--case", metavar="ID", help=_("The case."))],
        vault: Annotated[str, vault_option()] = "",
        key: Annotated[list[str] | None, key_option()] = None,
        unsigned: Annotated[
            bool, typer.Option("--unsigned", help=_("Make a bag that nobody signs."))
        ] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        again: Annotated[
            bool,
            typer.Option("--again", help=_("Make another item of a source that is there already.")),
        ] = False,
        encode_names: Annotated[
            bool,
            typer.Option(
                "--encode-names",
                help=_("Keep names that collide or are not UTF-8 under a lossless spelling."),
            ),
        ] = False,
        wait: Annotated[
            float,
            typer.Option(
                "--wait", metavar="SECONDS", min=0.0, help=_("How long to wait for another writer.")
            ),
        ] = 10.0,
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help=_("No warnings, no progress."))
        ] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.bag.plan import PlanOptions
        from archiver.cli.keys import sealing_for
        from archiver.cli.progress import progress_for
        from archiver.ingest import IngestOptions
        from archiver.ingest import ingest as take_in
        from archiver.policy import load_policy
        from archiver.seal import CreateOptions, plan_sources
        from archiver.vault import check_case

        check_case(case)
        opened, output = find_vault(vault), Output(quiet=quiet)
        policy, now = load_policy(opened.policy), datetime.now(UTC)
        _refuse_unsigned(key or [], policy, unsigned=unsigned)
        plan = plan_sources(
            sources, opened.bag_path(case, "new"), PlanOptions(encode_names=encode_names)
        )
        output.limited(plan.findings, 20)
        sealing = None
        if key:
            sealing = sealing_for(
                key,
                key_dir,
                passphrase_file or [],
                tsa or [],
                tsa_root or [],
                now,
                require_stamp=policy.proof.time_stamps > 0,
            )
        create = CreateOptions(policy=policy, now=now, identifier="", sealing=sealing)
        options = IngestOptions(create=create, again=again, wait_seconds=wait)
        progress = progress_for(quiet=quiet)
        try:
            made = take_in(opened, case, sources, plan, options, progress=progress, say=output.say)
        finally:
            progress.clear()
        stamps = wait_for_stamps(made.path, sealing.stamps, output) if sealing else ()
        if as_json:
            output.json(
                {
                    "schema": "archiver/ingest/1",
                    "id": made.item,
                    "path": made.path,
                    "payload_files": made.payload_files,
                    "payload_bytes": made.payload_bytes,
                    "signed": sealing is not None,
                    "recovered": made.recovered,
                    "time_stamps": stamps_json(stamps),
                }
            )
        else:
            size = human_size(made.payload_bytes)
            output.line(f"{made.item}: {count_files(made.payload_files)}, {size}")
        tell_stamps(stamps, output, as_json=as_json)
        return 0


def _refuse_unsigned(keys: list[str], policy: Any, *, unsigned: bool) -> None:
    if unsigned and (keys or policy.proof.signatures):
        raise UsageError(
            _("--unsigned doesn't go with --key or a policy that requires signatures"),
            hint=_("See 'archiver ingest --help'."),
        )
    if not unsigned and len(set(keys)) < max(1, policy.proof.signatures):
        raise UsageError(
            _("a vault keeps sealed bags, and no key was given"),
            hint=_("Name who signs with --key NAME, or say --unsigned."),
        )


def _items(vault: Any) -> list[Any]:
    """(case, item) of everything, in order."""
    from archiver.vault.register import read_register

    found = []
    for case in vault.cases():
        register = read_register(case, vault.log_path(case))
        found += [(case, one) for one in register.items.values()]
    return found


def add_list(app: typer.Typer, summary: str) -> None:
    """``list``."""

    @app.command(
        "list",
        help=summary,
        epilog=_("Example: archiver list --case caso-014"),
    )
    def list_items(
        case: Annotated[str, typer.Option("--case", metavar="ID", help=_("Only this case."))] = "",
        vault: Annotated[str, vault_option()] = "",
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
    ) -> int:
        opened, output = find_vault(vault), Output()
        found = [(name, one) for name, one in _items(opened) if case in ("", name)]
        if case and not found:
            raise NotFoundError(
                _("there is no case {case} in the vault").format(case=case),
                hint=_("See 'archiver list'."),
            )
        if as_json:
            bags = [_item_json(opened, name, one) for name, one in found]
            output.json({"schema": "archiver/list/1", "bags": bags})
            return 0
        for _name, one in found:
            size = human_size(one.detail.get("payload_bytes", 0))
            files = count_files(one.detail.get("payload_files", 0))
            since = one.since.isoformat(" ", "seconds")
            checked = _("not checked yet")
            if one.checks:
                worst = min(one.checks.values(), key=lambda read: (read.result == "good", read.at))
                result = _(_RESULTS.get(worst.result, _RESULTS["undecided"]))
                copies = sum(check.result == "good" for check in one.checks.values())
                checked = _("{result} on {day}, good copies: {count}").format(
                    result=result, day=worst.at.date(), count=copies
                )
            line = f"{one.item:<28} {_(_STATES[one.state]):<9} {since}  {files}, {size}"
            output.line(f"{line}, {checked}" if one.state == "sealed" else line)
        return 0


def _item_json(vault: Any, case: str, one: Any) -> dict[str, object]:
    sealed, own = one.state == "sealed", one.checks.get("")
    return {
        "id": one.item,
        "case": case,
        "path": vault.bag_path(case, one.item) if sealed else None,
        "state": one.state,
        "bytes": one.detail.get("payload_bytes"),
        "files": one.detail.get("payload_files"),
        "sealed_at": one.since.isoformat() if sealed else None,
        "checked_at": own.at.isoformat() if own else None,
        "check_result": own.result if own else None,
        "replicas": [
            {"name": name, "state": check.result, "checked_at": check.at.isoformat()}
            for name, check in sorted(one.checks.items())
            if name
        ],
    }


def find_item(vault: Any, wanted: str) -> tuple[str, Any]:
    """(case, item) of what is named. Raises NotFoundError."""
    for case, one in _items(vault):
        if one.item == wanted:
            return case, one
    raise NotFoundError(
        _("there is no item {item} in the vault").format(item=wanted),
        hint=_("See 'archiver list'."),
    )


def add_show(app: typer.Typer, summary: str) -> None:
    """``show``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver show caso-014-E-0001"),
    )
    def show(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        vault: Annotated[str, vault_option()] = "",
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
    ) -> int:
        opened, output = find_vault(vault), Output()
        case, one = find_item(opened, item)
        record = _item_json(opened, case, one)
        if as_json:
            output.json({"schema": "archiver/show/1", **record, "detail": one.detail})
            return 0
        output.line(f"{one.item}: {_(_STATES[one.state])}")
        if record["path"]:
            output.line("  " + printable(_("bag: {path}").format(path=record["path"])))
        for name, value in sorted(one.detail.items()):
            output.line("  " + printable(f"{name}: {value}"))
        return 0


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
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each."))
        ] = False,
    ) -> int:
        opened, output = find_vault(vault), Output()
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

    from archiver.vault.register import read_register

    if item:
        find_item(vault, item)
    for case in vault.cases():
        for link in read_register(case, vault.log_path(case)).links:
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
    with vault.writing("checkpoint", 10.0):
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
