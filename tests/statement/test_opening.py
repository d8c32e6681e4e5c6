"""Statements are opened: whole, by who holds the key, and no hostile bag leads anywhere else.

The hostile ones are sound bags: who makes one can encrypt whatever he likes for us.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.describe import Description
from archiver.describe.description import canonical
from archiver.encrypt import encrypt_bytes
from archiver.errors import FormatError, UnreadableError
from archiver.statement.envelope import (
    DESCRIPTION_PATH,
    FILES_PATH,
    IDENTITY_PATH,
    Contents,
    PlainFile,
    identity_record,
    parse_contents,
    parse_identity,
    payload_path,
    restored_names,
)
from archiver.statement.opening import described
from tests.faults.test_disks import tmpfs
from tests.helpers import Bag
from tests.statement.scene import CASE, FILES, ITEM, NAME, Scene, writable

needs_age = pytest.mark.skipif(
    not shutil.which("age") and os.environ.get("ARCHIVER_CI") != "1", reason="age is needed"
)


def test_what_was_taken_comes_out_as_it_was(scene: Scene) -> None:
    scene.take()
    done = scene.open(ITEM, "-o", "out")
    assert done.code == 0, done.err
    for path, (name, data) in zip(scene.files, FILES.items(), strict=True):
        found = Path("out", name)
        assert found.read_bytes() == data
        assert found.stat().st_mtime_ns == path.stat().st_mtime_ns
        assert stat.S_IMODE(found.stat().st_mode) == 0o600
    assert stat.S_IMODE(os.stat("out").st_mode) == 0o700
    assert "witness_code: W-07" in done.out
    assert "  court: ask" in done.out
    assert NAME not in done.out
    assert list(scene.base.glob(".archiver-*")) == []


def test_the_escrow_opens_it_and_the_others_don_t(scene: Scene) -> None:
    scene.take()
    assert scene.open(ITEM, key="escrow").code == 0
    for key in ("identity", "stranger"):
        done = scene.open(ITEM, "-o", "out", key=key)
        assert (done.code, "none of the keys opens it" in done.err) == (5, True)
        assert not Path("out").exists()


def test_who_the_witness_is_needs_the_key_for_it(scene: Scene) -> None:
    bag = scene.take()
    done = scene.open(ITEM, "--who", key="identity")
    assert done.code == 0
    assert f"name: {NAME}" in done.out
    assert scene.open(bag, "--who", "--json", key="identity").json["identity"]["name"] == NAME  # type: ignore[index]
    for key in ("reader", "escrow", "stranger"):
        done = scene.open(ITEM, "--who", key=key)
        assert done.code == 5
        assert "other keys than the statement" in done.err
        assert NAME not in done.out + done.err
    assert scene.open(ITEM, "--who", "-o", "out", key="identity").code == 2


@pytest.mark.parametrize("form", ["directory", "tar", "zip"])
def test_a_bag_that_was_handed_out_is_opened_without_a_vault(
    scene: Scene, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.take()
    copy = scene.base / ("copy" if form == "directory" else f"copy.{form}")
    done = scene.run(
        "export", ITEM, copy, "--for", "lawyer", "--identity", scene.keys["reader"].file
    )
    assert done.code == 0, done.err
    monkeypatch.delenv("ARCHIVER_VAULT")
    assert scene.open(copy, "-o", "out").code == 0
    assert Path("out/b.bin").read_bytes() == FILES["b.bin"]
    done = scene.open("c-E-0009")
    assert (done.code, "no vault was named" in done.err) == (2, True)


def test_one_file_goes_to_standard_output(scene: Scene) -> None:
    scene.take(files=scene.files[:1])
    done = scene.run_raw(
        "statement", "open", ITEM, "--identity", scene.keys["reader"].file, "-o", "-", "-q"
    )
    assert (done.returncode, done.stdout.encode()) == (0, FILES["Ñandubay.txt"])
    scene.take()
    done = scene.run_raw(
        "statement", "open", "c-E-0002", "--identity", scene.keys["reader"].file, "-o", "-"
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_the_answer_in_json(scene: Scene) -> None:
    scene.take()
    told = scene.open(ITEM, "--json").json
    assert told["code"] == "W-07"
    assert [one["name"] for one in told["files"]] == list(FILES)  # type: ignore[attr-defined]


@needs_age
def test_age_alone_opens_it_in_twenty_years(scene: Scene) -> None:
    """The commands of docs/statements.md, with nothing but age and a shell."""
    bag, keys = scene.take(), scene.keys
    page = Path(__file__).parents[2].joinpath("docs", "statements.md").read_text("utf-8")
    (block,) = (
        one.partition("```")[0] for one in page.split("```sh\n")[1:] if "in twenty years" in one
    )
    environment = {
        **os.environ,
        "BAG": str(bag),
        "KEY": str(keys["reader"].file),
        "IDENTITY_KEY": str(keys["identity"].file),
    }
    Path("old").mkdir()
    done = subprocess.run(
        ["sh", "-euc", block], env=environment, cwd="old", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path("old/0001").read_bytes() == FILES["Ñandubay.txt"]
    assert json.loads(Path("old/files.json").read_text())["files"][0]["name"] == "Ñandubay.txt"
    assert json.loads(Path("old/description.json").read_text())["witness_code"] == "W-07"
    assert NAME in Path("old/identity.json").read_text()


# -- where plain text is put


def test_plain_text_is_put_into_no_vault_replica_or_bag(scene: Scene) -> None:
    bag = scene.take()
    assert scene.run("replica", "add", "second", scene.base / "second").code == 0
    Path("link").symlink_to(scene.vault.path)
    for place in (
        Path(scene.vault.path, "out"),
        Path(scene.vault.path, "bags", "out"),
        scene.base / "second" / "out",
        Path("link", "out"),
        Path("link", "bags", "..", "out"),
        bag / "out",
    ):
        done = scene.open(ITEM, "-o", place)
        assert (done.code, place.exists()) == (5, False), place
        assert "lies in" in done.err
    copy = scene.base / "copy"
    shutil.copytree(bag, copy)
    for inside in ("vault/out", "second/out"):  # nobody says which vault it is of
        ran = scene.run_raw_without_vault(
            "statement", "open", copy, "--identity", scene.keys["reader"].file, "-o", inside
        )
        assert (ran.returncode, Path(inside).exists()) == (5, False)


def test_nothing_is_written_over(scene: Scene) -> None:
    scene.take()
    Path("there").mkdir()
    Path("file").write_text("x")
    Path("dangling").symlink_to("nowhere")
    for place in ("there", "file", "dangling"):
        done = scene.open(ITEM, "-o", place)
        assert (done.code, "exists already" in done.err) == (5, True)
    assert scene.open(ITEM, "-o", "none/out").code == 5
    assert sorted(os.listdir("there")) == []


# -- bags that are not intact


def test_a_bag_that_is_not_intact_is_refused(scene: Scene) -> None:
    bag = writable(scene.take(), scene.base / "copy")
    with open(bag / "bag-info.txt", "ab") as file:
        file.write(b"Contact-Name: x\n")
    done = scene.open(bag, "-o", "out")
    assert (done.code, "is not intact" in done.err) == (1, True)
    assert not Path("out").exists()
    done = scene.open(bag, "-o", "out", "--damaged")
    assert (done.code, "warning" in done.err) == (0, True)


def test_an_item_must_be_the_one_that_was_sealed(scene: Scene) -> None:
    """A sound bag in its place, made for the same readers, is not opened."""
    own = scene.take()
    scene.write("form.toml", 'witness_code = "W-07"\ntitle = "Nothing was seen"\n')
    other = scene.take()
    moved = own.with_name("moved")
    own.rename(moved)
    shutil.copytree(other, own)
    done = scene.open(ITEM)
    assert (done.code, "Nothing was seen" in done.out) == (1, False)


@pytest.mark.parametrize("path", ["data/0001.age", "data/files.json.age", DESCRIPTION_PATH])
def test_altered_ciphertext_leaves_nothing_half_written(scene: Scene, path: str) -> None:
    bag = writable(scene.take(), scene.base / "copy")
    data = (bag / path).read_bytes()
    for changed in (data[:-1], data[:-1] + bytes([data[-1] ^ 1]), data + b"x", b"", b"x" * 300):
        (bag / path).write_bytes(changed)
        done = scene.open(bag, "-o", "out", "--damaged")
        assert done.code == 1, done.err
        assert not Path("out").exists()
        assert list(scene.base.glob(".archiver-*")) == []


# -- hostile statements in sound bags


class Hostile:
    """A statement made by hand for the scene's readers."""

    def __init__(self, scene: Scene, files: Mapping[str, bytes] | None = None) -> None:
        self.scene = scene
        keys = scene.keys
        self.readers = [keys["reader"].recipient]
        self.payload: dict[str, bytes] = {}
        self.files: list[PlainFile] = []
        for number, (name, data) in enumerate((files or {"a.txt": b"alpha"}).items(), start=1):
            self.add(payload_path(number), name, data)
        self.description = Description.checked("statement", {"witness_code": "W-07"})
        self.tags = {DESCRIPTION_PATH: self.encrypt(self.description.to_bytes())}
        self.changes: dict[str, Any] = {}
        self.info = "Archiver-Kind: statement\nArchiver-Code: W-07\n"

    def encrypt(self, data: bytes) -> bytes:
        return encrypt_bytes(data, self.readers)

    def add(self, path: str, name: str, data: bytes) -> None:
        cipher = self.encrypt(data)
        self.payload[path] = cipher
        self.files.append(
            PlainFile(
                path=path,
                name=name,
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                cipher_sha256=hashlib.sha256(cipher).hexdigest(),
            )
        )

    def record(self) -> dict[str, Any]:
        others = {path: hashlib.sha256(data).hexdigest() for path, data in self.tags.items()}
        contents = Contents(case=CASE, code="W-07", files=tuple(self.files), others=others)
        found: dict[str, Any] = json.loads(contents.to_bytes())
        return found | self.changes

    def write(self, place: Path) -> Path:
        listed = self.encrypt(canonical(self.record()))
        files = {FILES_PATH: listed, **self.payload}
        return Bag(files, tag_files=self.tags, info=self.info).write(place)

    def open(self, code: int, message: str) -> None:
        bag = self.write(self.scene.base / "hostile")
        before = {one.name for one in self.scene.base.iterdir()}
        done = self.scene.open(bag, "-o", "out")
        assert done.code == code, (done.out, done.err)
        assert message in done.err
        after = {one.name for one in self.scene.base.iterdir()}
        assert after - before == (set() if code else {"out"})


