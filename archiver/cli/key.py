"""``archiver key init | new | list | show | export | revoke | trust``.

Job: an organisation's CA, its signers and its trust list from the command line.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from archiver.cli.options import ca_dir_option, dir_option, json_option, passphrase_option
from archiver.cli.output import Output, printable
from archiver.errors import DestinationError, UsageError, storage_error
from archiver.i18n import _

__all__ = ["key_app"]

FIRST_SIGNER = "signer"


def key_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver key``."""
    app = typer.Typer(
        help=summary,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings=settings,
    )
    for add in (_add_init, _add_new, _add_list, _add_show, _add_export, _add_revoke, _add_trust):
        add(app)
    return app


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC).replace(microsecond=0)


def _directory(given: str) -> str:
    from archiver.pki.keyring import default_directory

    return given or default_directory()


def _tell_fingerprint(certificate: Any, output: Output) -> None:
    from archiver.pki.certificates import spoken

    for line in spoken(certificate.fingerprint).split("\n"):
        output.line("    " + line)


def _add_init(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Make an organisation's CA and its first signer. The CA's key is meant to lie on"
            " another medium, offline: --ca-dir."
        ),
        epilog=_(
            "Example: archiver key init --organisation 'Comisión' --dir keys"
            " --ca-dir /media/stick/ca"
        ),
    )
    def init(
        organisation: Annotated[
            str, typer.Option("--organisation", metavar="NAME", help=_("Whose CA it is."))
        ],
        directory: Annotated[str, dir_option()] = "",
        ca_dir: Annotated[str, ca_dir_option()] = "",
        name: Annotated[
            str,
            typer.Option("--name", metavar="NAME", help=_("The first signer: a person or device.")),
        ] = FIRST_SIGNER,
        person: Annotated[
            str, typer.Option("--person", metavar="TEXT", help=_("Their name in the certificate."))
        ] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        ca_passphrase_file: Annotated[str, passphrase_option("--ca-passphrase-file")] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.cli.keys import new_passphrase
        from archiver.pki.keyring import NewSigner, check_name
        from archiver.pki.office import found_office, hire_signer

        check_name(name)
        output, now, place = Output(), _now(), _directory(directory)
        secret = new_passphrase(ca_passphrase_file or passphrase_file, _("the CA's key"))
        authority = found_office(place, ca_dir, organisation, secret, now)
        own = new_passphrase(passphrase_file, _("the key of {name}").format(name=name))
        signer = hire_signer(place, NewSigner(name=name, person=person), authority, own, now)
        if as_json:
            output.json(
                {
                    "schema": "archiver/key-init/1",
                    "dir": place,
                    "ca": _certificate_json("ca", authority.certificate),
                    "signer": _certificate_json(name, signer.certificate),
                }
            )
            return 0
        output.line(_("CA of {name}, in {path}:").format(name=organisation, path=ca_dir or place))
        _tell_fingerprint(authority.certificate, output)
        output.line(_("First signer: {name}").format(name=name))
        if not ca_dir:
            output.say(
                _(
                    "ca.key lies beside the signers: move it to another medium and keep it"
                    " offline; it is only needed for new signers and revocations."
                )
            )
        return 0


def _add_new(app: typer.Typer) -> None:
    @app.command(
        help=_("Make a signer: one for each person or device. Needs the CA's key."),
        epilog=_("Example: archiver key new ana-laptop --ca-dir /media/stick/ca"),
    )
    def new(
        name: Annotated[
            str,
            typer.Argument(metavar="NAME", help=_("The signer's name."), show_default=False),
        ],
        directory: Annotated[str, dir_option()] = "",
        ca_dir: Annotated[str, ca_dir_option()] = "",
        person: Annotated[
            str, typer.Option("--person", metavar="TEXT", help=_("Their name in the certificate."))
        ] = "",
        kind: Annotated[
            str, typer.Option("--type", metavar="TYPE", help=_("p256, p384 or rsa3072."))
        ] = "p256",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        ca_passphrase_file: Annotated[str, passphrase_option("--ca-passphrase-file")] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.cli.keys import new_passphrase
        from archiver.pki.keyring import NewSigner, check_name
        from archiver.pki.keys import KEY_KINDS
        from archiver.pki.office import hire_signer

        if kind not in KEY_KINDS:
            raise UsageError(
                _("{kind} is no type of key").format(kind=kind),
                hint=_("Choose from: {known}.").format(known=", ".join(KEY_KINDS)),
            )
        check_name(name)
        output, now, place = Output(), _now(), _directory(directory)
        authority = _authority(place, ca_dir, ca_passphrase_file or passphrase_file)
        own = new_passphrase(passphrase_file, _("the key of {name}").format(name=name))
        signer = NewSigner(name=name, person=person, kind=kind)
        made = hire_signer(place, signer, authority, own, now)
        if as_json:
            output.json(
                {"schema": "archiver/key-new/1", **_certificate_json(name, made.certificate)}
            )
        else:
            until = made.certificate.not_after.date()
            output.line(_("{name}: good until {day}").format(name=name, day=until))
            _tell_fingerprint(made.certificate, output)
        return 0


def _authority(directory: str, ca_dir: str, passphrase_file: str) -> Any:
    from archiver.cli.keys import ask_for, patiently
    from archiver.pki.keyring import open_authority
    from archiver.pki.office import find_ca_dir

    place = ca_dir or find_ca_dir(directory)
    return patiently(lambda: open_authority(place, ask_for(passphrase_file)), passphrase_file)


def _certificate_json(name: str, certificate: Any) -> dict[str, object]:
    return {
        "name": name,
        "subject": certificate.subject.rfc4514_string(),
        "fingerprint": f"sha256:{certificate.fingerprint}",
        "valid_from": certificate.not_before.isoformat(),
        "valid_until": certificate.not_after.isoformat(),
    }


def _add_list(app: typer.Typer) -> None:
    @app.command(
        "list",
        help=_("List the signers on the trust list, and the pinned roots of TSAs."),
        epilog=_("Example: archiver key list"),
    )
    def list_keys(
        directory: Annotated[str, dir_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.pki.certificates import short
        from archiver.pki.keyring import signer_names
        from archiver.pki.office import unlisted_signers
        from archiver.pki.trustfiles import read_list

        output, now, place = Output(), _now(), _directory(directory)
        trust = read_list(place)
        keys = signer_names(place)
        if as_json:
            output.json(
                {
                    "schema": "archiver/key-list/1",
                    "organisation": trust.organisation,
                    "version": trust.version,
                    "ca": _certificate_json("ca", trust.authority),
                    "signers": [
                        {
                            **_certificate_json(one.name, one.certificate),
                            "key_here": one.name in keys,
                            "invalid_after": one.invalid_after and one.invalid_after.isoformat(),
                            "reason": one.reason or None,
                        }
                        for one in trust.signers
                    ],
                    "tsa_roots": [
                        {**_certificate_json(one.name, one.certificate), "url": one.url}
                        for one in trust.tsa_roots
                    ],
                }
            )
            return 0
        text = _("{name}: trust list version {version}")
        output.line(printable(text.format(name=trust.organisation, version=trust.version)))
        for one in trust.signers:
            state = _state(one, now)
            here = _("key here") if one.name in keys else ""
            digits = short(one.certificate.fingerprint)
            output.line(printable(f"  {one.name:<20} {digits}  {state:<40} {here}").rstrip())
        for name in unlisted_signers(place):
            text = _("{name}: its key is here, but it is not on the trust list")
            output.line(printable("  " + text.format(name=name)))
        for root in trust.tsa_roots:
            output.line(
                printable("  " + _("TSA root: {name} {url}").format(name=root.name, url=root.url))
            )
        return 0


def _state(one: Any, now: Any) -> str:
    if one.invalid_after:
        day = one.invalid_after.isoformat(" ", "seconds")
        return _("REVOKED for all after {time}").format(time=day)
    if now > one.valid_until:
        return _("expired on {day}").format(day=one.valid_until.date())
    text = _("good until {day} ({count} days)")
    return text.format(day=one.valid_until.date(), count=(one.valid_until - now).days)


def _add_show(app: typer.Typer) -> None:
    @app.command(
        help=_("Show a certificate: the CA's (ca), a signer's, or one in a file."),
        epilog=_("Example: archiver key show ca"),
    )
    def show(
        name: Annotated[
            str, typer.Argument(metavar="NAME|FILE", help=_("Which one."), show_default=False)
        ],
        directory: Annotated[str, dir_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.pki.keyring import certificates_in

        directory = _directory(directory)
        path = os.path.join(directory, f"{name}.pem")
        if not os.path.exists(path) and os.path.isfile(name):
            path = name
        if not os.path.exists(path):
            raise UsageError(
                _("there is no certificate named {name} in {path}").format(
                    name=name, path=directory
                ),
                hint=_("See 'archiver key list', or name a file."),
            )
        certificate = certificates_in(path)[0]
        output = Output()
        if as_json:
            output.json({"schema": "archiver/key-show/1", **_certificate_json(name, certificate)})
            return 0
        output.line(printable(certificate.subject.rfc4514_string()))
        output.line(
            _("valid from {first} to {last}").format(
                first=certificate.not_before.date(), last=certificate.not_after.date()
            )
        )
        output.line(_("SHA-256 fingerprint, to be read aloud or written down:"))
        _tell_fingerprint(certificate, output)
        return 0


def _add_export(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Write what a checker needs into a new directory: the CA's certificate, the trust list,"
            " revocations, the fingerprint. No private key."
        ),
        epilog=_("Example: archiver key export -o for-the-court"),
    )
    def export(
        target: Annotated[
            str, typer.Option("--output", "-o", metavar="DIR", help=_("The directory to make."))
        ],
        directory: Annotated[str, dir_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.bag.stage import refuse_within_bag
        from archiver.filesystem import write_new_file
        from archiver.pki.certificates import spoken
        from archiver.pki.trustfiles import CRL_FILE, LIST_FILE, read_list

        place = _directory(directory)
        trust = read_list(place)
        files = {"ca.pem": trust.authority.pem}
        for name in (LIST_FILE, CRL_FILE):
            path = os.path.join(place, name)
            if os.path.exists(path):
                with open(path, "rb") as file:
                    files[name] = file.read()
        for number, root in enumerate(trust.tsa_roots, start=1):
            files[f"tsa-root-{number}.pem"] = root.certificate.pem
        head = _("SHA-256 fingerprint of the CA of {name}:").format(name=trust.organisation)
        files["FINGERPRINT.txt"] = f"{head}\n{spoken(trust.authority.fingerprint)}\n".encode()
        refuse_within_bag(target)
        parent = os.path.dirname(os.path.abspath(target))
        if not os.path.isdir(parent):
            raise DestinationError(
                _("the directory {path} does not exist").format(path=parent),
                hint=_("Make it first, or choose another destination."),
            )
        try:
            os.mkdir(target)
            for name, data in files.items():
                write_new_file(os.path.join(target, name), data, 0o644)
        except FileExistsError as error:
            raise DestinationError(
                _("{path} exists already").format(path=target),
                hint=_("Nothing is ever replaced: choose another name."),
            ) from error
        except OSError as error:
            raise storage_error(error, target) from error
        output = Output()
        if as_json:
            output.json(
                {
                    "schema": "archiver/key-export/1",
                    "dir": target,
                    "files": list(files),
                    "fingerprint": f"sha256:{trust.authority.fingerprint}",
                }
            )
        else:
            output.line(printable(_("{path}: {names}").format(path=target, names=", ".join(files))))
        return 0


def _add_revoke(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Revoke a signer: what a trusted time stamp proves older than --invalid-after stays"
            " good, all else counts for nothing. Needs the CA's key."
        ),
        epilog=_("Example: archiver key revoke ana-laptop --invalid-after 2026-11-20"),
    )
    def revoke(
        name: Annotated[
            str,
            typer.Argument(
                metavar="NAME", help=_("On the trust list, or a fingerprint."), show_default=False
            ),
        ],
        invalid_after: Annotated[
            str,
            typer.Option(
                "--invalid-after",
                metavar="TIME",
                help=_("The last moment the key was surely in good hands (UTC); else now."),
            ),
        ] = "",
        reason: Annotated[
            str,
            typer.Option(
                "--reason",
                metavar="REASON",
                help=_("keyCompromise, affiliationChanged, superseded or cessationOfOperation."),
            ),
        ] = "keyCompromise",
        directory: Annotated[str, dir_option()] = "",
        ca_dir: Annotated[str, ca_dir_option()] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        yes: Annotated[
            bool, typer.Option("--yes", help=_("Don't ask whether you are sure."))
        ] = False,
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.cli.bag_verify import moment
        from archiver.cli.keys import confirm
        from archiver.pki.trustfiles import locked, revoke_signer

        now, place = _now(), _directory(directory)
        since = moment(invalid_after).replace(microsecond=0) if invalid_after else now
        if invalid_after == now.date().isoformat():
            since = now
        if not yes and sys.stdin.isatty():
            text = _("Revoke {name} for all after {time}? It can't be taken back.")
            confirm(text.format(name=name, time=since.isoformat(" ", "seconds")))
        authority = _authority(place, ca_dir, passphrase_file)
        with locked(place):
            trust = revoke_signer(place, name, since, reason, authority, now)
        output = Output()
        if as_json:
            output.json(
                {
                    "schema": "archiver/key-revoke/1",
                    "name": name,
                    "invalid_after": since.isoformat(),
                    "version": trust.version,
                }
            )
            return 0
        text = _(
            "{name} is revoked for all after {time}; hand out trust list version {version}"
            " (archiver key export)"
        )
        told = text.format(name=name, time=since.isoformat(" ", "seconds"), version=trust.version)
        output.line(printable(told))
        return 0


def _add_trust(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Put a certificate from elsewhere (smart card, another PKI) on the trust list, or pin"
            " a TSA's root. Needs the CA's key."
        ),
        epilog=_("Example: archiver key trust ana.pem --name ana-card"),
    )
    def trust(
        certificate: Annotated[
            str,
            typer.Argument(metavar="FILE", help=_("A certificate (PEM, DER)."), show_default=False),
        ],
        name: Annotated[
            str, typer.Option("--name", metavar="NAME", help=_("The signer's name on the list."))
        ] = "",
        as_tsa: Annotated[
            bool, typer.Option("--as-tsa-root", help=_("It is the root of a TSA."))
        ] = False,
        url: Annotated[
            str, typer.Option("--url", metavar="URL", help=_("With --as-tsa-root: its address."))
        ] = "",
        directory: Annotated[str, dir_option()] = "",
        ca_dir: Annotated[str, ca_dir_option()] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.pki.keyring import certificates_in, check_name
        from archiver.pki.trustfiles import add_signer, add_tsa_root, locked
        from archiver.timestamp.client import check_url

        if bool(name) == as_tsa:
            raise UsageError(
                _("say what the certificate is: --name NAME for a signer, or --as-tsa-root"),
                hint=_("See 'archiver key trust --help'."),
            )
        if name:
            check_name(name)
        found = certificates_in(certificate)
        address = check_url(url) if url else ""
        now, place = _now(), _directory(directory)
        authority = _authority(place, ca_dir, passphrase_file)
        with locked(place):
            if as_tsa:
                changed = add_tsa_root(place, found, address, authority, now)
            else:
                changed = add_signer(place, name, found[0], authority, now)
        output = Output()
        if as_json:
            output.json({"schema": "archiver/key-trust/1", "version": changed.version})
            return 0
        output.line(_("trust list version {version}").format(version=changed.version))
        for one in found if as_tsa else found[:1]:
            output.line(printable(f"  {one.name}"))
            _tell_fingerprint(one, output)
        return 0
