"""Where it is not plain what something is, or for whom it is: doubt keeps it back, and says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archiver.amend import Wanted, amend
from archiver.consent import is_statement
from archiver.describe import DESCRIPTION_PATH, Description
from archiver.policy import ScanPolicy, load_policy
from archiver.scan import scan_payload
from archiver.vault.check import check_logs
from tests.bag.making import ROOT
from tests.helpers import Bag
from tests.sealing import NOW, make_source
from tests.statement.scene import CASE, FORM, ITEM, Scene
from tests.statement.test_handing_out import exported, hand_out, key
from tests.statement.test_secret_items import house

__all__ = ["house"]
LABELS = "Archiver-Kind: statement\nArchiver-Code: W-07\n"
PRETTY = json.dumps({"kind": "statement", "of_a_later_schema": 1}, indent=1).encode()
ARMORED = b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"


# -- a statement of another house


@pytest.mark.parametrize(
    ("info", "tags"),
    [
        (LABELS, {}),
        (LABELS.upper(), {}),
        ("Archiver-Kind: \n statement\n", {}),
        ("", {"metadata/description.json.age": ARMORED}),
        ("", {DESCRIPTION_PATH: PRETTY}),
    ],
)
def test_a_statement_in_a_form_that_nobody_knows_is_one(
    scene: Scene, info: str, tags: dict[str, bytes]
) -> None:
    made = Bag({"data/0001.age": b"a"}, info="Contact-Name: x\n" + info, tag_files=tags)
    bag = made.write(scene.base / "received")
    assert scene.run("ingest", bag, "--adopt", "--case", CASE, "--unsigned").code == 0
    assert is_statement(scene.vault, scene.item())
    done = hand_out(scene)
    assert (done.code, "for what purpose" in done.err) == (4, True), done.err
    done = hand_out(scene, "--for", "media")
    assert (done.code, "--consent-confirmed-by" in done.err) == (4, True), done.err
    done = hand_out(scene, "--for", "media", "--consent-confirmed-by", "R-02")
    assert done.code == 0, done.err
    assert exported(scene)[0]["consent"]["basis"] == "confirmed"
    assert check_logs(scene.vault).problems == ()


def test_what_only_speaks_of_statements_is_none(scene: Scene) -> None:
    words = "Contact-Name: Archiver-Kind: statement\nDescription: Archiver-Code\n"
    made = Bag({"data/a": b"a"}, info=words, tag_files={DESCRIPTION_PATH: b'["kind", "statement"]'})
    bag = made.write(scene.base / "received")
    assert scene.run("ingest", bag, "--adopt", "--case", CASE, "--unsigned").code == 0
    assert hand_out(scene).code == 0


def test_a_consent_can_be_recorded_of_one_that_nobody_can_read(scene: Scene) -> None:
    bag = Bag({"data/0001.age": b"a"}, info=LABELS).write(scene.base / "received")
    assert scene.run("ingest", bag, "--adopt", "--case", CASE, "--unsigned").code == 0
    values = {"confidentiality": "public", "consent": {"media": "no", "court": "yes"}}
    wanted = Wanted(reason="asked", kind="statement", set=values)
    amend(scene.vault, scene.item(), wanted, NOW, policy=load_policy("default"))
    assert hand_out(scene, "--for", "media", "--consent-confirmed-by", "R-02").code == 4
    assert hand_out(scene, "--for", "court").code == 0


# -- what is not said to be public


@pytest.mark.parametrize("word", ["restricted", "confidential", "sealed", ""])
def test_a_statement_is_never_packed_in_clear(house: Scene, word: str) -> None:
    said = f'confidentiality = "{word}"\n' if word else ""
    form = house.write("s.toml", f'kind = "statement"\n{said}{FORM}')
    words = ("--describe", form, "--case", CASE, "--unsigned")
    assert house.run("ingest", house.files[0], *words).code == 2
    assert house.run("bag", "create", house.files[0], "-o", "bag", "--describe", form).code == 2
    assert not Path("bag").exists()


def test_a_name_is_no_code_in_whichever_form(house: Scene) -> None:
    form = house.write("s.toml", 'kind = "statement"\nwitness_code = "Ana Lopez"\n')
    words = ("--describe", form, "--case", CASE, "--unsigned")
    for command in (
        ("describe", "check", form),
        ("ingest", house.files[0], *words),
        ("bag", "create", house.files[0], "-o", "bag", "--describe", form),
    ):
        done = house.run(*command)
        assert (done.code, "no code: it must look like W-07" in done.err + done.out) == (2, True)
        assert "Lopez" not in done.err + done.out


# -- exports


def test_who_was_told_nothing_has_consented_to_nothing(scene: Scene) -> None:
    scene.write("form.toml", FORM.replace("explained = true", "explained = false"))
    scene.take()
    done = hand_out(scene, "--for", "lawyer", *key(scene))
    assert (done.code, "were not explained" in done.err) == (4, True), done.err
    scene.write("form.toml", FORM.replace("explained = true\n", ""))
    scene.take()
    done = hand_out(scene, "--for", "lawyer", *key(scene), item="c-E-0002")
    assert (done.code, "nobody says that purposes and risks" in done.err) == (0, True), done.err


def test_what_is_amended_while_it_is_handed_out_is_not_left_behind(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The witness takes it back while a large file is copied."""
    make_source(scene.base / "notes", {"n.txt": b"x"})
    assert scene.run("ingest", scene.base / "notes", "--case", CASE, "--unsigned").code == 0

    def say(answer: str, kind: str = "") -> None:
        values = {"confidentiality": "public", "consent": {"explained": "yes", "court": answer}}
        wanted = Wanted(reason="said", kind=kind, set=values)
        amend(scene.vault, scene.item(), wanted, NOW, policy=load_policy("default"))

    say("yes", "statement")
    from archiver.export import _Run

    real = _Run.read_back

    def meanwhile(run: Any, staged: str) -> None:
        thread = threading.Thread(target=say, args=("no",))
        thread.start()
        thread.join()
        real(run, staged)

    with monkeypatch.context() as patch:
        patch.setattr(_Run, "read_back", meanwhile)
        done = hand_out(scene, "--for", "court")
    assert (done.code, "was amended meanwhile" in done.err) == (5, True), done.err
    assert exported(scene) == []
    assert not list(scene.base.glob("out-*"))
    assert hand_out(scene, "--for", "court").code == 4


