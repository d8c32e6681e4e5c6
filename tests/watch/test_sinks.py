"""What sinks make of units: each file in exactly one valid bag, or a plain reason why not."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.bag.stage import BatchStaging, sweep_batches
from archiver.errors import KeyringError, StorageError
from archiver.replicate import add_replica, sync
from archiver.seal import Sealing
from archiver.seal.stamping import StampOptions
from archiver.vault import Vault, create_vault
from archiver.vault.check import check_logs
from archiver.watch.model import Done, Failed, Prepared, Sink
from archiver.watch.sinks import DirectorySink, VaultSink
from tests.faults.test_disks import tmpfs
from tests.sealing import NOW, Office, check
from tests.vault.looking import items, links
from tests.watch.units import bags, options, staging, take, taken, unit, units

KINDS = ("vault", "directory")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    place = tmp_path / "inbox"
    place.mkdir()
    for number in range(5):
        (place / f"maria-{number}.jpg").write_bytes(bytes([number]) * (1000 * number))
    return place


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return create_vault(str(tmp_path / "out"), identifier="urn:x", policy="default")


def make_sink(kind: str, place: Path, office: Office, **more: Any) -> Sink:
    opts = replace(options(office.ana), **more)
    if kind == "vault":
        if not (place / "vault.toml").exists():
            create_vault(str(place), identifier="urn:x", policy="default")
        from archiver.vault import open_vault

        return VaultSink(open_vault(str(place)), "c", opts)
    place.mkdir(exist_ok=True)
    return DirectorySink(str(place), opts)


@pytest.fixture(params=KINDS)
def sink(request: pytest.FixtureRequest, tmp_path: Path, office: Office) -> Sink:
    return make_sink(request.param, tmp_path / "out", office)


def sha512(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


def info(bag: str | Path) -> str:
    return (Path(bag) / "bag-info.txt").read_text()


# -- what is made


def test_a_batch(sink: Sink, inbox: Path, tmp_path: Path, office: Office) -> None:
    given = units(inbox)
    done = taken(sink, given)
    for one, asked in zip(done, given, strict=True):
        report = check(Path(one.bag), office.anchors())
        assert report.exit_code == 0
        assert report.facts.signed_digest == one.tag_manifest_sha512
        assert one.digests == (sha512(inbox / os.fsdecode(asked.members[0].path)),)
        assert sink.is_proved(one, 0)
        assert not os.stat(one.bag).st_mode & 0o222
        assert not os.stat(f"{one.bag}/bag-info.txt").st_mode & 0o222
        assert one.item == os.path.basename(one.bag)
    assert len(list(bags(tmp_path / "out"))) == len(given)
    assert staging(tmp_path) == []
    assert "maria" not in " ".join(one.bag for one in done)


def test_what_the_log_says(vault: Vault, office: Office, inbox: Path) -> None:
    sink = VaultSink(vault, "c", options(office.ana))
    done = taken(sink, units(inbox))
    assert [one.item for one in done] == [f"c-E-{number:04}" for number in range(1, 6)]
    assert [one.state for one in items(vault)] == ["sealed"] * 5
    kinds = [one.event.type for one in links(vault, "c")]
    assert kinds == ["ingestion start"] * 5 + ["ingestion end"] * 5
    assert check_logs(vault).problems == ()
    assert "maria" not in Path(vault.log_path("c")).read_text()
    for one, item in zip(done, items(vault), strict=True):
        assert item.detail["tag_manifest_sha512"] == one.tag_manifest_sha512
        assert f"External-Identifier: {one.item}\n" in info(one.bag)


def test_names_of_bags_come_from_units_alone(tmp_path: Path, office: Office, inbox: Path) -> None:
    os.utime(inbox / "maria-1.jpg", ns=(0, 1_795_600_000_000_000_000))
    os.utime(inbox / "maria-2.jpg", ns=(0, -5_000_000_000))
    os.utime(inbox / "maria-3.jpg", ns=(0, 10**19))
    sink = DirectorySink(str(tmp_path), options(office.ana))
    names = [os.path.basename(sink.path(one)) for one in units(inbox)]
    assert names[1] == f"20261125-{units(inbox)[1].key[:12]}"
    assert names[2].startswith("19691231-")
    assert names[3].startswith("22")
    assert [one.item for one in taken(sink, units(inbox))] == names


def test_a_folder_is_one_bag(sink: Sink, inbox: Path) -> None:
    for name in ("b/deep/z", "b/a", "b/deep/c", "b-1"):
        path = inbox / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    names = ("folder/b/deep/z", "folder/b/a", "folder/b-1", "folder/b/deep/c")
    asked = unit(inbox, *names)
    (done,) = taken(sink, [asked])
    wanted = [hashlib.sha512(one.path.removeprefix(b"folder/")).hexdigest()
              for one in asked.members]  # fmt: skip
    assert list(done.digests) == wanted
    assert (Path(done.bag) / "data/folder/b/deep/c").read_bytes() == b"b/deep/c"
    assert sink.find(asked) == done  # in the order of the members, not of the manifest


ODD = (
    b"new\nline", b"no utf8 \xff\xfe", b"\xff" * 255, b"~home", b"C:drive", b"back\\..\\slash",
    "e\u0301".encode(), "\u00e9".encode(), b"=41", b"x" * 255, b"per%cent", b"%0A", b" ", b"-rf",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_names(sink: Sink, tmp_path: Path, office: Office, name: bytes) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(name)
    asked = unit(root, name)
    (done,) = taken(sink, [asked])
    assert check(Path(done.bag), office.anchors()).exit_code == 0
    assert done.digests == (hashlib.sha512(name).hexdigest(),)
    assert sink.find(asked) == done
    lines = (Path(done.bag) / "metadata/filesystem.jsonl").read_text().splitlines()
    (record,) = [one for one in map(json.loads, lines) if one.get("type") == "file"]
    kept = bytes.fromhex(record["name_bytes"]) if "name_bytes" in record else None
    assert (kept or record["path"].removeprefix("data/").encode()) == name


def test_all_odd_names_in_one_bag(sink: Sink, tmp_path: Path, office: Office) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    names = [*ODD, b"TWIN", b"twin"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(name)
    asked = unit(root, *names)
    (done,) = taken(sink, [asked])
    assert check(Path(done.bag), office.anchors()).exit_code == 0
    assert list(done.digests) == [hashlib.sha512(one.path).hexdigest() for one in asked.members]
    assert sink.find(asked) == done


def test_empty_sparse_and_linked(sink: Sink, tmp_path: Path, office: Office) -> None:
    """Entries 25 and 29: the same content, and the same inode, are each their own record."""
    root = tmp_path / "inbox2"
    root.mkdir()
    (root / "empty").touch()
    with open(root / "sparse", "wb") as file:
        file.truncate(300 << 20)
    (root / "one").write_bytes(b"same")
    (root / "two").write_bytes(b"same")
    os.link(root / "one", root / "linked")
    done = taken(sink, units(root))
    assert len({one.bag for one in done}) == 5
    assert all(check(Path(one.bag), office.anchors()).exit_code == 0 for one in done)
    (sparse,) = (Path(one.bag) for one in done if b"sparse" in one.unit.members[0].path)
    assert os.stat(sparse / "data/sparse").st_blocks * 512 < 1 << 20


def test_description_and_former_version(sink: Sink, inbox: Path, office: Office) -> None:
    (inbox / "maria-1.jpg.toml").write_bytes(b"title = 'x' # \xff\r\n")
    first, second = units(inbox)[:2]
    described = replace(second, description=b"maria-1.jpg.toml", follows="c-E-0042")
    plain, done = taken(sink, [first, described])
    bag = Path(done.bag)
    assert (bag / "metadata/description.toml").read_bytes() == b"title = 'x' # \xff\r\n"
    assert "metadata/description.toml" in (bag / "tagmanifest-sha512.txt").read_text()
    assert "Archiver-Follows: c-E-0042\n" in info(bag)
    assert check(bag, office.anchors()).exit_code == 0
    assert "Follows" not in info(plain.bag)


@pytest.mark.parametrize("how", ["link", "large", "gone", "directory"])
def test_descriptions_that_are_none(sink: Sink, inbox: Path, how: str) -> None:
    path = inbox / "d.toml"
    if how == "link":
        path.symlink_to("maria-0.jpg")
    elif how == "large":
        path.write_bytes(bytes((1 << 20) + 1))
    elif how == "directory":
        path.mkdir()
    (failed,) = take(sink, [replace(unit(inbox, "maria-0.jpg"), description=b"d.toml")])
    assert isinstance(failed, Failed)
    assert failed.kind == "refused"
    assert "toml" not in failed.reason


def test_unsigned(tmp_path: Path, inbox: Path) -> None:
    sink = DirectorySink(str(tmp_path), options())
    (done,) = taken(sink, units(inbox)[:1])
    assert not (Path(done.bag) / "signatures").exists()


# -- what changes


def test_one_that_changed_fails_alone(
    sink: Sink, inbox: Path, tmp_path: Path, office: Office
) -> None:
    """Entries 15, 16 and 19, between settling and copying."""
    given = units(inbox)
    with open(inbox / "maria-0.jpg", "ab") as file:
        file.write(b"more")
    before = os.stat(inbox / "maria-1.jpg")
    (inbox / "new").write_bytes(b"y" * before.st_size)
    os.utime(inbox / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (inbox / "new").rename(inbox / "maria-1.jpg")
    (inbox / "maria-2.jpg").unlink()
    (inbox / "maria-3.jpg").unlink()
    os.mkfifo(inbox / "maria-3.jpg")
    outcomes = take(sink, given)
    failed = [one for one in outcomes if isinstance(one, Failed)]
    assert [one.kind for one in failed] == ["changed"] * 4
    assert "maria" not in "".join(one.reason for one in failed)
    assert isinstance(outcomes[4], Done)
    assert len(list(bags(tmp_path / "out"))) == 1


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """``work`` again and again while something else is done."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            work()
            time.sleep(0.002)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("how", ["appended", "replaced"])
