"""Statements are taken: ciphertext alone is written, nothing but a code stands in clear."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

import archiver.statement as module
from archiver.catalog.model import BEGUN, REFUSED, SEALED
from archiver.describe import Description
from archiver.encrypt import decrypt_bytes
from archiver.errors import (
    ArchiverError,
    KeyringError,
    PolicyError,
    SourceError,
    StorageError,
    UsageError,
)
from archiver.ingest import IngestOptions
from archiver.policy import EncryptionPolicy, Policy
from archiver.statement import (
    Heard,
    Keys,
    Plain,
    Statement,
    check_keys,
    making,
    remove_original,
    take,
)
from archiver.statement.envelope import (
    MAX_FILES,
    parse_contents,
    parse_identity,
    read_identity_form,
)
from archiver.statement.staging import Staged, settle_left, staged_in
from archiver.vault.check import check_logs
from tests.bag.making import OPTIONS
from tests.faults.test_disks import tmpfs
from tests.sealing import Office, write_key
from tests.statement.scene import (
    CASE,
    FILES,
    FORM,
    ITEM,
    NAME,
    WHO,
    Scene,
    hidden,
    pair,
    standard_input,
)
from tests.vault.looking import items, links

CREATE = replace(OPTIONS, policy=Policy(name="test"))
INGEST = IngestOptions(create=CREATE)


def keys(scene: Scene, **changes: Any) -> Keys:
    found: dict[str, Any] = {
        "readers": (scene.keys["reader"].recipient,),
        "escrow": (scene.keys["escrow"].recipient,),
        "identity": (scene.keys["identity"].recipient,),
    }
    return Keys(**found | changes)


def statement(scene: Scene, **changes: Any) -> Statement:
    values = {"witness_code": "W-07", "confidentiality": "confidential"}
    found: dict[str, Any] = {
        "description": Description.checked("statement", values),
        "identity": {"name": NAME},
        "files": tuple(Plain(str(one), "file") for one in scene.files),
    }
    return Statement(**found | changes)


def take_one(scene: Scene, **changes: Any) -> Any:
    return take(scene.vault, CASE, statement(scene, **changes), keys(scene), INGEST)


# -- what is made


def test_a_statement_is_sealed_with_nothing_but_a_code_in_clear(scene: Scene) -> None:
    bag = scene.take()
    (item,) = items(scene.vault)
    told = item.detail["description"]
    cipher = (bag / "metadata/description.json.age").read_bytes()
    assert (item.state, item.item) == (SEALED, ITEM)
    assert told == {
        "code": "W-07",
        "kind": "statement",
        "path": "metadata/description.json.age",
        "sha256": hashlib.sha256(cipher).hexdigest(),
    }
    names = sorted(str(one.relative_to(bag)) for one in bag.rglob("*") if one.is_file())
    assert [one for one in names if one.startswith("data/")] == [
        "data/0001.age", "data/0002.age", "data/files.json.age", "data/identity.age",
    ]  # fmt: skip
    info = (bag / "bag-info.txt").read_text()
    assert "Archiver-Kind: statement\nArchiver-Code: W-07\n" in info
    everything = b"".join(one.read_bytes() for one in Path(scene.vault.path).rglob("*.*") if one.is_file())  # noqa: E501  # fmt: skip
    for word in (NAME, "Xochiquetzal", "andubay", "the square", "I saw it", "999 123", "form.toml"):
        assert word.encode() not in everything
    assert hidden(scene.vault) == []
    assert check_logs(scene.vault).problems == ()
    assert scene.run("bag", "verify", bag).code == 0
    assert scene.run("audit", "--all").code == 0


def test_each_part_is_for_its_own_recipients(scene: Scene) -> None:
    bag = scene.take()
    who = (bag / "data/identity.age").read_bytes()
    listed = (bag / "data/files.json.age").read_bytes()
    for name in ("reader", "escrow"):
        identities = scene.keys[name].identities
        assert decrypt_bytes((bag / "data/0001.age").read_bytes(), identities, 1 << 20)
        assert parse_contents(decrypt_bytes(listed, identities, 1 << 20)).code == "W-07"
        with pytest.raises(KeyringError, match="none of the keys"):
            decrypt_bytes(who, identities, 1 << 20)
    identity = scene.keys["identity"].identities
    record = parse_identity(decrypt_bytes(who, identity, 1 << 20))
    assert record["identity"]["name"] == NAME
    assert record["identity"]["date_of_birth"] == "1980-02-29"
    for path in ("data/0001.age", "data/files.json.age", "metadata/description.json.age"):
        with pytest.raises(KeyringError, match="none of the keys"):
            decrypt_bytes((bag / path).read_bytes(), identity, 1 << 20)


def test_the_list_of_files_binds_every_ciphertext(scene: Scene) -> None:
    bag = scene.take()
    data = (bag / "data/files.json.age").read_bytes()
    found = parse_contents(decrypt_bytes(data, scene.keys["reader"].identities, 1 << 20))
    assert (found.case, [one.name for one in found.files]) == (CASE, list(FILES))
    for one, plain_path, plain in zip(found.files, scene.files, FILES.values(), strict=True):
        assert one.cipher_sha256 == hashlib.sha256((bag / one.path).read_bytes()).hexdigest()
        assert (one.size, one.sha256) == (len(plain), hashlib.sha256(plain).hexdigest())
        assert one.mtime_ns == plain_path.stat().st_mtime_ns
    for path, digest in found.others.items():
        assert hashlib.sha256((bag / path).read_bytes()).hexdigest() == digest
    assert set(found.others) == {"data/identity.age", "metadata/description.json.age"}


def test_the_key_in_the_log_is_made_by_chance(scene: Scene) -> None:
    """The same statement twice: nothing in the log says that it is the same."""
    scene.take()
    scene.take()
    started = [one.event.detail for one in links(scene.vault, CASE) if "key" in one.event.detail]
    first, second = (one["key"] for one in started)
    assert first != second
    assert first.startswith("statement:")
    digests = {hashlib.sha256(data).hexdigest() for data in FILES.values()}
    log = Path(scene.vault.log_path(CASE)).read_text()
    assert not any(one in log for one in digests)


def test_the_answer_in_json(scene: Scene) -> None:
    done = scene.run(*scene.words("--json"))
    assert done.json["id"] == ITEM
    assert done.json["code"] == "W-07"
    assert (done.json["files"], done.json["identity"]) == (2, True)
    assert NAME not in done.out


def test_what_is_still_owed_is_told_and_keeps_nothing_from_being_sealed(scene: Scene) -> None:
    scene.write("form.toml", 'witness_code = "W-1"\n')
    done = scene.run(*scene.words())
    assert done.code == 0
    assert "still owes: consent" in done.err
    description = scene.open(ITEM, "--json").json["description"]
    assert description == {"case": "c", "confidentiality": "confidential", "witness_code": "W-1"}


def test_standard_input_is_encrypted_as_it_comes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_back = standard_input(monkeypatch, b"spoken words")
    try:
        scene.take(files=["-"])
    finally:
        put_back()
    assert scene.open(ITEM, "-o", "out").code == 0
    assert Path("out/0001").read_bytes() == b"spoken words"


def test_forms_and_lists_come_through_pipes_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [one for one in scene.words(files=[]) if one != str(scene.home / "form.toml")]
    words.insert(words.index("--form") + 1, "-")
    listed = scene.write("list", "\0".join(map(str, scene.files)) + "\0")
    put_back = standard_input(monkeypatch, FORM.encode())
    try:
        done = scene.run(*words, "--files-from", listed)
    finally:
        put_back()
    assert done.code == 0, done.err
    assert len(scene.open(ITEM, "--json").json["files"]) == 2  # type: ignore[arg-type]


def test_a_dash_in_a_list_is_a_file(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list itself came through standard input: nothing is left of that to be sealed."""
    monkeypatch.chdir(scene.home)
    put_back = standard_input(monkeypatch, b"-\n")
    try:
        done = scene.run(*scene.words("--files-from", "-", files=[]))
        assert done.code == 5
        assert "No such file" in done.err
        assert [one.state for one in items(scene.vault)] in ([], [REFUSED])
    finally:
        put_back()
    Path("-").write_bytes(b"spoken words")
    put_back = standard_input(monkeypatch, b"-\n")
    try:
        done = scene.run(*scene.words("--files-from", "-", files=[]))
    finally:
        put_back()
    assert done.code == 0, done.err
    (item,) = (one.item for one in items(scene.vault) if one.state == SEALED)
    assert scene.open(item, "-o", "out").code == 0
    assert [one.read_bytes() for one in Path("out").iterdir()] == [b"spoken words"]


