"""What is written down of one file's format: a value of bounded size, and its line.

Job: :class:`FormatRecord`, and what of a tool's answer it may hold. Limits: nothing is
asked here, and nothing believed: texts are cut, identifiers have the shape that they must.

The words are those of PREMIS 3's objectCharacteristics: format designation (name, version),
format registry key (PRONOM's PUID), creating application and the like are ``found``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "FORMATS_PATH",
    "OUTCOMES",
    "SCHEMA",
    "FormatRecord",
    "bounded",
    "parse_records",
    "to_bytes",
]

FORMATS_PATH = "metadata/formats.jsonl"
SCHEMA = "archiver/formats/1"
OUTCOMES = ("identified", "unknown", "failed", "timed out", "out of memory", "not asked")
MAX_RECORD_BYTES = 64 << 10
_MAX_TEXT, _MAX_ITEMS, _MAX_DEPTH = 500, 64, 5
_MAX_PATH = 4096
_PUID = re.compile(r"[a-z][a-z-]{0,15}/[0-9]{1,6}")
_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}")
_UNSEEN = re.compile(r"[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""What a terminal may obey or hide: JSON has another spelling for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatRecord:
    """One payload file. ``technical`` is what tools measured; ``found`` what the file itself
    says of places, devices, times and people, which may be wrong, or forged.
    """

    path: str
    outcome: str = "unknown"
    puid: str = ""
    mime: str = ""
    format: str = ""
    version: str = ""
    basis: str = ""
    warnings: tuple[str, ...] = ()
    identifier: str = ""
    technical: Mapping[str, Any] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    """``c2pa`` and ``proofmode``: what is there, never whether it is true."""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"no such outcome: {self.outcome}")

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        record: dict[str, Any] = {
            "path": self.path,
            "outcome": self.outcome,
            "puid": self.puid,
            "mime": self.mime,
            "format": self.format,
            "version": self.version,
            "basis": self.basis,
            "warnings": list(self.warnings),
            "identifier": self.identifier,
            "technical": self.technical,
            "found": self.found,
            "reason": self.reason,
        }
        return record | dict(self.provenance)

    def line(self) -> bytes:
        """Its canonical line, of at most 64 KiB: what would be longer is left out, and said."""
        line = canonical(self.to_json())
        if len(line) <= MAX_RECORD_BYTES:
            return line
        warnings = [*self.warnings[:8], "technical and found were too long, and are left out"]
        short = self.to_json() | {"technical": {}, "found": {}, "warnings": warnings}
        return canonical(short)


def to_bytes(records: Iterable[FormatRecord]) -> bytes:
    """The file of these records, in their order. Where it may lie in clear, its caller knows:
    of a secret item it may not.
    """
    return b"".join([canonical({"schema": SCHEMA}), *(one.line() for one in records)])


def parse_records(data: bytes) -> dict[str, dict[str, Any]]:
    """Records of a stranger's, by their paths. Raises ValueError where they are none, or two
    are of one file.
    """
    first, *lines = data.removesuffix(b"\n").split(b"\n")
    if json.loads(first) != {"schema": SCHEMA}:
        raise ValueError("no such schema")
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        if len(line) > MAX_RECORD_BYTES:
            raise ValueError("too long")
        record: Any = json.loads(line)
        path = record.get("path") if isinstance(record, dict) else None
        if not isinstance(path, str) or path in found:
            raise ValueError("no record of a file")
        found[path] = record
    return found


def canonical(record: Mapping[str, Any]) -> bytes:
    """One line of canonical JSON, safe to look at in a terminal."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode("utf-8") + b"\n"


def text(value: object, limit: int = _MAX_TEXT) -> str:
    """A text that UTF-8 has bytes for, cut where it is too long."""
    found = value if isinstance(value, str) else ""
    clean = found[: limit + 1].encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[:limit] + "…"


def puid(value: object) -> str:
    """PRONOM's identifier, or ""."""
    return value if isinstance(value, str) and _PUID.fullmatch(value) else ""


def mime(value: object) -> str:
    """A MIME type without parameters, or ""."""
    found = value.split(";")[0].strip() if isinstance(value, str) else ""
    return found if _MIME.fullmatch(found) else ""


def path_text(path: str) -> str:
    """A path in the bag, as text."""
    return text(path, _MAX_PATH)


def bounded(value: object, depth: int = 0) -> Any:
    """What of a tool's answer a record may hold: texts, numbers, lists and tables of them."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else text(hex(value)[:80])
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)  # JSON knows no NaN
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        pairs = list(value.items())[:_MAX_ITEMS]
        return {text(key, 100): bounded(one, depth + 1) for key, one in pairs}
    if isinstance(value, list):
        return [bounded(one, depth + 1) for one in value[:_MAX_ITEMS]]
    return text(value)