def test_a_statement_made_by_hand_is_opened(scene: Scene) -> None:
    Hostile(scene).open(0, "")
    assert Path("out/a.txt").read_bytes() == b"alpha"


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a//b", "a/", "/", "a/../b", "a/./b", "a/..", "a/" * 64 + "b",
     "..", ".", "a\0b", "x" * 256, "ñ" * 128, "../../../tmp/x"],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(scene: Scene, name: str) -> None:
    hostile = Hostile(scene)
    hostile.files[0] = replace(hostile.files[0], name=name)
    hostile.open(1, "none that is known")


def test_names_that_mislead_are_made_safe(scene: Scene) -> None:
    names = ["a\n\x1b[31m", "A.txt", "a.TXT", ".bashrc", "", " ", "aux", "NUL.txt", "...", "ñ",
             "n\u0303", "\u202egpj.exe", "0006-a"]  # fmt: skip
    hostile = Hostile(scene, {})
    for number, name in enumerate(names, start=2):
        hostile.add(payload_path(number), name, name.encode())
    hostile.files, hostile.payload = hostile.files[1:], dict(list(hostile.payload.items())[1:])
    hostile.files = [
        replace(one, path=payload_path(number)) for number, one in enumerate(hostile.files, start=1)
    ]
    hostile.payload = {
        payload_path(number): data for number, data in enumerate(hostile.payload.values(), start=1)
    }
    bag = hostile.write(scene.base / "hostile")
    done = scene.open(bag, "-o", "out")
    assert done.code == 0, done.err
    found = os.listdir("out")
    assert len({one.casefold() for one in found}) == len(names)
    assert not any(one.startswith(".") or not one.isprintable() for one in found)
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    stored = sorted(Path("out", one).read_bytes() for one in found)
    assert stored == sorted(name.encode() for name in names)


