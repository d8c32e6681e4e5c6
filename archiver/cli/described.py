"""What is said of an item, told: the current state, and how it came to be.

Job: values into lines and JSON, for ``show``, ``bag verify`` and ``export``. Limits: reads
nothing. A secret item's words are here only where somebody's key has opened them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from archiver.i18n import _

__all__ = [
    "history_json",
    "state_lines",
    "step_lines",
    "told_json",
    "told_lines",
    "withdrawn_json",
    "withdrawn_lines",
]

_SHOWN = 300
"""Characters of a value on one line."""


def told_json(told: Any) -> dict[str, object] | None:
    """What is known of how an item is described; None where nobody has described it."""
    if not told.kind:
        return None
    known = told.history is not None
    return {
        "kind": told.kind,
        "secret": told.secret,
        "code": told.code or None,
        "problem": told.problem or None,
        "now": dict(told.now.values) if told.now is not None else None,
        "recorded": dict(told.now.recorded) if told.now is not None else None,
        "amendments": history_json(told.history)
        if known
        else [
            {"number": one.number, "at": one.at.isoformat(), "sha256": one.sha256}
            for one in told.amendments
        ],
    }


def history_json(history: Any) -> list[dict[str, object]]:
    """Each step."""
    return [
        {
            "number": step.amendment.number,
            "at": step.amendment.at.isoformat(),
            "reason": step.amendment.reason,
            "sha256": step.sha256,
            "changes": [
                {"field": one.key, "before": one.before, "after": one.after} for one in step.changes
            ],
        }
        for step in history.steps
    ]


def withdrawn_json(withdrawals: Sequence[Any]) -> list[dict[str, object]]:
    """When consent was withdrawn, and for what."""
    return [{"at": one.at.isoformat(), "scope": list(one.scope)} for one in withdrawals]


def told_lines(told: Any, withdrawals: Sequence[Any]) -> Iterator[str]:
    """The same for people. Raw: who prints it escapes it."""
    if not told.kind:
        yield _("not described yet: see 'archiver describe amend --help'")
    else:
        yield _("kind: {kind}").format(kind=told.kind)
    if told.code:
        yield _("witness: {code}").format(code=told.code)
    if told.secret and told.history is None:
        yield _("what is said of it is encrypted; amendments: {count}").format(
            count=len(told.amendments)
        )
    if told.problem:
        yield _("NOT INTACT: {problem}").format(problem=told.problem)
    if told.history is not None and told.now is not None:
        yield from state_lines(told.now)
    if told.history is not None:
        yield from step_lines(told.history)
    yield from withdrawn_lines(withdrawals)


def withdrawn_lines(withdrawals: Sequence[Any]) -> Iterator[str]:
    """The same for people."""
    for one in withdrawals:
        text = _("consent withdrawn on {time}: {scope}")
        when = one.at.isoformat(" ", "seconds")
        yield text.format(time=when, scope=", ".join(one.scope))


def state_lines(description: Any) -> Iterator[str]:
    """What holds now, field by field."""
    for key, value in description.values.items():
        yield f"{key}: {_short(value)}"


def step_lines(history: Any) -> Iterator[str]:
    """How it came to be."""
    for step in history.steps:
        one = step.amendment
        text = _("amendment {number} of {time}: {reason}")
        when = one.at.isoformat(" ", "seconds")
        yield text.format(number=one.number, time=when, reason=one.reason)
        for change in step.changes:
            yield f"  {change.key}: {_short(change.before)} -> {_short(change.after)}"


def _short(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
