"""The trust list in a key directory: its newest version, its history, the CRL beside it.

Job: read, and publish a next version crash-safe. Limits: what a list says is the
business of :mod:`archiver.pki.trustlist`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from archiver.errors import DestinationError, FormatError, KeyringError, UsageError, storage_error
from archiver.filesystem import replace_file, write_new_file
from archiver.i18n import _
from archiver.pki.certificates import Certificate, parse_fingerprint
from archiver.pki.keyring import SigningKey, why_not_sealer
from archiver.pki.trustlist import (
    MAX_LIST_BYTES,
    REASONS,
    Trusted,
    TrustList,
    TsaRoot,
    first_list,
    make_crl,
    next_list,
    parse_trust_list,
    sign_trust_list,
)

__all__ = [
    "CRL_FILE",
    "LIST_FILE",
    "add_signer",
    "add_tsa_root",
    "begin_list",
    "locked",
    "read_list",
    "revoke_signer",
]

LIST_FILE = "trust.json"
CRL_FILE = "ca.crl"
_HISTORY = "trust"


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """One change of a key directory at a time. Raises DestinationError where one is under way."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise storage_error(error, directory) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DestinationError(
                _("{path} is being changed by another process").format(path=directory),
                hint=_("Wait until it has finished, then run the command again."),
            ) from error
        yield
    finally:
        os.close(descriptor)


def read_list(directory: str) -> TrustList:
    """The newest version, its history checked as far as it is kept. Raises KeyringError."""
    path = os.path.join(directory, LIST_FILE)
    trust = _read(path)
    for version in range(trust.version - 1, 0, -1):
        earlier = _history_path(directory, version)
        if not os.path.exists(earlier):
            break
        found = _read(earlier)
        if found.digest != trust.previous or found.authority != trust.authority:
            raise KeyringError(
                _("{path} is not the version that the next one names").format(path=earlier),
                hint=_("Somebody has changed the trust list's history. Compare with a copy."),
            )
        trust = found
    return _read(path)


def _read(path: str) -> TrustList:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
        return parse_trust_list(data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            _("{path}: {reason}").format(path=path, reason=reason),
            hint=_("'archiver setup' or 'archiver key init' makes one."),
        ) from error
    except FormatError as error:
        raise KeyringError(
            _("{path}: {reason}").format(path=path, reason=_(error.message))
        ) from error


def begin_list(
    directory: str, organisation: str, authority: SigningKey, now: datetime
) -> TrustList:
    """Publish the first version."""
    return _publish(directory, first_list(authority.certificate, organisation, now), authority, now)


def add_signer(
    directory: str, name: str, certificate: Certificate, authority: SigningKey, now: datetime
) -> TrustList:
    """Publish a version with one more signer; its window is its certificate's."""
    trust = read_list(directory)
    names = [one.name for one in trust.signers]
    if trust.find(certificate.fingerprint) is not None or name in names:
        raise DestinationError(
            _("{name} is on the trust list already").format(name=name),
            hint=_("See 'archiver key list'; a new certificate needs a new name."),
        )
    if problem := why_not_sealer(certificate):
        raise KeyringError(
            _("{name}: {problem}").format(name=name, problem=_(problem)),
            hint=_("A TSA's root is put on the list with --as-tsa-root."),
        )
    entry = Trusted(
        certificate=certificate,
        name=name,
        valid_from=certificate.not_before,
        valid_until=certificate.not_after,
    )
    following = next_list(trust, now, signers=(*trust.signers, entry))
    return _publish(directory, following, authority, now)


def add_tsa_root(
    directory: str,
    certificates: Sequence[Certificate],
    url: str,
    authority: SigningKey,
    now: datetime,
) -> TrustList:
    """Publish a version with the roots of a TSA pinned."""
    trust = read_list(directory)
    known = {(one.certificate.fingerprint, one.url) for one in trust.tsa_roots}
    added = []
    for one in certificates:
        if not one.is_ca:
            raise KeyringError(
                _("{name} is no CA's certificate, so it can't be a TSA's root").format(
                    name=one.name
                ),
                hint=_("Name the root of the TSA, not the TSA's own certificate, which changes."),
            )
        if (one.fingerprint, url) not in known:
            added.append(TsaRoot(certificate=one, name=one.name, url=url))
    if not added:
        return trust
    following = next_list(trust, now, tsa_roots=(*trust.tsa_roots, *added))
    return _publish(directory, following, authority, now)


def revoke_signer(
    directory: str,
    name: str,
    invalid_after: datetime,
    reason: str,
    authority: SigningKey,
    now: datetime,
) -> TrustList:
    """Publish a version in which a signer counts for nothing after ``invalid_after``.

    ``name`` is its name on the list or its fingerprint. An earlier date replaces a later
    one, never the other way round.
    """
    if reason not in REASONS:
        raise UsageError(
            _("{reason} is no reason for a revocation").format(reason=reason),
            hint=_("Choose from: {known}.").format(known=", ".join(REASONS)),
        )
    trust = read_list(directory)
    fingerprint = parse_fingerprint(name)
    found = [
        one
        for one in trust.signers
        if one.name == name or one.certificate.fingerprint == fingerprint
    ]
    if not found:
        known = ", ".join(one.name for one in trust.signers)
        raise UsageError(
            _("there is no signer named {name} on the trust list").format(name=name),
            hint=_("Known signers: {names}.").format(names=known),
        )
    if invalid_after > now:
        raise UsageError(
            _("{time} is in the future").format(time=invalid_after.isoformat(" ", "seconds")),
            hint=_("Name the last moment at which the key was surely in good hands."),
        )
    entry = found[0]
    if entry.invalid_after is not None and entry.invalid_after <= invalid_after:
        raise DestinationError(
            _("{name} is revoked already, for all after {since}").format(
                name=name, since=entry.invalid_after
            ),
            hint=_("Only an earlier moment can take its place."),
        )
    revoked = replace(
        entry, revoked_at=entry.revoked_at or now, invalid_after=invalid_after, reason=reason
    )
    signers = [revoked if one is entry else one for one in trust.signers]
    return _publish(directory, next_list(trust, now, signers=signers), authority, now)


def _publish(directory: str, trust: TrustList, authority: SigningKey, now: datetime) -> TrustList:
    """History first, then the list itself in one step, then the CRL, which follows from it.
    The very first list is written where there is none, or not at all.
    """
    data = sign_trust_list(trust, authority, now)
    signed = parse_trust_list(data)
    history = _history_path(directory, trust.version)
    try:
        os.makedirs(os.path.dirname(history), exist_ok=True)
        if trust.version == 1:
            write_new_file(os.path.join(directory, LIST_FILE), data, 0o644)
        replace_file(history, data, 0o644)
        replace_file(os.path.join(directory, LIST_FILE), data, 0o644)
        replace_file(os.path.join(directory, CRL_FILE), make_crl(signed, authority, now), 0o644)
    except OSError as error:
        raise storage_error(error, directory) from error
    return signed


def _history_path(directory: str, version: int) -> str:
    return os.path.join(directory, _HISTORY, f"{version:04}.json")
