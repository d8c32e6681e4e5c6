"""Names: left out, temporary, descriptions, groups."""

from __future__ import annotations

import pytest

from archiver.policy import WatchPolicy
from archiver.watch.rules import Rules


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        (b"a.jpg", False),
        (b"d/a.jpg.part", True),
        (b"a.PART", True),
        (b"particle", False),
        (b"my-desktop.ini", False),
        (b"~$letter.docx", True),
        (b"d/.DS_Store", True),
        (b".archiver-staging-0123", True),
        (b"a\nb.tmp", True),
        (b"\xff\xfe.tmp", True),
        (b"\xff\xfe.jpg", False),
        (b"private/a.jpg", True),
        (b"private.jpg", False),
        (b"x/private/a.jpg", False),
    ],
)
def test_what_is_left_out(path: bytes, left_out: bool) -> None:
    rules = Rules(WatchPolicy(ignore=(*WatchPolicy().ignore, "private/*")))
    assert bool(rules.ignored(path)) == left_out


def test_directories_that_are_not_looked_at() -> None:
    rules = Rules(WatchPolicy(ignore=("cache",), originals="move", move_to="archived/"))
    for own in (b".archiver-opening-0", b"a/.archiver-secret-0", b".archiver-staging-x"):
        assert rules.skips(own)
    assert not rules.skips(b".archiver-notes")
    assert rules.skips(b"d/cache")
    assert rules.skips(b"archived")
    assert not rules.skips(b"d/archived")
    assert rules.skips(b".archiver-staging-1")
    assert not Rules(WatchPolicy()).skips(b"archived")
    below = Rules(WatchPolicy(originals="move", move_to="/in/box/old"), b"/in/box")
    assert below.skips(b"old")
    assert not Rules(WatchPolicy(originals="move", move_to="/old"), b"/in/box").skips(b"old")


def test_descriptions() -> None:
    rules = Rules(WatchPolicy())
    assert rules.described(b"a.jpg.toml") == b"a.jpg"
    for name in (b"a.toml", b"a.jpg", b".toml", b".hidden.toml"):
        assert rules.described(name) == b""


def test_groups() -> None:
    assert Rules(WatchPolicy()).group(b"a/b/c") == b"a/b/c"
    folders = Rules(WatchPolicy(group="folder", done_marker="READY"))
    assert folders.group(b"a/b/c") == b"a/"
    assert folders.group(b"c") == b"c"
    assert folders.is_marker(b"a/READY")
    assert not folders.is_marker(b"a/b/READY")
    assert not folders.is_marker(b"READY")
    assert folders.marker(b"a/") == b"a/READY"
    assert folders.ignored(b"a/READY")
    assert not Rules(WatchPolicy()).ignored(b"a/.done")


def test_no_patterns_leave_nothing_out() -> None:
    assert Rules(WatchPolicy(ignore=(), temporary=())).ignored(b"a.part") == ""