def test_a_replica_is_no_vault_to_ask(scene: Scene) -> None:
    """It may not know yet what was withdrawn, and nothing may be written into it."""
    scene.take()
    place = scene.base / "far"
    assert scene.run("replica", "add", "far", place).code == 0
    assert scene.run("replica", "sync").code == 0
    assert scene.run("consent", "withdraw", ITEM, "--reason", "told").code == 0
    before = sorted(place.rglob("*"))
    for words in (
        ("export", ITEM, scene.base / "out", "--for", "lawyer", *key(scene)),
        ("ingest", scene.files[0], "--case", CASE, "--unsigned"),
        ("list",),
    ):
        done = scene.run(*words, "--vault", place)
        assert (done.code, "is a replica, no vault" in done.err) == (5, True), done.err
    assert sorted(place.rglob("*")) == before
    assert check_logs(scene.vault).problems == ()


def test_nothing_of_anybody_else_s_beside_an_export_is_removed(scene: Scene) -> None:
    make_source(scene.base / "notes", {"n.txt": b"x"})
    assert scene.run("ingest", scene.base / "notes", "--case", CASE, "--unsigned").code == 0
    place = scene.base / "out.amendments"
    made: dict[str, Callable[[Path], object]] = {
        "link": lambda path: path.symlink_to("/etc/hostname"),
        "empty": lambda path: path.write_bytes(b""),
        "pipe": os.mkfifo,
        "directory": lambda path: path.mkdir(),
        "0001.json": lambda path: path.write_bytes(b""),
    }
    for amended in (False, True):
        if amended:
            wanted = Wanted(reason="x", kind="document", set={"title": "x"})
            amend(scene.vault, scene.item(), wanted, NOW, policy=load_policy("default"))
        for name, make in made.items():
            place.mkdir()
            make(place / name)
            done = scene.run("export", ITEM, scene.base / "out")
            assert (done.code, "exists already" in done.err) == (5, True), (name, done.err)
            assert os.path.lexists(place / name), name
            shutil.rmtree(place)
    assert scene.run("export", ITEM, scene.base / "out").code == 0


# -- what became secret


