"""Every single edit of a log behind a checkpoint is found, and every exchange of checkpoints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.custody import Event, chain_lines, line_digest, parse_event, read_chain
from archiver.errors import FormatError
from archiver.vault import Vault, create_vault
from archiver.vault.check import check_logs
from archiver.vault.checkpoint import write_checkpoint
from archiver.vault.log import CaseLog
from archiver.vault.records import reading
from tests.sealing import NOW, ROOT, Office

ALL, SEEN = 8, 6
"""Events in the log; of these the checkpoint has seen."""


def event(number: int) -> Event:
    return Event(type="fixity check", at=NOW, detail={"number": number})


def append(vault: Vault, *numbers: int) -> None:
    log = CaseLog("a", vault.log_path("a"))
    list(log.read())
    log.append([event(number) for number in numbers])


def problems(vault: Vault) -> list[str]:
    return [one.problem for one in check_logs(vault).problems]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """Six events, a checkpoint, which the seventh tells of, the eighth."""
    made = create_vault(str(tmp_path / "vault"), identifier="urn:x", policy="default")
    append(made, *range(SEEN))
    write_checkpoint(made, (), NOW)
    append(made, 7)
    with reading(made):
        pass
    assert problems(made) == []
    return made


Lines = list[bytes]


def recomputed(lines: Lines) -> Iterator[tuple[str, Lines]]:
    """Each single edit, with the chain behind it made anew."""
    events = [parse_event(line).event for line in lines]
    for index in range(ALL):
        rest = events[index + 1 :]
        yield f"edit {index}", list(chain_lines([*events[:index], event(99), *rest]))
        yield f"remove {index}", list(chain_lines([*events[:index], *rest]))
        yield f"cut at {index}", lines[:index]
    for index in range(ALL - 1):
        pair = (events[index + 1], events[index])
        yield f"swap {index}", list(chain_lines([*events[:index], *pair, *events[index + 2 :]]))
    for index in range(ALL + 1):
        yield f"insert {index}", list(chain_lines([*events[:index], event(99), *events[index:]]))


def plain(lines: Lines) -> Iterator[tuple[str, Lines]]:
    """The same, with nothing made anew behind it."""
    for index, line in enumerate(lines):
        before, rest = lines[:index], lines[index + 1 :]
        edited = line.replace(b'"at":"20', b'"at":"19')
        assert edited != line
        yield f"edit {index}", [*before, edited, *rest]
        yield f"remove {index}", [*before, *rest]
        yield f"cut at {index}", before
        yield f"cut in {index}", [*before, line[: len(line) // 2]]
    for index in range(ALL - 1):
        pair = (lines[index + 1], lines[index])
        yield f"swap {index}", [*lines[:index], *pair, *lines[index + 2 :]]
    for index in range(ALL + 1):
        prev = line_digest(lines[index - 1]) if index else "0" * 64
        more = list(chain_lines([event(99)], seq=index, prev=prev))
        yield f"insert {index}", [*lines[:index], *more, *lines[index:]]


def holds(lines: Lines) -> bool:
    """By the chain alone."""
    try:
        list(read_chain(lines))
    except FormatError:
        return False
    return True


@pytest.mark.parametrize("catalog", ["catalog", "no catalog"])
@pytest.mark.parametrize("chain", ["recomputed", "plain"])
def test_every_single_edit(catalog: str, chain: str, vault: Vault) -> None:
    log = Path(vault.log_path("a"))
    lines = log.read_bytes().splitlines(keepends=True)
    assert len(lines) == ALL
    if catalog == "no catalog":
        Path(vault.catalog).unlink()
    known = ALL if catalog == "catalog" else SEEN
    told, silent = 0, []
    for what, changed in {"recomputed": recomputed, "plain": plain}[chain](lines):
        log.write_bytes(b"".join(changed))
        found = problems(vault)
        if changed[:SEEN] != lines[:SEEN]:
            assert any("no longer begins" in one for one in found), what
        if changed[:known] != lines[:known] or not holds(changed):
            assert found, what
        told += bool(found)
        if not found:
            silent.append(what)
    # What comes behind the checkpoint is bound by the chain, and by what has seen it.
    expected = {
        ("catalog", "recomputed"): ["insert 8"],
        ("catalog", "plain"): ["insert 8"],
        ("no catalog", "recomputed"): [
            *("edit 6", "remove 6", "cut at 6", "edit 7", "remove 7", "cut at 7"),
            *("swap 6", "insert 6", "insert 7", "insert 8"),
        ],
        ("no catalog", "plain"): ["cut at 6", "edit 7", "remove 7", "cut at 7", "insert 8"],
    }
    assert silent == expected[catalog, chain]  # to append is what one does
    assert told > 25


# -- checkpoints


@pytest.fixture
def three(vault: Vault, office: Office) -> Path:
    """Three checkpoints, signed by Ana, with events between them: their directory."""
    for number in (10, 11):
        append(vault, number)
        path, _checkpoint = write_checkpoint(vault, (office.ana,), NOW)
    append(vault, 12)
    assert problems(vault) == []
    os.unlink(vault.catalog)
    return Path(path).parent


def move(directory: Path, old: int, new: int | str) -> None:
    """A checkpoint with all that belongs to it under another number, or away."""
    for path in directory.glob(f"{old:06}.txt*"):
        if isinstance(new, str):
            (directory / new).mkdir(exist_ok=True)
            path.rename(directory / new / path.name)
        else:
            path.rename(directory / path.name.replace(f"{old:06}", f"{new:06}"))


def test_the_newest_one_is_gone(vault: Vault, three: Path) -> None:
    move(three, 3, "away")
    assert any("000003.txt that it tells of is gone" in one for one in problems(vault))


def test_the_newest_one_is_gone_and_the_log_was_cut(vault: Vault, three: Path) -> None:
    """What can't be found without a copy that is elsewhere: it is in docs/vault.md."""
    move(three, 3, "away")
    log = Path(vault.log_path("a"))
    lines = log.read_bytes().splitlines(keepends=True)
    (cut,) = [n for n, line in enumerate(lines) if b'"checkpoint":"000003.txt"' in line]
    log.write_bytes(b"".join(lines[:cut]))
    assert problems(vault) == []
    report = check_logs(vault, [line_digest(lines[cut])])
    assert any("no chain has the head" in one.problem for one in report.problems)


