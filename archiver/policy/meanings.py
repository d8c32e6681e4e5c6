"""What each key of a policy means, in a sentence.

Job: one table, for the schema that editors use and for docs/policies.md. Limits: what holds
is said by :mod:`archiver.policy.model`; a test compares the two.
"""

from __future__ import annotations

from archiver.i18n import N_

__all__ = ["MEANINGS", "TOP_LEVEL"]

TOP_LEVEL = {
    "description": N_("What the policy is for, in a line."),
    "extends": N_(
        "Another policy whose answers hold where this file has none: the name of one that ships,"
        " or a path that ends in .toml, from this file's directory."
    ),
}
_FIELDS = N_("Fields owed by a description of this kind.")
MEANINGS = {
    "bag": {
        "algorithms": N_("Digest algorithms of the manifests; sha512 is always among them."),
        "read_only": N_("Take write permission away from the finished bag."),
        "verify_after": N_("Read the whole bag back from the disk before it counts."),
    },
    "sidecar": {
        "owners": N_("Record who owned the sources."),
        "extended_attributes": N_("Record extended attributes of the sources."),
        "absolute_link_targets": N_("Record where links lead to outside of the source."),
    },
    "proof": {
        "signatures": N_("How many trusted signatures a bag needs."),
        "time_stamps": N_(
            "How many trusted time stamps each of these signatures needs, each from another TSA."
        ),
    },
    "audit": {"every_days": N_("Every copy that a vault keeps is read again after so many days.")},
    "watch": {
        "quiet_seconds": N_("A file has settled when it was unchanged for so long."),
        "share_quiet_seconds": N_("The same on a network share."),
        "empty_quiet_seconds": N_("The same for an empty file."),
        "unproved_quiet_seconds": N_(
            "The same where it can't be proved that nobody has it open for writing."
        ),
        "ignore": N_("Names that are never archived."),
        "temporary": N_("Names that files have only while they are written."),
        "group": N_("What becomes one bag: each file, or each folder directly below."),
        "done_marker": N_("With groups by folder: the file that says a folder is finished."),
        "originals": N_("What happens to an archived file."),
        "move_to": N_("Where originals are moved to."),
        "required_replicas": N_(
            "An original is moved or deleted only after so many replicas verify."
        ),
        "large_bytes": N_("Files from this size on are archived beside the others."),
        "unsigned": N_("What to do where the signing key can't be used."),
    },
    "describe": {
        "required": N_("A bag without a description doesn't satisfy the policy."),
        "any": N_("Fields owed by every description."),
        "document": _FIELDS,
        "photograph": _FIELDS,
        "video": _FIELDS,
        "audio": _FIELDS,
        "statement": _FIELDS,
        "social_media_post": _FIELDS,
        "dataset": _FIELDS,
        "physical_object_record": _FIELDS,
        "absence": _FIELDS,
    },
    "formats": {
        "identify": N_("Identify the formats of files while they are archived."),
        "seconds": N_("How long that may take for one file."),
        "memory_mb": N_("How much memory it may take, in megabytes."),
        "accepted": N_("Formats that are accepted; with none named, all are."),
        "refused": N_("Formats that are refused, whatever is accepted."),
        "thumbnails": N_("Make small pictures of open items."),
    },
    "scan": {
        "command": N_("The command of a virus scanner; {path} in it is what to scan."),
        "secret_command": N_(
            "The command of a scanner that reads standard input: it gets each file of what is"
            " secret before that is encrypted. Its temporary files must not be on a disk."
        ),
        "seconds": N_("How long a scan may take."),
        "found": N_("What to do with what the scanner finds: it may be the evidence."),
        "required": N_("A bag that was not scanned doesn't satisfy the policy."),
        "clean": N_("The scanner's exit code for: nothing found."),
        "infected": N_("The scanner's exit code for: something found."),
    },
    "encryption": {
        "payload": N_(
            "What is encrypted before it is put into a bag: nothing, what is confidential or"
            " sealed, or everything."
        ),
        "recipients": N_("The age recipients who may read it."),
        "escrow": N_("The age recipients who can read everything, from a safe."),
        "identity": N_("The age recipients of identity envelopes, and nobody else."),
        "envelope": N_(
            "A bag without a sealed identity (data/identity.age) doesn't satisfy the policy."
        ),
    },
    "keep": {
        "replicas": N_("Copies that a vault is to have beside its own."),
        "retention_years": N_("For how many years at least bags are kept; 0: for good."),
        "legal_hold": N_("Nothing is given up before a court says so."),
    },
}
