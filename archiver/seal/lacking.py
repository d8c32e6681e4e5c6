"""What a bag of another tool lacks to be sealed, and how that is added beside what it has.

Job: choose the manifests to add, write them into a staged copy. Limits: no file that was
there is rewritten; what can't be done so is refused.

RFC 8493 §2.2.1: each tag manifest lists *every* payload manifest. One that was made before
a payload manifest was added doesn't, and would make the bag invalid where it is: it is set
aside, byte for byte, as a plain tag file (docs/adr/0015-adopted-bags.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from archiver.bag.duplicate import Digests, Original, manifest_lines
from archiver.bag.model import Declaration
from archiver.bag.proofs import SIGNATURES, SIGNED_FILE
from archiver.bag.tree import DirectoryTree
from archiver.bag.validate import BagFacts
from archiver.errors import FormatError
from archiver.filesystem import write_new_file
from archiver.findings import Findings
from archiver.i18n import _
from archiver.seal.finished import pack_it_whole, refuse_encoding, refuse_unlisted, tag_manifest

__all__ = [
    "PAYLOAD_MANIFEST",
    "SET_ASIDE",
    "Lacking",
    "add_payload_manifest",
    "add_tag_manifest",
    "find_lacking",
    "set_aside",
]

PAYLOAD_MANIFEST = "manifest-sha512.txt"
SET_ASIDE = "metadata/adopted"
"""Where tag manifests go that can't list a new payload manifest."""
_MODE = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """Which manifests are to be added. ``spelt`` are paths that the bag's own manifests list
    under another spelling than the disk's: what is added has to agree with them.
    """

    payload_manifest: bool
    tag_manifest: bool
    declaration: Declaration | None
    spelt: dict[str, str] = field(default_factory=dict)


def find_lacking(bag: str, facts: BagFacts, findings: Findings) -> Lacking:
    """What an intact bag lacks. Raises FormatError where it can't be added."""
    refuse_unlisted(bag, facts)
    if SIGNATURES in facts.tag_files or SIGNATURES in facts.unsigned_tag_files:
        raise FormatError(
            _("{path} is not a directory, so nothing can be added to it").format(
                path=os.path.join(bag, SIGNATURES)
            ),
            hint=pack_it_whole(),
        )
    signed = "sha512" in facts.tag_algorithms
    listed = "sha512" in facts.payload_algorithms
    if facts.weakly_listed and (signed or listed):
        raise FormatError(
            _(
                "{bag} has only weak checksums for {count} files, and {manifest} is there already"
            ).format(
                bag=bag,
                count=facts.weakly_listed,
                manifest=PAYLOAD_MANIFEST if listed else SIGNED_FILE,
            ),
            hint=pack_it_whole(),
        )
    if not signed:
        refuse_encoding(bag, facts.declaration)
    return Lacking(
        # Beside strong digests one more manifest isn't worth setting tag manifests aside.
        payload_manifest=facts.weakly_listed > 0 or not (listed or facts.tag_algorithms),
        tag_manifest=not signed,
        declaration=facts.declaration,
        spelt=_spelt(bag, findings),
    )


def _spelt(bag: str, findings: Findings) -> dict[str, str]:
    codes = ("W-BAG-034", "W-BAG-035")
    found = {one.path: dict(one.details)["listed"] for one in findings if one.code in codes}
    count = sum(findings.counts.get(code, 0) for code in codes)
    if count > len(found):  # only so many findings are kept
        raise FormatError(
            _("{bag}: the manifests spell {count} names in another way than the disk").format(
                bag=bag, count=count
            ),
            hint=pack_it_whole(),
        )
    return found


def add_payload_manifest(
    staged: str, original: Original, digests: Digests, lacking: Lacking
) -> None:
    """Write ``manifest-sha512.txt`` over what was copied. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(os.path.join(staged, PAYLOAD_MANIFEST), flags, 0o600)
    encoded = lacking.declaration is not None and lacking.declaration.is_1_0
    with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(manifest_lines(original, digests, lacking.spelt, encoded=encoded))
        with contextlib.suppress(PermissionError):  # file systems without modes
            os.chmod(descriptor, _MODE)


def set_aside(bag: str, staged: str, algorithms: Sequence[str]) -> tuple[str, ...]:
    """Move the tag manifests of these algorithms to where they claim nothing any more;
    their new paths in the bag. Raises FormatError where that place is taken, OSError.
    """
    moved = []
    for algorithm in algorithms:
        name = f"tagmanifest-{algorithm}.txt"
        goal = f"{SET_ASIDE}/{name}"
        try:
            os.makedirs(os.path.join(staged, SET_ASIDE), exist_ok=True)
            taken = os.path.lexists(os.path.join(staged, goal))
        except (FileExistsError, NotADirectoryError):
            taken = True
        if taken:
            raise FormatError(
                _("{bag}: {file} has to be set aside, and {place} is taken").format(
                    bag=bag, file=name, place=goal
                ),
                hint=pack_it_whole(),
            )
        os.rename(os.path.join(staged, name), os.path.join(staged, goal))
        moved.append(goal)
    return tuple(moved)


def add_tag_manifest(bag: str, staged: str, lacking: Lacking) -> str:
    """Write ``tagmanifest-sha512.txt`` over all tag files; its SHA-512.

    Raises FormatError where a name can't stand in it, OSError.
    """
    declaration = refuse_encoding(bag, lacking.declaration)
    tree = DirectoryTree(staged, workers=0)
    try:
        data = tag_manifest(bag, tree, declaration, lacking.spelt)
    finally:
        tree.close()
    write_new_file(os.path.join(staged, SIGNED_FILE), data, _MODE)
    return hashlib.sha512(data).hexdigest()