def test_restored_names_are_told_apart() -> None:
    def files(*names: str) -> tuple[PlainFile, ...]:
        return tuple(
            PlainFile(path="", name=one, size=0, sha256="", cipher_sha256="") for one in names
        )

    assert restored_names(files("a", "A", "a")) == ["a", "0002-A", "0003-a"]
    assert restored_names(files("", "x" * 255)) == ["0001", "0002" + "x" * 20]
    assert restored_names(files("0002-a", "a", "A", "0003-A")) == [
        "0002-a", "a", "0003-A", "0004-0003-A",
    ]  # fmt: skip
    composed, apart = "declaraci\u00f3n", "declaracio\u0301n"  # one name to HFS+ and APFS
    assert restored_names(files(composed, apart, "STRASSE", "stra\u00dfe")) == [
        composed, f"0002-{apart}", "STRASSE", "0004-stra\u00dfe",
    ]  # fmt: skip
    long = "x" * 250
    found = restored_names(files(f"0003-{long}"[:250], long, long, f"0004-{long}"[:250]))
    assert all(len(one) <= 255 for one in found)
    assert len(set(found)) == 4


def test_paths_are_restored_below_their_directories() -> None:
    def restored(*names: str) -> list[str]:
        return restored_names(
            tuple(
                PlainFile(path="", name=one, size=0, sha256="", cipher_sha256="") for one in names
            )
        )

    assert restored("a/b", "a/c", "b/a") == ["a/b", "a/c", "b/a"]
    # Directories that are one on some file systems, and a file where a directory is.
    assert restored("a/b", "A/b", "a", "c", "c/d") == [
        "a/b", "0002-A/b", "0003-a", "c", "0005-c/d",
    ]  # fmt: skip
    assert restored(".git/x", " /y", "aux/z") == ["git/x", "0002/y", "0003aux/z"]
    assert restored("\x1b/x", "_/x") == ["_/x", "0002-_/x"]
    # Deeper than a path may be long: at the top, under its number.
    deep = "/".join("x" * 250 for _part in range(20))
    assert restored("0001", f"{deep}/a", f"{deep}/b") == ["0001", "0002", "0003"]


