"""Policies from files: found, read, checked, merged.

Job: :func:`load_policy`; :func:`read_policy` also tells where each answer comes from. Limits:
what a value may be, is said by :mod:`archiver.policy.check`. A policy may be a stranger's:
only regular files of a sensible size are read, and nothing waits for them.
"""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archiver.errors import PolicyError
from archiver.i18n import N_, _
from archiver.policy.check import Checker, FieldCheck, Mistake, MistakesError
from archiver.policy.model import TABLES, Policy
from archiver.tomlfile import TomlText, line_of_error

__all__ = [
    "MAX_POLICY_BYTES",
    "LoadedPolicy",
    "PolicyFile",
    "load_policy",
    "policy_names",
    "read_policy",
]

MAX_POLICY_BYTES = 1 << 18
_MAX_CHAIN = 10
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""A pipe's other end is never waited for."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One file: its path as it was named, its text, what it says (lists as tuples)."""

    path: str
    text: TomlText
    table: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy and the files that it comes from, nearest first."""

    policy: Policy
    files: tuple[PolicyFile, ...]

    @property
    def extends(self) -> str:
        """The name of the policy that the nearest file extends, "" where it extends none."""
        return Path(self.files[1].path).stem if len(self.files) > 1 else ""

    def source(self, table: str, key: str) -> PolicyFile | None:
        """The file that has the last word on ``key``; None: the built-in default holds."""
        return next((one for one in self.files if key in one.table.get(table, {})), None)

    def where(self, table: str, key: str, item: str = "") -> str:
        """FILE:LINE of an answer, or of an ``item`` of its list; "" for a default."""
        found = self.source(table, key)
        if found is None:
            return ""
        text = found.text
        line = text.item_line(item, key, table) if item else text.line(key, table)
        return f"{found.path}:{line}"


def _directory() -> Path:
    """Where the shipped policies lie: in the wheel, else beside the package."""
    inside = Path(__file__).parent.parent / "policies"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "policies"


def policy_names() -> list[str]:
    """The policies that ship, by name."""
    return sorted(path.stem for path in _directory().glob("*.toml"))


def load_policy(name: str) -> Policy:
    """The policy ``name``: one that ships, or a path that ends in ``.toml``.

    Raises PolicyError with file, line and the nearest known key.
    """
    return read_policy(name).policy


def read_policy(name: str, fields: FieldCheck | None = None) -> LoadedPolicy:
    """The same, with its files; ``fields`` checks those of ``[describe]``. Raises PolicyError:
    a MistakesError where files can be read, and say what no policy can say.
    """
    files, mistakes = _chain(name, fields)
    if mistakes:
        raise MistakesError(mistakes)
    merged: dict[str, Any] = {}
    for file in reversed(files):
        for key, value in file.table.items():
            merged[key] = {**merged.get(key, {}), **value} if key in TABLES else value
    tables = {key: kind(**merged.get(key, {})) for key, kind in TABLES.items()}
    policy = Policy(name=name, description=merged.get("description", ""), **tables)
    loaded = LoadedPolicy(policy, tuple(files))
    mistakes = _contradictions(loaded)
    if mistakes:
        raise MistakesError(mistakes)
    return loaded


def _contradictions(loaded: LoadedPolicy) -> list[Mistake]:
    """What can only be seen of the whole."""
    policy, found = loaded.policy, []
    if policy.watch.originals == "move" and not policy.watch.move_to:
        message = _("originals are to be moved, but move_to doesn't say where")
        found.append(Mistake(place=loaded.where("watch", "originals"), message=message))
    if policy.scan.clean == policy.scan.infected:
        key = "infected" if loaded.where("scan", "infected") else "clean"
        message = _("clean and infected must not be the same exit code")
        found.append(Mistake(place=loaded.where("scan", key), message=message))
    return found


def _chain(name: str, fields: FieldCheck | None) -> tuple[list[PolicyFile], list[Mistake]]:
    """The policy's file and those it extends, nearest first; what is wrong in them."""
    chain: list[PolicyFile] = []
    mistakes: list[Mistake] = []
    origin, wanted, place = Path(), name, ""
    met: set[str] = set()
    while wanted:
        path = _find(wanted, origin, place)
        real = os.path.realpath(path) if "\0" not in str(path) else ""
        if len(chain) == _MAX_CHAIN or real in met:
            text = _("policy {place}: extends too many others, or itself")
            raise PolicyError(text.format(place=place))
        met.add(real)
        file, wrong = _read(path, fields)
        mistakes += wrong
        chain.append(file)
        extends = file.table.pop("extends", "")
        place = f"{path}:{file.text.line('extends')}"
        origin, wanted = path.parent, extends if isinstance(extends, str) else ""
    return chain, mistakes


def _find(name: str, origin: Path, place: str) -> Path:
    """The path of a policy; ``place`` is where it was asked for."""
    if name.endswith(".toml"):
        return origin / name
    known = policy_names()
    if name in known:
        return _directory() / f"{name}.toml"
    near = difflib.get_close_matches(name, known, n=1)
    hint = (
        _("Did you mean {near}?").format(near=near[0])
        if near
        else _("Known policies: {known}; or give a path that ends in .toml.").format(
            known=", ".join(known)
        )
    )
    message = _("there is no policy named {name}").format(name=name)
    if place:
        message = _("policy {place}: {message}").format(place=place, message=message)
    raise PolicyError(message, hint=hint)


def _read(path: Path, fields: FieldCheck | None) -> tuple[PolicyFile, list[Mistake]]:
    """The file at ``path`` and what is wrong in it. Raises PolicyError where it can't be read."""
    try:
        text = _bytes_of(path).decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PolicyError(
            _("policy {path} can't be read: {reason}").format(path=path, reason=_(reason)),
            hint=_("Check the spelling of the path; that of a vault stands in its vault.toml."),
        ) from error
    try:
        parsed = TomlText(text)
    except ValueError as error:
        mistake = Mistake(place=f"{path}:{line_of_error(error, text)}", message=str(error))
        raise MistakesError([mistake]) from error
    if not parsed.table:
        raise PolicyError(
            _("policy {path} is empty").format(path=path),
            hint=_("A policy without rules would approve of anything; write down what is wanted."),
        )
    checker = Checker(str(path), parsed, fields) if fields else Checker(str(path), parsed)
    checker.check(parsed.table)
    return PolicyFile(str(path), parsed, parsed.table), checker.mistakes


def _bytes_of(path: Path) -> bytes:
    descriptor = os.open(path, _OPEN)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(N_("it is no regular file"))
        data = file.read(MAX_POLICY_BYTES + 1)
    if len(data) > MAX_POLICY_BYTES:
        raise ValueError(N_("it is too large"))
    return data
