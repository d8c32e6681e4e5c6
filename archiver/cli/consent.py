"""``archiver consent``: what a witness allows, and has withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from archiver.cli.agekeys import identities_option, in_secret, load_identities
from archiver.cli.options import json_option
from archiver.cli.output import Output, printable
from archiver.cli.vault import (
    catalog_option,
    check_reason,
    find_item,
    find_vault,
    vault_option,
)
from archiver.errors import NotFoundError, UsageError
from archiver.i18n import N_, _

__all__ = ["consent_app", "permission_for"]

_ANSWERS = {"yes": N_("yes"), "no": N_("no"), "ask": N_("ask first")}


def consent_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver consent``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    for add in (_add_show, _add_withdraw):
        add(app)
    return app


def _sealed(vault: Any, wanted: str) -> Any:
    """The item, which must have been sealed. Raises NotFoundError."""
    from archiver.catalog.model import SEALED
    from archiver.vault.records import reading

    with reading(vault) as records:
        item = find_item(records, wanted)
    if item.state != SEALED:
        raise NotFoundError(
            _("{item} has no bag: it was never sealed").format(item=item.item),
            hint=_("See 'archiver show {item}'.").format(item=item.item),
        )
    return item


def _add_show(app: typer.Typer) -> None:
    @app.command(
        help=_("Show what a witness allows, purpose by purpose, and what was withdrawn since."),
        epilog=_(
            "Example: archiver consent show caso-014-E-0003 --identity /media/stick/reader.key"
        ),
    )
    def show(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        identity: Annotated[list[str] | None, identities_option()] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.consent import withdrawals
        from archiver.statement.opening import described

        output = Output()
        opened = find_vault(vault, catalog)
        one = _sealed(opened, item)
        gone = withdrawals(opened, one)
        with in_secret(identity or (), output):
            keys = (lambda: load_identities(identity)) if identity else None
            found = described(opened, one, keys)
        consent = found.values.get("consent", {}) if found else None
        if as_json:
            output.json(
                {
                    "schema": "archiver/consent/1",
                    "id": one.item,
                    "consent": consent,
                    "withdrawn": [
                        {"at": each.at.isoformat(), "scope": list(each.scope)} for each in gone
                    ],
                }
            )
            return 0
        _tell(consent, gone, output)
        return 0


def _tell(consent: Mapping[str, Any] | None, gone: Any, output: Output) -> None:
    from archiver.describe.fields import PURPOSES

    lost = {word for each in gone for word in each.scope}
    for purpose in PURPOSES:
        said = (consent or {}).get(purpose, "")
        answer = _(_ANSWERS[said]) if said else (_("not known") if consent is None else _("none"))
        answer = _("WITHDRAWN") if purpose in lost else answer
        output.line(f"{purpose:<14} {answer}")
    for key, value in (consent or {}).items():
        if key not in PURPOSES:
            said = _(_ANSWERS.get(value, value)) if isinstance(value, str) and value else value
            output.line(printable(f"{key}: {said}"))
    for each in gone:
        text = _("withdrawn on {time}: {scope}. {reason}").format(
            time=each.at.isoformat(" ", "seconds"),
            scope=", ".join(each.scope),
            reason=each.reason,
        )
        output.line(printable(text.strip()))
    if consent is None:
        output.hint(_("The description is encrypted: give --identity KEYFILE."))


def _add_withdraw(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Write down that a witness has withdrawn consent, in the case's log, for good: exports"
            " are refused from then on. What was handed out before can't be called back."
        ),
        epilog=_(
            "Example: archiver consent withdraw caso-014-E-0003 --scope media,publication"
            " --reason 'told us on the telephone'"
        ),
    )
    def withdraw(
        item: Annotated[str, typer.Argument(metavar="ID", help=_("The item."), show_default=False)],
        reason: Annotated[
            str,
            typer.Option(
                "--reason",
                metavar="TEXT",
                help=_("Why, or how it was told. It stands in the log: no names."),
            ),
        ],
        scope: Annotated[
            list[str] | None,
            typer.Option(
                "--scope", metavar="PURPOSE,...|all", help=_("What is withdrawn (else all).")
            ),
        ] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.consent import check_scope, withdraw_consent
        from archiver.receipts import receipts_of

        check_reason(reason)
        wanted, output = check_scope(scope or []), Output()
        opened = find_vault(vault, catalog)
        one = _sealed(opened, item)
        new = withdraw_consent(opened, one, wanted, reason, datetime.now(UTC), 10.0)
        sent = [
            each
            for each in receipts_of(opened, one.case).values()
            if each.item == one.item and not each.withdrawn
        ]
        if as_json:
            output.json(
                {
                    "schema": "archiver/consent-withdrawal/1",
                    "id": one.item,
                    "scope": list(wanted),
                    "new": new,
                    "handed_out": [each.receipt for each in sent],
                }
            )
            return 0
        words = ", ".join(wanted)
        text = _("{item}: withdrawn: {scope}") if new else _("{item}: was withdrawn: {scope}")
        output.line(printable(text.format(item=one.item, scope=words)))
        _tell_sent(sent, output)
        return 0


def _tell_sent(sent: Any, output: Output) -> None:
    if not sent:
        output.line(_("It was never handed out."))
        return
    output.line(_("It was handed out before, and can't be called back. Its receipts:"))
    for each in sent:
        told = f"  {each.at.isoformat(' ', 'seconds')}  {each.receipt}  {each.purpose}"
        output.line(printable(told.rstrip()))
    output.hint(_("Tell the receivers: see 'archiver receipt list'."))


# -- for exports


def permission_for(
    vault: Any,
    item: Any,
    amendments: Any,
    *,
    purpose: str,
    identity: list[str],
    asked: str,
    confirmed_by: str,
    now: Any,
) -> Any:
    """Why the item may be handed out, by its ``amendments``; None where nobody has to be asked.
    Raises ConsentError, UsageError.
    """
    from archiver.consent import (
        ConsentError,
        Permission,
        check_code,
        check_purpose_word,
        decide,
        is_described,
        is_statement,
        refuse_without,
    )
    from archiver.receipt import check_purpose
    from archiver.statement.opening import described
    from archiver.vault.sealed import refuse_changed

    if not purpose:
        if identity or asked or confirmed_by:
            raise UsageError(
                _("it is not said for what purpose it is handed out"), hint=_("Say --for PURPOSE.")
            )
        refuse_without(vault, item, None)
        return None
    check_purpose_word(purpose)
    asked = check_purpose(asked)
    by_hand = Permission(
        purpose=purpose,
        basis="confirmed" if confirmed_by else "none",
        confirmed_by=check_code(confirmed_by) if confirmed_by else "",
    )
    refuse_without(vault, item, by_hand)
    refuse_changed(vault, [item])
    if not is_statement(vault, item):
        return by_hand
    found, known = None, is_described(vault, item)
    if known:
        with in_secret(identity, Output()):
            keys = (lambda: load_identities(identity)) if identity else None
            found = described(vault, item, keys, amendments)
    if found is not None:
        decided = decide(found.values, purpose, now, asked=asked)
        if found.values["consent"].get("explained") != "yes":
            text = _("{item}: nobody says that purposes and risks were explained to the witness")
            Output().warning(text.format(item=item.item))
        return decided
    if confirmed_by:
        return by_hand
    if not known:
        raise ConsentError(
            _("{item} calls itself a statement, in no form that is known").format(item=item.item),
            hint=_("Who has looked confirms what it allows: --consent-confirmed-by CODE."),
        )
    raise ConsentError(
        _("{item}: what the witness allows is encrypted").format(item=item.item),
        hint=_(
            "Give --identity KEYFILE; or who has looked confirms it: --consent-confirmed-by CODE."
        ),
    )
