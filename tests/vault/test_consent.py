"""What a witness allows, and what was withdrawn, read from the log itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from archiver.catalog import FactError
from archiver.catalog.model import Item
from archiver.consent import (
    ConsentError,
    Permission,
    check_code,
    check_scope,
    decide,
    refuse_without,
    withdraw_consent,
    withdrawals,
    withdrawn,
)
from archiver.custody import Event, chain_lines, line_digest
from archiver.describe.fields import PURPOSES
from archiver.errors import LogError, UsageError
from archiver.vault import Vault
from archiver.vault.check import check_logs
from archiver.vault.log import read_links
from tests.sealing import NOW
from tests.vault.looking import append, items, links

ITEM = "a-E-0001"
ANY = Permission(purpose="court", basis="yes")


def item(vault: Vault, name: str = ITEM) -> Item:
    (found,) = (one for one in items(vault) if one.item == name)
    return found


def withdraw(vault: Vault, *scope: str) -> bool:
    return withdraw_consent(vault, item(vault), scope, "told us", NOW, 5.0)


def test_a_withdrawal_is_an_event_of_the_case(filled: Vault) -> None:
    assert withdrawn(filled, item(filled)) == frozenset()
    before = len(links(filled, "a"))
    assert withdraw(filled, "media", "research")
    (event,) = [link.event for link in links(filled, "a")[before:]]
    assert event.type == "modification"
    assert dict(event.detail) == {
        "consent": "withdrawn",
        "item": ITEM,
        "reason": "told us",
        "scope": ["media", "research"],
    }
    assert withdrawn(filled, item(filled)) == {"media", "research"}
    assert withdrawn(filled, item(filled, "a-E-0002")) == frozenset()
    assert check_logs(filled).problems == ()


def test_what_was_withdrawn_before_is_not_written_again(filled: Vault) -> None:
    assert withdraw(filled, "media")
    length = len(links(filled, "a"))
    assert not withdraw(filled, "media")
    assert len(links(filled, "a")) == length
    assert withdraw(filled, "media", "court")
    assert withdraw(filled, "all")
    assert not withdraw(filled, "all")
    assert not withdraw(filled, *PURPOSES)
    assert withdrawn(filled, item(filled)) == set(PURPOSES)
    assert [one.scope for one in withdrawals(filled, item(filled))][-1] == PURPOSES


@pytest.mark.parametrize(
    "detail",
    [
        {"consent": "withdrawn"},
        {"consent": "withdrawn", "scope": []},
        {"consent": "withdrawn", "scope": "media"},
        {"consent": "withdrawn", "scope": ["medai"]},
        {"consent": "withdrawn", "scope": ["media", 7]},
        {"consent": "withdrawn", "scope": [["media"]]},
        {"consent": "given", "scope": ["media"], "reason": {}},
        {"consent": None},
    ],
)
def test_what_is_not_understood_is_not_written_and_in_a_log_gives_no_consent(
    filled: Vault, detail: dict[str, Any]
) -> None:
    event = Event(type="modification", at=NOW, detail={"item": ITEM, **detail})
    one = item(filled)
    if detail["consent"] != "given":
        with pytest.raises(FactError):
            append(filled, "a", event)
    last = read_links("a", filled.log_path("a"))[-1]
    (line,) = chain_lines([event], seq=last.seq, prev=line_digest(last.line()))
    with open(filled.log_path("a"), "ab") as file:
        file.write(line)
    assert withdrawn(filled, one) == set(PURPOSES) or detail["consent"] == "given"
    with pytest.raises(ConsentError):
        refuse_without(filled, one, Permission(purpose="media", basis="yes"))


def test_a_broken_log_is_no_consent(filled: Vault) -> None:
    one = item(filled)
    withdraw(filled, "all")
    with open(filled.log_path("a"), "r+b") as file:
        data = file.read().replace(b'"withdrawn"', b'"withdrown"')
        file.seek(0)
        file.write(data)
    with open(filled.log_path("a"), "ab") as file:
        file.write(b"{}\n")
    with pytest.raises(LogError):
        refuse_without(filled, one, ANY)


def test_items_that_are_no_statements_need_no_purpose_until_something_is_withdrawn(
    filled: Vault,
) -> None:
    refuse_without(filled, item(filled), None)
    withdraw(filled, "media")
    with pytest.raises(ConsentError, match="for what purpose") as caught:
        refuse_without(filled, item(filled), None)
    assert caught.value.exit_code == 4
    refuse_without(filled, item(filled), ANY)
    with pytest.raises(ConsentError, match="was withdrawn"):
        refuse_without(filled, item(filled), Permission(purpose="media", basis="yes"))
    withdraw(filled, "all")
    for permission in (None, ANY):
        with pytest.raises(ConsentError, match="was withdrawn"):
            refuse_without(filled, item(filled), permission)


# -- what the description allows


def values(**consent: str) -> dict[str, Any]:
    return {"consent": {"explained": "yes", **consent}}


def test_each_answer() -> None:
    assert decide(values(court="yes"), "court", NOW) == ANY
    with pytest.raises(ConsentError, match="has not consented") as caught:
        decide(values(court="no"), "court", NOW, asked="yes on the telephone")
    assert caught.value.exit_code == 4
    with pytest.raises(ConsentError, match="wants to be asked first"):
        decide(values(court="ask"), "court", NOW)
    asked = decide(values(court="ask"), "court", NOW, asked="yes, by telephone")
    assert asked == Permission(purpose="court", basis="asked", words="yes, by telephone")
    assert asked.line() == "court asked yes, by telephone"
    assert asked.detail() == {"basis": "asked", "purpose": "court"}
    for nothing in (values(media="yes"), {}, {"consent": "yes"}, {"consent": {"court": "Yes"}}):
        with pytest.raises(ConsentError, match="doesn't say"):
            decide(nothing, "court", NOW)


NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
WEST = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    ("expires", "holds"),
    [
        ("9999", True),
        ("9999-12", True),
        ("9999-12-31", True),
        ("2026-13", False),
        ("unknown", True),
        ("2027", True),
        ("2026", True),
        ("2025", False),
        ("2026-12", True),
        ("2026-11", True),
        ("2026-10", False),
        ("2025-12", False),
        ("2026-11-26", True),
        ("2026-11-25", False),
        ("2026-11-26T13:00", True),
        ("2026-11-26T11:00", False),
        ("2026-11-26T08:00:00-05:00", True),
        ("2026-11-26T06:00:00-05:00", False),
        ("2026-11-26T11:59:59Z", False),
        ("nonsense", False),
    ],
)
def test_consent_expires(expires: str, holds: bool) -> None:
    told = values(court="yes", expires=expires)
    for now in (NOON, NOON.astimezone(WEST)):
        if holds:
            assert decide(told, "court", now) == ANY
        else:
            with pytest.raises(ConsentError, match="has expired"):
                decide(told, "court", now)


def test_permissions_are_checked_when_made() -> None:
    for wrong in (
        {"purpose": "gossip", "basis": "yes"},
        {"purpose": "court", "basis": "maybe"},
        {"purpose": "court", "basis": "confirmed"},
        {"purpose": "court", "basis": "yes", "confirmed_by": "R-1"},
        {"purpose": "court", "basis": "confirmed", "confirmed_by": "María"},
    ):
        with pytest.raises(ValueError, match="no such|has a code"):
            Permission(**wrong)
    told = Permission(purpose="court", basis="confirmed", confirmed_by="R-12")
    assert told.detail()["confirmed_by"] == "R-12"
    assert told.line() == "court confirmed R-12"


@pytest.mark.parametrize(
    "text",
    ["", "María", "maria", "MARIA", "M.Q.", "W-", "W07", "w-07", "WXYZ-1", "W-1234567", "W-07 ",
     "W-07\n", "W-٠٧", "María W-07", "W-07/../x"],
)  # fmt: skip
def test_names_are_no_codes(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_code(text)
    assert "aría" not in caught.value.message
    assert "never a name" in caught.value.hint


def test_scopes() -> None:
    assert check_code("W-07") == "W-07"
    assert check_scope([]) == check_scope(["all"]) == ("all",)
    assert check_scope(["media,court", "research"]) == ("court", "media", "research")
    for wrong in (["medai"], ["all,media"], [""], ["court,,media"]):
        with pytest.raises(UsageError, match="no purpose"):
            check_scope(wrong)
