"""What is inside of a statement's ciphertexts: which file is which, and who the witness is.

Job: two canonical JSON records, made and read. Limits: knows no keys and no files; what it
reads may be a stranger's, who has encrypted it for us.

``data/files.json.age`` tells of every other ciphertext of the statement its SHA-256, and of
the payload files what they were before: so no ciphertext can stand in another's place.
``data/identity.age`` is for other recipients than everything else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from archiver.describe.description import canonical, strict_json
from archiver.errors import FormatError, UsageError
from archiver.i18n import _
from archiver.identify.record import MAX_RECORD_BYTES as MAX_FORMAT_BYTES
from archiver.tomlfile import TomlText

__all__ = [
    "DESCRIPTION_PATH",
    "FILES_PATH",
    "FORMATS_PATH",
    "IDENTITY_PATH",
    "MAX_FILES",
    "MAX_FORMATS_BYTES",
    "MAX_RECORD_BYTES",
    "STATEMENT",
    "Contents",
    "PlainFile",
    "is_name",
    "parse_contents",
    "parse_identity",
    "payload_path",
    "read_identity_form",
]

FILES_PATH, IDENTITY_PATH = "data/files.json.age", "data/identity.age"
DESCRIPTION_PATH, FORMATS_PATH = "metadata/description.json.age", "metadata/formats.jsonl.age"
MAX_FILES = 1000
STATEMENT = "statement"
"""The kind whose items tell a witness's code in clear."""
MAX_RECORD_BYTES = 1 << 20
MAX_FORMATS_BYTES = (MAX_FILES + 1) * MAX_FORMAT_BYTES
_FILES_SCHEMA, _IDENTITY_SCHEMA = "archiver/statement-files/1", "archiver/identity/1"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_NAME_BYTES, _MAX_PARTS, _MAX_DEPTH = 255, 64, 4
_MAX_PATH_BYTES = 2048
"""Of a path that is restored: half of what Linux takes, for where it is restored to."""
_MAX_NUMBER = 1 << 63
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def payload_path(number: int) -> str:
    """Where the payload file ``number``, from 1 on, stands in the bag."""
    return f"data/{number:04}.age"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainFile:
    """A payload file before it was encrypted: its name, or its path below the directory that was
    taken in, "" where it came through a pipe. ``cipher_sha256`` is the digest of what lies at
    ``path`` in the bag.
    """

    path: str
    name: str
    size: int
    sha256: str
    cipher_sha256: str
    mtime_ns: int | None = None

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "cipher_sha256": self.cipher_sha256,
            "mtime_ns": self.mtime_ns,
            "name": self.name,
            "path": self.path,
            "sha256": self.sha256,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All of a statement. ``others`` are the SHA-256 of the ciphertexts that are no payload
    files, by their paths.
    """

    case: str
    code: str
    files: tuple[PlainFile, ...]
    others: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            {
                "schema": _FILES_SCHEMA,
                "case": self.case,
                "files": [one.record() for one in self.files],
                "others": dict(self.others),
                "witness_code": self.code,
            }
        )


def parse_contents(data: bytes) -> Contents:
    """From the bytes of :meth:`Contents.to_bytes`. Raises FormatError."""
    record = strict_json(data, _FILES_SCHEMA)
    try:
        if set(record) != {"case", "files", "others", "witness_code"}:
            raise ValueError
        listed = _of(list, record["files"])
        if len(listed) > MAX_FILES:
            raise ValueError
        files = tuple(_file(one, number) for number, one in enumerate(listed, start=1))
        return Contents(
            case=_of(str, record["case"]),
            code=_of(str, record["witness_code"]),
            files=files,
            others=_others(record["others"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise FormatError(_("the statement's list of files is none that is known")) from None


def _file(record: Any, number: int) -> PlainFile:
    one = PlainFile(**record)
    numbers = (one.size, one.size if one.mtime_ns is None else one.mtime_ns)
    if any(type(value) is not int or abs(value) >= _MAX_NUMBER for value in numbers):
        raise ValueError
    if one.size < 0 or one.path != payload_path(number) or not is_name(one.name):
        raise ValueError
    if not all(_DIGEST.fullmatch(text) for text in (one.sha256, one.cipher_sha256)):
        raise ValueError
    return one


def is_name(name: str) -> bool:
    """Whether the list of files may have it: a file below one directory. How it is written where
    it is restored is said by :func:`restored_names`.
    """
    if "\0" in name:
        return False
    parts = name.split("/")
    if len(parts) > 1 and not all(parts):
        return False
    return len(parts) <= _MAX_PARTS and all(_is_part(one) for one in parts)


def _is_part(part: str) -> bool:
    return part not in (".", "..") and len(part.encode("utf-8", "surrogatepass")) <= _MAX_NAME_BYTES


def _others(record: Any) -> dict[str, str]:
    if not set(record) <= {IDENTITY_PATH, DESCRIPTION_PATH, FORMATS_PATH}:
        raise ValueError
    if DESCRIPTION_PATH not in record or not all(map(_DIGEST.fullmatch, record.values())):
        raise ValueError
    return dict(record)


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def restored_names(files: tuple[PlainFile, ...]) -> list[str]:
    """A path for each file that is safe to make below one directory: no control characters, no
    two that are the same on any file system, none that is hidden, no file where a directory is,
    none too long for a path: such a file lies at the top, under its number.
    """
    taken: dict[str, set[str]] = {}
    directories: dict[tuple[str, str], str] = {}
    found = []
    for number, one in enumerate(files, start=1):
        *above, name = one.name.split("/")
        place = ""
        for part in above:
            if (place, part) not in directories:
                safe = _safe(part, number, taken.setdefault(place, set()))
                directories[place, part] = f"{place}{safe}/"
            place = directories[place, part]
        if len(place.encode()) + _MAX_NAME_BYTES > _MAX_PATH_BYTES:
            place, name = "", f"{number:04}"
        found.append(place + _safe(name, number, taken.setdefault(place, set())))
    return found


def _safe(name: str, number: int, taken: set[str]) -> str:
    """``name`` as it can stand beside those that are ``taken``, which it is then."""
    kept = "".join(c if c.isprintable() and c != "\\" else "_" for c in name).strip(" .")
    if not kept or _RESERVED.fullmatch(kept) or len(kept.encode()) > _MAX_NAME_BYTES - 5:
        kept = f"{number:04}" + kept[-20:] if kept else f"{number:04}"
    given, again = kept, 0
    while _caseless(kept) in taken:
        kept = f"{number:04}-{again or given}"
        again += 1
    taken.add(_caseless(kept))
    return kept


def _caseless(name: str) -> str:
    """The same for names that some file system takes for one (The Unicode Standard, D145)."""
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFD", folded)


# -- who the witness is


def identity_record(case: str, code: str, identity: Mapping[str, Any]) -> bytes:
    """What is encrypted as the identity envelope."""
    return canonical(
        {
            "schema": _IDENTITY_SCHEMA,
            "case": case,
            "identity": dict(identity),
            "witness_code": code,
        }
    )


def parse_identity(data: bytes) -> dict[str, Any]:
    """``case``, ``witness_code``, ``identity``. Raises FormatError."""
    record = strict_json(data, _IDENTITY_SCHEMA)
    if set(record) != {"case", "identity", "witness_code"}:
        raise FormatError(_("the identity envelope is none that is known"))
    if not isinstance(record["identity"], dict):
        raise FormatError(_("the identity envelope is none that is known"))
    return record


def read_identity_form(data: bytes, place: str) -> dict[str, Any]:
    """Who the witness is, as TOML: any keys that are of use. Raises UsageError, which shows
    nothing of what is in it.
    """
    if len(data) > MAX_RECORD_BYTES // 2:
        raise UsageError(_("{place} is too long for what it should be").format(place=place))
    try:
        table = TomlText(data.decode("utf-8-sig").replace("\r\n", "\n")).table
        found = {key: _plain(value) for key, value in table.items()}
    except ValueError:
        raise UsageError(
            _("{place} is no TOML: what stands in it is not shown").format(place=place),
            hint=_('One line for each thing that is known, for example: name = "…"'),
        ) from None
    if not found:
        raise UsageError(
            _("{place} is empty").format(place=place),
            hint=_("Where the identity is not known, say --no-identity."),
        )
    return found


def _plain(value: Any, depth: int = 0) -> Any:
    """As JSON has it. Raises ValueError."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)
    if depth < _MAX_DEPTH and isinstance(value, list):
        return [_plain(one, depth + 1) for one in value]
    if depth < _MAX_DEPTH and isinstance(value, dict):
        return {key: _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, str) or (isinstance(value, int) and abs(value) < _MAX_NUMBER):
        return value
    raise ValueError
