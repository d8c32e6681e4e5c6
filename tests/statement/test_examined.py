"""Plain files are examined before they are encrypted: what is learnt is for who holds a key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from archiver.custody import CUSTODY_PATH, Event, read_chain
from archiver.encrypt import decrypt_bytes
from archiver.identify import tools
from archiver.identify.record import parse_records
from archiver.statement.envelope import FORMATS_PATH, MAX_FORMATS_BYTES
from tests.identify.hostile import picture
from tests.identify.looking import FAULTS, none_left
from tests.statement.scene import CASE, ITEM, NAME, Scene, hidden
from tests.test_scan import EICAR, GREP, script
from tests.vault.looking import items

pytestmark = pytest.mark.skipif(
    "siegfried" not in tools.installed() and not os.environ.get("ARCHIVER_CI"),
    reason="pygfried isn't installed",
)
STDIN = GREP.replace("-rqF", "-qF").replace('"$1"', "-")
PNG = picture("PNG")


@pytest.fixture(autouse=True)
def identifying(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is outside of the tests."""
    monkeypatch.delenv("ARCHIVER_IDENTIFY", raising=False)


def policy(scene: Scene, text: str) -> tuple[str, str]:
    """Options that name a policy of the house's own."""
    path = scene.base / "house.toml"
    path.write_text(f'extends = "default"\n{text}\n')
    return "--policy", str(path)


def scanned(scene: Scene, text: str, *rules: str) -> tuple[str, str]:
    """The same with a scanner that reads standard input."""
    command = json.dumps([script(scene.base, text)])
    return policy(scene, "\n".join(["[scan]", f"secret_command = {command}", *rules]))


def events(bag: Path) -> dict[str, Event]:
    lines = (bag / CUSTODY_PATH).read_bytes().splitlines(keepends=True)
    return {link.event.type: link.event for link in read_chain(lines)}


def records(scene: Scene, bag: Path) -> dict[str, dict[str, Any]]:
    cipher = (bag / FORMATS_PATH).read_bytes()
    identities = scene.keys["reader"].identities
    return parse_records(decrypt_bytes(cipher, identities, MAX_FORMATS_BYTES))


def take(scene: Scene, files: Mapping[str, bytes], *more: object) -> Path:
    return scene.take(*more, files=[scene.write(name, data) for name, data in files.items()])


def scene_command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "archiver", *words]


# -- formats


def test_records_are_for_who_holds_a_key(scene: Scene) -> None:
    bag = take(scene, {f"{NAME}.png": PNG, "notes.txt": b"words\n"})
    found = records(scene, bag)
    assert [one["puid"] for one in found.values()] == ["fmt/11", "x-fmt/111"]
    assert list(found) == ["data/0001.age", "data/0002.age"]
    done = scene.open(ITEM)
    assert (done.code, "image/png" in done.out) == (0, True)
    told = scene.open(ITEM, "--json").json["files"]
    assert told[0]["format"]["mime"] == "image/png"  # type: ignore[index]
    assert none_left() == []


def test_in_clear_stands_who_was_asked_and_no_number(scene: Scene) -> None:
    bag = take(scene, {f"{NAME}.png": PNG, "notes.txt": b"words\n"})
    told = events(bag)
    for name in ("format identification", "metadata extraction"):
        assert set(told[name].detail) <= {"tools", "confinement", "unusable"}, name
    assert told["format identification"].detail["tools"][0].startswith("pygfried")
    in_clear = (bag / CUSTODY_PATH).read_text() + Path(scene.vault.log_path(CASE)).read_text()
    for word in (NAME, "png", "fmt/11", "identified", str(scene.home)):
        assert word not in in_clear
    assert not (bag / "metadata/formats.jsonl").exists()


