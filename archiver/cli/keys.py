"""What the commands that open keys share: where keys lie, where passphrases come from.

Job: options into open keys. Limits: a passphrase is never shown, logged or taken
as an argument.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from archiver.cli.output import Output, printable
from archiver.errors import KeyringError, UsageError
from archiver.i18n import _, ngettext

if TYPE_CHECKING:
    from archiver.pki.certificates import Certificate
    from archiver.pki.keyring import Ask, SigningKey
    from archiver.seal import Sealing
    from archiver.seal.stamping import StampOptions

__all__ = [
    "ask_for",
    "check_signers",
    "confirm",
    "load_signers",
    "new_passphrase",
    "patiently",
    "prompt",
    "require_signers",
    "sealing_for",
    "stamp_options",
]

MIN_PASSPHRASE = 12
"""Characters; guessing goes on for years."""
TRIES = 3
_Opened = TypeVar("_Opened")


def ask_for(passphrase_file: str, *, attended: bool = True) -> Ask:
    """Gives passphrases: from the file or environment, else by asking at the terminal where
    it is ``attended``.
    """

    def ask(place: str) -> bytes:
        from archiver.pki.passphrase import find_passphrase

        found = find_passphrase(passphrase_file, os.environ)
        if found is None and not attended:
            raise _nobody_there()
        return found or prompt(_("Passphrase for {path}: ").format(path=place))

    return ask


def _nobody_there() -> KeyringError:
    return KeyringError(
        _("a passphrase is needed, and nobody is there to type it"),
        hint=_("Give --passphrase-file FILE, or set ARCHIVER_PASSPHRASE_FILE."),
    )


def prompt(text: str) -> bytes:
    """Ask at the terminal, without an echo. Raises KeyringError where nobody is there."""
    import getpass

    if not sys.stdin.isatty():
        raise _nobody_there()
    try:
        return getpass.getpass(text).encode()
    except (UnicodeError, EOFError) as error:
        raise KeyringError(
            _("the passphrase could not be read"), hint=_("Type it again, in UTF-8.")
        ) from error


def confirm(question: str) -> None:
    """Ask whether one is sure; whoever isn't interrupts the command."""
    try:
        choice = _("y/N")
        answer = input(f"{printable(question)} [{choice}] ").strip().lower()
    except EOFError as error:
        raise KeyboardInterrupt from error
    if answer not in ("y", "yes", "s", "si", "sí"):
        raise KeyboardInterrupt


def patiently(work: Callable[[], _Opened], passphrase_file: str | None) -> _Opened:
    """Open a key; who typed a wrong passphrase may type it again, twice. ``passphrase_file``
    None: nobody is there.
    """
    from archiver.pki.keys import PassphraseError
    from archiver.pki.passphrase import find_passphrase

    for _attempt in range(0 if passphrase_file is None else TRIES - 1):
        try:
            return work()
        except PassphraseError as error:
            assert passphrase_file is not None
            if find_passphrase(passphrase_file, os.environ) is not None:
                raise
            print(error.message, file=sys.stderr)
    return work()


def new_passphrase(passphrase_file: str, what: str) -> bytes:
    """A passphrase for a new key: from the file or environment, else typed twice."""
    from archiver.pki.passphrase import find_passphrase

    short = _("That is shorter than {count} characters. Four or five unrelated words do.").format(
        count=MIN_PASSPHRASE
    )
    found = find_passphrase(passphrase_file, os.environ)
    if found is not None:
        if len(found.decode("utf-8", "replace")) < MIN_PASSPHRASE:
            text = _("the passphrase for {what} is short, and can be guessed: {short}")
            Output().warning(text.format(what=what, short=short))
        return found
    while True:
        first = prompt(_("New passphrase for {what}: ").format(what=what))
        if len(first.decode()) < MIN_PASSPHRASE:
            print(short, file=sys.stderr)
        elif prompt(_("The same again: ")) != first:
            print(_("The two differ. Once more."), file=sys.stderr)
        else:
            return first


def load_signers(
    names: Sequence[str],
    key_dir: str,
    passphrase_files: Sequence[str],
    now: datetime,
    *,
    attended: bool = True,
) -> tuple[SigningKey, ...]:
    """The open keys of ``names``; one passphrase file serves all of them, several serve them
    in their order. Where it isn't ``attended``, nobody is asked. Raises ArchiverError.
    """
    from archiver.pki.keyring import default_directory, open_signer

    files = list(passphrase_files) or [""]
    if len(files) not in (1, len(names)):
        raise UsageError(
            _("{count} passphrase files for {keys} keys").format(count=len(files), keys=len(names)),
            hint=_("Give one for all keys, or one for each, in the order of --key."),
        )
    directory = key_dir or default_directory()
    signers = []
    for number, name in enumerate(names):
        file = files[number % len(files)]
        signer = patiently(
            lambda name=name, file=file: open_signer(  # type: ignore[misc]
                name, [directory], ask_for(file, attended=attended), now
            ),
            file if attended else None,
        )
        if signer.was_open and attended:
            text = _("the key of {name} has no passphrase: whoever copies the file can sign")
            Output().warning(text.format(name=name))
        signers.append(signer)
    check_signers(signers, directory, now, warn=attended)
    return tuple({one.certificate.fingerprint: one for one in signers}.values())