@pytest.mark.parametrize("kind", KINDS)
def test_changed_while_it_is_copied(
    kind: str, how: str, tmp_path: Path, inbox: Path, office: Office
) -> None:
    """Entries 15 and 16: appended to, or replaced with its times put back."""
    large = inbox / "maria-9.mp4"
    large.write_bytes(os.urandom(48 << 20))
    (inbox / "spare").write_bytes(large.read_bytes())
    seen = os.stat(large)
    given = [unit(inbox, f"maria-{number}.jpg") for number in (1, 2)]
    given.insert(1, unit(inbox, large.name))
    sink = make_sink(kind, tmp_path / "out", office)

    def append() -> None:
        if staging(tmp_path / "out"):
            with open(large, "ab") as file:
                file.write(b"x")

    os.utime(inbox / "spare", ns=(seen.st_atime_ns, seen.st_mtime_ns))

    def exchange() -> None:
        if staging(tmp_path / "out"):
            with suppress(FileNotFoundError):  # once
                os.rename(inbox / "spare", large)

    with meanwhile(append if how == "appended" else exchange):
        outcomes = take(sink, given)
    assert [type(one) for one in outcomes] == [Done, Failed, Done]
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].kind == "changed"
    assert staging(tmp_path) == []
    if kind == "vault":
        vault = create_or_open(tmp_path / "out")
        assert [one.state for one in items(vault)] == ["sealed", "refused", "sealed"]
        assert check_logs(vault).problems == ()
    again = taken(sink, [unit(inbox, large.name)])
    assert again[0].digests == (sha512(large),)


