"""Adds a signature to a bag that is finished, also one that another tool made.

Job: check, then sign. Limits: not a byte of the bag outside of ``signatures/`` is
touched; where another tool left no sha512 tag manifest, one is added, since that is
what is signed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from archiver.bag.model import Declaration
from archiver.bag.names import encode_path
from archiver.bag.opening import open_tree
from archiver.bag.progress import Progress
from archiver.bag.proofs import SIGNED_FILE, is_proof
from archiver.bag.tree import BagTree
from archiver.bag.validate import BagFacts, check_bag
from archiver.errors import ArchiverError, FormatError, UnreadableError, UsageError, storage_error
from archiver.filesystem import write_new_file
from archiver.findings import Findings, Severity
from archiver.i18n import _
from archiver.pki.keyring import SigningKey
from archiver.seal.proofs import sign_bag, writable

__all__ = [
    "SignedBag",
    "pack_it_whole",
    "refuse_damaged",
    "refuse_encoding",
    "refuse_unlisted",
    "sign_finished",
    "tag_manifest",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBag:
    """What was added: paths in the bag. ``added_manifest`` is "" or the tag manifest."""

    signatures: tuple[str, ...]
    added_manifest: str = ""


def sign_finished(
    bag: str,
    signers: Sequence[SigningKey],
    now: datetime,
    *,
    read_payload: bool = True,
    progress: Progress | None = None,
) -> SignedBag:
    """Sign the bag in the directory ``bag``.

    Raises FormatError where it isn't intact, UnreadableError where that can't be told, and
    other ArchiverErrors. ``read_payload`` False trusts an earlier check for the payload.
    """
    if os.path.isfile(bag):
        raise UsageError(
            _("{path} is an archive; only a bag in a directory can be signed").format(path=bag),
            hint=_("Unpack it first."),
        )
    findings = Findings()
    tree = open_tree(bag, findings)
    try:
        facts = check_bag(tree, findings, fast=not read_payload, progress=progress)
        _refuse_damaged(bag, findings)
        _refuse_uncovered(bag, facts)
        added = "" if "sha512" in facts.tag_algorithms else _add_tag_manifest(bag, tree, facts)
        if added:  # what is signed is looked at as everybody else will see it
            facts = check_bag(tree, findings, fast=True)
            _refuse_damaged(bag, findings)
    finally:
        tree.close()
    names = sign_bag(bag, signers, now, expected=facts.signed_digest)
    return SignedBag(signatures=names, added_manifest=added)


def _refuse_damaged(bag: str, findings: Findings) -> None:
    refuse_damaged(findings, bag, _("{bag} is not intact, so it was not signed: {path}: {message}"))


def refuse_damaged(
    findings: Findings, bag: str, told: str, *, hints: Mapping[str, str] | None = None
) -> None:
    """Raise FormatError or UnreadableError for the first finding that is no warning.

    ``told`` is the message, with places for ``bag``, ``path`` and ``message``; ``hints``
    are the next steps for single codes.
    """
    general = _("See 'archiver bag verify' for everything that was found.")
    for severity, kind in ((Severity.ERROR, FormatError), (Severity.UNDECIDED, UnreadableError)):
        for finding in findings:
            if finding.severity is severity:
                error: type[ArchiverError] = kind
                raise error(
                    told.format(bag=bag, path=finding.path, message=finding.message),
                    hint=(hints or {}).get(finding.code, general),
                )


def pack_it_whole() -> str:
    """The next step for a bag that can't be sealed as it is."""
    return _("Pack the whole bag into a new one: archiver bag create --bag-in-bag.")


def _refuse_uncovered(bag: str, facts: BagFacts) -> None:
    """A signature must cover every file, by digests that can't be forged."""
    if facts.weakly_listed:
        raise FormatError(
            _(
                "{bag} has only weak checksums for {count} files, which no signature would prove"
            ).format(bag=bag, count=facts.weakly_listed),
            hint=pack_it_whole(),
        )
    refuse_unlisted(bag, facts)


def refuse_unlisted(bag: str, facts: BagFacts) -> None:
    """Raise FormatError for a tag file that a sha512 tag manifest leaves out, and for what
    lies in ``signatures/`` and is no proof.
    """
    if "sha512" in facts.tag_algorithms and facts.unsigned_tag_files:
        raise FormatError(
            _("{bag}: {file} is not listed in {manifest}, so no signature could cover it").format(
                bag=bag, file=facts.unsigned_tag_files[0], manifest=SIGNED_FILE
            ),
            hint=pack_it_whole(),
        )
    if facts.proofs.unknown:
        raise FormatError(
            _("{bag}: {file} does not belong into signatures/").format(
                bag=bag, file=facts.proofs.unknown[0]
            ),
            hint=pack_it_whole(),
        )


def refuse_encoding(bag: str, declaration: Declaration | None) -> Declaration:
    """The declaration of a bag to which a manifest can be added. Raises FormatError."""
    if declaration is None or declaration.encoding.casefold() not in ("utf-8", "us-ascii", "ascii"):
        raise FormatError(
            _("{bag} has no sha512 tag manifest, and its encoding is not UTF-8").format(bag=bag),
            hint=pack_it_whole(),
        )
    return declaration


def _add_tag_manifest(bag: str, tree: BagTree, facts: BagFacts) -> str:
    """Write the sha512 tag manifest that the bag lacks."""
    data = tag_manifest(bag, tree, refuse_encoding(bag, facts.declaration))
    target = os.path.join(bag, SIGNED_FILE)
    try:
        with writable(bag):
            write_new_file(target, data, 0o444)
    except OSError as error:
        raise storage_error(error, target) from error
    return SIGNED_FILE


def tag_manifest(
    bag: str, tree: BagTree, declaration: Declaration, spelt: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a sha512 tag manifest: every tag file, nothing else. ``bag`` is the name
    for messages, ``spelt`` gives names as other manifests of the bag list them.

    Raises FormatError, OSError.
    """
    lines = []
    for listing in tree.walk(Findings(), payload=False):
        for path in listing.paths():
            if is_proof(path) or ("/" not in path and path.startswith("tagmanifest-")):
                continue
            with tree.open(path) as stream:
                state = hashlib.sha512()
                while data := stream.read(1 << 20):
                    state.update(data)
            name = (spelt or {}).get(path, path)
            name = encode_path(name) if declaration.is_1_0 else name
            if not name.isprintable():
                raise FormatError(
                    _("{bag}: the name of {file} can't stand in a tag manifest").format(
                        bag=bag, file=path
                    ),
                    hint=pack_it_whole(),
                )
            lines.append(f"{state.hexdigest()}  {name}\n")
    return "".join(lines).encode()