def test_hostile_paths_stay_in_the_directory(scene: Scene) -> None:
    hostile = Hostile(scene, {"~/x": b"1", ".ssh/authorized_keys": b"2", "x/y": b"3", "X/y": b"4"})
    hostile.open(0, "")
    found = sorted(str(one.relative_to("out")) for one in Path("out").rglob("*") if one.is_file())
    assert found == ["0004-X/y", "ssh/authorized_keys", "x/y", "~/x"]
    assert all(one.stat().st_mode & 0o077 == 0 for one in Path("out").rglob("*"))


def test_ciphertexts_that_were_exchanged_are_noticed(scene: Scene) -> None:
    """Both are for us, both are in the bag: but each has its place."""
    hostile = Hostile(scene, {"yes.txt": b"yes", "no.txt": b"no!"})
    first, second = hostile.payload.values()
    hostile.payload = {payload_path(1): second, payload_path(2): first}
    hostile.open(1, "is not the ciphertext")


def test_another_description_is_noticed(scene: Scene) -> None:
    hostile = Hostile(scene)
    bag_record = hostile.record()
    hostile.tags[DESCRIPTION_PATH] = hostile.encrypt(hostile.description.to_bytes())
    hostile.changes = {"others": bag_record["others"]}
    hostile.open(1, "is not the ciphertext")


