"""``archiver export``: an item is handed out, with a receipt."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from archiver.cli.agekeys import identities_option
from archiver.cli.consent import permission_for
from archiver.cli.options import (
    json_option,
    key_dir_option,
    key_option,
    passphrases_option,
    quiet_option,
)
from archiver.cli.output import Output, printable
from archiver.cli.vault import catalog_option, find_item, find_vault, vault_option
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["add_export"]

_OTHER_ARCHIVES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".7z", ".rar")


def add_export(app: typer.Typer, summary: str) -> None:
    """``export``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver export caso-014-E-0001 /media/stick/caso-014-E-0001.tar"),
    )
    def export(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        destination: Annotated[
            str,
            typer.Argument(
                metavar="DEST",
                help=_("What to make: a directory, or a .tar or .zip by its ending."),
                show_default=False,
            ),
        ],
        form: Annotated[
            str,
            typer.Option("--as", metavar="FORM", help=_("Make a directory, tar or zip.")),
        ] = "",
        purpose: Annotated[
            str,
            typer.Option(
                "--purpose",
                metavar="TEXT",
                help=_("What for, in one line: it stands in the receipt, never in the log."),
            ),
        ] = "",
        consent_for: Annotated[
            str,
            typer.Option(
                "--for",
                metavar="PURPOSE",
                help=_(
                    "Of a statement: what it is handed out for, as the witness was asked (lawyer,"
                    " prosecutor, international, court, media, publication, research)."
                ),
            ),
        ] = "",
        identity: Annotated[
            list[str] | None,
            identities_option(_("Read what the witness allows with this age identity file.")),
        ] = None,
        asked: Annotated[
            str,
            typer.Option(
                "--asked",
                metavar="TEXT",
                help=_("What the witness answered when asked: it stands in the receipt. No names."),
            ),
        ] = "",
        confirmed_by: Annotated[
            str,
            typer.Option(
                "--consent-confirmed-by",
                metavar="CODE",
                help=_("Who has confirmed that the witness allows it, by code: it is logged."),
            ),
        ] = "",
        key: Annotated[
            list[str] | None,
            key_option(_("Sign the receipt, as the one who hands out (repeatable).")),
        ] = None,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        import secrets
        from datetime import UTC, datetime

        from archiver.cli.keys import load_signers
        from archiver.cli.progress import progress_for
        from archiver.export import ExportRequest
        from archiver.export import export as hand_out
        from archiver.receipt import check_purpose
        from archiver.vault.amendments import amendments_told
        from archiver.vault.records import reading

        chosen, purpose = _form(form, destination), check_purpose(purpose)
        opened, output = find_vault(vault, catalog), Output(quiet=quiet)
        with reading(opened) as records:
            one = find_item(records, item)
            described = records.catalog.described(one.item)
        amendments = amendments_told(opened, one)
        _warn(one, output, secret=described is not None and described.secret)
        now, files = datetime.now(UTC), passphrase_file or []
        permission = permission_for(
            opened,
            one,
            amendments,
            purpose=consent_for,
            identity=identity or [],
            asked=asked,
            confirmed_by=confirmed_by,
            now=now,
        )
        signers = load_signers(key, key_dir, files, now) if key else ()
        request = ExportRequest(
            form=chosen,
            receipt=secrets.token_hex(16),
            purpose=purpose,
            signers=signers,
            permission=permission,
            amendments=amendments,
        )
        progress = progress_for(quiet=quiet or as_json)
        try:
            made = hand_out(
                opened,
                one,
                destination,
                request,
                lambda: datetime.now(UTC),
                progress=progress,
                say=output.warning,
            )
        finally:
            progress.clear()
        if as_json:
            output.json(_as_json(made))
        else:
            _tell(made, output)
        return 0


def _form(given: str, destination: str) -> str:
    """The form that is asked for. Raises UsageError."""
    from archiver.export import form_of
    from archiver.receipt import FORMS

    if given and given not in FORMS:
        raise UsageError(
            _("there is no form {form!r}").format(form=given),
            hint=_("Say --as directory, tar or zip."),
        )
    if not given and destination.lower().endswith(_OTHER_ARCHIVES):
        raise UsageError(
            _("{path}: archives are made as .tar or .zip, not packed").format(path=destination),
            hint=_("Give another ending, or say --as directory, tar or zip."),
        )
    return given or form_of(destination)


def _warn(item: Any, output: Output, *, secret: bool) -> None:
    """Of what a receiver might be harmed by, or others."""
    from archiver.statement.opening import is_encrypted

    if secret and not is_encrypted(item):
        text = _("{item} became secret after it was sealed: its bag is in clear")
        output.warning(text.format(item=item.item))
    if "scan" in item.detail:
        text = _("{item}: malware was found in it before it was sealed")
        output.warning(text.format(item=item.item))


def _as_json(made: Any) -> dict[str, object]:
    receipt = made.receipt
    return {
        "schema": "archiver/export/1",
        "id": receipt.item,
        "path": made.path,
        "form": receipt.form,
        "from": made.source or None,
        "amendments_path": made.amendments or None,
        "receipt": receipt.identifier,
        "receipt_path": made.receipt_path,
        "receipt_signatures": list(made.signatures),
        "tag_manifest_sha512": receipt.tag_manifest_sha512,
        "archive_sha256": receipt.archive.sha256 if receipt.archive else None,
        "archive_bytes": receipt.archive.size_bytes if receipt.archive else None,
    }


def _tell(made: Any, output: Output) -> None:
    receipt, file = made.receipt, shlex.quote(made.receipt_path)
    text = _("{item}: handed out as {path}")
    output.line(printable(text.format(item=receipt.item, path=made.path)))
    output.line(printable(_("receipt: {path}").format(path=made.receipt_path)))
    if made.amendments:
        text = _("amendments: {path}")
        output.line(printable(text.format(path=made.amendments)))
    output.line()
    output.line(_("The receiver signs the receipt with one of these, or on paper:"))
    output.line(printable(f"  archiver receipt sign {file} --key NAME"))
    output.line("  openssl cms -sign -binary -cades -md sha256 -signer CERT.pem -inkey KEY.pem \\")
    output.line(printable(f"    -outform DER -in {file} -out {file}.p7s"))
    output.line(_("What comes back is filed with one of these:"))
    output.line(printable(f"  archiver receipt import {file} --signature {file}.p7s"))
    output.line(printable(f"  archiver receipt import {file} --paper"))
    ending = f".{receipt.form}"
    if receipt.archive and not made.path.lower().endswith(ending):
        text = _("'archiver bag verify' knows it as an archive once its name ends in {ending}")
        output.hint(text.format(ending=ending))
