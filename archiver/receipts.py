"""What a vault has handed out, and what came back: receipts in its logs and in receipts/.

Job: the events that tell of receipts, and the files that are kept of them. Limits: makes no
exports, judges no signatures. The log is the truth; a name from a log is checked before it
becomes a path. No names of people, no purposes stand in a log.

::

    VAULT/receipts/<case>/<receipt>.txt            the text as it was handed out
    VAULT/receipts/<case>/<receipt>.<FP>.p7s       a signature; FP: 16 digits of its
                                                   signer's fingerprint

Three events of the type ``dissemination`` tell of a receipt, by their ``act``: ``export``
(before the export appears), ``withdrawal`` (it never did), ``return``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from archiver.custody import Event, Link
from archiver.errors import FormatError, storage_error
from archiver.filesystem import write_new_file
from archiver.i18n import N_, _
from archiver.pki.cms import MAX_CMS_BYTES
from archiver.receipt import FORMS, MAX_RECEIPT_BYTES, RECEIPT_ID, Receipt, case_of
from archiver.vault import Vault
from archiver.vault.log import CaseLog

__all__ = [
    "HandedOut",
    "exporting",
    "is_kept",
    "keep_receipt",
    "kept_signature",
    "problem_of",
    "receipts_of",
    "returning",
    "signature_path",
    "text_path",
    "withdrawing",
]

DIRECTORY = "receipts"
_EVENT = "dissemination"
_EXPORT, _WITHDRAWAL, _RETURN = "export", "withdrawal", "return"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """One receipt, as the log tells of it. ``exporters`` and ``signatures`` go by the
    fingerprints of their certificates; of the latter with the digests of the files.
    """

    case: str
    item: str
    receipt: str
    at: datetime
    form: str
    sha256: str
    exporters: tuple[str, ...] = ()
    signatures: Mapping[str, str] = field(default_factory=dict)
    paper: bool = False
    withdrawn: bool = False
    purpose: str = ""
    """For which consent was asked, "" where nobody had to be."""

    @property
    def is_open(self) -> bool:
        """Whether it went out, and nothing that says so came back."""
        return not (self.signatures or self.paper or self.withdrawn)


# -- what the log tells


def exporting(
    receipt: Receipt,
    exporters: Sequence[str],
    now: datetime,
    consent: Mapping[str, str] | None = None,
) -> Event:
    """The event that says: this is being handed out, and was read back. ``exporters`` have
    signed the receipt: the fingerprints of their certificates. ``consent`` says why it may
    be, where a witness is asked.
    """
    detail: dict[str, Any] = {
        "act": _EXPORT,
        "form": receipt.form,
        "item": receipt.item,
        "receipt": receipt.identifier,
        "receipt_sha256": hashlib.sha256(receipt.text()).hexdigest(),
        "signers": sorted(exporters),
    }
    if consent:
        detail["consent"] = dict(consent)
    return Event(type=_EVENT, at=now, detail=detail)


def withdrawing(receipt: Receipt, now: datetime) -> Event:
    """The event that says: it could not be put where it was wanted."""
    detail = {"act": _WITHDRAWAL, "item": receipt.item, "receipt": receipt.identifier}
    return Event(type=_EVENT, at=now, outcome="failure", detail=detail)


def returning(sent: HandedOut, new: Mapping[str, str], now: datetime, *, paper: bool) -> Event:
    """The event that says: these signatures came back, and were filed; ``new`` are digests of
    their files by the fingerprints of their certificates.
    """
    detail = {
        "act": _RETURN,
        "item": sent.item,
        "paper": paper,
        "receipt": sent.receipt,
        "signatures": [
            {"certificate": fingerprint, "sha256": digest}
            for fingerprint, digest in sorted(new.items())
        ],
        "signed": bool(new),
    }
    return Event(type=_EVENT, at=now, detail=detail)


def receipts_of(vault: Vault, case: str) -> dict[str, HandedOut]:
    """The receipts of a case by their identifiers, in the order of the log. Raises LogError
    where it is broken, or tells of receipts what can't be.
    """
    log = CaseLog(case, vault.log_path(case))
    found: dict[str, HandedOut] = {}
    for link in log.read():
        if link.event.type == _EVENT and "receipt" in link.event.detail:
            try:
                one = _told(case, link, found)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                wrong = FormatError(N_("the event tells of a receipt what can't be"))
                raise log.broken(link.seq, wrong) from error
            found[one.receipt] = one
    return found


def _told(case: str, link: Link, known: Mapping[str, HandedOut]) -> HandedOut:
    """The receipt after one more event. A log may come from a stranger."""
    detail = link.event.detail
    if detail["act"] == _EXPORT:
        return _exported(case, link, known)
    before = known[detail["receipt"]]
    if before.item != detail["item"]:
        raise ValueError
    if detail["act"] == _WITHDRAWAL:
        return replace(before, withdrawn=True)
    if detail["act"] != _RETURN:
        raise ValueError
    signatures = {one["certificate"]: one["sha256"] for one in detail["signatures"]}
    if not all(_is_digest(text) for pair in signatures.items() for text in pair):
        raise ValueError
    paper = before.paper or detail["paper"] is True
    return replace(before, signatures={**before.signatures, **signatures}, paper=paper)


def _exported(case: str, link: Link, known: Mapping[str, HandedOut]) -> HandedOut:
    detail = link.event.detail
    identifier, signers = detail["receipt"], detail["signers"]
    well_formed = (
        RECEIPT_ID.fullmatch(identifier)
        and identifier not in known
        and case_of(detail["item"]) == case
        and detail["form"] in FORMS
        and all(map(_is_digest, [detail["receipt_sha256"], *signers]))
    )
    if not well_formed:
        raise ValueError
    return HandedOut(
        case=case,
        item=detail["item"],
        receipt=identifier,
        at=link.event.at,
        form=detail["form"],
        sha256=detail["receipt_sha256"],
        exporters=tuple(signers),
        purpose=_purpose(detail.get("consent")),
    )


def _purpose(consent: object) -> str:
    told = consent.get("purpose") if isinstance(consent, Mapping) else ""
    return told if isinstance(told, str) else ""


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


# -- what lies in receipts/


def text_path(vault: Vault, case: str, identifier: str) -> str:
    """Where a receipt's text is kept."""
    return os.path.join(vault.path, DIRECTORY, case, f"{identifier}.txt")


