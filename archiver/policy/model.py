"""What a policy says, as frozen values.

Job: one dataclass for each table; its defaults are the built-in policy. Limits: reads no
files (:mod:`archiver.policy.load`), checks nothing (:mod:`archiver.policy.check`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "TABLES",
    "AuditPolicy",
    "BagPolicy",
    "DescribePolicy",
    "EncryptionPolicy",
    "FormatPolicy",
    "KeepPolicy",
    "Policy",
    "ProofPolicy",
    "ScanPolicy",
    "SidecarPolicy",
    "WatchPolicy",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BagPolicy:
    """``[bag]``: how bags are made."""

    algorithms: tuple[str, ...] = ("sha512", "sha256")
    read_only: bool = True
    verify_after: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarPolicy:
    """``[sidecar]``: what ``metadata/filesystem.jsonl`` may tell."""

    owners: bool = False
    extended_attributes: bool = False
    absolute_link_targets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofPolicy:
    """``[proof]``: how many trusted signatures a bag needs, and how many trusted time
    stamps, each from another TSA, each of them.
    """

    signatures: int = 0
    time_stamps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPolicy:
    """``[audit]``: how often every copy of a bag that a vault keeps is read."""

    every_days: int = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPolicy:
    """``[watch]``: when a file in a watched folder has settled, what becomes one bag, and
    what happens to the original then.

    Patterns are those of a shell and go by a file's name, or by its path below the folder
    where they hold a ``/``; ``.part``, without wildcards, is the end of a name.
    """

    quiet_seconds: int = 5
    share_quiet_seconds: int = 30
    empty_quiet_seconds: int = 30
    unproved_quiet_seconds: int = 30
    ignore: tuple[str, ...] = (".DS_Store", "Thumbs.db", "desktop.ini", ".nfs*", ".fuse_hidden*")
    temporary: tuple[str, ...] = (
        ".part",
        ".partial",
        ".crdownload",
        ".filepart",
        ".download",
        ".tmp",
        ".swp",
        "~$*",
        ".~lock.*",
        ".goutputstream-*",
    )
    group: str = "file"
    done_marker: str = ".done"
    originals: str = "keep"
    move_to: str = ""
    required_replicas: int = 0
    large_bytes: int = 268_435_456
    unsigned: str = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribePolicy:
    """``[describe]``: which fields of a description are owed, of any kind and of each; the
    names are those of :mod:`archiver.describe.fields`. ``required``: a bag without a
    description doesn't satisfy the policy. Nothing waits for a description to be sealed.
    """

    required: bool = False
    any: tuple[str, ...] = ()
    document: tuple[str, ...] = ()
    photograph: tuple[str, ...] = ()
    video: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    statement: tuple[str, ...] = ()
    social_media_post: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    physical_object_record: tuple[str, ...] = ()
    absence: tuple[str, ...] = ()

    def wanted(self, kind: str) -> tuple[str, ...]:
        """What is owed by a description of ``kind``: "social-media-post" and the like."""
        own: tuple[str, ...] = getattr(self, kind.replace("-", "_"))
        return tuple(dict.fromkeys((*self.any, *own)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatPolicy:
    """``[formats]``: whether formats are identified, how much time and memory the child
    that does it may take for one file, and which are accepted or refused: PRONOM's
    identifiers (``fmt/199``) or MIME types with wildcards (``video/*``). With none named
    all are accepted.
    """

    identify: bool = True
    seconds: int = 20
    memory_mb: int = 512
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    thumbnails: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPolicy:
    """``[scan]``: the command of a virus scanner, ``{path}`` in it is what to scan. What is
    found is kept all the same unless ``found`` is "refuse"; ``required``: a bag that was not
    scanned doesn't satisfy the policy. ``clean`` and ``infected`` are its exit codes.
    ``secret_command`` gets each file of what is to be encrypted on its standard input.
    """

    command: tuple[str, ...] = ()
    secret_command: tuple[str, ...] = ()
    seconds: int = 600
    found: str = "keep"
    required: bool = False
    clean: int = 0
    infected: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionPolicy:
    """``[encryption]``: what is encrypted before it is put into a bag ("never"; "secret":
    what is confidential or sealed; "always") and for whom: age recipients. ``escrow`` gets
    everything too; ``identity`` are those of identity envelopes alone. ``envelope``: a bag
    without a sealed identity (``data/identity.age``) doesn't satisfy the policy.
    """

    payload: str = "secret"
    recipients: tuple[str, ...] = ()
    escrow: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    envelope: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPolicy:
    """``[keep]``: how many replicas a vault is to have beside its own copy, and for how many
    years at least its bags are kept (0: for good); ``legal_hold``: until a court says so.
    """

    replicas: int = 0
    retention_years: int = 0
    legal_hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy, with what it extends merged in."""

    name: str
    description: str = ""
    bag: BagPolicy = field(default_factory=BagPolicy)
    sidecar: SidecarPolicy = field(default_factory=SidecarPolicy)
    proof: ProofPolicy = field(default_factory=ProofPolicy)
    audit: AuditPolicy = field(default_factory=AuditPolicy)
    watch: WatchPolicy = field(default_factory=WatchPolicy)
    describe: DescribePolicy = field(default_factory=DescribePolicy)
    formats: FormatPolicy = field(default_factory=FormatPolicy)
    scan: ScanPolicy = field(default_factory=ScanPolicy)
    encryption: EncryptionPolicy = field(default_factory=EncryptionPolicy)
    keep: KeepPolicy = field(default_factory=KeepPolicy)


TABLES: dict[str, type[Any]] = {
    "bag": BagPolicy,
    "sidecar": SidecarPolicy,
    "proof": ProofPolicy,
    "audit": AuditPolicy,
    "watch": WatchPolicy,
    "describe": DescribePolicy,
    "formats": FormatPolicy,
    "scan": ScanPolicy,
    "encryption": EncryptionPolicy,
    "keep": KeepPolicy,
}
