"""What is secret in a watched folder: encrypted into the vault, where the policy names readers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import ArchiverError, VaultError
from archiver.vault.check import check_logs
from archiver.verify import Verdict, verify_bag
from archiver.watch.model import Done, Failed, Prepared, Unit
from archiver.watch.sinks import DirectorySink, VaultSink
from tests.vault.looking import items
from tests.watch.house import NEEDLES, House
from tests.watch.test_described import SECRET, STATEMENT, put
from tests.watch.units import take, taken, unit


def sha512(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


def test_it_is_encrypted_with_what_is_said_of_it(house: House, inbox: Path) -> None:
    asked = put(inbox, SECRET)
    (done,) = taken(house.sink(), [asked])
    assert done.digests == (sha512(b"moving pictures"),)
    assert done.described == sha512(SECRET)
    assert verify_bag(done.bag).verdict in (Verdict.VALID, Verdict.UNPROVEN)
    assert sorted(os.listdir(Path(done.bag, "data"))) == ["0001.age", "files.json.age"]
    assert house.opened(done.bag) == ({"a.mp4": b"moving pictures"}, "Maria Quispe")
    assert house.leaks() == []
    (item,) = items(house.vault)
    told = item.detail["description"]
    assert (item.state, told["kind"], sorted(told)) == (
        "sealed",
        "video",
        ["kind", "path", "sha256"],
    )
    assert item.key.startswith("statement:")
    assert asked.key not in Path(house.vault.log_path("c")).read_text()
    assert check_logs(house.vault).problems == ()
    assert list((house.place / "out").rglob(".archiver-*")) == []
    assert (inbox / "a.mp4").read_bytes() == b"moving pictures"


def test_open_ones_beside_are_in_clear_as_ever(house: House, inbox: Path) -> None:
    public = SECRET.replace(b"sealed", b"public")
    given = [put(inbox, public, "b.mp4"), put(inbox, SECRET), put(inbox, public, "c.mp4")]
    first, second, third = taken(house.sink(), given)
    assert [one.unit for one in (first, second, third)] == given
    assert os.listdir(Path(first.bag, "data")) == ["b.mp4"]
    assert os.listdir(Path(third.bag, "data")) == ["c.mp4"]
    assert house.opened(second.bag)[0] == {"a.mp4": b"moving pictures"}


def test_a_folder_keeps_its_paths_inside(house: House, inbox: Path) -> None:
    for name, data in {"a/z.txt": b"1", "a/b/y.txt": b"2", "a/x.txt": b"3"}.items():
        (inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (inbox / name).write_bytes(data)
    (inbox / "a/description.toml").write_bytes(SECRET)
    names = ("a/z.txt", "a/b/y.txt", "a/x.txt")
    asked = unit(inbox, *names, description=b"a/description.toml")
    (done,) = taken(house.sink(), [asked])
    expected = {b"a/z.txt": b"1", b"a/b/y.txt": b"2", b"a/x.txt": b"3"}
    digests = tuple(sha512(expected[one.path]) for one in asked.members)
    assert done.digests == digests  # in the order of the members, not of the plan
    assert house.opened(done.bag)[0] == {"a/z.txt": b"1", "a/b/y.txt": b"2", "a/x.txt": b"3"}


@pytest.mark.parametrize(
    "form",
    [
        STATEMENT,
        SECRET + b"titel = 'x'\n",
        SECRET + b"case = 'another'\n",
        SECRET + b"]",
        SECRET + b"[[derived_from]]\nitem = 'c-E-0099'\ntool = 'x'\n",
        SECRET.decode().encode("utf-16"),
    ],
    ids=["a statement", "a mistake", "another case", "no TOML", "unknown items", "UTF-16"],
)
def test_what_a_person_has_to_look_at_waits(house: House, inbox: Path, form: bytes) -> None:
    (failed,) = take(house.sink(), [put(inbox, form)])
    assert isinstance(failed, Failed)
    assert (failed.kind, "archiver statement new" in failed.reason) == ("refused", True)
    assert not any(one in failed.reason.encode() for one in NEEDLES)
    assert (house.leaks(), house.states()) == ([], [])


@pytest.mark.parametrize("name", ["a.mp4.TOML", "a.mp4.Toml", "a.toml", "a.TOML"])
def test_a_form_that_is_only_nearly_a_side_car_counts(house: House, inbox: Path, name: str) -> None:
    (inbox / "a.mp4").write_bytes(b"moving pictures")
    (inbox / name).write_bytes(SECRET)
    for asked in (unit(inbox, "a.mp4"), unit(inbox, name)):
        (failed,) = take(house.sink(), [asked])
        assert isinstance(failed, Failed)
        assert "may be, that of something confidential" in failed.reason
    assert (house.leaks(), house.states()) == ([], [])
    (inbox / name).write_bytes(SECRET.replace(b"sealed", b"public"))
    (done,) = taken(house.sink(), [unit(inbox, "a.mp4")])
    assert os.listdir(Path(done.bag, "data")) == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("v8", "v8.toml"),
        (".hidden", ".hidden.toml"),
        ("V7.MP4", "V7.mp4.toml"),
        ("V7.MP4", "v7.mp4.toml"),
        ("v7.mp4", "V7.MP4.toml"),
        ("caf\u00e9.mp4", "cafe\u0301.mp4.toml"),
        ("cafe\u0301.mp4", "caf\u00e9.mp4.toml"),
        ("v1.mp4", "v1.mp4.toml.txt"),
        ("v1.mp4", "v1.toml.txt"),
    ],
)
def test_however_the_side_car_is_spelt(house: House, inbox: Path, name: str, form: str) -> None:
    """A camera's capitals, a Mac's accents, the ending that an editor adds and Windows hides."""
    (inbox / name).write_bytes(b"moving pictures")
    (inbox / form).write_bytes(SECRET)
    for asked in (unit(inbox, name), unit(inbox, form)):
        (failed,) = take(house.sink(), [asked])
        assert isinstance(failed, Failed), asked
        assert "may be, that of something confidential" in failed.reason
    assert (house.leaks(), house.states()) == ([], [])


@pytest.mark.parametrize("form", ["v1.mp4.toml.bak", "v1.mp4.tml", "v1.mp4.toml~", "x.TOML.txt"])
def test_a_copy_of_a_form_is_not_archived_in_clear(house: House, inbox: Path, form: str) -> None:
    (inbox / form).write_bytes(SECRET)
    (failed,) = take(house.sink(), [unit(inbox, form)])
    assert isinstance(failed, Failed)
    assert (house.leaks(), house.states()) == ([], [])


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "dangling"])
def test_a_side_car_that_is_no_file_keeps_its_file_waiting(
    house: House, inbox: Path, kind: str
) -> None:
    (inbox / "a.mp4").write_bytes(b"moving pictures")
    (house.place / "form").write_bytes(SECRET)
    place = inbox / "a.mp4.toml"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to(house.place / ("form" if kind == "link" else "gone"))
    (failed,) = take(house.sink(), [unit(inbox, "a.mp4")])
    assert isinstance(failed, Failed)
    assert (failed.kind, "is a link, or no regular file" in failed.reason) == ("refused", True)
    assert (house.leaks(), house.states()) == ([], [])


@pytest.mark.parametrize(
    "changes", [{"recipients": ()}, {"escrow": ()}, {"payload": "never"}], ids=str
)
def test_without_readers_it_waits(house: House, inbox: Path, changes: dict[str, Any]) -> None:
    (failed,) = take(house.sink(**changes), [put(inbox, SECRET)])
    assert isinstance(failed, Failed)
    assert "name readers in the policy" in failed.reason
    assert (house.leaks(), house.states()) == ([], [])


def test_a_directory_of_bags_encrypts_nothing(house: House, inbox: Path) -> None:
    (house.place / "bags").mkdir()
    sink = DirectorySink(str(house.place / "bags"), house.options())
    (failed,) = take(sink, [put(inbox, SECRET)])
    assert isinstance(failed, Failed)
    assert os.listdir(house.place / "bags") == []


def test_where_all_is_encrypted_what_nobody_describes_waits(house: House, inbox: Path) -> None:
    (inbox / "b.mp4").write_bytes(b"moving pictures")
    given = [put(inbox, SECRET), unit(inbox, "b.mp4")]
    first, second = take(house.sink(payload="always"), given)
    assert isinstance(first, Done)
    assert isinstance(second, Failed)
    assert house.leaks() == []


def test_it_changes_while_it_is_read(
    house: House, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver.statement import making

    asked, encrypt = put(inbox, SECRET), getattr(making, "encrypt")  # noqa: B009

    def meddling(*given: Any) -> None:
        encrypt(*given)
        (inbox / "a.mp4").write_bytes(b"moving pictures, more")

    monkeypatch.setattr(making, "encrypt", meddling)
    (failed,) = take(house.sink(), [asked])
    assert isinstance(failed, Failed)
    assert failed.kind == "changed"
    assert (house.leaks(), house.states()) == ([], [])
    assert list((house.place / "out").rglob(".archiver-*")) == []


# -- what a kill leaves


def prepared(sink: VaultSink, given: Sequence[Unit]) -> Prepared:
    (found,) = sink.prepare(given)
    assert isinstance(found, Prepared)
    return found


def noted(one: Prepared) -> tuple[Unit, str, tuple[str, ...], str]:
    """What the journal remembers."""
    return one.unit, one.item, one.digests, one.described


def dead(sink: VaultSink) -> None:
    """Its process was killed: nobody holds its locks."""
    for one in sink._secret._open.values():
        os.close(one.staged._lock)
        one.staged._lock = -1


def test_killed_before_it_is_in_its_place(house: House, inbox: Path) -> None:
    sink = house.sink()
    one = prepared(sink, [put(inbox, SECRET)])
    dead(sink)
    again = house.sink()
    again.sweep()
    assert house.states() == ["refused"]
    assert again.resume(*noted(one)) is None
    assert list((house.place / "out").rglob(".archiver-statement-*")) == []
    (done,) = taken(again, [one.unit])
    assert house.states() == ["refused", "sealed"]
    assert house.opened(done.bag)[0] == {"a.mp4": b"moving pictures"}
    assert house.leaks() == []


def test_killed_when_it_is_in_its_place(house: House, inbox: Path) -> None:
    sink = house.sink()
    one = prepared(sink, [put(inbox, SECRET)])
    (done,) = sink.commit([one])
    again = house.sink()
    again.sweep()
    assert again.find(one.unit) is None  # no key tells of it
    assert again.resume(*noted(one)) == done
    assert house.states() == ["sealed"]


@pytest.mark.parametrize("swept", [True, False])
def test_killed_between_the_bag_and_the_log(
    house: House, inbox: Path, monkeypatch: pytest.MonkeyPatch, swept: bool
) -> None:
    """The bag is there, its number begun: by whoever looks first it becomes sealed, once."""
    from archiver.ingest import batch

    sink = house.sink()
    one = prepared(sink, [put(inbox, SECRET)])
    end = getattr(batch, "end")  # noqa: B009
    monkeypatch.setattr(batch, "end", lambda *_given: (_ for _ in ()).throw(VaultError("full")))
    (failed,) = sink.commit([one])
    assert isinstance(failed, Failed)
    assert (failed.kind, house.states()) == ("sink", ["begun"])
    monkeypatch.setattr(batch, "end", end)
    again = house.sink()
    if swept:
        again.sweep()
    done = again.resume(*noted(one))
    assert isinstance(done, Done)
    assert (done.item, done.digests) == (one.item, one.digests)
    assert house.states() == ["sealed"]
    (item,) = items(house.vault)
    assert item.detail["description"]["kind"] == "video"
    assert again.is_proved(done, 0)
    assert list((house.place / "out").rglob(".archiver-statement-*")) == []


def test_what_is_dropped_is_withdrawn(house: House, inbox: Path) -> None:
    sink = house.sink()
    one = prepared(sink, [put(inbox, SECRET)])
    sink.abandon([one])
    assert house.states() == ["refused"]
    assert list((house.place / "out").rglob(".archiver-*")) == []
    assert isinstance(sink.commit([one])[0], Failed)


def test_a_disk_that_is_full_leaves_nothing(
    house: House, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver.ingest import batch

    def full(*_given: Any, **_more: Any) -> list[ArchiverError]:
        raise VaultError("full")

    monkeypatch.setattr(batch, "stage_bags", full)
    (failed,) = take(house.sink(), [put(inbox, SECRET)])
    assert isinstance(failed, Failed)
    assert (failed.kind, house.states()) == ("refused", ["refused"])
    assert list((house.place / "out").rglob(".archiver-*")) == []


def test_another_item_is_never_taken_for_it(house: House, inbox: Path) -> None:
    """A journal that somebody wrote into: an original would go for a bag that isn't its own."""
    public = put(inbox, SECRET.replace(b"sealed", b"public"), "b.mp4")
    (other,) = taken(house.sink(), [public])
    sink = house.sink()
    one = prepared(sink, [put(inbox, SECRET)])
    (done,) = sink.commit([one])
    assert isinstance(done, Done)
    for item in (other.item, "c-E-0099", "d-E-0001", "../x"):
        assert house.sink().resume(one.unit, item, one.digests, "") is None
    bag = Path(done.bag, "data/0001.age")
    bag.chmod(0o600)
    bag.write_bytes(bag.read_bytes()[:-1] + b"x")
    assert house.sink().resume(*noted(one)) is None
    assert not house.sink().is_proved(done, 0)
