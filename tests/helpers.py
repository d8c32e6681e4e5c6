"""Bags made by hand, byte for byte, and the program run in this process.

``Bag`` lays a sound bag down from files in memory; every tag file can be replaced,
left out or changed before :meth:`Bag.write`, so that tests can be wrong on purpose.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from archiver.bag.tree import DirectoryTree
from archiver.bag.validate import BagFacts, check_bag
from archiver.cli import main
from archiver.digest import ALGORITHMS
from archiver.findings import Finding, Findings
from archiver.verify import VerificationReport, VerifyOptions, verify_bag

FILES: Mapping[str, bytes] = {"data/a.txt": b"alpha\n", "data/dir/b.bin": b"\0\1\2"}
"""The payload of a bag that is told nothing else."""

Line = Callable[[str, str], bytes]
"""A manifest line from (hexadecimal digest, path)."""


def digest(algorithm: str, data: bytes) -> str:
    """The digest in hexadecimal, by the algorithm's BagIt name; made-up names get zeros."""
    known = ALGORITHMS.get(algorithm)
    if known is None:
        return "0" * 16
    return hashlib.new(known.constructor, data).hexdigest()


def plain_line(checksum: str, path: str) -> bytes:
    """``DIGEST  PATH``, as sha512sum reads it."""
    return f"{checksum}  {path}\n".encode("utf-8", "surrogateescape")


def encoded_line(checksum: str, path: str) -> bytes:
    """The same with the path encoded as BagIt 1.0 does."""
    path = path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")
    return plain_line(checksum, path)


class Bag:
    """A bag in memory. ``files`` holds every file by path; None means: leave it out.

    Manifests are computed from the payload when they are first asked for, tag
    manifests when the bag is written, so that a change of a tag file is not a
    broken checksum as well, unless the test sets the tag manifest itself.
    """

    def __init__(
        self,
        files: Mapping[str, bytes] | None = None,
        *,
        version: str = "1.0",
        encoding: str = "UTF-8",
        algorithms: Iterable[str] = ("sha512",),
        tag_algorithms: Iterable[str] | None = None,
        info: str | bytes | None = None,
        tag_files: Mapping[str, bytes] | None = None,
        line: Line = encoded_line,
    ) -> None:
        self.payload = dict(FILES if files is None else files)
        self.algorithms = tuple(algorithms)
        self.tag_algorithms = self.algorithms if tag_algorithms is None else tuple(tag_algorithms)
        self.tags: dict[str, bytes | None] = {
            "bagit.txt": (
                f"BagIt-Version: {version}\nTag-File-Character-Encoding: {encoding}\n".encode()
            )
        }
        if info is not None:
            name = "package-info.txt" if version < "0.96" else "bag-info.txt"
            self.tags[name] = info if isinstance(info, bytes) else info.encode(encoding)
        self.tags |= tag_files or {}
        for algorithm in self.algorithms:
            self.tags[f"manifest-{algorithm}.txt"] = self.manifest(algorithm, line)

    def manifest(self, algorithm: str, line: Line = encoded_line) -> bytes:
        """The right payload manifest."""
        return b"".join(
            line(digest(algorithm, data), path) for path, data in sorted(self.payload.items())
        )

    def tag_manifest(self, algorithm: str, line: Line = encoded_line) -> bytes:
        """The right tag manifest for the tag files as they are now."""
        return b"".join(
            line(digest(algorithm, data), path)
            for path, data in sorted(self.tags.items())
            if data is not None and not path.startswith("tagmanifest-")
        )

    def edit(self, path: str, change: Callable[[bytes], bytes]) -> "Bag":
        """Change a tag file that is there; the tag manifests will know of it."""
        data = self.tags[path]
        assert data is not None
        self.tags[path] = change(data)
        return self

    def set(self, path: str, data: bytes | None) -> "Bag":
        """Put a tag file in, or (None) keep one out."""
        self.tags[path] = data
        return self

    def write(self, base: Path) -> Path:
        """Lay the bag down at ``base``."""
        (base / "data").mkdir(parents=True)
        files: dict[str, bytes | None] = {**self.payload, **self.tags}
        for algorithm in self.tag_algorithms:
            files.setdefault(f"tagmanifest-{algorithm}.txt", self.tag_manifest(algorithm))
        for path, data in files.items():
            if data is not None:
                full = os.fsencode(base / path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "wb") as file:
                    file.write(data)
        return base


def check(base: Path, *, fast: bool = False) -> tuple[BagFacts, Findings]:
    """Steps 1 to 3 alone."""
    findings = Findings()
    tree = DirectoryTree(str(base))
    try:
        return check_bag(tree, findings, fast=fast), findings
    finally:
        tree.close()


def verify(base: Path, **options: object) -> VerificationReport:
    """The whole verification; every message is formatted, since each must be able to."""
    report = verify_bag(str(base), VerifyOptions(**options))  # type: ignore[arg-type]
    assert all(finding.message and finding.reference for finding in report.findings)
    return report


def codes(found: Iterable[Finding]) -> set[str]:
    """The codes that were found."""
    return {finding.code for finding in found}


def problems(found: Iterable[Finding]) -> set[str]:
    """The codes that were found, but for warnings."""
    return {code for code in codes(found) if not code.startswith("W")}


@dataclass(frozen=True)
class Ran:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """Standard output as one JSON document."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """Run ``archiver ARGUMENTS`` in this process."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return Ran(code, captured.out, captured.err)


def snapshot(base: Path) -> dict[str, tuple[object, ...]]:
    """Everything that verifying must leave alone, but for access times."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([base, *base.rglob("*")]):
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(base))] = (
            stat.st_mode,
            stat.st_ino,
            stat.st_size,
            stat.st_mtime_ns,
            stat.st_ctime_ns,
            content,
        )
    return found