@pytest.fixture
def hidden(house: Scene) -> Scene:
    """An item in clear, that was amended to be sealed."""
    video = house.write("open.toml", 'kind = "video"\ntitle = "Roof"\nconfidentiality = "public"\n')
    words = ("--case", CASE, "--unsigned", "--describe", video)
    source = house.write("Maria Quirquincho.mp4", b"x")
    assert house.run("ingest", source, *words).code == 0
    more = ("--reason", "learnt", "--unsigned", "--policy", house.base / "house.toml")
    done = house.run("describe", ITEM, "--set", "confidentiality=sealed", *more)
    assert done.code == 0, done.err
    return house


def test_what_became_secret_is_told_of_as_that(hidden: Scene) -> None:
    done = hidden.run("export", ITEM, hidden.base / "out")
    assert (done.code, "its bag is in clear" in done.err) == (0, True), done.err
    xml = hidden.run("show", ITEM, "--premis").out
    assert "<premis" in xml
    assert "Quirquincho" not in xml
    done = hidden.run("statement", "check", *key(hidden))
    assert done.code == 0, done.out
    assert "opens: what was amended; its bag is in clear" in done.out
    assert hidden.run("statement", "check", *key(hidden, "stranger")).code == 3
    done = hidden.run("statement", "open", ITEM, *key(hidden))
    assert (done.code, "is not encrypted" in done.err) == (2, True), done.err


def test_what_is_made_from_something_secret(hidden: Scene) -> None:
    derived = f'[[derived_from]]\nitem = "{ITEM}"\ntool = "cut"\n'
    form = hidden.write("d.toml", f'kind = "video"\ntitle = "x"\n{derived}')
    words = ("--case", CASE, "--unsigned", "--describe", form)
    done = hidden.run("ingest", hidden.files[0], *words)
    assert (done.code, f"{ITEM} is secret" in done.err) == (0, True), done.err


# -- at the command line


def test_an_empty_name_is_no_standard_input(scene: Scene) -> None:
    """A script's variable that was not set."""
    for files in (["", ""], [""], [scene.files[0], ""]):
        done = scene.run(*scene.words(files=files))
        assert (done.code, "has an empty name" in done.err) == (5, True), done.err
    assert not list(Path(scene.vault.path, "bags").rglob("*-E-*"))


def test_the_form_in_clear_is_named_and_so_is_the_list_of_files(house: Scene) -> None:
    policy = ("--policy", house.base / "house.toml")
    form = ("--describe", house.home / "video.toml")
    done = house.run("ingest", house.files[0], *form, *policy, "--case", CASE, "--unsigned")
    assert done.code == 0, done.err
    assert "still lies there: the form" in done.err
    done = house.run("bag", "create", house.files[0], *form, *policy, "-o", "bag")
    assert done.code == 0, done.err
    assert "still lies there: the form" in done.err
    listed = house.write("list.txt", f"{house.files[0]}\n")
    done = house.run(*house.words("--files-from", listed, files=[]))
    assert done.code == 0, done.err
    assert "still lies there: the list of files" in done.err


def test_an_item_goes_before_a_directory_of_its_name(scene: Scene) -> None:
    """What was withdrawn is known to the vault alone."""
    scene.take()
    assert scene.run("export", ITEM, scene.base / ITEM, "--for", "lawyer", *key(scene)).code == 0
    assert scene.run("consent", "withdraw", ITEM, "--reason", "told").code == 0
    os.chdir(scene.base)
    assert "withdrawn" in scene.run("statement", "open", ITEM, *key(scene)).out
    assert "withdrawn" not in scene.run("statement", "open", f"./{ITEM}", *key(scene)).out
    assert scene.run("statement", "check", ITEM, *key(scene)).code == 0


