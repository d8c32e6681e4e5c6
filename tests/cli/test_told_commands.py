"""Every command that a message, a document or an example tells one to type is one that there
is, with the options that it names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from babel.messages.pofile import read_po

from archiver.cli.app import COMMANDS, GROUPS, build_app

ROOT = Path(__file__).resolve().parents[2]
_IN_MESSAGE = re.compile(r"'(archiver [a-z][^']*)|(?:^|: )(archiver [a-z][^\n]*)")
_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(archiver [a-z][^`]*)`")
_LINE = re.compile(r"(?:^|[;|&(] *)(archiver [a-z].*?)(?=$|[;|&#)>])")
_OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*")
_NO_COMMANDS = {"archiver checkpoint 1", "archiver vs this"}
"""A line of a file, and a column of a table."""
_DEFAULT = {"describe": "amend", "watch": "run"}
"""What a group does with an argument that is no command of its own."""
_ANYWHERE = {"--help", "-h", "--debug", "--no-color", "--lang", "--version"}


def told() -> Iterator[tuple[str, str]]:
    """Where, and what is to be typed."""
    with open(ROOT / "archiver/locale/es/LC_MESSAGES/archiver.po", "rb") as file:
        for message in read_po(file):
            texts = message.id if isinstance(message.id, tuple | list) else (message.id,)
            for text in texts:
                for found in _IN_MESSAGE.findall(text):
                    yield "a message", found[0] or found[1]
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text()
        for block in _BLOCK.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                for command in _LINE.findall(line.removeprefix("$ ").strip()):
                    yield path.name, command
        for command in _INLINE.findall(_BLOCK.sub("", text)):
            yield path.name, " ".join(command.split())


@functools.cache
def known(name: str) -> Any:
    command: Any = typer.main.get_command(build_app([name]))
    return command.commands[name]


def what_is_wrong(command: str) -> str:
    words = command.split()[1:]
    name = words.pop(0).rstrip(".,:;")
    if name not in {**COMMANDS, **GROUPS}:
        return f"there is no command {name}"
    found = known(name)
    if hasattr(found, "commands") and words:
        if words[0] in found.commands:
            found = found.commands[words.pop(0)]
        elif name in _DEFAULT and not words[0].startswith("-"):
            found = found.commands[_DEFAULT[name]]
        elif re.fullmatch(r"[a-z]{3,}", words[0]):
            return f"{name} has no command {words[0]}"
    options = {one for each in found.params for one in (*each.opts, *each.secondary_opts)}
    given = _OPTION.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "x", " ".join(words)))
    unknown = [one for one in given if one not in options | _ANYWHERE]
    return f"{found.name} has no {', '.join(unknown)}" if unknown else ""


def test_what_is_told_can_be_typed() -> None:
    found = sorted(one for one in set(told()) if one[1] not in _NO_COMMANDS)
    assert len(found) > 300
    wrong = [(place, one, why) for place, one in found if (why := what_is_wrong(one))]
    assert wrong == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("archiver unpack x", "there is no command unpack"),
        ("archiver bag unpack x", "bag has no command unpack"),
        ("archiver absence record --remove-original", "record has no --remove-original"),
        ("archiver describe ID --reasons 'x --y'", "amend has no --reasons"),
    ],
)
def test_what_can_t_be_typed_is_noticed(command: str, why: str) -> None:
    assert what_is_wrong(command) == why
