"""``archiver ingest``: sources become items of a vault."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.cli.bag_sign import code_of_stamps, tell_stamps, wait_for_stamps
from archiver.cli.describing import ask_option, describe_option, find_description, without_path
from archiver.cli.keys import require_signers
from archiver.cli.options import (
    identify_option,
    json_option,
    key_dir_option,
    key_option,
    passphrases_option,
    policy_option,
    quiet_option,
    tsa_option,
    tsa_root_option,
    unsigned_option,
    wait_option,
)
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.cli.owed import tell_owed
from archiver.cli.taking import derive, made_json, refuse_unknown, sealing_of
from archiver.cli.vault import (
    catalog_option,
    check_reason,
    find_item,
    find_vault,
    vault_option,
)
from archiver.errors import UsageError
from archiver.i18n import _
from archiver.secrecy import sits_there

__all__ = ["add_ingest", "add_withdraw"]


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
        policy: Annotated[
            str,
            policy_option(),
        ] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        key: Annotated[list[str] | None, key_option()] = None,
        unsigned: Annotated[bool, unsigned_option()] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        again: Annotated[
            bool,
            typer.Option("--again", help=_("Make another item of a source that is there already.")),
        ] = False,
        adopt: Annotated[
            bool,
            typer.Option(
                "--adopt",
                help=_(
                    "SOURCE is a bag of any tool: take it over as it is, and add strong manifests"
                    " and the seal beside."
                ),
            ),
        ] = False,
        encode_names: Annotated[
            bool,
            typer.Option(
                "--encode-names",
                help=_("Keep names that collide or are not UTF-8 under a lossless spelling."),
            ),
        ] = False,
        describe: Annotated[str, describe_option()] = "",
        ask: Annotated[bool, ask_option()] = False,
        identify: Annotated[bool | None, identify_option()] = None,
        wait: Annotated[
            float,
            wait_option(),
        ] = 10.0,
        as_json: Annotated[bool, json_option()] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        from dataclasses import replace
        from datetime import UTC, datetime

        from archiver.cli.secret import encrypts, take_secret
        from archiver.describe.owed import checked_policy
        from archiver.ingest import IngestOptions
        from archiver.seal import CreateOptions
        from archiver.seal.examine import examining
        from archiver.vault import check_case

        check_case(case)
        if adopt and (encode_names or len(sources) != 1):
            raise UsageError(
                _("--adopt takes one bag as it is"), hint=_("See 'archiver ingest --help'.")
            )
        if adopt and (describe or ask):
            raise UsageError(
                _("--adopt takes a bag as it is: nothing can be put into it"),
                hint=_("Describe it once it is there: archiver describe ID."),
            )
        opened, output = find_vault(vault, catalog), Output(quiet=quiet)
        chosen, now = checked_policy(policy or opened.policy), datetime.now(UTC)
        require_signers(key or [], chosen.proof.signatures, unsigned=unsigned)
        plan = None if adopt else _plan(opened, case, sources, describe, encode_names=encode_names)
        described = find_description(
            describe,
            ask=ask,
            command="ingest",
            paths=(opened.path, *sources),
            now=now,
            case=case,
            allow=lambda found: refuse_unknown(opened, found),
            encrypts=encrypts(chosen),
        )
        if plan is not None and not (described.secret and not sits_there()):
            output.limited(plan.findings, 20)
        if not described.secret:
            _refuse_plain(plan, sources, chosen)
            _warn_of_sources(opened, described.description, output)
        sealing = sealing_of(key, key_dir, passphrase_file, tsa, tsa_root, now, chosen)
        create = CreateOptions(
            policy=chosen, now=now, identifier="", sealing=sealing, tag_files=described.files
        )
        options = IngestOptions(create=create, again=again, wait_seconds=wait)
        if described.secret:
            secret = described.description
            code = take_secret(
                opened,
                case,
                plan,
                secret,
                options,
                output,
                form=describe,
                identify=identify,
                as_json=as_json,
            )
            described.used()
            return code
        with examining(chosen, identify=identify) as examiner:
            options = replace(options, create=replace(create, examine=examiner))
            made = _take_in(opened, case, sources, plan, options, output)
        described.used()
        for warning in examiner.warnings if examiner else ():
            output.warning(warning)
        derive(opened, case, made.item, chosen.formats, output)
        stamps = wait_for_stamps(made.path, sealing.stamps, output) if sealing else ()
        if as_json:
            more = examiner.summary if examiner else {}
            output.json({**made_json(made, sealing, stamps), **more})
        else:
            size = human_size(made.payload_bytes)
            output.line(f"{made.item}: {count_files(made.payload_files)}, {size}")
        tell_stamps(stamps, output, as_json=as_json)
        tell_owed(chosen, made.path, output)
        return code_of_stamps(sealing, stamps, chosen, output)


def _plan(vault: Any, case: str, sources: list[str], form: str, *, encode_names: bool) -> Any:
    from archiver.bag.plan import PlanOptions
    from archiver.cli.describing import without_names
    from archiver.seal import plan_sources

    with without_names(form):
        options = PlanOptions(encode_names=encode_names)
        return plan_sources(sources, vault.bag_path(case, "new"), options)


def _warn_of_sources(vault: Any, description: Any, output: Output) -> None:
    """What is made from something secret, and says of itself that it is not."""
    from archiver.ingest.derivations import secret_sources

    for item in secret_sources(vault, description) if description else ():
        text = _("{item} is secret, and what was made from it is taken in in clear")
        output.warning(text.format(item=item))


def _refuse_plain(plan: Any, sources: list[str], policy: Any) -> None:
    from archiver.seal.plain import refuse_plain, refuse_plain_bag

    with without_path():
        if plan is None:
            refuse_plain_bag(sources[0], policy)
        else:
            refuse_plain(plan, policy)


def _take_in(
    vault: Any, case: str, sources: list[str], plan: Any, options: Any, output: Output
) -> Any:
    """Without a plan the source is a bag."""
    from archiver.cli.progress import progress_for
    from archiver.ingest import ingest, ingest_bag

    progress = progress_for(quiet=output.quiet)
    try:
        if plan is None:
            return ingest_bag(vault, case, sources[0], options, progress=progress, say=output.say)
        return ingest(vault, case, sources, plan, options, progress=progress, say=output.say)
    finally:
        progress.clear()


def add_withdraw(app: typer.Typer, summary: str) -> None:
    """``withdraw``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver withdraw caso-014-E-0002 --reason 'the source was exchanged'"),
    )
    def withdraw(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help=_("Why."))],
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
    ) -> int:
        from datetime import UTC, datetime

        from archiver.ingest import withdraw as end
        from archiver.vault.records import reading

        check_reason(reason)
        opened = find_vault(vault, catalog)
        with reading(opened) as records:
            one = find_item(records, item)
        end(opened, one, reason, datetime.now(UTC), 10.0)
        Output().line(printable(_("{item}: withdrawn; its number stays").format(item=item)))
        return 0
