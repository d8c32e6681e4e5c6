"""What people say of an item, as a frozen value, as JSON, and what is still owed.

Job: :class:`Description`. Limits: opens no file; forms in TOML are read by
:mod:`archiver.describe.form`.

One canonical JSON object: keys sorted, UTF-8, no white space, a line end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archiver.describe.fields import CONFIDENTIALITIES, KINDS, SECRET, Field, fields_of
from archiver.describe.values import FieldError, check_fields
from archiver.errors import FormatError, UsageError
from archiver.i18n import _

__all__ = [
    "DESCRIPTION_PATH",
    "MAX_DESCRIPTION_BYTES",
    "SCHEMA",
    "Description",
    "canonical",
    "strict_json",
]

DESCRIPTION_PATH = "metadata/description.json"
"""Where it is in a bag; with ``.age`` behind it where the item is secret."""
SCHEMA = "archiver/description/1"
MAX_DESCRIPTION_BYTES = 1 << 20
_RECORDED = frozenset({"at", "clock", "program", "time_zone"})
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """``values`` by their fields' keys, checked and as JSON has them; ``recorded`` is what
    the program says of the moment: at, clock, time_zone, program.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not _RECORDED.issuperset(self.recorded):
            raise ValueError(f"no such description: {self.kind}")

    @classmethod
    def checked(
        cls, kind: str, values: Mapping[str, Any], recorded: Mapping[str, str] | None = None
    ) -> Description:
        """Raises FieldError where a value isn't one that its field can have."""
        return cls(kind=kind, values=check_fields(values, fields_of(kind)), recorded=recorded or {})

    @classmethod
    def parse(cls, data: bytes) -> Description:
        """From the bytes of :meth:`to_bytes`. Raises FormatError: they may be a stranger's."""
        record = strict_json(data, SCHEMA)
        kind, recorded = record.pop("kind", None), record.pop("recorded", {})
        if kind not in KINDS or not _is_recorded(recorded):
            raise FormatError(_("the description has no kind that is known"))
        try:
            found = cls.checked(kind, record, recorded)
        except FieldError as problem:
            raise FormatError(problem.message, hint=problem.hint) from problem
        if found.values != record:  # what a form may say in several ways has one here
            raise FormatError(_("the record is not in canonical form"))
        return found

    def to_bytes(self) -> bytes:
        """Canonical JSON. Raises UsageError where it would be longer than what is read again."""
        record = {"schema": SCHEMA, "kind": self.kind, "recorded": dict(self.recorded)}
        data = canonical({**record, **self.values})
        if len(data) > MAX_DESCRIPTION_BYTES:
            raise UsageError(
                _("the description is too long"),
                hint=_("Say less, or put what it says into a file of its own."),
            )
        return data

    @property
    def confidentiality(self) -> str:
        """Who may see it. Where nobody said so yet: "restricted"; of a statement "confidential",
        since doubt is enough there.
        """
        unsaid = SECRET[0] if self.kind == "statement" else CONFIDENTIALITIES[1]
        return str(self.values.get("confidentiality", unsaid))

    @property
    def is_secret(self) -> bool:
        """Whether it may stand nowhere in clear: it says that it is confidential or sealed; or
        is a statement that doesn't say that it is public.
        """
        if self.kind == "statement":
            return self.confidentiality != CONFIDENTIALITIES[0]
        return self.confidentiality in SECRET

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Which of the fields ``wanted`` are still owed; those of tables as ``table.field``."""
        fields = fields_of(self.kind)
        return [
            path
            for key in wanted
            if key in fields and _is_owed(fields[key], self.values)
            for path in _owed(fields[key], self.values.get(key))
        ]

    def required(self) -> tuple[str, ...]:
        """The fields that are marked as required for this kind (R)."""
        return tuple(
            key for key, one in fields_of(self.kind).items() if one.required or one.owed_if
        )


def _is_owed(one: Field, values: Mapping[str, Any]) -> bool:
    """What it was made from is owed by what was made from other items alone, and so on."""
    if one.owed_if is None or one.key in values:
        return True
    key, value = one.owed_if
    return values.get(key) == value


def _owed(wanted: Field, value: object) -> Iterator[str]:
    if value is None:
        yield wanted.key
        return
    tables: list[Any] = [value] if wanted.type == "table" else []
    if wanted.type == "tables" and isinstance(value, list):
        tables = value
    inner = [one.key for one in wanted.fields if one.required]
    missing = {key for table in tables for key in inner if key not in table}
    yield from (f"{wanted.key}.{key}" for key in inner if key in missing)


def _is_recorded(recorded: object) -> bool:
    return (
        isinstance(recorded, dict)
        and _RECORDED.issuperset(recorded)
        and all(isinstance(one, str) and len(one) < 200 for one in recorded.values())
    )


def canonical(record: Mapping[str, Any]) -> bytes:
    """One canonical JSON object, with a line end."""
    return _ENCODER.encode(record).encode("utf-8", "surrogatepass") + b"\n"


def strict_json(data: bytes, schema: str) -> dict[str, Any]:
    """A canonical JSON object of a stranger's, without its ``schema``. Raises FormatError
    where it isn't to the byte what :func:`canonical` would write.
    """
    if len(data) > MAX_DESCRIPTION_BYTES:
        raise FormatError(_("the record is too large"))
    try:
        record = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(_("the record is no JSON")) from error
    if not isinstance(record, dict) or record.pop("schema", None) != schema:
        raise FormatError(_("the record's schema is none that is known"))
    try:
        is_canonical = canonical({"schema": schema, **record}) == data
    except (ValueError, RecursionError):
        is_canonical = False
    if not is_canonical:
        raise FormatError(_("the record is not in canonical form"))
    return record
