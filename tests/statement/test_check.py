"""``statement check``: all that is secret opens to the very bytes, or it is said of what not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from archiver.encrypt import encrypt, encrypt_bytes
from archiver.errors import SourceError
from tests.statement.scene import CASE, FILES, ITEM, NAME, Scene, scene, writable
from tests.vault.looking import items

__all__ = ["scene"]


def check(scene: Scene, *words: object, key: str = "reader") -> Any:
    return scene.run("statement", "check", *words, "--identity", scene.keys[key].file)


def harmed(scene: Scene, path: str, data: bytes) -> Path:
    """The item's bag in its place, with other bytes."""
    bag = Path(scene.vault.bag_path(CASE, ITEM))
    for one in (bag, (bag / path).parent):
        one.chmod(0o700)
    (bag / path).unlink(missing_ok=True)
    (bag / path).write_bytes(data)
    return bag


def test_everything_opens_with_each_key_that_should(scene: Scene) -> None:
    scene.take()
    scene.take(files=[])
    for key in ("reader", "escrow"):
        done = check(scene, key=key)
        assert done.code == 0, done.err
        first, second = done.out.splitlines()
        size = sum(map(len, FILES.values()))
        assert first.startswith(f"{ITEM}  ")
        assert "opens: 2 files" in first
        assert "not the witness's identity, which is for other keys" in first
        assert "opens: " in second
        assert "2 of 2 secret items open to the very bytes" in done.err
        (one, _two) = check(scene, "--json", key=key).json["items"]
        assert (one["id"], one["opens"], one["files"], one["bytes"]) == (ITEM, True, 2, size)
        assert one["identity"] is False
    both = check(scene, "--identity", scene.keys["identity"].file)
    assert both.out.count("and the witness's identity") == 2


def test_nothing_is_written_and_nothing_named(scene: Scene) -> None:
    scene.take()
    before = sorted(scene.base.rglob("*"))
    done = check(scene)
    assert sorted(scene.base.rglob("*")) == before
    for word in (NAME, *FILES):
        assert word not in done.out + done.err


@pytest.mark.parametrize("key", ["stranger", "identity"])
def test_other_keys_open_nothing_and_that_is_no_success(scene: Scene, key: str) -> None:
    scene.take()
    done = check(scene, key=key)
    assert done.code == 3
    told = "opens the witness's identity; not the statement"
    assert (told if key == "identity" else "none of these keys opens it") in done.out
    assert "0 of 1 secret item opens" in done.err
    (one,) = check(scene, "--json", key=key).json["items"]
    assert (one["opens"], one["problem"]) == (None, None)
    assert one["identity"] is (True if key == "identity" else None)


@pytest.mark.parametrize(
    "path",
    [
        "data/0001.age",
        "data/0002.age",
        "data/files.json.age",
        "data/identity.age",
        "metadata/description.json.age",
    ],
)
def test_a_ciphertext_that_was_cut_off_is_named(scene: Scene, path: str) -> None:
    bag = scene.take()
    harmed(scene, path, (bag / path).read_bytes()[:-1])
    more = ["--identity", scene.keys["identity"].file]
    done = check(scene, *more)
    assert done.code == 1
    assert "DOES NOT OPEN" in done.out
    (one,) = check(scene, *more, "--json").json["items"]
    assert one["opens"] is False
    assert one["problem"]


def test_half_a_file_sealed_as_a_whole_one_is_found(scene: Scene) -> None:
    """Its bag is valid, and its list tells of the ciphertext as it is: nothing but the key shows
    that it was never whole.
    """

    def losing(source: Any, sink: Any, recipients: Any) -> None:
        class Short:
            def write(self, data: bytes, /) -> None:
                sink.write(data[:-20] if len(data) < 1 << 16 else data)

        encrypt(source, Short(), recipients)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("archiver.statement.making.encrypt", losing)
        bag = scene.take()
    assert scene.run("bag", "verify", bag).code == 0
    done = check(scene)
    assert (done.code, "DOES NOT OPEN" in done.out) == (1, True)


def test_what_a_stranger_encrypted_in_its_place_is_found(scene: Scene) -> None:
    """Who knows the recipients can make a ciphertext that the key opens."""
    scene.take()
    forged = encrypt_bytes(b"I saw nothing.\n", [scene.keys["reader"].recipient])
    harmed(scene, "data/0001.age", forged)
    done = check(scene)
    assert (done.code, "DOES NOT OPEN" in done.out) == (1, True)
    envelope = encrypt_bytes(b"{}", [scene.keys["identity"].recipient])
    harmed(scene, "data/identity.age", envelope)
    assert check(scene, "--identity", scene.keys["identity"].file).code == 1


