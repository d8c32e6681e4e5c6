"""``archiver setup``: one guided conversation from nothing to a key that can seal bags.

Job: ask, explain, call what ``archiver key`` calls. Limits: every step can be done
alone by those commands; what is there already is kept, so that an interrupted setup
is gone on with by running it again.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from archiver.cli.keys import ask_for, new_passphrase, patiently, prompt
from archiver.cli.options import ca_dir_option, dir_option, passphrase_option
from archiver.cli.output import Output, printable
from archiver.errors import ArchiverError, KeyringError, UsageError
from archiver.i18n import LANGUAGES, _, current_language, use_language

__all__ = ["add_setup"]

SHEET = "recovery-sheet.txt"


def add_setup(app: typer.Typer, summary: str) -> None:
    """``setup``."""

    @app.command(
        help=summary,
        epilog=_("Example: archiver setup"),
    )
    def setup(
        organisation: Annotated[
            str, typer.Option("--organisation", metavar="NAME", help=_("Whose CA it is."))
        ] = "",
        name: Annotated[
            str, typer.Option("--name", metavar="NAME", help=_("Your signer: you or this device."))
        ] = "",
        person: Annotated[
            str, typer.Option("--person", metavar="TEXT", help=_("Their name in the certificate."))
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
        run.signer(name, person)
        run.trusted_time(tsa, tsa_root)
        run.test_restore()
        run.finish()
        return 0


class _Talk:
    """Questions and explanations. ``quiet`` asks nothing, takes the defaults, and tells only
    what matters.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._output = Output()
        if not quiet and not sys.stdin.isatty():
            raise UsageError(
                _("setup is a conversation, and nobody is there to answer"),
                hint=_("Run it in a terminal, or with --yes and the answers as options."),
            )

    def tell(self, text: str) -> None:
        """What matters."""
        self._output.line(printable(text))

    def say(self, text: str = "") -> None:
        """What only a person needs; line breaks stay."""
        for line in () if self.quiet else text.split("\n"):
            self._output.line(printable(line))

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
        except UnicodeError:
            return ""

    def until(
        self, given: str, question: str, check: Callable[[str], str], default: str = ""
    ) -> str:
        """An answer that ``check`` takes: a wrong one is told and asked for again. What was
        ``given`` as an option is asked for only where it is missing.
        """
        while True:
            answer = given or self.ask(question, default)
            try:
                return check(answer)
            except ArchiverError as error:
                if self.quiet or given:
                    raise
                self.say(f"{error.message}. {error.hint}")

    def choose_language(self) -> None:
        if self.quiet or any(one == "--lang" or one.startswith("--lang=") for one in sys.argv):
            return
        default = current_language()
        answer = ""
        while answer not in LANGUAGES:
            answer = self.ask("Language / Idioma: en, es", default).lower()[:2]
        use_language(answer)


