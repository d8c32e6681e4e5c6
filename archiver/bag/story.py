"""A bag's story for a person: what it holds, who made it and when, what it records.

Job: gather what a bag says of itself. Limits: checks nothing; what is told here
is what the bag claims.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from archiver.bag.model import BagInfo, Declaration, ManifestName
from archiver.bag.read import MAX_LINE, find_codec, parse_bag_info, parse_declaration
from archiver.bag.sidecar import SCHEMA, SIDECAR_PATH
from archiver.bag.tree import BagTree
from archiver.errors import FormatError
from archiver.findings import Findings
from archiver.i18n import _

__all__ = ["SidecarSummary", "Story", "tell_story"]

MAX_FILES_SHOWN = 1000
_KINDS = ("file", "directory", "link", "excluded")


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSummary:
    """``metadata/filesystem.jsonl`` in figures; times in ns, None where none are told."""

    kinds: dict[str, int]
    renamed: int
    empty_directories: int
    earliest_mtime_ns: int | None
    latest_mtime_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a bag says of itself. ``files`` are the first payload files with sizes."""

    name: str
    declaration: Declaration
    info: BagInfo
    payload_files: int
    payload_bytes: int
    files: tuple[tuple[str, int], ...]
    algorithms: tuple[str, ...]
    tag_files: tuple[str, ...]
    sidecar: SidecarSummary | None


def tell_story(tree: BagTree) -> Story:
    """The story of the bag in ``tree``. Raises FormatError where it is no bag."""
    findings = Findings()
    base = tree.base_files()
    declaration = _declaration(tree, base, findings)
    files: list[tuple[str, int]] = []
    count = size = 0
    for listing in tree.walk(findings, payload=True) if tree.has_directory("data") else ():
        count += len(listing.names)
        size += sum(listing.sizes)
        if len(files) < MAX_FILES_SHOWN:
            files += zip(listing.paths(), listing.sizes, strict=True)
    tags = [path for found in tree.walk(findings, payload=False) for path in found.paths()]
    names = [ManifestName.parse(file) for file in sorted(base)]
    return Story(
        name=tree.name,
        declaration=declaration,
        info=_info(tree, base, declaration, findings),
        payload_files=count,
        payload_bytes=size,
        files=tuple(files[:MAX_FILES_SHOWN]),
        algorithms=tuple(n.algorithm_name for n in names if n and not n.is_tag_manifest),
        tag_files=tuple(sorted(tags)),
        sidecar=_summary(tree) if SIDECAR_PATH in tags else None,
    )


def _declaration(tree: BagTree, base: dict[str, int], findings: Findings) -> Declaration:
    declaration = None
    if "bagit.txt" in base:
        with tree.open("bagit.txt") as stream:
            declaration = parse_declaration(stream.read(65536), findings)
    if declaration is None:
        raise FormatError(
            _("{path} is no bag: bagit.txt is missing or can't be read").format(path=tree.name),
            hint=_("Name the directory or archive that holds bagit.txt and data/."),
        )
    if find_codec(declaration.encoding) is None:
        return Declaration(declaration.version, "UTF-8")
    return declaration


def _info(
    tree: BagTree, base: dict[str, int], declaration: Declaration, findings: Findings
) -> BagInfo:
    if declaration.info_file not in base:
        return BagInfo()
    with tree.open(declaration.info_file) as stream:
        return parse_bag_info(stream, declaration, findings, declaration.info_file)


def _summary(tree: BagTree) -> SidecarSummary | None:
    """None where the side-car is not one of ours, or damaged."""
    kinds: Counter[str] = Counter()
    renamed = empty = 0
    times: list[int] = []
    try:
        records = _records(tree)
        if next(records, {}).get("schema") != SCHEMA:
            return None
        for record in records:
            kind = record.get("type")
            count = int(record.get("count", 1))  # type: ignore[call-overload]  # exclusions
            kinds[str(kind) if kind in _KINDS else "other"] += count
            renamed += "name_bytes" in record
            empty += record.get("empty") is True
            if record.get("type") == "file":
                time = int(record["mtime_ns"])  # type: ignore[call-overload]
                times = [min(times[0], time), max(times[1], time)] if times else [time, time]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return SidecarSummary(
        kinds=dict(kinds),
        renamed=renamed,
        empty_directories=empty,
        earliest_mtime_ns=times[0] if times else None,
        latest_mtime_ns=times[1] if times else None,
    )


def _records(tree: BagTree) -> Iterator[dict[str, object]]:
    rest = b""
    with tree.open(SIDECAR_PATH) as stream:
        while data := stream.read(MAX_LINE):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > MAX_LINE:
                raise ValueError("a line is too long")
            for line in lines:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise TypeError("a line is no object")
                yield record