def test_a_protected_key_in_a_script(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.take()
    words = scene.write("words", "horse battery staple tray\n")
    words.chmod(0o600)
    made = tmp_path / "made.key"
    done = scene.run("statement", "key", "-o", made, "--protect", "--passphrase-file", words)
    assert done.code == 0, done.err
    for command in ("open", "check"):
        done = scene.run("statement", command, ITEM, "--identity", made)
        assert (done.code, "ARCHIVER_PASSPHRASE_FILE" in done.err) == (5, True), done.err
        # It is opened, and is another's: that is found out with the passphrase alone.
        done = scene.run("statement", command, ITEM, "--identity", made, "--passphrase-file", words)
        assert "none of the" in done.err + done.out
    monkeypatch.setenv("ARCHIVER_PASSPHRASE_FILE", str(words))
    assert "none of the" in scene.run("statement", "open", ITEM, "--identity", made).err


def test_amendments_stay_in_the_case(scene: Scene) -> None:
    make_source(scene.base / "notes", {"n.txt": b"x"})
    assert scene.run("ingest", scene.base / "notes", "--case", CASE, "--unsigned").code == 0
    for case in ("other", "Any Words!"):
        done = scene.run(
            "describe", ITEM, "--kind", "video", "--set", f"case={case}", "--reason", "x",
            "--unsigned",
        )  # fmt: skip
        assert (done.code, "stays there" in done.err) == (2, True), done.err


def test_what_is_no_item_is_not_repeated(house: Scene) -> None:
    derived = '[[derived_from]]\nitem = "Maria"\ntool = "a"\nparameters = "b"\n'
    form = house.write("d.toml", f'kind = "video"\nconfidentiality = "sealed"\n{derived}')
    policy = ("--policy", house.base / "house.toml")
    done = house.run(
        "ingest", house.files[0], "--describe", form, *policy, "--case", CASE, "--unsigned"
    )
    assert done.code == 2
    assert "what is no item" in done.err
    assert "Maria" not in done.err


def test_the_form_s_own_examples_give_nothing_away(scene: Scene) -> None:
    done = scene.run("describe", "new", "--kind", "statement")
    lines = done.out.splitlines()
    assert '#confidentiality = "sealed"' in lines
    assert '#media = "ask"' in lines
    assert '#court = "yes"' not in lines


def test_a_description_says_whether_it_is_secret() -> None:
    said = {"confidentiality": "restricted"}
    assert Description.checked("statement", said).is_secret
    assert not Description.checked("video", said).is_secret


def test_plain_text_is_not_opened_where_it_would_be_archived(house: Scene) -> None:
    house.take()
    inbox = house.base / "inbox"
    inbox.mkdir()
    words = ("--case", "w", "--unsigned", "--once")
    assert house.run("watch", inbox, *words).code == 0
    for place in (inbox / "opened", inbox / "deeper/opened"):
        place.parent.mkdir(exist_ok=True)
        done = house.run("statement", "open", ITEM, *key(house), "-o", place)
        assert (done.code, "lies in a watched folder" in done.err) == (5, True), done.err
    assert house.run("statement", "open", ITEM, *key(house), "-o", house.base / "out").code == 0


def test_what_came_through_standard_input_lies_nowhere(scene: Scene) -> None:
    form, who = scene.home / "form.toml", scene.home / "who.toml"
    done = subprocess.run(
        [sys.executable, "-m", "archiver", *scene.words("--remove-original", files=["-"])],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
        input=b"I saw it.\n",
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"still lies there" in done.stderr) == (0, False), done.stderr
    assert not form.exists()
    assert not who.exists()


def test_an_escrow_is_another_key(scene: Scene) -> None:
    reader = scene.keys["reader"].recipient
    words = scene.words()
    words[words.index("--escrow") + 1] = reader
    done = scene.run(*words)
    assert (done.code, "no escrow recipient" in done.err) == (2, True), done.err


def test_an_identity_that_could_not_be_opened_again(scene: Scene) -> None:
    scene.write("who.toml", 'name = """x' + "\n" * 524_260 + 'x"""\n')
    done = scene.run(*scene.words())
    assert (done.code, "too long" in done.err) == (2, True), done.err
    assert not list(Path(scene.vault.path, "bags").rglob("*-E-*"))


def test_a_pipe_is_no_receipt(scene: Scene) -> None:
    os.mkfifo(scene.base / "pipe")
    done = scene.run("receipt", "import", scene.base / "pipe", "--paper")
    assert (done.code, "not a regular file" in done.err) == (3, True), done.err


def test_a_scanner_s_place_is_not_told(tmp_path: Path) -> None:
    scanner = tmp_path / "maria/scan.sh"
    scanner.parent.mkdir()
    scanner.write_text("#!/bin/sh\n")
    (tmp_path / "data").mkdir()
    found = scan_payload(str(tmp_path / "data"), ScanPolicy(command=(str(scanner), "{path}")))
    assert "can't be started" in found.reason
    assert "maria" not in found.reason
