"""Receipts that come back: signed by the receiver, filed by the vault.

Job: sign one (the receiver, who needs no vault), and file what was signed. Limits: a
signature that doesn't hold over exactly the bytes that were handed out is not filed; whom to
trust is told by anchors, or not asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from archiver.errors import (
    AlreadyExistsError,
    DestinationError,
    FormatError,
    NotFoundError,
    UnreadableError,
    UsageError,
    VaultError,
    storage_error,
)
from archiver.filesystem import read_regular, replace_file, write_new_file
from archiver.findings import VerificationError
from archiver.i18n import _
from archiver.pki.anchors import Anchors, Standing, judge_signer
from archiver.pki.certificates import Certificate
from archiver.pki.cms import MAX_CMS_BYTES, CmsError, SignedData, parse_signed_data
from archiver.pki.keyring import SigningKey
from archiver.receipt import MAX_RECEIPT_BYTES, Receipt, parse_receipt
from archiver.receipts import (
    HandedOut,
    is_kept,
    receipts_of,
    returning,
    signature_path,
    text_path,
)
from archiver.signing import check_manifest_signature, sign_manifest
from archiver.vault import Vault
from archiver.vault.records import Records, writing

__all__ = ["Filed", "Return", "file_receipt", "read_receipt", "read_signature", "sign_receipt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What came back: the receipt's bytes, the files of signatures by what people call them,
    and whether a signed paper lies in a drawer.
    """

    data: bytes
    signatures: Mapping[str, bytes] = field(default_factory=dict)
    paper: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """What was filed: the receipt, and the signers' certificates."""

    receipt: Receipt
    certificates: tuple[Certificate, ...]
    paper: bool


def read_receipt(path: str) -> bytes:
    """A receipt's file. Raises UnreadableError, UsageError."""
    return _read_given(path, MAX_RECEIPT_BYTES)


def read_signature(path: str) -> bytes:
    """A signature's file. Raises UnreadableError, UsageError."""
    return _read_given(path, MAX_CMS_BYTES)


def _read_given(path: str, limit: int) -> bytes:
    try:
        return read_regular(os.path.realpath(path), limit + 1)
    except OSError as error:
        text = _("{path}: {reason}").format(path=path, reason=error.strerror or str(error))
        if isinstance(error, FileNotFoundError):
            raise UsageError(text, hint=_("Check the spelling of the path.")) from error
        raise UnreadableError(text) from error


def _parsed(data: bytes) -> Receipt:
    try:
        return parse_receipt(data)
    except FormatError as error:
        raise FormatError(
            _("it is not a receipt, to the byte"),
            hint=_("An editor or a mail program may have changed it: ask for the file itself."),
        ) from error


def sign_receipt(path: str, data: bytes, signers: Sequence[SigningKey], now: datetime) -> list[str]:
    """Sign ``data``, the receipt at ``path``; where the signatures lie, beside it. Raises
    FormatError, DestinationError, StorageError.
    """
    _parsed(data)
    made = []
    for signer in signers:
        place = f"{path}.{signer.certificate.fingerprint[:16]}.p7s"
        try:
            write_new_file(place, sign_manifest(data, signer, now), 0o444)
        except FileExistsError as error:
            raise DestinationError(_("{path} exists already").format(path=place)) from error
        except OSError as error:
            raise storage_error(error, place) from error
        made.append(place)
    return made


def file_receipt(
    vault: Vault,
    given: Return,
    now: datetime,
    *,
    anchors: Anchors | None = None,
    wait_seconds: float = 60.0,
) -> Filed:
    """File what came back, and write it down; all of it, or nothing.

    With ``anchors`` every signer must be trusted. Signatures first, then the event: what a
    kill leaves between them is filed by the next try. Raises FormatError where the text is
    not the one that was handed out or a signature doesn't hold, VerificationError,
    NotFoundError, AlreadyExistsError, StorageError.
    """
    receipt = _parsed(given.data)
    signed = _checked(given)
    if not signed and not given.paper:
        raise UsageError(
            _("nothing says that it was received"),
            hint=_("Give the receiver's --signature FILE, or --paper if a paper was signed."),
        )
    if anchors is not None:
        _refuse_untrusted(signed.values(), anchors, now)
    with writing(vault, f"receipt {receipt.case}", wait_seconds) as records:
        sent = _find(vault, records, receipt)
        new, paper = _what_is_new(sent, signed, paper=given.paper)
        digests = _keep(vault, receipt, {name: given.signatures[name] for name in new}, signed)
        records.append(sent.case, [returning(sent, digests, now, paper=paper)])
    certificates = tuple(signed[name].certificate for name in new)
    return Filed(receipt=receipt, certificates=certificates, paper=paper)


