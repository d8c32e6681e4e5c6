"""What lies beside a file in a watched folder and describes it.

Job: read a side-car as carefully as the file itself; decide what becomes of it in the bag,
and whether the file may be put into one in clear. Limits: writes nothing.

A form that can't be understood keeps nothing from being sealed: it stays in the bag as it
is, and what is wrong with it is told without a word of it. Only what is confidential waits,
and what may be.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from archiver.describe import DESCRIPTION_PATH, Description, DescriptionError, read_form
from archiver.describe.description import MAX_DESCRIPTION_BYTES
from archiver.describe.graph import sources_of
from archiver.describe.moment import recorded_now
from archiver.describe.secrecy import is_held_back, may_be_secret
from archiver.filesystem import read_regular
from archiver.i18n import _
from archiver.seal.described import described_in
from archiver.watch.journal import split
from archiver.watch.model import Unit
from archiver.watch.rules import DESCRIPTION
from archiver.watch.settle import open_file

__all__ = ["FORM_PATH", "SideCar", "SideCars", "has_form"]

_STATEMENT = "statement"
"""Of these a person has to say who may read them, and who the witness is."""
FORM_PATH = "metadata/description.toml"
"""Where a form that wasn't understood is in its bag, byte for byte."""

_ENDINGS = (DESCRIPTION, DESCRIPTION.upper(), DESCRIPTION.title(), DESCRIPTION + b".txt")
_LIKE_A_FORM = re.compile(rb"\.to?ml(\.[a-z0-9~]{1,4})?~?$", re.IGNORECASE)
"""A name that a form may have, its backup copy and what an editor makes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCar:
    """What becomes of one. ``digest``: its sha512, where it was understood, so that the
    original may go with its file; ``note``: why it wasn't; ``held``: why the file waits.
    Neither holds a word of the form. ``secret``: what it says, where that is to be encrypted
    with its file.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    secret: Description | None = None
    digest: str = ""
    note: str = ""
    held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCars:
    """Those of one sink. ``case`` is the one they must belong to ("": any); ``encrypts``: what
    is secret can be encrypted; ``unknown`` says which items aren't there; ``beat`` hears of each
    form that is read.
    """

    case: str = ""
    encrypts: bool = False
    unknown: Callable[[Sequence[str]], Sequence[str]] = lambda _names: ()
    beat: Callable[[], None] = lambda: None

    def of(self, unit: Unit, now: datetime) -> SideCar:
        """Raises OSError, where it can't be read as the file that it was."""
        forms = [
            one.path
            for one in unit.members
            if _LIKE_A_FORM.search(one.path) and one.fingerprint.size_bytes <= MAX_DESCRIPTION_BYTES
        ]
        root = os.open(unit.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for path in forms:  # of a file that isn't there, or in a folder
                self.beat()
                if self._is_held(_read(root, path)):
                    return SideCar(held=_held())
            if held := self._near(root, unit):
                return SideCar(held=held)
            return (
                self._judge(_read(root, unit.description), now) if unit.description else SideCar()
            )
        finally:
            os.close(root)

    def _near(self, root: int, unit: Unit) -> str:
        """Why a file waits beside which something lies that was meant to describe it, and by
        its name or nature is no side-car: a link, ``NAME.ext.TOML``, ``NAME.toml``. What is
        told there of something open is told too late, and does no harm.
        """
        known = {unit.description, *(one.path for one in unit.members)}
        own = os.stat(unit.description, dir_fd=root) if unit.description else None
        for path in (near for one in unit.members for near in _meant(one.path)):
            if path in known:
                continue
            try:
                found = os.stat(path, dir_fd=root, follow_symlinks=False)
            except OSError:
                continue
            if own is not None and os.path.samestat(own, found):
                continue  # the same name, where case doesn't count
            if not stat.S_ISREG(found.st_mode):
                return _odd()
            if not _is_a_sidecar(path, known):
                self.beat()
                with suppress(OSError):
                    if self._is_held(_read(root, path)):
                        return _held()
        return ""

    def there(self, bag: str, unit: Unit, now: datetime) -> SideCar:
        """What became of it in a bag that is there, as far as that can be told."""
        if not unit.description:
            return SideCar()
        with suppress(OSError):
            found = self.of(unit, now)
            if found.note and found.files[FORM_PATH] == read_regular(
                os.path.join(bag, FORM_PATH), MAX_DESCRIPTION_BYTES + 1
            ):
                return found
            kept = described_in(bag)
            asked = found.files.get(DESCRIPTION_PATH)
            if kept is not None and asked is not None:
                wanted = Description.parse(asked)
                if (kept.kind, kept.values) == (wanted.kind, wanted.values):
                    return found
        return SideCar()

    @staticmethod
    def _is_held(data: bytes) -> bool:
        """Whether it says, or may say, that it describes something confidential."""
        try:
            return is_held_back(read_form(data, ""))
        except DescriptionError:
            return may_be_secret(data)

    def _secret(self, data: bytes, now: datetime) -> SideCar:
        """What is, or may be, secret: it is encrypted where it is understood, and no statement."""
        try:
            found = read_form(data, "", case=self.case, recorded=recorded_now(now))
        except DescriptionError:
            return SideCar(held=_held())
        known = found.is_secret and not self.unknown(sources_of(found.values))
        if not (self.encrypts and known) or found.kind == _STATEMENT:
            return SideCar(held=_held())
        return SideCar(secret=found, digest=hashlib.sha512(data).hexdigest())

    def _judge(self, data: bytes, now: datetime) -> SideCar:
        if self._is_held(data):
            return self._secret(data, now)
        try:
            found = read_form(data, "", case=self.case, recorded=recorded_now(now))
        except DescriptionError as error:
            first = error.mistakes[0]
            return _not_understood(data, first.line, first.plain)
        if self.unknown(sources_of(found.values)):
            return _not_understood(data, 1, _("derived_from names items that are not there"))
        digest = hashlib.sha512(data).hexdigest()
        return SideCar(files={DESCRIPTION_PATH: found.to_bytes()}, digest=digest)


def _not_understood(data: bytes, line: int, problem: str) -> SideCar:
    text = _("its description is not understood: line {line}: {problem}")
    return SideCar(files={FORM_PATH: data}, note=text.format(line=line, problem=problem))


def has_form(root: int, paths: Sequence[bytes]) -> bool:
    """Whether one of ``paths`` below ``root`` may be a description, or one may lie beside it."""
    for path in paths:
        if path.lower().endswith(DESCRIPTION):
            return True
        for near in _meant(path):
            with suppress(FileNotFoundError):
                os.stat(near, dir_fd=root, follow_symlinks=False)
                return True
    return False


def _meant(path: bytes) -> Iterator[bytes]:
    """Where people put what describes the file at ``path``: cameras write capitals, Macs take
    letters and their accents apart, and editors of Windows add an ending that is not shown.
    """
    directory, slash, name = path.rpartition(b"/")
    spelled = [one for base in (name, os.path.splitext(name)[0]) for one in _spellings(base)]
    for base in dict.fromkeys(spelled):
        for ending in _ENDINGS:
            yield directory + slash + base + ending


def _spellings(name: bytes) -> Iterator[bytes]:
    text = os.fsdecode(name)
    stem, ending = os.path.splitext(text)
    for one in (text, text.lower(), text.upper(), stem + ending.lower(), stem + ending.upper()):
        yield os.fsencode(one)
        if not text.isascii():
            for form in ("NFC", "NFD"):
                yield unicodedata.normalize(form, one).encode("utf-8", "surrogateescape")


def _is_a_sidecar(path: bytes, known: Container[bytes]) -> bool:
    """Whether it is one by its name, and is read as such."""
    base = path.removesuffix(DESCRIPTION)
    named = b"." in base.rpartition(b"/")[2].lstrip(b".")
    return base != path and base in known and named


def _odd() -> str:
    return _(
        "its description is a link, or no regular file: nobody knows whether the file may be put"
        " into a bag in clear. Put the description itself there, or remove it"
    )


def _held() -> str:
    return _(
        "its description is, or may be, that of something confidential: it is not put into a bag"
        " in clear. Take it in with 'archiver statement new', or name readers in the policy and"
        " mend what is wrong with the description; then remove file and description from here"
    )


def _read(root: int, path: bytes) -> bytes:
    """The bytes of a side-car; no link is followed on the way. Raises OSError."""
    descriptor, before = open_file(root, *split(path))
    with open(descriptor, "rb") as file:
        if before.size_bytes > MAX_DESCRIPTION_BYTES:
            raise OSError(errno.EFBIG, _("it is no file of at most 1 MiB"))
        data = file.read(MAX_DESCRIPTION_BYTES + 1)
        after = os.fstat(file.fileno())
        if len(data) != before.size_bytes or after.st_mtime_ns != before.mtime_ns:
            raise OSError(errno.ESTALE, _("it changed meanwhile"))
    return data
