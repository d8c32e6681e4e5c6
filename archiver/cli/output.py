"""What a person or a program reads: escaped text, colours, JSON.

Job: the only place that writes to standard output and standard error. Limits:
decides nothing. Results go to standard output, talk to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from archiver.i18n import _, ngettext

if TYPE_CHECKING:
    from archiver.errors import ArchiverError
    from archiver.findings import Finding  # the catalogue behind it costs start-up time

__all__ = ["Output", "count_files", "finding_json", "human_size", "printable", "settings"]

_COLORS = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


class _Settings:
    """What holds for the whole run."""

    color = True


settings = _Settings()


def printable(text: str) -> str:
    """``text`` fit for a terminal: what could steer it or mislead is escaped.

    Control and format characters (bidirectional overrides among them), line
    breaks, and bytes that are not UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def human_size(size_bytes: float) -> str:
    """In units of 1000, as disks are sold."""
    for unit in _UNITS:
        if size_bytes < 1000 or unit == _UNITS[-1]:
            break
        size_bytes /= 1000
    return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"


def count_files(count: int) -> str:
    """``1 file``, ``2 files``."""
    return ngettext("{count} file", "{count} files", count).format(count=count)


def finding_json(finding: Finding) -> dict[str, object]:
    """A finding as JSON has it."""
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "path": finding.path,
        "message": finding.message,
        "details": dict(finding.details),
        "reference": finding.reference,
    }


class Output:
    """Prints for one command. ``quiet`` keeps warnings and talk back."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    def line(self, text: str = "") -> None:
        """A line of the result."""
        print(text)

    def json(self, document: Mapping[str, object]) -> None:
        """The result as one line of JSON, in ASCII."""
        import json

        print(json.dumps(document))

    def json_list(
        self, head: Mapping[str, object], name: str, rows: Iterable[Mapping[str, object]]
    ) -> None:
        """The same, with a list ``name`` at its end that may be longer than memory."""
        import json

        print(f"{json.dumps(head)[:-1]}, {json.dumps(name)}: [", end="")
        for number, row in enumerate(rows):
            print(", " if number else "", json.dumps(row), sep="", end="")
        print("]}")

    def say(self, text: str) -> None:
        """Talk."""
        if not self.quiet:
            print(printable(text), file=sys.stderr)

    def say_line(self, text: str) -> None:
        """Talk that is fit for a terminal already."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def warning(self, text: str) -> None:
        """A warning."""
        if not self.quiet:
            mark = self.paint("warning:", "yellow", sys.stderr)
            print(f"{mark} {printable(text)}", file=sys.stderr)

    def error(self, text: str, hint: str) -> None:
        """One line for the error, one for the next step."""
        sys.stdout.flush()
        print(f"{self.paint('error:', 'red', sys.stderr)} {printable(text)}", file=sys.stderr)
        if hint:
            self.hint(hint)

    def failed(self, error: ArchiverError) -> int:
        """What went wrong, and the next step; the exit code."""
        self.error(error.message, error.next_step)
        return error.exit_code

    def hint(self, text: str) -> None:
        """The next step."""
        sys.stdout.flush()
        print(f"{self.paint('hint:', 'bold', sys.stderr)} {printable(text)}", file=sys.stderr)

    def paint(self, text: str, color: str, stream: object = None) -> str:
        """``text`` in ``color`` where the stream is a terminal that wants it."""
        stream = stream or sys.stdout
        if settings.color and getattr(stream, "isatty", lambda: False)():
            return f"\033[{_COLORS[color]}m{text}\033[0m"
        return text

    def finding(self, finding: Finding) -> str:
        """One finding as a line."""
        severity = finding.severity.value
        word = {"error": _("error"), "undecided": _("undecided"), "warning": _("warning")}
        mark = self.paint(word[severity], "red" if severity == "error" else "yellow")
        place = f"{printable(finding.path)}: " if finding.path else ""
        return f"  {mark} {finding.code} {place}{printable(finding.message)} [{finding.reference}]"

    def limited(self, findings: Iterable[Finding], limit: int) -> None:
        """Warnings as talk, at most ``limit`` of them."""
        shown = list(findings)
        for finding in shown[:limit]:
            self.warning(f"{finding.path}: {finding.message} ({finding.code})")
        if len(shown) > limit:
            self.warning(_("and {count} more like these").format(count=len(shown) - limit))