@pytest.mark.parametrize("number", [1, 2])
def test_an_older_one_is_gone(number: int, vault: Vault, three: Path) -> None:
    move(three, number, "away")
    assert "the checkpoint before it is gone" in problems(vault)
    for later in range(number + 1, 4):
        move(three, later, later - 1)
    assert "it doesn't follow the checkpoint before it" in problems(vault)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (1, 3), (2, 3)])
def test_one_takes_the_place_of_another(old: int, new: int, vault: Vault, three: Path) -> None:
    """With its signature, so that all of it holds by itself."""
    move(three, new, "away")
    for path in three.glob(f"{old:06}.txt*"):
        shutil.copy(path, three / path.name.replace(f"{old:06}", f"{new:06}"))
    assert "it doesn't follow the checkpoint before it" in problems(vault)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 3), (2, 3)])
def test_two_are_swapped(one: int, other: int, vault: Vault, three: Path) -> None:
    move(three, one, 9)
    move(three, other, one)
    move(three, 9, other)
    assert "it doesn't follow the checkpoint before it" in problems(vault)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_byte_of_a_checkpoint(number: int, vault: Vault, three: Path) -> None:
    """The first is unsigned: the second binds it, and the log does."""
    path = three / f"{number:06}.txt"
    data = path.read_bytes()
    path.chmod(0o644)
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert problems(vault), position
    path.write_bytes(data[:-1])
    assert problems(vault)


def test_a_checkpoint_says_the_head_too(vault: Vault) -> None:
    """Also where neither log nor signature nor successor bind it."""
    (path,) = (Path(vault.path) / "custody" / "checkpoints").glob("*.txt")
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(re.sub(rb"[0-9a-f]{64}\n$", b"0" * 64 + b"\n", data))
    assert any("no longer begins" in one for one in problems(vault))


def test_nothing_happened_since_the_last_one(vault: Vault) -> None:
    """A case in which nothing happens isn't told of each checkpoint."""
    write_checkpoint(vault, (), NOW)
    log = Path(vault.log_path("a"))
    before = log.read_bytes()
    for _number in range(3):
        write_checkpoint(vault, (), NOW)
    assert log.read_bytes() == before
    assert problems(vault) == []


def test_what_a_killed_run_has_left(vault: Vault, office: Office) -> None:
    """A signature without its text is taken away by the next, whoever signs that."""
    (first,) = (Path(vault.path) / "custody" / "checkpoints").glob("*.txt")
    left = first.with_name(f"000002.txt.{office.ana.certificate.fingerprint[:16]}.p7s")
    left.write_bytes(office.ana.sign(b"other", NOW))
    assert problems(vault) == []
    path, _checkpoint = write_checkpoint(vault, (office.ben,), NOW)
    assert Path(path).name == "000002.txt"
    assert problems(vault) == []
    assert not left.exists()


# -- without us


def loop(log: Path) -> str:
    """The loop of docs/custody.md, on another file."""
    text = (ROOT / "docs" / "custody.md").read_text("utf-8")
    (script,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert script.count("metadata/custody.jsonl") == 1
    script = script.replace("metadata/custody.jsonl", log.name)
    done = subprocess.run(
        ["sh", "-c", script], cwd=log.parent, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_shell_loop_of_the_docs_on_a_case(filled: Vault) -> None:
    """Each line changed but the last is found; the last changes the head that is printed."""
    log = Path(filled.log_path("a"))
    lines = log.read_bytes().splitlines(keepends=True)
    head = f"head: {line_digest(lines[-1])}\n"
    assert len(lines) >= 4
    assert loop(log) == head
    for index, line in enumerate(lines):
        changed = line.replace(b'"outcome":"success"', b'"outcome":"failure"')
        assert changed != line
        log.write_bytes(b"".join([*lines[:index], changed, *lines[index + 1 :]]))
        told = loop(log)
        assert told != head
        assert ("BROKEN" in told) == (index < len(lines) - 1)
    log.write_bytes(b"".join(lines[1:]))
    assert "BROKEN" in loop(log)