def test_one_that_does_not_open_hides_no_others(scene: Scene) -> None:
    scene.take()
    scene.take()
    shutil.rmtree(writable(Path(scene.vault.bag_path(CASE, ITEM)), scene.base / "kept"))
    harmed(scene, "data/0001.age", b"nothing")
    done = check(scene)
    assert done.code == 1
    first, second = done.out.splitlines()
    assert "DOES NOT OPEN" in first
    assert "opens: 2 files" in second


def test_a_bag_that_is_gone_is_told(scene: Scene) -> None:
    bag = scene.take()
    bag.rename(scene.base / "elsewhere")
    done = check(scene)
    assert done.code != 0
    assert "DOES NOT OPEN" in done.out
    done = check(scene, scene.base / "elsewhere")
    assert done.code == 0
    assert "opens: 2 files" in done.out


def test_amendments_are_opened_too(scene: Scene) -> None:
    scene.take()
    form = scene.write("more.toml", 'known_gaps = "the second page"\n')
    policy = scene.write(
        "house.toml",
        'extends = "default"\n[encryption]\n'
        f'recipients = ["{scene.keys["reader"].recipient}"]\n'
        f'escrow = ["{scene.keys["escrow"].recipient}"]\n',
    )
    words = ("--form", form, "--reason", "found", "--unsigned", "--policy", policy)
    done = scene.run("describe", "amend", ITEM, *words)
    assert done.code == 0, done.err
    assert check(scene).code == 0
    (record,) = Path(scene.vault.path, "amendments", ITEM).glob("0001.json.age")
    record.chmod(0o600)
    record.write_bytes(record.read_bytes()[:-1])
    assert check(scene).code == 1


def test_words_that_make_no_sense(scene: Scene) -> None:
    done = check(scene)
    assert (done.code, "there is nothing secret" in done.err) == (0, True)
    scene.take()
    for words, message in (
        (["c-E-0009"], "there is no item c-E-0009"),
        (["--case", "d"], "there is no case d"),
        ([ITEM, "--case", CASE], "--case doesn't go with items"),
    ):
        done = check(scene, *words)
        assert (done.code, message in done.err) == (2, True), done.err
    assert scene.run("statement", "check").code == 2


def test_a_log_that_is_broken_is_told(scene: Scene) -> None:
    scene.take()
    log = Path(scene.vault.log_path(CASE))
    log.chmod(0o600)
    log.write_bytes(log.read_bytes().replace(b"W-07", b"W-08", 1))
    done = check(scene)
    assert done.code == 1
    assert "events verify" in done.err


NAMES = [
    "a\\b.txt",
    "C:\\x",
    "..\\..\\x",
    "a\nb",
    "\u202etxt",
    b"caf\xe9.txt",
    "x" * 255,
    "ñ" * 127,
]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_taken_opens_again(scene: Scene, name: str | bytes) -> None:
    place = os.path.join(os.fsencode(scene.home), os.fsencode(name))
    Path(os.fsdecode(place)).write_bytes(b"said")
    taken = scene.run(*scene.words("--remove-original", files=[os.fsdecode(place)]))
    if taken.code:  # then it says so, and nothing is gone
        assert os.path.exists(place)
        assert "error: " in taken.err
        return
    done = check(scene)
    assert (done.code, "opens: 1 file, 4 B" in done.out) == (0, True), done.out
    assert scene.open(ITEM, "-o", "out").code == 0
    (file,) = Path("out").iterdir()
    assert (file.read_bytes(), "\\" in file.name) == (b"said", False)


def test_a_tree_that_is_too_deep_is_refused_before_anything(scene: Scene) -> None:
    from archiver.statement import Plain
    from archiver.statement.making import _check_names

    deep = "/".join("d" for _ in range(64)) + "/x"
    with pytest.raises(SourceError, match="too deep"):
        _check_names([Plain(path="/x", label="file 1", name=deep)])


def test_a_description_that_grows_too_long_is_refused(scene: Scene) -> None:
    form = "\n".join(f'known_gaps = """{chr(10) * 900_000}"""' for _ in range(1))
    scene.write("form.toml", f'witness_code = "W-07"\n{form}\n')
    taken = scene.run(*scene.words("--remove-original"))
    assert taken.code == 2, taken.err
    assert all(one.exists() for one in scene.files)
    assert not [one for one in items(scene.vault) if one.state == "sealed"]
