"""What a checker trusts, read from files.

Job: certificates, fingerprints, trust lists, TSA roots and revocation lists into
:class:`~archiver.pki.anchors.Anchors`. Limits: every file was brought by the
checker; whether one lies in the bag itself, and so proves nothing, is asked with
:func:`refuse_from_bag`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence

from archiver.errors import FormatError, KeyringError, UsageError
from archiver.filesystem import replace_file
from archiver.i18n import _
from archiver.pki.anchors import Anchors
from archiver.pki.certificates import Certificate, parse_fingerprint, read_certificates, unique
from archiver.pki.paths import Crl, read_crls
from archiver.pki.trustlist import MAX_LIST_BYTES, TrustList, parse_trust_list

__all__ = ["load_anchors", "refuse_from_bag", "remember_lists"]

_MAX_CRL_BYTES = 64 << 20
_LIST_FILE = "trust.json"
_MAX_NOTE_BYTES = 4096
_DIGITS = re.compile(r"(?:[0-9a-fA-F]{2,4}[ :]?){8,}")
_GROUPS = re.compile(r" *(?:[0-9A-Fa-f]{4} ?){4}")


def load_anchors(
    *,
    trust: Sequence[str] = (),
    tsa_roots: Sequence[str] = (),
    crls: Sequence[str] = (),
) -> Anchors:
    """What is trusted. Raises UsageError, KeyringError.

    Each of ``trust`` is a file with certificates (a CA, or a signer's own as an exact
    pin), a trust list (``trust.json``), or the fingerprint of a certificate that may come
    with the bag (``sha256:…``). ``tsa_roots`` are files with the roots of TSAs.
    """
    certificates: list[Certificate] = []
    fingerprints: set[str] = set()
    lists: list[TrustList] = []
    for given in trust:
        # A file of that name is never looked at: it may have come with the bag.
        fingerprint = parse_fingerprint(given)
        if fingerprint is not None:
            fingerprints.add(fingerprint)
            continue
        if given.lower().startswith("sha256:") or _DIGITS.fullmatch(given):
            raise UsageError(
                _("{text!r} is not a SHA-256 fingerprint").format(text=given),
                hint=_("It has 64 digits from 0 to 9 and a to f; groups may be set apart."),
            )
        path = os.path.join(given, _LIST_FILE) if os.path.isdir(given) else given
        data = _read(path, MAX_LIST_BYTES)
        if data.lstrip()[:1] == b"{":
            lists.append(_trust_list(path, data))
        elif (told := _fingerprint_in(data)) is not None:
            fingerprints.add(told)
        else:
            certificates += _certificates(path, data)
    return Anchors(
        certificates=unique(certificates),
        fingerprints=frozenset(fingerprints),
        lists=tuple(lists),
        tsa_roots=unique(one for path in tsa_roots for one in _roots(path)),
        crls=tuple(one for path in crls for one in _crls(path)),
    )


def _fingerprint_in(data: bytes) -> str | None:
    """The one fingerprint in a text such as FINGERPRINT.txt; None where it is none."""
    if len(data) > _MAX_NOTE_BYTES or b"-----BEGIN" in data:
        return None
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    groups = [line for line in lines if _GROUPS.fullmatch(line)]
    whole = [found for line in lines if (found := parse_fingerprint(line))]
    return whole[0] if len(whole) == 1 else parse_fingerprint("".join(groups))


def _trust_list(path: str, data: bytes) -> TrustList:
    try:
        return parse_trust_list(data)
    except FormatError as error:
        raise KeyringError(
            _("{path}: {reason}").format(path=path, reason=_(error.message)),
            hint=_("Ask whoever handed it out for the list and for the CA's fingerprint."),
        ) from error


def _certificates(path: str, data: bytes) -> tuple[Certificate, ...]:
    if b"PRIVATE KEY-----" in data:
        raise KeyringError(
            _("{path} is a private key, not a certificate").format(path=path),
            hint=_("Never hand it out. The certificate is a file beside it, often .pem."),
        )
    if b"-----BEGIN X509 CRL-----" in data:
        raise KeyringError(
            _("{path} is a revocation list, not a certificate").format(path=path),
            hint=_("Name it with --crl."),
        )
    try:
        return read_certificates(data)
    except FormatError as error:
        raise KeyringError(
            _("{path}: {reason}").format(path=path, reason=_(error.message)),
            hint=_(
                "Name a certificate (PEM or DER), a trust list (trust.json) or a fingerprint"
                " (sha256:...)."
            ),
        ) from error


def _roots(path: str) -> tuple[Certificate, ...]:
    found = _certificates(path, _read(path, MAX_LIST_BYTES))
    if not all(one.is_ca for one in found):
        raise KeyringError(
            _("{path} holds a certificate that is no CA's").format(path=path),
            hint=_("Name the root of the TSA, not the TSA's own certificate, which changes."),
        )
    return found


def _crls(path: str) -> tuple[Crl, ...]:
    try:
        return read_crls(_read(path, _MAX_CRL_BYTES))
    except FormatError as error:
        raise KeyringError(
            _("{path}: {reason}").format(path=path, reason=_(error.message)),
            hint=_("A revocation list is a file in PEM or DER, often called .crl."),
        ) from error


def _read(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            _("{path}: {reason}").format(path=path, reason=reason),
            hint=_("Name a file that you have from outside of the bag."),
        ) from error
    if len(data) > limit:
        raise UsageError(_("{path} is too long for what it should be").format(path=path))
    return data


def refuse_from_bag(files: Iterable[str], bag: str) -> None:
    """Refuse anchors that lie in the bag that they are to vouch for. Raises UsageError."""
    base = os.path.realpath(bag)
    for path in files:
        if parse_fingerprint(path) is not None:
            continue
        places = [os.path.realpath(one) for one in (path, os.path.join(path, _LIST_FILE))]
        if any(f"{place}{os.sep}".startswith(base + os.sep) for place in places):
            raise UsageError(
                _("{path} lies in the bag: what came with it can't vouch for it").format(path=path),
                hint=_("Get the certificate by another road, and compare its fingerprint."),
            )


class OldListError(KeyringError):
    """A trust list that is not to be gone by: it proves nothing."""

    exit_code = 4


def remember_lists(lists: Iterable[TrustList], path: str) -> list[str]:
    """Refuse trust lists that are older than ones seen before; note those that are newer.

    ``path`` is a file in the user's own directory: CA fingerprints, versions and digests.
    Returns warnings where it can't be written. Raises KeyringError.
    """
    seen = _seen(path)
    before = dict(seen)
    given = sorted(lists, key=lambda one: -one.version)  # the newest given is seen, too
    for one in given:
        version, digest = seen.get(one.authority.fingerprint, (0, ""))
        if one.version < version:
            raise OldListError(
                _("the trust list of {name} is version {old}, but version {new} was seen").format(
                    name=one.organisation, old=one.version, new=version
                ),
                hint=_(
                    "Somebody may be hiding a revocation: get the newest list. What was seen is"
                    " noted in {path}."
                ).format(path=path),
            )
        follows = one.version != version + 1 or not version or one.previous == digest
        if (one.version == version and one.digest != digest) or not follows:
            raise OldListError(
                _("there are two different trust lists of {name} of version {version}").format(
                    name=one.organisation, version=min(one.version, version)
                ),
                hint=_("One of them is not what the organisation says. Ask them."),
            )
        seen[one.authority.fingerprint] = (one.version, one.digest)
    return _note(seen, path) if seen != before else []


def _seen(path: str) -> dict[str, tuple[int, str]]:
    try:
        with open(path, encoding="ascii") as file:
            found = json.load(file)
        return {str(key): (int(version), str(digest)) for key, (version, digest) in found.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise KeyringError(
            _("{path}, which tells old trust lists from new ones, can't be read").format(path=path),
            hint=_("Remove it if you are sure that nobody has tampered with it."),
        ) from error


def _note(seen: dict[str, tuple[int, str]], path: str) -> list[str]:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        replace_file(path, json.dumps(seen, sort_keys=True).encode() + b"\n", 0o600)
    except OSError as error:
        reason = error.strerror or str(error)
        return [
            _("the trust list's version could not be noted in {path}: {reason}").format(
                path=path, reason=reason
            )
        ]
    return []