def require_signers(
    names: Sequence[str], required: int, *, unsigned: bool, kept: bool = True
) -> None:
    """Raises UsageError where fewer keys are named than have to sign, or, of what a vault is
    to keep (``kept``), it is neither said who signs nor that nobody does.
    """
    given = len(set(names))
    if unsigned and given:
        raise UsageError(
            _("--unsigned and --key contradict each other"), hint=_("Leave one of them out.")
        )
    if given < required:
        raise UsageError(
            ngettext(
                "{count} signature is required; keys that were given: {given}",
                "{count} signatures are required; keys that were given: {given}",
                required,
            ).format(count=required, given=given),
            hint=_("Name who signs with --key NAME; 'archiver setup' makes a key."),
        )
    if kept and not given and not unsigned:
        raise UsageError(
            _("what a vault keeps is sealed, and no key was given"),
            hint=_("Name who signs with --key NAME, or say --unsigned."),
        )


def check_signers(
    signers: Sequence[SigningKey], key_dir: str, now: datetime, *, warn: bool = True
) -> None:
    """What stands against open keys now: they have expired, or the trust list in the key
    directory, if there is one, has them revoked. Raises KeyringError.
    """
    from archiver.pki.keyring import default_directory
    from archiver.pki.trustfiles import LIST_FILE, read_list

    for signer in signers:
        if not signer.certificate.valid_at(now):
            raise KeyringError(
                _("{name}: the certificate is valid from {first} to {last}, not today").format(
                    name=signer.certificate.name,
                    first=signer.certificate.not_before.date(),
                    last=signer.certificate.not_after.date(),
                ),
                hint=_("Make a new one with 'archiver key new', and check this machine's clock."),
            )
    directory = key_dir or default_directory()
    if not os.path.exists(os.path.join(directory, LIST_FILE)):
        return
    trust = read_list(directory)
    for signer in signers:
        entry = trust.find(signer.certificate.fingerprint)
        if entry is not None and entry.invalid_after is not None:
            raise KeyringError(
                _("{name} is revoked for all after {since}: nobody would believe its seal").format(
                    name=entry.name, since=entry.invalid_after.isoformat(" ", "seconds")
                ),
                hint=_("Make a new signer: archiver key new NAME."),
            )
        if warn and entry is None and signer.certificate.issuer == trust.authority.subject:
            text = _("{name} is not on the trust list: who goes by the list won't know it")
            Output().warning(text.format(name=signer.certificate.name))


def sealing_for(
    names: Sequence[str],
    key_dir: str,
    passphrase_files: Sequence[str],
    urls: Sequence[str],
    tsa_roots: Sequence[str],
    now: datetime,
    *,
    require_stamp: bool = False,
    attended: bool = True,
) -> Sealing:
    """Open keys and TSAs as one value. Raises ArchiverError."""
    from archiver.seal import Sealing

    return Sealing(
        stamps=stamp_options(urls, tsa_roots, key_dir),
        signers=load_signers(names, key_dir, passphrase_files, now, attended=attended),
        require_stamp=require_stamp,
    )


def stamp_options(urls: Sequence[str], tsa_roots: Sequence[str], key_dir: str = "") -> StampOptions:
    """TSAs to ask; roots that the key directory's trust list pins count too.

    Raises UsageError, KeyringError.
    """
    from archiver.pki.keyring import default_directory
    from archiver.pki.trustfiles import LIST_FILE, read_list
    from archiver.seal.stamping import StampOptions
    from archiver.timestamp.client import check_url
    from archiver.verify import load_anchors

    spelt = tuple(dict.fromkeys(check_url(url) for url in urls))
    directory = key_dir or default_directory()
    pinned: dict[str, tuple[Certificate, ...]] = {}
    if spelt and os.path.exists(os.path.join(directory, LIST_FILE)):
        for root in read_list(directory).tsa_roots:
            if root.url:
                pinned[root.url] = (*pinned.get(root.url, ()), root.certificate)
    return StampOptions(
        urls=spelt, roots=load_anchors(tsa_roots=tsa_roots).tsa_roots, pinned=pinned
    )
