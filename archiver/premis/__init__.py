"""An item of a vault as PREMIS 3 XML, for other archives' systems.

Job: the workflow: what was sealed, what the log tells, who signed, who may use it. Limits:
checks tag files against the log, and doesn't read the payload: digests are those that were
sealed. Source: PREMIS Data Dictionary 3.0; premis-v3.xsd.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from archiver.bag.names import encode_path
from archiver.bag.proofs import SIGNED_FILE
from archiver.catalog.model import GOOD, SEALED, Item
from archiver.custody import CUSTODY_PATH, Link, parse_event
from archiver.describe import DESCRIPTION_PATH, Description
from archiver.describe.fields import PURPOSES, fields_of
from archiver.errors import FormatError, NoIntactReplicaError, NotFoundError
from archiver.i18n import _
from archiver.premis.elements import (
    FORMAT_KEYS,
    Copy,
    Grant,
    SignedBy,
    agents,
    entity,
    event,
    file,
    representation,
    rights,
)
from archiver.premis.sealed import SealedBag
from archiver.premis.xml import document
from archiver.vault import Vault
from archiver.vault.log import CaseLog
from archiver.verify import Verdict, VerificationReport, VerifyOptions, verify_bag
from archiver.verify.formats import FORMATS_PATH

__all__ = ["premis_of"]

_MAX_PROOF_BYTES = 4 << 20
_NAMES = {"md5": "MD5", "sha1": "SHA-1"} | {
    f"sha{size}": f"SHA-{size}" for size in (224, 256, 384, 512)
}
_UNTOLD_LEVEL = "confidential or sealed"
"""Of what is encrypted: which of the two, the description says, and that is encrypted too."""
_CONSENT = {
    "yes": (),
    "no": ("consent refused",),
    "ask": ("ask the witness first",),
}


def premis_of(
    vault: Vault, item: Item, description: Description | None, *, secret: bool = False
) -> Iterator[str]:
    """The document, in pieces; ``description`` is what is said of the item now, None where
    nothing may be told; ``secret`` where it is encrypted, or was amended so. Protected fields,
    which may name people, stay out.

    Raises NotFoundError where it was never sealed, NoIntactReplicaError where the vault's copy
    isn't what was sealed, LogError, StorageError.
    """
    if item.state != SEALED:
        raise NotFoundError(
            _("{item} has no bag: it was never sealed").format(item=item.item),
            hint=_("See 'archiver show {item}'.").format(item=item.item),
        )
    path = vault.bag_path(item.case, item.item)
    report = verify_bag(path, VerifyOptions(fast=True)) if os.path.isdir(path) else None
    if report is None or report.verdict is Verdict.INVALID or not report.facts.declaration:
        raise NoIntactReplicaError(
            _("the vault's copy of {item} is not what was sealed").format(item=item.item),
            hint=_("See 'archiver audit' and 'archiver repair'."),
        )
    sealed = str(item.detail.get("tag_manifest_sha512", ""))
    with SealedBag(path, sealed, report.facts.declaration) as bag:
        yield from document(_Item(vault, item, description, report, bag, secret).elements())


class _Item:
    """One item while it is written."""

    def __init__(
        self,
        vault: Vault,
        item: Item,
        description: Description | None,
        report: VerificationReport,
        bag: SealedBag,
        secret: bool,
    ) -> None:
        self._vault, self._item, self._report, self._bag = vault, item, report, bag
        self._level = description.confidentiality if description else ""
        open_one = description is not None and not description.is_secret
        self._description = description if open_one else None
        sealed_in_clear = item.description.get("path", DESCRIPTION_PATH) == DESCRIPTION_PATH
        # What became secret has a bag in clear: its file names may say what is now kept back.
        self._hides_files = sealed_in_clear and (
            secret or (description is not None and description.is_secret)
        )
        self._programs: set[str] = set()
        self._withdrawn: list[Grant] = []

    def elements(self) -> Iterator[Element]:
        """Objects, events, agents, rights: the order of the schema."""
        name, values = self._item.item, self._values()
        yield entity(name, values, _sources(values))
        yield representation(name, self._identifier(), self._copies(), self._policy())
        if not self._hides_files:
            yield from self._files()
        yield self._signed_file()
        for chain, link in self._events():
            self._programs.add(link.event.agent)
            yield event(name, chain, link)
        signers = {one.fingerprint: one.signer for one in self._signatures() if one.fingerprint}
        yield from agents(self._programs, signers)
        yield from self._rights()

    def _values(self) -> Mapping[str, Any]:
        if self._description is None:
            return {"kind": self._kind()} if self._kind() else {}
        kind = self._description.kind
        protected = {key for key, one in fields_of(kind).items() if one.protected}
        told = {k: v for k, v in self._description.values.items() if k not in protected}
        return {"kind": kind, **told}

    def _kind(self) -> str:
        kind = self._item.description.get("kind", "")
        return kind if isinstance(kind, str) else ""

    def _policy(self) -> str:
        """Its name; of a file's path the rest may name people."""
        return os.path.basename(self._vault.policy).removesuffix(".toml")

    def _identifier(self) -> str:
        return self._report.facts.info.first("External-Identifier") or ""

    def _copies(self) -> Iterator[Copy]:
        """The vault's own, and the replicas that were found good when they were read last."""
        case, item = self._item.case, self._item.item
        own = os.path.relpath(self._vault.bag_path(case, item), self._vault.path)
        yield Copy(place="", location=own)
        for place, check in sorted(self._item.checks.items()):
            if place and check.result == GOOD:
                yield Copy(place=place, location=f"{case}/{item}")

    def _files(self) -> Iterator[Element]:
        ledger = self._bag.payload()
        found = _Following(self._bag.records(FORMATS_PATH))
        columns = [(_name(one.file), one) for one in ledger.manifests if one.algorithm]
        for path, row in ledger.rows.items():
            digests = [(name, one.digest(row).hex()) for name, one in columns if one.listed[row]]
            size, record = self._bag.size_bytes(path), found.of(path)
            yield file(self._item.item, encode_path(path), digests, size, record)

    def _signed_file(self) -> Element:
        """What was signed, with the signatures that hold."""
        digest = str(self._item.detail.get("tag_manifest_sha512", ""))
        size = self._bag.size_bytes(SIGNED_FILE)
        signed = [self._signed_by(one.file, one.signer) for one in self._signatures()]
        found = {"mime": "text/plain"}
        digests = [("SHA-512", digest)]
        return file(self._item.item, SIGNED_FILE, digests, size, found, signed)

    def _signatures(self) -> list[Any]:
        seal = self._report.seal
        return [one for one in seal.signatures if one.holds] if seal else []

    def _signed_by(self, name: str, signer: str) -> SignedBy:
        value = base64.b64encode(self._bag.proof(name, _MAX_PROOF_BYTES)).decode()
        return SignedBy(signer=signer, method="CMS SignedData (RFC 5652), detached", value=value)

    def _events(self) -> Iterator[tuple[str, Link]]:
        """The bag's own chain, then what the case's log tells of the item."""
        chain = f"{self._item.item}/{CUSTODY_PATH}"
        for line in self._bag.lines(CUSTODY_PATH):
            try:
                yield chain, parse_event(line)
            except FormatError as error:
                raise NoIntactReplicaError(
                    _("{path} is no chain of custody").format(path=chain),
                    hint=_("See 'archiver bag verify'."),
                ) from error
        case = self._item.case
        for link in CaseLog(case, self._vault.log_path(case)).read():
            if link.event.detail.get("item") == self._item.item:
                self._note_withdrawn(link)
                yield case, link

    def _note_withdrawn(self, link: Link) -> None:
        detail = link.event.detail
        if detail.get("consent") == "withdrawn" and isinstance(detail.get("scope"), list):
            restriction = (f"consent withdrawn on {link.event.at.date()}",)
            for scope in detail["scope"]:
                self._withdrawn.append(Grant(act=f"use: {scope}", restrictions=restriction))

    def _rights(self) -> Iterator[Element]:
        name, described = self._item.item, self._description
        level = self._level or (_UNTOLD_LEVEL if self._kind() else "")
        if level:
            grant = Grant(act="disseminate", restrictions=(level,))
            yield rights(name, "confidentiality", [grant])
        consent = described.values.get("consent", {}) if described else {}
        grants = [
            Grant(act=f"use: {one}", restrictions=_CONSENT[consent[one]], note=_until(consent))
            for one in PURPOSES
            if one in consent
        ]
        if grants or self._withdrawn:
            yield rights(name, "consent", [*grants, *self._withdrawn])


def _until(consent: Mapping[str, Any]) -> str:
    return f"until {consent['expires']}" if "expires" in consent else ""


def _sources(values: Mapping[str, Any]) -> list[str]:
    return [one["item"] for one in values.get("derived_from", ()) if "item" in one]


def _name(manifest: str) -> str:
    """The name that the vocabulary has for a manifest's algorithm."""
    algorithm = manifest.removeprefix("manifest-").removesuffix(".txt")
    return _NAMES.get(algorithm, algorithm)


class _Following:
    """Records by their paths, which come in about the order in which they are asked for: of
    those that come too early, what is told here is kept, and is small.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._records, self._kept = iter(records), dict[str, Mapping[str, Any]]()

    def of(self, path: str) -> Mapping[str, Any]:
        """The record of ``path``; {} where there is none."""
        if path in self._kept:
            return self._kept.pop(path)
        for record in self._records:
            found = record.get("path")
            if found == path:
                return record
            if isinstance(found, str):
                self._kept[found] = {key: record[key] for key in FORMAT_KEYS if key in record}
        return {}
