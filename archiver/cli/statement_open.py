"""``archiver statement open``: for those who hold the key."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.agekeys import begin_in_secret, identities_option, load_identities
from archiver.cli.described import (
    history_json,
    step_lines,
    value_lines,
    withdrawn_json,
    withdrawn_lines,
)
from archiver.cli.options import json_option, passphrase_option, quiet_option
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.cli.vault import catalog_option, find_vault, item_or_bag, vault_option
from archiver.errors import ArchiverError, DestinationError, FormatError, UsageError
from archiver.i18n import _
from archiver.secrecy import guarded

if TYPE_CHECKING:
    from archiver.bag.tree import BagTree
    from archiver.encrypt import Identities
    from archiver.statement.opening import Opened

__all__ = ["add_open"]


def add_open(app: typer.Typer) -> None:
    """``open``."""

    @app.command(
        "open",
        help=_(
            "Open a statement with a secret key: the description is shown, the files are written"
            " to a new directory with -o. The bag is checked first. Who sealed it is told by"
            " 'archiver bag verify'."
        ),
        epilog=_(
            "Example: archiver statement open caso-014-E-0003 --identity /media/stick/reader.key"
            " -o opened"
        ),
    )
    def open_one(
        wanted: Annotated[
            str,
            typer.Argument(
                metavar="ID|BAG",
                help=_("An item, or a bag: a directory, .tar, .tar.gz or .zip."),
                show_default=False,
            ),
        ],
        identity: Annotated[list[str], identities_option()],
        destination: Annotated[
            str,
            typer.Option(
                "--output",
                "-o",
                metavar="DIR|-",
                help=_("A new directory for its files; - writes the only one to standard output."),
            ),
        ] = "",
        who: Annotated[
            bool,
            typer.Option("--who", help=_("Who the witness is: needs the identity's own key.")),
        ] = False,
        damaged: Annotated[
            bool, typer.Option("--damaged", help=_("Open a bag that is not intact, too."))
        ] = False,
        passphrase_file: Annotated[str, passphrase_option()] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        from archiver.statement.opening import open_identity, refuse_place

        output = Output(quiet=quiet)
        begin_in_secret(output)
        if who and destination:
            raise UsageError(
                _("--who doesn't go with --output"), hint=_("Open the statement without --who.")
            )
        named = vault or os.environ.get("ARCHIVER_VAULT", "")
        opened = find_vault(vault, catalog) if named else None
        if destination not in ("", "-"):
            refuse_place(destination, opened)
            _refuse_watched(destination)
        checked = _checked(wanted, opened, output, damaged=damaged)
        with guarded(), checked as (tree, code, item):
            identities = load_identities(identity, passphrase_file)
            if who:
                _tell_who(open_identity(tree, identities, code), output, as_json=as_json)
                return 0
            statement = _opened(tree, code, identities, destination)
            since = _since(opened, item, identities, output)
            if destination != "-":
                _tell(statement, since, destination, output, as_json=as_json)
        return since.code


def _refuse_watched(destination: str) -> None:
    """What is put there would be sealed in clear, for good. Raises DestinationError."""
    from archiver.cli.watch_status import is_watched

    if is_watched(os.path.realpath(destination)):
        raise DestinationError(
            _("{path} lies in a watched folder: it would be archived in clear").format(
                path=destination
            ),
            hint=_("Plain text has no place there: choose another destination."),
        )


@contextmanager
def _checked(
    wanted: str, vault: Any, output: Output, *, damaged: bool
) -> Iterator[tuple[BagTree, str, Any]]:
    """The bag's files, once it was checked, the code that it tells in clear, and the item,
    None where it is a bag that was handed out.
    """
    from archiver.bag.opening import open_tree
    from archiver.findings import Findings
    from archiver.statement.opening import is_encrypted
    from archiver.statement.staging import CODE_LABEL

    path, item = item_or_bag(wanted, vault)
    if item is not None and item.state == "sealed" and not is_encrypted(item):
        raise UsageError(
            _("{item} is not encrypted: there is nothing to open").format(item=item.item),
            hint=_("Its files lie in {path}.").format(path=os.path.join(path, "data")),
        )
    elements = _verify(path, item, output, damaged=damaged)
    codes = [value for label, value in elements if label == CODE_LABEL]
    tree = open_tree(path, Findings())
    try:
        yield tree, codes[0] if codes else "", item
    finally:
        tree.close()


def _verify(path: str, item: Any, output: Output, *, damaged: bool) -> Any:
    """Read the whole bag; what its bag-info.txt says. Raises FormatError, NotFoundError."""
    from archiver.cli.progress import progress_for
    from archiver.fixity import Result, judge
    from archiver.verify import Verdict, verify_bag

    progress = progress_for(quiet=output.quiet)
    try:
        report = verify_bag(path, progress=progress)
    finally:
        progress.clear()
    if item is not None:
        intact = judge(report, item)[0] is Result.GOOD
    else:
        intact = report.verdict in (Verdict.VALID, Verdict.UNPROVEN)
    if not intact:
        text = _("{path} is not intact").format(path=path)
        if not damaged:
            raise FormatError(
                text, hint=_("See 'archiver bag verify'. Take another copy, or say --damaged.")
            )
        output.warning(text)
    return report.facts.info.elements


@dataclass(frozen=True, slots=True)
class _Since:
    """What was amended and withdrawn since it was sealed; ``code`` is the exit code where the
    first can't be told.
    """

    history: Any = None
    withdrawn: Any = ()
    code: int = 0


def _since(vault: Any, item: Any, identities: Identities, output: Output) -> _Since:
    """What the vault keeps of it beside the bag: whoever reads a statement must not take for
    true what was amended since.
    """
    from archiver.consent import withdrawals
    from archiver.statement.opening import history_of

    if vault is None or item is None:
        return _Since()
    gone = withdrawals(vault, item)
    try:
        history = history_of(vault, item, lambda: identities)
    except ArchiverError as error:
        text = _("what was amended since can't be told: {reason}").format(reason=error.message)
        output.warning(text)
        return _Since(withdrawn=gone, code=error.exit_code)
    return _Since(history if history and history.steps else None, gone)


def _opened(tree: BagTree, code: str, identities: Identities, destination: str) -> Opened:
    """What a key opens, and its files at ``destination``. Raises ArchiverError."""
    from archiver.statement.opening import open_statement, restore, write_single

    opened = open_statement(tree, identities)
    if code and code != opened.contents.code:
        raise FormatError(_("the bag tells of another witness than the statement in it"))
    if destination == "-":
        sys.stdout.flush()
        if sys.stdout.isatty():
            raise UsageError(
                _("a file's bytes don't go to a terminal"),
                hint=_("They may be a stranger's: lead them into a file or a program, or -o DIR."),
            )
        write_single(tree, opened.contents, identities, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    elif destination:
        restore(tree, opened.contents, identities, destination)
    return opened


def _tell(
    opened: Opened, since: _Since, destination: str, output: Output, *, as_json: bool
) -> None:
    if as_json:
        output.json(_as_json(opened, since))
        return
    said = since.history.now if since.history else opened.description
    for line in value_lines(said.values):
        output.line(printable(line))
    for line in step_lines(since.history) if since.history else ():
        output.line(printable(line))
    for line in withdrawn_lines(since.withdrawn):
        output.line(printable(line))
    size = human_size(sum(one.size for one in opened.contents.files))
    output.line(f"{count_files(len(opened.contents.files))}, {size}")
    for one in opened.contents.files:
        kind = _format(opened.formats.get(one.path, {}))
        output.line("  " + printable(one.name or one.path) + f"  {human_size(one.size)}{kind}")
    if destination:
        output.say(_("{path}: in clear; whoever reads this disk reads it").format(path=destination))


def _as_json(opened: Opened, since: _Since) -> dict[str, object]:
    history = since.history
    return {
        "schema": "archiver/statement-open/1",
        "code": opened.contents.code,
        "case": opened.contents.case,
        "description": dict(opened.description.values),
        "recorded": dict(opened.description.recorded),
        "now": dict(history.now.values) if history else dict(opened.description.values),
        "amendments": history_json(history) if history else [],
        "consent_withdrawn": withdrawn_json(since.withdrawn),
        "files": [
            {
                "path": one.path,
                "name": one.name,
                "bytes": one.size,
                "sha256": one.sha256,
                "format": opened.formats.get(one.path),
            }
            for one in opened.contents.files
        ],
    }


def _format(record: Mapping[str, Any]) -> str:
    """What a file was found to be, as the rest of its line; "" where nobody knows."""
    told = [record.get("format"), record.get("mime")] if record else []
    named = ", ".join(one for one in told if isinstance(one, str) and one)
    return f"  {printable(named)}" if named else ""


def _tell_who(record: Mapping[str, Any], output: Output, *, as_json: bool) -> None:
    if as_json:
        output.json({"schema": "archiver/statement-identity/1", **record})
        return
    output.line(printable(f"{record['case']} {record['witness_code']}"))
    for line in value_lines(record["identity"]):
        output.line(printable(line))
