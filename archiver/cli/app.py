"""The command tree.

Job: put the command groups together. Built anew for each run, since help texts
are translated when they are made.
"""

from __future__ import annotations

from typing import Annotated

import typer

from archiver import __version__
from archiver.cli.bag import bag_app
from archiver.cli.key import key_app
from archiver.cli.setup import add_setup
from archiver.cli.timestamp import timestamp_app
from archiver.cli.vault import add_vault_commands
from archiver.i18n import _

__all__ = ["build_app"]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"archiver {__version__}")
        raise typer.Exit


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def build_app() -> typer.Typer:
    """The whole program."""
    app = typer.Typer(
        name="archiver",
        help=_("Pack documents, videos and statements into BagIt bags that anyone can check."),
        epilog=_("Example: archiver bag create evidence/ -o case-001"),
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings=SETTINGS,
    )

    @app.callback()
    def common(
        version: Annotated[
            bool,
            typer.Option(
                "--version",
                help=_("Show the version and exit."),
                is_eager=True,
                callback=_show_version,
            ),
        ] = False,
        debug: Annotated[
            bool, typer.Option("--debug", help=_("Show the traceback of an error. Anywhere."))
        ] = False,
        no_color: Annotated[
            bool, typer.Option("--no-color", help=_("No colours (or set NO_COLOR). Anywhere."))
        ] = False,
        lang: Annotated[
            str, typer.Option("--lang", help=_("Language: en or es. Anywhere."), metavar="LANG")
        ] = "",
    ) -> None:
        pass  # main() has taken these already; they stand here for --help

    add_setup(app)
    add_vault_commands(app)
    app.add_typer(bag_app(SETTINGS), name="bag")
    app.add_typer(key_app(SETTINGS), name="key")
    app.add_typer(timestamp_app(SETTINGS), name="timestamp")
    return app
