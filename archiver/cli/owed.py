"""What is still owed: of a bag that was just made, and of what a vault keeps.

Job: told, in lines or JSON. Limits: finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

from archiver.cli.output import Output, printable
from archiver.i18n import _, ngettext

__all__ = ["list_owed", "tell_owed"]


def tell_owed(policy: Any, bag: str, output: Output) -> None:
    """Warn of what isn't said of it yet; nothing waits for that."""
    from archiver.findings import Severity
    from archiver.verify.policy import find_owed

    try:
        found = [one for one in find_owed(policy, bag) if one.severity is Severity.ERROR]
    except OSError as error:
        output.warning(_("{path}: {reason}").format(path=bag, reason=error.strerror))
        return
    for one in found:
        output.warning(one.message)
    if found and not output.quiet:
        output.hint(
            _("'archiver policy check {name} BAG' says what is missing.").format(name=policy.name)
        )


def list_owed(
    records: Any,
    output: Output,
    case: str,
    limit: int,
    *,
    undescribed: bool,
    identity: Sequence[str],
    as_json: bool,
) -> int:
    """Tell it; 1 where what is said of an item is not intact."""
    from archiver.cli.agekeys import in_secret
    from archiver.policy import load_policy
    from archiver.vault.owed import overdue as find_overdue
    from archiver.vault.owed import undescribed as find_undescribed

    found: Any
    with in_secret(identity, output):
        unseal = _unsealing(records, identity) if identity else None
        if undescribed:
            policy = load_policy(records.vault.policy).describe
            found = find_undescribed(records, policy, case=case, unseal=unseal)
        else:
            found = find_overdue(records, datetime.now(UTC).date(), case=case, unseal=unseal)
        chosen = list(islice(found, limit) if limit else found)
    line = _undescribed_line if undescribed else partial(_overdue_line, keys=bool(identity))
    if as_json:
        shape = _undescribed_json if undescribed else _overdue_json
        schema = "archiver/list-undescribed/1" if undescribed else "archiver/list-overdue/1"
        output.json_list({"schema": schema}, "items", (shape(one) for one in chosen))
    else:
        hidden = [one for one in chosen if undescribed and _is_hidden(one)]
        for one in chosen:
            if one not in hidden:
                output.line(printable(line(one)))
        _tell_hidden(len(hidden), output, keys=bool(identity))
        if not chosen:
            output.say(_("nothing is owed"))
    return 1 if any(one.problem for one in chosen) else 0


def _is_hidden(one: Any) -> bool:
    return bool(one.secret and not one.opened and not one.problem)


def _tell_hidden(count: int, output: Output, *, keys: bool) -> None:
    """Of how many it can't be told: nearly all statements, so they aren't listed."""
    if count and keys:
        text = ngettext(
            "of {count} secret item it can't be told: none of these keys opens it",
            "of {count} secret items it can't be told: none of these keys opens them",
            count,
        )
        output.say(text.format(count=count))
    elif count:
        text = ngettext(
            "of {count} secret item it can't be told without a key: give --identity KEYFILE",
            "of {count} secret items it can't be told without a key: give --identity KEYFILE",
            count,
        )
        output.say(text.format(count=count))


def _unsealing(records: Any, identity: Sequence[str]) -> Any:
    """Reads what is said of a secret item."""
    from archiver.cli.agekeys import load_identities
    from archiver.statement.opening import described

    identities = load_identities(identity)

    def unseal(item: Any) -> Any:
        known = records.catalog.amendments(item.item)  # the log is too long to read for each
        return described(records.vault, item, lambda: identities, known)

    return unseal


def _undescribed_json(one: Any) -> dict[str, object]:
    return {
        "id": one.item.item,
        "kind": one.kind or None,
        "missing": list(one.missing),
        "secret": one.secret,
        "opened": one.opened,
        "problem": one.problem or None,
    }


def _undescribed_line(one: Any) -> str:
    if one.problem:
        return f"{one.item.item:<28} " + _("NOT INTACT: {problem}").format(problem=one.problem)
    if not one.kind:
        return f"{one.item.item:<28} " + _("not described yet")
    text = _("{kind}: owed are {fields}")
    return f"{one.item.item:<28} " + text.format(kind=one.kind, fields=", ".join(one.missing))


def _overdue_json(one: Any) -> dict[str, object]:
    return {
        "id": one.item.item,
        "whom": one.whom or None,
        "reference": one.reference or None,
        "deadline": one.deadline or None,
        "secret": one.secret,
        "opened": one.opened,
        "problem": one.problem or None,
    }


def _overdue_line(one: Any, *, keys: bool) -> str:
    if one.problem:
        return f"{one.item.item:<28} " + _("NOT INTACT: {problem}").format(problem=one.problem)
    if _is_hidden(one) and keys:
        return f"{one.item.item:<28} " + _("encrypted: none of these keys opens it")
    if _is_hidden(one):
        return f"{one.item.item:<28} " + _("encrypted: --identity KEYFILE tells what is due")
    text = _("due on {day}: {whom}, {reference}")
    told = text.format(day=one.deadline, whom=one.whom, reference=one.reference or "-")
    return f"{one.item.item:<28} {told}"
