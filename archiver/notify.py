"""Somebody is told of an incident: a command is run, or mail is handed to the system.

Job: tell, and say whether that was done. Limits: knows nothing of when; names of files and
people are not in it. Nothing of a vault's own files says what is run: a vault may come
from a stranger.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from email.message import EmailMessage

from archiver.catalog.model import Incident
from archiver.errors import RemoteError, UsageError
from archiver.i18n import _, ngettext

__all__ = ["check_address", "incidents_json", "run_hook", "send_mail", "split_command"]

_SECONDS = 60
_SENDMAIL = ("/usr/sbin/sendmail", "/usr/lib/sendmail")


def incidents_json(vault: str, incidents: Sequence[Incident]) -> dict[str, object]:
    """What a hook gets: ``vault`` is its identifier."""
    return {
        "schema": "archiver/incidents/1",
        "vault": vault,
        "incidents": [
            {
                "id": one.item,
                "case": one.case,
                "replica": one.place or None,
                "result": one.result,
                "opened_at": one.opened_at.isoformat(),
            }
            for one in incidents
        ],
    }


def run_hook(command: str, vault: str, incidents: Sequence[Incident]) -> None:
    """Run ``command`` (split like a shell does, run without one) with the incidents as JSON
    on its standard input. Raises UsageError, RemoteError.
    """
    words = split_command(command)
    _run(words, json.dumps(incidents_json(vault, incidents)).encode() + b"\n")


def split_command(command: str) -> list[str]:
    """Its words. Raises UsageError."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise UsageError(
            _("{command!r} is no command").format(command=command),
            hint=_("Give a program with its options: --notify '/usr/local/bin/tell --loud'."),
        )
    return words


def check_address(address: str) -> None:
    """Raise UsageError for what is no mail address, or would be an option of sendmail."""
    if address.startswith("-") or not address.isprintable() or "@" not in address:
        raise UsageError(
            _("{address!r} is no mail address").format(address=address),
            hint=_("Write it as name@example.org."),
        )


def send_mail(
    address: str, vault: str, incidents: Sequence[Incident], programs: Sequence[str] = _SENDMAIL
) -> None:
    """Hand a mail to the system's sendmail. Raises UsageError, RemoteError."""
    check_address(address)
    program = next((one for one in programs if os.access(one, os.X_OK)), "")
    if not program:
        raise RemoteError(
            _("there is no sendmail on this machine"),
            hint=_("Install one, or use --notify COMMAND."),
        )
    message = EmailMessage()
    message["To"] = address
    message["Subject"] = ngettext(
        "archiver: {count} copy is not good",
        "archiver: {count} copies are not good",
        len(incidents),
    ).format(count=len(incidents))
    lines = [f"{one}: {one.result} ({one.opened_at.isoformat()})" for one in incidents]
    message.set_content("\n".join([vault, "", *lines, ""]))
    _run([program, "-i", "--", address], message.as_bytes())


def _run(words: Sequence[str], data: bytes) -> None:
    try:
        done = subprocess.run(
            words,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise RemoteError(
            _("{program} could not be run: {reason}").format(program=words[0], reason=reason)
        ) from error
    if done.returncode:
        raise RemoteError(
            _("{program} ended with code {code}").format(program=words[0], code=done.returncode)
        )
