"""What a witness allows: read from the log and the description, obeyed by whoever hands out.

Job: withdrawals as events of a case's log, and whether an item may be handed out for a
purpose. Limits: opens no description (:mod:`archiver.statement` does); asks no witness.

What was withdrawn is in the log for good: append only, never taken back there (a witness who
consents anew gives a new statement of it). An event about consent that can't be understood
counts as all of it withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from archiver.catalog.model import Item
from archiver.custody import Event, Link
from archiver.describe.fields import CODE, PURPOSES
from archiver.errors import ArchiverError, UsageError
from archiver.i18n import N_, _
from archiver.seal.described import STATEMENT
from archiver.vault import Vault
from archiver.vault.log import CaseLog
from archiver.vault.records import writing

__all__ = [
    "ALL",
    "CODE",
    "ConsentError",
    "Permission",
    "Withdrawal",
    "check_code",
    "check_purpose_word",
    "check_scope",
    "decide",
    "is_described",
    "is_statement",
    "refuse_without",
    "withdraw_consent",
    "withdrawals",
    "withdrawn",
]

ALL = "all"
_EVENT, _WITHDRAWN = "modification", "withdrawn"
BASES = ("yes", "asked", "confirmed", "none")


class ConsentError(ArchiverError):
    """Intact, and not to be handed out: a proof of consent is missing, or it was withdrawn."""

    exit_code = 4
    usual_hint = N_("See 'archiver consent show ID'.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One event: ``scope`` are purposes, all of them where everything was withdrawn."""

    at: datetime
    scope: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Why an item may be handed out for ``purpose``. ``basis``: the witness said "yes", was
    "asked" again (``words`` say how it was answered; they stand in the receipt alone), or
    somebody with the code ``confirmed_by`` has "confirmed" it without the description; "none":
    the item is no statement, and nobody has to be asked.
    """

    purpose: str
    basis: str
    words: str = ""
    confirmed_by: str = ""

    def __post_init__(self) -> None:
        if self.purpose not in PURPOSES or self.basis not in BASES:
            raise ValueError("no such permission")
        if (self.basis == "confirmed") != bool(CODE.fullmatch(self.confirmed_by)):
            raise ValueError("who confirms has a code")

    def detail(self) -> dict[str, str]:
        """What the log keeps of it: no free words."""
        told = {"basis": self.basis, "purpose": self.purpose}
        return told | ({"confirmed_by": self.confirmed_by} if self.confirmed_by else {})

    def line(self) -> str:
        """What the receipt says of it, in one line."""
        more = self.confirmed_by or self.words
        return f"{self.purpose} {self.basis}" + (f" {more}" if more else "")


def check_code(text: str) -> str:
    """A code that stands for a person. Raises UsageError: a name may have been typed."""
    if not CODE.fullmatch(text):
        raise UsageError(
            _("that is no code: it must look like W-07"),
            hint=_("One to three capital letters, a hyphen, digits: never a name or initials."),
        )
    return text


def check_purpose_word(text: str) -> str:
    """One of the purposes. Raises UsageError."""
    if text not in PURPOSES:
        raise UsageError(
            _("there is no purpose {text}").format(text=text),
            hint=_("Known: {known}.").format(known=", ".join(PURPOSES)),
        )
    return text


def check_scope(texts: Sequence[str]) -> tuple[str, ...]:
    """What is to be withdrawn: purposes, in their order, or all. Raises UsageError."""
    words = [word.strip() for text in texts for word in text.split(",")]
    if not words or words == [ALL]:
        return (ALL,)
    named = {check_purpose_word(word) for word in words}
    return tuple(one for one in PURPOSES if one in named)


# -- what the log tells


def is_statement(vault: Vault, item: Item) -> bool:
    """Whether the log itself says that the item is a witness's statement: when it was sealed,
    or in an amendment since. The catalog is not asked: whoever changes that must not get a
    statement out. Raises LogError.
    """
    found = (link.event.detail for link in CaseLog(item.case, vault.log_path(item.case)).read())
    return any(one.get("item") == item.item and _tells_of_statement(one) for one in found)


def is_described(vault: Vault, item: Item) -> bool:
    """Whether the log knows any words of the item that can be read, with a key or without: a
    statement that was taken over may say what it is in a form that nobody knows. Raises LogError.
    """
    found = (link.event.detail for link in CaseLog(item.case, vault.log_path(item.case)).read())
    return any(
        one.get("item") == item.item and ("description" in one or "amendment" in one)
        for one in found
    )


def _tells_of_statement(detail: Mapping[str, Any]) -> bool:
    told = detail if "amendment" in detail else detail.get("description")
    return bool(detail.get(STATEMENT)) or (
        isinstance(told, Mapping) and told.get("kind") == "statement"
    )


def withdrawals(vault: Vault, item: Item) -> list[Withdrawal]:
    """What was withdrawn of the consent to an item, read from the case's log itself. Raises
    LogError where it is broken.
    """
    links = CaseLog(item.case, vault.log_path(item.case)).read()
    return [_withdrawal(link) for link in links if _is_about(link, item)]


def _is_about(link: Link, item: Item) -> bool:
    detail = link.event.detail
    return link.event.type == _EVENT and "consent" in detail and detail.get("item") == item.item


def _withdrawal(link: Link) -> Withdrawal:
    """A log may come from a stranger: what isn't understood counts as everything."""
    detail = link.event.detail
    scope, reason = detail.get("scope"), detail.get("reason")
    known = isinstance(scope, list) and bool(scope) and all(one in PURPOSES for one in scope)
    words = tuple(scope) if known and isinstance(scope, list) else PURPOSES
    return Withdrawal(
        at=link.event.at, scope=words, reason=reason if isinstance(reason, str) else ""
    )


