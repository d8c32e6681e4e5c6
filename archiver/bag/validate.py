"""Checks a bag after RFC 8493: structure, completeness, fixity.

Job: steps 1 to 3 of a verification (docs/verification.md), all findings, never
only the first. Limits: reads through a :class:`~archiver.bag.tree.BagTree`,
writes nothing, fetches nothing; seal, trust and time are judged elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from archiver.bag.ledger import Ledger, LedgerManifest
from archiver.bag.model import (
    DECLARATION_FILE,
    PAYLOAD_DIRECTORY,
    BagInfo,
    Declaration,
    ManifestName,
    Oxum,
)
from archiver.bag.names import decode_path, normalise
from archiver.bag.progress import Progress, Silent
from archiver.bag.proofs import SIGNATURES, SIGNED_FILE, ProofFiles, is_proof, sort_proofs
from archiver.bag.read import (
    ManifestReader,
    find_codec,
    parse_bag_info,
    parse_declaration,
    parse_fetch,
)
from archiver.bag.tree import BagTree, Listing, Reading
from archiver.findings import Findings
from archiver.i18n import N_

__all__ = ["BagFacts", "check_bag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BagFacts:
    """What was learnt of a bag: sizes are what was found, not what was stated."""

    declaration: Declaration | None
    info: BagInfo
    payload_files: int
    payload_bytes: int
    payload_algorithms: tuple[str, ...]
    tag_algorithms: tuple[str, ...]
    proofs: ProofFiles
    tag_files: frozenset[str] = frozenset()
    """Tag files that a tag manifest lists and that are there."""
    weakly_listed: int = 0
    """Payload files that no manifest with a strong digest lists."""
    signed_digest: str = ""
    """SHA-512 of tagmanifest-sha512.txt as it was read; "" where there is none."""
    unsigned_tag_files: tuple[str, ...] = ()
    """Tag files that the sha512 tag manifest doesn't list, so that no signature covers
    them; without tag manifests and what lies in ``signatures/``.
    """


NOTHING = BagFacts(
    declaration=None,
    info=BagInfo(),
    payload_files=0,
    payload_bytes=0,
    payload_algorithms=(),
    tag_algorithms=(),
    proofs=sort_proofs(()),
)
"""What is known of a bag that could not be looked at."""


def check_bag(
    tree: BagTree, findings: Findings, *, fast: bool = False, progress: Progress | None = None
) -> BagFacts:
    """Check ``tree`` and gather what is found in ``findings``.

    ``fast`` leaves step 3 out: structure, completeness and Payload-Oxum only,
    no checksum is computed.

    Of a tree that could only be seen in part nothing is claimed: the finding
    that says so stands alone, and no file is called missing.
    """
    if tree.cut_short:
        return NOTHING
    return _Check(tree, findings, fast=fast, progress=progress or Silent()).run()


MAX_MANIFESTS = 64
"""Manifests that are read; there are a dozen algorithms."""
_SURE = ("E-BAG-011", "E-BAG-106", "E-BAG-107", "E-BAG-109", "E-BAG-200")
"""What is wrong in whatever encoding the tag files are."""
_Stray = tuple[str, str, int]
"""A file that no manifest lists by this very name: directory, name, size."""


class _Counted:
    """Listings as they pass, their files counted."""

    def __init__(self, listings: Iterator[Listing]) -> None:
        self._listings = listings
        self.files = 0

    def __iter__(self) -> Iterator[Listing]:
        for listing in self._listings:
            self.files += len(listing.names)
            yield listing


class _Hashed:
    """A stream whose bytes are hashed as they are read."""

    def __init__(self, stream: BinaryIO, state: hashlib._Hash) -> None:
        self._stream = stream
        self._state = state

    def read(self, size: int) -> bytes:
        """As the stream's."""
        data = self._stream.read(size)
        self._state.update(data)
        return data


