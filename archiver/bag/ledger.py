"""The payload manifests of a bag, joined: what each of them says of each path.

Job: hold a million paths with all their digests in little memory, and compare.
Limits: reads nothing, reports only what stands twice in a manifest.

One dictionary gives each path a row; digests are raw bytes, one array for each
manifest. Where a manifest lists the paths in the order of the first, and where
the files of a directory have neighbouring rows, whole slices are compared.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice

from archiver.bag.names import fold
from archiver.bag.read import ManifestBlock
from archiver.digest import Algorithm
from archiver.findings import Findings

__all__ = ["Ledger", "LedgerManifest"]


class LedgerManifest:
    """One manifest's column: its digests by row, and which rows it lists.

    ``algorithm`` is None where it can't be computed here: then the paths count,
    for completeness, and there are no digests (``width`` is 0 bytes).
    """

    def __init__(self, file: str, algorithm: Algorithm | None) -> None:
        self.file = file
        self.algorithm = algorithm
        self.width = algorithm.size_bytes if algorithm else 0
        self.digests = bytearray()
        self.listed = bytearray()
        self.entries = 0

    def grow(self, rows: int) -> None:
        """Have room for ``rows``."""
        self.digests.extend(bytes(max(0, rows * self.width - len(self.digests))))
        self.listed.extend(bytes(max(0, rows - len(self.listed))))

    def digest(self, row: int) -> bytes:
        """The digest in ``row``; zeros where this manifest doesn't list it."""
        return bytes(self.digests[row * self.width : (row + 1) * self.width])


class Ledger:
    """What the manifests list, by path."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.manifests: list[LedgerManifest] = []
        self.seen = bytearray()

    def __len__(self) -> int:
        return len(self.rows)

    def load(
        self,
        manifest: LedgerManifest,
        blocks: Iterator[ManifestBlock],
        findings: Findings,
        *,
        strict: bool,
    ) -> None:
        """Take in a manifest. ``strict``: a path twice is an error even with one digest."""
        manifest.grow(len(self.rows))
        self.manifests.append(manifest)
        known = iter(self.rows) if len(self.manifests) > 1 else None
        position = 0
        try:
            for block in blocks:
                count = len(block.paths)
                if known is not None and list(islice(known, count)) == block.paths:
                    self._set(manifest, position, block.digests, count)
                    position += count
                    continue
                known = None  # another order from here on; the iterator can't be used again
                if len(self.manifests) > 1 or not self._append(manifest, block):
                    self._merge(manifest, block, findings, strict=strict)
        finally:  # reading may break off; what was read counts
            for other in self.manifests:
                other.grow(len(self.rows))

    def _set(self, manifest: LedgerManifest, row: int, digests: bytes, count: int) -> None:
        manifest.grow(len(self.rows))
        width = manifest.width
        manifest.digests[row * width : (row + count) * width] = digests
        manifest.listed[row : row + count] = b"\1" * count
        manifest.entries += count

    def _append(self, manifest: LedgerManifest, block: ManifestBlock) -> bool:
        """Add a block of new, distinct paths at once; False where it is not one."""
        first, count = len(self.rows), len(block.paths)
        if not self.rows.keys().isdisjoint(block.paths) or len(set(block.paths)) < count:
            return False
        self.rows.update(zip(block.paths, range(first, first + count), strict=True))
        self._set(manifest, first, block.digests, count)
        return True

    def _merge(
        self, manifest: LedgerManifest, block: ManifestBlock, findings: Findings, *, strict: bool
    ) -> None:
        width = manifest.width
        for index, path in enumerate(block.paths):
            digest = block.digests[index * width : (index + 1) * width]
            row = self.rows.setdefault(path, len(self.rows))
            if row >= len(manifest.listed):
                manifest.grow(max(row + 1, min(2 * row, row + 65536)))
            if manifest.listed[row]:
                same = manifest.digest(row) == digest
                code = "E-BAG-025" if not same else "E-BAG-023" if strict else "W-BAG-024"
                findings.add(code, path, manifest=manifest.file, line=block.lines[index])
            else:
                manifest.digests[row * width : (row + 1) * width] = digest
                manifest.listed[row] = 1
                manifest.entries += 1

    def finish(self) -> None:
        """Make ready for comparing: nothing is seen yet."""
        self.seen = bytearray(len(self.rows))

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """Those that can be computed, in the order of the manifests."""
        return tuple(m.algorithm for m in self.manifests if m.algorithm is not None)

    def rows_of(self, paths: list[str]) -> list[int | None]:
        """The row of each path, None where no manifest lists it."""
        return list(map(self.rows.get, paths))

    def agrees(self, first: int, count: int, digests: bytes) -> bool:
        """Whether rows ``first`` on have exactly these digests in every manifest."""
        width = sum(manifest.width for manifest in self.manifests)
        offset = 0
        for manifest in self.manifests:
            expected = manifest.digests[first * manifest.width : (first + count) * manifest.width]
            if not all(manifest.listed[first : first + count]):
                return False
            if _column(digests, offset, manifest.width, width) != expected:
                return False
            offset += manifest.width
        return True

    def unseen(self) -> Iterator[tuple[str, int]]:
        """(path, row) of everything that is listed but was not seen."""
        for path, row in self.rows.items():
            if not self.seen[row]:
                yield path, row

    def twins(self) -> Iterator[tuple[str, str]]:
        """Listed paths that differ only in case or normalisation (a hash of each folded
        path is kept, not the path: eight bytes for each of a million).
        """
        hashes = array("q", (hash(fold(path)) for path in self.rows))
        order = sorted(hashes)
        repeated = {
            one for one, two in zip(order, islice(order, 1, None), strict=False) if one == two
        }
        if not repeated:
            return
        first: dict[str, str] = {}
        for path, value in zip(self.rows, hashes, strict=True):
            if value in repeated:
                twin = first.setdefault(fold(path), path)
                if twin != path:
                    yield path, twin


def _column(digests: bytes, offset: int, width: int, step: int) -> bytes:
    """One manifest's digests out of rows that hold those of all."""
    if step == width:
        return digests
    return b"".join([digests[start : start + width] for start in range(offset, len(digests), step)])
