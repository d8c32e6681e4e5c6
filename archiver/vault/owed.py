"""What is still owed: items that nobody has described, or not enough; answers that are due.

Job: questions for ``archiver list``. Limits: what a secret item says is read by who holds a
key; without one it is said that it can't be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from archiver.catalog.model import Described, Item
from archiver.describe import Description
from archiver.errors import ArchiverError, KeyringError
from archiver.policy import DescribePolicy
from archiver.vault.amendments import tell_described
from archiver.vault.records import Records

__all__ = ["Overdue", "Undescribed", "overdue", "undescribed"]

_ABSENCE = "absence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undescribed:
    """An item, its kind ("" where nobody has said it), the fields that are owed, and why it
    can't be said, where it can't. Of one that is ``secret`` and wasn't ``opened`` nothing can
    be told.
    """

    item: Item
    secret: bool = False
    opened: bool = False
    kind: str = ""
    missing: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Somebody was asked, and has not answered until ``deadline``. Of an absence that is
    ``secret`` and wasn't ``opened`` it can't be told whether anybody was.
    """

    item: Item
    secret: bool = False
    opened: bool = False
    whom: str = ""
    reference: str = ""
    deadline: str = ""
    problem: str = ""


Unseal = Callable[[Item], Description]
"""What is said of a secret item now. Raises ArchiverError."""


def undescribed(
    records: Records, policy: DescribePolicy, *, case: str = "", unseal: Unseal | None = None
) -> Iterator[Undescribed]:
    """Sealed items without a description, then those whose current one lacks what ``policy``
    asks for; those that are secret, and that ``unseal`` has no key for.
    """
    for item in records.catalog.without_description(case=case):
        yield Undescribed(item=item)
    for one in records.catalog.descriptions(case=case):
        wanted = policy.wanted(one.kind)
        if not wanted:
            continue
        now = _now(records, one, unseal)
        opened = one.secret and now.said is not None
        found = Undescribed(item=now.item, kind=one.kind, secret=one.secret, opened=opened)
        if now.problem:
            yield replace(found, problem=now.problem)
        elif now.said is None:
            yield found
        elif missing := now.said.missing(wanted):
            yield replace(found, missing=tuple(missing))


def overdue(
    records: Records, today: date, *, case: str = "", unseal: Unseal | None = None
) -> Iterator[Overdue]:
    """Those who were asked for what is absent, whose deadline is over; absences that are
    secret, and that ``unseal`` has no key for.
    """
    for one in records.catalog.descriptions(case=case, kind=_ABSENCE):
        now = _now(records, one, unseal)
        opened = one.secret and now.said is not None
        found = Overdue(item=now.item, secret=one.secret, opened=opened, problem=now.problem)
        if now.problem or now.said is None:
            yield found
            continue
        for asked in now.said.values.get("asked", []):
            answered = "answer" in asked or "answered_at" in asked
            if not answered and _is_over(str(asked.get("deadline", "")), today):
                yield replace(
                    found,
                    whom=asked.get("whom", ""),
                    reference=asked.get("reference", ""),
                    deadline=asked["deadline"],
                )


@dataclass(frozen=True, slots=True)
class _Now:
    """What is said of an item now, or the problem with it: neither where it is secret, and there
    is no key for it. Those of one vault may be encrypted for several people.
    """

    item: Item
    said: Description | None
    problem: str = ""


def _now(records: Records, one: Described, unseal: Unseal | None) -> _Now:
    item = records.catalog.item(one.item)
    assert item is not None
    told = tell_described(records.vault, records.catalog, item, one)
    if not one.secret or unseal is None:
        return _Now(item, told.now, told.problem)
    try:
        return _Now(item, unseal(item))
    except KeyringError:
        return _Now(item, None)
    except ArchiverError as error:
        return _Now(item, None, error.message.removeprefix(f"{item.item}: "))


def _is_over(deadline: str, today: date) -> bool:
    """Whether all of a day, month or year lies before ``today``; "unknown" never is."""
    return deadline[:4].isdigit() and deadline[:10] < today.isoformat()[: len(deadline[:10])]
