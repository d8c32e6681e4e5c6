"""``archiver receipt sign | import | list``: what says that an export was received."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.cli.options import (
    json_option,
    key_dir_option,
    key_option,
    passphrases_option,
    trust_option,
)
from archiver.cli.output import Output, printable
from archiver.cli.vault import catalog_option, find_vault, vault_option
from archiver.errors import UsageError
from archiver.i18n import N_, _

__all__ = ["receipt_app"]

_STATES = {
    "open": N_("OPEN"),
    "signed": N_("signed"),
    "paper": N_("signed on paper"),
    "withdrawn": N_("not handed out"),
}


def receipt_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver receipt``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    for add in (_add_sign, _add_import, _add_list):
        add(app)
    return app


def _file_argument() -> Any:
    return typer.Argument(metavar="FILE", help=_("The receipt."), show_default=False)


def _add_sign(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Sign a receipt, as its receiver: shows what is signed, and puts the signature beside"
            " it. Needs no vault."
        ),
        epilog=_("Example: archiver receipt sign caso-014-E-0001.tar.receipt.txt --key ben"),
    )
    def sign(
        file: Annotated[str, _file_argument()],
        key: Annotated[list[str], key_option()],
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.cli.keys import load_signers
        from archiver.receiving import read_receipt, sign_receipt

        now, output = datetime.now(UTC), Output()
        data = read_receipt(file)
        signers = load_signers(key, key_dir, passphrase_file or [], now)
        made = sign_receipt(file, data, signers, now)
        if as_json:
            output.json({"schema": "archiver/receipt-sign/1", "signatures": made})
            return 0
        for line in data.decode("utf-8").splitlines():
            output.line("  " + printable(line))
        for path in made:
            output.line(printable(_("signed: {path}").format(path=path)))
        return 0


def _add_import(app: typer.Typer) -> None:
    @app.command(
        "import",
        help=_(
            "File a receipt that came back: it must be to the byte what was handed out, and each"
            " signature must hold. With --trust every signer must be trusted."
        ),
        epilog=_("Example: archiver receipt import x.receipt.txt --signature x.receipt.txt.p7s"),
    )
    def import_receipt(
        file: Annotated[str, _file_argument()],
        signature: Annotated[
            list[str] | None,
            typer.Option(
                "--signature",
                metavar="FILE",
                help=_("A signature over it: detached CMS in DER (repeatable)."),
            ),
        ] = None,
        paper: Annotated[
            bool, typer.Option("--paper", help=_("It was signed on paper, which lies in a drawer."))
        ] = False,
        trust: Annotated[list[str] | None, trust_option()] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.receiving import Return, file_receipt, read_receipt, read_signature
        from archiver.verify import load_anchors

        paths = signature or []
        _refuse_senseless(paths, trust or [])
        given = Return(
            data=read_receipt(file),
            signatures={path: read_signature(path) for path in paths},
            paper=paper,
        )
        anchors = load_anchors(trust=trust) if trust else None
        opened = find_vault(vault, catalog)
        filed = file_receipt(opened, given, datetime.now(UTC), anchors=anchors)
        _tell_filed(filed, Output(), as_json=as_json)
        return 0


def _refuse_senseless(signatures: list[str], trust: list[str]) -> None:
    if len(set(signatures)) < len(signatures):
        raise UsageError(
            _("a signature was given twice"), hint=_("See 'archiver receipt import --help'.")
        )
    if trust and not signatures:
        raise UsageError(
            _("--trust goes with --signature"), hint=_("See 'archiver receipt import --help'.")
        )


def _tell_filed(filed: Any, output: Output, *, as_json: bool) -> None:
    receipt = filed.receipt
    if as_json:
        output.json(
            {
                "schema": "archiver/receipt-import/1",
                "receipt": receipt.identifier,
                "id": receipt.item,
                "signers": [
                    {"name": one.name, "fingerprint": one.fingerprint} for one in filed.certificates
                ],
                "paper": filed.paper,
            }
        )
        return
    names = [one.name for one in filed.certificates]
    names += [_("somebody on paper")] if filed.paper else []
    text = _("{item}: receipt {receipt} filed, signed by {names}")
    told = text.format(item=receipt.item, receipt=receipt.identifier, names=", ".join(names))
    output.line(printable(told))


def _add_list(app: typer.Typer) -> None:
    @app.command(
        "list",
        help=_("List what was handed out, and whether a signed receipt came back."),
        epilog=_("Example: archiver receipt list --open"),
    )
    def list_receipts(
        only_open: Annotated[
            bool, typer.Option("--open", help=_("Only those that nobody has returned."))
        ] = False,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each."))
        ] = False,
    ) -> int:
        from archiver.errors import LogError
        from archiver.receipts import problem_of, receipts_of

        opened, output = find_vault(vault, catalog), Output()
        code = 0
        for case in opened.cases():
            try:
                found = receipts_of(opened, case).values()
            except LogError as error:
                output.warning(error.message)
                code = 1
                continue
            for one in found:
                problem = problem_of(opened, one)
                if problem:
                    output.warning(f"{one.item}: {problem}")
                    code = 1
                if one.is_open or not only_open:
                    _tell_one(opened, one, problem, output, as_json=as_json)
        return code


def _tell_one(vault: Any, one: Any, problem: str, output: Output, *, as_json: bool) -> None:
    from archiver.receipts import text_path

    if one.is_open:
        state = "open"
    else:
        state = "withdrawn" if one.withdrawn else "signed" if one.signatures else "paper"
    if as_json:
        output.json(
            {
                "schema": "archiver/receipt-list-item/1",
                "receipt": one.receipt,
                "id": one.item,
                "at": one.at.isoformat(),
                "form": one.form,
                "state": state,
                "path": text_path(vault, one.case, one.receipt),
                "signatures": [
                    {"certificate": fingerprint, "sha256": digest}
                    for fingerprint, digest in one.signatures.items()
                ],
                "paper": one.paper,
                "problem": problem or None,
            }
        )
        return
    when = one.at.isoformat(" ", "seconds")
    output.line(f"{one.receipt}  {one.item:<28} {when}  {one.form:<9} {_(_STATES[state])}")