def create_or_open(place: Path) -> Vault:
    from archiver.vault import open_vault

    return open_vault(str(place))


def test_a_folder_with_twins_is_refused(sink: Sink, inbox: Path) -> None:
    for name in ("D/maria", "d/maria"):
        (inbox / name).parent.mkdir()
        (inbox / name).write_bytes(name.encode())
    failed, done = take(sink, [unit(inbox, "D/maria", "d/maria"), unit(inbox, "maria-1.jpg")])
    assert isinstance(failed, Failed)
    assert failed.kind == "refused"
    assert "E-SRC-004" in failed.reason
    assert "maria" not in failed.reason
    assert isinstance(done, Done)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(sink: Sink, inbox: Path) -> None:
    (inbox / "maria-0.jpg").chmod(0)
    (failed,) = take(sink, [unit(inbox, "maria-0.jpg")])
    assert isinstance(failed, Failed)
    assert failed.kind == "refused"


# -- again


def test_again_and_find(sink: Sink, inbox: Path, tmp_path: Path) -> None:
    given = units(inbox)
    assert sink.find(given[0]) is None
    done = taken(sink, given)
    assert [sink.find(one) for one in given] == done
    assert taken(sink, given) == done  # a repeat does no harm
    assert len(list(bags(tmp_path / "out"))) == len(given)
    (inbox / "maria-0.jpg").write_bytes(b"new")
    assert sink.find(unit(inbox, "maria-0.jpg")) is None


