"""Sources become sealed bags in a vault; the log and the bags say the same."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from archiver.vault import open_vault
from archiver.vault.check import check_logs
from tests.helpers import Ran, run
from tests.sealing import Office, copy, make_source, tree, write_key
from tests.vault.looking import items, reopened


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, office: Office) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARCHIVER_VAULT", str(tmp_path / "vault"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    write_key(office.ana, tmp_path / "keys", "ana")
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    make_source(tmp_path / "source")


@pytest.fixture
def vault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(capsys, "init", "vault").code == 0
    return tmp_path / "vault"


KEY = ("--key", "keys/ana.key")


def take_in(capsys: pytest.CaptureFixture[str], *more: object, source: str = "source") -> Ran:
    return run(capsys, "ingest", source, "--case", "caso-014", *KEY, *more)


def problems(vault: Path) -> list[str]:
    return [one.problem for one in check_logs(open_vault(str(vault))).problems]


def test_a_first_item(vault: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = take_in(capsys, "--json")
    assert done.code == 0
    assert (done.json["id"], done.json["signed"]) == ("caso-014-E-0001", True)
    bag = vault / "bags/caso-014/caso-014-E-0001"
    assert run(capsys, "bag", "verify", bag, "--trust", "ca.pem").code == 0
    assert "External-Identifier: caso-014-E-0001" in (bag / "bag-info.txt").read_text()
    assert not os.stat(bag).st_mode & 0o222
    (listed,) = run(capsys, "list", "--json").json["bags"]  # type: ignore[misc]
    assert listed["state"] == "sealed"  # type: ignore[has-type]
    assert listed["path"] == str(bag)  # type: ignore[has-type]
    assert problems(vault) == []
    kept = (vault / "custody/caso-014.jsonl").read_text()
    assert "video" not in kept  # no source's name is in a log
    assert "source" not in kept


def test_a_second_ingest_of_the_same_source_says_so(
    vault: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take_in(capsys)
    before = tree(vault, signatures=True)
    done = take_in(capsys)
    assert (done.code, "as caso-014-E-0001" in done.err) == (5, True)
    after = tree(vault, signatures=True)
    assert {**after, ".lock": b""} == {**before, ".lock": b""}
    assert take_in(capsys, "--again", "--json").json["id"] == "caso-014-E-0002"
    (Path("source") / "more").write_bytes(b"x")
    assert take_in(capsys, "--json").json["id"] == "caso-014-E-0003"


def test_unsigned_is_called_so(vault: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = ("ingest", "source", "--case", "c")
    refused = run(capsys, *bare)
    assert (refused.code, "--unsigned" in refused.err) == (2, True)
    assert run(capsys, *bare, "--unsigned", *KEY).code == 2
    assert run(capsys, *bare, "--unsigned").code == 0


def test_a_refused_source_keeps_its_number(
    vault: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver import ingest as module
    from archiver.errors import SourceError

    def changed(*_arguments: object, **_options: object) -> None:
        raise SourceError("source/witness-maria.txt changed while it was read")

    monkeypatch.setattr(module, "create_bag", changed)
    assert take_in(capsys).code == 5
    monkeypatch.undo()
    assert [one.state for one in items(reopened(vault))] == ["refused"]
    assert "maria" not in (vault / "custody/caso-014.jsonl").read_text()


def test_events(vault: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take_in(capsys)
    run(capsys, "ingest", "ca.pem", "--case", "other", "--unsigned")
    everything = run(capsys, "events").out.splitlines()
    assert len(everything) == 4
    one = run(capsys, "events", "other-E-0001", "--json").out.splitlines()
    assert [json.loads(line)["type"] for line in one] == ["ingestion start", "ingestion end"]
    shown = run(capsys, "show", "caso-014-E-0001")
    assert "tag_manifest_sha512" in shown.out
    assert run(capsys, "show", "caso-014-E-0001", "--json").json["state"] == "sealed"
    assert "other-E-0001" not in run(capsys, "list", "--case", "caso-014").out


def test_verifying_the_logs(vault: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take_in(capsys)
    done = run(capsys, "events", "verify")
    head = done.out.strip().rpartition(" ")[2]
    take_in(capsys, "--again")
    assert run(capsys, "events", "verify", "--against-head", head).code == 0
    log = vault / "custody/caso-014.jsonl"
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:1]))  # cut behind a head that was written down
    cut = run(capsys, "events", "verify", "--against-head", head, "--json")
    assert cut.code == 1
    # The head, an unknown bag, and the catalog has seen more.
    assert len(cut.json["problems"]) == 3  # type: ignore[arg-type]
    log.write_bytes(b"".join(lines[1:]))
    broken = run(capsys, "events", "verify")
    assert (broken.code, "broken at line 1" in broken.out) == (1, True)
    assert take_in(capsys).code == 1  # nothing is written to a broken log
    assert log.read_bytes() == b"".join(lines[1:])


@pytest.mark.parametrize("how", ["gone", "exchanged", "added"])
def test_bags_that_are_not_those_of_the_log(
    how: str, vault: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take_in(capsys)
    bag = vault / "bags/caso-014/caso-014-E-0001"
    if how == "gone":
        shutil.rmtree(bag)
    elif how == "added":
        copy(bag, bag.with_name("caso-014-E-0009"))
    else:
        run(capsys, "bag", "create", "ca.pem", "-o", "other", *KEY)
        shutil.rmtree(bag)
        shutil.copytree("other", bag)
    done = run(capsys, "events", "verify")
    assert done.code == 1
    word = {"gone": "MISSING", "exchanged": "MODIFIED", "added": "ADDED"}[how]
    assert word in done.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ingest", "source", "--case", "Caso 1", *KEY), 2),
        (("ingest", "nothing", "--case", "c", *KEY), 2),
        (("ingest", "source", "--case", "c", "--vault", "nowhere", *KEY), 2),
        (("show", "c-E-0001"), 2),
        (("events", "c-E-0001"), 2),
        (("events", "--against-head", "x"), 2),
        (("list", "--case", "c"), 2),
        (("init", "vault"), 5),
        (("init", "new", "--policy", "nothing"), 2),
        (("init", "source"), 5),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_wrong_words(
    arguments: tuple[str, ...], code: int, vault: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(vault, signatures=True)
    done = run(capsys, *arguments)
    assert done.code == code, done.err
    lines = done.err.strip().split("\n")
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert tree(vault, signatures=True) == before


def test_without_a_vault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ARCHIVER_VAULT")
    done = run(capsys, "list")
    assert (done.code, "--vault" in done.err) == (2, True)


def begun_only(vault: Path) -> Path:
    """As a kill leaves it after the bag has appeared; the bag."""
    log = vault / "custody/caso-014.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:1]))
    (vault / "catalog.sqlite").unlink()
    return vault / "bags/caso-014/caso-014-E-0001"


def test_a_bag_left_by_a_killed_run_is_written_down(
    vault: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take_in(capsys)
    begun_only(vault)
    done = take_in(capsys, "--json")
    assert (done.code, done.json["recovered"]) == (0, True)
    assert problems(vault) == []


@pytest.mark.parametrize("how", ["changed", "unsigned", "a link", "an empty directory"])
def test_what_was_put_in_place_of_a_bag_is_not_taken_for_it(
    how: str, vault: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its source is then archived under its number, once that is out of the way."""
    take_in(capsys)
    bag = begun_only(vault)
    if how == "changed":
        video = bag / "data/video.mp4"
        video.chmod(0o644)
        video.write_bytes(b"other")
    elif how == "unsigned":
        shutil.rmtree(bag)
        assert run(capsys, "bag", "create", "ca.pem", "-o", bag).code == 0
    elif how == "a link":
        bag.rename(tmp_path / "moved")
        bag.symlink_to(tmp_path / "moved")
    else:
        shutil.rmtree(bag)
        bag.mkdir()
    refused = take_in(capsys)
    assert (refused.code, "not intact" in refused.err) == (5, True)
    bag.rename(tmp_path / "away")
    assert take_in(capsys, "--json").json["id"] == "caso-014-E-0001"
    assert problems(vault) == []


