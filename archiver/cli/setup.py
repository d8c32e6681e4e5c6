"""``archiver setup``: one guided conversation from nothing to a key that can seal bags.

Job: ask, explain, call what ``archiver key`` calls. Limits: every step can be done
alone by those commands; what is there already is kept, so that an interrupted setup
is gone on with by running it again.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from archiver.cli.key import make_authority, make_signer
from archiver.cli.keys import ask_for, new_passphrase, prompt
from archiver.cli.options import ca_dir_option, dir_option, passphrase_option
from archiver.cli.output import Output, printable
from archiver.errors import KeyringError, UsageError
from archiver.i18n import LANGUAGES, _, use_language

__all__ = ["add_setup"]

SHEET = "recovery-sheet.txt"


def add_setup(app: typer.Typer) -> None:
    """``setup``."""

    @app.command(
        help=_(
            "Set up keys in one guided conversation: a CA, your signer, trusted time, a recovery"
            " sheet, a tested restore. Can be run again at any time."
        ),
        epilog=_("Example: archiver setup"),
    )
    def setup(
        organisation: Annotated[
            str, typer.Option("--organisation", metavar="NAME", help=_("Whose CA it is."))
        ] = "",
        name: Annotated[
            str, typer.Option("--name", metavar="NAME", help=_("Your signer: you or this device."))
        ] = "",
        directory: Annotated[str, dir_option()] = "",
        ca_dir: Annotated[str, ca_dir_option()] = "",
        tsa: Annotated[
            str, typer.Option("--tsa", metavar="URL", help=_("A TSA to pin, with --tsa-root."))
        ] = "",
        tsa_root: Annotated[
            str, typer.Option("--tsa-root", metavar="FILE", help=_("Its root certificate."))
        ] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        ca_passphrase_file: Annotated[str, passphrase_option("--ca-passphrase-file")] = "",
        yes: Annotated[
            bool, typer.Option("--yes", help=_("Ask nothing: take the options and the defaults."))
        ] = False,
    ) -> int:
        talk = _Talk(quiet=yes)
        talk.choose_language()
        run = _Setup(talk, directory, ca_dir, passphrase_file, ca_passphrase_file)
        run.introduce()
        run.authority(organisation)
        run.signer(name)
        run.trusted_time(tsa, tsa_root)
        run.test_restore()
        run.finish()
        return 0


class _Talk:
    """Questions and explanations. ``quiet`` asks nothing and takes the defaults."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._output = Output()
        if not quiet and not sys.stdin.isatty():
            raise UsageError(
                _("setup is a conversation, and nobody is there to answer"),
                hint=_("Run it in a terminal, or with --yes and the answers as options."),
            )

    def say(self, text: str = "") -> None:
        self._output.line(printable(text) if text else "")

    def say_lines(self, text: str) -> None:
        for line in text.split("\n"):
            self.say(line)

    def step(self, number: int, title: str) -> None:
        self.say()
        self.say(_("Step {number} of 5: {title}").format(number=number, title=title))

    def ask(self, question: str, default: str = "") -> str:
        if self.quiet:
            return default
        shown = f"{question} [{default}]: " if default else f"{question}: "
        try:
            return input(printable(shown)).strip() or default
        except EOFError as error:
            raise KeyboardInterrupt from error

    def choose_language(self) -> None:
        if self.quiet or any(one == "--lang" or one.startswith("--lang=") for one in sys.argv):
            return
        default = "es" if _("yes") == "sí" else LANGUAGES[0]
        answer = self.ask("Language / Idioma: en, es", default)
        use_language(answer if answer in LANGUAGES else default)


