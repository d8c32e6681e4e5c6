"""Which tool is asked about which file, and what becomes of the answers.

Job: records of files and of whole payloads. Limits: how a child is kept is the business of
:mod:`archiver.identify.keeper`.

siegfried first, since it is quick and says which of the others are worth asking: MediaInfo
for video and audio, exiftool for pictures, video, audio and documents; all of them for what
nobody knows. Text is not asked about further.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

from archiver.identify.companions import with_companions
from archiver.identify.keeper import Answer, Keeper, Limits
from archiver.identify.record import FormatRecord, bounded, mime, path_text, puid, text
from archiver.identify.tools import NAMES, installed

__all__ = ["Identifier", "identify_files", "identify_payload", "payload_files"]

_NO_IDENTIFIER = "not identified (no identifier installed)"
_PATIENCE = 20
"""Files that exceed their limits, one after the other, until the rest is not asked about."""
_MEDIA = ("video/", "audio/")
_DOCUMENTS = (
    "image/",
    "application/pdf",
    "application/msword",
    "application/vnd.",
    "application/rtf",
    "application/postscript",
    "application/epub+zip",
)
_PROVENANCE = ("c2pa", "proofmode")


class Identifier:
    """Makes records of files below ``roots``, with one child for all of them. Without roots
    each bag has a child of its own, which can read that bag.
    """

    def __init__(
        self,
        roots: Sequence[str] = (),
        limits: Limits | None = None,
        *,
        tools: Sequence[str] | None = None,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._keeper = Keeper(roots, limits, installed() if tools is None else tools)
        self._keeper.waiting = waiting
        self._exceeded = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        self._keeper.close()

    @property
    def tools(self) -> tuple[str, ...]:
        """Names and versions of those that were asked."""
        return tuple(self._keeper.versions.values())

    @property
    def unusable(self) -> tuple[str, ...]:
        """Those that are installed, and can't be used."""
        return tuple(sorted(self._keeper.unusable))

    @property
    def confinement(self) -> tuple[str, ...]:
        """What the child gave up; () before it was started."""
        return self._keeper.confinement

    def begin(self, places: Sequence[str]) -> None:
        """Before a bag, whose files are, or lie below, ``places``: what the bags before it were
        like is forgotten.
        """
        self._keeper.reach(places)
        self._exceeded = 0

    def record(self, path: str, name: str) -> FormatRecord:
        """The record of the file at ``path``, which is called ``name`` in it."""
        name = path_text(name)
        if not self._keeper.tools:
            return FormatRecord(path=name, outcome="not asked", reason=_NO_IDENTIFIER)
        problem = _unfit(path)
        if problem:
            return FormatRecord(path=name, outcome="failed", reason=problem)
        if self._exceeded >= _PATIENCE:
            reason = f"{_PATIENCE} files before this one exceeded their limits"
            return FormatRecord(path=name, outcome="not asked", reason=reason)
        asked = _Asked(self._keeper, os.path.abspath(path))
        made = asked.record(name)
        self._keeper.waiting()
        over = made.outcome in ("timed out", "out of memory", "failed")
        self._exceeded = self._exceeded + 1 if over and asked.was_slow else 0
        return made


