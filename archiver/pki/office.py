"""An organisation's keys as one thing: its CA, its signers, its trust list, in step.

Job: make them so that a run that was killed in between is gone on with by the next.
Limits: asks nobody anything; single files are the business of
:mod:`archiver.pki.keyring` and :mod:`archiver.pki.trustfiles`.
"""

from __future__ import annotations

import os
from datetime import datetime

from cryptography.x509.oid import NameOID

from archiver.errors import ArchiverError, DestinationError, storage_error
from archiver.filesystem import replace_file
from archiver.i18n import _
from archiver.pki.keyring import (
    CA_NAME,
    NewSigner,
    SigningKey,
    certificates_in,
    create_authority,
    create_signer,
    open_authority,
    open_signer,
    signer_names,
)
from archiver.pki.trustfiles import LIST_FILE, add_signer, begin_list, locked, read_list

__all__ = ["find_ca_dir", "found_office", "hire_signer", "unlisted_signers"]

_PLACE_FILE = "ca-dir.txt"


def found_office(
    directory: str, ca_dir: str, organisation: str, passphrase: bytes, now: datetime
) -> SigningKey:
    """A CA whose key lies in ``ca_dir`` ("" for ``directory``), its certificate and trust
    list in ``directory``. Raises ArchiverError.

    The trust list is what says that it is finished: until then a second run goes on.
    """
    place = os.path.abspath(ca_dir or directory)
    with locked(directory):
        if os.path.lexists(os.path.join(directory, LIST_FILE)):
            raise DestinationError(
                _("there is a CA in {path} already").format(path=directory),
                hint=_("Make signers with 'archiver key new NAME'."),
            )
        if os.path.lexists(os.path.join(place, f"{CA_NAME}.key")):  # a run before was killed
            authority = open_authority(place, lambda _path: passphrase)
            _refuse_other(authority, organisation, place)
        else:
            authority = create_authority(place, organisation, passphrase, now)
        try:
            certificate = os.path.join(directory, f"{CA_NAME}.pem")
            replace_file(certificate, authority.certificate.pem, 0o644)
            note = os.path.join(directory, _PLACE_FILE)
            replace_file(note, os.fsencode(place) + b"\n", 0o600)
        except OSError as error:
            raise storage_error(error, directory) from error
        begin_list(directory, organisation, authority, now)
    return authority


def _refuse_other(authority: SigningKey, organisation: str, place: str) -> None:
    names = authority.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if [str(one.value) for one in names] != [organisation[:64]]:
        raise DestinationError(
            _("the CA's key in {path} is that of {name}").format(
                path=place, name=authority.certificate.name
            ),
            hint=_("Choose another directory for the new CA's key: --ca-dir DIR."),
        )


def find_ca_dir(directory: str) -> str:
    """Where the CA's key lay when it was made, if it still lies there, else ``directory``."""
    try:
        with open(os.path.join(directory, _PLACE_FILE), "rb") as file:
            place = os.fsdecode(file.read(4096).rstrip(b"\n"))
    except OSError:
        return directory
    return place if os.path.exists(os.path.join(place, f"{CA_NAME}.key")) else directory


def hire_signer(
    directory: str, signer: NewSigner, authority: SigningKey, passphrase: bytes, now: datetime
) -> SigningKey:
    """A signer in ``directory``, and on its trust list: until it stands there a second run
    goes on. Raises ArchiverError.
    """
    with locked(directory):
        _refuse_taken(directory, signer.name)
        if signer.name in unlisted_signers(directory):  # a run before was killed
            made = open_signer(signer.name, [directory], lambda _path: passphrase, now)
        else:
            made = create_signer(directory, signer, authority, passphrase, now)
        add_signer(directory, signer.name, made.certificate, authority, now)
    return made


def _refuse_taken(directory: str, name: str) -> None:
    """A name on the list is taken, and a certificate without its key is somebody's, unless
    it is one of ours that a killed run left behind.
    """
    trust = read_list(directory)
    if name in [one.name for one in trust.signers]:
        raise DestinationError(
            _("{name} is on the trust list already").format(name=name),
            hint=_("See 'archiver key list'; a new certificate needs a new name."),
        )
    stem = os.path.join(directory, name)
    if os.path.exists(f"{stem}.pem") and not os.path.exists(f"{stem}.key"):
        certificate = certificates_in(f"{stem}.pem")[0]
        ours = certificate.issuer == trust.authority.subject
        if not ours or trust.find(certificate.fingerprint) is not None:
            raise DestinationError(
                _("{path} exists already").format(path=f"{stem}.pem"),
                hint=_("Keys are never replaced: choose another name or directory."),
            )


def unlisted_signers(directory: str) -> list[str]:
    """Signers of the CA whose keys lie there, and which are not on its trust list."""
    trust = read_list(directory)
    found = []
    for name in signer_names(directory):
        path = os.path.join(directory, f"{name}.pem")
        try:
            certificate = certificates_in(path)[0]
        except ArchiverError:  # whatever it is, it is no signer of ours
            continue
        ours = certificate.issuer == trust.authority.subject
        if ours and trust.find(certificate.fingerprint) is None:
            found.append(name)
    return found
