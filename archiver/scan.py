"""A virus scanner is asked about a payload: clean, infected, or not scanned and why.

Job: run the policy's command, and say what came of it. Limits: what it prints is not kept,
since it holds names; what is done with an infected payload is the policy's business. A skip
never looks like a pass: whatever isn't the exit code for "clean" is not clean.

What is secret is scanned before it is encrypted, by a command of its own, which reads each
file from its standard input: so no path of a plain file is an argument, and nobody has to
be able to open it but who has it open.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from archiver.errors import StorageError
from archiver.i18n import _
from archiver.policy import ScanPolicy

__all__ = ["CLEAN", "INFECTED", "NOT_SCANNED", "ScanResult", "scan_payload", "scan_plain"]

CLEAN, INFECTED, NOT_SCANNED = "clean", "infected", "not scanned"
_PLACE = "{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What came of it. ``scanner`` is the program's name without its path."""

    result: str
    scanner: str = ""
    reason: str = ""

    def detail(self) -> dict[str, Any]:
        """For the event "virus check"."""
        told = {"result": self.result, "scanner": self.scanner}
        return told | ({"reason": self.reason} if self.reason else {})


def scan_payload(
    path: str, policy: ScanPolicy, waiting: Callable[[], None] = lambda: None
) -> ScanResult:
    """Ask the scanner of ``policy`` about the directory ``path``. ``waiting`` is called once
    a second: what it raises ends the scanner.

    Raises StorageError where the payload is no longer what it was: some scanners move or
    mend what they find, and the digests are taken already.
    """
    if not policy.command:
        return ScanResult(result=NOT_SCANNED, reason="no scanner is configured")
    before = list(_state(path))
    found = _asked_about(path, policy, waiting)
    if list(_state(path)) != before:
        raise StorageError(
            _("the scanner {scanner} changed what it was to scan").format(scanner=found.scanner),
            hint=_("Have it report only: nothing may be moved, mended or deleted."),
        )
    return found


def scan_plain(
    paths: Sequence[str], policy: ScanPolicy, waiting: Callable[[], None] = lambda: None
) -> ScanResult:
    """Ask the scanner of ``policy`` about each file that is to be encrypted; "" is one that
    comes through a pipe. The worst answer counts: infected, then not scanned. All of them
    together take no longer than one payload may.
    """
    if not policy.secret_command:
        reason = "no scanner for what is encrypted is configured"
        return ScanResult(result=NOT_SCANNED, reason=reason)
    scanner, deadline = (
        os.path.basename(policy.secret_command[0]),
        time.monotonic() + policy.seconds,
    )
    if not paths:
        return ScanResult(result=NOT_SCANNED, scanner=scanner, reason="there is no file")
    worst = ScanResult(result=CLEAN, scanner=scanner)
    for path in paths:
        found = _fed(path, policy, deadline - time.monotonic(), waiting)
        if found.result == INFECTED:
            return found
        if found.result != CLEAN and worst.result == CLEAN:
            worst = found
    return worst


def _fed(path: str, policy: ScanPolicy, seconds: float, waiting: Callable[[], None]) -> ScanResult:
    """The answer about one file. No reason holds a word of its path."""
    scanner = os.path.basename(policy.secret_command[0])
    try:
        if not path:
            raise OSError(0, "it came through a pipe")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return ScanResult(result=NOT_SCANNED, scanner=scanner, reason=f"a file: {reason}")
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            reason = "a file: it is no regular file"
            return ScanResult(result=NOT_SCANNED, scanner=scanner, reason=reason)
        return _run(list(policy.secret_command), file, policy, seconds, waiting)


def _asked_about(path: str, policy: ScanPolicy, waiting: Callable[[], None]) -> ScanResult:
    if not any(_PLACE in word for word in policy.command[1:]):
        scanner, reason = os.path.basename(policy.command[0]), f"the command doesn't hold {_PLACE}"
        return ScanResult(result=NOT_SCANNED, scanner=scanner, reason=reason)
    words = [policy.command[0], *(one.replace(_PLACE, path) for one in policy.command[1:])]
    return _run(words, subprocess.DEVNULL, policy, policy.seconds, waiting)


def _run(
    words: list[str],
    given: int | IO[bytes],
    policy: ScanPolicy,
    seconds: float,
    waiting: Callable[[], None],
) -> ScanResult:
    """Run the command ``words``, which reads ``given``, for at most ``seconds``."""
    scanner, nothing = os.path.basename(words[0]), subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            words, stdin=given, stdout=nothing, stderr=nothing, start_new_session=True, cwd="/"
        )
    except (OSError, ValueError) as error:
        absent = isinstance(error, FileNotFoundError)
        why = getattr(error, "strerror", None) or type(error).__name__  # without its path
        reason = "absent" if absent else f"it can't be started: {why}"
        return ScanResult(result=NOT_SCANNED, scanner=scanner, reason=reason[:200])
    try:
        code = _waited(process, seconds, waiting)
    finally:  # and what it has left running
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code is None:
        result, reason = NOT_SCANNED, f"timed out after {policy.seconds} seconds"
    else:
        result, reason = _judged(code, policy)
    return ScanResult(result=result, scanner=scanner, reason=reason)


def _waited(
    process: subprocess.Popen[bytes], seconds: float, waiting: Callable[[], None]
) -> int | None:
    """Its exit code; None where it takes longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(1.0, left))
        waiting()
    return None


def _judged(code: int, policy: ScanPolicy) -> tuple[str, str]:
    if code == policy.infected:
        return INFECTED, ""
    if code == policy.clean:
        return CLEAN, ""
    return NOT_SCANNED, f"exit code {code}" if code >= 0 else f"ended by signal {-code}"


def _state(directory: str) -> Iterator[tuple[object, ...]]:
    """What tells that a file was touched: nobody sets a ctime."""
    for place, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted(files):
            full = os.path.join(place, name)
            found = os.lstat(full)
            kind = stat.S_IFMT(found.st_mode)
            yield full, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, kind
