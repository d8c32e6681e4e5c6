"""Policies whose fields are those of descriptions.

Job: :func:`checked_policy`, by which every command takes its policy. Limits: the rest of a
policy is checked in :mod:`archiver.policy`, which knows no descriptions. A field that doesn't
exist could never be missing: the rule would hold of everything.
"""

from __future__ import annotations

from functools import cache

from archiver.describe.fields import AUTOMATIC, KINDS, fields_of
from archiver.i18n import _
from archiver.policy import LoadedPolicy, Policy, Wrong, read_policy
from archiver.tomlfile import hint_for, shown

__all__ = ["checked_policy", "known_fields", "read_checked"]


def checked_policy(name: str) -> Policy:
    """The policy ``name`` (:func:`archiver.policy.load_policy`), with its fields checked.

    Raises PolicyError with file, line and the nearest field.
    """
    return read_checked(name).policy


def read_checked(name: str) -> LoadedPolicy:
    """The same, with the files that it comes from. Raises PolicyError."""
    return read_policy(name, _wrong)


@cache
def known_fields(key: str) -> tuple[str, ...]:
    """The fields that the list ``key`` of ``[describe]`` can name."""
    kinds = KINDS if key == "any" else (key.replace("_", "-"),)
    common = [one for one in fields_of(kinds[0]) if all(one in fields_of(kind) for kind in kinds)]
    return tuple(common)


def _wrong(key: str, field: str) -> Wrong | None:
    known = known_fields(key)
    if field in known:
        return None
    text = _("{key}: {value} is no field of a description")
    hint = hint_for(field, known)
    if field in AUTOMATIC:
        text = _("{key}: {value} is filled in by the program")
        hint = _("Leave it out.")
    return Wrong(text.format(key=key, value=shown(field)), hint, field)
