"""Policies whose fields are those of descriptions.

Job: :func:`checked_policy`, by which every command takes its policy. Limits: the rest of a
policy is checked in :mod:`archiver.policy`, which knows no descriptions. A field that doesn't
exist could never be missing: the rule would hold of everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from archiver.describe.fields import AUTOMATIC, KINDS, fields_of
from archiver.i18n import _
from archiver.policy import (
    DescribePolicy,
    LoadedPolicy,
    Mistake,
    MistakesError,
    Policy,
    read_policy,
)
from archiver.tomlfile import hint_for, shown

__all__ = ["checked_policy", "known_fields", "read_checked"]


def checked_policy(name: str) -> Policy:
    """The policy ``name`` (:func:`archiver.policy.load_policy`), with its fields checked.

    Raises PolicyError with file, line and the nearest field.
    """
    return read_checked(name).policy


def read_checked(name: str) -> LoadedPolicy:
    """The same, with the files that it comes from. Raises PolicyError."""
    loaded = read_policy(name)
    mistakes = list(_mistakes(loaded))
    if mistakes:
        raise MistakesError(mistakes)
    return loaded


def known_fields(key: str) -> tuple[str, ...]:
    """The fields that the list ``key`` of ``[describe]`` can name."""
    kinds = KINDS if key == "any" else (key.replace("_", "-"),)
    common = [one for one in fields_of(kinds[0]) if all(one in fields_of(kind) for kind in kinds)]
    return tuple(common)


def _mistakes(loaded: LoadedPolicy) -> Iterator[Mistake]:
    for one in dataclasses.fields(DescribePolicy):
        if one.name == "required":
            continue
        known = known_fields(one.name)
        for item in getattr(loaded.policy.describe, one.name):
            if item in known:
                continue
            text = _("{key}: {value} is no field of a description")
            hint = hint_for(item, known)
            if item in AUTOMATIC:
                text = _("{key}: {value} is filled in by the program")
                hint = _("Leave it out.")
            yield Mistake(
                place=loaded.where("describe", one.name, item),
                message=text.format(key=one.name, value=shown(item)),
                hint=hint,
            )
