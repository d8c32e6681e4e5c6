"""Kills and errors at each system call, while what is secret is encrypted or opened again.

Oracle: what is sealed opens to the very bytes, payload and identity, whatever happened; what
was said to be done is there; the same command again succeeds, and leaves nothing behind. A
run that opens leaves its directory whole, or none.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from archiver.bag.tree import DirectoryTree
from archiver.statement.opening import open_identity, open_statement, restore
from archiver.vault.check import check_logs
from archiver.verify import Verdict, verify_bag
from tests.bag.making import ENVIRONMENT, ROOT
from tests.statement.scene import FILES, NAME, Scene, hidden, scene
from tests.tracing import HOWS, STRACE, chosen, fault, needs_strace, recording, touching
from tests.vault.looking import items

__all__ = ["scene"]

pytestmark = [
    needs_strace,
    pytest.mark.parametrize("how", HOWS),
]


def archiver(
    scene: Scene, words: Sequence[object], strace: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    prefix = [*STRACE, *strace] if strace else []
    return subprocess.run(
        [*prefix, sys.executable, "-m", "archiver", *map(str, words)],
        env={**ENVIRONMENT, "ARCHIVER_VAULT": str(scene.base / "vault"), "PYTHONPATH": str(ROOT)},
        cwd=scene.base,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def calls(scene: Scene, call: str, words: Sequence[object], place: Path) -> list[int]:
    """The numbers of those that touch ``place``; the command has run once then."""
    log = scene.base / "log"
    done = archiver(scene, words, recording(call, log))
    assert done.returncode == 0, done.stderr
    found = touching(log, call, place)
    assert found, f"{call} is not used: nothing was tested"
    return found


def harm(scene: Scene, call: str, how: str, number: int, words: Sequence[object]) -> bool:
    """Whether the command says that it went well all the same."""
    return archiver(scene, words, fault(call, how, number)).returncode == 0


def payload(scene: Scene, bag: Path) -> dict[str, bytes]:
    """What a bag opens to."""
    assert verify_bag(str(bag)).verdict in (Verdict.VALID, Verdict.UNPROVEN)
    tree, place = DirectoryTree(str(bag)), scene.base / "opened"
    try:
        identities = scene.keys["reader"].identities
        restore(tree, open_statement(tree, identities).contents, identities, str(place))
        return {str(one.relative_to(place)): one.read_bytes() for one in place.iterdir()}
    finally:
        tree.close()
        shutil.rmtree(place, ignore_errors=True)


def identity(scene: Scene, bag: Path) -> object:
    tree = DirectoryTree(str(bag))
    try:
        return open_identity(tree, scene.keys["identity"].identities)["identity"]["name"]
    finally:
        tree.close()


@pytest.mark.parametrize("call", ["mkdir", "openat", "write", "fsync", "renameat2", "pwrite64"])
def test_a_statement_is_taken(
    scene: Scene, call: str, how: str, full: bool, tally: Counter[str]
) -> None:
    vault, empty = scene.base / "vault", scene.base / "empty"
    shutil.copytree(vault, empty)
    for number in chosen(calls(scene, call, scene.words(), vault), how, full):
        shutil.rmtree(vault)
        shutil.copytree(empty, vault)
        well = harm(scene, call, how, number, scene.words())
        tally["kills" if "KILL" in how else "injected errors"] += 1
        sealed = judge_vault(scene, f"{how} at {call} {number}")
        assert sealed >= well
        again = archiver(scene, scene.words())
        assert again.returncode == 0, again.stderr
        assert judge_vault(scene, f"{how} at {call} {number}, and again") >= sealed + 1
        assert {one.state for one in items(scene.vault)} <= {"sealed", "refused"}
        assert hidden(scene.vault) == []
        assert check_logs(scene.vault).problems == ()


def judge_vault(scene: Scene, what: str) -> int:
    """How many items are sealed: each opens to what was taken."""
    sealed = [one for one in items(scene.vault) if one.state == "sealed"]
    for one in sealed:
        bag = Path(scene.vault.bag_path(one.case, one.item))
        assert payload(scene, bag) == FILES, what
        assert identity(scene, bag) == NAME, what
    return len(sealed)


@pytest.mark.parametrize("call", ["mkdir", "openat", "write", "fsync", "renameat2"])
def test_a_secret_bag_is_made(
    scene: Scene, call: str, how: str, full: bool, tally: Counter[str]
) -> None:
    keys = scene.keys
    policy = scene.write(
        "house.toml",
        f'extends = "default"\n[encryption]\nrecipients = ["{keys["reader"].recipient}"]\n'
        f'escrow = ["{keys["escrow"].recipient}"]\n',
    )
    about = scene.write("about.toml", 'kind = "document"\ntitle = "x"\nconfidentiality = "sealed"')
    place = scene.base / "here"
    bag = place / "bag"
    place.mkdir()
    words = ["bag", "create", *scene.files, "--describe", about, "--policy", policy, "-o"]
    for number in chosen(calls(scene, call, [*words, bag], place), how, full):
        shutil.rmtree(bag, ignore_errors=True)
        well = harm(scene, call, how, number, [*words, bag])
        tally["kills" if "KILL" in how else "injected errors"] += 1
        assert bag.exists() >= well
        there = bag.exists()
        again = archiver(scene, [*words, bag])
        assert (again.returncode == 0) is not there, again.stderr
        assert payload(scene, bag) == FILES
        if there:  # ciphertext of a run that was killed goes when the next one is made there
            assert archiver(scene, [*words, place / "other"]).returncode == 0
            shutil.rmtree(place / "other")
        assert [one.name for one in place.iterdir()] == ["bag"], sorted(place.rglob("*"))


@pytest.mark.parametrize("call", ["mkdir", "openat", "write", "fsync", "renameat2"])
def test_a_statement_is_opened(
    scene: Scene, call: str, how: str, full: bool, tally: Counter[str]
) -> None:
    assert archiver(scene, scene.words()).returncode == 0
    place = scene.base / "here"
    out = place / "out"
    place.mkdir()
    key = scene.keys["reader"].file
    words = ["statement", "open", "c-E-0001", "--identity", key, "-o", out]
    for number in chosen(calls(scene, call, words, place), how, full):
        shutil.rmtree(out, ignore_errors=True)
        well = harm(scene, call, how, number, words)
        tally["kills" if "KILL" in how else "injected errors"] += 1
        assert out.exists() >= well
        whole = out.exists()
        again = archiver(scene, [*words[:-1], place / "again"])
        assert again.returncode == 0, again.stderr
        # Nothing in clear is left of what was killed.
        assert {one.name for one in place.iterdir()} == {"again", *(["out"] if whole else [])}
        for opened in place.iterdir():
            assert {one.name: one.read_bytes() for one in opened.iterdir()} == FILES
        shutil.rmtree(place / "again")
