"""What the commands share that encrypt or decrypt: recipients and identity files as options."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

from archiver.cli.output import Output
from archiver.errors import UsageError
from archiver.i18n import _

if TYPE_CHECKING:
    from archiver.encrypt import Identities

__all__ = [
    "begin_in_secret",
    "identities_option",
    "in_secret",
    "load_identities",
    "load_recipients",
]


def identities_option(text: str = "") -> Any:
    """``--identity`` where something is opened."""
    help_text = text or _("Open with the secret key in this age identity file (repeatable).")
    return typer.Option("--identity", metavar="KEYFILE", help=help_text)


def begin_in_secret(output: Output) -> None:
    """No core dumps from here on; swap that keeps memory in clear is told of."""
    from archiver.secrecy import clear_swaps, harden

    harden()
    for path in clear_swaps():
        text = _("{path}: swap that is not encrypted; what is typed now may be written there")
        output.warning(text.format(path=path))


def in_secret(identity: Sequence[str], output: Output) -> AbstractContextManager[None]:
    """While something is opened with the keys of ``identity``, if there are any: as
    :func:`begin_in_secret`, and no error shows a word of it.
    """
    from archiver.secrecy import guarded

    if not identity:
        return nullcontext()
    begin_in_secret(output)
    return guarded()


def load_recipients(given: Sequence[str], from_policy: Sequence[str]) -> tuple[str, ...]:
    """Recipients: each is one, or a file of them, one a line. Raises ArchiverError."""
    from archiver.encrypt import MAX_KEY_FILE_BYTES, parse_recipient, read_recipients

    found = [parse_recipient(one) for one in from_policy]
    for one in given:
        if not os.path.isfile(one):
            if os.sep in one or one.endswith((".age", ".txt", ".pub", ".key")):
                raise UsageError(
                    _("there is no recipient file {path}").format(path=one),
                    hint=_("Name a recipient, age1…, or a file of them."),
                )
            found.append(parse_recipient(one))
            continue
        try:
            with open(one, "rb") as file:
                data = file.read(MAX_KEY_FILE_BYTES + 1)
        except OSError as error:
            raise UsageError(
                _("{path}: {reason}").format(path=one, reason=error.strerror or str(error))
            ) from error
        found += read_recipients(data, one)
    return tuple(dict.fromkeys(found))


def load_identities(paths: Sequence[str], passphrase_file: str = "") -> Identities:
    """The secret keys of identity files; a passphrase is that of ``passphrase_file``, else asked
    for at the terminal, else that which the environment names. Raises ArchiverError.
    """
    from archiver.cli.keys import prompt
    from archiver.encrypt import MAX_KEY_FILE_BYTES, join_identities, read_identities
    from archiver.pki.passphrase import find_passphrase, read_guarded

    def ask(place: str) -> bytes:
        if passphrase_file or not sys.stdin.isatty():
            found = find_passphrase(passphrase_file, os.environ)
            if found is not None:
                return found
        return prompt(_("Passphrase for {path}: ").format(path=place))

    return join_identities(
        read_identities(read_guarded(path, MAX_KEY_FILE_BYTES), path, ask) for path in paths
    )