def _place(path: str) -> str:
    """A path as people type it at a question, where no shell sees it."""
    return os.path.abspath(os.path.expanduser(path))


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
        chosen = directory or talk.ask(_("Where keys are kept"), default_directory())
        self._directory = _place(chosen)
        self._ca_dir = _place(ca_dir) if ca_dir else ""
        self._passphrase_file = passphrase_file
        self._ca_passphrase_file = ca_passphrase_file or passphrase_file
        self._open: Any = None
        self._signer_name = ""
        self._new_signer = False
        self._changed = False

    def introduce(self) -> None:
        self._talk.say(
            _(
                "This makes what you need to seal bags, so that anybody can check who sealed them\n"
                "and that nothing was changed since:\n"
                "  - a CA, your organisation's stamp; its key belongs on a stick in a safe;\n"
                "  - a signer, the key that this person or device signs with every day;\n"
                "  - a trust list, which you hand out to those who check.\n"
                "Have paper and a pen ready, and a stick for the CA's key. Nothing leaves this\n"
                "computer. It can be interrupted with Ctrl-C and gone on with at any time."
            )
        )

    # -- step 1

    def authority(self, organisation: str) -> None:
        from archiver.pki.trustfiles import LIST_FILE, read_list

        talk = self._talk
        talk.step(1, _("the CA"))
        if os.path.exists(os.path.join(self._directory, LIST_FILE)):
            trust = read_list(self._directory)
            talk.say(_("There is one already: {name}.").format(name=trust.organisation))
            if organisation not in ("", trust.organisation):
                raise UsageError(
                    _("the CA in {path} is that of {name}").format(
                        path=self._directory, name=trust.organisation
                    ),
                    hint=_("Choose another key directory: --dir DIR."),
                )
            return
        name = talk.until(organisation, _("Name of your organisation"), _named)
        self._ca_dir = talk.until(
            self._ca_dir, _("Where the CA's key is to lie"), self._checked_ca_dir, self._beside()
        )
        talk.say(
            _(
                "The CA's key is locked with a passphrase. Take five unrelated words, write them\n"
                "down by hand, and keep the paper where the stick is not. Whoever has both can\n"
                "sign in your name; without one of them nobody can, you included."
            )
        )
        self._open = self._found(name)
        self._changed = True
        talk.say(_("Done. The fingerprint of the CA, by which others know it:"))
        talk.say(self._fingerprint())

    def _beside(self) -> str:
        return os.path.join(os.path.dirname(self._directory), "ca")

    def _checked_ca_dir(self, given: str) -> str:
        """A directory for the CA's key; it is made if it isn't there."""
        from archiver.errors import storage_error

        place = _place(given)
        try:
            os.makedirs(place, mode=0o700, exist_ok=True)
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            same = os.stat(place).st_dev == os.stat(self._directory).st_dev
        except OSError as error:
            raise storage_error(error, place) from error
        self._talk.say(_("The CA's key will lie in {path}.").format(path=place))
        if same:
            text = _("Note: that is the same disk. Move it to another medium soon.")
            self._talk.say(text)
        return place

    def _found(self, name: str) -> Any:
        """The CA, new, or one that an interrupted run has left."""
        from archiver.pki.office import found_office

        key = os.path.join(self._ca_dir, "ca.key")
        what = _("the CA's key")

        def secret() -> bytes:
            if os.path.exists(key):
                return ask_for(self._ca_passphrase_file)(key)
            return new_passphrase(self._ca_passphrase_file, what)

        return patiently(
            lambda: found_office(self._directory, self._ca_dir, name, secret(), self._now),
            self._ca_passphrase_file,
        )

    def _authority(self) -> Any:
        """The open CA key, opened once."""
        from archiver.pki.keyring import open_authority
        from archiver.pki.office import find_ca_dir

        if self._open is None:
            known = self._ca_dir or find_ca_dir(self._directory)
            given = known if os.path.exists(os.path.join(known, "ca.key")) else ""
            question = _("Where the CA's key lies (put the stick in)")
            self._ca_dir = self._talk.until(given, question, _has_ca_key, known)
            self._open = patiently(
                lambda: open_authority(self._ca_dir, ask_for(self._ca_passphrase_file)),
                self._ca_passphrase_file,
            )
        return self._open

    # -- step 2

    def signer(self, name: str, person: str) -> None:
        from archiver.pki.keyring import check_name, signer_names
        from archiver.pki.office import unlisted_signers

        talk = self._talk
        talk.step(2, _("your signer"))
        known, unlisted = signer_names(self._directory), unlisted_signers(self._directory)
        if unlisted and not name:  # an interrupted run has left it
            name = unlisted[0]
            talk.say(_("{name} was begun and is finished now.").format(name=name))
        elif known and not name:
            talk.say(_("There are signers already: {names}.").format(names=", ".join(known)))
            usable = self._usable(known)
            if usable:
                name = talk.ask(_("Another one? Its name, or Enter for none"))
            if usable and not name:
                self._signer_name = usable[0]
                return
        elif not name:
            talk.say(_("One for each person or device, for example: ana-laptop."))
        self._signer_name = talk.until(name, _("Name of the signer"), check_name, "signer")
        if self._signer_name in known and self._signer_name not in unlisted:
            talk.say(_("There is one of that name already."))
            return
        self._hire(person, begun=self._signer_name in unlisted)

    def _usable(self, known: list[str]) -> list[str]:
        """Those of ``known`` that can seal today."""
        from archiver.pki.trustfiles import read_list

        return [
            one.name
            for one in read_list(self._directory).signers
            if one.name in known and not one.invalid_after and self._now <= one.valid_until
        ]

    def _hire(self, person: str, *, begun: bool) -> None:
        from archiver.pki.keyring import NewSigner
        from archiver.pki.office import hire_signer

        talk, name = self._talk, self._signer_name
        if not begun:
            person = person or talk.ask(_("Whose name stands in the certificate"), name)
        authority = self._authority()
        talk.say(
            _("Its passphrase is asked for whenever you seal. It should differ from the CA's.")
        )

        def secret() -> bytes:
            if begun:
                path = os.path.join(self._directory, f"{name}.key")
                return ask_for(self._passphrase_file)(path)
            return new_passphrase(self._passphrase_file, _("the key of {name}").format(name=name))

        signer = NewSigner(name=name, person=person)
        patiently(
            lambda: hire_signer(self._directory, signer, authority, secret(), self._now),
            self._passphrase_file,
        )
        self._new_signer = self._changed = True
        talk.say(_("Done."))

    # -- step 3

    def trusted_time(self, url: str, root: str) -> None:
        from archiver.pki.trustfiles import add_tsa_root, locked

        talk = self._talk
        talk.step(3, _("trusted time"))
        talk.say(
            _(
                "A time-stamping authority (TSA) proves that a seal existed at a certain time. It\n"
                "gets to see a digest, never a file. Without one, what you sign is not dated."
            )
        )
        url = talk.until(url, _("Address of a TSA, or Enter for none"), _address)
        if not url:
            return
        roots: list[Any] = []

        def read(path: str) -> str:
            roots[:] = _root_certificates(path)
            return path

        question = _("File with its root certificate, from the TSA's own pages")
        talk.until(root, question, read)
        authority = self._authority()
        with locked(self._directory):
            add_tsa_root(self._directory, roots, url, authority, self._now)
        self._changed = True
        talk.say(_("Pinned: stamps from elsewhere will be refused."))

    # -- step 4

    def test_restore(self) -> None:
        """Read the keys back from where they lie, and have them sign something."""
        from archiver.pki.keyring import open_authority, open_signer

        talk = self._talk
        talk.step(4, _("the restore, tested"))
        if self._open is None:
            talk.say(_("No key was made or opened, so there is nothing to test."))
            return
        talk.say(_("The keys are read back from where they lie, with what you wrote down."))
        place = self._ca_dir
        self._try_key(
            self._ca_passphrase_file,
            _("The CA's passphrase, as you wrote it down: "),
            lambda ask: open_authority(place, ask),
        )
        if self._new_signer:
            self._try_key(
                self._passphrase_file,
                _("The passphrase of {name}, as you wrote it down: ").format(
                    name=self._signer_name
                ),
                lambda ask: open_signer(self._signer_name, [self._directory], ask, self._now),
            )
        talk.say(_("They can be opened, and they sign. Now copy them: cp -a, to a second stick."))

    def _try_key(self, file: str, question: str, work: Callable[[Any], Any]) -> None:
        from archiver.pki.cms import check_signature, parse_signed_data

        def ask(path: str) -> bytes:
            typed = not file and not self._talk.quiet
            return prompt(question) if typed else ask_for(file)(path)

        probe = b"restore test"
        key = patiently(lambda: work(ask), file)
        check_signature(parse_signed_data(key.sign(probe, self._now)), probe)

    # -- step 5

    def finish(self) -> None:
        from archiver.pki.trustfiles import read_list

        talk = self._talk
        talk.step(5, _("the recovery sheet"))
        trust = read_list(self._directory)
        path = os.path.join(self._directory, SHEET)
        if self._changed or not os.path.exists(path):
            self._write_sheet(path, trust)
        talk.tell(_("Print {path}, and write the passphrases on it by hand.").format(path=path))
        stamp = next((root for root in trust.tsa_roots if root.url), None)
        tsa = f" --tsa {shlex.quote(stamp.url)}" if stamp else ""
        key_dir = shlex.quote(self._directory)
        trust_list = shlex.quote(os.path.join(self._directory, "trust.json"))
        talk.say()
        talk.tell(_("To seal, to check, and for those who check:"))
        name = shlex.quote(self._signer_name)
        talk.tell(f"  archiver bag create FILES -o BAG --key {name} --key-dir {key_dir}{tsa}")
        talk.tell(f"  archiver bag verify BAG --trust {trust_list}")
        talk.tell(f"  archiver key export --dir {key_dir} -o for-the-court")

    def _fingerprint(self) -> str:
        from archiver.pki.certificates import spoken
        from archiver.pki.trustfiles import read_list

        return spoken(read_list(self._directory).authority.fingerprint)

    def _write_sheet(self, path: str, trust: Any) -> None:
        from archiver.errors import storage_error
        from archiver.filesystem import replace_file

        try:
            replace_file(path, self._sheet(trust).encode(), 0o600)
        except OSError as error:
            raise storage_error(error, path) from error

    def _sheet(self, trust: Any) -> str:
        from archiver.pki.office import find_ca_dir

        line = "_" * 60
        signers = "\n\n".join(f"{one.name}:\n{line}" for one in trust.signers)
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
            "Passphrases of the signers:\n"
            "\n"
            "{signers}\n"
            "\n"
            "A signer's key is lost or stolen: archiver key revoke NAME --invalid-after TIME\n"
            "A signer's passphrase is forgotten, or it has expired: archiver key new NAME\n"
            "The CA's key or its passphrase is lost: what is sealed stays good; make a new CA and\n"
            "hand out its fingerprint. Back up the key directory and the stick with cp -a.\n"
        ).format(
            organisation=trust.organisation,
            day=self._now.date(),
            fingerprint=self._fingerprint(),
            ca=self._ca_dir or find_ca_dir(self._directory),
            directory=self._directory,
            signers=signers,
            line=line,
        )


def _named(organisation: str) -> str:
    if not organisation.strip() or not organisation.isprintable():
        raise UsageError(_("the organisation needs a name"), hint=_("Give --organisation NAME."))
    return organisation


def _has_ca_key(place: str) -> str:
    if not os.path.exists(os.path.join(_place(place), "ca.key")):
        raise KeyringError(
            _("the CA's key is not in {path}").format(path=place),
            hint=_("Bring the medium with ca.key and name its directory: --ca-dir DIR."),
        )
    return _place(place)


def _address(url: str) -> str:
    from archiver.timestamp.client import check_url

    return check_url(url) if url else ""


def _root_certificates(path: str) -> tuple[Any, ...]:
    from archiver.pki.keyring import certificates_in

    if not path:
        raise UsageError(
            _("a TSA needs its root certificate: without it its stamps prove nothing"),
            hint=_("Give --tsa-root FILE, or run setup again without a TSA."),
        )
    found = certificates_in(_place(path))
    if not all(one.is_ca for one in found):
        raise KeyringError(
            _("{path} holds a certificate that is no CA's").format(path=path),
            hint=_("Name the root of the TSA, not the TSA's own certificate, which changes."),
        )
    return found
