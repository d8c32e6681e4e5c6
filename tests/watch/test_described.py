"""Side-cars: descriptions of what arrives in a watched folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.policy import WatchPolicy
from archiver.seal.described import described_in
from archiver.vault import create_vault, open_vault
from archiver.watch.clock import Clock
from archiver.watch.journal import Journal
from archiver.watch.logs import JsonLines, WatchLog
from archiver.watch.model import Done, Failed, Prepared, Sink, State
from archiver.watch.sinks import DirectorySink, VaultSink
from archiver.watch.watcher import WatchedRoot, Watcher
from tests.describe.making import filled
from tests.sealing import Office
from tests.vault.looking import items
from tests.watch.scene import QUICK, FastClock
from tests.watch.units import options, take, taken, unit

GOOD = b"kind = 'video'\ntitle = 'Demolition'\nconfidentiality = 'public'\n"
SECRET = b"kind = 'video'\ntitle = 'Maria Quispe'\nconfidentiality = 'sealed'\n"
STATEMENT = b"kind = 'statement'\nwitness_code = 'W-07'\ntitle = 'Maria Quispe'\n"
SPOILT = b"kind = 'video'\nmaria_quispe = 'x'\n"
NOTE = "its description is not understood: line 2: unknown key"
KINDS = ("vault", "directory")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture(params=KINDS)
def sink(request: pytest.FixtureRequest, tmp_path: Path, office: Office) -> Sink:
    if request.param == "vault":
        vault = create_vault(str(tmp_path / "out"), identifier="urn:x", policy="default")
        return VaultSink(vault, "c", options(office.ana))
    (tmp_path / "out").mkdir()
    return DirectorySink(str(tmp_path / "out"), options(office.ana))


def put(inbox: Path, form: bytes, name: str = "a.mp4") -> Any:
    (inbox / name).write_bytes(b"moving pictures")
    (inbox / f"{name}.toml").write_bytes(form)
    return unit(inbox, name, description=f"{name}.toml".encode())


def everything_below(place: Path) -> bytes:
    return b"".join(
        path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()
    ) + b"".join(os.fsencode(path) for path in place.rglob("*"))


# -- what becomes of one


def test_a_form_becomes_a_description(sink: Sink, inbox: Path) -> None:
    asked = put(inbox, GOOD)
    (done,) = taken(sink, [asked])
    found = described_in(done.bag)
    assert found is not None
    assert found.values["title"] == "Demolition"
    assert set(found.recorded) == {"at", "clock", "time_zone", "program"}
    assert found.values.get("case", "") == ("c" if isinstance(sink, VaultSink) else "")
    assert not (Path(done.bag) / "metadata/description.toml").exists()
    assert (done.note, done.described) == ("", hashlib.sha512(GOOD).hexdigest())
    listed = (Path(done.bag) / "tagmanifest-sha512.txt").read_text()
    assert "metadata/description.json" in listed
    assert replace(done) == sink.find(asked)
    if isinstance(sink, VaultSink):
        vault = open_vault(str(inbox.parent / "out"))
        (item,) = items(vault)
        data = (Path(done.bag) / "metadata/description.json").read_bytes()
        assert item.detail["description"]["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("form", "note"),
    [
        (SPOILT, NOTE),
        (b"title = 'x'\n", "line 1: the form doesn't say what it describes: kind = …"),
        (b"kind = 'maria'\n", "line 1: there is no such kind"),
        (b"kind = 'video'\n\xff\n", "line 2: it is not text in UTF-8"),
        (b"kind = 'video'\n\nmaria = [\n", "it is not TOML"),
        (b"kind = 'video'\ntitle = '\\u202e'\nreencoded = 'maria'\n", "line 3: reencoded must"),
        (b"kind = 'video'\ntitle = \"maria \\u202e\"\n", "line 2: title holds control characters"),
        (b"kind='video'\n" + b".".join([b"a"] * 1000) + b" = 1\n", "line 2: a key has too many"),
        (b"[" * (1 << 20), "it is not TOML"),
        (b"", "kind"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_understood_is_kept_as_it_is(
    sink: Sink, inbox: Path, form: bytes, note: str
) -> None:
    asked = put(inbox, form)
    (done,) = taken(sink, [asked])
    assert (Path(done.bag) / "metadata/description.toml").read_bytes() == form
    assert described_in(done.bag) is None
    assert done.described == ""
    assert note in done.note
    assert "maria" not in done.note
    assert done.note.isprintable()
    assert sink.find(asked) == done


def test_another_case_and_unknown_sources(tmp_path: Path, inbox: Path, office: Office) -> None:
    vault = create_vault(str(tmp_path / "out"), identifier="urn:x", policy="default")
    sink = VaultSink(vault, "c", options(office.ana))
    derived = b"kind = 'video'\n[[derived_from]]\nitem = 'c-E-0001'\ntool = 'x'\n"
    other = put(inbox, b"kind = 'video'\ncase = 'maria'\n", "a.mp4")
    early = put(inbox, derived, "b.mp4")
    first, second = taken(sink, [other, early])
    assert first.note.endswith("line 2: it belongs to another case")
    assert second.note.endswith("derived_from names items that are not there")
    late = put(inbox, derived, "c.mp4")
    (third,) = taken(sink, [late])
    assert third.note == ""
    found = described_in(third.bag)
    assert found is not None
    assert found.values["derived_from"] == [{"item": "c-E-0001", "tool": "x"}]


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        STATEMENT,
        SECRET.replace(b"sealed", b"confidential"),
        SECRET + b"titel = 'x'\n",
        SECRET + b"]",
        SECRET.decode().encode("utf-16"),
        STATEMENT + b"\xff",
        STATEMENT.replace(b"\n", b"\r"),
        filled("statement", confidentiality='"sealed"'),
        b"\xef\xbb\xbf" + SECRET.replace(b"\n", b"\r\n"),
    ],
    ids=lambda form: repr(form[-20:]),
)
def test_nothing_confidential_is_put_in_clear(
    sink: Sink, inbox: Path, tmp_path: Path, form: bytes
) -> None:
    asked = put(inbox, form)
    (inbox / "lonely.mp4.toml").write_bytes(form)  # its file isn't there (yet)
    (inbox / "folder").mkdir()
    (inbox / "folder/b.mp4").write_bytes(b"moving pictures")
    (inbox / "folder/b.mp4.toml").write_bytes(form)
    alone = unit(inbox, "lonely.mp4.toml")
    folder = unit(inbox, "folder/b.mp4", "folder/b.mp4.toml")
    for failed in take(sink, [asked, alone, folder]):
        assert isinstance(failed, Failed)
        assert failed.kind == "refused"
        assert "archiver statement new" in failed.reason
        assert "remove" in failed.reason
    told = everything_below(tmp_path / "out")
    assert b"Maria" not in told
    assert b"moving pictures" not in told


# -- attackers


@pytest.mark.parametrize("how", ["link", "fifo", "large", "directory-link", "exchanged", "grows"])
def test_side_cars_that_are_something_else(
    sink: Sink, inbox: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "d.toml").write_bytes(GOOD.replace(b"Demolition", b"elsewhere"))
    (inbox / "a.mp4").write_bytes(b"moving pictures")
    path, name = inbox / "sub/d.toml", b"sub/d.toml"
    path.parent.mkdir()
    if how == "link":
        path.symlink_to(secret / "d.toml")
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "large":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    elif how == "directory-link":
        path.parent.rmdir()
        path.parent.symlink_to(secret)
    else:
        path.write_bytes(GOOD)
        from archiver.watch import described

        real = getattr(described, "open_file")  # noqa: B009

        def changing(root: int, directory: bytes, name: bytes) -> Any:
            found = real(root, directory, name)
            path.write_bytes(GOOD + b"#" * (how == "grows"))
            os.utime(path, ns=(0, 12345))
            return found

        monkeypatch.setattr(described, "open_file", changing)
    (failed,) = take(sink, [unit(inbox, "a.mp4", description=name)])
    assert isinstance(failed, Failed)
    assert failed.kind == "refused"
    assert "toml" not in failed.reason
    assert b"elsewhere" not in everything_below(tmp_path / "out")


def test_a_side_car_that_changed_since_stays(sink: Sink, inbox: Path) -> None:
    asked = put(inbox, GOOD)
    taken(sink, [asked])
    for now in (SPOILT, SECRET, GOOD.replace(b"Demolition", b"Other")):
        (inbox / "a.mp4.toml").write_bytes(now)
        found = sink.find(asked)
        assert found is not None
        assert (found.described, found.note) == ("", "")
    (inbox / "a.mp4.toml").unlink()
    found = sink.find(asked)
    assert found is not None
    assert found.described == ""
    (inbox / "a.mp4.toml").write_bytes(b"# the same\n" + GOOD)
    found = sink.find(asked)
    assert found is not None
    assert found.described == hashlib.sha512(b"# the same\n" + GOOD).hexdigest()


# -- a whole watcher


class Watching:
    """A watched folder and a directory of real bags."""

    def __init__(self, place: Path, office: Office, policy: WatchPolicy) -> None:
        self.place, self.inbox = place, place / "inbox"
        (place / "out").mkdir()
        self.policy, self.clock = policy, FastClock()
        self.journal = Journal(str(place / "state/journal.sqlite"))
        self.sink = DirectorySink(str(place / "out"), options(office.ana))
        self.lines = io.StringIO()
        self.log = WatchLog(JsonLines(self.lines))

    def once(self) -> None:
        root = WatchedRoot(path=str(self.inbox), policy=self.policy, journal=self.journal)
        clock: Clock = self.clock
        watcher = Watcher([root], self.sink, hints=False, clock=clock, tell=self.log.file)
        watcher.run_once()
        self.log.finish(watcher.health())

    def state(self, name: str) -> tuple[State, str]:
        row = self.journal.at(name.encode())
        assert row is not None
        return row.state, row.reason


@pytest.fixture
def watching(inbox: Path, tmp_path: Path, office: Office, request: pytest.FixtureRequest) -> Any:
    made: list[Watching] = []

    def make(**policy: Any) -> Watching:
        made.append(Watching(tmp_path, office, replace(QUICK, **policy)))
        return made[-1]

    yield make
    for one in made:
        one.journal.close()


Make = Callable[..., Watching]


@pytest.mark.parametrize("originals", ["delete", "move"])
def test_a_description_goes_with_its_file(watching: Make, inbox: Path, originals: str) -> None:
    scene = watching(originals=originals, move_to="done" if originals == "move" else "")
    put(inbox, GOOD, "a.mp4")
    put(inbox, SPOILT, "b.mp4")
    scene.once()
    scene.once()
    left = {path.name for path in inbox.iterdir() if path.is_file()}
    assert left == {"b.mp4.toml"}
    assert scene.state("a.mp4.toml")[0] is State.DISPOSED
    state, reason = scene.state("b.mp4.toml")
    assert state is State.ARCHIVED
    assert reason == NOTE
    if originals == "move":
        assert {path.name for path in (inbox / "done").iterdir()} == {
            "a.mp4",
            "a.mp4.toml",
            "b.mp4",
        }
        assert (inbox / "done/a.mp4.toml").read_bytes() == GOOD


def test_a_kill_between_a_file_and_its_description(
    watching: Make, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver.watch import archiving

    scene = watching(originals="delete")
    put(inbox, GOOD, "a.mp4")
    put(inbox, SPOILT, "b.mp4")
    real = getattr(archiving, "dispose")  # noqa: B009

    def killed(root: int, place: str, row: Any, *given: Any, **more: Any) -> str:
        if row.path.endswith(b".toml"):
            raise KeyboardInterrupt
        return str(real(root, place, row, *given, **more))

    monkeypatch.setattr(archiving, "dispose", killed)
    with pytest.raises(KeyboardInterrupt):
        scene.once()
    assert not (inbox / "a.mp4").exists()
    assert (inbox / "a.mp4.toml").exists()
    monkeypatch.setattr(archiving, "dispose", real)
    for _again in range(3):
        scene.once()
    assert os.listdir(inbox) == ["b.mp4.toml"]
    assert scene.state("b.mp4.toml")[0] is State.ARCHIVED
    assert len(list((scene.place / "out").glob("*/bagit.txt"))) == 2


def test_a_description_that_changed_meanwhile_stays(watching: Make, inbox: Path) -> None:
    """What goes is what was archived, byte for byte."""
    scene = watching(originals="delete")
    put(inbox, GOOD, "a.mp4")
    real = scene.sink.is_proved

    def proved(done: Done, replicas: int) -> bool:
        (inbox / "a.mp4.toml").write_bytes(GOOD + b"place = 'there'\n")
        return real(done, replicas)

    scene.sink.is_proved = proved  # type: ignore[method-assign]
    scene.once()
    assert (inbox / "a.mp4.toml").exists()


def test_originals_are_kept_as_a_rule(watching: Make, inbox: Path) -> None:
    scene = watching()
    put(inbox, GOOD, "a.mp4")
    scene.once()
    assert sorted(os.listdir(inbox)) == ["a.mp4", "a.mp4.toml"]


def test_what_is_not_understood_is_told_without_names(watching: Make, inbox: Path) -> None:
    scene = watching()
    put(inbox, SPOILT, "maria.mp4")
    scene.once()
    assert scene.state("maria.mp4") == (State.ARCHIVED, NOTE)
    assert scene.state("maria.mp4.toml") == (State.ARCHIVED, NOTE)
    assert [row.path for row in scene.journal.remarked(10)] == [b"maria.mp4", b"maria.mp4.toml"]
    told = scene.lines.getvalue()
    assert "maria" not in told
    (line,) = [one for one in map(json.loads, told.splitlines()) if one["event"] == "misread"]
    assert (line["count"], line["reason"]) == (1, NOTE)
    (inbox / "maria.mp4.toml").write_bytes(GOOD)
    scene.once()
    assert scene.state("maria.mp4") == (State.ARCHIVED, "")
    assert scene.state("maria.mp4.toml") == (State.ARCHIVED, "")


def test_what_is_confidential_waits_and_is_told(watching: Make, inbox: Path) -> None:
    scene = watching(originals="delete")
    put(inbox, SECRET, "a.mp4")
    put(inbox, GOOD, "b.mp4")
    scene.once()
    for name in ("a.mp4", "a.mp4.toml"):
        state, reason = scene.state(name)
        assert state is State.QUARANTINED
        assert "archiver statement new" in reason
        assert (inbox / name).exists()
    assert scene.state("b.mp4")[0] is State.DISPOSED
    assert b"Maria" not in everything_below(scene.place / "out")
    assert b"Maria" not in everything_below(scene.place / "state")
    (inbox / "a.mp4.toml").write_bytes(GOOD)
    scene.once()
    assert scene.state("a.mp4")[0] is State.DISPOSED


@pytest.mark.parametrize(
    ("form", "kept"), [(GOOD, "description.json"), (SPOILT, "description.toml"), (SECRET, "")]
)
def test_a_folder_is_described_by_a_form_in_it(
    watching: Make, inbox: Path, form: bytes, kept: str
) -> None:
    scene = watching(group="folder")
    (inbox / "one/sub").mkdir(parents=True)
    for name in ("a.mp4", "sub/b.mp4", "sub/description.toml"):
        (inbox / "one" / name).write_bytes(b"x")
    (inbox / "one/description.toml").write_bytes(form)
    scene.once()
    bags = [path.parent for path in (scene.place / "out").glob("*/bagit.txt")]
    if not kept:
        assert bags == []
        assert scene.state("one/a.mp4")[0] is State.QUARANTINED
        return
    (bag,) = bags
    payload = {str(path.relative_to(bag / "data")) for path in (bag / "data").rglob("*.*")}
    assert payload == {"one/a.mp4", "one/sub/b.mp4", "one/sub/description.toml"}
    metadata = {path.name for path in (bag / "metadata").iterdir()}
    assert {name for name in metadata if name.startswith("description")} == {kept}
    assert scene.state("one/description.toml")[0] is State.ARCHIVED


def test_a_folder_with_nothing_but_a_description(watching: Make, inbox: Path) -> None:
    scene = watching(group="folder", originals="delete")
    (inbox / "one").mkdir()
    (inbox / "one/description.toml").write_bytes(GOOD)
    scene.once()
    (bag,) = [path.parent for path in (scene.place / "out").glob("*/bagit.txt")]
    assert (bag / "data/one/description.toml").read_bytes() == GOOD


def test_a_kill_before_the_journal_knows(watching: Make, inbox: Path) -> None:
    """The bag is there, and nothing says so: it is found again, with what was understood."""
    scene = watching(originals="delete")
    put(inbox, GOOD, "a.mp4")
    put(inbox, SPOILT, "b.mp4")
    real = scene.sink.commit

    def killed(prepared: list[Prepared]) -> Any:
        real(prepared)
        raise OSError("killed")

    scene.sink.commit = killed  # type: ignore[assignment,method-assign]
    scene.once()
    scene.sink.commit = real  # type: ignore[method-assign]
    scene.once()
    scene.once()
    assert len(list((scene.place / "out").glob("*/bagit.txt"))) == 2
    assert scene.state("a.mp4.toml")[0] is State.DISPOSED
    assert scene.state("b.mp4.toml") == (State.ARCHIVED, NOTE)
