"""The command line: parse, call one function, print, exit (docs/cli.md).

Job: :func:`main`. Limits: everything it does can be done through the library;
heavy imports wait inside the commands, so that ``--help`` is fast.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from archiver.i18n import LANGUAGES, _, language_from_environment, use_language

if TYPE_CHECKING:
    from archiver.cli.output import Output

__all__ = ["main"]

EXIT_OK, EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 2, 5, 130
_FLAGS = ("--debug", "--no-color")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Nothing is raised unless ``--debug`` is given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_streams()
    given, flags, language = _hoist(given)
    use_language(language or language_from_environment())
    if not hasattr(os, "O_NOFOLLOW"):
        _tell("error:", _("this system lacks what keeps archives safe (POSIX)"))
        return EXIT_FAILED
    if sys.getfilesystemencoding() != "utf-8":
        _tell("error:", _("file names are not read as UTF-8 here"))
        _tell("hint:", _("Set LC_ALL=C.UTF-8 and run the command again."))
        return EXIT_FAILED
    signal.signal(signal.SIGTERM, _interrupt)
    for ending in (signal.SIGHUP, signal.SIGQUIT):  # the terminal was closed, or its quit key
        if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup, a shell's background
            signal.signal(ending, _interrupt)
    return _run(given, debug="--debug" in flags, color=_wants_color(flags))


def _tell(mark: str, text: str) -> None:
    """Before there is an :class:`~archiver.cli.output.Output`, or after its end."""
    print(mark, text, file=sys.stderr)


def _run(arguments: list[str], *, debug: bool, color: bool) -> int:
    try:
        from archiver.cli.output import Output, settings

        settings.color = color
        output = Output()
        try:
            return _command(arguments)
        except Exception as error:
            if debug:
                raise
            return _told(error, output, arguments)
    except KeyboardInterrupt:
        _tell("error:", _("interrupted"))
        return EXIT_INTERRUPTED


def _command(arguments: list[str]) -> int:
    import typer

    from archiver.cli.app import build_app

    try:
        result = build_app(arguments)(arguments, prog_name="archiver", standalone_mode=False)
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except SystemExit as error:  # typer's answer to a reader that has gone
        raise BrokenPipeError from error
    return result if isinstance(result, int) else EXIT_OK


def _told(error: Exception, output: Output, arguments: list[str]) -> int:
    """Say what went wrong; the exit code."""
    import typer

    from archiver.errors import ArchiverError

    if isinstance(error, ArchiverError):
        return output.failed(error)
    if isinstance(error, typer.TyperException):
        return _usage(error, output, arguments)
    if isinstance(error, BrokenPipeError):
        # Whoever read us has gone (archiver … | head): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    hint = _("This should not happen. Run the command again with --debug and report what it says.")
    output.error(f"{type(error).__name__}: {error}", hint)
    return EXIT_FAILED


def _usage(error: Exception, output: Output, arguments: list[str]) -> int:
    """A wrong option or argument, told in two lines like everything else."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return EXIT_USAGE
    command = context.command_path if context is not None else _named(arguments)
    hint = _("See '{command} --help'.").format(command=command)
    output.error(" ".join(message.split()), hint)
    return EXIT_USAGE


def _named(arguments: list[str]) -> str:
    """The command that ``arguments`` call, as far as they name one."""
    import typer

    from archiver.cli.app import build_app

    command: Any = typer.main.get_command(build_app(arguments))
    words = ["archiver"]
    for word in arguments:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        words.append(word)
    return " ".join(words)


def _hoist(arguments: list[str]) -> tuple[list[str], set[str], str]:
    """Take the options that hold for every command out, wherever they stand."""
    kept: list[str] = []
    flags: set[str] = set()
    language = ""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            kept += [argument, *rest]
        elif argument in _FLAGS:
            flags.add(argument)
        elif argument == "--lang":
            language = next(rest, "")
        elif argument.startswith("--lang="):
            language = argument.removeprefix("--lang=")
        else:
            kept.append(argument)
    if language and language not in LANGUAGES:
        print(
            f"warning: no language {language!r}; there are {', '.join(LANGUAGES)}", file=sys.stderr
        )
        language = ""
    return kept, flags, language


def _wants_color(flags: set[str]) -> bool:
    return not os.environ.get("NO_COLOR") and "--no-color" not in flags


def _prepare_streams() -> None:
    """A terminal that can't show a character gets an escape, never a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for good
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does: what was begun is cleaned up."""
    raise KeyboardInterrupt