def test_the_same_twice_in_a_batch(sink: Sink, inbox: Path, tmp_path: Path) -> None:
    one = units(inbox)[1]
    done, failed = take(sink, [one, one])
    assert isinstance(done, Done)
    assert isinstance(failed, Failed)
    assert failed.kind == "changed"
    assert len(list(bags(tmp_path / "out"))) == 1


def test_abandoned(sink: Sink, inbox: Path, tmp_path: Path) -> None:
    given = units(inbox)
    first = [one for one in sink.prepare(given) if isinstance(one, Prepared)]
    assert staging(tmp_path)
    assert list(bags(tmp_path / "out")) == []
    sink.abandon(first[:2])
    assert staging(tmp_path)
    sink.abandon(first[2:])
    assert staging(tmp_path) == []
    lost = sink.commit(first)
    assert [one.kind for one in lost if isinstance(one, Failed)] == ["changed"] * 5
    done = taken(sink, given)
    assert [one.item for one in done] == [one.item for one in first]  # no number is lost


def test_another_run_was_faster(tmp_path: Path, inbox: Path, office: Office) -> None:
    for kind in KINDS:
        place = tmp_path / kind
        sink, other = (make_sink(kind, place, office) for _turn in range(2))
        given = units(inbox)[:2]
        ours = [one for one in sink.prepare(given) if isinstance(one, Prepared)]
        theirs = taken(other, given)
        assert sink.commit(ours) == theirs
        assert staging(place) == []
        assert len(list(bags(place))) == 2


def test_the_place_is_taken(tmp_path: Path, inbox: Path, office: Office) -> None:
    sink = DirectorySink(str(tmp_path / "out"), options(office.ana))
    (tmp_path / "out").mkdir()
    given = units(inbox)[:2]
    os.mkdir(sink.path(given[0]))
    failed, done = take(sink, given)
    assert isinstance(failed, Failed)
    assert failed.kind == "refused"
    assert isinstance(done, Done)
    assert os.listdir(sink.path(given[0])) == []
    other = replace(given[1], key=given[1].key[:12] + "0" * 52)  # the same name, another unit
    (taken_name,) = take(sink, [other])
    assert isinstance(taken_name, Failed)
    assert sink.find(other) is None


def test_a_bag_left_by_a_killed_run(vault: Vault, inbox: Path, office: Office) -> None:
    """The bag is there, the log knows only that it was begun."""
    sink = VaultSink(vault, "c", options(office.ana))
    given = units(inbox)[:3]
    done = taken(sink, given)
    log = Path(vault.log_path("c"))
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    Path(vault.catalog).unlink()
    assert sink.find(given[0]) == done[0]
    assert taken(sink, given) == done
    assert [one.state for one in items(vault)] == ["sealed"] * 3
    assert check_logs(vault).problems == ()