def test_when_it_was_recorded_and_how_good_the_clock_was(scene: Scene) -> None:
    bag = scene.take()
    cipher = (bag / "metadata/description.json.age").read_bytes()
    data = decrypt_bytes(cipher, scene.keys["reader"].identities, 1 << 20)
    recorded = Description.parse(data).recorded
    assert sorted(recorded) == ["at", "clock", "program", "time_zone"]
    assert recorded["at"].endswith("Z")
    assert recorded["time_zone"][0] in "+-"


# -- who may read what


def test_without_an_escrow_it_is_refused_unless_that_is_said(scene: Scene) -> None:
    words = scene.words()
    at = words.index("--escrow")
    del words[at : at + 2]
    done = scene.run(*words)
    assert (done.code, "no escrow recipient" in done.err) == (2, True)
    assert items(scene.vault) == []
    assert scene.run(*words, "--no-escrow").code == 0


@pytest.mark.parametrize("who", ["reader", "escrow"])
def test_readers_must_not_open_the_identity_unless_that_is_said(scene: Scene, who: str) -> None:
    more = ["--identity-recipient", scene.keys[who].recipient]
    done = scene.run(*scene.words(*more))
    assert done.code == 2
    assert "would open the identity too" in done.err
    assert scene.run(*scene.words(*more, "--identity-to-readers")).code == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"readers": ()}, "who may read"),
        ({"escrow": ()}, "no escrow"),
        ({"identity": ()}, "who may know"),
        ({"readers": ("age1x",)}, "no age recipient"),
        ({"identity": ("age1x",)}, "no age recipient"),
    ],
)
def test_keys_that_are_not_enough(scene: Scene, changes: Any, message: str) -> None:
    with pytest.raises(ArchiverError, match=message):
        check_keys(keys(scene, **changes), identity_kept=True)


