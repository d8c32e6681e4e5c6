"""What an item of a vault is in PREMIS 3: objects, events, agents, rights.

Job: values of ours in, elements out, in the order of premis-v3.xsd. Limits: reads nothing,
decides nothing: what is put in has been checked.

The item is an intellectual entity; its bag is a representation of it, each payload file a
file; ``tagmanifest-sha512.txt``, which is what was signed, is a file with its signatures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from archiver.custody import Link
from archiver.premis.xml import identifier, node, vocabulary

__all__ = [
    "FORMAT_KEYS",
    "Copy",
    "Grant",
    "SignedBy",
    "agents",
    "entity",
    "event",
    "file",
    "representation",
    "rights",
]

LOCAL = "local"
"""The type of identifiers that this vault has given."""
_RULES = "CAdES-BES (ETSI EN 319 122-1), detached, over the bytes of this file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Where a copy of the bag is: ``place`` is a replica's name, "" for the vault's own."""

    place: str
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBy:
    """A signature over the tag manifest: ``value`` is base64 of the CMS file."""

    signer: str
    method: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An act that is granted, or restricted by ``restrictions``."""

    act: str
    restrictions: tuple[str, ...] = ()
    note: str = ""


def entity(item: str, values: Mapping[str, Any], sources: Sequence[str]) -> Element:
    """The item as what people say of it: ``values`` by the fields' keys. ``sources`` are the
    items that it was made from.
    """
    return node(
        "object",
        identifier("objectIdentifier", LOCAL, item),
        *(_property(key, value) for key, value in sorted(values.items())),
        *(_related("derivation", "has source", source) for source in sources),
        _related("structural", "is represented by", f"{item}/bag"),
        kind="intellectualEntity",
    )


def _property(key: str, value: object) -> Element:
    text = (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    )
    return node(
        "significantProperties",
        node("significantPropertiesType", key),
        node("significantPropertiesValue", text),
    )


def _related(kind: str, subtype: str, other: str) -> Element:
    return node(
        "relationship",
        vocabulary("relationshipType", kind, "relationshipType"),
        vocabulary("relationshipSubType", subtype, "relationshipSubType"),
        node(
            "relatedObjectIdentifier",
            node("relatedObjectIdentifierType", LOCAL),
            node("relatedObjectIdentifierValue", other),
        ),
    )


def representation(item: str, bag_identifier: str, copies: Iterable[Copy], level: str) -> Element:
    """The item's bag, and where its copies are."""
    return node(
        "object",
        identifier("objectIdentifier", LOCAL, f"{item}/bag"),
        identifier("objectIdentifier", "External-Identifier", bag_identifier)
        if bag_identifier
        else None,
        node("preservationLevel", node("preservationLevelValue", level)) if level else None,
        *(_storage(one.location, one.place) for one in copies),
        _related("structural", "represents", item),
        kind="representation",
    )


def _storage(location: str, place: str) -> Element:
    return node(
        "storage",
        node(
            "contentLocation",
            node("contentLocationType", "path in a vault or replica"),
            node("contentLocationValue", location),
        ),
        node("storageMedium", place) if place else None,
    )


def file(
    item: str,
    path: str,
    digests: Iterable[tuple[str, str]],
    size_bytes: int | None,
    found: Mapping[str, Any],
    signatures: Iterable[SignedBy] = (),
) -> Element:
    """A file of the bag at ``path``, as a manifest writes it; ``digests`` are pairs of an
    algorithm's PREMIS name and hexadecimal digits, ``found`` is its record in formats.jsonl.
    """
    return node(
        "object",
        identifier("objectIdentifier", LOCAL, f"{item}/{path}"),
        node(
            "objectCharacteristics",
            *(_fixity(*one) for one in digests),
            node("size", str(size_bytes)) if size_bytes is not None else None,
            _format(found),
        ),
        _storage(path, ""),
        *(_signature(one) for one in signatures),
        _related("structural", "is included in", f"{item}/bag"),
        kind="file",
    )


def _fixity(algorithm: str, digest: str) -> Element:
    return node(
        "fixity",
        vocabulary("messageDigestAlgorithm", algorithm, "cryptographicHashFunctions"),
        node("messageDigest", digest),
    )


FORMAT_KEYS = ("format", "puid", "mime", "version", "basis", "reason", "warnings")
"""What is told of a record in formats.jsonl."""


