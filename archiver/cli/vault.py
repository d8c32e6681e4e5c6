"""``archiver init | list``: a vault made and looked at."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from archiver.cli.agekeys import identities_option
from archiver.cli.options import json_option
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.errors import NotFoundError, UsageError
from archiver.i18n import N_, _

__all__ = [
    "RESULTS",
    "STATES",
    "add_init",
    "add_list",
    "catalog_option",
    "check_reason",
    "find_item",
    "find_vault",
    "item_json",
    "item_or_bag",
    "refuse_unknown_case",
    "tell_broken",
    "vault_option",
]

RESULTS = {
    "good": N_("good"),
    "damaged": N_("DAMAGED"),
    "missing": N_("MISSING"),
    "undecided": N_("UNDECIDED"),
}
_MOST = 200
STATES = {"begun": N_("begun"), "sealed": N_("sealed"), "refused": N_("refused")}


def vault_option() -> Any:
    """``--vault``."""
    return typer.Option("--vault", metavar="DIR", help=_("The vault (else ARCHIVER_VAULT)."))


def catalog_option() -> Any:
    """``--catalog``."""
    return typer.Option(
        "--catalog",
        metavar="FILE",
        help=_("Where its index lies (else ARCHIVER_CATALOG, else in the vault)."),
    )


def find_vault(given: str, catalog: str = "") -> Any:
    """The vault that is named, or that of the environment. Raises UsageError, VaultError."""
    from archiver.vault import open_vault

    place = given or os.environ.get("ARCHIVER_VAULT", "")
    if not place:
        raise UsageError(
            _("no vault was named"), hint=_("Give --vault DIR, or set ARCHIVER_VAULT.")
        )
    return open_vault(place, catalog or os.environ.get("ARCHIVER_CATALOG", ""))


def item_or_bag(wanted: str, vault: Any) -> tuple[str, Any]:
    """The bag that is meant, and the item; None where it is one that was handed out. What the
    ``vault`` knows by this name goes before a file of this name: only the vault tells what was
    amended, or withdrawn, since. Raises ArchiverError.
    """
    from archiver.vault.records import reading
    from archiver.vault.sealed import refuse_changed

    there = os.path.exists(wanted)
    if vault is None:
        if there:
            return wanted, None
        find_vault("")  # says that none was named
    with reading(vault) as records:
        item = records.catalog.item(wanted)
        if item is None and there:
            return wanted, None
        item = find_item(records, wanted)
    refuse_changed(vault, [item])
    return vault.bag_path(item.case, item.item), item


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
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        import uuid

        from archiver.describe.owed import checked_policy
        from archiver.vault import create_vault
        from archiver.vault.records import reading

        checked_policy(policy)
        chosen = os.path.abspath(policy) if policy.endswith(".toml") else policy
        vault = create_vault(path, identifier=uuid.uuid4().urn, policy=chosen, catalog=catalog)
        with reading(vault):  # which makes the catalog
            pass
        output = Output()
        if as_json:
            output.json(
                {"schema": "archiver/init/1", "vault": path, "identifier": vault.identifier}
            )
        else:
            output.line(printable(_("{path}: a new vault").format(path=path)))
        return 0


def add_list(app: typer.Typer, summary: str) -> None:
    """``list``."""

    @app.command(
        "list",
        help=summary,
        epilog=_("Example: archiver list --case caso-014"),
    )
    def list_items(
        case: Annotated[str, typer.Option("--case", metavar="ID", help=_("Only this case."))] = "",
        after: Annotated[
            str, typer.Option("--after", metavar="ID", help=_("Begin behind this item."))
        ] = "",
        limit: Annotated[
            int, typer.Option("--limit", metavar="N", min=0, help=_("At most N items (0: all)."))
        ] = 0,
        undescribed: Annotated[
            bool,
            typer.Option(
                "--undescribed",
                help=_("Only items that nobody has described, or not as the policy asks."),
            ),
        ] = False,
        overdue: Annotated[
            bool,
            typer.Option(
                "--overdue", help=_("Only absences whose answer should have come by now.")
            ),
        ] = False,
        identity: Annotated[
            list[str] | None,
            identities_option(
                _(
                    "With --undescribed or --overdue: look into secret items, too, with this age"
                    " identity file."
                )
            ),
        ] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from itertools import islice

        from archiver.vault.records import reading

        if identity and not (overdue or undescribed):
            raise UsageError(
                _("--identity goes with --undescribed or --overdue"),
                hint=_("See 'archiver show ID --identity'."),
            )
        opened, output = find_vault(vault, catalog), Output()
        places = {one.name: one.reachable() for one in opened.replicas()}
        with reading(opened) as records:
            if after:
                find_item(records, after)
            found = records.catalog.items(case=case, after=after)
            refuse_unknown_case(opened, case)
            if undescribed or overdue:
                from archiver.cli.owed import list_owed

                _refuse_both(after, undescribed=undescribed, overdue=overdue)
                owed = list_owed(
                    records,
                    output,
                    case,
                    limit,
                    undescribed=undescribed,
                    identity=identity or (),
                    as_json=as_json,
                )
                return tell_broken(records, output) or owed
            chosen = islice(found, limit) if limit else found
            if as_json:
                rows = (item_json(opened, one, places) for one in chosen)
                output.json_list({"schema": "archiver/list/1"}, "bags", rows)
            else:
                for one in chosen:
                    output.line(_item_line(one))
            return tell_broken(records, output)


def _refuse_both(after: str, *, undescribed: bool, overdue: bool) -> None:
    if after or (undescribed and overdue):
        raise UsageError(
            _("--undescribed, --overdue and --after don't go together"),
            hint=_("See 'archiver list --help'."),
        )


def tell_broken(records: Any, output: Output) -> int:
    """Say which logs are not what they were; the exit code."""
    for error in records.broken.values():
        output.warning(error.message)
    if records.broken:
        output.hint(_("See 'archiver events verify'."))
    return 1 if records.broken else 0


def _item_line(one: Any) -> str:
    size = human_size(one.size_bytes)
    files = count_files(one.files)
    since = one.since.isoformat(" ", "seconds")
    line = f"{one.item:<28} {_(STATES[one.state]):<9} {since}  {files}, {size}"
    if one.state != "sealed":
        return line
    if not one.checks:
        return line + ", " + _("not checked yet")
    worst = min(one.checks.values(), key=lambda read: (read.result == "good", read.at))
    copies = sum(check.result == "good" for check in one.checks.values())
    text = _("{result} on {day}, good copies: {count}")
    result = _(RESULTS[worst.result])
    return line + ", " + text.format(result=result, day=worst.at.date(), count=copies)


def item_json(vault: Any, one: Any, places: dict[str, str]) -> dict[str, object]:
    """``places``: of each replica, why it can't be reached, or ""."""
    sealed, own = one.state == "sealed", one.checks.get("")
    return {
        "id": one.item,
        "case": one.case,
        "path": vault.bag_path(one.case, one.item) if sealed else None,
        "state": one.state,
        "bytes": one.size_bytes if sealed else None,
        "files": one.files if sealed else None,
        "sealed_at": one.since.isoformat() if sealed else None,
        "checked_at": own.at.isoformat() if own else None,
        "check_result": own.result if own else None,
        "replicas": [_replica_json(one, *place) for place in places.items()] if sealed else [],
    }


