"""What is said of an item, told: the current state, and how it came to be.

Job: values into lines and JSON, for ``show``, ``bag verify`` and ``export``. Limits: reads
nothing. A secret item's words are here only where somebody's key has opened them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archiver.i18n import _

__all__ = [
    "history_json",
    "state_lines",
    "step_lines",
    "told_json",
    "told_lines",
    "value_lines",
    "withdrawn_json",
    "withdrawn_lines",
]

_SHOWN = 10_000
"""Characters of a text."""
_LINE = 150
"""Characters of what changed, before and after on one line."""


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
    yield from value_lines(description.values)


def value_lines(values: Any, indent: str = "") -> Iterator[str]:
    """A line for each thing in a mapping or list, what lies within it indented. Raw: who prints
    them escapes them.
    """
    pairs = values.items() if isinstance(values, Mapping) else ((None, one) for one in values)
    for key, value in pairs:
        head = indent + ("-" if key is None else f"{key}:")
        if isinstance(value, list | Mapping):
            yield head
            yield from value_lines(value, indent + "  ")
        else:
            yield f"{head} {_cut(str(value))}"


def step_lines(history: Any) -> Iterator[str]:
    """How it came to be."""
    for step in history.steps:
        one = step.amendment
        text = _("amendment {number} of {time}: {reason}")
        when = one.at.isoformat(" ", "seconds")
        yield text.format(number=one.number, time=when, reason=one.reason)
        for change in step.changes:
            yield from _change_lines(change.key, change.before, change.after)


def _change_lines(key: str, before: Any, after: Any) -> Iterator[str]:
    values = ["-" if one is None else one for one in (before, after)]
    if all(isinstance(one, str | int) and len(str(one)) <= _LINE for one in values):
        yield f"  {key}: {values[0]} -> {values[1]}"
        return
    for word, value in zip((_("before"), _("after")), values, strict=True):
        yield from value_lines({f"{key}, {word}": value}, "  ")


def _cut(text: str) -> str:
    if len(text) <= _SHOWN:
        return text
    more = _("… and {count} characters more: --json shows all of it")
    return text[:_SHOWN] + more.format(count=len(text) - _SHOWN)
