"""Whether a policy accepts the formats of a bag's payload, as they are recorded.

Job: read ``metadata/formats.jsonl``: a line with its schema, then one JSON object a line.
Limits: identifies nothing; what is recorded is what the bag's maker found. A format that isn't
known is never accepted, and never refused: that can't be told.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from archiver.bag.tree import BagTree
from archiver.errors import FormatError
from archiver.findings import Findings
from archiver.i18n import N_
from archiver.policy import Policy
from archiver.verify.reading import Unsealing, lines_of

__all__ = ["FORMATS_PATH", "PUIDS", "check_formats"]

FORMATS_PATH = "metadata/formats.jsonl"
_SEALED_PATH = f"{FORMATS_PATH}.age"
_MAX_SEALED_BYTES = 80 << 20
"""A secret item has at most 1,000 files, and a record 64 KiB."""
_OWN_PATHS = frozenset({"data/files.json.age", "data/identity.age"})
"""What lies in a secret item's payload and was no file before."""
_SCHEMA = "archiver/formats/1"
_MAX_LINE = 1 << 20
PUIDS = ("fmt/", "x-fmt/")
_SHAPE = N_("it isn't JSON with path, puid, mime and outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """What one line says: "" is what isn't known."""

    path: str
    puid: str
    mime: str

    def __str__(self) -> str:
        return ", ".join(one for one in (self.puid, self.mime) if one)

    def matches(self, patterns: Iterable[str]) -> bool | None:
        """Whether one of ``patterns`` fits; None where that can't be told."""
        known = True
        for pattern in patterns:
            value = self.puid if pattern.startswith(PUIDS) else self.mime
            if value and fnmatchcase(value, pattern):
                return True
            known = known and bool(value)
        return False if known else None


def check_formats(
    policy: Policy, sealed: Unsealing, listed: frozenset[str], findings: Findings
) -> None:
    """Check every payload file, where the policy accepts or refuses formats. Where the records
    are encrypted they are of what the files were before.
    """
    if not policy.formats.accepted and not policy.formats.refused:
        return
    try:
        lines = _lines(sealed, listed)
        if lines is None:
            missing = "U-POL-024" if _SEALED_PATH in listed else "U-POL-023"
            findings.add(missing, FORMATS_PATH, policy=policy.name)
            return
        there = _payload(sealed.tree) - (frozenset() if FORMATS_PATH in listed else _OWN_PATHS)
        unseen = set(there)
        for found in _records(lines):
            unseen.discard(found.path)
            _judge(policy, found, findings)
            if found.path not in there:  # or its name has no text: then it is unseen, too
                findings.add("U-POL-022", found.path, policy=policy.name)
    except _NoRecordError as error:
        findings.add("E-POL-025", FORMATS_PATH, line=error.line, reason=error.reason)
        return
    except OSError as error:
        findings.add("U-POL-015", FORMATS_PATH, reason=error.strerror or str(error))
        return
    for path in sorted(unseen):
        findings.add("U-POL-022", path, policy=policy.name)


class _NoRecordError(Exception):
    """A line, from 1 on, is no record: why, is a text of ours."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


def _payload(tree: BagTree) -> frozenset[str]:
    listings = tree.walk(Findings(), payload=True)
    return frozenset(path for listing in listings for path in listing.paths())


def _lines(sealed: Unsealing, listed: frozenset[str]) -> Iterable[bytes] | None:
    """The records' lines; None where there are none, or no key opens them. Raises OSError,
    _NoRecordError.
    """
    if FORMATS_PATH in listed:
        return lines_of(sealed.tree, FORMATS_PATH, _MAX_LINE)
    if _SEALED_PATH not in listed:
        return None
    try:
        data = sealed.read(_SEALED_PATH, _MAX_SEALED_BYTES)
    except FormatError as error:
        raise _NoRecordError(1, error.message) from error
    return None if data is None else io.BytesIO(data)


def _records(lines: Iterable[bytes]) -> Iterator[_Format]:
    """What the lines say. Raises OSError, _NoRecordError."""
    for number, line in enumerate(lines, start=1):
        try:
            record = _object(line)
            if number == 1:
                _need_schema(record)
                continue
            found = _parse(record)
        except ValueError as error:
            raise _NoRecordError(number, str(error)) from None
        yield found


def _judge(policy: Policy, found: _Format, findings: Findings) -> None:
    refused = found.matches(policy.formats.refused)
    accepted = found.matches(policy.formats.accepted) if policy.formats.accepted else True
    if refused:
        findings.add("E-POL-020", found.path, policy=policy.name, format=found)
    elif accepted is False:
        findings.add("E-POL-021", found.path, policy=policy.name, format=found)
    elif refused is None or accepted is None:
        findings.add("U-POL-022", found.path, policy=policy.name)


def _object(line: bytes) -> dict[str, Any]:
    """One line. Raises ValueError with a text of ours, as all below."""
    if len(line) > _MAX_LINE:
        raise ValueError(N_("it is too long"))
    try:
        record = json.loads(
            line.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number
        )
        if not isinstance(record, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError):
        raise ValueError(_SHAPE) from None
    return record


def _need_schema(record: dict[str, Any]) -> None:
    """Records of another schema could mean something else by the same words."""
    if record != {"schema": _SCHEMA}:
        raise ValueError(N_("the first line does not name the schema archiver/formats/1"))


def _parse(record: dict[str, Any]) -> _Format:
    try:
        path, puid, mime = record["path"], record["puid"], record["mime"]
        known = record["outcome"] == "identified"
        if not all(isinstance(one, str) for one in (path, puid, mime)):
            raise TypeError
    except (TypeError, KeyError):
        raise ValueError(_SHAPE) from None
    if not path.startswith("data/"):
        raise ValueError(N_("it is about something that is no payload"))
    mime = mime.partition(";")[0].strip().lower()
    return _Format(path=path, puid=puid if known else "", mime=mime if known else "")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers of an object whose key stands twice could see two different values."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError
    return record


def _no_number(_text: str) -> float:
    raise ValueError