def _replica_json(one: Any, name: str, problem: str) -> dict[str, object]:
    """One of three different facts: what was found, that it can't be reached, that there is
    none yet.
    """
    check = one.checks.get(name)
    state = check.result if check else "pending"
    return {
        "name": name,
        "state": "unreachable" if problem else state,
        "last_result": check.result if check else None,
        "checked_at": check.at.isoformat() if check else None,
    }


def find_item(records: Any, wanted: str) -> Any:
    """The item that is named. Raises NotFoundError, and LogError where its log is broken."""
    found = records.catalog.item(wanted)
    if found is None:
        raise NotFoundError(
            _("there is no item {item} in the vault").format(item=wanted),
            hint=_("See 'archiver list'."),
        )
    records.require(found.case)
    return found


def refuse_unknown_case(vault: Any, case: str) -> None:
    """Raises NotFoundError where a case is named that has no log: nothing found is no answer."""
    if case and case not in vault.cases():
        raise NotFoundError(
            _("there is no case {case} in the vault").format(case=case),
            hint=_("See 'archiver list'."),
        )


def check_reason(reason: str) -> None:
    """A reason stands in the log for good: one line. Raises UsageError."""
    if not reason.strip() or not reason.isprintable() or len(reason) > _MOST:
        raise UsageError(
            _("the reason must be one line of at most {count} characters").format(count=_MOST),
            hint=_("Say why in a few words, without names."),
        )