def signature_path(vault: Vault, case: str, identifier: str, fingerprint: str) -> str:
    """Where a signature over it is kept."""
    place = os.path.join(vault.path, DIRECTORY, case)
    return os.path.join(place, f"{identifier}.{fingerprint[:16]}.p7s")


def keep_receipt(vault: Vault, receipt: Receipt, signatures: Mapping[str, bytes]) -> None:
    """Keep the text and the exporters' ``signatures`` (by fingerprint), durable. Raises
    StorageError. The caller holds the vault's lock, and writes the event afterwards.
    """
    path = text_path(vault, receipt.case, receipt.identifier)
    vault.refuse_links(os.path.relpath(os.path.dirname(path), vault.path))
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        for fingerprint, data in signatures.items():
            place = signature_path(vault, receipt.case, receipt.identifier, fingerprint)
            write_new_file(place, data, 0o444)
        write_new_file(path, receipt.text(), 0o444)
    except OSError as error:
        raise storage_error(error, path) from error


def kept_signature(vault: Vault, receipt: Receipt, ending: str) -> bytes:
    """The kept signature whose file ends so; b"" where there is none."""
    path = text_path(vault, receipt.case, receipt.identifier).removesuffix(".txt") + ending
    return _read_if_there(path, MAX_CMS_BYTES)


def is_kept(vault: Vault, receipt: Receipt) -> bool:
    """Whether the very text is kept."""
    path = text_path(vault, receipt.case, receipt.identifier)
    return _read_if_there(path, MAX_RECEIPT_BYTES) == receipt.text()


def _read_if_there(path: str, limit: int) -> bytes:
    try:
        return _read(path, limit)
    except FileNotFoundError:
        return b""


def _read(path: str, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        return file.read(limit + 1)


def problem_of(vault: Vault, sent: HandedOut) -> str:
    """What is wrong with the files that the log tells of; "" where nothing is."""
    wanted = {text_path(vault, sent.case, sent.receipt): sent.sha256}
    for fingerprint, digest in sent.signatures.items():
        wanted[signature_path(vault, sent.case, sent.receipt, fingerprint)] = digest
    for path, digest in wanted.items():
        try:
            data = _read(path, MAX_CMS_BYTES)
        except FileNotFoundError:
            return _("MISSING: {path}").format(path=path)
        except OSError as error:
            reason = error.strerror or str(error)
            return _("{path} can't be read: {reason}").format(path=path, reason=reason)
        if hashlib.sha256(data).hexdigest() != digest:
            return _("MODIFIED: {path}").format(path=path)
    return ""
