"""Amendments that were handed out with a bag: whether they belong to it, and what they say.

Job: one directory of records and signatures against one bag. Limits: how many there should
be stands in the vault's log alone: that the last ones were left out can't be seen here.

What is encrypted belongs to the bag by its signatures and by the digests of its ciphertext;
what it says is known, and judged, where somebody has a key that opens it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from archiver.bag.opening import MAX_EXPANSION, open_tree
from archiver.bag.validate import BagFacts
from archiver.describe import DESCRIPTION_PATH, Description
from archiver.describe.amendment import (
    MAX_AMENDMENTS,
    SEALED_ENDING,
    History,
    fold_amendments,
    record_name,
)
from archiver.describe.description import MAX_DESCRIPTION_BYTES
from archiver.errors import ArchiverError, FormatError, KeyringError, UsageError
from archiver.filesystem import read_regular
from archiver.findings import Findings
from archiver.i18n import _
from archiver.pki.anchors import Anchors, Proven, Standing, judge_signer
from archiver.pki.cms import MAX_CMS_BYTES, CmsError, parse_signed_data
from archiver.signing import check_manifest_signature

if TYPE_CHECKING:  # age is an extra
    from archiver.encrypt import Identities

__all__ = [
    "MAX_RECORD_BYTES",
    "SIGNATURE_ENDING",
    "AmendmentsReport",
    "check_handed_out",
    "signature_problem",
]

SIGNATURE_ENDING = ".p7s"
MAX_RECORD_BYTES = MAX_DESCRIPTION_BYTES + (64 << 10)
"""A record, with what encryption adds."""
_RECORD = re.compile(r"([0-9]{4})\.json(\.age)?(\.p7s)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendmentsReport:
    """``count`` records; ``secret``: they, or the description, are encrypted. ``history`` isn't
    known then, unless it was ``opened``. ``problems``: what stands against them, each with the
    name of its file.
    """

    count: int
    signed: int
    secret: bool
    opened: bool
    history: History | None
    problems: tuple[tuple[str, str], ...]


def signature_problem(
    data: bytes,
    signature: bytes | None,
    anchors: Anchors,
    *,
    now: datetime,
    proven: datetime | None = None,
) -> str:
    """What stands against ``signature`` over the record ``data``, or ""; None is none.
    ``proven``: when it was there at the latest.
    """
    nobody = _("nobody whom you trust has signed this amendment")
    if signature is None:
        return nobody if anchors.names_signers else ""
    try:
        signed = parse_signed_data(signature)
        check_manifest_signature(signed, data)
    except CmsError as error:
        return _("the signature doesn't hold: {reason}").format(reason=_(error.message))
    if not anchors.names_signers:
        return ""
    at = Proven(proven) if proven else None
    trust = judge_signer(signed.certificate, signed.certificates, anchors, at, now)
    trusted = trust.standing is Standing.TRUSTED and not signed.certificate.why_not_signer()
    return "" if trusted else nobody


def check_handed_out(
    directory: str,
    bag: str,
    facts: BagFacts,
    anchors: Anchors | None = None,
    now: datetime | None = None,
    *,
    identities: Identities | None = None,
    max_expansion: int = MAX_EXPANSION,
) -> AmendmentsReport:
    """The amendments in ``directory`` against the bag at ``bag``; ``facts`` are what its own
    check found; ``identities`` are tried on what is encrypted. Raises UsageError where there is
    no such directory.
    """
    found = _Found(directory, identities)
    path, described = _description(bag, facts, max_expansion, found)
    records = list(found.records())
    secret = path.endswith(SEALED_ENDING) or any(sealed for _data, sealed in records)
    history = None
    if identities is not None or not secret:
        item = facts.info.first("External-Identifier") or ""
        history = _history(item, path, described, records, found)
    if history is not None and history.problem:
        found.problem(directory, history.problem)
    signed = 0
    for number, (data, sealed) in enumerate(records, start=1):
        name = record_name(number, sealed=sealed)
        signature = found.signature(name)
        signed += signature is not None
        problem = signature_problem(
            data, signature, anchors or Anchors(), now=now or datetime.now(UTC)
        )
        if problem:
            found.problem(name, problem)
    return AmendmentsReport(
        count=len(records),
        signed=signed,
        secret=secret,
        opened=secret and history is not None,
        history=history,
        problems=tuple(found.problems),
    )


def _history(
    item: str, path: str, described: bytes | None, records: list[tuple[bytes, bool]], found: _Found
) -> History | None:
    """What was said, and since; None where some of it can't be read, or no key opens it."""
    first, digest = None, ""
    if path:
        data = None if described is None else found.opened(path, described)
        if described is None or data is None:
            return None
        digest = hashlib.sha256(described).hexdigest()
        try:
            first = Description.parse(data)
        except FormatError as error:
            found.problem(path, error.message)
    said = []
    for number, (cipher, sealed) in enumerate(records, start=1):
        data = found.opened(record_name(number, sealed=sealed), cipher)
        if data is None:
            return None
        said.append(data)
    digests = [hashlib.sha256(cipher).hexdigest() for cipher, _sealed in records]
    return fold_amendments(item, first, digest, said, digests)