def other_witness(hostile: Hostile) -> None:
    other = Description.checked("statement", {"witness_code": "W-08"})
    hostile.tags[DESCRIPTION_PATH] = hostile.encrypt(other.to_bytes())


def other_kind(hostile: Hostile) -> None:
    other = Description.checked("video", {"title": "x"})
    hostile.tags[DESCRIPTION_PATH] = hostile.encrypt(other.to_bytes())


def other_code_in_clear(hostile: Hostile) -> None:
    hostile.info = "Archiver-Kind: statement\nArchiver-Code: W-08\n"


def one_file_more(hostile: Hostile) -> None:
    hostile.payload["data/0002.age"] = hostile.encrypt(b"x")


def one_file_less(hostile: Hostile) -> None:
    hostile.add(payload_path(2), "b", b"x")
    del hostile.payload[payload_path(2)]


def wrong_digest(hostile: Hostile) -> None:
    hostile.files[0] = replace(hostile.files[0], sha256="0" * 64)


def longer_than_told(hostile: Hostile) -> None:
    hostile.files[0] = replace(hostile.files[0], size=4)


def shorter_than_told(hostile: Hostile) -> None:
    hostile.files[0] = replace(hostile.files[0], size=6)


def garbage_for_a_file(hostile: Hostile) -> None:
    cipher = b"age-encryption.org/v1\n" + b"x" * 500
    hostile.payload[payload_path(1)] = cipher
    digest = hashlib.sha256(cipher).hexdigest()
    hostile.files[0] = replace(hostile.files[0], cipher_sha256=digest)


def trailing_bytes(hostile: Hostile) -> None:
    cipher = hostile.payload[payload_path(1)] + b"x"
    hostile.payload[payload_path(1)] = cipher
    digest = hashlib.sha256(cipher).hexdigest()
    hostile.files[0] = replace(hostile.files[0], cipher_sha256=digest)


def no_description(hostile: Hostile) -> None:
    hostile.changes = {"others": hostile.record()["others"]}
    del hostile.tags[DESCRIPTION_PATH]


def bomb_for_a_description(hostile: Hostile) -> None:
    hostile.tags[DESCRIPTION_PATH] = hostile.encrypt(b"\0" * (3 << 20))