def bare_bag(place: Path, algorithm: str = "md5") -> Path:
    """A bag of another tool."""
    import bagit

    make_source(place, {"photo.jpg": b"photo" * 900, "sub/note.txt": b"note"})
    bagit.make_bag(str(place), checksums=[algorithm])
    return place


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "sha512"])
def test_a_bag_of_another_tool_is_adopted(
    algorithm: str, vault: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = bare_bag(tmp_path / "theirs", algorithm)
    before = tree(bag, signatures=True)
    adopt = ("ingest", bag, "--case", "c", "--adopt", *KEY)
    done = run(capsys, *adopt, "--json")
    assert (done.code, done.json["payload_files"]) == (0, 2), done.err
    assert tree(bag, signatures=True) == before
    ours = vault / "bags/c/c-E-0001"
    for name in (
        "data/photo.jpg",
        "data/sub/note.txt",
        "bag-info.txt",
        f"manifest-{algorithm}.txt",
    ):
        assert (ours / name).read_bytes() == before[name]
    assert run(capsys, "bag", "verify", ours, "--trust", "ca.pem").code == 0
    assert run(capsys, "audit", "--all").code == 0
    assert run(capsys, "replica", "add", "second", "second").code == 0
    assert run(capsys, "replica", "sync").code == 0
    assert run(capsys, "show", "c-E-0001", "--json").json["detail"]["adopted"] is True  # type: ignore[index]
    again = run(capsys, *adopt)
    assert (again.code, "as c-E-0001" in again.err) == (5, True)
    (bag / "bag-info.txt").write_text("Source-Organization: other\n")
    refused = run(capsys, *adopt)  # its tag manifest doesn't agree any more
    assert refused.code == 1
    assert [one.state for one in items(reopened(vault))] == ["sealed", "refused"]
    assert problems(vault) == []


def test_our_own_bag_comes_from_elsewhere(
    vault: Path, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sealed by somebody, now in our vault with our seal beside theirs."""
    write_key(office.ben, tmp_path / "theirs", "ben")
    made = run(capsys, "bag", "create", "source", "-o", "bag", "--key", "theirs/ben.key")
    assert made.code == 0, made.err
    done = run(capsys, "ingest", "bag", "--case", "c", "--adopt", *KEY)
    assert done.code == 0, done.err
    assert len(list((vault / "bags/c/c-E-0001/signatures").glob("*.p7s"))) == 2
    assert problems(vault) == []


def test_a_kill_after_an_adopted_bag_has_appeared(
    vault: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = bare_bag(tmp_path / "theirs")
    adopt = ("ingest", bag, "--case", "caso-014", "--adopt", *KEY)
    assert run(capsys, *adopt).code == 0
    begun_only(vault)
    done = run(capsys, *adopt, "--json")
    assert (done.code, done.json["recovered"], done.json["payload_files"]) == (0, True, 2)
    assert problems(vault) == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("theirs", "source"), 2),
        (("theirs", "--encode-names"), 2),
        (("nothing",), 2),
        (("archive.tar",), 2),
        (("source",), 1),
    ],
    ids=str,
)
def test_what_can_not_be_adopted(
    more: tuple[str, ...],
    code: int,
    vault: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare_bag(tmp_path / "theirs")
    (tmp_path / "archive.tar").write_bytes(b"")
    done = run(capsys, "ingest", *more, "--case", "c", "--adopt", *KEY)
    assert done.code == code, done.err
    assert "hint: " in done.err
    assert not list((vault / "bags").glob("c/*"))


def test_who_makes_a_bag_keeps_nobody_from_writing(
    vault: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bag may take hours: others audit and ingest meanwhile, the numbers have no gaps."""
    from archiver import ingest as module

    take_in(capsys)
    make_source(Path("slow"), {"slow": b"1"})
    make_source(Path("quick"), {"quick": b"2"})
    from archiver.seal import create_bag as real

    def slow(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(module, "create_bag", real)
        assert take_in(capsys, "--json", source="quick").json["id"] == "caso-014-E-0003"
        assert run(capsys, "audit", "--all").code == 0
        twice = take_in(capsys, source="slow")  # the same, while it is being made
        assert twice.code == 0
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "create_bag", slow)
    late = take_in(capsys, source="slow")
    assert (late.code, "exists" in late.err) == (5, True)  # another run was faster
    assert [one.state for one in items(reopened(vault))] == ["sealed"] * 3
    assert problems(vault) == []
