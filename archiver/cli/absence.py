"""``archiver absence record | answer``: what should exist and doesn't."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver import __version__
from archiver.cli.amend import amend_item, one_signer, read_file, reason_option, unsigned_option
from archiver.cli.options import key_dir_option, key_option, passphrase_option
from archiver.cli.output import Output, printable
from archiver.cli.vault import catalog_option, find_vault, vault_option
from archiver.i18n import _

__all__ = ["absence_app"]


def absence_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver absence``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    _add_record(app)
    _add_answer(app)
    return app


def _wait_option() -> Any:
    return typer.Option(
        "--wait", metavar="SECONDS", min=0.0, help=_("How long to wait for another writer.")
    )


def _add_record(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Seal an absence as an item of the case: what should exist, who was asked for it and"
            " until when, and the documents that show it."
        ),
        epilog=_(
            "Example: archiver absence record --case caso-014 --form none-opened.toml request.pdf"
            " --key ana-laptop"
        ),
    )
    def record(
        case: Annotated[str, typer.Option("--case", metavar="ID", help=_("The case."))],
        form: Annotated[
            str, typer.Option("--form", metavar="FILE.toml", help=_("What is absent: a form."))
        ],
        documents: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[DOCUMENT...]",
                help=_("What shows it; without any, the form itself is kept."),
                show_default=False,
            ),
        ] = None,
        key: Annotated[str, key_option()] = "",
        unsigned: Annotated[
            bool, typer.Option("--unsigned", help=_("Make a bag that nobody signs."))
        ] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        again: Annotated[
            bool,
            typer.Option("--again", help=_("Make another item of a source that is there already.")),
        ] = False,
        wait: Annotated[float, _wait_option()] = 10.0,
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help=_("No warnings, no progress."))
        ] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.absence import ABSENCE, record_absence
        from archiver.cli.progress import progress_for
        from archiver.describe import read_form
        from archiver.ingest import IngestOptions
        from archiver.policy import load_policy
        from archiver.seal import CreateOptions, Sealing
        from archiver.seal.stamping import StampOptions
        from archiver.vault import check_case

        check_case(case)
        opened, output = find_vault(vault, catalog), Output(quiet=quiet)
        policy, now = load_policy(opened.policy), datetime.now(UTC).replace(microsecond=0)
        recorded = {"at": now.isoformat(), "program": f"archiver {__version__}"}
        description = read_form(read_file(form), form, kind=ABSENCE, recorded=recorded)
        signer = one_signer((key, key_dir, passphrase_file), policy, now, unsigned=unsigned)
        sealing = Sealing(signers=(signer,), stamps=StampOptions()) if signer else None
        create = CreateOptions(policy=policy, now=now, identifier="", sealing=sealing)
        options = IngestOptions(create=create, again=again, wait_seconds=wait)
        progress = progress_for(quiet=quiet)
        try:
            made = record_absence(
                opened,
                case,
                form,
                description,
                documents or [],
                options,
                progress=progress,
                say=output.say,
            )
        finally:
            progress.clear()
        if as_json:
            output.json(
                {
                    "schema": "archiver/absence-record/1",
                    "id": made.item,
                    "path": made.path,
                    "payload_files": made.payload_files,
                    "signed": signer is not None,
                }
            )
        else:
            output.line(printable(_("{item}: the absence is sealed").format(item=made.item)))
        return 0


def _add_answer(app: typer.Typer) -> None:
    @app.command(
        help=_("Write down that somebody who was asked has answered, as an amendment."),
        epilog=_(
            "Example: archiver absence answer caso-014-E-0007 --answer 'no record was found'"
            " --answered-at 2026-04-02 --key ana-laptop"
        ),
    )
    def answer(
        item: Annotated[
            str, typer.Argument(metavar="ID", help=_("The absence."), show_default=False)
        ],
        answer: Annotated[str, typer.Option("--answer", metavar="TEXT", help=_("The answer."))],
        answered_at: Annotated[
            str,
            typer.Option("--answered-at", metavar="WHEN", help=_("When it came (else today).")),
        ] = "",
        asked: Annotated[
            int,
            typer.Option(
                "--asked",
                metavar="N",
                min=0,
                help=_("Who answered, where several were asked: the first is 1."),
            ),
        ] = 0,
        reason: Annotated[str, reason_option()] = "",
        key: Annotated[str, key_option()] = "",
        unsigned: Annotated[bool, unsigned_option()] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        wait: Annotated[float, _wait_option()] = 10.0,
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.absence import Answered, answering

        at = answered_at or datetime.now(UTC).date().isoformat()
        wanted = answering(
            Answered(answer=answer, at=at, whom=asked), reason or _("an answer came")
        )
        signing = (key, key_dir, passphrase_file)
        opened = find_vault(vault, catalog)
        return amend_item(
            opened, item, wanted, signing, unsigned=unsigned, wait=wait, as_json=as_json
        )
