"""``archiver watch``: what settles in a folder is archived; status, retry, release."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from archiver.cli.keys import require_signers
from archiver.cli.options import (
    identify_option,
    key_dir_option,
    key_option,
    passphrases_option,
    refuse_typo,
    tsa_option,
    tsa_root_option,
)
from archiver.cli.vault import catalog_option, find_vault, vault_option
from archiver.cli.watch_status import add_status
from archiver.errors import UsageError
from archiver.i18n import _

if TYPE_CHECKING:
    from archiver.cli.watch_run import Target

__all__ = ["watch_app"]

_RUN = "run"


class _WatchGroup(TyperGroup):
    """``watch FOLDER…`` is ``watch run FOLDER…``, and its help is that of both."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            refuse_typo(args[0], self.commands)
            args = [_RUN, *args]
        return super().parse_args(ctx, args)

    def _run(self, ctx: Any) -> tuple[Any, Any]:
        command = self.commands[_RUN]
        return command, type(ctx)(command, info_name=ctx.info_name, parent=ctx.parent)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        command, inner = self._run(ctx)
        return [*command.collect_usage_pieces(inner), _("| COMMAND FILE...")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        command, inner = self._run(ctx)
        command.format_options(inner, formatter)
        self.format_commands(ctx, formatter)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """One folder to watch, and the policy whose ``[watch]`` rules it follows."""

    path: str
    policy: Any
    """None: the one of all."""


def watch_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver watch``."""
    app = typer.Typer(
        cls=_WatchGroup,
        help=summary,
        epilog=_("Example: archiver watch inbox --case caso-014 --key ana-laptop"),
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings=settings,
    )
    _add_run(app, summary)
    add_status(app)
    return app


def _add_run(app: typer.Typer, summary: str) -> None:
    @app.command(
        _RUN,
        help=summary,
        hidden=True,
        epilog=_("Example: archiver watch inbox --case caso-014 --key ana-laptop"),
    )
    def run(
        folders: Annotated[
            list[str] | None,
            typer.Argument(metavar="FOLDER...", help=_("What to watch."), show_default=False),
        ] = None,
        case: Annotated[
            str, typer.Option("--case", metavar="ID", help=_("The case in the vault."))
        ] = "",
        output_dir: Annotated[
            str,
            typer.Option("-o", "--output", metavar="DIR", help=_("Without a vault: bags in DIR.")),
        ] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        policy: Annotated[
            str,
            typer.Option(
                "--policy", metavar="NAME", help=_("How bags are made, and the watch rules.")
            ),
        ] = "",
        rule: Annotated[
            list[str] | None,
            typer.Option(
                "--rule",
                metavar="FOLDER=POLICY",
                help=_("Watch FOLDER too, by the watch rules of POLICY (repeatable)."),
            ),
        ] = None,
        quiet_period: Annotated[
            str,
            typer.Option(
                "--quiet-period",
                metavar="TIME",
                help=_("How long a file must stay unchanged: 5s, 2m (else the policy says)."),
            ),
        ] = "",
        key: Annotated[list[str] | None, key_option()] = None,
        unsigned: Annotated[
            bool, typer.Option("--unsigned", help=_("Make bags that nobody signs."))
        ] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        once: Annotated[
            bool,
            typer.Option("--once", help=_("Archive what is there and has settled, then end.")),
        ] = False,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help=_("Say what would be archived; do nothing."))
        ] = False,
        no_hints: Annotated[
            bool,
            typer.Option("--no-hints", help=_("Only scan: don't ask the system for events.")),
        ] = False,
        listen: Annotated[
            int | None,
            typer.Option(
                "--listen",
                metavar="PORT",
                min=0,
                max=65535,
                help=_("Answer /healthz, /readyz, /metrics to this machine (0: a free port)."),
                show_default=False,
            ),
        ] = None,
        log_names: Annotated[
            bool,
            typer.Option("--log-names", help=_("Let the log name files: it travels further.")),
        ] = False,
        identify: Annotated[bool | None, identify_option()] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON when it ends."))
        ] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help=_("No progress, only what is wrong."))
        ] = False,
    ) -> int:
        from archiver.cli.watch_run import Keys, Wish, watch

        chosen = _folders(folders or [], rule or [])
        target = _target(vault, catalog, case, output_dir, policy)
        wish = Wish(
            once=once,
            dry_run=dry_run,
            hints=not no_hints,
            port=listen,
            names=log_names,
            as_json=as_json,
            quiet=quiet,
            identify=identify,
        )
        keys = Keys(
            names=key or [],
            directory=key_dir,
            passphrase_files=passphrase_file or [],
            tsa=tsa or [],
            tsa_roots=tsa_root or [],
        )
        _refuse_nested([one.path for one in chosen], target)
        rules = _rules(chosen, target.policy, quiet_period)
        if not dry_run:
            required = target.policy.proof.signatures
            require_signers(keys.names, required, unsigned=unsigned, kept=bool(target.vault))
        return watch(target, rules, keys, wish)


# What was asked for


def _folders(plain: Sequence[str], ruled: Sequence[str]) -> list[_Folder]:
    """The folders with their policies. Raises UsageError, PolicyError."""
    from archiver.describe.owed import checked_policy

    found = [_Folder(path=os.path.abspath(one), policy=None) for one in plain]
    for one in ruled:
        path, equals, name = one.rpartition("=")
        if not equals or not path or not name:
            raise UsageError(
                _("{text!r} is no rule").format(text=one),
                hint=_("Write it as --rule FOLDER=POLICY."),
            )
        path = os.path.abspath(path)
        found = [known for known in found if known.path != path]
        found.append(_Folder(path=path, policy=checked_policy(name)))
    if not found:
        raise UsageError(_("no folder was named"), hint=_("See 'archiver watch --help'."))
    real = [os.path.realpath(one.path) for one in found]
    for place in real:
        if not os.path.isdir(place):
            raise UsageError(
                _("{path} is no folder").format(path=place),
                hint=_("Make it first: a folder that is missing could be a disk that is missing."),
            )
        if sum(_is_below(place, other) for other in real) > 1:
            raise UsageError(
                _("{path} lies in another folder that is watched").format(path=place),
                hint=_("Each file belongs to one folder: watch the outer one, or others."),
            )
    return found


def _refuse_nested(folders: Sequence[str], target: Target) -> None:
    """What is archived would be archived again, for ever."""
    place = os.path.realpath(target.path)
    for folder in map(os.path.realpath, folders):
        if _is_below(place, folder) or _is_below(folder, place):
            raise UsageError(
                _("{target} and the watched folder {path} lie in each other").format(
                    target=place, path=folder
                ),
                hint=_("Keep what is archived apart from what is watched."),
            )


def _is_below(path: str, other: str) -> bool:
    return path == other or path.startswith(other.rstrip("/") + "/")


def _target(vault: str, catalog: str, case: str, directory: str, policy: str) -> Target:
    """Where bags go. Raises ArchiverError."""
    from archiver.cli.watch_run import Target
    from archiver.describe.owed import checked_policy

    if directory and (case or vault):
        raise UsageError(
            _("--output is for watching without a vault"),
            hint=_("Give --case ID with a vault, or -o DIR without one."),
        )
    if directory:
        path = os.path.abspath(directory)
        return Target(vault=None, case="", path=path, policy=checked_policy(policy or "default"))
    if not case:
        raise UsageError(
            _("where are bags to go?"),
            hint=_("Give --case ID with a vault, or -o DIR without one."),
        )
    from archiver.vault import check_case

    check_case(case)
    opened = find_vault(vault, catalog)
    chosen = checked_policy(policy or opened.policy)
    return Target(vault=opened, case=case, path=opened.path, policy=chosen)


def _rules(folders: Sequence[_Folder], policy: Any, quiet_period: str) -> list[tuple[str, Any]]:
    """Each folder with its watch rules."""
    from archiver.cli.sizes import parse_seconds

    changes = {"quiet_seconds": parse_seconds(quiet_period)} if quiet_period else {}
    return [(one.path, replace((one.policy or policy).watch, **changes)) for one in folders]