def test_the_policy_names_recipients(scene: Scene) -> None:
    found = scene.keys
    Path("p.toml").write_text(
        f'extends = "default"\n[encryption]\npayload = "always"\n'
        f'recipients = ["{found["reader"].recipient}"]\nescrow = ["{found["escrow"].recipient}"]\n'
        f'identity = ["{found["identity"].recipient}"]\n'
    )
    words = ["statement", "new", "--case", "c", "--unsigned", "--form", scene.home / "form.toml"]
    words += ["--identity", scene.home / "who.toml", "--policy", "p.toml"]
    assert scene.run(*words).code == 0
    for name, code in (("reader", 0), ("escrow", 0), ("stranger", 5)):
        assert scene.open(ITEM, key=name).code == code
    assert scene.open(ITEM, "--who", key="identity").code == 0


def test_recipients_come_from_files(scene: Scene) -> None:
    other = pair(scene.base / "other.key")
    Path("readers").write_text(f"# two\n{scene.keys['reader'].recipient}\n{other.recipient}\n")
    scene.take("--recipient", "readers")
    done = scene.run("statement", "open", ITEM, "--identity", other.file)
    assert done.code == 0
    Path("readers").write_text("# two\nage1q\n")
    done = scene.run(*scene.words("--recipient", "readers"))
    assert done.code == 5
    assert "readers:2: what stands there is no age recipient" in done.err
    Path("readers").write_text(scene.keys["reader"].file.read_text())
    done = scene.run(*scene.words("--recipient", "readers"))
    assert "AGE-SECRET-KEY" not in done.err


def test_a_policy_that_never_encrypts_takes_no_statements(scene: Scene) -> None:
    never = Policy(name="open", encryption=EncryptionPolicy(payload="never"))
    options = IngestOptions(create=replace(CREATE, policy=never))
    with pytest.raises(PolicyError, match="never encrypts"):
        take(scene.vault, CASE, statement(scene), keys(scene), options)
    assert items(scene.vault) == []


# -- what is refused


@pytest.mark.parametrize("code", ["Maria", "MARIA-ÑANDUBAY", "w-7", "", "Xochiquetzal Ñandubay"])
def test_a_name_is_no_code(scene: Scene, code: str) -> None:
    scene.write("form.toml", FORM.replace("W-07", code))
    done = scene.run(*scene.words())
    assert done.code == 2
    assert not code or code not in done.err
    assert items(scene.vault) == []
    assert not Path(scene.vault.path, "custody", "c.jsonl").exists()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (f'{NAME} = "x"', "form"),
        (f'"{NAME}" = "x"', "form"),
        (f'witness = "{NAME}"', "witness_code"),
        (f'kind = "{NAME}"', "Known keys"),
        ('kind = "video"', "form"),
        (f'witness_code = "W-07"\nsigned = "{NAME}"', "form:2"),
        (f'witness_code = "W-07"\nminor = "{NAME}', "form"),
        ('witness_code = "W-07"\ncase = "another"', "another case"),
        ("", "no code"),
    ],
)
def test_a_form_that_is_wrong_is_told_without_what_stands_in_it(
    scene: Scene, form: str, words: str
) -> None:
    """Standard error may be a log: it gets the line and the keys that there are."""
    scene.write("form.toml", form)
    for more in ((), ("--debug",)):
        done = scene.run_raw(*scene.words(*more))
        assert done.returncode in (1, 2)
        assert words in done.stderr or more
        assert "andubay" not in done.stderr
    assert items(scene.vault) == []