def _unfit(path: str) -> str:
    """Why a file can't be read at all: looked at before anybody opens it."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return "it is no regular file"
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    os.close(descriptor)
    return ""


class _Asked:
    """The answers about one file."""

    def __init__(self, keeper: Keeper, path: str) -> None:
        self._keeper, self._path = keeper, path
        self._left = keeper.limits.seconds
        self._values: dict[str, dict[str, Any]] = {}
        self._troubles: dict[str, Answer] = {}

    @property
    def was_slow(self) -> bool:
        """Whether it took all the time that it might."""
        return self._left <= 0

    def record(self, name: str) -> FormatRecord:
        """Ask, and gather."""
        tools = self._keeper.tools
        for tool in (one for one in tools if one == NAMES[0] or ":" in one):
            self._ask(tool)
        told = self._format()
        for tool in (one for one in tools if one in NAMES[1:] and _is_worth(one, told)):
            self._ask(tool)
        return self._made(name, told)

    def _ask(self, tool: str) -> None:
        if self._left <= 0:
            self._troubles[tool] = Answer({}, "timed out", "no time was left")
            return
        begun = time.monotonic()
        answer = self._keeper.ask(tool, self._path, self._left)
        self._left -= time.monotonic() - begun
        self._values[tool] = answer.values
        if answer.outcome:
            self._troubles[tool] = answer

    def _format(self) -> dict[str, Any]:
        for values in self._values.values():
            told = values.get("format")
            if isinstance(told, dict):
                return told
        return {}

    def _made(self, name: str, told: dict[str, Any]) -> FormatRecord:
        known = puid(told.get("puid"))
        first = next(iter(self._troubles.values()), None)
        usual = "identified" if known else "unknown"
        if not any(one == NAMES[0] or ":" in one for one in self._usable()):
            usual = "not asked"
        provenance = {
            key: text(values[key], 100)
            for values in self._values.values()
            for key in _PROVENANCE
            if text(values.get(key))
        }
        return FormatRecord(
            path=name,
            outcome=first.outcome if first else usual,
            puid=known,
            mime=mime(told.get("mime")),
            format=text(told.get("format")),
            version=text(told.get("version"), 100),
            basis=text(told.get("basis")),
            warnings=_texts(told.get("warnings")),
            identifier=self._identifier(),
            technical=self._parts("technical"),
            found=self._found(),
            provenance=provenance,
            reason=self._reason(usual),
        )

    def _usable(self) -> list[str]:
        return [one for one in self._keeper.tools if one not in self._keeper.unusable]

    def _identifier(self) -> str:
        return text(self._keeper.versions.get(NAMES[0], ""), 200)

    def _reason(self, usual: str) -> str:
        told = [f"{tool}: {one.outcome} ({one.reason})" for tool, one in self._troubles.items()]
        if usual == "not asked" and not told:
            told = [_NO_IDENTIFIER]
        return text("; ".join(told))

    def _parts(self, part: str) -> dict[str, Any]:
        """By tool, what it said; nothing for those that said nothing."""
        found = {}
        for tool, values in self._values.items():
            value = values.get(part)
            if isinstance(value, dict) and value:
                found[tool] = bounded(value)
        return found

    def _found(self) -> dict[str, Any]:
        """By topic, each claim with the tool that read it."""
        gathered: dict[str, dict[str, Any]] = {}
        for tool, topics in self._parts("found").items():
            for topic, claims in topics.items():
                if isinstance(claims, dict) and claims:
                    named = {f"{tool} {key}": value for key, value in claims.items()}
                    gathered.setdefault(topic, {}).update(named)
        return gathered


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text(one) for one in value[:16]) if isinstance(value, list) else ()


def _is_worth(tool: str, told: dict[str, Any]) -> bool:
    """Whether ``tool`` has something to say of a file of this format."""
    kind, group = mime(told.get("mime")), text(told.get("class")).casefold()
    known = bool(puid(told.get("puid")))
    if tool == "c2pa":
        return not kind.startswith("text/")
    media = kind.startswith(_MEDIA) or "video" in group or "audio" in group
    if tool == "mediainfo":
        return media or not known
    documents = kind.startswith(_DOCUMENTS) or "image" in group or "word" in group
    return media or documents or not known


def payload_files(bag: str) -> Iterator[tuple[str, str]]:
    """The regular files below ``data/`` of the bag: (path, path in the bag), sorted."""
    yield from _files(os.path.join(bag, "data"), "data")


def _files(directory: str, name: str) -> Iterator[tuple[str, str]]:
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda one: one.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{name}/{entry.name}")
        elif entry.is_file(follow_symlinks=False):
            yield entry.path, f"{name}/{entry.name}"


def identify_payload(
    place: str,
    files: Iterable[tuple[str, str]],
    identifier: Identifier,
) -> list[FormatRecord]:
    """The records of files below ``place``, given as (path, name in the record), such as
    :func:`payload_files` gives them.
    """
    identifier.begin([place])
    return with_companions(identifier.record(path, name) for path, name in files)


def identify_files(files: Sequence[tuple[str, str]], identifier: Identifier) -> list[FormatRecord]:
    """The records of files that lie anywhere, given as (path, name in the record); "" is the
    path of what comes through a pipe, which can't be asked about.
    """
    identifier.begin([os.path.realpath(path) for path, _name in files if path])
    # What belongs together is told by the names that the files have now.
    told = with_companions(
        identifier.record(os.path.realpath(path), path) if path else _unread(path)
        for path, _name in files
    )
    return [replace(one, path=name) for one, (_path, name) in zip(told, files, strict=True)]


def _unread(name: str) -> FormatRecord:
    return FormatRecord(path=name, outcome="not asked", reason="it came through a pipe")
