"""The JSON Schema of policy files, for editors: ``#:schema policy.schema.json`` in a file.

Job: made from the dataclasses, so that it can't say anything else. Limits: what only shows in
the whole (contradictions, ``extends``) is said by ``archiver policy check``. Source: JSON
Schema draft 2020-12.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from archiver.digest import ALGORITHMS
from archiver.i18n import _
from archiver.policy.check import CHOICES, FORMAT_PATTERN, limits_of
from archiver.policy.meanings import MEANINGS, TOP_LEVEL
from archiver.policy.model import TABLES

__all__ = ["policy_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ITEMS: dict[tuple[str, str], dict[str, Any]] = {
    ("bag", "algorithms"): {"enum": list(ALGORITHMS)},
    ("formats", "accepted"): {"pattern": f"^({FORMAT_PATTERN})$"},
    ("formats", "refused"): {"pattern": f"^({FORMAT_PATTERN})$"},
    ("watch", "ignore"): {"pattern": "[^*]"},
    ("watch", "temporary"): {"pattern": "[^*]"},
    ("scan", "command"): {"minLength": 1},
    ("scan", "secret_command"): {"minLength": 1},
    **{
        ("encryption", key): {"pattern": "^age1[02-9ac-hj-np-z]{58}$"}
        for key in ("recipients", "escrow", "identity")
    },
}


def policy_schema(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The schema; ``fields`` are those that each list of ``[describe]`` can name."""
    tables = {
        name: {
            "type": "object",
            "additionalProperties": False,
            "properties": {one.name: _value(name, one, fields) for one in dataclasses.fields(kind)},
        }
        for name, kind in TABLES.items()
    }
    above = {key: {"type": "string", "description": _(text)} for key, text in TOP_LEVEL.items()}
    return {
        "$schema": _DIALECT,
        "title": _("A policy of archiver"),
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": above | tables,
    }


def _value(
    table: str, one: dataclasses.Field[Any], fields: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    default = one.default
    told = {"description": _(MEANINGS[table][one.name])}
    if isinstance(default, bool):
        return {**told, "type": "boolean", "default": default}
    if isinstance(default, int):
        least, most = limits_of(one.name)
        return {**told, "type": "integer", "minimum": least, "maximum": most, "default": default}
    if isinstance(default, str):
        choices = {"enum": list(CHOICES[one.name])} if one.name in CHOICES else {}
        return {**told, "type": "string", **choices, "default": default}
    item = _ITEMS.get((table, one.name), {})
    if table == "describe":
        item = {"enum": list(fields[one.name])}
    least_items = {"minItems": 1} if one.name == "algorithms" else {}
    assert isinstance(default, tuple)
    items = {"type": "string", **item}
    return {**told, "type": "array", "items": items, **least_items, "default": list(default)}
