"""Bags that satisfy policies, and whatever of them a test wants otherwise."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archiver.custody import CUSTODY_PATH, Event, chain_lines
from archiver.describe import DESCRIPTION_PATH, Description, Field, fields_of
from archiver.policy import EncryptionPolicy, Policy, ProofPolicy
from archiver.verify import VerificationReport
from archiver.verify.formats import FORMATS_PATH
from tests.helpers import Bag, verify
from tests.sealing import NOW

AGE = (
    b"age-encryption.org/v1\n-> X25519 " + b"A" * 43 + b"\n" + b"B" * 43 + b"\n--- " + b"C" * 43
) + b"\n"
"""A header; ciphertext follows."""


def age_file(length: int = 48) -> bytes:
    """What looks like a file that age encrypted, to who has no key."""
    return AGE + os.urandom(length)


def value_of(one: Field) -> Any:
    """A value that a field can have."""
    made: Any
    match one.type:
        case "when":
            made = "2026-03-01"
        case "choice":
            made = "public" if one.key == "confidentiality" else one.choices[0]
        case "count":
            made = 7
        case "texts":
            made = ["none known"]
        case "table":
            made = {inner.key: value_of(inner) for inner in one.fields}
        case "tables":
            made = [{inner.key: value_of(inner) for inner in one.fields}]
        case _:
            made = "none known"
    return made


def described(kind: str, **changes: Any) -> bytes:
    """A description with every field filled in; None takes one out."""
    values = {key: value_of(one) for key, one in fields_of(kind).items()} | changes
    kept = {key: value for key, value in values.items() if value is not None}
    return Description.checked(kind, kept).to_bytes()


def formats(*records: Mapping[str, Any]) -> bytes:
    """The bytes of ``metadata/formats.jsonl``."""
    lines = [{"schema": "archiver/formats/1"}, *map(dict, records)]
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def mp4(path: str = "data/a.mp4", **changes: Any) -> dict[str, Any]:
    """The record of a video."""
    found = {"path": path, "puid": "fmt/199", "mime": "video/mp4", "outcome": "identified"}
    return found | changes


def scanned(*results: str, outcome: str = "success") -> bytes:
    """A bag's own chain, with scans that came to these results."""
    begun = Event(type="ingestion", at=NOW)
    scans = [
        Event(type="virus check", at=NOW, detail={"result": one}, outcome=outcome)
        for one in results
    ]
    return b"".join(chain_lines([begun, *scans]))


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What a bag is made of; a test changes one thing."""

    files: Mapping[str, bytes] = field(default_factory=lambda: {"data/a.mp4": b"moving"})
    tags: Mapping[str, bytes] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ("sha512", "sha256")

    def with_tags(self, tags: Mapping[str, bytes | None]) -> Kit:
        """Tag files more; None takes one out."""
        merged = {**self.tags, **tags}
        return replace(self, tags={key: one for key, one in merged.items() if one is not None})

    def write(self, base: Path) -> Path:
        """As a bag that nobody signed."""
        made = Bag(self.files, algorithms=self.algorithms, tag_files=self.tags)
        return made.write(base)


OPEN = Kit(tags={DESCRIPTION_PATH: described("video"), FORMATS_PATH: formats(mp4())})
"""A video that is described."""
SEALED = Kit(
    files={"data/0001.age": age_file(), "data/identity.age": age_file()},
    tags={DESCRIPTION_PATH + ".age": age_file(), FORMATS_PATH + ".age": age_file()},
)
"""A statement as it should be: all that is known of it is encrypted."""
TALKING = Kit(files=SEALED.files, tags={DESCRIPTION_PATH: described("statement")})
"""A statement whose description may be read."""
SCANNED = OPEN.with_tags({CUSTODY_PATH: scanned("clean")})


def unproved(policy: Policy) -> Policy:
    """All of ``policy`` but its signatures and time stamps."""
    return replace(policy, proof=ProofPolicy())


def in_clear(policy: Policy) -> Policy:
    """All of ``policy`` but its encryption."""
    return replace(policy, encryption=EncryptionPolicy(payload="never"))


def judged(policy: Policy, bag: Path) -> tuple[str, set[str]]:
    """(outcome of the claim, codes of what was found for it)."""
    report: VerificationReport = verify(bag, policy=policy)
    (outcome,) = (one.outcome.value for one in report.claims if one.name == "policy")
    return outcome, {one.code for one in report.findings if one.entry.step == "policy"}
