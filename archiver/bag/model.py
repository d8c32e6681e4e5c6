"""The values a bag is made of, in the words of RFC 8493.

Job: frozen values, checked when built. Limits: no reading, no writing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from archiver.digest import ALGORITHMS, Algorithm

__all__ = [
    "ARCHIVE_SUFFIXES",
    "DECLARATION_FILE",
    "KNOWN_VERSIONS",
    "PAYLOAD_DIRECTORY",
    "VERSION_1",
    "BagInfo",
    "Declaration",
    "FetchEntry",
    "ManifestName",
    "Oxum",
    "Version",
]

DECLARATION_FILE = "bagit.txt"
PAYLOAD_DIRECTORY = "data"
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
"""Endings of archives that may hold a bag."""

Version = tuple[int, int]
VERSION_1: Version = (1, 0)
KNOWN_VERSIONS: frozenset[Version] = frozenset(
    {(0, 93), (0, 94), (0, 95), (0, 96), (0, 97), VERSION_1}
)


@dataclass(frozen=True, slots=True)
class Declaration:
    """The content of ``bagit.txt`` (RFC 8493 §2.1.1)."""

    version: Version
    encoding: str

    @property
    def is_1_0(self) -> bool:
        """Whether the rules of RFC 8493 itself hold, not those of a draft."""
        return self.version >= VERSION_1

    @property
    def info_file(self) -> str:
        """Drafts up to 0.95 call ``bag-info.txt`` ``package-info.txt``."""
        return "package-info.txt" if self.version < (0, 96) else "bag-info.txt"

    @property
    def version_text(self) -> str:
        """As written in the file."""
        return f"{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True, slots=True)
class Oxum:
    """``Payload-Oxum``: octet count and stream count of the payload."""

    size_bytes: int
    files: int

    def __str__(self) -> str:
        return f"{self.size_bytes}.{self.files}"

    @classmethod
    def parse(cls, text: str) -> Oxum | None:
        """None where ``text`` is not ``digits.digits``."""
        found = re.fullmatch(r"([0-9]{1,30})\.([0-9]{1,30})", text)
        return cls(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class BagInfo:
    """``bag-info.txt``: ordered (label, value) pairs; labels may repeat (§2.2.2)."""

    elements: tuple[tuple[str, str], ...] = ()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.elements)

    def all(self, label: str) -> list[str]:
        """The values of ``label`` in order; labels are compared without case."""
        wanted = label.casefold()
        return [value for name, value in self.elements if name.casefold() == wanted]

    def first(self, label: str) -> str | None:
        """The first value of ``label``, or None."""
        values = self.all(label)
        return values[0] if values else None

    def with_elements(self, elements: Iterable[tuple[str, str]]) -> BagInfo:
        """A copy with more elements at its end."""
        return BagInfo((*self.elements, *elements))


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchEntry:
    """A line of ``fetch.txt`` (§2.2.3). ``length_bytes`` is None for ``-``; nothing
    is ever allocated or fetched on its word.
    """

    url: str
    length_bytes: int | None
    path: str
    line: int


_MANIFEST = re.compile(r"(tag)?manifest-([a-z0-9]+)\.txt")
_LIKE_A_MANIFEST = re.compile(r"(tag)?manifest-.*\.txt", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ManifestName:
    """What a manifest's file name says: ``[tag]manifest-ALGORITHM.txt`` (§2.4)."""

    file: str
    algorithm_name: str
    is_tag_manifest: bool

    @property
    def algorithm(self) -> Algorithm | None:
        """None where the algorithm can't be computed here."""
        return ALGORITHMS.get(self.algorithm_name)

    @classmethod
    def parse(cls, file: str) -> ManifestName | None:
        """None where ``file`` is not a well-formed manifest name."""
        found = _MANIFEST.fullmatch(file)
        return cls(file, found[2], bool(found[1])) if found else None

    @classmethod
    def looks_like_one(cls, file: str) -> bool:
        """Whether ``file`` was meant as a manifest, rightly named or not."""
        return bool(_LIKE_A_MANIFEST.fullmatch(file))
