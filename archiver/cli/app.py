"""The command tree.

Job: put the commands together. Built anew for each run, since help texts are
translated when they are made, and only as far as a run needs: reading every
command's options would double the time that ``--help`` takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from archiver import __version__
from archiver.i18n import N_, _

__all__ = ["build_app"]

_COMPLETION = "_ARCHIVER_COMPLETE"
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
COMMANDS = {
    "setup": N_(
        "Set up keys in one guided conversation: a CA, your signer, trusted time, a recovery"
        " sheet, a tested restore. Can be run again at any time."
    ),
    "init": N_("Make a vault: a directory in which sealed bags are kept, case by case."),
    "ingest": N_(
        "Make a sealed bag of the sources in the vault, as the next item of a case. Sources"
        " are only read; the bag is read back before it counts."
    ),
    "withdraw": N_(
        "End an item that was begun and will never be finished. Its number stays, with the reason;"
        " the reason stands in the log: no names."
    ),
    "list": N_("List the items of the vault, or of a case."),
    "show": N_("Show an item: where its bag lies, what the log keeps of it."),
    "audit": N_(
        "Read what the vault keeps and compare it with its log, the longest unchecked first."
        " Exit code 1 while anything is damaged."
    ),
    "repair": N_(
        "Make damaged or missing copies of an item good again from one that is proved good. Says"
        " what it would do; --yes does it. Nothing is written over."
    ),
    "search": N_(
        "Search the descriptions of the vault's items. Accents and case don't matter; word* finds"
        ' what begins so, "two words" what stands together. Protected fields and secret items'
        " are never searched."
    ),
    "export": N_(
        "Hand out an item: a copy that is proved good, as a directory, tar or zip, with a receipt"
        " that the receiver can sign. Nothing is handed out that the log doesn't know."
    ),
    "events": N_(
        "Tell what happened, from the custody logs; 'verify' checks their chains, and that the"
        " bags are those that were sealed."
    ),
}
"""Commands at the top of the tree: each is ``add_NAME`` in the module that has it."""
GROUPS = {
    "watch": N_(
        "Archive what arrives in folders, each file once it has settled: it isn't lost, and isn't"
        " taken half-written. 'watch status FILE' tells whether a file is safe."
    ),
    "absence": N_(
        "Record what should exist and doesn't: an investigation never made, evidence destroyed."
    ),
    "catalog": N_("Check the index of a vault, or make it anew from the logs."),
    "incident": N_("Copies that were not good: which are open, and why some are to stay so."),
    "replica": N_("Keep copies of the vault's bags in other places."),
    "receipt": N_("Sign receipts of what was handed out, file them, list those still open."),
    "describe": N_(
        "Say what something is: forms to fill in, what is wrong with one, what is still owed;"
        " what is learnt later is sealed beside the bag, for good."
    ),
    "policy": N_("What is asked of bags: the policies, what holds by them, what a bag lacks."),
    "statement": N_(
        "Statements of witnesses: encrypted before anything is written, sealed with nothing but a"
        " code in clear, opened by those who hold a key."
    ),
    "consent": N_("What a witness allows, and has withdrawn: exports obey it."),
    "bag": N_("Make, check, sign and look at bags."),
    "key": N_("Make and keep keys: a CA, signers, the trust list. 'archiver setup' guides you."),
    "timestamp": N_(
        "Time stamps without a network: requests go out on a stick, answers come back."
    ),
}
"""Groups of commands: each is ``NAME_app`` in the module of its name."""
_MODULES = {"init": "vault", "withdraw": "ingest", "list": "vault"}
"""Of commands that don't have a module of their own."""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"archiver {__version__}")
        raise typer.Exit


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """The program, as far as ``arguments`` call for it: the command that they name whole,
    of the others the names and what they are for.
    """
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

    named = next((one for one in arguments if not one.startswith("-")), "")
    for name, summary in (COMMANDS | GROUPS).items():
        whole = name == named or _COMPLETION in os.environ
        (_add_whole if whole else _add_name)(app, name, _(summary))
    return app


def _add_whole(app: typer.Typer, name: str, summary: str) -> None:
    module = import_module(f"archiver.cli.{_MODULES.get(name, name)}")
    if name in GROUPS:
        group: Callable[[dict[str, Any], str], typer.Typer] = getattr(module, f"{name}_app")
        app.add_typer(group(SETTINGS, summary), name=name)
    else:
        getattr(module, f"add_{name}")(app, summary)


def _add_name(app: typer.Typer, name: str, summary: str) -> None:
    """Enough for the list of commands; it is never run."""

    @app.command(name, help=summary)
    def listed() -> None:
        pass