@pytest.mark.parametrize(
    "data",
    [f"name = {NAME}", f"[{NAME}", "", "# nothing\n", f'name = "{NAME}"\nname = "x"',
     f'a = [[[[[["{NAME}"]]]]]]', "x = nan", "\xff" * 10, f'n = "{"x" * (1 << 20)}"'],
)  # fmt: skip
def test_an_identity_form_that_is_wrong_shows_nothing(scene: Scene, data: str) -> None:
    encoded = data.encode("latin-1" if "\xff" in data else "utf-8")
    scene.home.joinpath("who.toml").write_bytes(encoded)
    if data == "x = nan":
        assert read_identity_form(encoded, "x") == {"x": "nan"}
        return
    for more in ((), ("--debug",)):
        done = scene.run_raw(*scene.words(*more))
        assert done.returncode in (1, 2)
        assert "the identity form" in done.stderr
        assert "andubay" not in done.stderr
    assert items(scene.vault) == []


def test_the_identity_is_anything(scene: Scene) -> None:
    text = 'name = "N"\nage = 44\nborn = 1980-01-01T00:00:00Z\nphones = ["1", "2"]\n'
    found = read_identity_form(f"{text}[family]\nmother = true\nsize = 1.5\n".encode(), "x")
    assert found["family"] == {"mother": True, "size": "1.5"}
    assert found["born"] == "1980-01-01T00:00:00+00:00"
    done = take_one(scene, identity=found)
    assert done.ingested.item == ITEM
    assert "phones:" in scene.open(ITEM, "--who", key="identity").out


@pytest.mark.parametrize("what", ["missing", "directory", "pipe", "no name"])
def test_a_file_that_can_t_be_taken_is_told_without_its_path(scene: Scene, what: str) -> None:
    path = scene.home / "Ñandubay, María"
    if what == "directory":
        path.mkdir()
    if what == "pipe":
        os.mkfifo(path)
    wanted = f"{path}\0" if what == "no name" else str(path)
    listed = scene.write("list", wanted)
    words = ["--files-from", listed] if what != "no name" else []
    if what == "no name":
        with pytest.raises(SourceError, match="file"):
            take_one(scene, files=(Plain(wanted, "file 1"),))
        return
    for more in ((), ("--debug",)):
        done = scene.run_raw(*scene.words(*more, *words, files=[]))
        assert done.returncode == (1 if more else 5)
        assert "file 1" in done.stderr
        assert "andubay" not in done.stderr
        assert "Mar" not in done.stderr
    assert hidden(scene.vault) == []
    assert items(scene.vault) == []


def test_a_file_that_changes_while_it_is_read_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver.encrypt import encrypt as before

    def meddling(reader: Any, writer: Any, recipients: Any) -> None:
        before(reader, writer, recipients)
        scene.files[0].write_bytes(b"other")

    monkeypatch.setattr(making, "encrypt", meddling)
    with pytest.raises(SourceError, match="changed while it was read"):
        take_one(scene)
    assert hidden(scene.vault) == []


def test_too_much_at_once(scene: Scene) -> None:
    many = tuple(Plain(str(scene.files[0]), "x") for _number in range(MAX_FILES + 1))
    with pytest.raises(UsageError, match="at most"):
        take_one(scene, files=many)
    with pytest.raises(UsageError, match="none of a statement"):
        take_one(scene, description=Description.checked("video", {}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--files-from", "-", "-"], "only one"),
        (["--no-identity"], "doesn't go with"),
        (["--key", "ana"], "contradict each other"),
        (["--policy", "statement"], "1 signature is required; keys that were given: 0"),
        (["--identity", "/nonexistent/x"], "No such file"),
        (["--files-from", "/nonexistent/x"], "No such file"),
        (["--recipient", "/nonexistent/x"], "no recipient file"),
    ],
)
def test_options_that_make_no_sense(scene: Scene, more: list[str], message: str) -> None:
    done = scene.run(*scene.words(*more))
    assert done.code in (2, 5)
    assert message in done.err
    assert "/nonexistent/x" not in done.err or "recipient" in message
    assert items(scene.vault) == []


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000, "9223372036854775808"])
def test_a_number_that_no_toml_has(scene: Scene, number: str) -> None:
    (scene.home / "who.toml").write_text(f"name = 'Xochiquetzal'\nage = {number}\n")
    done = scene.run(*scene.words())
    assert (done.code, done.err.count("error:")) == (2, 1)
    assert "Xochi" not in done.err
    assert "Traceback" not in done.err
    assert items(scene.vault) == []


