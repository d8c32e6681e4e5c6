"""The exception tree: every error a user can meet, with its exit code.

::

    ArchiverError            never raised itself; carries exit_code and hint
    ├── UsageError           what was asked for makes no sense               2
    ├── FormatError          bytes do not follow their specification         1
    ├── VerificationError    (archiver.findings) a claim does not hold       1, 3, 4
    ├── UnreadableError      what was to be checked can't be read            3
    ├── PolicyError          a policy that cannot be used                    2
    ├── KeyringError         a key or certificate that cannot be used        5
    ├── SourceError          what was to be archived can't be read,
    │                        or changed while being read                     5
    ├── DestinationError     a bag can't be put where it was wanted          5
    ├── VaultError           a vault that can't be used: NotFoundError (2),
    │                        AlreadyExistsError, LockedError, CatalogError,
    │                        LogError (1), NoIntactReplicaError (1)          5
    ├── StorageError         a place to keep bytes failed (full, I/O)        5
    ├── ConsentError         (archiver.consent) a witness doesn't allow it     4
    ├── SecretError          (archiver.secrecy) told without its contents      5
    └── RemoteError          a TSA is unreachable, or its answer is wrong    5

Details are findings, not more classes. Foreign errors are wrapped at the edge
with ``raise … from``.
"""

from __future__ import annotations

import errno

from archiver.i18n import N_, _

__all__ = [
    "AlreadyExistsError",
    "ArchiverError",
    "CatalogError",
    "DestinationError",
    "FormatError",
    "KeyringError",
    "LockedError",
    "LogError",
    "NoIntactReplicaError",
    "NotFoundError",
    "PolicyError",
    "RemoteError",
    "SourceError",
    "StorageError",
    "UnreadableError",
    "UsageError",
    "VaultError",
    "storage_error",
]


class ArchiverError(Exception):
    """What a user can meet. ``hint`` is the next step where more is known of it than of
    every error of its class (``usual_hint``).
    """

    exit_code = 5
    usual_hint = N_("See 'archiver --help'.")

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def next_step(self) -> str:
        """What to do now, in the user's language."""
        return self.hint or _(self.usual_hint)


class UsageError(ArchiverError):
    """What was asked for makes no sense; nothing was done."""

    exit_code = 2
    usual_hint = N_("Run the command with --help to see what it takes.")


class FormatError(ArchiverError):
    """Bytes do not follow their specification."""

    exit_code = 1
    usual_hint = N_("It is damaged, or something else: take an intact copy of it.")


class UnreadableError(ArchiverError):
    """What was to be checked can't be read: nothing can be decided."""

    exit_code = 3
    usual_hint = N_("Check its permissions and its disk, then run the command again.")


class PolicyError(ArchiverError):
    """A policy that cannot be used; names file and line."""

    exit_code = 2
    usual_hint = N_("See 'archiver policy list', and 'archiver policy check FILE'.")


class KeyringError(ArchiverError):
    """A key or certificate that cannot be used; nothing was signed."""

    usual_hint = N_("Use another key, or an intact copy of this one.")


class SourceError(ArchiverError):
    """What was to be archived can't be read, or changed while being read."""

    usual_hint = N_("Check that it can be read and nobody writes to it, then run it again.")


class DestinationError(ArchiverError):
    """A bag can't be put where it was wanted."""

    usual_hint = N_("Nothing is ever replaced: choose another name, or move it away yourself.")


class VaultError(ArchiverError):
    """A vault that can't be used, or can't be used so."""

    usual_hint = N_("See what 'archiver events verify' and 'archiver audit' say of it.")


class NotFoundError(VaultError):
    """A vault, case or item that isn't there."""

    exit_code = 2
    usual_hint = N_("See 'archiver list'.")


class AlreadyExistsError(VaultError):
    """What was to be made is there already."""


class LockedError(VaultError):
    """Another process is writing."""


class CatalogError(VaultError):
    """The index of a vault can't be used; the bags and logs don't depend on it."""


class NoIntactReplicaError(VaultError):
    """No copy is what was sealed: there is nothing to repair from."""

    exit_code = 1


class LogError(VaultError):
    """A custody log whose chain is broken: it is not intact."""

    exit_code = 1


class StorageError(ArchiverError):
    """A place to keep bytes failed: full, read-only, I/O. ``errno`` where that is known, or 0."""

    errno = 0
    usual_hint = N_(
        "Check that the destination is writable and healthy, then run the command again."
    )


class RemoteError(ArchiverError):
    """A TSA or another service is unreachable, or what it answers is wrong."""

    usual_hint = N_("Check the network and the address, then run the command again.")


def storage_error(error: OSError, place: str) -> StorageError:
    """``error``, met while writing to ``place``, as a :class:`StorageError`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        told = StorageError(
            _("no space left while writing {place}").format(place=place),
            hint=_("Free some space or choose another destination; nothing was left behind."),
        )
    else:
        told = StorageError(
            _("cannot write {place}: {reason}").format(
                place=place, reason=error.strerror or str(error)
            ),
        )
    told.errno = error.errno or 0
    return told
