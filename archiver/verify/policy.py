"""Step 9 of a verification: what a policy asks of a bag is there (docs/policies.md).

Job: algorithms, signatures, time stamps, description, formats, virus scan, encryption. Limits:
what records in the bag say is what their writer says. What is encrypted can't be judged
without a key that opens it, and is never said to hold then.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from archiver.bag.encrypted import HEAD_BYTES, is_age_file, is_age_head
from archiver.bag.opening import open_tree
from archiver.bag.tree import BagTree, DirectoryTree
from archiver.bag.validate import BagFacts
from archiver.custody import CUSTODY_PATH, MAX_EVENT_BYTES, read_chain
from archiver.describe import DESCRIPTION_PATH, Description, fields_of
from archiver.describe.description import MAX_DESCRIPTION_BYTES
from archiver.errors import FormatError
from archiver.findings import Findings
from archiver.i18n import N_
from archiver.policy import DescribePolicy, Policy
from archiver.verify.formats import FORMATS_PATH, check_formats
from archiver.verify.reading import Unsealing, lines_of, read_limited

if TYPE_CHECKING:  # cryptography costs start-up time
    from archiver.encrypt import Identities
    from archiver.verify.seal import Seal

__all__ = ["IDENTITY_PATH", "check_policy", "find_owed", "find_plain"]

IDENTITY_PATH = "data/identity.age"
SEALED_SUFFIX = ".age"
_TELLING = frozenset({FORMATS_PATH, "metadata/description.toml"})
"""What tells of a secret item as its description does: where it was, who made it."""


def check_policy(
    policy: Policy,
    tree: BagTree,
    facts: BagFacts,
    seal: Seal | None,
    findings: Findings,
    identities: Identities | None = None,
) -> None:
    """Check everything that ``policy`` asks of a bag that was looked at in full; with
    ``identities`` also what is said in ciphertext.
    """
    _check_proofs(policy, facts, seal, findings)
    if tree.cut_short:
        return
    listed = facts.tag_files - set(facts.unsigned_tag_files)
    sealed = Unsealing(tree, identities)
    secret = _Describing(policy, sealed, listed, findings).check()
    check_formats(policy, sealed, listed, findings)
    _check_scan(policy, tree, listed, findings)
    _check_encryption(policy, tree, findings, secret=secret)
    if secret and policy.encryption.payload != "never":
        for path in sorted(facts.tag_files & _TELLING):
            findings.add("E-POL-040", path, policy=policy.name)


def find_owed(policy: Policy, bag: str) -> Findings:
    """What ``policy`` still wants to be said of a bag of one's own that was just made: its
    description alone is looked at. Raises OSError.
    """
    findings = Findings()
    tree = DirectoryTree(bag, workers=0)
    try:
        paths = (DESCRIPTION_PATH, DESCRIPTION_PATH + SEALED_SUFFIX)
        there = frozenset(one for one in paths if os.path.lexists(os.path.join(bag, one)))
        _Describing(policy, Unsealing(tree, None), there, findings).check()
    finally:
        tree.close()
    return findings


def find_plain(policy: Policy, bag: str) -> Findings:
    """What isn't encrypted of the bag at ``bag``, by a policy for which all must be. Raises
    UsageError where there is nothing that could hold a bag.
    """
    findings = Findings()
    tree = open_tree(bag, Findings(), workers=0)
    try:
        for path, head in tree.heads(HEAD_BYTES):
            _check_encrypted(policy, path, head, findings)
    finally:
        tree.close()
    return findings


def _check_proofs(policy: Policy, facts: BagFacts, seal: Seal | None, findings: Findings) -> None:
    for algorithm in policy.bag.algorithms:
        if algorithm not in facts.payload_algorithms:
            findings.add("E-POL-001", policy=policy.name, algorithm=algorithm)
    wanted, best = policy.proof, dict[str, int]()
    for one in seal.signatures if seal else ():
        if one.trusted:
            best[one.key_digest] = max(best.get(one.key_digest, 0), one.proven_stamps)
    if len(best) < wanted.signatures:
        findings.add("E-POL-002", policy=policy.name, wanted=wanted.signatures, found=len(best))
    stamped = sorted(best.values(), reverse=True)[: max(1, wanted.signatures)]
    fewest = min(stamped, default=0)
    if fewest < wanted.time_stamps:
        findings.add("E-POL-003", policy=policy.name, wanted=wanted.time_stamps, found=fewest)


class _Describing:
    """What is said of the item, judged; ``listed`` are the tag files that count."""

    def __init__(
        self, policy: Policy, sealed: Unsealing, listed: frozenset[str], findings: Findings
    ) -> None:
        self._policy, self._unsealing, self._findings = policy, sealed, findings
        self._tree = sealed.tree
        self._clear = DESCRIPTION_PATH in listed
        self._sealed = DESCRIPTION_PATH + SEALED_SUFFIX in listed

    def check(self) -> bool:
        """Whether the item is secret, by its description or since that is encrypted."""
        wanted = self._policy.describe
        if self._clear and self._sealed:
            reason = N_("there are two, one encrypted and one in clear")
            self._findings.add("E-POL-011", DESCRIPTION_PATH, reason=reason)
            return True
        if self._sealed:
            return self._check_sealed()
        if self._clear:
            return self._check_clear()
        if wanted.required:
            self._findings.add("E-POL-010", policy=self._policy.name)
        return False

    def _check_sealed(self) -> bool:
        path = DESCRIPTION_PATH + SEALED_SUFFIX
        try:
            with self._tree.open(path) as stream:
                sound = is_age_file(stream)
            data = self._unsealing.read(path, MAX_DESCRIPTION_BYTES) if sound else None
            description = Description.parse(data) if data is not None else None
        except OSError as error:
            self._findings.add("U-POL-015", path, reason=error.strerror or str(error))
            return True
        except FormatError as error:
            self._findings.add("E-POL-011", path, reason=error.message)
            return True
        if not sound:
            reason = N_("it is not encrypted with age")
            self._findings.add("E-POL-011", path, reason=reason)
        elif description is not None:
            self._check_owed(description, path)
        elif self._policy.describe.required or _asks(self._policy.describe):
            self._findings.add("U-POL-013", path, policy=self._policy.name)
        return True

    def _check_clear(self) -> bool:
        try:
            data = read_limited(self._tree, DESCRIPTION_PATH, MAX_DESCRIPTION_BYTES)
            description = Description.parse(data)
        except OSError as error:
            reason = error.strerror or str(error)
            self._findings.add("U-POL-015", DESCRIPTION_PATH, reason=reason)
            return False
        except FormatError as error:
            self._findings.add("E-POL-011", DESCRIPTION_PATH, reason=error.message)
            return False
        self._check_owed(description, DESCRIPTION_PATH)
        if description.is_secret and self._policy.encryption.payload != "never":
            said = description.confidentiality
            self._findings.add("E-POL-014", DESCRIPTION_PATH, confidentiality=said)
        return description.is_secret

    def _check_owed(self, description: Description, path: str) -> None:
        missing = _missing(description, self._policy.describe)
        if missing:
            name, fields = self._policy.name, ", ".join(missing)
            self._findings.add("E-POL-012", path, policy=name, fields=fields)


def _asks(wanted: DescribePolicy) -> bool:
    """Whether anything is asked of what a description says."""
    return any(
        getattr(wanted, key) for key in DescribePolicy.__dataclass_fields__ if key != "required"
    )


def _missing(description: Description, wanted: DescribePolicy) -> list[str]:
    """What is owed; a field that doesn't exist is missing always."""
    keys = wanted.wanted(description.kind)
    unknown = [key for key in keys if key not in fields_of(description.kind)]
    return [*description.missing(keys), *unknown]