def test_a_bag_left_by_a_killed_run_that_is_not_intact(
    vault: Vault, inbox: Path, office: Office
) -> None:
    sink = VaultSink(vault, "c", options(office.ana))
    given = units(inbox)[1:3]
    done = taken(sink, given)
    log = Path(vault.log_path("c"))
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    Path(vault.catalog).unlink()
    flip(Path(done[0].bag) / "data/maria-1.jpg")
    failed, good = take(sink, given)
    assert isinstance(failed, Failed)
    assert failed.kind == "refused"
    assert good == done[1]


def flip(path: Path) -> None:
    """One bit."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


# -- what keeps a sink from working


def test_locked(vault: Vault, inbox: Path, office: Office) -> None:
    sink = VaultSink(vault, "c", replace(options(office.ana), wait_seconds=0.0))
    given = units(inbox)[:2]
    with vault.locked("test", 0.0):
        failed = take(sink, given)
    assert [one.kind for one in failed if isinstance(one, Failed)] == ["sink", "sink"]
    assert items(vault) == []
    assert len(taken(sink, given)) == 2


def test_without_its_key(tmp_path: Path, inbox: Path, office: Office) -> None:
    sealing = Sealing(signers=(office.ana,), stamps=StampOptions())
    there: list[Sealing] = []

    def ask() -> Sealing:
        if not there:
            raise KeyringError("the key is locked")
        return there[0]

    for kind in KINDS:
        there.clear()
        sink = make_sink(kind, tmp_path / kind, office, sealing=ask)
        assert sink.problem() == "the key is locked"
        (failed,) = take(sink, units(inbox)[:1])
        assert isinstance(failed, Failed)
        assert (failed.kind, failed.reason) == ("sink", "the key is locked")
        sink.sweep()
        there.append(sealing)
        assert sink.problem() == ""
        assert len(taken(sink, units(inbox))) == 5


def test_gone(sink: Sink, tmp_path: Path, inbox: Path) -> None:
    assert sink.problem() == ""
    given = units(inbox)[:1]
    os.rename(tmp_path / "out", tmp_path / "away")
    assert sink.problem()
    (failed,) = take(sink, given)
    assert isinstance(failed, Failed)
    assert failed.kind == "sink"
    assert sink.find(given[0]) is None if isinstance(sink, DirectorySink) else True
    shutil_gone(tmp_path / "out")
    os.rename(tmp_path / "away", tmp_path / "out")
    assert sink.problem() == ""
    assert len(taken(sink, given)) == 1


def shutil_gone(place: Path) -> None:
    with suppress(FileNotFoundError):
        subprocess.run(["rm", "-rf", place], check=True)


@needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_read_only(kind: str, tmp_path: Path, inbox: Path, office: Office) -> None:
    """Entry 37: paused, nothing quarantined; no number lost when it can be written again."""
    with tmpfs(tmp_path / "disk", "size=64m") as disk:
        sink = make_sink(kind, disk / "out", office)
        given = units(inbox)
        taken(sink, given[:1])
        ready = [one for one in sink.prepare(given[1:3]) if isinstance(one, Prepared)]
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert "written" in sink.problem()
        for outcome in (*sink.commit(ready), *take(sink, given[3:])):
            assert isinstance(outcome, Failed)
            assert outcome.kind == "sink"
            assert "maria" not in outcome.reason
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert sink.problem() == ""
        sink.sweep()
        assert staging(disk) == []
        done = taken(sink, given)
        assert len({one.item for one in done}) == 5
        assert len(list(bags(disk))) == 5
        if kind == "vault":
            states = [one.state for one in items(create_or_open(disk / "out"))]
            assert states == ["sealed"] * 5


@needs_root
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", ["bytes", "inodes"])
def test_full(kind: str, limit: str, tmp_path: Path, inbox: Path, office: Office) -> None:
    """Entries 3 and 5: what fits is done, what doesn't waits, and is done once there is room."""
    (inbox / "large").write_bytes(os.urandom(2 << 20))
    room = "size=1500k" if limit == "bytes" else "size=64m,nr_inodes=60"
    with tmpfs(tmp_path / "disk", room) as disk:
        sink = make_sink(kind, disk / "out", office, reserve_bytes=0)
        given = units(inbox)
        outcomes = take(sink, given)
        kinds = {one.kind for one in outcomes if isinstance(one, Failed)}
        assert kinds == {"sink"}
        assert "maria" not in "".join(one.reason for one in outcomes if isinstance(one, Failed))
        full = make_sink(kind, disk / "out", office, reserve_bytes=1 << 30)
        assert "no space" in full.problem()
        for bag in bags(disk):
            assert check(bag, office.anchors()).exit_code == 0
        more = "remount,size=64m" if limit == "bytes" else "remount,nr_inodes=9000"
        subprocess.run(["mount", "-o", more, disk], check=True)
        assert len({one.bag for one in taken(sink, given)}) == 6
        assert len(list(bags(disk))) == 6
        assert staging(disk) == []


