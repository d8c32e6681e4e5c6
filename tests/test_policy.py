"""Policies: read strictly, told exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

import archiver.policy.load as subject
from archiver.errors import PolicyError
from archiver.policy import (
    BagPolicy,
    Policy,
    SidecarPolicy,
    WatchPolicy,
    load_policy,
    policy_names,
)


def load(directory: Path, text: str | bytes) -> Policy:
    path = directory / "p.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_policy(str(path))


def test_the_shipped_policy_is_the_built_in_one() -> None:
    shipped = load_policy("default")
    assert "default" in policy_names()
    assert (shipped.bag, shipped.sidecar) == (BagPolicy(), SidecarPolicy())
    assert shipped.watch == WatchPolicy()
    assert shipped.description


def test_policies_inside_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/mine.toml").write_text("[bag]\nread_only = false\n")
    monkeypatch.setattr(subject, "__file__", str(tmp_path / "policy/load.py"))
    assert policy_names() == ["mine"]
    assert load_policy("mine").bag.read_only is False


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        (
            "[bag]\nread_only = true\nalgoritms = []\n",
            "p.toml:3: unknown key algoritms",
            "algorithms",
        ),
        ("[bag]\n'algoritms' = []\n", "p.toml:2: ", "algorithms"),
        ("\n[sidecer]\n", "p.toml:2: unknown key sidecer", "sidecar"),
        ("zzzzzz = 1\n", "p.toml:1: unknown key zzzzzz", "Known keys here"),
        ("[bag]\nxyzxyz = 1\n", "p.toml:2: ", "Known keys here: algorithms"),
        ("description = 1\n", "p.toml:1: description must be text", ""),
        ("[sidecar]\n[bag]\n\nread_only = 1\n", "p.toml:4: read_only must be true or false", ""),
        ("[bag]\nalgorithms = 'sha512'\n", "p.toml:2: algorithms must be a list", ""),
        ("[bag]\nalgorithms = [1]\n", "p.toml:2: ", ""),
        ("[bag]\nalgorithms = ['sha512', 'sha999']\n", "sha999 is no known digest", ""),
        ("[bag]\nalgorithms = []\n", "p.toml:2: ", ""),
        ("bag = 1\n", "p.toml:1: bag must be a table", ""),
        ("[[bag]]\n", "bag must be a table", ""),
        ("bag.algoritms = []\n", "p.toml:1: unknown key algoritms", "algorithms"),
        ("[watch]\ngroup = 'tree'\n", "p.toml:2: group must be one of: file, folder", ""),
        ("[watch]\noriginals = 1\n", "p.toml:2: originals must be text", ""),
        ("[watch]\nquiet_seconds = 0\n", "a whole number from 1 to 86400", ""),
        ("[watch]\nignore = '*.x'\n", "p.toml:2: ignore must be a list", ""),
        ("[watch]\nignore = ['*.x', '**']\n", "must not be empty or match every name", ""),
        ("[watch]\ndone_marker = 'a/b'\n", "done_marker must be the name of a file", ""),
        ("[watch]\noriginals = 'move'\n", "move_to doesn't say where", ""),
        ("", "is empty", "approve of anything"),
        ("# nothing\n", "is empty", ""),
        ("[bag\n", "p.toml", ""),
        (b"\xff", "can't be read", ""),
    ],
)
def test_what_is_wrong_and_where(tmp_path: Path, text: str | bytes, place: str, hint: str) -> None:
    with pytest.raises(PolicyError) as raised:
        load(tmp_path, text)
    assert place in raised.value.message
    assert hint in raised.value.hint
    assert raised.value.exit_code == 2


def test_unreadable_policies(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        name = str(path) if path.suffix else str(path / "d.toml")
        (tmp_path / "d.toml").mkdir(exist_ok=True)
        with pytest.raises(PolicyError, match="can't be read"):
            load_policy(name)


@pytest.mark.parametrize(("name", "hint"), [("defualt", "default"), ("qqqq", "Known policies")])
def test_an_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(PolicyError, match="no policy named") as raised:
        load_policy(name)
    assert hint in raised.value.hint


def test_what_is_extended_is_merged_nearest_last(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/base.toml").write_text(
        "extends = 'default'\ndescription = 'base'\n[bag]\nread_only = false\nverify_after = true\n"
    )
    made = load(tmp_path, "extends = 'sub/base.toml'\n[bag]\nread_only = true\n[sidecar]\n")
    assert made.bag == BagPolicy(read_only=True, verify_after=True)
    assert made.description == "base"


def test_loops_end(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="itself"):
        load(tmp_path, "extends = 'p.toml'\n")
    (tmp_path / "a.toml").write_text("extends = 'b.toml'\n")
    (tmp_path / "b.toml").write_text("extends = 'a.toml'\n")
    with pytest.raises(PolicyError, match="itself"):
        load_policy(str(tmp_path / "a.toml"))
    with pytest.raises(PolicyError, match="can't be read"):
        load(tmp_path, "extends = 'absent.toml'\n")


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "extends = 'a\\u0000.toml'\n"])
def test_hostile_policies(tmp_path: Path, text: str) -> None:
    text = text.replace("'", '"')
    with pytest.raises(PolicyError):
        load(tmp_path, text)


def test_rules_of_a_watched_folder(tmp_path: Path) -> None:
    made = load(
        tmp_path,
        "[watch]\nignore = ['*.log']\ngroup = 'folder'\noriginals = 'move'\n"
        "move_to = 'archived'\nlarge_bytes = 1\n",
    ).watch
    assert made == WatchPolicy(
        ignore=("*.log",), group="folder", originals="move", move_to="archived", large_bytes=1
    )