@pytest.mark.parametrize("way", ["an option", "the policy", "the environment"])
def test_it_can_be_switched_off(scene: Scene, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    more: tuple[str, ...] = ()
    if way == "an option":
        more = ("--no-identify",)
    elif way == "the policy":
        more = policy(scene, "[formats]\nidentify = false")
    else:
        monkeypatch.setenv("ARCHIVER_IDENTIFY", "0")
    bag = take(scene, {"a.png": PNG}, *more)
    assert not (bag / FORMATS_PATH).exists()
    assert "format identification" not in events(bag)
    assert scene.open(ITEM, "--json").json["files"][0]["format"] is None  # type: ignore[index]


def test_files_that_belong_together_are_known_by_their_names(scene: Scene) -> None:
    proof = {"x.png": PNG, "x.png.proof.json": b"{}", "x.png.asc": b"signature"}
    found = records(scene, take(scene, proof))
    assert "proofmode" in found["data/0001.age"]
    assert found["data/0002.age"]["proofmode"] == "proof, not verified"


def test_links_are_followed_as_they_are_when_they_are_read(scene: Scene) -> None:
    scene.write("real.png", PNG)
    (scene.home / "link").symlink_to(scene.home / "real.png")
    bag = scene.take(files=[scene.home / "link"])
    assert records(scene, bag)["data/0001.age"]["puid"] == "fmt/11"


def test_what_comes_through_a_pipe_is_not_asked_about(scene: Scene) -> None:
    words = scene.words(files=["-"])
    done = subprocess.run(scene_command(words), input=PNG, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = records(scene, Path(scene.vault.bag_path(CASE, ITEM))).values()
    assert (found["outcome"], found["reason"]) == ("not asked", "it came through a pipe")


def test_a_parser_that_hangs_keeps_no_statement_from_being_sealed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver.identify import asking

    monkeypatch.setattr(asking, "installed", lambda: FAULTS)
    chosen = policy(scene, "[formats]\nseconds = 1")
    files = {"a": b"hang:", "b": b"leave:", "c": b"good"}
    paths = [scene.write(name, data) for name, data in files.items()]
    done = scene.run(*scene.words(*chosen, files=paths))
    assert done.code == 0, done.err
    assert "2 files could not be examined" in done.err
    found = records(scene, Path(scene.vault.bag_path(CASE, ITEM)))
    assert [one["outcome"] for one in found.values()] == ["timed out", "failed", "identified"]
    assert none_left() == []


def test_a_format_that_the_policy_refuses(scene: Scene) -> None:
    chosen = policy(scene, '[formats]\nrefused = ["image/*"]')
    path = scene.write(f"{NAME}.png", PNG)
    done = scene.run_raw(*scene.words(*chosen, files=[path]))
    assert done.returncode == 5
    assert "file 1: the policy does not accept this format (fmt/11)" in done.stderr
    assert NAME not in done.stderr
    assert [one.state for one in items(scene.vault)] in ([], ["refused"])
    assert hidden(scene.vault) == []


def test_no_path_is_an_argument_of_the_child(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from archiver.identify import keeper

    lines: list[bytes] = []
    ask = keeper.Child.ask

    def looking(child: Any, *given: Any) -> Any:
        lines.append(Path(f"/proc/{child._process.pid}/cmdline").read_bytes())
        return ask(child, *given)

    monkeypatch.setattr(keeper.Child, "ask", looking)
    take(scene, {f"{NAME}.png": PNG})
    assert lines
    assert not any(os.fsencode(scene.home) in line for line in lines)


# -- the scanner


def test_clean(scene: Scene) -> None:
    bag = scene.take(*scanned(scene, STDIN))
    event = events(bag)["virus check"]
    assert (event.outcome, event.detail) == ("success", {"result": "clean", "scanner": "scanner"})


def test_malware_is_kept_and_flagged(scene: Scene) -> None:
    paths = [scene.write("a", b"a"), scene.write("b", EICAR.encode()), scene.write("c", b"c")]
    done = scene.run(*scene.words(*scanned(scene, STDIN), files=paths))
    assert done.code == 0, done.err
    assert "found malware in it; it is kept, and flagged" in done.err
    event = events(Path(scene.vault.bag_path(CASE, ITEM)))["virus check"]
    assert (event.outcome, event.detail["result"]) == ("failure", "infected")
    assert scene.open(ITEM, "-o", "out").code == 0
    assert Path("out/b").read_bytes() == EICAR.encode()


def test_malware_is_refused_where_the_policy_says_so(scene: Scene) -> None:
    path = scene.write("b", EICAR.encode())
    words = scene.words(*scanned(scene, STDIN, 'found = "refuse"'), files=[path])
    done = scene.run(*words)
    assert (done.code, "the policy refuses that" in done.err) == (5, True)
    assert hidden(scene.vault) == []
    assert [one.state for one in items(scene.vault)] in ([], ["refused"])


@pytest.mark.parametrize(
    ("text", "rules", "reason"),
    [
        ("exit 2", (), "exit code 2"),
        ("sleep 60", ("seconds = 1",), "timed out after 1 seconds"),
        ("cat > /dev/null; kill -9 $$", (), "ended by signal 9"),
    ],
)
def test_a_skip_is_no_pass(scene: Scene, text: str, rules: tuple[str, ...], reason: str) -> None:
    bag = scene.take(*scanned(scene, text, "required = true", *rules))
    event = events(bag)["virus check"]
    assert event.outcome == "failure"
    assert (event.detail["result"], event.detail["reason"]) == ("not scanned", reason)
    house = str(scene.base / "house.toml")
    done = scene.run("bag", "verify", bag, "--policy", house)
    assert "E-POL-030" in done.out + done.err
    assert done.code == 4


def test_one_that_was_not_scanned_among_many_speaks_for_all(scene: Scene) -> None:
    text = 'read word; [ "$word" = odd ] && exit 2; exit 0'
    paths = [scene.write(name, name.encode()) for name in ("even", "odd", "last")]
    bag = scene.take(*scanned(scene, text), files=paths)
    assert events(bag)["virus check"].detail["reason"] == "exit code 2"


def test_a_scanner_for_what_is_open_is_none_for_what_is_secret(scene: Scene) -> None:
    """Its command would be told the path of a plain file, or scan ciphertext and find nothing."""
    called = scene.base / "called"
    command = json.dumps([script(scene.base, f"touch {called}"), "{path}"])
    done = scene.run(*scene.words(*policy(scene, f"[scan]\ncommand = {command}")))
    assert done.code == 0, done.err
    assert "not scanned for malware: no scanner for what is encrypted" in done.err
    event = events(Path(scene.vault.bag_path(CASE, ITEM)))["virus check"]
    assert (event.outcome, event.detail["result"]) == ("failure", "not scanned")
    assert not called.exists()


def test_what_comes_through_a_pipe_is_not_scanned(scene: Scene) -> None:
    words = scene.words(*scanned(scene, STDIN), files=["-"])
    done = subprocess.run(scene_command(words), input=b"x", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    event = events(Path(scene.vault.bag_path(CASE, ITEM)))["virus check"]
    assert event.detail["result"] == "not scanned"
    assert event.detail["reason"] == "a file: it came through a pipe"


def test_nothing_to_scan_is_not_clean(scene: Scene) -> None:
    from archiver.policy import ScanPolicy
    from archiver.scan import scan_plain

    found = scan_plain([], ScanPolicy(secret_command=("true",)))
    assert (found.result, found.reason) == ("not scanned", "there is no file")


def test_the_scanner_is_told_no_path(scene: Scene) -> None:
    said = scene.base / "said"
    text = f'(echo "$@"; env; cat /proc/$$/cmdline) > {said}; cat > /dev/null'
    take(scene, {f"{NAME}.png": PNG}, *scanned(scene, text))
    assert NAME not in said.read_text("utf-8", "replace")
    assert f"{scene.home}/" not in said.read_text("utf-8", "replace")


def test_a_scanner_that_changes_a_file_is_refused(scene: Scene) -> None:
    """What was examined has to be what is encrypted."""
    path = scene.write("a.txt", b"before")
    text = "echo after >> /proc/self/fd/0"
    done = scene.run(*scene.words(*scanned(scene, text), files=[path]))
    assert (done.code, "changed while it was read" in done.err) == (5, True)
    assert hidden(scene.vault) == []
    assert [one.state for one in items(scene.vault)] in ([], ["refused"])
    assert path.read_bytes() == b"beforeafter\n"  # the scanner's doing: nothing of ours writes


# -- hostile records


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no records of these files"),
        (b"not JSON\n", "no records of these files"),
        (b'{"schema":"archiver/formats/2"}\n', "no records of these files"),
        (b'{"schema":"archiver/formats/1"}\n7\n', "no records of these files"),
        (b'{"schema":"archiver/formats/1"}\n{"path":7}\n', "no records of these files"),
        (b'{"schema":"archiver/formats/1"}\n{"path":"data/0009.age"}\n', "no records of these"),
        (b'{"schema":"archiver/formats/1"}\n' + b'{"path":"data/0001.age"}\n' * 2, "no records"),
        (b'{"schema":"archiver/formats/1"}\n' + b"[" * 60_000 + b"\n", "no records"),
        (b'{"schema":"archiver/formats/1"}\n' + b" " * 70_000 + b"{}\n", "no records"),
        (b"\0" * (MAX_FORMATS_BYTES + 1), "longer than it may be"),
    ],
    ids=range(10),
)
def test_records_of_a_stranger(scene: Scene, data: bytes, message: str) -> None:
    from tests.statement.test_opening import Hostile

    hostile = Hostile(scene)
    hostile.tags[FORMATS_PATH] = hostile.encrypt(data)
    hostile.open(1, message)


def test_records_that_were_exchanged_are_noticed(scene: Scene) -> None:
    from tests.statement.test_opening import Hostile

    hostile = Hostile(scene)
    hostile.tags[FORMATS_PATH] = hostile.encrypt(b'{"schema":"archiver/formats/1"}\n')
    hostile.changes = {"others": hostile.record()["others"]}
    hostile.tags[FORMATS_PATH] = hostile.encrypt(b'{"schema":"archiver/formats/1"}\n')
    hostile.open(1, "is not the ciphertext")


def test_records_fit_for_a_terminal(scene: Scene) -> None:
    from tests.statement.test_opening import Hostile

    hostile = Hostile(scene)
    line = json.dumps({"path": "data/0001.age", "format": "\x1b[31mred", "mime": ["x"]})
    data = b'{"schema":"archiver/formats/1"}\n' + line.encode() + b"\n"
    hostile.tags[FORMATS_PATH] = hostile.encrypt(data)
    bag = hostile.write(scene.base / "hostile")
    done = scene.open(bag)
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert "red" in done.out