def bomb_for_a_file(hostile: Hostile) -> None:
    hostile.payload.clear()
    hostile.files.clear()
    hostile.add(payload_path(1), "a", b"\0" * (3 << 20))
    hostile.files[0] = replace(hostile.files[0], size=100)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (other_witness, "another statement"),
        (other_kind, "another statement"),
        (other_code_in_clear, "another witness"),
        (one_file_more, "differ"),
        (one_file_less, "differ"),
        (wrong_digest, "something else"),
        (longer_than_told, "longer than it may be"),
        (shorter_than_told, "something else"),
        (garbage_for_a_file, "altered or cut off"),
        (trailing_bytes, "altered or cut off"),
        (no_description, "is not there"),
        (bomb_for_a_description, "longer than it may be"),
        (bomb_for_a_file, "longer than it may be"),
    ],
)
def test_hostile_statements(scene: Scene, attack: Any, message: str) -> None:
    hostile = Hostile(scene)
    attack(hostile)
    hostile.open(1, message)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": None},
        {"files": {}},
        {"files": [{}]},
        {"files": [7]},
        {"files": [{"path": "data/0001.age"}]},
        {"others": []},
        {"others": {"data/0001.age": "0" * 64}},
        {"others": {"../../x": "0" * 64, DESCRIPTION_PATH: "0" * 64}},
        {"others": {DESCRIPTION_PATH: 7}},
        {"case": 7},
        {"witness_code": None},
        {"more": 1},
        {"schema": "archiver/statement-files/9"},
    ],
)
def test_lists_of_files_that_are_none(scene: Scene, changes: Any) -> None:
    hostile = Hostile(scene)
    hostile.changes = changes
    hostile.open(1, "known")


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "data/0002.age"}, {"path": "../x"}, {"size": -1}, {"size": "5"}, {"size": True},
        {"size": 1 << 70}, {"mtime_ns": 1.5}, {"mtime_ns": 1 << 64}, {"sha256": "x"},
        {"cipher_sha256": "A" * 64}, {"name": 7}, {"more": 1},
    ],
)  # fmt: skip
def test_files_in_the_list_that_are_none(scene: Scene, changes: Any) -> None:
    record = Hostile(scene).record()
    record["files"][0] |= changes
    with pytest.raises(FormatError):
        parse_contents(canonical(record))
    record["files"] = [record["files"][0]] * 1001
    with pytest.raises(FormatError):
        parse_contents(canonical(record))


def test_a_time_that_no_disk_keeps_is_let_go(scene: Scene) -> None:
    hostile = Hostile(scene)
    hostile.files[0] = replace(hostile.files[0], mtime_ns=(1 << 63) - 1)
    hostile.open(0, "")


def test_what_is_no_statement(scene: Scene) -> None:
    bag = Bag(info="Contact-Name: x\n").write(scene.base / "bag")
    done = scene.open(bag)
    assert (done.code, "the bag is no statement" in done.err) == (1, True)
    done = scene.open(bag, "--who")
    assert (done.code, "the bag is no statement" in done.err) == (1, True)
    assert scene.open(scene.base / "none.tar").code == 2
    assert scene.open(scene.home / "form.toml").code == 2


def test_links_in_a_bag_lead_nowhere(scene: Scene) -> None:
    bag = Hostile(scene).write(scene.base / "hostile")
    (bag / FILES_PATH).unlink()
    (bag / FILES_PATH).symlink_to(scene.home / "form.toml")
    done = scene.open(bag, "--damaged")
    assert done.code in (1, 3)
    assert "witness_code" not in done.out + done.err


def test_an_identity_of_another_witness(scene: Scene) -> None:
    hostile = Hostile(scene)
    record = identity_record(CASE, "W-09", {"name": "x"})
    hostile.payload[IDENTITY_PATH] = hostile.encrypt(record)
    done = scene.open(hostile.write(scene.base / "hostile"), "--who")
    assert (done.code, "another witness" in done.err) == (1, True)
    for wrong in ({"case": CASE}, {"case": CASE, "identity": [], "witness_code": "W-1"}):
        with pytest.raises(FormatError):
            parse_identity(canonical({"schema": "archiver/identity/1", **wrong}))


def test_a_terminal_is_not_steered(scene: Scene) -> None:
    """Whoever encrypts for us writes the description."""
    hostile = Hostile(scene)
    values = {"witness_code": "W-07", "title": "x", "persons_present": ["a", "b"]}
    record = {**json.loads(Description.checked("statement", values).to_bytes())}
    record["title"] = "a\tb\nc\u200b"
    hostile.tags[DESCRIPTION_PATH] = hostile.encrypt(canonical(record))
    done = scene.open(hostile.write(scene.base / "hostile"))
    assert done.code == 0, done.err
    assert "title: a\\tb\\nc\\u200b" in done.out
    assert "  - a\n  - b\n" in done.out


def test_archives_that_are_hostile_are_refused_as_any(scene: Scene) -> None:
    with tarfile.open("evil.tar", "w") as archive:
        member = tarfile.TarInfo("../x")
        archive.addfile(member)
    assert scene.open("evil.tar", "-o", "out").code in (1, 3)
    assert not Path("out").exists()


