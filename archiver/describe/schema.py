"""JSON Schema of ``metadata/description.json``, for editors and other programs.

Job: the table of fields as a schema (draft 2020-12), one for all kinds. Limits: says less
than :meth:`Description.parse` checks: that a day exists, and that the JSON is canonical.
"""

from __future__ import annotations

from typing import Any

from archiver.describe.description import SCHEMA
from archiver.describe.fields import KINDS, Field, fields_of
from archiver.describe.values import MAX_LIST, MAX_TEXT, UNFIT, WHEN
from archiver.i18n import _

__all__ = ["json_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema; titles are in the current language."""
    kinds = {kind: _kind(kind) for kind in KINDS}
    return {
        "$schema": _DRAFT,
        "$id": f"urn:archiver:{SCHEMA}",
        "title": _("Description of an item"),
        "type": "object",
        "required": ["schema", "kind", "recorded"],
        "properties": {
            "schema": {"const": SCHEMA},
            "kind": {"enum": list(KINDS)},
            "recorded": {
                "type": "object",
                "properties": {
                    one: {"type": "string", "maxLength": 199}
                    for one in ("at", "clock", "program", "time_zone")
                },
                "additionalProperties": False,
            },
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{kind}"},
            }
            for kind in KINDS
        ],
        "$defs": {
            "text": {
                "type": "string",
                "maxLength": MAX_TEXT,
                "allOf": [{"pattern": r"\S"}, {"not": {"pattern": UNFIT}}],
            },
            "when": {"anyOf": [{"const": "unknown"}, {"type": "string", "pattern": f"^{WHEN}$"}]},
            **kinds,
        },
    }


def _kind(kind: str) -> dict[str, Any]:
    own = {one.key: _field(one) for one in fields_of(kind).values()}
    return {
        "properties": {"schema": True, "kind": True, "recorded": True, **own},
        "additionalProperties": False,
    }


def _field(field: Field) -> dict[str, Any]:
    return {"title": _(field.label), **_value(field)}


def _value(field: Field) -> dict[str, Any]:
    if field.type in ("text", "when"):
        return {"$ref": f"#/$defs/{field.type}"}
    if field.type == "choice":
        return {"enum": list(field.choices)}
    if field.type == "count":
        return {"type": "integer", "minimum": 0, "maximum": (1 << 53) - 1}
    if field.type == "texts":
        return {**_LIST, "items": {"$ref": "#/$defs/text"}}
    table = {
        "type": "object",
        "properties": {one.key: _field(one) for one in field.fields},
        "additionalProperties": False,
    }
    return table if field.type == "table" else {**_LIST, "items": table}


_LIST = {"type": "array", "minItems": 1, "maxItems": MAX_LIST}
