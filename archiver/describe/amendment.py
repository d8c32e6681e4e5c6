"""What was learnt of an item later, or was wrong: amendments, and what they make of it.

Job: :class:`Amendment` as a frozen value and as JSON; :func:`fold_amendments`, from what
was said at first to what holds now. Limits: opens no file; which records there are, and that
they are those that were written, is the vault's business (:mod:`archiver.vault.amendments`).

Each names the SHA-256 of the record before it: the description in the bag, or the amendment
with the number before. So none can be left out, exchanged, or put behind another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from archiver.describe.description import Description, canonical, strict_json
from archiver.describe.fields import KINDS, fields_of
from archiver.describe.values import FieldError, check_fields
from archiver.errors import FormatError
from archiver.i18n import N_, _

__all__ = [
    "MAX_AMENDMENTS",
    "SEALED_ENDING",
    "Amendment",
    "Change",
    "History",
    "Step",
    "fold_amendments",
    "record_name",
]

SCHEMA = "archiver/amendment/1"
MAX_AMENDMENTS = 9999
SEALED_ENDING = ".age"
"""Behind the name of a record that is encrypted, since its item is secret."""
_MAX_REASON = 2000
_KEYS = frozenset({"at", "item", "kind", "number", "previous", "reason", "remove", "set"})
_DIGEST = re.compile(r"[0-9a-f]{64}|")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def record_name(number: int, *, sealed: bool = False) -> str:
    """The name of the file that an amendment has."""
    return f"{number:04}.json{SEALED_ENDING if sealed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """One record. ``previous`` is the SHA-256 of the record before, "" where there is none;
    ``kind`` says what an item is that nobody has described, else it is "". ``remove`` are
    fields that no longer hold, ``set`` are those that hold from now on.
    """

    item: str
    number: int
    at: datetime
    reason: str
    previous: str = ""
    kind: str = ""
    remove: tuple[str, ...] = ()
    set: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = _problem_of(self)
        if problem:
            raise FormatError(problem)

    @classmethod
    def parse(cls, data: bytes) -> Amendment:
        """From the bytes of :meth:`to_bytes`. Raises FormatError: they may be a stranger's.
        Whether its fields are ones of its item's kind is asked when it is folded.
        """
        record = strict_json(data, SCHEMA)
        if set(record) != _KEYS or not _has_types(record):
            raise FormatError(N_("it is not an amendment"))
        return cls(
            item=record["item"],
            number=record["number"],
            at=_moment(record["at"]),
            reason=record["reason"],
            previous=record["previous"],
            kind=record["kind"],
            remove=tuple(record["remove"]),
            set=record["set"],
        )

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            {
                "schema": SCHEMA,
                "item": self.item,
                "number": self.number,
                "at": f"{self.at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z",
                "previous": self.previous,
                "kind": self.kind,
                "reason": self.reason,
                "remove": list(self.remove),
                "set": dict(self.set),
            }
        )


def _has_types(record: Mapping[str, Any]) -> bool:
    texts = ("at", "item", "kind", "previous", "reason")
    return (
        all(isinstance(record[key], str) for key in texts)
        and type(record["number"]) is int
        and isinstance(record["remove"], list)
        and all(isinstance(key, str) for key in record["remove"])
        and isinstance(record["set"], dict)
    )


def _problem_of(one: Amendment) -> str:
    if not 0 < one.number <= MAX_AMENDMENTS:
        return N_("the amendment's number can't be")
    if not one.reason.strip() or len(one.reason) > _MAX_REASON or not one.reason.isprintable():
        return N_("an amendment's reason is one line of text")
    if not _DIGEST.fullmatch(one.previous) or (one.kind and one.kind not in KINDS):
        return N_("it is not an amendment")
    if list(one.remove) != sorted(set(one.remove)) or set(one.remove) & set(one.set):
        return N_("an amendment removes each field once, and none that it sets")
    if not one.remove and not one.set:
        return N_("the amendment changes nothing")
    return ""


def _moment(text: str) -> datetime:
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise FormatError(N_("the amendment's time can't be"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field: what it was and what it is since; None where it had, or has, no value."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An amendment that was folded, the SHA-256 of its record, and what it changed."""

    amendment: Amendment
    sha256: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was said at first, each step since, and what holds ``now``: None where nobody has
    described it. ``problem`` is what stands against the record with the number behind the
    last step; then it counts for nothing, nor does what comes after it.
    """

    first: Description | None
    steps: tuple[Step, ...]
    now: Description | None
    problem: str = ""


def fold_amendments(
    item: str,
    first: Description | None,
    digest: str,
    records: Iterable[bytes],
    digests: Sequence[str] = (),
) -> History:
    """What ``records``, from the first on, make of ``first``, whose record in the bag has the
    SHA-256 ``digest`` ("" where there is none). ``digests`` are those of the records' files,
    where these are encrypted: it is by them that one record names the one before.
    """
    steps: list[Step] = []
    now, previous, problem = first, digest, ""
    for number, data in enumerate(records, start=1):
        try:
            amendment = Amendment.parse(data)
            _fits(amendment, item, number, previous)
            after = apply_amendment(now, amendment)
        except FormatError as error:
            problem = _("amendment {number}: {reason}").format(
                number=number, reason=_(error.message)
            )
            break
        previous = digests[number - 1] if digests else hashlib.sha256(data).hexdigest()
        changes = _changes(now, after, amendment)
        steps.append(Step(amendment=amendment, sha256=previous, changes=changes))
        now = after
    return History(first=first, steps=tuple(steps), now=now, problem=problem)


def _fits(one: Amendment, item: str, number: int, previous: str) -> None:
    if one.item != item:
        raise FormatError(N_("it is another item's"))
    if one.number != number:
        raise FormatError(N_("its number is another one"))
    if one.previous != previous:
        raise FormatError(N_("it doesn't follow the record before it"))


def apply_amendment(now: Description | None, one: Amendment) -> Description:
    """What holds after ``one``. Raises FormatError where it doesn't fit to what held before."""
    if now is None and not one.kind:
        raise FormatError(N_("nobody has said what kind of item it is"))
    if now is not None and one.kind:
        raise FormatError(N_("an item's kind is said once"))
    kind = one.kind or (now.kind if now else "")
    before = dict(now.values) if now else {}
    for key in one.remove:
        before.pop(key, None)  # of a secret item nobody could tell whether it was there
    try:
        values = check_fields(one.set, fields_of(kind))
    except FieldError as problem:
        raise FormatError(problem.message, hint=problem.hint) from problem
    if values != dict(one.set):
        raise FormatError(N_("its values are not in canonical form"))
    merged = before | values
    after = Description(
        kind=kind,
        values={key: merged[key] for key in fields_of(kind) if key in merged},
        recorded=now.recorded if now else {},
    )
    if now is not None and now.is_secret and not after.is_secret:
        raise FormatError(N_("what is secret stays secret: its bag is what it is"))
    return after


def _changes(before: Description | None, after: Description, one: Amendment) -> tuple[Change, ...]:
    old = before.values if before else {}
    keys: Sequence[str] = [*one.remove, *(key for key in fields_of(after.kind) if key in one.set)]
    return tuple(Change(key=key, before=old.get(key), after=after.values.get(key)) for key in keys)
