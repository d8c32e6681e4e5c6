"""``archiver statement``: statements are taken, and keys made; opening is beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.agekeys import begin_in_secret, load_recipients
from archiver.cli.bag_sign import code_of_stamps, stamps_json, tell_stamps, wait_for_stamps
from archiver.cli.options import (
    identify_option,
    json_option,
    key_dir_option,
    key_option,
    passphrases_option,
    quiet_option,
    tsa_option,
    tsa_root_option,
    unsigned_option,
    wait_option,
)
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.cli.statement_check import add_check
from archiver.cli.statement_forms import Asked, gather, settle_originals
from archiver.cli.statement_open import add_open
from archiver.cli.vault import catalog_option, find_vault, vault_option
from archiver.errors import DestinationError, storage_error
from archiver.i18n import _
from archiver.secrecy import guarded

if TYPE_CHECKING:
    from archiver.statement import Statement, Taken

__all__ = ["statement_app"]


def statement_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver statement``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    for add in (_add_new, add_open, add_check, _add_key):
        add(app)
    return app


def _add_new(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Take a statement: it is asked for at the terminal, or read from a form. Everything"
            " is encrypted as it is read; the witness's identity for its own recipients alone."
            " Arguments can be seen by others on this machine, and stay in the shell's history:"
            " leave FILE out to be asked for it."
        ),
        epilog=_("Example: archiver statement new --case caso-014 --key ana-laptop"),
    )
    def new(
        case: Annotated[str, typer.Option("--case", metavar="ID", help=_("The case."))],
        files: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[FILE...|-]",
                help=_("What was said or written; - is standard input."),
                show_default=False,
            ),
        ] = None,
        files_from: Annotated[
            str,
            typer.Option(
                "--files-from", metavar="FILE", help=_("Read the files' paths from FILE, or -.")
            ),
        ] = "",
        form: Annotated[
            str,
            typer.Option("--form", metavar="FILE", help=_("The description in TOML; - is input.")),
        ] = "",
        identity: Annotated[
            str,
            typer.Option(
                "--identity", metavar="FILE", help=_("Who the witness is, in TOML: FILE, or -.")
            ),
        ] = "",
        no_identity: Annotated[
            bool, typer.Option("--no-identity", help=_("The witness's identity is not kept."))
        ] = False,
        recipient: Annotated[
            list[str] | None,
            typer.Option(
                "--recipient",
                metavar="AGE|FILE",
                help=_("Who may read it, beside the policy's (repeatable)."),
            ),
        ] = None,
        escrow: Annotated[
            list[str] | None,
            typer.Option(
                "--escrow",
                metavar="AGE|FILE",
                help=_("A key kept in a safe place that opens it too (repeatable)."),
            ),
        ] = None,
        no_escrow: Annotated[
            bool,
            typer.Option("--no-escrow", help=_("Without one: who loses a key loses it all.")),
        ] = False,
        identity_recipient: Annotated[
            list[str] | None,
            typer.Option(
                "--identity-recipient",
                metavar="AGE|FILE",
                help=_("Who may know the identity (repeatable)."),
            ),
        ] = None,
        identity_to_readers: Annotated[
            bool,
            typer.Option(
                "--identity-to-readers", help=_("Whoever reads it may know the identity too.")
            ),
        ] = False,
        policy: Annotated[
            str, typer.Option("--policy", metavar="NAME", help=_("Else the vault's policy."))
        ] = "",
        key: Annotated[list[str] | None, key_option()] = None,
        unsigned: Annotated[bool, unsigned_option()] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        remove_original: Annotated[
            bool,
            typer.Option(
                "--remove-original",
                help=_("Remove the plain files, once the sealed bag was read again."),
            ),
        ] = False,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        identify: Annotated[bool | None, identify_option()] = None,
        wait: Annotated[
            float,
            wait_option(),
        ] = 10.0,
        as_json: Annotated[bool, json_option()] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.cli.keys import require_signers
        from archiver.cli.taking import sealing_of, take_statement
        from archiver.ingest import IngestOptions
        from archiver.policy import load_policy
        from archiver.seal import CreateOptions
        from archiver.statement import Keys, check_keys
        from archiver.vault import check_case

        output = Output(quiet=quiet)
        begin_in_secret(output)
        with guarded():
            check_case(case)
            opened = find_vault(vault, catalog)
            chosen, now = load_policy(policy or opened.policy), datetime.now(UTC)
            require_signers(key or [], chosen.proof.signatures, unsigned=unsigned)
            asked = Asked(
                case=case,
                files=tuple(files or ()),
                files_from=files_from,
                form=form,
                identity=identity,
                no_identity=no_identity,
            )
            asked.check()
            rules = chosen.encryption
            keys = check_keys(
                Keys(
                    readers=load_recipients(recipient or [], rules.recipients),
                    escrow=load_recipients(escrow or [], rules.escrow),
                    identity=load_recipients(identity_recipient or [], rules.identity),
                ),
                identity_kept=not no_identity,
                without_escrow=no_escrow,
                identity_to_readers=identity_to_readers,
            )
            sealing = sealing_of(key, key_dir, passphrase_file, tsa, tsa_root, now, chosen)
            statement, forms = gather(asked, now)
            _tell_missing(statement, chosen, output)
            create = CreateOptions(policy=chosen, now=now, identifier="", sealing=sealing)
            options = IngestOptions(create=create, wait_seconds=wait)
            taken = take_statement(
                opened, case, statement, keys, options, output, identify=identify
            )
            made = taken.ingested
            stamps = wait_for_stamps(made.path, sealing.stamps, output) if sealing else ()
            left = [*taken.originals, *forms]
            _tell(taken, statement, stamps, output, as_json=as_json)
            tell_stamps(stamps, output, as_json=as_json)
            code = code_of_stamps(sealing, stamps, chosen, output)
            settle_originals(opened, made.item, left, output, remove=remove_original)
        return code


def _tell(
    taken: Taken, statement: Statement, stamps: Any, output: Output, *, as_json: bool
) -> None:
    made = taken.ingested
    if not as_json:
        count, size = count_files(len(taken.originals)), human_size(made.payload_bytes)
        output.line(f"{made.item}: {statement.code}, {count}, {size}")
        return
    output.json(
        {
            "schema": "archiver/statement/1",
            "id": made.item,
            "code": statement.code,
            "path": made.path,
            "files": len(taken.originals),
            "payload_bytes": made.payload_bytes,
            "identity": statement.identity is not None,
            "settled": list(taken.settled),
            "time_stamps": stamps_json(stamps),
        }
    )


def _tell_missing(statement: Statement, policy: Any, output: Output) -> None:
    """What is still owed is told, and keeps nothing from being sealed."""
    statement.code  # noqa: B018  # nothing is worth telling without one
    missing = statement.description.missing(policy.describe.wanted("statement"))
    if "consent" not in statement.description.values and "consent" not in missing:
        missing.append("consent")
    if missing:
        text = _("the description still owes: {fields}")
        output.warning(text.format(fields=", ".join(missing)))
    if not statement.files:
        text = _("no file was named: of what was said, only the description is kept")
        output.warning(text)


# -- keys


def _add_key(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Make a key pair: the secret key goes into a new file, the recipient is printed. The"
            " file opens with the program age too."
        ),
        epilog=_("Example: archiver statement key -o /media/stick/reader.key"),
    )
    def key(
        destination: Annotated[
            str, typer.Option("--output", "-o", metavar="FILE", help=_("Where to write it."))
        ],
        protect: Annotated[
            bool, typer.Option("--protect", help=_("Encrypt the file with a passphrase."))
        ] = False,
        passphrase_file: Annotated[
            str,
            typer.Option(
                "--passphrase-file",
                metavar="FILE",
                help=_("Read that passphrase from the first line of FILE."),
            ),
        ] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.cli.keys import new_passphrase
        from archiver.encrypt import lock_identity, new_identity
        from archiver.filesystem import write_new_file

        output = Output()
        begin_in_secret(output)
        text, recipient = new_identity()
        data = text.encode()
        if protect or passphrase_file:
            data = lock_identity(text, new_passphrase(passphrase_file, _("this key")))
        try:
            write_new_file(destination, data, 0o600)
        except FileExistsError as error:
            raise DestinationError(
                _("{path} exists already").format(path=destination),
                hint=_("Nothing is ever replaced: choose another name."),
            ) from error
        except OSError as error:
            raise storage_error(error, destination) from error
        if as_json:
            output.json({"schema": "archiver/age-key/1", "recipient": recipient})
        else:
            output.line(printable(recipient))
        return 0
