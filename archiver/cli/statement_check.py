"""``archiver statement check``: whether a key still opens what was encrypted for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.agekeys import begin_in_secret, identities_option, load_identities
from archiver.cli.options import json_option, passphrase_option, quiet_option
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.cli.vault import (
    catalog_option,
    find_vault,
    item_or_bag,
    refuse_unknown_case,
    tell_broken,
    vault_option,
)
from archiver.errors import ArchiverError, KeyringError, UsageError
from archiver.i18n import _, ngettext
from archiver.secrecy import guarded

if TYPE_CHECKING:
    from archiver.encrypt import Identities
    from archiver.statement.checking import Opens

__all__ = ["add_check"]

_UNDECIDED = 3


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One to open; ``item`` is None where it is a bag that was handed out."""

    name: str
    path: str
    item: Any = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """What came of one: ``opens`` is None where none of the keys opens it, or for a problem."""

    name: str
    opens: Opens | None
    problem: str = ""
    code: int = 0
    identity: bool = False
    """Whether the keys open the witness's identity, and nothing else."""


def add_check(app: typer.Typer) -> None:
    """``check``."""

    @app.command(
        "check",
        help=_(
            "Open everything that is secret with a key, and keep nothing of it: whether what was"
            " encrypted years ago still opens to the very bytes, before it is needed."
        ),
        epilog=_("Example: archiver statement check --identity /media/stick/escrow.key"),
    )
    def check(
        identity: Annotated[list[str], identities_option()],
        wanted: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[ID|BAG]...",
                help=_("Items or bags; none: everything that is secret in the vault."),
                show_default=False,
            ),
        ] = None,
        case: Annotated[
            str, typer.Option("--case", metavar="ID", help=_("Only items of this case."))
        ] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        output = Output(quiet=quiet)
        begin_in_secret(output)
        if wanted and case:
            raise UsageError(
                _("--case doesn't go with items that are named"), hint=_("Leave one of them out.")
            )
        named = vault or os.environ.get("ARCHIVER_VAULT", "")
        opened = find_vault(vault, catalog) if named or not wanted else None
        refuse_unknown_case(opened, case)
        with guarded():
            identities = load_identities(identity, passphrase_file)
            if wanted:
                chosen, broken = list(_named(wanted, opened)), 0
            else:
                chosen, broken = _all(opened, case, output)
            found = _check_all(chosen, opened, identities, output)
            return _tell(found, output, as_json=as_json, broken=broken)


def _named(wanted: list[str], vault: Any) -> Iterator[_Wanted]:
    for one in wanted:
        path, item = item_or_bag(one, vault)
        yield _Wanted(item.item if item else one, path, item)


def _all(vault: Any, case: str, output: Output) -> tuple[list[_Wanted], int]:
    """Every secret item of the vault, and the exit code for logs that can't tell of theirs."""
    from archiver.vault.records import reading

    with reading(vault) as records:
        described = (one for one in records.catalog.descriptions(case=case) if one.secret)
        items = [records.catalog.item(one.item) for one in described]
        broken = tell_broken(records, output)
    found = [
        _Wanted(one.item, vault.bag_path(one.case, one.item), one)
        for one in items
        if one is not None
    ]
    return found, broken


def _check_all(
    chosen: list[_Wanted], vault: Any, identities: Identities, output: Output
) -> Iterator[_Checked]:
    from archiver.cli.progress import progress_for

    for one in chosen:
        progress = progress_for(quiet=output.quiet)
        try:
            found = _Checked(one.name, _opens(one, vault, identities, progress))
        except KeyringError:
            identity = _identity_opens(one, identities)
            found = _Checked(one.name, None, code=_UNDECIDED, identity=identity)
        except ArchiverError as error:
            found = _Checked(one.name, None, error.message, error.exit_code)
        finally:
            progress.clear()
        yield found


def _opens(one: _Wanted, vault: Any, identities: Identities, progress: Any) -> Opens:
    """What was amended since, and its bag: one that became secret later is in clear, for what
    was sealed stays as it is. Raises ArchiverError.
    """
    from archiver.bag.opening import open_tree
    from archiver.findings import Findings
    from archiver.statement.checking import Opens, check_opens
    from archiver.statement.opening import history_of, is_encrypted

    if one.item is not None:
        history_of(vault, one.item, lambda: identities)
        if not is_encrypted(one.item):
            return Opens(files=0, size_bytes=0, identity=None, in_clear=True)
    tree = open_tree(one.path, Findings())
    try:
        return check_opens(tree, identities, progress)
    finally:
        tree.close()


def _identity_opens(one: _Wanted, identities: Identities) -> bool:
    """Who keeps the key of the identities has no other."""
    from archiver.bag.opening import open_tree
    from archiver.findings import Findings
    from archiver.statement.opening import open_identity

    try:
        tree = open_tree(one.path, Findings())
    except ArchiverError:
        return False
    try:
        return bool(open_identity(tree, identities))
    except ArchiverError:
        return False
    finally:
        tree.close()


def _tell(found: Iterator[_Checked], output: Output, *, as_json: bool, broken: int) -> int:
    """Each as it is known; the exit code, ``broken`` that of the logs."""
    from archiver.cli.bag_verify import worst_code

    seen: list[_Checked] = []

    def kept() -> Iterator[_Checked]:
        for one in found:
            seen.append(one)
            yield one

    if as_json:
        schema = {"schema": "archiver/statement-check/1"}
        output.json_list(schema, "items", (_as_json(one) for one in kept()))
    else:
        for one in kept():
            output.line(printable(f"{one.name:<28} {_line(one)}"))
        _tell_sum(seen, output)
    return worst_code([broken, *(one.code for one in seen)])


def _tell_sum(seen: list[_Checked], output: Output) -> None:
    if not seen:
        output.say(_("there is nothing secret"))
        return
    whole = sum(one.opens is not None for one in seen)
    text = ngettext(
        "{whole} of {count} secret item opens to the very bytes",
        "{whole} of {count} secret items open to the very bytes",
        len(seen),
    )
    output.say(text.format(whole=whole, count=len(seen)))


def _line(one: _Checked) -> str:
    if one.problem:
        return _("DOES NOT OPEN: {problem}").format(problem=one.problem)
    if one.opens is None and one.identity:
        return _("opens the witness's identity; not the statement, which is for other keys")
    if one.opens is None:
        return _("none of these keys opens it")
    if one.opens.in_clear:
        return _("opens: what was amended; its bag is in clear")
    what = f"{count_files(one.opens.files)}, {human_size(one.opens.size_bytes)}"
    if one.opens.identity:
        return _("opens: {what}, and the witness's identity").format(what=what)
    if one.opens.identity is None:
        return _("opens: {what}").format(what=what)
    return _("opens: {what}; not the witness's identity, which is for other keys").format(what=what)


def _as_json(one: _Checked) -> dict[str, object]:
    opens = one.opens
    return {
        "id": one.name,
        "opens": None if opens is None and not one.problem else opens is not None,
        "files": opens.files if opens else None,
        "bytes": opens.size_bytes if opens else None,
        "identity": opens.identity if opens else one.identity or None,
        "problem": one.problem or None,
    }