def _checked(given: Return) -> dict[str, SignedData]:
    """Each signature by its name; every one holds, over exactly these bytes, and no signer
    is counted twice.
    """
    found: dict[str, SignedData] = {}
    for name, data in given.signatures.items():
        try:
            signed = parse_signed_data(data)
            check_manifest_signature(signed, given.data)
        except CmsError as error:
            text = _("{path}: the signature doesn't hold: {reason}")
            raise FormatError(
                text.format(path=name, reason=_(error.message)),
                hint=_("Nothing was filed. It must be made over the receipt as it is, in DER."),
            ) from error
        if any(one.certificate == signed.certificate for one in found.values()):
            raise UsageError(
                _("{path}: this signer's signature was given twice").format(path=name),
                hint=_("Nothing was filed. Give one of each signer."),
            )
        found[name] = signed
    return found


def _refuse_untrusted(signed: Iterable[SignedData], anchors: Anchors, now: datetime) -> None:
    for one in signed:
        certificate = one.certificate
        trust = judge_signer(certificate, one.certificates, anchors, None, now)
        if trust.standing is Standing.TRUSTED and not certificate.why_not_signer():
            continue
        raise VerificationError(
            _("{name} has signed, and is nobody whom you trust").format(name=certificate.name),
            report=trust,
            exit_code=3 if trust.standing is Standing.UNDECIDED else 4,
            hint=_("Nothing was filed."),
        )


def _find(vault: Vault, records: Records, receipt: Receipt) -> HandedOut:
    """What the log tells of the receipt, which must be the same to the byte."""
    if receipt.case in records.broken:
        raise records.broken[receipt.case]
    known = receipts_of(vault, receipt.case) if receipt.case in vault.cases() else {}
    sent = known.get(receipt.identifier)
    if sent is None or receipt.vault != vault.identifier:
        raise NotFoundError(
            _("this vault has handed out nothing with the receipt {receipt}").format(
                receipt=receipt.identifier
            ),
            hint=_("See 'archiver receipt list'."),
        )
    if hashlib.sha256(receipt.text()).hexdigest() != sent.sha256:
        raise FormatError(
            _("it is not the receipt that was handed out: its text was changed"),
            hint=_("What was handed out: {path}").format(
                path=text_path(vault, receipt.case, receipt.identifier)
            ),
        )
    return sent


def _what_is_new(
    sent: HandedOut, signed: Mapping[str, SignedData], *, paper: bool
) -> tuple[list[str], bool]:
    """The names of signatures that are not filed yet, and whether the paper isn't."""
    fingerprints = {name: one.certificate.fingerprint for name, one in signed.items()}
    for name, fingerprint in fingerprints.items():
        if fingerprint in sent.exporters:
            raise VerificationError(
                _("{path}: that is the signature of who handed it out").format(path=name),
                report=sent,
                exit_code=4,
                hint=_("Nothing was filed. The receiver has to sign."),
            )
    new = [name for name, one in fingerprints.items() if one not in sent.signatures]
    if not new and (sent.paper or not paper):
        raise AlreadyExistsError(
            _("the receipt {receipt} was filed already").format(receipt=sent.receipt),
            hint=_("Nothing was done. See 'archiver receipt list'."),
        )
    return new, paper and not sent.paper


def _keep(
    vault: Vault, receipt: Receipt, new: Mapping[str, bytes], signed: Mapping[str, SignedData]
) -> dict[str, str]:
    """Keep new signatures, and the text again where it was lost; the digests by fingerprint.

    A signature that the log doesn't know was left by a try that was killed: this one, by
    the same signer over the same bytes, takes its place.
    """
    path = text_path(vault, receipt.case, receipt.identifier)
    digests = {}
    vault.refuse_links(os.path.relpath(os.path.dirname(path), vault.path))
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            write_new_file(path, receipt.text(), 0o444)
        if not is_kept(vault, receipt):
            raise VaultError(
                _("{path} is not what was handed out").format(path=path),
                hint=_("Nothing was filed. Move it away: what you import takes its place."),
            )
        for name, data in new.items():
            fingerprint = signed[name].certificate.fingerprint
            place = signature_path(vault, receipt.case, receipt.identifier, fingerprint)
            replace_file(place, data, 0o444)
            digests[fingerprint] = hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise storage_error(error, path) from error
    return digests