class _Found:
    """What lies in the directory; a stranger may have filled it."""

    def __init__(self, directory: str, identities: Identities | None) -> None:
        self._directory, self._identities = directory, identities
        self.problems: list[tuple[str, str]] = []
        try:
            self._names = sorted(os.listdir(directory))
        except OSError as error:
            raise UsageError(
                _("{path}: {reason}").format(path=directory, reason=error.strerror),
                hint=_("Name the directory with the amendments; an export ends in .amendments."),
            ) from error
        for name in self._names:
            if not self._can_be(name):
                self.problem(name, _("it is no amendment"))

    def _can_be(self, name: str) -> bool:
        """Whether it is named as a record is, or the signature of one that is there."""
        told = _RECORD.fullmatch(name)
        record = name.removesuffix(SIGNATURE_ENDING)
        return told is not None and int(told[1]) > 0 and record in self._names

    def problem(self, name: str, text: str) -> None:
        """Note it."""
        self.problems.append((name, text))

    def opened(self, name: str, data: bytes) -> bytes | None:
        """The plain text of ``data``, which is called ``name``; None where no key opens it, or
        it is none.
        """
        if not name.endswith(SEALED_ENDING):
            return data
        if self._identities is None:
            return None
        from archiver.encrypt import decrypt_bytes

        try:
            return decrypt_bytes(data, self._identities, MAX_DESCRIPTION_BYTES)
        except KeyringError:
            return None
        except FormatError as error:
            self.problem(name, error.message)
            return None

    def _read(self, name: str, limit: int) -> bytes | None:
        try:
            data = read_regular(os.path.join(self._directory, name), limit + 1)
        except OSError as error:
            reason = error.strerror or str(error)
            self.problem(name, _("can't be read: {reason}").format(reason=reason))
            return None
        if len(data) > limit:
            self.problem(name, _("{path} is too long for what it should be").format(path=name))
            return None
        return data

    def records(self) -> Iterator[tuple[bytes, bool]]:
        """(bytes, encrypted?) of each, from 0001 on without a gap; what follows one that is
        missing, or there twice, counts for nothing and is told.
        """
        number = 1
        while number <= MAX_AMENDMENTS:
            names = [record_name(number, sealed=sealed) for sealed in (False, True)]
            there = [name for name in names if name in self._names]
            if len(there) != 1:
                break
            data = self._read(there[0], MAX_RECORD_BYTES)
            if data is None:
                break
            yield data, there[0].endswith(SEALED_ENDING)
            number += 1
        for name in self._names:
            told = _RECORD.fullmatch(name)
            if told and int(told[1]) >= number:
                self.problem(name, _("an amendment before it is missing, or there twice"))

    def signature(self, record: str) -> bytes | None:
        """The signature over ``record``, if there is one that can be read."""
        name = record + SIGNATURE_ENDING
        return self._read(name, MAX_CMS_BYTES) if name in self._names else None


def _description(
    bag: str, facts: BagFacts, max_expansion: int, found: _Found
) -> tuple[str, bytes | None]:
    """Where the description in the bag is ("": there is none), and its bytes, encrypted or not,
    None where they can't be read. One that no tag manifest lists, or none that is signed, is
    none; where there are two, the encrypted one counts.
    """
    listed = facts.tag_files - set(facts.unsigned_tag_files)
    for path in (DESCRIPTION_PATH + SEALED_ENDING, DESCRIPTION_PATH):
        if path not in listed:
            continue
        try:
            return path, _of_bag(bag, path, max_expansion)
        except (ArchiverError, OSError) as error:
            found.problem(path, _(str(error)))
            return path, None
    return "", None


def _of_bag(bag: str, path: str, max_expansion: int) -> bytes:
    tree = open_tree(bag, Findings(), max_expansion=max_expansion)
    try:
        with tree.open(path) as stream:
            data = stream.read(MAX_RECORD_BYTES + 1)
    finally:
        tree.close()
    if len(data) > MAX_RECORD_BYTES:
        raise FormatError(_("the record is too large"))
    return data
