"""What the commands that open keys share: where keys lie, where passphrases come from.

Job: options into open keys. Limits: a passphrase is asked for at most once for each
file and process; it is never shown, logged or kept in an argument.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from archiver.errors import KeyringError
from archiver.i18n import _

if TYPE_CHECKING:
    from archiver.pki.keyring import SigningKey
    from archiver.seal import Sealing
    from archiver.seal.stamping import StampOptions

__all__ = ["ask_for", "load_signers", "new_passphrase", "prompt", "sealing_for", "stamp_options"]

MIN_PASSPHRASE = 12
"""Characters of a passphrase that is typed; guessing goes on for years."""


def ask_for(passphrase_file: str) -> Callable[[str], bytes]:
    """Gives passphrases: from the file or environment, else by asking at the terminal."""
    known: list[bytes] = []

    def ask(place: str) -> bytes:
        from archiver.pki.passphrase import find_passphrase

        if not known:
            found = find_passphrase(passphrase_file, os.environ)
            if found is None:
                return prompt(_("Passphrase for {path}: ").format(path=place))
            known.append(found)
        return known[0]

    return ask


def prompt(text: str) -> bytes:
    """Ask at the terminal, without an echo. Raises KeyringError where nobody is there."""
    import getpass

    if not sys.stdin.isatty():
        raise KeyringError(
            _("a passphrase is needed, and nobody is there to type it"),
            hint=_("Give --passphrase-file FILE, or set ARCHIVER_PASSPHRASE_FILE."),
        )
    return getpass.getpass(text).encode()


def new_passphrase(passphrase_file: str, what: str) -> bytes:
    """A passphrase for a new key: from the file or environment, else typed twice."""
    from archiver.pki.passphrase import find_passphrase

    found = find_passphrase(passphrase_file, os.environ)
    if found is not None:
        return found
    while True:
        first = prompt(_("New passphrase for {what}: ").format(what=what))
        if len(first.decode()) < MIN_PASSPHRASE:
            text = _("That is shorter than {count} characters. Four or five unrelated words do.")
            print(text.format(count=MIN_PASSPHRASE), file=sys.stderr)
        elif prompt(_("The same again: ")) != first:
            print(_("The two differ. Once more."), file=sys.stderr)
        else:
            return first


def load_signers(
    names: Sequence[str], key_dir: str, passphrase_file: str, now: datetime
) -> tuple[SigningKey, ...]:
    """The open keys of ``names``. Raises ArchiverError."""
    from archiver.pki.keyring import default_directory, open_signer

    directories = [key_dir] if key_dir else [default_directory()]
    ask = ask_for(passphrase_file)
    signers = [open_signer(name, directories, ask, now) for name in names]
    return tuple({one.certificate.fingerprint: one for one in signers}.values())


def sealing_for(
    names: Sequence[str],
    key_dir: str,
    passphrase_file: str,
    urls: Sequence[str],
    tsa_roots: Sequence[str],
    now: datetime,
    *,
    require_stamp: bool = False,
) -> Sealing:
    """Open keys and TSAs as one value. Raises ArchiverError."""
    from archiver.seal import Sealing

    return Sealing(
        signers=load_signers(names, key_dir, passphrase_file, now),
        stamps=stamp_options(urls, tsa_roots),
        require_stamp=require_stamp,
    )


def stamp_options(urls: Sequence[str], tsa_roots: Sequence[str]) -> StampOptions:
    """TSAs to ask. Raises UsageError, KeyringError."""
    from archiver.seal.stamping import StampOptions
    from archiver.timestamp.client import check_url
    from archiver.verify import load_anchors

    return StampOptions(
        urls=tuple(dict.fromkeys(check_url(url) for url in urls)),
        roots=load_anchors(tsa_roots=tsa_roots).tsa_roots,
    )
