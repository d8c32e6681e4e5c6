"""``archiver statement``: statements are taken, and keys made; opening is beside."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.agekeys import begin_in_secret, load_recipients
from archiver.cli.bag_sign import stamps_json, tell_stamps, wait_for_stamps
from archiver.cli.options import (
    key_dir_option,
    key_option,
    passphrases_option,
    tsa_option,
    tsa_root_option,
)
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.cli.statement_open import add_open
from archiver.cli.vault import catalog_option, find_vault, vault_option
from archiver.errors import DestinationError, UsageError, storage_error
from archiver.i18n import _, ngettext
from archiver.secrecy import guarded, sits_there

if TYPE_CHECKING:
    from datetime import datetime

    from archiver.statement import Keys, Plain, Statement, Taken

__all__ = ["statement_app"]

_MAX_FORM_BYTES = 1 << 20
_MAX_LIST_BYTES = 1 << 20


def statement_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver statement``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    for add in (_add_new, add_open, _add_key):
        add(app)
    return app


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was asked for: texts as they were given."""

    case: str
    files: tuple[str, ...]
    files_from: str
    form: str
    identity: str
    no_identity: bool

    def check(self) -> None:
        """Raises UsageError."""
        streams = [self.form, self.identity, self.files_from, *self.files].count("-")
        if streams > 1:
            raise UsageError(
                _("standard input can be only one of them"),
                hint=_("Give the others as files, or as /dev/fd/3."),
            )
        if self.identity and self.no_identity:
            raise UsageError(
                _("--identity doesn't go with --no-identity"),
                hint=_("See 'archiver statement new --help'."),
            )


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
        unsigned: Annotated[
            bool, typer.Option("--unsigned", help=_("Make a bag that nobody signs."))
        ] = False,
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

        from archiver.cli.ingest import refuse_unsigned
        from archiver.cli.keys import sealing_for
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
            refuse_unsigned(key or [], chosen, unsigned=unsigned)
            asked = _Asked(
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
            sealing = None
            if key:
                sealing = sealing_for(
                    key,
                    key_dir,
                    passphrase_file or [],
                    tsa or [],
                    tsa_root or [],
                    now,
                    require_stamp=chosen.proof.time_stamps > 0,
                )
            statement, forms = _gather(asked, now)
            _tell_missing(statement, chosen, output)
            create = CreateOptions(policy=chosen, now=now, identifier="", sealing=sealing)
            options = IngestOptions(create=create, wait_seconds=wait)
            taken = _take(opened, case, statement, keys, options, output)
            made = taken.ingested
            stamps = wait_for_stamps(made.path, sealing.stamps, output) if sealing else ()
            left = [*taken.originals, *forms]
            if as_json:
                output.json(
                    {
                        "schema": "archiver/statement/1",
                        "id": made.item,
                        "code": statement.code,
                        "path": made.path,
                        "files": len(taken.originals),
                        "payload_bytes": made.payload_bytes,
                        "identity": statement.identity is not None,
                        "signed": sealing is not None,
                        "settled": list(taken.settled),
                        "time_stamps": stamps_json(stamps),
                    }
                )
            else:
                output.line(
                    f"{made.item}: {statement.code}, {count_files(len(taken.originals))},"
                    f" {human_size(made.payload_bytes)}"
                )
            tell_stamps(stamps, output, as_json=as_json)
            _settle_originals(opened, made.item, left, output, remove=remove_original)
        return 0


# -- what was typed, or stands in forms


def _gather(asked: _Asked, now: datetime) -> tuple[Statement, list[tuple[Plain, str]]]:
    """The statement, and the forms that it was read from, with their digests."""
    from contextlib import nullcontext

    from archiver.cli.asking import Terminal, ask_files, ask_identity
    from archiver.statement import Statement

    asks = not asked.form or not (asked.identity or asked.no_identity)
    forms: list[tuple[Plain, str]] = []
    paths = _paths(asked)
    with Terminal() if asks else nullcontext() as terminal:
        description = _description(asked, terminal, now, forms)
        identity = None
        if asked.identity:
            from archiver.statement.envelope import read_identity_form

            data, place = _read_form(asked.identity, _("the identity form"), forms)
            identity = read_identity_form(data, place)
        elif not asked.no_identity:
            assert terminal is not None
            identity = ask_identity(terminal)
        if not paths and terminal is not None and not asked.form:
            paths = ask_files(terminal)
    plains = tuple(_plain(path, number) for number, path in enumerate(paths, start=1))
    return Statement(description=description, identity=identity, files=plains), forms


def _plain(path: str, number: int) -> Plain:
    from archiver.statement import Plain

    if path == "-":
        return Plain("", _("standard input"))
    return Plain(path, path if sits_there() else _("file {number}").format(number=number))


def _paths(asked: _Asked) -> list[str]:
    if not asked.files_from:
        return list(asked.files)
    data = _read(asked.files_from, _("the list of files"), _MAX_LIST_BYTES)
    separator = b"\0" if b"\0" in data else b"\n"
    return [*asked.files, *(os.fsdecode(one) for one in data.split(separator) if one)]


def _description(
    asked: _Asked, terminal: Any, now: datetime, forms: list[tuple[Plain, str]]
) -> Any:
    """The description: of the form, or of what is answered. Raises ArchiverError."""
    from time import tzname

    from archiver import __version__
    from archiver.cli.asking import ask_statement
    from archiver.describe import Description, DescriptionError, read_form

    recorded = {
        "at": now.isoformat(timespec="seconds"),
        "program": f"archiver {__version__}",
        "time_zone": tzname[0],
    }
    known = {"case": asked.case}
    if not asked.form:
        values = ask_statement(terminal, known)
        values.setdefault("confidentiality", "confidential")
        return Description.checked("statement", values, recorded)
    data, place = _read_form(asked.form, _("the form"), forms)
    try:
        found = read_form(data, place, kind="statement", recorded=recorded)
    except DescriptionError as error:
        if sits_there():
            raise
        first = error.mistakes[0]  # its message may quote what was typed
        raise UsageError(
            _("{place}:{line}: this can't be taken").format(place=place, line=first.line),
            hint=first.hint or _("Run it at a terminal to see why."),
        ) from None
    values = {"confidentiality": "confidential", **known, **found.values}
    if values["case"] != asked.case:
        raise UsageError(_("the form is of another case than --case says"))
    return Description.checked("statement", values, recorded)


def _read_form(path: str, what: str, forms: list[tuple[Plain, str]]) -> tuple[bytes, str]:
    """A form's bytes, and how messages call it."""
    from archiver.statement import Plain

    data = _read(path, what, _MAX_FORM_BYTES)
    label = path if sits_there() and path != "-" else what
    if path != "-" and os.path.isfile(path):
        forms.append((Plain(path, label), hashlib.sha256(data).hexdigest()))
    return data, label


def _read(path: str, what: str, limit: int) -> bytes:
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        place = path if sits_there() else what
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(
            _("{path}: {reason}").format(path=place, reason=reason),
            hint=_("Check the spelling of the path."),
        ) from None
    if len(data) > limit:
        raise UsageError(_("{place} is too long for what it should be").format(place=what))
    return data


def _tell_missing(statement: Statement, policy: Any, output: Output) -> None:
    """What is still owed is told, and keeps nothing from being sealed."""
    statement.code  # noqa: B018  # nothing is worth telling without one
    missing = statement.description.missing(policy.describe.wanted("statement"))
    if "consent" not in statement.description.values and "consent" not in missing:
        missing.append("consent")
    if missing:
        text = _("the description still owes: {fields}")
        output.warning(text.format(fields=", ".join(missing)))


def _take(
    vault: Any, case: str, statement: Statement, keys: Keys, options: Any, output: Output
) -> Taken:
    from archiver.cli.progress import progress_for
    from archiver.statement import take

    progress = progress_for(quiet=output.quiet)
    try:
        taken = take(vault, case, statement, keys, options, progress=progress, say=output.say)
    finally:
        progress.clear()
    for item in taken.settled:
        output.say(_("{item} was left by a run that was ended; that is settled").format(item=item))
    return taken


# -- what still lies in clear


def _settle_originals(
    vault: Any,
    item: str,
    originals: Sequence[tuple[Plain, str]],
    output: Output,
    *,
    remove: bool,
) -> None:
    """Plain files that still lie where they were: told, and removed where that is wanted."""
    from archiver.cli.watch_status import is_watched
    from archiver.statement import remove_original

    left = [(plain, digest) for plain, digest in originals if os.path.lexists(plain.path)]
    if not left:
        return
    if not remove:
        for plain, _digest in left:
            text = _("the plain original still lies there: {file}")
            if is_watched(plain.path):
                text = _("the plain original still lies in a watched folder: {file}")
            output.warning(text.format(file=plain.label))
        remove = _wants_removal(output)
    if not remove:
        output.hint(_("Give --remove-original, or remove them yourself, copies too."))
        return
    for plain, digest in left:
        remove_original(vault, item, plain, digest)
    text = ngettext("{count} plain file was removed", "{count} plain files were removed", len(left))
    output.say(text.format(count=len(left)))
    output.hint(
        _(
            "To remove is not to erase: on an SSD or a stick, in snapshots and backups the bytes"
            " may stay. Only a disk that was encrypted all along keeps them from others."
        )
    )


def _wants_removal(output: Output) -> bool:
    """Ask who sits there, if somebody does."""
    from archiver.cli.asking import Terminal

    if output.quiet or not sits_there():
        return False
    try:
        with Terminal() as terminal:
            return terminal.confirm(_("Remove them now?"))
    except (UsageError, KeyboardInterrupt):
        return False


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
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
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
