"""What a sealed bag says of itself, read only where it is what was sealed.

Job: tag files whose digests lead to the digest in the custody log; the payload's manifests
joined. Limits: the payload itself is not read: that is what audits do.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any, Self

from archiver.bag.ledger import Ledger, LedgerManifest
from archiver.bag.model import Declaration, ManifestName
from archiver.bag.proofs import SIGNED_FILE
from archiver.bag.read import ManifestReader
from archiver.bag.tree import DirectoryTree
from archiver.custody import MAX_EVENT_BYTES
from archiver.errors import NoIntactReplicaError, storage_error
from archiver.findings import Findings
from archiver.i18n import _

__all__ = ["SealedBag"]

_MAX_TAG_MANIFEST_BYTES = 64 << 20


class SealedBag:
    """The bag at ``path``; a context manager. ``sealed`` is the SHA-512 of its tag manifest, as
    the log has it, ``declaration`` that of the bag.

    Raises NoIntactReplicaError where a tag file isn't what was sealed, StorageError.
    """

    def __init__(self, path: str, sealed: str, declaration: Declaration) -> None:
        self._path, self._tree = path, DirectoryTree(path)
        self._declaration = declaration
        try:
            self._digests = self._read_tag_manifest(sealed)
        except BaseException:
            self._tree.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._tree.close()

    def _read_tag_manifest(self, sealed: str) -> dict[str, bytes]:
        try:
            with self._tree.open(SIGNED_FILE) as stream:
                data = stream.read(_MAX_TAG_MANIFEST_BYTES)
        except OSError as error:
            raise self._not_it(SIGNED_FILE) from error
        if hashlib.sha512(data).hexdigest() != sealed:
            raise self._not_it(SIGNED_FILE)
        ledger = self._ledger([SIGNED_FILE])
        (manifest,) = ledger.manifests
        return {path: manifest.digest(row) for path, row in ledger.rows.items()}

    def _not_it(self, file: str) -> NoIntactReplicaError:
        return NoIntactReplicaError(
            _("{path}: {file} is not what was sealed").format(path=self._path, file=file),
            hint=_("See 'archiver audit' and 'archiver repair'."),
        )

    def check(self, file: str) -> None:
        """Raises NoIntactReplicaError unless ``file`` is a tag file as it was sealed."""
        try:
            with io.BufferedReader(self._tree.open(file)) as stream:  # type: ignore[type-var]
                found = hashlib.file_digest(stream, "sha512").digest()
        except OSError as error:
            raise self._not_it(file) from error
        if found != self._digests.get(file):
            raise self._not_it(file)

    def payload(self) -> Ledger:
        """What the payload manifests list."""
        names = [name for name in self._digests if _is_payload_manifest(name)]
        for name in names:
            self.check(name)
        return self._ledger(sorted(names, reverse=True))

    def _ledger(self, names: list[str]) -> Ledger:
        ledger, findings = Ledger(), Findings()
        for name in names:
            parsed = ManifestName.parse(name)
            assert parsed is not None
            reader = ManifestReader(parsed, self._declaration, findings)
            column = LedgerManifest(name, parsed.algorithm)
            try:
                with self._tree.open(name) as stream:
                    ledger.load(column, reader.read(stream), findings, strict=True)
            except OSError as error:
                raise storage_error(error, self._path) from error
        ledger.finish()
        return ledger

    def lines(self, file: str) -> Iterator[bytes]:
        """The lines of a tag file that was checked; none where there is no such file."""
        if file not in self._digests:
            return
        self.check(file)
        with io.BufferedReader(self._tree.open(file)) as stream:  # type: ignore[type-var]
            while line := stream.readline(MAX_EVENT_BYTES):
                yield line

    def records(self, file: str) -> Iterator[dict[str, Any]]:
        """The JSON objects in such a file, one a line; what is none is passed over."""
        for line in self.lines(file):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield record

    def proof(self, file: str, limit: int) -> bytes:
        """A file of the seal, which no manifest lists. Raises StorageError."""
        try:
            with self._tree.open(file) as stream:
                return stream.read(limit)
        except OSError as error:
            raise storage_error(error, self._path) from error

    def size_bytes(self, path: str) -> int | None:
        """How large a payload file is now; None where it isn't there."""
        try:
            with self._tree.open(path) as stream:
                return stream.seek(0, 2)
        except OSError:
            return None


def _is_payload_manifest(name: str) -> bool:
    parsed = ManifestName.parse(name)
    return parsed is not None and not parsed.is_tag_manifest