def withdrawn(vault: Vault, item: Item) -> frozenset[str]:
    """The purposes for which consent to the item was withdrawn. Raises LogError."""
    return frozenset(word for one in withdrawals(vault, item) for word in one.scope)


def withdraw_consent(
    vault: Vault, item: Item, scope: Sequence[str], reason: str, now: datetime, wait_seconds: float
) -> bool:
    """Write down that consent was withdrawn; False where all of it was before, and nothing is
    written. ``scope`` is that of :func:`check_scope`. Raises LogError, LockedError, StorageError.
    """
    wanted = set(PURPOSES) if ALL in scope else set(scope)
    with writing(vault, f"consent {item.case}", wait_seconds) as records:
        records.require(item.case)
        if wanted <= withdrawn(vault, item):
            return False
        detail: dict[str, Any] = {"item": item.item, "consent": _WITHDRAWN, "scope": list(scope)}
        if reason:
            detail["reason"] = reason
        records.append(item.case, [Event(type=_EVENT, at=now, detail=detail)])
    return True


# -- what may be handed out


def decide(
    values: Mapping[str, Any], purpose: str, now: datetime, *, asked: str = ""
) -> Permission:
    """Whether the description of a statement allows its use for ``purpose``; ``asked``: what
    the witness answered when asked again. Raises ConsentError.
    """
    consent = values.get("consent")
    answer = consent.get(purpose) if isinstance(consent, Mapping) else None
    if isinstance(consent, Mapping) and _has_expired(str(consent.get("expires", "")), now):
        raise ConsentError(
            _("the consent has expired, on {day}").format(day=consent["expires"]),
            hint=_("Ask the witness; a new consent is an amendment, or a new statement."),
        )
    if isinstance(consent, Mapping) and consent.get("explained") == "no":
        raise ConsentError(
            _("the consent doesn't count: purposes and risks were not explained"),
            hint=_("Explain them and ask again; what is said then is an amendment."),
        )
    if answer == "yes":
        return Permission(purpose=purpose, basis="yes")
    if answer == "ask" and asked:
        return Permission(purpose=purpose, basis="asked", words=asked)
    if answer == "ask":
        raise ConsentError(
            _("the witness wants to be asked first: {purpose}").format(purpose=purpose),
            hint=_("Ask, then say how it was answered: --asked TEXT. No names."),
        )
    if answer == "no":
        raise ConsentError(
            _("the witness has not consented: {purpose}").format(purpose=purpose),
            hint=_("It is not handed out for this purpose."),
        )
    raise ConsentError(
        _("the statement doesn't say whether the witness consents: {purpose}").format(
            purpose=purpose
        ),
        hint=_("Ask the witness, and record it: archiver describe ID --form FILE, with [consent]."),
    )


def _has_expired(text: str, now: datetime) -> bool:
    """Whether ``now`` is behind the last day, month, year or moment that ``text`` names. What
    can't be told ("unknown") has not.
    """
    if not text or text == "unknown":
        return False
    try:
        if "T" in text:
            moment = datetime.fromisoformat(text)
            return now > (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        year, month, day = (*map(int, text.split("-")), 0, 0)[:3]
        if day:
            return now.astimezone(UTC).date() > date(year, month, day)
        date(year, month or 1, 1)  # that there is such a month
        today = now.astimezone(UTC)
        return (today.year, today.month) > (year, month or 12)
    except ValueError:
        return True


def refuse_without(vault: Vault, item: Item, permission: Permission | None) -> None:
    """Raises ConsentError where the item is not to be handed out: consent was withdrawn, or it
    is a statement and nobody has said for what, and why it may be. The last word: it is said
    again while the vault's lock is held.
    """
    gone = withdrawn(vault, item)
    if gone >= set(PURPOSES) or (permission and permission.purpose in gone):
        raise ConsentError(
            _("{item}: the consent was withdrawn").format(item=item.item),
            hint=_("It is not handed out. See 'archiver consent show {item}'.").format(
                item=item.item
            ),
        )
    if permission is None and (gone or is_statement(vault, item)):
        raise ConsentError(
            _("{item}: it is not said for what purpose it is handed out").format(item=item.item),
            hint=_("Say --for PURPOSE, one of: {known}.").format(known=", ".join(PURPOSES)),
        )
