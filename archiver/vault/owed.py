"""What is still owed: items that nobody has described, or not enough; answers that are due.

Job: questions for ``archiver list``. Limits: what a secret item says can't be read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from archiver.catalog.model import Described, Item
from archiver.policy import DescribePolicy
from archiver.vault.amendments import Told, tell_described
from archiver.vault.records import Records

__all__ = ["Overdue", "Undescribed", "overdue", "undescribed"]

_ABSENCE = "absence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undescribed:
    """An item, its kind ("" where nobody has said it), the fields that are owed, and why it
    can't be said, where it can't.
    """

    item: Item
    kind: str = ""
    missing: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Somebody was asked, and has not answered until ``deadline``."""

    item: Item
    whom: str = ""
    reference: str = ""
    deadline: str = ""
    problem: str = ""


def undescribed(
    records: Records, policy: DescribePolicy, *, case: str = ""
) -> Iterator[Undescribed]:
    """Sealed items without a description, then those whose current one lacks what ``policy``
    asks for.
    """
    for item in records.catalog.without_description(case=case):
        yield Undescribed(item=item)
    for one in records.catalog.descriptions(case=case):
        wanted = policy.wanted(one.kind)
        if not wanted or one.secret:
            continue
        item, told = _told(records, one)
        if told.problem:
            yield Undescribed(item=item, kind=one.kind, problem=told.problem)
        elif told.now is not None and (missing := told.now.missing(wanted)):
            yield Undescribed(item=item, kind=one.kind, missing=tuple(missing))


def overdue(records: Records, today: date, *, case: str = "") -> Iterator[Overdue]:
    """Those who were asked for what is absent, whose deadline is over."""
    for one in records.catalog.descriptions(case=case, kind=_ABSENCE):
        if one.secret:
            continue
        item, told = _told(records, one)
        if told.problem or told.now is None:
            yield Overdue(item=item, problem=told.problem)
            continue
        for asked in told.now.values.get("asked", []):
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
