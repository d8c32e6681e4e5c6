"""What is secret as a directory, as a bag without a vault, and asked for at a terminal."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from archiver.verify import verify_bag
from tests.cli.test_ask import Terminal, start, terminals
from tests.helpers import Ran
from tests.statement.scene import CASE, ITEM, Scene
from tests.statement.test_secret_items import NEEDLES, house, in_clear

__all__ = ["house", "terminals"]
TREE = {"Quirquincho/a.txt": b"casa amarilla", "Quirquincho/deep/er/b.txt": b"2", "c": b"3"}


@pytest.fixture
def tree(house: Scene) -> Path:
    place = house.home / "Quirquincho papers"
    for name, data in TREE.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def ingest(house: Scene, *sources: object, **more: str) -> Ran:
    policy = house.base / "house.toml"
    words = ["--case", CASE, "--unsigned", "--describe", house.home / "video.toml"]
    return house.run("ingest", *sources, *words, "--policy", more.get("policy", policy))


def pack(house: Scene, *sources: object, bag: str = "bag", more: Any = ()) -> Ran:
    words = ["-o", bag, "--describe", house.home / "video.toml"]
    return house.run(
        "bag", "create", *sources, *words, "--policy", house.base / "house.toml", *more
    )


def opened(house: Scene, wanted: object) -> dict[str, bytes]:
    done = house.open(wanted, "-o", "out")
    assert done.code == 0, done.err
    found = {
        str(one.relative_to("out")): one.read_bytes()
        for one in Path("out").rglob("*")
        if one.is_file()
    }
    shutil.rmtree("out")
    return found


# -- directories


def test_a_directory_is_taken_in_with_its_paths(house: Scene, tree: Path) -> None:
    done = ingest(house, tree)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{ITEM}: encrypted, 3 files, ")
    assert opened(house, ITEM) == TREE
    assert in_clear(house.base / "vault") == []
    assert not any(needle in done.out + done.err for needle in NEEDLES)


def test_several_sources(house: Scene, tree: Path) -> None:
    assert ingest(house, tree, house.home / "patio.mp4").code == 0
    expected = {f"Quirquincho papers/{name}": data for name, data in TREE.items()}
    assert opened(house, ITEM) == {**expected, "patio.mp4": b"casa amarilla " * 1000}


@pytest.mark.parametrize("what", ["a link", "a link out", "nothing in it", "a pipe"])
def test_what_no_ciphertext_stands_for_is_refused(house: Scene, tree: Path, what: str) -> None:
    if what == "a link":
        (tree / "Quirquincho/link").symlink_to("a.txt")
    elif what == "a link out":
        (tree / "Quirquincho/link").symlink_to("/etc/passwd")
    elif what == "a pipe":
        os.mkfifo(tree / "Quirquincho/pipe")
    else:
        (tree / "Quirquincho/empty").mkdir()
    for done in (ingest(house, tree), pack(house, tree)):
        assert done.code == 5, done.err
        assert done.err.count("error:") == 1
        assert not any(needle in done.out + done.err for needle in NEEDLES)
    assert not Path("bag").exists()
    assert not Path(house.vault.bag_path(CASE, ITEM)).exists()
    assert in_clear(house.base / "vault") == []


def test_names_that_stand_for_bytes(house: Scene, tree: Path) -> None:
    (tree / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    done = ingest(house, tree)
    assert (done.code, "caf" in done.err) == (5, False)
    assert "--encode-names" in done.err


def test_a_file_that_is_exchanged_behind_the_plan(
    house: Scene, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the sources and their reading: for a link, say, to something else."""
    from archiver.statement import making

    opened_ = making.opened

    def exchanging(plain: Any) -> Any:
        if plain.path.endswith("a.txt"):
            os.unlink(plain.path)
            os.symlink("/etc/hostname", plain.path)
        return opened_(plain)

    monkeypatch.setattr(making, "opened", exchanging)
    done = ingest(house, tree)
    assert (done.code, "changed while it was read" in done.err) == (5, True)
    assert not Path(house.vault.bag_path(CASE, ITEM)).exists()


def test_names_that_are_too_long_together(house: Scene) -> None:
    place = house.home.joinpath(*["d" * 200] * 7)
    place.mkdir(parents=True)
    for number in range(900):
        (place / f"{number:0200}").touch()
    done = ingest(house, house.home)
    assert (done.code, "too long for one list" in done.err) == (2, True)
    assert [str(one) for one in Path(house.vault.path).rglob(".archiver-*")] == []


# -- bags without a vault


