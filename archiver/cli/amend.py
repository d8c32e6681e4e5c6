"""``archiver describe amend``: what was learnt later, or was wrong, sealed beside the bag."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from archiver.cli.keys import load_signers, require_signers
from archiver.cli.options import (
    json_option,
    key_dir_option,
    key_option,
    passphrase_option,
    policy_option,
    wait_option,
)
from archiver.cli.output import Output, printable
from archiver.cli.vault import catalog_option, find_item, find_vault, vault_option
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["add_amend", "amend_item", "asked_for", "one_signer", "read_file", "reason_option"]

_MAX_FORM_BYTES = 1 << 20


def reason_option() -> Any:
    """``--reason``."""
    return typer.Option(
        "--reason",
        metavar="TEXT",
        help=_("Why, in one line: what was learnt, and from whom by role or code (-: ask)."),
    )


def unsigned_record_option() -> Any:
    """``--unsigned``."""
    return typer.Option("--unsigned", help=_("Make a record that nobody signs."))


def add_amend(app: typer.Typer) -> None:
    """``describe amend``."""

    @app.command(
        help=_(
            "Write down what was learnt of an item later, or was wrong: a signed, numbered record"
            " beside its bag, which itself is never changed."
        ),
        epilog=_(
            "Example: archiver describe amend caso-014-E-0001 --set event_time=2026-03-01"
            " --reason 'the broadcaster gave the date' --key ana-laptop"
        ),
    )
    def amend(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        reason: Annotated[str, reason_option()],
        set_: Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="FIELD=VALUE",
                help=_("What holds from now on (repeatable); lists and tables in a form."),
            ),
        ] = None,
        form: Annotated[
            str,
            typer.Option(
                "--form", metavar="FILE.toml", help=_("A form with the fields that change.")
            ),
        ] = "",
        remove: Annotated[
            list[str] | None,
            typer.Option("--remove", metavar="FIELD", help=_("What no longer holds (repeatable).")),
        ] = None,
        kind: Annotated[
            str,
            typer.Option(
                "--kind", metavar="KIND", help=_("What an item is that nobody has described yet.")
            ),
        ] = "",
        policy: Annotated[
            str,
            policy_option(),
        ] = "",
        key: Annotated[str, key_option()] = "",
        unsigned: Annotated[bool, unsigned_record_option()] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        wait: Annotated[
            float,
            wait_option(),
        ] = 10.0,
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.amend import Wanted
        from archiver.describe import Description
        from archiver.describe.fields import SECRET

        opened = find_vault(vault, catalog)
        item_kind, secret = _known(opened, item)
        known = item_kind or _checked_kind(kind)
        values, said = _from_form(form, known, secret=secret) if form else ({}, "")
        spoken = _from_words(set_ or [], known or said)
        described, told = known or said, values | spoken
        if not secret and described == "statement" and not item_kind:
            secret = Description(kind=described, values=told).is_secret
        if secret or told.get("confidentiality") in SECRET:
            _refuse_spoken(spoken, described)
        values |= spoken
        wanted = Wanted(
            reason=asked_for(reason, _("Reason: ")),
            set=values,
            remove=tuple(remove or ()),
            kind=kind or said,
        )
        signing = (key, key_dir, passphrase_file)
        return amend_item(
            opened,
            item,
            wanted,
            signing,
            policy=policy,
            unsigned=unsigned,
            wait=wait,
            as_json=as_json,
        )


def amend_item(
    opened: Any,
    item: str,
    wanted: Any,
    signing: tuple[str, str, str],
    *,
    policy: str = "",
    unsigned: bool,
    wait: float,
    as_json: bool,
) -> int:
    """Write it, and tell; ``signing`` is a key's name, where keys lie, a passphrase file;
    without a ``policy`` the vault's is followed.
    """
    from datetime import UTC, datetime

    from archiver.amend import amend as write
    from archiver.policy import load_policy
    from archiver.vault.records import reading

    chosen = load_policy(policy or opened.policy)
    now = datetime.now(UTC).replace(microsecond=0)
    with reading(opened) as records:
        one = find_item(records, item)
    signer = one_signer(signing, chosen, now, unsigned=unsigned)
    made = write(opened, one, wanted, now, policy=chosen, signer=signer, wait_seconds=wait)
    output = Output()
    if as_json:
        output.json(
            {
                "schema": "archiver/describe-amend/1",
                "id": made.item,
                "amendment": made.number,
                "path": made.path,
                "sha256": made.sha256,
                "signed": made.signed,
            }
        )
    else:
        text = _("{item}: amendment {number} is written: {path}")
        output.line(printable(text.format(item=made.item, number=made.number, path=made.path)))
    return 0


def one_signer(signing: tuple[str, str, str], policy: Any, now: Any, *, unsigned: bool) -> Any:
    """Who signs, or None where nobody is to and the policy allows it. Raises UsageError."""
    key, key_dir, passphrase_file = signing
    require_signers([key] if key else [], min(1, policy.proof.signatures), unsigned=unsigned)
    if unsigned:
        return None
    files = [passphrase_file] if passphrase_file else []
    (signer,) = load_signers([key], key_dir, files, now)
    return signer


def _known(vault: Any, item: str) -> tuple[str, bool]:
    """The kind of an item, "" where nobody has said it, and whether it is secret. Raises
    NotFoundError.
    """
    from archiver.vault.records import reading

    with reading(vault) as records:
        described = records.catalog.described(find_item(records, item).item)
    return (described.kind, described.secret) if described else ("", False)


def _refuse_spoken(spoken: dict[str, Any], kind: str) -> None:
    """Whoever is on the machine reads its commands' arguments, and a shell remembers them.
    Raises UsageError.
    """
    from archiver.describe import fields_of

    fields = fields_of(kind) if kind else {}
    for key in spoken:
        if key in fields and fields[key].type != "choice":
            raise UsageError(
                _("{key} of a secret item can't be given on the command line").format(key=key),
                hint=_("Others can read it there: give it in a form, --form FILE.toml."),
            )


def asked_for(given: str, question: str) -> str:
    """What was given; ``-`` asks for it, so that it is in no command line."""
    if given != "-":
        return given
    if sys.stdin.isatty():
        return input(question)
    return sys.stdin.readline().rstrip("\n")


def _checked_kind(kind: str) -> str:
    from archiver.describe import KINDS
    from archiver.tomlfile import hint_for

    if kind and kind not in KINDS:
        raise UsageError(_("there is no kind {kind}").format(kind=kind), hint=hint_for(kind, KINDS))
    return kind


def read_file(path: str) -> bytes:
    """A form's bytes. Raises UsageError."""
    from archiver.filesystem import read_regular

    try:
        return read_regular(path, _MAX_FORM_BYTES + 1)
    except OSError as error:
        raise UsageError(
            _("{path}: {reason}").format(path=path, reason=error.strerror or str(error)),
            hint=_("Name a form: a file in TOML."),
        ) from error