# -- proved


def test_proved_with_replicas(vault: Vault, inbox: Path, office: Office, tmp_path: Path) -> None:
    """Entries 34 and 36: a bit flipped, a replica away or behind."""
    sink = VaultSink(vault, "c", options(office.ana))
    one, other = taken(sink, units(inbox)[1:3])
    assert sink.is_proved(one, 0)
    assert not sink.is_proved(one, 1)
    add_replica(vault, "second", str(tmp_path / "second"), 10.0)
    assert not sink.is_proved(one, 1)
    assert not any(copied.problem for copied in sync(vault, vault.replicas(), lambda: NOW))
    assert sink.is_proved(one, 1)
    assert not sink.is_proved(one, 2)
    os.rename(tmp_path / "second", tmp_path / "away")
    assert not sink.is_proved(one, 1)
    os.rename(tmp_path / "away", tmp_path / "second")
    assert sink.is_proved(one, 1)
    flip(tmp_path / "second/bags/c" / other.item / "data/maria-2.jpg")
    assert not sink.is_proved(other, 1)
    assert sink.is_proved(other, 0)
    flip(Path(other.bag) / "data/maria-2.jpg")
    assert not sink.is_proved(other, 0)
    assert not sink.is_proved(replace(one, tag_manifest_sha512="0" * 128), 0)
    assert not sink.is_proved(replace(one, item="c-E-0099"), 0)


def test_a_directory_has_no_replicas(tmp_path: Path, inbox: Path, office: Office) -> None:
    sink = DirectorySink(str(tmp_path), options(office.ana))
    (done,) = taken(sink, units(inbox)[1:2])
    assert sink.is_proved(done, 0)
    assert not sink.is_proved(done, 1)
    flip(Path(done.bag) / "data/maria-1.jpg")
    assert not sink.is_proved(done, 0)
    assert sink.find(units(inbox)[1]) is None
    assert not sink.is_proved(replace(done, bag=str(tmp_path / "none")), 0)


# -- staging


def test_sweeping(tmp_path: Path) -> None:
    """What is dead goes, what is alive stays."""
    alive = BatchStaging(str(tmp_path))
    alive.open()
    alive.slot(str(tmp_path / "bag"))
    dead = tmp_path / ".archiver-batch-0123456789abcdef"
    (dead / "0/data").mkdir(parents=True)
    (dead / "0/data").chmod(0o500)
    (tmp_path / ".archiver-batch-link").symlink_to(tmp_path)
    with pytest.raises(StorageError):
        sweep_batches(str(tmp_path))  # a link in the place of staging is not followed
    (tmp_path / ".archiver-batch-link").unlink()
    sweep_batches(str(tmp_path))
    assert os.listdir(tmp_path) == [os.path.basename(alive.path)]
    alive.close()
    assert os.listdir(tmp_path) == []
    sweep_batches(str(tmp_path / "none"))


def test_staging_tells_nothing(sink: Sink, inbox: Path, tmp_path: Path) -> None:
    prepared = [one for one in sink.prepare(units(inbox)) if isinstance(one, Prepared)]
    (name,) = staging(tmp_path)
    (place,) = (tmp_path / "out").rglob(name)
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o700
    assert sorted(os.listdir(place)) == ["0", "1", "2", "3", "4"]
    sink.abandon(prepared)