class _Check:
    def __init__(
        self, tree: BagTree, findings: Findings, *, fast: bool, progress: Progress
    ) -> None:
        self._tree = tree
        self._findings = findings
        self._fast = fast
        self._progress = progress
        self._base = tree.base_files()
        self._declared: Declaration | None = None
        self._guessed = False
        self._declaration = Declaration((1, 0), "UTF-8")
        self._manifests: list[ManifestName] = []
        self._payload = Ledger()
        self._tags = Ledger()
        self._unfetched: set[str] = set()
        self._strays: list[_Stray] = []
        self._tag_strays: list[_Stray] = []
        self._unsigned: list[str] = []
        self._signed = hashlib.sha512()
        self._proofs: list[str] = []
        self._closed: frozenset[str] = frozenset()
        self._files = 0
        self._bytes = 0

    def run(self) -> BagFacts:
        self._read_declaration()
        return self._run_guessing() if self._guessed else self._run()

    def _run_guessing(self) -> BagFacts:
        """A bag in an encoding that is not known here: its tag files are read as Latin-1,
        and of what is found only what no reading could change is told.
        """
        told, self._findings = self._findings, Findings()
        self._run()
        for one in self._findings:
            if one.code in _SURE and one.path.isascii():
                told.add(one.code, one.path, **dict(one.details))
        return replace(NOTHING, declaration=self._declared)

    def _run(self) -> BagFacts:
        self._name_manifests()
        info = self._read_info()
        self._load(self._payload, tag=False)
        self._load(self._tags, tag=True)
        self._read_fetch()
        self._check_manifests()
        self._check_payload()
        self._check_tag_files(info)
        self._check_oxum(info)
        return BagFacts(
            declaration=self._declared,
            info=info,
            payload_files=self._files,
            payload_bytes=self._bytes,
            payload_algorithms=tuple(m.algorithm_name for m in self._names(tag=False)),
            tag_algorithms=tuple(m.algorithm_name for m in self._names(tag=True)),
            proofs=sort_proofs(tuple(self._proofs)),
            tag_files=frozenset(p for p, row in self._tags.rows.items() if self._tags.seen[row]),
            weakly_listed=self._weakly_listed(),
            signed_digest=self._signed.hexdigest() if SIGNED_FILE in self._base else "",
            unsigned_tag_files=tuple(sorted(self._unsigned)),
        )

    # -- step 1: structure

    def _read_declaration(self) -> None:
        if DECLARATION_FILE not in self._base:
            self._findings.add("E-BAG-001", DECLARATION_FILE)
            return
        data = self._read_start(DECLARATION_FILE)
        declared = None if data is None else parse_declaration(data, self._findings)
        if declared is None:
            return
        self._declared = declared
        if find_codec(declared.encoding) is None:
            self._findings.add("U-BAG-006", DECLARATION_FILE, encoding=declared.encoding)
            declared = Declaration(declared.version, "latin-1")
            self._guessed = True
        self._declaration = declared

    def _read_start(self, path: str) -> bytes | None:
        """The first 64 KiB of a tag file; a finding where it can't be read."""
        try:
            with self._tree.open(path) as stream:
                return stream.read(65536)
        except OSError as error:
            self._findings.add("U-BAG-049", path, reason=error.strerror or str(error))
            return None

    def _name_manifests(self) -> None:
        for file in sorted(self._base):
            name = ManifestName.parse(file)
            if name is None:
                if ManifestName.looks_like_one(file):
                    self._findings.add("E-BAG-009", file)
                continue
            if len(self._manifests) == MAX_MANIFESTS:
                self._findings.add("U-BAG-053", file, limit=MAX_MANIFESTS)
                break
            self._manifests.append(name)
            if name.algorithm is None:
                self._findings.add("U-BAG-010", file, algorithm=name.algorithm_name)
        payload = self._names(tag=False)
        if not payload:
            self._findings.add("E-BAG-007")
        known = [name.algorithm for name in payload if name.algorithm is not None]
        if known and not any(algorithm.strong for algorithm in known):
            weak = ", ".join(algorithm.name for algorithm in known)
            self._findings.add("W-BAG-203", algorithms=weak)

    def _names(self, *, tag: bool) -> list[ManifestName]:
        return [name for name in self._manifests if name.is_tag_manifest is tag]

    def _read_info(self) -> BagInfo:
        file = self._declaration.info_file
        if file not in self._base:
            return BagInfo()
        try:
            with self._tree.open(file) as stream:
                return parse_bag_info(stream, self._declaration, self._findings, file)
        except OSError as error:
            self._findings.add("U-BAG-049", file, reason=error.strerror or str(error))
            return BagInfo()

    def _load(self, ledger: Ledger, *, tag: bool) -> None:
        for name in self._names(tag=tag):
            reader = ManifestReader(name, self._declaration, self._findings)
            column = LedgerManifest(name.file, name.algorithm)
            try:
                with self._tree.open(name.file) as stream:
                    signed = name.file == SIGNED_FILE
                    blocks = reader.read(_Hashed(stream, self._signed) if signed else stream)
                    ledger.load(column, blocks, self._findings, strict=self._declaration.is_1_0)
            except OSError as error:
                reason = error.strerror or str(error)
                self._findings.add("U-BAG-049", name.file, reason=reason)
        ledger.finish()

    def _read_fetch(self) -> None:
        if "fetch.txt" not in self._base:
            return
        try:
            with self._tree.open("fetch.txt") as stream:
                for entry in parse_fetch(stream, self._declaration, self._findings):
                    self._unfetched.add(entry.path)
                    self._check_fetch_path(entry.path)
        except OSError as error:
            reason = error.strerror or str(error)
            self._findings.add("U-BAG-049", "fetch.txt", reason=reason)

    def _check_fetch_path(self, path: str) -> None:
        row = self._payload.rows.get(path)
        for manifest in self._payload.manifests:
            if row is None or not manifest.listed[row]:
                self._findings.add("E-BAG-046", path, manifest=manifest.file)

    def _check_manifests(self) -> None:
        for path, twin in self._payload.twins():
            self._findings.add("W-BAG-033", path, twin=twin)
        if self._declaration.is_1_0:
            self._check_every_manifest()
        for manifest in self._tags.manifests:
            for name in self._names(tag=False):
                row = self._tags.rows.get(name.file)
                if row is None or not manifest.listed[row]:
                    self._findings.add("E-BAG-029", name.file, manifest=manifest.file)
            if manifest.entries < len(self._tags):
                self._check_same_set(manifest)

    def _check_every_manifest(self) -> None:
        for manifest in self._payload.manifests:
            if manifest.entries == len(self._payload):
                continue
            for path, row in self._payload.rows.items():
                if not manifest.listed[row]:
                    self._findings.add("E-BAG-102", path, manifest=manifest.file)

    def _check_same_set(self, manifest: LedgerManifest) -> None:
        for path, row in self._tags.rows.items():
            if not manifest.listed[row] and ManifestName.parse(path) is None:
                self._findings.add("W-BAG-030", path, manifest=manifest.file)

    # -- steps 2 and 3: the payload

    def _check_payload(self) -> None:
        if not self._tree.has_directory(PAYLOAD_DIRECTORY):
            self._findings.add("E-BAG-008", PAYLOAD_DIRECTORY)
        else:
            self._read_and_compare(self._payload, self._listed_payload())
            for path in self._match_strays(self._payload, self._strays):
                self._findings.add("E-BAG-101", path)
        self._closed = self._not_looked_at()
        for path, row in self._payload.unseen():
            self._missing(path, row)

    def _listed_payload(self) -> Iterator[Listing]:
        """Walk ``data/``; give what is listed, keep what is not for a second look."""
        for listing in self._tree.walk(self._findings, payload=True):
            self._files += len(listing.names)
            self._bytes += sum(listing.sizes)
            yield from self._split(self._payload, listing, self._strays)

    def _split(self, ledger: Ledger, listing: Listing, strays: list[_Stray]) -> Iterator[Listing]:
        """The part of a listing that the ledger has, marked as seen."""
        paths = listing.paths()
        rows = ledger.rows_of(paths)
        if None not in rows:
            for row in rows:
                ledger.seen[row] = 1  # type: ignore[index]  # None was ruled out above
            yield listing
            return
        names, sizes = [], []
        for _path, name, size, row in zip(paths, listing.names, listing.sizes, rows, strict=True):
            if row is not None:
                ledger.seen[row] = 1
                names.append(name)
                sizes.append(size)
            else:
                strays.append((listing.path, name, size))
        if names:
            yield Listing(listing.path, names, sizes)

    def _read_and_compare(self, ledger: Ledger, listings: Iterator[Listing]) -> None:
        if self._fast or not ledger.algorithms:
            for _listing in listings:
                pass  # walking them is what completeness needs
            return
        given = _Counted(listings)
        compared = 0
        for reading in self._tree.read(given, ledger.algorithms, self._progress.within):
            rows = ledger.rows_of(reading.listing.paths())
            self._compare(ledger, reading, [row for row in rows if row is not None])
            self._progress.done(sum(reading.sizes), len(reading.sizes))
            compared += len(reading.sizes)
        if compared != given.files:  # a file that was never read must not count as right
            reason = N_("files were listed for reading and not read")
            self._findings.add("U-BAG-201", reason=reason)

    def _compare(self, ledger: Ledger, reading: Reading, rows: list[int]) -> None:
        """Compare a reading with the ledger's rows for its files, in their order."""
        first, count = rows[0], len(rows)
        neighbours = rows[-1] - first == count - 1 and rows == list(range(first, first + count))
        if neighbours and not reading.errors and ledger.agrees(first, count, reading.digests):
            return
        width = sum(algorithm.size_bytes for algorithm in ledger.algorithms)
        for index, (path, row) in enumerate(zip(reading.listing.paths(), rows, strict=True)):
            if index in reading.errors:
                self._unreadable(path, reading.errors[index].kind, reading.errors[index].reason)
            else:
                digests = reading.digests[index * width : (index + 1) * width]
                self._compare_one(ledger, path, row, digests)

    def _compare_one(self, ledger: Ledger, path: str, row: int, digests: bytes) -> None:
        offset = 0
        for manifest in ledger.manifests:
            found = digests[offset : offset + manifest.width]
            offset += manifest.width
            if manifest.algorithm is None or not manifest.listed[row]:
                continue
            if found != (expected := manifest.digest(row)):
                self._findings.add(
                    "E-BAG-200",
                    path,
                    algorithm=manifest.algorithm.name,
                    manifest=manifest.file,
                    expected=expected.hex(),
                    found=found.hex(),
                )

    def _unreadable(self, path: str, kind: str, reason: str) -> None:
        if kind == "changed":
            self._findings.add("U-BAG-202", path)
        elif kind == "damaged":
            self._findings.add("E-ARC-001", path, reason=reason)
        elif kind == "limit":
            self._findings.add("U-ARC-008", path, reason=reason)
        else:
            self._findings.add("U-BAG-201", path, reason=reason)

    def _match_strays(self, ledger: Ledger, strays: list[_Stray]) -> list[str]:
        """Find files under another spelling of their listed names: another Unicode
        normalisation, or (before 1.0) percent-encoded line breaks. What is left over.
        """
        wanted: dict[str, tuple[str, int, str]] = {}
        for path, row in ledger.unseen() if strays else ():
            wanted.setdefault(normalise(path), (path, row, "W-BAG-035"))
            if not self._declaration.is_1_0 and "%0" in path:
                wanted.setdefault(normalise(decode_path(path)), (path, row, "W-BAG-034"))
        left = []
        for directory, name, size in strays:
            path = f"{directory}/{name}" if directory else name
            found = wanted.get(normalise(path))
            if found is None or ledger.seen[found[1]]:
                left.append(path)
                continue
            listed, row, code = found
            ledger.seen[row] = 1
            version = self._declaration.version_text
            self._findings.add(code, path, listed=listed, version=version)
            self._compare_respelt(ledger, Listing(directory, [name], [size]), row)
        return left

    def _compare_respelt(self, ledger: Ledger, listing: Listing, row: int) -> None:
        if self._fast or not ledger.algorithms:
            return
        for reading in self._tree.read([listing], ledger.algorithms, self._progress.within):
            self._compare(ledger, reading, [row])

    def _not_looked_at(self) -> frozenset[str]:
        """Directories that could not be listed: nothing is known of what lies below."""
        codes = ("U-BAG-110", "U-BAG-111")
        return frozenset(one.path for one in self._findings if one.code in codes)

    def _was_not_looked_at(self, path: str) -> bool:
        parts = path.split("/") if self._closed else ()
        return any("/".join(parts[:end]) in self._closed for end in range(1, len(parts)))

    def _missing(self, path: str, row: int) -> None:
        if path in self._unfetched:
            self._findings.add("E-BAG-105", path)
            return
        if self._was_not_looked_at(path):
            return
        lists = ", ".join(m.file for m in self._payload.manifests if m.listed[row])
        if self._tree.has_directory(path):
            self._findings.add("E-BAG-026", path, manifest=lists)
        else:
            self._findings.add("E-BAG-100", path, manifests=lists)

    def _weakly_listed(self) -> int:
        """How many payload files are listed by weak digests only."""
        strong = [m for m in self._payload.manifests if m.algorithm and m.algorithm.strong]
        if any(manifest.entries == len(self._payload) for manifest in strong):
            return 0
        rows = self._payload.rows.values()
        return sum(1 for row in rows if not any(m.listed[row] for m in strong))

    # -- steps 2 and 3: tag files

    def _check_tag_files(self, info: BagInfo) -> None:
        # What is sealed rests on the tag files: then they are read even at a fast look.
        sealed = bool(info.all("Archiver-Seal")) or self._tree.has_directory(SIGNATURES)
        fast, self._fast = self._fast, self._fast and not sealed
        self._read_and_compare(self._tags, self._listed_tag_files())
        # What no tag manifest lists is allowed; signatures can't cover it.
        self._note_unsigned(self._match_strays(self._tags, self._tag_strays))
        self._fast = fast
        self._closed = self._not_looked_at()
        for path, row in self._tags.unseen():
            if self._was_not_looked_at(path):
                continue
            for manifest in self._tags.manifests:
                if manifest.listed[row]:
                    self._findings.add("E-BAG-103", path, manifest=manifest.file)

    def _note_unsigned(self, unlisted: list[str]) -> None:
        signed = next((m for m in self._tags.manifests if m.file == SIGNED_FILE), None)
        listed = [
            path
            for path, row in self._tags.rows.items()
            if self._tags.seen[row] and not (signed and signed.listed[row])
        ]
        for path in (*unlisted, *listed):
            name = ManifestName.parse(path)
            if name is not None and name.is_tag_manifest:
                continue
            (self._proofs if is_proof(path) else self._unsigned).append(path)

    def _listed_tag_files(self) -> Iterator[Listing]:
        for listing in self._tree.walk(self._findings, payload=False):
            yield from self._split(self._tags, listing, self._tag_strays)

    def _check_oxum(self, info: BagInfo) -> None:
        """Payload-Oxum, after everything else: it never hides which file is at fault."""
        text = info.first("Payload-Oxum")
        if text is None:
            return
        oxum = Oxum.parse(text)
        if oxum is None:
            self._findings.add("E-BAG-041", self._declaration.info_file, value=text)
        elif not self._closed and oxum != Oxum(self._bytes, self._files):
            self._findings.add(
                "E-BAG-104",
                self._declaration.info_file,
                stated_bytes=oxum.size_bytes,
                stated_files=oxum.files,
                bytes=self._bytes,
                files=self._files,
            )
