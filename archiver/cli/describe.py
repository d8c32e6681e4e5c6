"""``archiver describe``: forms to fill in, what is wrong with one, what is still owed.

Job: the group and its commands ``new``, ``check``, ``schema``. Limits: what is learnt later
of an item is in :mod:`archiver.cli.amend`; its command's name may be left out.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from archiver.cli.amend import add_amend
from archiver.cli.options import json_option, refuse_typo
from archiver.cli.output import Output, printable
from archiver.errors import AlreadyExistsError, UsageError, storage_error
from archiver.i18n import _

__all__ = ["describe_app"]

_AMEND = "amend"
_UNREADABLE, _INCOMPLETE = 2, 4


class _DescribeGroup(TyperGroup):
    """``describe ID …`` is ``describe amend ID …``: what is the name of no command is an
    item's.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = (*self.commands, *ctx.help_option_names)
        if args and args[0] not in known and not args[0].startswith("-") and _AMEND in known:
            refuse_typo(args[0], self.commands)
            args = [_AMEND, *args]
        return super().parse_args(ctx, args)


def describe_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver describe``."""
    app = typer.Typer(
        cls=_DescribeGroup,
        help=summary,
        epilog=_("Example: archiver describe new --kind video -o video.toml"),
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings=settings,
    )
    _add_new(app)
    _add_check(app)
    _add_schema(app)
    add_amend(app)
    return app


def _kind_option() -> Any:
    from archiver.describe import KINDS

    return typer.Option(
        "--kind",
        metavar="KIND",
        help=_("What it is: {kinds}.").format(kinds=", ".join(KINDS)),
        show_default=False,
    )


def _add_new(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Write a form to fill in, with every field of a kind explained; with --ask, one with"
            " the answers."
        ),
        epilog=_("Example: archiver describe new --kind video -o video.toml"),
    )
    def new(
        kind: Annotated[str, _kind_option()] = "",
        output: Annotated[
            str,
            typer.Option("--output", "-o", metavar="FILE", help=_("Where to; must not exist.")),
        ] = "",
        ask: Annotated[
            bool, typer.Option("--ask", help=_("Ask for the fields at the terminal."))
        ] = False,
    ) -> int:
        from archiver.describe.templates import template

        if kind or not ask:
            _check_kind(kind)
        if output and os.path.lexists(output):
            raise _there(output)
        if not ask:
            _write(template(kind).encode(), output, 0o666)
            return 0
        described, draft = _asked(kind, output)
        _write(described, output, 0o600)
        draft.remove()
        return 0


def _check_kind(kind: str) -> None:
    from archiver.describe import KINDS
    from archiver.tomlfile import hint_for

    if not kind:
        raise UsageError(
            _("no kind was named"),
            hint=_("Give --kind KIND: {kinds}.").format(kinds=", ".join(KINDS)),
        )
    if kind not in KINDS:
        raise UsageError(_("there is no kind {kind}").format(kind=kind), hint=hint_for(kind, KINDS))


def _there(path: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        _("{path} is there already").format(path=path),
        hint=_("Nothing is written over: name another file."),
    )


def _asked(kind: str, output: str) -> tuple[bytes, Any]:
    """The form with the answers; what is confidential is refused, as the form is in clear."""
    from archiver.cli.ask import Interview, Talk
    from archiver.cli.draft import draft_for
    from archiver.describe import write_form
    from archiver.seal.described import description_files

    talk, draft = Talk(), draft_for("describe new", paths=[output] if output else [])
    interview = Interview(talk, draft, description_files, kind)
    return write_form(interview.run({})), draft


def _write(data: bytes, output: str, mode: int) -> None:
    """To standard output, or to a new file."""
    if not output:
        sys.stdout.write(data.decode())
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(output, flags, mode), "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise _there(output) from error
    except OSError as error:
        raise storage_error(error, output) from error


def _add_check(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Say what is wrong with forms, line by line, and what is still owed: exit code 2 if"
            " one can't be read, 4 if something is owed."
        ),
        epilog=_("Example: archiver describe check video.mp4.toml --policy evidence"),
    )
    def check(
        files: Annotated[
            list[str],
            typer.Argument(metavar="FILE...", help=_("Forms in TOML."), show_default=False),
        ],
        kind: Annotated[str, _kind_option()] = "",
        case: Annotated[
            str, typer.Option("--case", metavar="ID", help=_("The case it is to belong to."))
        ] = "",
        policy: Annotated[
            str,
            typer.Option(
                "--policy",
                metavar="NAME",
                help=_("What is owed: as this policy says (else what is marked with *)."),
            ),
        ] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        if kind:
            _check_kind(kind)
        chosen = None
        if policy:
            from archiver.policy import load_policy

            chosen = load_policy(policy)
        output = Output()
        answers = [_checked(one, kind, case, chosen) for one in files]
        if as_json:
            head = {"schema": "archiver/describe-check/1"}
            output.json_list(head, "files", answers)
        else:
            for answer in answers:
                _tell(answer, output)
        states = {answer["state"] for answer in answers}
        codes = {"unreadable": _UNREADABLE, "incomplete": _INCOMPLETE}
        return next((codes[state] for state in codes if state in states), 0)


def _checked(path: str, kind: str, case: str, policy: Any) -> dict[str, Any]:
    from datetime import UTC, datetime

    from archiver.describe import DescriptionError
    from archiver.seal.described import load_form

    try:
        found = load_form(path, datetime.now(UTC), kind=kind, case=case)
    except DescriptionError as error:
        mistakes = [
            {"line": one.line, "message": one.message, "hint": one.hint or None}
            for one in error.mistakes
        ]
        return {"path": path, "state": "unreadable", "mistakes": mistakes, "owed": []}
    wanted = policy.describe.wanted(found.kind) if policy else found.required()
    owed = found.missing(wanted)
    state = "incomplete" if owed else "complete"
    return {"path": path, "state": state, "kind": found.kind, "mistakes": [], "owed": owed}


def _tell(answer: dict[str, Any], output: Output) -> None:
    path = printable(answer["path"])
    for one in answer["mistakes"]:
        hint = f" {one['hint']}" if one["hint"] else ""
        output.line(f"{path}:{one['line']}: " + printable(f"{one['message']}.{hint}"))
    for key in answer["owed"]:
        label = _label(answer["kind"], key)
        output.line(f"{path}: " + _("owed: {field} ({label})").format(field=key, label=label))
    if answer["state"] == "complete":
        output.line(f"{path}: " + _("complete"))


def _label(kind: str, path: str) -> str:
    """What a field is about; that of a table's is ``table.field``."""
    from archiver.describe import fields_of

    head, _dot, tail = path.partition(".")
    field = fields_of(kind)[head]
    inner = next((one for one in field.fields if one.key == tail), field)
    return _(inner.label)


def _add_schema(app: typer.Typer) -> None:
    @app.command(
        help=_("Print the JSON Schema of metadata/description.json, for editors and programs."),
        epilog=_("Example: archiver describe schema > description.schema.json"),
    )
    def schema() -> int:
        import json

        from archiver.describe.schema import json_schema

        Output().line(json.dumps(json_schema(), indent=2))
        return 0
