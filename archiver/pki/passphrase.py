"""Where a passphrase comes from when nobody is there to type it.

Job: a file that was named, ``$ARCHIVER_PASSPHRASE_FILE``, or a systemd credential,
in this order. Limits: asks nobody; a passphrase is never an argument, and never told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from archiver.errors import KeyringError, UsageError
from archiver.i18n import _

__all__ = ["CREDENTIAL", "VARIABLE", "find_passphrase", "read_guarded"]

VARIABLE = "ARCHIVER_PASSPHRASE_FILE"
CREDENTIAL = "archiver-passphrase"
"""The credential's name: ``LoadCredential=archiver-passphrase:…`` (systemd.exec(5))."""
_MAX_BYTES = 1 << 16


def find_passphrase(path: str, environment: Mapping[str, str]) -> bytes | None:
    """The passphrase from ``path`` ("" for none) or the environment; None where neither
    has one. Raises KeyringError, UsageError.
    """
    path = path or environment.get(VARIABLE, "")
    guarded = True
    if not path and environment.get("CREDENTIALS_DIRECTORY"):
        credential = os.path.join(environment["CREDENTIALS_DIRECTORY"], CREDENTIAL)
        path = credential if os.path.exists(credential) else ""
        guarded = False  # systemd guards it with an access list, which looks like mode 0440
    if not path:
        return None
    first = read_guarded(path, _MAX_BYTES, guarded=guarded).split(b"\n", 1)[0].removesuffix(b"\r")
    if not first:
        raise KeyringError(
            _("{path}: its first line is empty, so there is no passphrase").format(path=path),
            hint=_("Write the passphrase into its first line."),
        )
    return first


def read_guarded(path: str, limit: int, *, guarded: bool = True) -> bytes:
    """A file that only its owner, who is we (or we are root), may read; where it is not ``guarded``
    by its mode alone, its group may too.

    Raises KeyringError, UsageError.
    """
    others = 0o077 if guarded else 0o007
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(limit + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            _("{path}: {reason}").format(path=path, reason=reason),
            hint=_("Check the spelling of the path."),
        ) from error
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & others:
        raise KeyringError(
            _("{path} can be read by others").format(path=path),
            hint=_(
                "Run: chmod 600 {path}   (on a stick without permissions: mount it with umask=077)"
            ).format(path=path),
        )
    if stat.S_ISREG(found.st_mode) and os.geteuid() and found.st_uid not in (os.geteuid(), 0):
        raise KeyringError(
            _("{path} belongs to another user, who can read and change it").format(path=path),
            hint=_("Run: chown {user} {path}").format(user=os.geteuid(), path=path),
        )
    if len(data) > limit:
        raise KeyringError(_("{path} is too long for what it should be").format(path=path))
    return data