# -- what goes wrong leaves nothing


def test_a_full_disk_leaves_nothing_and_withdraws_the_number(scene: Scene) -> None:
    with tmpfs(scene.base / "disk", "size=3m") as disk:
        assert scene.run("init", disk / "vault").code == 0
        big = scene.write("big", os.urandom(2 << 20))
        done = scene.run(*scene.words("--vault", disk / "vault", files=[big]))
        assert done.code == 5
        assert "archiver-statement" not in done.err or "andubay" not in done.err
        from archiver.vault import open_vault

        vault = open_vault(str(disk / "vault"))
        assert hidden(vault) == []
        assert {one.state for one in items(vault)} <= {REFUSED}
        assert scene.run(*scene.words("--vault", disk / "vault", files=[])).code == 0
        assert check_logs(vault).problems == ()


@pytest.mark.parametrize("error", [StorageError("x"), KeyboardInterrupt(), RuntimeError("x")])
def test_whatever_goes_wrong_in_the_bag_withdraws_the_number(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    from archiver import ingest

    def failing(*_arguments: Any, **_named: Any) -> None:
        raise error

    monkeypatch.setattr(ingest, "create_bag", failing)
    with pytest.raises(type(error)):
        take_one(scene)
    monkeypatch.undo()
    monkeypatch.setenv("ARCHIVER_VAULT", str(scene.base / "vault"))
    assert hidden(scene.vault) == []
    (item,) = items(scene.vault)
    assert (item.state, item.detail["reason"]) == (REFUSED, "interrupted")
    assert take_one(scene).ingested.item == "c-E-0002"


def test_what_a_killed_run_left_is_removed_and_its_number_ended(scene: Scene) -> None:
    """A directory whose run is alive is left alone."""
    scene.take()
    dead = begin_and_die(scene, bag=False)
    settled = scene.run(*scene.words("--json")).json["settled"]
    assert settled == ["c-E-0002"]
    assert not Path(dead).exists()
    states = {one.item: (one.state, one.detail.get("reason")) for one in items(scene.vault)}
    assert states["c-E-0002"] == (REFUSED, "interrupted")
    assert states["c-E-0003"] == (SEALED, None)
    with staged_in(scene.vault, CASE) as alive:
        assert settle_left(scene.vault, INGEST) == []
        assert os.path.isdir(alive.payload)
        assert stat.S_IMODE(os.stat(alive.path).st_mode) == 0o700
    assert hidden(scene.vault) == []


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(5, "I/O error")])
def test_one_that_cannot_be_ended_keeps_no_other_from_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """What another user has left is for that one's next run; a disk that fails is told."""
    vault, opened = scene.vault, os.open
    staged = [staged_in(vault, CASE).__enter__() for _number in range(2)]
    places = sorted(one.path for one in staged)
    for one in staged:
        one.leave()

    def failing(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path) == places[0]:
            raise error
        return opened(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        if isinstance(error, PermissionError):
            assert settle_left(vault, INGEST) == []
        else:
            with pytest.raises(StorageError, match="I/O error"):
                settle_left(vault, INGEST)
    assert [os.path.exists(one) for one in places] == [True, False]
    assert settle_left(vault, INGEST) == []
    assert hidden(vault) == []


def begin_and_die(scene: Scene, *, bag: bool) -> str:
    """What a run leaves that is killed before, or after, its bag appears."""
    place = "end" if bag else "create_bag"
    script = f"""
import os, sys
import archiver.ingest as ingest
ingest.{place} = lambda *a, **k: os._exit(9)
from archiver.cli import main
main(sys.argv[1:])
"""
    words = scene.words()
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 9, done.stderr
    (left,) = Path(scene.vault.path, "bags").glob(".archiver-statement-*")
    return str(left)


def test_a_bag_that_appeared_before_the_kill_is_sealed_by_the_next_run(scene: Scene) -> None:
    dead = begin_and_die(scene, bag=True)
    (item,) = items(scene.vault)
    assert item.state == BEGUN
    assert scene.run(*scene.words("--json")).json["settled"] == [ITEM]
    assert not Path(dead).exists()
    found = scene.item()
    assert found.state == SEALED
    assert found.detail["description"]["code"] == "W-07"
    assert scene.open(ITEM, "-o", "out").code == 0
    assert scene.run("audit", "--all").code == 0
    assert check_logs(scene.vault).problems == ()


def test_a_bag_that_was_damaged_since_is_not_sealed(scene: Scene) -> None:
    begin_and_die(scene, bag=True)
    cipher = Path(scene.vault.bag_path(CASE, ITEM), "data", "0001.age")
    cipher.chmod(0o600)
    cipher.write_bytes(b"x" * cipher.stat().st_size)
    done = scene.run(*scene.words())
    assert done.code == 5
    assert "is not intact" in done.err
    assert scene.item().state == BEGUN


def test_strange_things_beside_the_staging_are_left_alone(scene: Scene) -> None:
    bags, token = Path(scene.vault.path, "bags"), "0" * 64
    link = bags / f".archiver-statement-{CASE}-{token}"
    link.symlink_to(scene.home)
    (bags / f".archiver-statement-{CASE}-1{token[1:]}").write_text("a file")
    (bags / ".archiver-statement-..").mkdir()
    assert scene.run(*scene.words()).code == 5  # a vault with a link in it is no vault
    assert scene.files[0].exists()
    link.unlink()
    scene.take()
    assert len(hidden(scene.vault)) == 2


# -- plain files that are left


def test_plain_files_that_are_left_are_told_without_their_names_in_logs(scene: Scene) -> None:
    done = scene.run(*scene.words())
    assert done.err.count("still lies there") == 4
    assert "andubay" not in done.err
    assert all(one.exists() for one in scene.files)


def test_they_are_removed_where_that_is_wanted(scene: Scene) -> None:
    done = scene.run(*scene.words("--remove-original"))
    assert done.code == 0
    assert "4 plain files were removed" in done.err
    assert "To remove is not to erase" in done.err
    assert list(scene.home.iterdir()) == []


def test_a_file_that_was_given_twice_is_removed_once(scene: Scene) -> None:
    twice = [scene.files[0], scene.home / "." / scene.files[0].name]
    done = scene.run(*scene.words("--remove-original", files=twice))
    assert done.code == 0, done.err
    assert "3 plain files were removed" in done.err
    assert not scene.files[0].exists()


def test_nothing_is_removed_but_what_was_sealed(scene: Scene) -> None:
    scene.take()
    (file, other), vault = scene.files, scene.vault
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(SourceError, match="is not what was sealed"):
        remove_original(vault, ITEM, Plain(str(other), "x"), digest)
    cipher = Path(vault.bag_path(CASE, ITEM), "data", "0001.age")
    cipher.chmod(0o600)
    data = cipher.read_bytes()
    cipher.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for name in (ITEM, "c-E-0009"):
        with pytest.raises(SourceError, match="is not intact"):
            remove_original(vault, name, Plain(str(file), "x"), digest)
    cipher.write_bytes(data)
    remove_original(vault, ITEM, Plain(str(file), "x"), digest)
    assert (file.exists(), other.exists()) == (False, True)
    with pytest.raises(SourceError, match="can't be read"):
        remove_original(vault, ITEM, Plain(str(file), "x"), digest)


def test_a_plain_file_in_a_watched_folder_is_named_as_such(scene: Scene) -> None:
    done = scene.run("watch", scene.home, "--case", "w", "--unsigned", "--once", "--dry-run")
    done = scene.run(
        "watch", scene.home, "-o", scene.base / "out", "--once", "--quiet-period", "1s"
    )
    assert done.code in (0, 5), done.err  # 5: what looks secret is held back
    done = scene.run(*scene.words())
    assert "still lies in a watched folder" in done.err


# -- keys


def test_a_key_pair_is_made(scene: Scene) -> None:
    done = scene.run("statement", "key", "-o", "new.key")
    assert done.code == 0
    text = Path("new.key").read_text()
    assert done.out.strip() in text
    assert stat.S_IMODE(os.stat("new.key").st_mode) == 0o600
    assert "AGE-SECRET-KEY" not in done.out + done.err
    again = scene.run("statement", "key", "-o", "new.key")
    assert again.code == 5
    assert Path("new.key").read_text() == text
    assert scene.run("statement", "key", "-o", "none/new.key").code == 5
    done = scene.run("statement", "key", "-o", "more.key", "--json")
    assert str(done.json["recipient"]).startswith("age1")
    scene.take("--recipient", done.json["recipient"])
    assert scene.run("statement", "open", ITEM, "--identity", "more.key").code == 0


def test_a_key_that_others_can_read_is_refused(scene: Scene) -> None:
    scene.take()
    scene.keys["reader"].file.chmod(0o644)
    done = scene.open(ITEM)
    assert done.code == 5
    assert "can be read by others" in done.err


def test_who_sat_there_is_asked_for_nothing_where_nobody_sits(scene: Scene) -> None:
    done = scene.run_raw("statement", "new", "--case", "c", "--unsigned", *scene.recipients())
    assert done.returncode == 2
    assert "nobody is at a terminal" in done.stderr
    assert json.dumps(WHO) not in done.stderr


# -- paths that other tests reach in processes of their own


@pytest.mark.parametrize("data", [b"", b"name = x", b"\xff", b"a = [[[[[[1]]]]]]", b"#\n"])
def test_identity_forms_that_are_none(data: bytes) -> None:
    with pytest.raises(UsageError, match="the form"):
        read_identity_form(data, "the form")
    with pytest.raises(UsageError, match="too long"):
        read_identity_form(b"#" * (1 << 20), "the form")


def test_where_nobody_sits_nothing_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.write("form.toml", f'witness_code = "W-07"\nsigned = "{NAME}"\n')
    done = scene.run(*scene.words())
    assert (done.code, NAME in done.err) == (2, False)
    assert "error: the form:2: signed must be one of: signed, thumb-printed, refused" in done.err
    scene.write("form.toml", 'kind = "video"\n')
    done = scene.run(*scene.words())
    assert "the form:1: this must be of the kind statement, and it is of the kind video" in done.err
    assert "Did you mean" not in done.err
    scene.write("form.toml", 'witness_code = "W-07"\ncase = "another"\n')
    assert "another case" in scene.run(*scene.words()).err
    scene.write("form.toml", "#" * (2 << 20))
    assert "too long" in scene.run(*scene.words()).err
    monkeypatch.setattr("archiver.cli.statement_forms.sits_there", lambda: True)
    scene.write("form.toml", 'witness = "W-07"\n')
    assert "form.toml:1: unknown key witness" in scene.run(*scene.words()).err


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 4), (None, 4)])
def test_who_sits_there_is_asked_whether_to_remove(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, answer: str | None, left: int
) -> None:
    from tests.statement.test_asking import Typed

    def terminal() -> Typed:
        if answer is None:
            raise UsageError("none")
        return Typed(answer)

    for one in ("cli.statement_forms", "statement.sources"):
        monkeypatch.setattr(f"archiver.{one}.sits_there", lambda: True)
    monkeypatch.setattr("archiver.cli.asking.Terminal", terminal)
    done = scene.run(*scene.words())
    assert done.code == 0
    assert len(list(scene.home.iterdir())) == left
    assert "Ñandubay.txt" in done.err


