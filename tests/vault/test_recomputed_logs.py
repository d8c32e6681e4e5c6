"""Amendments under a log that its holder has computed anew, and under an index that was changed.

Whoever may write a whole vault can make a chain that holds. Each record names the one before it
and is signed, so what they tell can't be put in another order, played again or moved to another
item; what is cut off at the end is found by whoever has seen it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.custody import Event, chain_lines
from archiver.vault import Vault
from tests.helpers import run
from tests.vault.describing import VIDEO, amend, overwrite, records
from tests.vault.looking import links

ITEM, OTHER = "a-E-0001", "a-E-0002"


def rewrite(vault: Vault, change: Callable[[list[Event]], list[Event]]) -> None:
    """The log of ``a`` with other events, its chain computed anew, and no index."""
    log = Path(vault.log_path("a"))
    events = [link.event for link in links(vault, "a")]
    log.write_bytes(b"".join(chain_lines(change(events))))
    for one in Path(vault.path).glob("catalog*"):
        one.unlink()


def is_amendment(event: Event, number: int = 0) -> bool:
    found = event.detail.get("amendment", 0)
    return bool(found) and number in (0, found)


def told(event: Event, **more: Any) -> Event:
    detail: Mapping[str, Any] = {**event.detail, **more}
    return replace(event, detail=detail)


def place_of(event: Event) -> tuple[Any, Any]:
    return event.detail["amendment"], event.detail["path"]


@pytest.fixture
def amended(filled: Vault, capsys: pytest.CaptureFixture[str]) -> Vault:
    assert amend(capsys, ITEM, *VIDEO, "title=one").code == 0
    assert amend(capsys, ITEM, "title=two").code == 0
    assert amend(capsys, ITEM, "title=three").code == 0
    assert run(capsys, "events", "verify").code == 0
    return filled


def swapped(vault: Vault) -> None:
    """The second record and the third change places, in the log and on the disk."""
    place = records(vault, ITEM)
    for ending in ("", ".p7s"):
        one, two = place / f"0002.json{ending}", place / f"0003.json{ending}"
        first, second = one.read_bytes(), two.read_bytes()
        overwrite(one, second)
        overwrite(two, first)

    def change(events: list[Event]) -> list[Event]:
        at = [i for i, one in enumerate(events) if is_amendment(one)]
        second, third = events[at[1]], events[at[2]]
        number, path = place_of(second)
        events[at[1]] = told(third, amendment=number, path=path)
        number, path = place_of(third)
        events[at[2]] = told(second, amendment=number, path=path)
        return events

    rewrite(vault, change)


def replayed(vault: Vault) -> None:
    """The first is said once more, as the fourth."""
    place = records(vault, ITEM)
    for ending in ("", ".p7s"):
        (place / f"0004.json{ending}").write_bytes((place / f"0001.json{ending}").read_bytes())

    def change(events: list[Event]) -> list[Event]:
        (first,) = (one for one in events if is_amendment(one, 1))
        path = str(first.detail["path"]).replace("0001", "0004")
        return [*events, told(first, amendment=4, path=path)]

    rewrite(vault, change)


def moved(vault: Vault) -> None:
    """What was said of one item is told of another."""
    place, other = records(vault, ITEM), records(vault, OTHER)
    other.mkdir()
    for path in place.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
        path.unlink()
    place.rmdir()

    def change(events: list[Event]) -> list[Event]:
        def one(event: Event) -> Event:
            if not is_amendment(event):
                return event
            path = str(event.detail["path"]).replace(ITEM, OTHER)
            return told(event, item=OTHER, path=path)

        return [one(event) for event in events]

    rewrite(vault, change)


def left_out(vault: Vault) -> None:
    """The one in the middle is gone, and the last is called the second."""
    place = records(vault, ITEM)
    for ending in ("", ".p7s"):
        (place / f"0002.json{ending}").unlink()
        (place / f"0003.json{ending}").rename(place / f"0002.json{ending}")

    def change(events: list[Event]) -> list[Event]:
        (second,) = (one for one in events if is_amendment(one, 2))
        number, path = place_of(second)
        return [
            told(one, amendment=number, path=path) if is_amendment(one, 3) else one
            for one in events
            if one is not second
        ]

    rewrite(vault, change)


def edited(vault: Vault) -> None:
    """Other words, with their digest in the log; the signature is of the old ones."""
    record = records(vault, ITEM) / "0003.json"
    data = record.read_bytes().replace(b"three", b"drei!")
    overwrite(record, data)
    digest = hashlib.sha256(data).hexdigest()
    rewrite(
        vault,
        lambda events: [
            told(one, sha256=digest) if is_amendment(one, 3) else one for one in events
        ],
    )


@pytest.mark.parametrize("attack", [swapped, replayed, moved, left_out, edited])
def test_no_log_makes_records_say_something_else(
    amended: Vault, capsys: pytest.CaptureFixture[str], attack: Callable[[Vault], None]
) -> None:
    attack(amended)
    done = run(capsys, "events", "verify")
    assert done.code == 1, done.out
    assert "amendments" in done.out
    item = OTHER if attack is moved else ITEM
    if attack is not edited:  # that its signature is another's is what events verify says
        assert run(capsys, "show", item).code == 1
        done = run(capsys, "export", item, "out")
        assert (done.code, "nothing was handed out" in done.err) == (1, True)
        assert not Path("out").exists()
    assert run(capsys, "catalog", "check").code != 0


def test_what_is_cut_off_at_the_end_is_known_to_who_has_seen_it(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """A no that came last: nothing in the vault itself can tell, a head that was written down
    can.
    """
    cases: Any = run(capsys, "events", "verify", "--json").json["cases"]
    (head,) = (one["head"] for one in cases if one["case"] == "a")
    for ending in ("", ".p7s"):
        (records(amended, ITEM) / f"0003.json{ending}").unlink()
    rewrite(amended, lambda events: [one for one in events if not is_amendment(one, 3)])
    assert run(capsys, "events", "verify").code == 0
    done = run(capsys, "events", "verify", "--against-head", head)
    assert done.code == 1
    assert "no chain has the head" in done.out


@pytest.mark.parametrize("sql", ["DELETE FROM {table}", "UPDATE {table} SET number = number + 7"])
def test_an_index_that_forgot_an_amendment_hides_no_change_of_it(
    amended: Vault, capsys: pytest.CaptureFixture[str], sql: str
) -> None:
    record = records(amended, ITEM) / "0003.json"
    overwrite(record, record.read_bytes().replace(b"three", b"drei!"))
    with sqlite3.connect(amended.catalog) as catalog:
        names = [name for (name,) in catalog.execute("SELECT name FROM sqlite_schema")]
        table = next(one for one in names if one.startswith("amendment"))
        catalog.execute(sql.format(table=table))
    done = run(capsys, "events", "verify")
    assert done.code == 1
    assert "0003.json" in done.out
    assert run(capsys, "export", ITEM, "out").code == 1
    done = run(capsys, "catalog", "check")
    assert done.code == 5
    assert "0003.json" in done.err
