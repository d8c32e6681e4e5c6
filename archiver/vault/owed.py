"""What is still owed: items that nobody has described, or not enough; answers that are due.

Job: questions for ``archiver list``. Limits: what a secret item says is read by who holds a
key; without one it is said that it can't be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from archiver.catalog.model import Described, Item
from archiver.describe import Description
from archiver.policy import DescribePolicy
from archiver.vault.amendments import Told, tell_described
from archiver.vault.records import Records

__all__ = ["Overdue", "Undescribed", "overdue", "undescribed"]

_ABSENCE = "absence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undescribed:
    """An item, its kind ("" where nobody has said it), the fields that are owed, and why it
    can't be said, where it can't. ``secret``: whether any are owed can't be told.
    """

    item: Item
    secret: bool = False
    kind: str = ""
    missing: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Somebody was asked, and has not answered until ``deadline``. ``secret``: whether anybody
    was can't be told.
    """

    item: Item
    secret: bool = False
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
    asks for; those that are secret, where there is no key. Raises ArchiverError, where
    ``unseal`` does.
    """
    for item in records.catalog.without_description(case=case):
        yield Undescribed(item=item)
    for one in records.catalog.descriptions(case=case):
        wanted = policy.wanted(one.kind)
        if not wanted:
            continue
        item, told = _told(records, one)
        now = unseal(item) if one.secret and unseal else told.now
        if one.secret and now is None:
            yield Undescribed(item=item, kind=one.kind, secret=True)
        elif told.problem:
            yield Undescribed(item=item, kind=one.kind, problem=told.problem)
        elif now is not None and (missing := now.missing(wanted)):
            yield Undescribed(item=item, kind=one.kind, missing=tuple(missing))


def overdue(
    records: Records, today: date, *, case: str = "", unseal: Unseal | None = None
) -> Iterator[Overdue]:
    """Those who were asked for what is absent, whose deadline is over; absences that are
    secret, where there is no key. Raises ArchiverError, where ``unseal`` does.
    """
    for one in records.catalog.descriptions(case=case, kind=_ABSENCE):
        item, told = _told(records, one)
        now = unseal(item) if one.secret and unseal else told.now
        if one.secret and now is None:
            yield Overdue(item=item, secret=True)
            continue
        if told.problem or now is None:
            yield Overdue(item=item, problem=told.problem)
            continue
        for asked in now.values.get("asked", []):
            answered = "answer" in asked or "answered_at" in asked
            if not answered and _is_over(str(asked.get("deadline", "")), today):
                yield Overdue(
                    item=item,
                    whom=asked.get("whom", ""),
                    reference=asked.get("reference", ""),
                    deadline=asked["deadline"],
                )


def _told(records: Records, one: Described) -> tuple[Item, Told]:
    item = records.catalog.item(one.item)
    assert item is not None
    return item, tell_described(records.vault, records.catalog, item, one)


def _is_over(deadline: str, today: date) -> bool:
    """Whether all of a day, month or year lies before ``today``; "unknown" never is."""
    return deadline[:4].isdigit() and deadline[:10] < today.isoformat()[: len(deadline[:10])]