def _format(found: Mapping[str, Any]) -> Element:
    """Of a file whose format isn't known, PREMIS wants a name all the same."""
    name, puid, mime = (_text(found, key) for key in ("format", "puid", "mime"))
    version, basis, reason = (_text(found, key) for key in ("version", "basis", "reason"))
    notes = [basis, reason, *(f"warning: {one}" for one in _texts(found, "warnings"))]
    return node(
        "format",
        node(
            "formatDesignation",
            node("formatName", mime or name or "unknown"),
            node("formatVersion", version) if version else None,
        ),
        node(
            "formatRegistry",
            node("formatRegistryName", "PRONOM"),
            node("formatRegistryKey", puid),
        )
        if puid
        else None,
        *(node("formatNote", note) for note in notes if note),
    )


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _texts(record: Mapping[str, Any], key: str) -> list[str]:
    value = record.get(key)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _signature(one: SignedBy) -> Element:
    return node(
        "signatureInformation",
        node(
            "signature",
            node("signatureEncoding", "base64"),
            node("signer", one.signer) if one.signer else None,
            node("signatureMethod", one.method),
            node("signatureValue", one.value),
            node("signatureValidationRules", _RULES),
        ),
    )


def event(item: str, chain: str, link: Link) -> Element:
    """An event of the chain that is called ``chain``."""
    happened = link.event
    detail = {key: value for key, value in happened.detail.items() if key not in ("item", "key")}
    text = json.dumps(detail, ensure_ascii=False, sort_keys=True) if detail else ""
    result = happened.detail.get("result")
    return node(
        "event",
        identifier("eventIdentifier", LOCAL, f"{chain}#{link.seq}"),
        vocabulary("eventType", happened.type, "eventType"),
        node("eventDateTime", happened.at.isoformat().replace("+00:00", "Z")),
        node("eventDetailInformation", node("eventDetail", text)) if text else None,
        node(
            "eventOutcomeInformation",
            vocabulary("eventOutcome", happened.outcome, "eventOutcome"),
            node("eventOutcomeDetail", node("eventOutcomeDetailNote", result))
            if isinstance(result, str)
            else None,
        ),
        node(
            "linkingAgentIdentifier",
            node("linkingAgentIdentifierType", LOCAL),
            node("linkingAgentIdentifierValue", happened.agent),
            vocabulary("linkingAgentRole", "executing program", "eventRelatedAgentRole"),
        ),
        node(
            "linkingObjectIdentifier",
            node("linkingObjectIdentifierType", LOCAL),
            node("linkingObjectIdentifierValue", f"{item}/bag"),
        ),
    )


def agents(programs: Iterable[str], signers: Mapping[str, str]) -> Iterator[Element]:
    """The programs that events name, and who signed: names by the certificates' fingerprints."""
    for program in sorted(programs):
        name, _space, version = program.rpartition(" ")
        yield node(
            "agent",
            identifier("agentIdentifier", LOCAL, program),
            node("agentName", name or program),
            vocabulary("agentType", "software", "agentType"),
            node("agentVersion", version) if name else None,
        )
    for fingerprint, name in sorted(signers.items()):
        yield node(
            "agent",
            identifier("agentIdentifier", "SHA-256 of a certificate", fingerprint),
            node("agentName", name),
            node("agentNote", "the holder of a signing certificate: a person or a device"),
        )


def rights(item: str, basis: str, grants: Iterable[Grant]) -> Element:
    """Who may do what with the item, and on what ground."""
    return node(
        "rights",
        node(
            "rightsStatement",
            identifier("rightsStatementIdentifier", LOCAL, f"{item}/rights/{basis}"),
            vocabulary("rightsBasis", "other", "rightsBasis"),
            node("otherRightsInformation", node("otherRightsBasis", basis)),
            *(_granted(one) for one in grants),
            node(
                "linkingObjectIdentifier",
                node("linkingObjectIdentifierType", LOCAL),
                node("linkingObjectIdentifierValue", item),
            ),
        ),
    )


def _granted(one: Grant) -> Element:
    return node(
        "rightsGranted",
        node("act", one.act),
        *(node("restriction", text) for text in one.restrictions),
        node("rightsGrantedNote", one.note) if one.note else None,
    )