def _check_scan(policy: Policy, tree: BagTree, listed: frozenset[str], findings: Findings) -> None:
    """By the events of the bag's own chain of custody: the worst of them counts."""
    if not policy.scan.required and policy.scan.found != "refuse":
        return
    try:
        results = _scan_results(tree) if CUSTODY_PATH in listed else []
    except OSError as error:
        findings.add("U-POL-015", CUSTODY_PATH, reason=error.strerror or str(error))
        return
    if "infected" in results:
        code = "E-POL-031" if policy.scan.found == "refuse" else "W-POL-032"
        findings.add(code, policy=policy.name)
    if policy.scan.required and (not results or set(results) - {"clean", "infected"}):
        reason = N_("it was not scanned") if results else N_("no event tells of one")
        findings.add("E-POL-030", CUSTODY_PATH, policy=policy.name, reason=reason)


def _scan_results(tree: BagTree) -> list[str]:
    """What the scans that are recorded came to, as far as the chain holds. Raises OSError."""
    results = []
    try:
        for link in read_chain(lines_of(tree, CUSTODY_PATH, MAX_EVENT_BYTES)):
            event = link.event
            if event.type == "virus check":
                result = str(event.detail.get("result", ""))
                clean = result != "clean" or event.outcome == "success"
                results.append(result if clean else "not scanned")
    except FormatError:  # step 8 says so; what stands behind it isn't to be believed
        results.append("not scanned")
    return results


def _check_encryption(policy: Policy, tree: BagTree, findings: Findings, *, secret: bool) -> None:
    wanted = policy.encryption
    sealed = wanted.payload == "always" or (wanted.payload == "secret" and secret)
    if not sealed and not wanted.envelope:
        return
    envelope = False
    for path, head in tree.heads(HEAD_BYTES):
        envelope = envelope or path == IDENTITY_PATH
        if sealed or path == IDENTITY_PATH:
            _check_encrypted(policy, path, head, findings)
    if wanted.envelope and not envelope:
        findings.add("E-POL-041", IDENTITY_PATH, policy=policy.name)


def _check_encrypted(policy: Policy, path: str, head: bytes | OSError, findings: Findings) -> None:
    if isinstance(head, OSError):
        findings.add("U-POL-015", path, reason=head.strerror or str(head))
    elif not is_age_head(head):
        findings.add("E-POL-040", path, policy=policy.name)
