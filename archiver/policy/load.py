"""Policies from files: found, read, checked, merged.

Job: :func:`load_policy`. Limits: what a value may be, is said by :mod:`archiver.policy.check`.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from archiver.errors import PolicyError
from archiver.i18n import _
from archiver.policy.check import Checker
from archiver.policy.model import TABLES, Policy
from archiver.tomlfile import TomlText

__all__ = ["load_policy", "policy_names"]

_MAX_CHAIN = 10


def _directory() -> Path:
    """Where the shipped policies lie: in the wheel, else beside the package."""
    inside = Path(__file__).parent.parent / "policies"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "policies"


def policy_names() -> list[str]:
    """The policies that ship, by name."""
    return sorted(path.stem for path in _directory().glob("*.toml"))


def load_policy(name: str) -> Policy:
    """The policy ``name``: one that ships, or a path that ends in ``.toml``.

    Raises PolicyError with file, line and the nearest known key.
    """
    merged: dict[str, Any] = {}
    for table in reversed(_chain(name)):
        for key, value in table.items():
            merged[key] = {**merged.get(key, {}), **value} if key in TABLES else value
    tables = {key: kind(**merged.get(key, {})) for key, kind in TABLES.items()}
    if tables["watch"].originals == "move" and not tables["watch"].move_to:
        raise PolicyError(
            _("policy {name}: originals are to be moved, but move_to doesn't say where").format(
                name=name
            )
        )
    return Policy(name=name, description=merged.get("description", ""), **tables)


def _chain(name: str) -> list[dict[str, Any]]:
    """The policy's table and those it extends, nearest first."""
    chain: list[dict[str, Any]] = []
    origin, wanted = Path(), name
    while wanted:
        if len(chain) == _MAX_CHAIN:
            raise PolicyError(
                _("policy {name}: extends too many others, or itself").format(name=name)
            )
        path = _find(wanted, origin)
        table = _read(path)
        chain.append(table)
        origin, wanted = path.parent, table.pop("extends", "")
    return chain


def _find(name: str, origin: Path) -> Path:
    if name.endswith(".toml"):
        return origin / name
    path = _directory() / f"{name}.toml"
    if name in policy_names():
        return path
    known = policy_names()
    near = difflib.get_close_matches(name, known, n=1)
    hint = (
        _("Did you mean {near}?").format(near=near[0])
        if near
        else _("Known policies: {known}; or give a path that ends in .toml.").format(
            known=", ".join(known)
        )
    )
    raise PolicyError(_("there is no policy named {name}").format(name=name), hint=hint)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise PolicyError(
            _("policy {path} can't be read: {reason}").format(path=path, reason=error)
        ) from error
    try:
        parsed = TomlText(text)
    except ValueError as error:
        raise PolicyError(_("policy {path}: {reason}").format(path=path, reason=error)) from error
    if not parsed.table:
        raise PolicyError(
            _("policy {path} is empty").format(path=path),
            hint=_("A policy without rules would approve of anything; write down what is wanted."),
        )
    Checker(path, parsed).check(parsed.table)
    return parsed.table