class _Setup:
    def __init__(
        self,
        talk: _Talk,
        directory: str,
        ca_dir: str,
        passphrase_file: str,
        ca_passphrase_file: str,
    ) -> None:
        from datetime import UTC, datetime

        from archiver.pki.keyring import default_directory

        self._talk = talk
        self._now = datetime.now(UTC).replace(microsecond=0)
        self._directory = directory or talk.ask(_("Where keys are kept"), default_directory())
        self._ca_dir = ca_dir
        self._passphrase_file = passphrase_file
        self._ca_passphrase_file = ca_passphrase_file or passphrase_file
        self._ca_secret: bytes | None = None
        self._open: Any = None
        self._signer_name = ""

    def introduce(self) -> None:
        self._talk.say_lines(
            _(
                "This makes what you need to seal bags, so that anybody can check who sealed them\n"
                "and that nothing was changed since:\n"
                "  - a CA, your organisation's stamp; its key belongs on a stick in a safe;\n"
                "  - a signer, the key that this person or device signs with every day;\n"
                "  - a trust list, which you hand out to those who check.\n"
                "Nothing leaves this computer."
            )
        )

    # -- step 1

    def authority(self, organisation: str) -> None:
        from archiver.pki.trustfiles import read_list

        talk = self._talk
        talk.step(1, _("the CA"))
        if os.path.exists(os.path.join(self._directory, "ca.pem")):
            trust = read_list(self._directory)
            talk.say(_("There is one already: {name}.").format(name=trust.organisation))
            return
        name = organisation or talk.ask(_("Name of your organisation"))
        if not name:
            raise UsageError(
                _("the organisation needs a name"), hint=_("Give --organisation NAME.")
            )
        self._choose_ca_dir()
        talk.say_lines(
            _(
                "The CA's key is locked with a passphrase. Take five unrelated words, write them\n"
                "on the recovery sheet by hand, and keep the sheet where the stick is not.\n"
                "Whoever has both can sign in your name; without one of them nobody can, you\n"
                "included."
            )
        )
        secret = new_passphrase(self._ca_passphrase_file, _("the CA's key"))
        self._open = make_authority(self._directory, self._ca_dir, name, secret, self._now)
        self._ca_secret = secret
        talk.say(_("Done."))

    def _choose_ca_dir(self) -> None:
        talk = self._talk
        if not self._ca_dir:
            talk.say(_("Put in a stick for the CA's key now, if you have one."))
            beside = os.path.join(os.path.dirname(os.path.abspath(self._directory)), "ca")
            self._ca_dir = talk.ask(_("Where the CA's key is to lie"), beside)
        os.makedirs(self._ca_dir, mode=0o700, exist_ok=True)
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        if os.stat(self._ca_dir).st_dev == os.stat(self._directory).st_dev:
            talk.say(
                _("Note: that is the same disk. Move {path} to another medium soon.").format(
                    path=self._ca_dir
                )
            )

    def _authority(self) -> Any:
        """The open CA key, opened once."""
        from archiver.pki.keyring import open_authority

        if self._open is None:
            place = self._ca_dir
            for known in (place, self._directory):
                if known and os.path.exists(os.path.join(known, "ca.key")):
                    place = known
                    break
            else:
                place = self._talk.ask(_("Where the CA's key lies"), place or self._directory)
            self._ca_dir = place
            self._open = open_authority(place, ask_for(self._ca_passphrase_file))
        return self._open

    # -- step 2

    def signer(self, name: str) -> None:
        from archiver.pki.keyring import NewSigner, check_name, signer_names

        talk = self._talk
        talk.step(2, _("your signer"))
        known = signer_names(self._directory)
        if known and not name:
            talk.say(_("There are signers already: {names}.").format(names=", ".join(known)))
            name = talk.ask(_("Another one? Its name, or Enter for none"))
            if not name:
                self._signer_name = known[0]
                return
        if not name:
            talk.say(_("One for each person or device, for example: ana-laptop."))
            name = talk.ask(_("Name of the signer"), "signer")
        self._signer_name = check_name(name)
        if name in known:
            return
        authority = self._authority()
        talk.say(_("This passphrase is asked for whenever you seal. It may be another one."))
        secret = new_passphrase(self._passphrase_file, _("the key of {name}").format(name=name))
        make_signer(self._directory, NewSigner(name=name), authority, secret, self._now)
        talk.say(_("Done."))

    # -- step 3

    def trusted_time(self, url: str, root: str) -> None:
        from archiver.pki.keyring import certificates_in
        from archiver.pki.trustfiles import add_tsa_root, locked
        from archiver.timestamp.client import check_url

        talk = self._talk
        talk.step(3, _("trusted time"))
        talk.say_lines(
            _(
                "A time-stamping authority (TSA) proves that a seal existed at a certain time. It\n"
                "gets to see a digest, never a file. Without one, what you sign is not dated."
            )
        )
        url = url or talk.ask(_("Address of a TSA, or Enter for none"))
        if not url:
            return
        check_url(url)
        root = root or talk.ask(_("File with its root certificate, from the TSA's own pages"))
        if not root:
            raise UsageError(
                _("a TSA needs its root certificate: without it its stamps prove nothing"),
                hint=_("Give --tsa-root FILE, or run setup again without a TSA."),
            )
        found = certificates_in(root)
        authority = self._authority()
        with locked(self._directory):
            add_tsa_root(self._directory, found, url, authority, self._now)
        talk.say(_("Pinned. Use it with: --tsa {url} --tsa-root {path}").format(url=url, path=root))

    # -- step 4

    def test_restore(self) -> None:
        """Open the CA's key as it lies on its medium, and have it sign something."""
        from archiver.pki.cms import check_signature, parse_signed_data
        from archiver.pki.keyring import open_authority

        talk = self._talk
        talk.step(4, _("the restore, tested"))
        if self._open is None:
            talk.say(_("Nothing new was made, so there is nothing to test."))
            return
        talk.say(_("The CA's key is read back from where it lies."))

        def ask(place: str) -> bytes:
            if self._ca_passphrase_file or talk.quiet:
                return ask_for(self._ca_passphrase_file)(place)
            return prompt(_("The CA's passphrase, as you wrote it down: "))

        place = self._ca_dir or self._directory
        for attempt in range(3):
            try:
                restored = open_authority(place, ask)
                break
            except KeyringError as error:
                if attempt == 2 or talk.quiet or self._ca_passphrase_file:
                    raise
                talk.say(error.message)
        probe = b"restore test"
        check_signature(parse_signed_data(restored.sign(probe, self._now)), probe)
        talk.say(_("It can be opened, and it signs."))

    # -- step 5

    def finish(self) -> None:
        from archiver.filesystem import replace_file
        from archiver.pki.trustfiles import read_list

        talk = self._talk
        talk.step(5, _("the recovery sheet"))
        trust = read_list(self._directory)
        path = os.path.join(self._directory, SHEET)
        replace_file(path, self._sheet(trust).encode(), 0o600)
        talk.say(_("Print {path}, and write the passphrases on it by hand.").format(path=path))
        talk.say()
        talk.say(_("Now seal something:"))
        stamp = next((root for root in trust.tsa_roots if root.url), None)
        tsa = f" --tsa {stamp.url}" if stamp else ""
        given = f" --key-dir {self._directory}"
        talk.say(f"  archiver bag create FILES -o BAG --key {self._signer_name}{given}{tsa}")
        talk.say(f"  archiver bag verify BAG --trust {os.path.join(self._directory, 'trust.json')}")
        talk.say(_("For those who check:"))
        talk.say(f"  archiver key export --dir {self._directory} -o for-the-court")

    def _sheet(self, trust: Any) -> str:
        from archiver.pki.certificates import spoken

        line = "_" * 60
        ca_place = self._ca_dir or _("(where you keep it)")
        return _(
            "archiver: recovery sheet of {organisation}, {day}\n"
            "\n"
            "Keep this sheet apart from the stick with the CA's key.\n"
            "\n"
            "SHA-256 fingerprint of the CA. Whoever checks your bags compares it with the one\n"
            "they have; read it aloud, write it into an affidavit, print it on paper:\n"
            "\n"
            "{fingerprint}\n"
            "\n"
            "CA's key: {ca}/ca.key\n"
            "Signers, trust list: {directory}\n"
            "\n"
            "Passphrase of the CA (by hand, never typed into a file):\n"
            "{line}\n"
            "\n"
            "Passphrase of the signer {signer}:\n"
            "{line}\n"
            "\n"
            "A signer's key is lost or stolen: archiver key revoke NAME --invalid-after TIME\n"
            "A signer's key is forgotten or expired: archiver key new NAME\n"
            "The CA's key or its passphrase is lost: what is sealed stays good; make a new CA and\n"
            "hand out its fingerprint. Back up the key directory and the stick with cp -a.\n"
        ).format(
            organisation=trust.organisation,
            day=self._now.date(),
            fingerprint=spoken(trust.authority.fingerprint),
            ca=ca_place,
            directory=self._directory,
            signer=self._signer_name,
            line=line,
        )