def _from_form(path: str, kind: str, *, secret: bool) -> tuple[dict[str, Any], str]:
    """What a form says, and of which kind it says it is of. Where it is, or may be, that of
    something secret, its mistakes are told without a word of it to who isn't at a terminal.
    """
    from archiver.cli.statement_forms import without_words
    from archiver.describe import DescriptionError, read_form
    from archiver.describe.secrecy import may_be_secret
    from archiver.secrecy import harden, sits_there

    data = read_file(path)
    hides = secret or kind == "statement" or may_be_secret(data)
    if hides:
        harden()
    try:
        description = read_form(data, path, kind=kind)
    except DescriptionError as error:
        if not hides or sits_there():
            raise
        raise without_words(error, _("the form")) from None
    return dict(description.values), description.kind


def _from_words(words: Sequence[str], kind: str) -> dict[str, Any]:
    """``FIELD=VALUE`` each; a count as a number. Raises UsageError."""
    from archiver.describe import fields_of

    fields = fields_of(kind) if kind else {}
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                _("{word!r} is no FIELD=VALUE").format(word=word),
                hint=_("Write it like this: --set event_time=2026-03-01"),
            )
        if key in found:
            raise UsageError(_("{key} is set twice").format(key=key))
        field = fields.get(key)
        if field is not None and field.type in ("table", "tables"):
            raise UsageError(
                _("{key} is a table: give it in a form").format(key=key),
                hint=_("See --form FILE.toml."),
            )
        found[key] = _value(value, field.type if field else "text")
    return found


def _value(text: str, type_: str) -> Any:
    if type_ == "count" and text.isascii() and text.isdigit() and len(text) < 18:
        return int(text)
    return [text] if type_ == "texts" else text