def test_a_bag_is_made_and_opened(
    house: Scene, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ARCHIVER_VAULT")
    done = pack(house, tree, more=("--info", "Contact-Name: The archive"))
    assert done.code == 0, done.err
    assert done.out.startswith("bag: encrypted, 3 files, ")
    assert "the plain original still lies there: file 1" in done.err
    assert verify_bag("bag").verdict.value == "valid"
    assert sorted(one.name for one in Path("bag/data").iterdir()) == [
        "0001.age", "0002.age", "0003.age", "files.json.age",
    ]  # fmt: skip
    info = Path("bag/bag-info.txt").read_text()
    assert "Archiver-Kind: video" in info
    assert "Contact-Name: The archive" in info
    assert in_clear(Path("bag")) == []
    assert opened(house, "bag") == TREE
    assert list(house.base.glob(".archiver-*")) == []
    policy = house.base / "house.toml"
    assert house.run("bag", "verify", "bag", "--policy", policy).code == 0


def test_the_answer_in_json(house: Scene, tree: Path) -> None:
    answer = pack(house, tree, more=("--json",)).json
    assert (answer["bag"], answer["encrypted"], answer["payload_files"]) == ("bag", 3, 4)


def test_a_policy_without_readers_refuses_it(house: Scene, tree: Path) -> None:
    words = ["-o", "bag", "--describe", house.home / "video.toml"]
    done = house.run("bag", "create", tree, *words)
    assert (done.code, "it can't be put in clear" in done.err) == (2, True)
    assert not Path("bag").exists()


def test_a_group_of_bags_is_refused(house: Scene, tree: Path) -> None:
    done = pack(house, tree, more=("--max-files", "1"))
    assert (done.code, "what is encrypted is one bag" in done.err) == (2, True)
    assert list(Path().glob("bag*")) == []


@pytest.mark.parametrize("place", ["nowhere/bag", "home", "vault"])
def test_a_place_that_can_t_be_used(house: Scene, tree: Path, place: str) -> None:
    done = pack(house, tree, bag=place)
    assert done.code == 5, done.err
    assert done.err.count("error:") == 1
    assert list(house.base.rglob(".archiver-*")) == []


def test_a_form_with_a_mistake_is_told_without_its_words(house: Scene, tree: Path) -> None:
    form = house.home / "video.toml"
    form.write_text(form.read_text() + 'original = "Quirquincho"\n')
    for done in (pack(house, tree), ingest(house, tree)):
        assert done.code == 2
        assert "the form:6: " in done.err
        assert not any(needle in done.err for needle in NEEDLES)


def command(house: Scene, *words: object) -> list[str]:
    return [sys.executable, "-m", "archiver", *map(str, words)]


def test_runs_that_are_killed_leave_ciphertext_and_are_cleared(house: Scene, tree: Path) -> None:
    (tree / "large").write_bytes(b"casa amarilla " * 300_000)
    place = house.base / "made"
    place.mkdir()
    bag = place / "bag"
    words = command(
        house, "bag", "create", tree, "-o", bag, "--describe", house.home / "video.toml",
        "--policy", house.base / "house.toml",
    )  # fmt: skip
    begun = time.monotonic()
    subprocess.run(words, capture_output=True, check=True)
    seconds, chance, ended = time.monotonic() - begun, random.Random(11), 0
    shutil.rmtree(bag)
    for _number in range(12):
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(chance.uniform(0.4 * seconds, seconds))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert in_clear(place) == []
        if bag.exists():
            ended += 1
            assert verify_bag(str(bag)).verdict.value == "valid"
            shutil.rmtree(bag)
    assert ended < 12
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(one.name for one in place.iterdir()) == ["bag"]
    assert opened(house, bag)["large"] == b"casa amarilla " * 300_000


def test_a_run_that_is_alive_is_left_alone(house: Scene, tree: Path) -> None:
    from archiver.statement.staging import staged_beside

    with staged_beside("bag") as alive:
        assert pack(house, tree).code == 0
        assert os.path.isdir(alive.payload)
    link = Path(f".archiver-secret-{'0' * 64}")
    link.symlink_to(tree)
    assert pack(house, tree, bag="another").code == 0
    assert sorted(os.listdir(tree)) == ["Quirquincho", "c"]
    assert link.is_symlink()


# -- asked for


def test_what_is_typed_may_be_secret(house: Scene, terminals: list[Terminal], tree: Path) -> None:
    words = ["--policy", str(house.base / "house.toml"), "--ask"]
    commands = (
        ["ingest", str(tree), "--case", CASE, "--unsigned", *words],
        ["bag", "create", str(tree), "-o", "bag", *words],
    )
    for number, one in enumerate(commands):
        terminal = start(terminals, house.base, *one)
        terminal.answer(
            {"kind": ["photograph"], "confidentiality": ["sealed"], "title": ["Quirquincho"]}
        )
        code, out = terminal.end()
        assert code == 0, terminal.seen
        assert "Nothing of these answers is written to the disk" in terminal.seen
        assert "encrypted, 3 files" in out
        told = house.open(ITEM if number == 0 else "bag", "--json").json
        assert told["description"]["title"] == "Quirquincho"  # type: ignore[index]
    for place in ("vault", "bag", "state", "user"):
        if (house.base / place).exists():
            assert in_clear(house.base / place) == []
    assert list(house.base.rglob("drafts/*")) == []


def test_what_is_typed_and_open_is_kept_in_clear_as_ever(
    house: Scene, terminals: list[Terminal], tree: Path
) -> None:
    words = ["-o", "bag", "--policy", str(house.base / "house.toml"), "--ask"]
    terminal = start(terminals, house.base, "bag", "create", str(tree), *words)
    terminal.answer({"kind": ["photograph"], "confidentiality": ["public"], "title": ["x"]})
    assert terminal.end()[0] == 0
    assert json.loads(Path("bag/metadata/description.json").read_bytes())["title"] == "x"
    assert (Path("bag/data/Quirquincho/a.txt")).read_bytes() == b"casa amarilla"