def test_what_is_asked_for_in_this_process(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.statement.test_asking import Typed

    class Seated(Typed):
        def ask(self, question: str) -> str:
            told = {"code of": "W-3", "name of the w": NAME, "A file": str(scene.files[0])}
            found = next((one for key, one in told.items() if key in question), "")
            if "A file" in question and question in self.said:
                return ""
            self.said.append(question)
            return found

    monkeypatch.setattr("archiver.cli.asking.Terminal", Seated)
    words = ["statement", "new", "--case", "c", "--unsigned", *scene.recipients()]
    done = scene.run(*words)
    assert done.code == 0, done.err
    assert scene.open(ITEM, "--json").json["code"] == "W-3"


def test_a_disk_that_fails_while_ciphertext_is_written(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_ignored: object) -> None: ...

        def close(self) -> None: ...

        def write(self, _data: bytes) -> int:
            raise OSError(5, "Input/output error", "/x")

    monkeypatch.setattr(Staged, "create", lambda _self, _path: Failing())
    for files in ((), (Plain(str(scene.files[0]), "file"),)):
        with pytest.raises(StorageError, match="Input/output error"):
            take_one(scene, files=files)
    assert hidden(scene.vault) == []


def test_a_plain_file_that_can_t_be_read_to_its_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def read(self, _size: int) -> bytes:
            raise OSError(5, "Input/output error", str(scene.files[0]))

        def fileno(self) -> int:
            return 0

    from contextlib import contextmanager

    @contextmanager
    def opened(_plain: Plain) -> Any:
        yield Failing()

    monkeypatch.setattr(making, "opened", opened)
    with pytest.raises(SourceError, match="file can't be read: Input/output error"):
        take_one(scene)


def test_a_directory_that_was_taken_for_a_dead_run_s_is_made_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    make, tries = os.mkdir, list[str]()

    def meddling(path: Any, *arguments: Any) -> None:
        make(path, *arguments)
        if "archiver-statement" in str(path) and len(tries) < 2:
            tries.append(str(path))
            shutil.rmtree(path)

    monkeypatch.setattr(os, "mkdir", meddling)
    with staged_in(scene.vault, CASE) as staged:
        assert os.path.isdir(staged.payload)
        assert len(tries) == 2
    tries.clear()
    monkeypatch.setattr(os, "mkdir", lambda *_arguments: (_ for _ in ()).throw(OSError(30, "ro")))
    with pytest.raises(StorageError), staged_in(scene.vault, CASE):
        pass


def test_a_vault_whose_bags_are_gone(scene: Scene) -> None:
    vault = scene.vault
    os.rmdir(Path(vault.path, "bags"))
    with pytest.raises(StorageError):
        settle_left(vault, INGEST)


def test_a_signed_statement_proves_who_sealed_it(scene: Scene, office: Office) -> None:
    write_key(office.ana, scene.base / "keys", "ana")
    words = [one for one in scene.words("--key", "keys/ana.key", "--json") if one != "--unsigned"]
    done = scene.run(*words)
    assert done.code == 0, done.err
    (item,) = items(scene.vault)
    assert item.detail["signatures"] == 1
    Path("ca.pem").write_bytes(office.ca.certificate.pem)
    done = scene.run("bag", "verify", done.json["path"], "--trust", "ca.pem")
    assert done.code == 0, done.err
    assert scene.open(ITEM).code == 0


def test_progress_hears_of_the_plain_bytes(scene: Scene) -> None:
    class Told:
        def __init__(self) -> None:
            self.expected, self.heard, self.files, self.cleared = (0, 0), 0, 0, False

        def expect(self, size_bytes: int, files: int) -> None:
            self.expected = (size_bytes, files)

        def done(self, _size_bytes: int, files: int) -> None:
            self.files += files

        def within(self, size_bytes: int) -> None:
            self.heard += size_bytes

        def clear(self) -> None:
            self.cleared = True

    told, size = Told(), sum(map(len, FILES.values()))
    take(scene.vault, CASE, statement(scene), keys(scene), INGEST, heard=Heard(encrypting=told))
    assert (told.expected, told.heard, told.files) == ((size, 2), size, 2)
    assert told.cleared


def test_swap_in_clear_is_warned_of(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.secrecy.clear_swaps", lambda: ["/dev/sdz9"])
    done = scene.run(*scene.words())
    assert done.code == 0
    assert "/dev/sdz9: swap that is not encrypted" in done.err
    assert "swap" not in scene.run(*scene.words("-q")).err


def test_a_protected_key_asks_for_its_passphrase(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("secret").write_text("correct horse battery\n")
    Path("secret").chmod(0o600)
    done = scene.run("statement", "key", "-o", "p.key", "--passphrase-file", "secret")
    assert done.code == 0, done.err
    assert b"AGE-SECRET-KEY" not in Path("p.key").read_bytes()
    scene.take("--recipient", done.out.strip())
    monkeypatch.setattr("archiver.cli.keys.prompt", lambda _text: b"correct horse battery")
    assert scene.run("statement", "open", ITEM, "--identity", "p.key").code == 0


def test_a_link_is_not_removed_in_the_place_of_what_it_leads_to(scene: Scene) -> None:
    link = scene.home / "link.txt"
    link.symlink_to(scene.files[0])
    done = scene.run(*scene.words("--remove-original", files=[link, scene.files[1]]))
    assert (done.code != 0, "is a link" in done.err) == (True, True), done.err
    assert scene.files[0].exists()
    assert not scene.files[1].exists()
    assert not (scene.home / "form.toml").exists()


def test_another_name_of_a_removed_file_is_told(scene: Scene) -> None:
    other = scene.home / "other.txt"
    os.link(scene.files[0], other)
    done = scene.run(*scene.words("--remove-original"))
    assert (done.code != 0, "under another name" in done.err) == (True, True), done.err
    assert other.exists()
    assert not any(one.exists() for one in scene.files)


def test_what_takes_a_files_place_while_it_is_proved_stays(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.take()
    path, data = scene.files[0], scene.files[0].read_bytes()
    digest = hashlib.sha256(data).hexdigest()

    opened = making.opened

    @contextlib.contextmanager
    def swapped(plain: Plain) -> Iterator[Any]:
        with opened(plain) as file:
            yield file
        path.rename(scene.home / "moved")
        path.write_bytes(b"something new")

    monkeypatch.setattr(module, "opened", swapped)
    with pytest.raises(SourceError):
        remove_original(scene.vault, ITEM, Plain(str(path), "file 1"), digest)
    assert path.read_bytes() == b"something new"


@pytest.mark.parametrize("text", ["a." * 100_000 + "b = 1", "x = " + "[" * 100_000])
def test_a_hostile_identity_form_takes_no_memory(text: str) -> None:
    with pytest.raises(UsageError, match="not shown"):
        read_identity_form(text.encode(), "f")


def test_a_statement_without_a_file_is_told(scene: Scene) -> None:
    done = scene.run(*scene.words(files=[]))
    assert (done.code, "only the description is kept" in done.err) == (0, True)
    assert "only the description" not in scene.run(*scene.words()).err
