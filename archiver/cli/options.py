"""Options that several commands have: keys, passphrases, time stamps, anchors, answers.

Job: one place for their names. Made anew for each run, since help texts are
translated when they are made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import typer

from archiver.errors import UsageError
from archiver.i18n import _

__all__ = [
    "ca_dir_option",
    "crl_option",
    "dir_option",
    "identify_option",
    "json_option",
    "key_dir_option",
    "key_option",
    "passphrase_option",
    "passphrases_option",
    "policy_option",
    "quiet_option",
    "refuse_typo",
    "trust_option",
    "tsa_option",
    "tsa_root_option",
    "unsigned_option",
    "wait_option",
]


def key_option(text: str = "") -> Any:
    """``--key``."""
    help_text = text or _("Sign with this key: a name in the key directory, or a file.")
    return typer.Option("--key", metavar="NAME|FILE", help=help_text)


def key_dir_option() -> Any:
    """``--key-dir``."""
    text = _("Where keys are looked for (else ARCHIVER_KEY_DIR, or your own).")
    return typer.Option("--key-dir", metavar="DIR", help=text)


def dir_option() -> Any:
    """``--dir`` of the key commands."""
    text = _("The key directory (else ARCHIVER_KEY_DIR, or your own).")
    return typer.Option("--dir", "--key-dir", metavar="DIR", help=text)


def ca_dir_option() -> Any:
    """``--ca-dir``."""
    text = _("Where the CA's key lies, if not in the key directory: a stick, say.")
    return typer.Option("--ca-dir", metavar="DIR", help=text)


def passphrase_option(name: str = "--passphrase-file") -> Any:
    """``--passphrase-file``."""
    text = _("Read the passphrase from the first line of FILE.")
    return typer.Option(name, metavar="FILE", help=text)


def passphrases_option() -> Any:
    """``--passphrase-file`` where several keys may be opened."""
    text = _("Read the passphrase from the first line of FILE (one for all keys, or one each).")
    return typer.Option("--passphrase-file", metavar="FILE", help=text)


def tsa_option() -> Any:
    """``--tsa``."""
    text = _("Ask this TSA for a time stamp (repeatable).")
    return typer.Option("--tsa", metavar="URL", help=text)


def tsa_root_option() -> Any:
    """``--tsa-root``."""
    text = _("A TSA's root certificate that you trust (repeatable).")
    return typer.Option("--tsa-root", metavar="FILE", help=text)


def trust_option() -> Any:
    """``--trust``."""
    text = _(
        "Whom you trust (repeatable): a certificate from outside of the bag, a trust list,"
        " or a fingerprint sha256:..."
    )
    return typer.Option("--trust", metavar="FILE|FINGERPRINT", help=text)


def crl_option() -> Any:
    """``--crl``."""
    text = _("A certificate revocation list to go by (repeatable).")
    return typer.Option("--crl", metavar="FILE", help=text)


def identify_option() -> Any:
    """``--identify`` and ``--no-identify``: without either the policy says."""
    return typer.Option(
        "--identify/--no-identify",
        envvar="ARCHIVER_IDENTIFY",
        help=_("Tell the formats of the files, where the extra 'formats' is installed."),
        show_default=False,
    )


def policy_option() -> Any:
    """``--policy`` of what is taken into a vault."""
    text = _("Follow this policy, not the vault's.")
    return typer.Option("--policy", metavar="NAME", help=text)


def unsigned_option() -> Any:
    """``--unsigned`` of what makes bags."""
    return typer.Option("--unsigned", help=_("Make a bag that nobody signs."))


def wait_option() -> Any:
    """``--wait``."""
    text = _("How long to wait for another writer.")
    return typer.Option("--wait", metavar="SECONDS", min=0.0, help=text)


def json_option() -> Any:
    """``--json``."""
    return typer.Option("--json", help=_("Answer in JSON."))


def quiet_option() -> Any:
    """``--quiet``."""
    return typer.Option("--quiet", "-q", help=_("No warnings, no progress."))


def refuse_typo(word: str, commands: Iterable[str]) -> None:
    """Of a group whose first word may be something else than a command: raises UsageError where
    it is nearly one, and nothing that is there.
    """
    import difflib

    if "-E-" not in word and not os.path.lexists(word):
        near = difflib.get_close_matches(word, list(commands), 1, 0.7)
        if near:
            raise UsageError(
                _("there is no command {word}").format(word=word),
                hint=_("Did you mean {near}?").format(near=near[0]),
            )