# -- the description for those who ask about consent


def test_the_description_must_be_the_one_that_was_sealed(scene: Scene) -> None:
    bag = scene.take()
    item, keys = scene.item(), scene.keys["reader"].identities
    found = described(scene.vault, item, lambda: keys)
    assert found is not None
    assert found.values["witness_code"] == "W-07"
    assert described(scene.vault, item, None) is None
    forged = Description.checked("statement", {"consent": {"media": "yes"}}).to_bytes()
    path = bag / DESCRIPTION_PATH
    path.chmod(0o600)
    path.write_bytes(encrypt_bytes(forged, [scene.keys["reader"].recipient]))
    with pytest.raises(FormatError, match="is not the description that was sealed"):
        described(scene.vault, item, lambda: keys)
    path.parent.chmod(0o700)
    path.unlink()
    with pytest.raises(UnreadableError, match="can't be read"):
        described(scene.vault, item, lambda: keys)
    with pytest.raises(FormatError, match="has no description"):
        described(scene.vault, replace(item, detail={}), None)
    elsewhere = {**item.detail, "description": {"path": "../../../etc/passwd"}}
    with pytest.raises(FormatError, match="has no description"):
        described(scene.vault, replace(item, detail=elsewhere), None)


def test_a_disk_that_is_full_or_read_only_leaves_nothing(scene: Scene) -> None:
    scene.take()
    with tmpfs(scene.base / "disk", "size=64k") as disk:
        done = scene.open(ITEM, "-o", disk / "out")
        assert (done.code, list(disk.iterdir())) == (5, [])
    done = scene.open(ITEM, "-o", scene.base / "x" / ("y" * 300))
    assert done.code == 5


def test_a_destination_that_appears_meanwhile_is_not_written_over(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver.filesystem import sync_tree as before

    def meddling(path: str) -> None:
        before(path)
        (scene.base / "out").mkdir()

    scene.take()
    monkeypatch.setattr("archiver.statement.opening.sync_tree", meddling)
    done = scene.open(ITEM, "-o", "out")
    assert (done.code, "exists already" in done.err) == (5, True)
    assert list(Path("out").iterdir()) == []
    assert list(scene.base.glob(".archiver-*")) == []


def test_one_file_goes_to_standard_output_in_this_process(scene: Scene) -> None:
    bag = Hostile(scene).write(scene.base / "hostile")
    done = scene.open(bag, "-q", "-o", "-")
    assert (done.code, done.out) == (0, "alpha")


def test_a_run_that_opens_just_now_is_left_alone(scene: Scene, tmp_path: Path) -> None:
    from archiver.statement.staging import opening_beside

    scene.take()
    place = tmp_path / "here"
    place.mkdir()
    (place / ".archiver-opening-x").mkdir()
    (place / f".archiver-opening-{'0' * 64}").symlink_to(scene.home)
    dead = place / f".archiver-opening-{'1' * 64}"
    (dead / "payload").mkdir(parents=True)
    with opening_beside(str(place / "out")) as alive:
        assert not dead.exists()
        assert scene.open(ITEM, "-o", str(place / "out")).code == 0
        assert Path(alive.payload).is_dir()
    assert sorted(os.listdir(place)) == [
        ".archiver-opening-" + "0" * 64, ".archiver-opening-x", "out",
    ]  # fmt: skip
    assert (scene.home / "form.toml").exists()


def test_names_that_are_too_long_for_a_path_are_opened_all_the_same(scene: Scene) -> None:
    deep = "/".join("x" * 250 for _part in range(60))
    Hostile(scene, {f"{deep}/a": b"1", "b": b"2"}).open(0, "")
    assert {one.name: one.read_bytes() for one in Path("out").iterdir()} == {
        "0001": b"1",
        "b": b"2",
    }
