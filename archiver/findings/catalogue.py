"""Every finding there is: code, step, reference, text.

Job: the one table behind findings' messages and ``docs/findings.md``.
A code is never given a new meaning; a dropped one is not used again.
Messages are gettext sources; ``{names}`` are filled in from the finding.
"""

from __future__ import annotations

from dataclasses import dataclass

from archiver.i18n import N_

__all__ = ["CATALOGUE", "STEPS", "Entry"]

STEPS = (
    "structure",
    "complete",
    "fixity",
    "seal-scope",
    "signature",
    "trust",
    "time",
    "custody",
    "policy",
    "second-opinion",
)
"""The numbered steps of a verification, in order (docs/verification.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One code: the step (or "source") it belongs to, its rule, its text."""

    code: str
    step: str
    reference: str
    message: str


def _entry(code: str, step: str, reference: str, message: str) -> Entry:
    return Entry(code=code, step=step, reference=reference, message=message)


_BAG = (
    # -- 1 structure: the declaration
    _entry(
        "E-BAG-001",
        "structure",
        "RFC 8493 §2.1.1",
        N_("bagit.txt is missing: this is no bag, or its declaration is lost"),
    ),
    _entry(
        "E-BAG-002",
        "structure",
        "RFC 8493 §2.1.1",
        N_(
            "bagit.txt must be two lines, BagIt-Version: M.N and Tag-File-Character-Encoding: ENCODING: {problem}"
        ),
    ),
    _entry(
        "E-BAG-003",
        "structure",
        "RFC 8493 §2.1.1",
        N_("bagit.txt begins with a byte-order mark, which is forbidden"),
    ),
    _entry(
        "E-BAG-004",
        "structure",
        "RFC 8493 §2.1.1",
        N_("the BagIt version {version} does not exist"),
    ),
    _entry(
        "U-BAG-005",
        "structure",
        "RFC 8493 §2.1.1",
        N_("BagIt version {version} is not one this program knows (0.93 to 0.97 and 1.0)"),
    ),
    _entry(
        "U-BAG-006",
        "structure",
        "RFC 8493 §2.1.1",
        N_("the tag file encoding {encoding} is not one this program can read"),
    ),
    _entry("E-BAG-007", "structure", "RFC 8493 §2.1.3", N_("there is no payload manifest")),
    _entry("E-BAG-008", "structure", "RFC 8493 §2.1.2", N_("there is no data directory")),
    _entry(
        "E-BAG-009",
        "structure",
        "RFC 8493 §2.4",
        N_(
            "a manifest's name must be manifest-ALGORITHM.txt, the algorithm in lower-case letters and digits"
        ),
    ),
    _entry(
        "U-BAG-010",
        "fixity",
        "RFC 8493 §2.4",
        N_(
            "the digest algorithm {algorithm} can't be computed here, so this manifest can't be checked"
        ),
    ),
    _entry(
        "E-BAG-011",
        "structure",
        "RFC 8493 §2.1",
        N_("the base directory holds something that is neither a file nor a directory"),
    ),
    # -- 1 structure: manifests
    _entry("E-BAG-020", "structure", "RFC 8493 §2.1.3", N_("line {line} is malformed: {problem}")),
    _entry(
        "E-BAG-021",
        "structure",
        "RFC 8493 §2.1.3",
        N_("{manifest} line {line} names a file outside data/"),
    ),
    _entry(
        "E-BAG-022",
        "structure",
        "RFC 8493 §5.1.1",
        N_(
            "{manifest} line {line} leads out of the bag or depends on the machine; it was not followed"
        ),
    ),
    _entry(
        "E-BAG-023",
        "structure",
        "RFC 8493 §2.1.3",
        N_("{manifest} line {line} lists the file a second time"),
    ),
    _entry(
        "W-BAG-024",
        "structure",
        "RFC 8493 §2.1.3",
        N_("{manifest} line {line} lists the file a second time, with the same digest"),
    ),
    _entry(
        "E-BAG-025",
        "structure",
        "RFC 8493 §2.1.3",
        N_("{manifest} line {line} lists the file a second time, with another digest"),
    ),
    _entry("E-BAG-026", "structure", "RFC 8493 §2.1.3", N_("{manifest} lists a directory")),
    _entry(
        "E-BAG-027",
        "structure",
        "RFC 8493 §2.2.1",
        N_("{manifest} line {line} lists a tag manifest"),
    ),
    _entry(
        "E-BAG-028",
        "structure",
        "RFC 8493 §2.2.1",
        N_("{manifest} line {line} lists a payload file"),
    ),
    _entry(
        "E-BAG-029",
        "structure",
        "RFC 8493 §2.2.1",
        N_("{manifest} does not list this payload manifest"),
    ),
    _entry(
        "W-BAG-030",
        "structure",
        "RFC 8493 §2.2.1",
        N_("{manifest} does not list this tag file, which another tag manifest lists"),
    ),
    _entry(
        "W-BAG-031",
        "structure",
        "RFC 8493 §6.1.3",
        N_(
            "{manifest} line {line} is written in the md5sum style, with an asterisk before the path"
        ),
    ),
    _entry(
        "W-BAG-032",
        "structure",
        "RFC 8493 §2.1.3",
        N_("{manifest} line {line} begins the path with ./"),
    ),
    _entry(
        "W-BAG-033",
        "structure",
        "RFC 8493 §6.1.1",
        N_(
            "the manifests also list {twin}, which differs only in case or in Unicode normalisation"
        ),
    ),
    _entry(
        "W-BAG-034",
        "structure",
        "RFC 8493 §2.1.3",
        N_(
            "the manifests hold this name percent-encoded, as BagIt 1.0 does; this bag declares {version}"
        ),
    ),
    _entry(
        "W-BAG-035",
        "structure",
        "RFC 8493 §6.1.1",
        N_("the manifests write this name in another Unicode normalisation than the file system"),
    ),
    _entry(
        "E-BAG-036",
        "structure",
        "RFC 8493 §2.1.3",
        N_(
            "{manifest} line {line} does not give {size} hexadecimal digits, as the algorithm needs"
        ),
    ),
    _entry(
        "W-BAG-037",
        "structure",
        "RFC 8493 §2.1.3",
        N_(
            "{manifest} line {line} holds a bare percent sign, which BagIt 1.0 writes as %25; it was read as it stands"
        ),
    ),
    # -- 1 structure: tag files
    _entry(
        "E-BAG-040",
        "structure",
        "RFC 8493 §2.2.2",
        N_("line {line} is not a label, a colon, one space or tab and a value: {problem}"),
    ),
    _entry(
        "E-BAG-041",
        "structure",
        "RFC 8493 §2.2.2",
        N_("Payload-Oxum is malformed or not unique: {value}"),
    ),
    _entry("W-BAG-042", "structure", "RFC 8493 §2.2.2", N_("{label} should stand only once")),
    _entry(
        "E-BAG-043",
        "structure",
        "RFC 8493 §2.1.1",
        N_("the file is not {encoding}, which bagit.txt declares (byte {offset})"),
    ),
    _entry(
        "E-BAG-044",
        "structure",
        "RFC 8493 §2.1.1",
        N_("the file begins with a byte-order mark, which is forbidden with {encoding}"),
    ),
    _entry(
        "E-BAG-045",
        "structure",
        "RFC 8493 §2.2.3",
        N_("line {line} is not URL LENGTH PATH: {problem}"),
    ),
    _entry(
        "E-BAG-046",
        "structure",
        "RFC 8493 §2.2.3",
        N_("fetch.txt names a file that {manifest} does not list"),
    ),
    _entry(
        "E-BAG-047", "structure", "RFC 8493 §2.2.3", N_("fetch.txt line {line} names a tag file")
    ),
    _entry(
        "W-BAG-048",
        "structure",
        "RFC 8493 §2.2",
        N_("the last line does not end with a line break"),
    ),
    _entry("U-BAG-049", "structure", "RFC 8493 §2", N_("UNREADABLE: {reason}")),
    _entry(
        "U-BAG-051",
        "structure",
        "RFC 8493 §2.2.2",
        N_("the file has more than {limit} bytes or lines longer than {line_limit}"),
    ),
    _entry(
        "U-BAG-053",
        "structure",
        "RFC 8493 §2.4",
        N_("there are more than {limit} manifests; this one and those after it were not read"),
    ),
    # -- 2 complete
    _entry(
        "E-BAG-100",
        "complete",
        "RFC 8493 §3",
        N_("MISSING: listed in {manifests}, but not in the bag"),
    ),
    _entry(
        "E-BAG-101",
        "complete",
        "RFC 8493 §3",
        N_("UNLISTED: in the bag, but in no payload manifest"),
    ),
    _entry(
        "E-BAG-102",
        "complete",
        "RFC 8493 §2.1.3",
        N_("NOT IN EVERY MANIFEST: {manifest} does not list this file"),
    ),
    _entry(
        "E-BAG-103",
        "complete",
        "RFC 8493 §3",
        N_("MISSING: {manifest} lists this tag file, but it is not in the bag"),
    ),
    _entry(
        "E-BAG-104",
        "complete",
        "RFC 8493 §2.2.2",
        N_(
            "Payload-Oxum says {stated_bytes} bytes in {stated_files} files; there are {bytes} bytes in {files} files"
        ),
    ),
    _entry(
        "E-BAG-105",
        "complete",
        "RFC 8493 §2.2.3",
        N_("NOT FETCHED: the file is still only named in fetch.txt"),
    ),
    _entry(
        "E-BAG-106",
        "complete",
        "RFC 8493 §3",
        N_("there is a {kind} here, which BagIt does not know; it was not opened"),
    ),
    _entry(
        "E-BAG-107",
        "complete",
        "RFC 8493 §5.1.1",
        N_("this symbolic link leads out of the bag; it was not followed"),
    ),
    _entry(
        "W-BAG-108",
        "complete",
        "RFC 8493 §2.1.2",
        N_("this is a symbolic link within the bag; other tools and media may not keep it"),
    ),
    _entry(
        "E-BAG-109",
        "complete",
        "RFC 8493 §2.1.2",
        N_("this symbolic link to a directory was not followed"),
    ),
    _entry("U-BAG-110", "complete", "RFC 8493 §3", N_("the directory can't be read: {reason}")),
    _entry(
        "U-BAG-111",
        "complete",
        "RFC 8493 §3",
        N_("directories are nested more than {limit} deep; what lies below was not checked"),
    ),
    # -- 3 fixity
    _entry(
        "E-BAG-200",
        "fixity",
        "RFC 8493 §3",
        N_("MODIFIED: the {algorithm} digest is {found:.16}…, but {manifest} says {expected:.16}…"),
    ),
    _entry("U-BAG-201", "fixity", "RFC 8493 §3", N_("UNREADABLE: {reason}")),
    _entry(
        "U-BAG-202", "fixity", "RFC 8493 §3", N_("CHANGING: the file changed while it was read")
    ),
    _entry(
        "W-BAG-203",
        "fixity",
        "RFC 8493 §2.4",
        N_(
            "every payload manifest uses a weak algorithm ({algorithms}): this guards against accidents, not against forgery"
        ),
    ),
    # -- archives
    _entry(
        "E-ARC-001",
        "structure",
        "bag archives",
        N_("the archive is damaged, or not of the kind that its name says: {reason}"),
    ),
    _entry(
        "E-ARC-002",
        "structure",
        "bag archives",
        N_("the archive must hold one directory, the bag, and nothing beside it"),
    ),
    _entry(
        "E-ARC-003",
        "structure",
        "bag archives",
        N_("the archive member has an unsafe name; it was not opened"),
    ),
    _entry(
        "E-ARC-004", "structure", "bag archives", N_("the archive holds two members of this name")
    ),
    _entry(
        "E-ARC-005",
        "structure",
        "bag archives",
        N_("the archive member is a {kind}; it was not followed"),
    ),
    _entry(
        "W-ARC-006",
        "structure",
        "bag archives",
        N_("the archive is named {archive}, but the bag in it {base}"),
    ),
    _entry(
        "U-ARC-007",
        "structure",
        "bag archives",
        N_(
            "the archive unpacks to more than {limit} times its size and was not read further; if you trust it, allow more with --max-expansion"
        ),
    ),
    _entry(
        "U-ARC-008",
        "structure",
        "bag archives",
        N_("the archive exceeds a limit of this program: {reason}"),
    ),
    _entry(
        "E-ARC-009",
        "structure",
        "bag archives",
        N_("the member is described differently in two places of the archive: {reason}"),
    ),
    _entry(
        "U-ARC-011",
        "structure",
        "bag archives",
        N_("bytes follow the end of the archive: other programs may read more members there"),
    ),
    # -- 4-8 the seal
    _entry(
        "E-SCO-001",
        "seal-scope",
        "docs/proof.md",
        N_("the bag is sealed, but what its signatures are made over is missing"),
    ),
    _entry(
        "E-SCO-002",
        "seal-scope",
        "docs/proof.md",
        N_("ADDED: no signature covers this file, since tagmanifest-sha512.txt doesn't list it"),
    ),
    _entry(
        "E-SCO-003",
        "seal-scope",
        "docs/bag-layout.md",
        N_("ADDED: this is no kind of file that belongs into signatures/"),
    ),
    _entry(
        "E-SCO-004",
        "seal-scope",
        "docs/bag-layout.md",
        N_(
            "the bag's manifests are not those it was sealed with: payload {payload}, tag files {tag}"
        ),
    ),
    _entry(
        "E-SCO-005",
        "seal-scope",
        "RFC 8493 §2.4",
        N_(
            "the seal rests on weak payload digests for {count} files ({algorithms}): they can be exchanged"
        ),
    ),
    _entry(
        "W-SCO-006",
        "seal-scope",
        "docs/bag-layout.md",
        N_("left by a run that was interrupted; it proves nothing and can be removed"),
    ),
    _entry(
        "E-SCO-007",
        "seal-scope",
        "docs/bag-layout.md",
        N_("ALTERED: this tag manifest is not written as the one that is signed"),
    ),
    _entry(
        "E-SIG-001",
        "signature",
        "docs/proof.md",
        N_("UNSIGNED: nobody has signed this bag"),
    ),
    _entry(
        "E-SIG-002",
        "signature",
        "Archiver-Seal",
        N_("MISSING SIGNATURE: the bag was sealed by {seal}, and that signature is not there"),
    ),
    _entry(
        "E-SIG-003",
        "signature",
        "RFC 5652 §5.6",
        N_("the signature doesn't hold: {reason}"),
    ),
    _entry(
        "E-SIG-004",
        "signature",
        "RFC 5652",
        N_("the only signature can't be read: {reason}"),
    ),
    _entry(
        "E-SIG-005",
        "signature",
        "RFC 5280 §4.2.1.3",
        N_("the signature holds, but its signer may not sign: {reason}"),
    ),
    _entry(
        "E-SIG-006",
        "signature",
        "Archiver-Seal",
        N_("the declared seal can't be read: {seal}"),
    ),
    _entry(
        "W-SIG-010",
        "signature",
        "docs/proof.md",
        N_("a file that proves nothing lies beside the signatures: {reason}; it changes nothing"),
    ),
    _entry(
        "W-SIG-011",
        "signature",
        "docs/verification.md",
        N_("only the first {limit} signatures were looked at"),
    ),
    _entry(
        "U-SIG-012",
        "signature",
        "RFC 5652",
        N_("the signature can't be checked: {reason}"),
    ),
    _entry(
        "E-TRU-001",
        "trust",
        "RFC 5280 §6",
        N_("UNKNOWN SIGNER: {signer} doesn't lead to a certificate that you trust"),
    ),
    _entry(
        "E-TRU-002",
        "trust",
        "RFC 5280 §6",
        N_("UNKNOWN SIGNER: {signer}; no certificate was named that you trust"),
    ),
    _entry(
        "E-TRU-003",
        "trust",
        "RFC 5280 §6",
        N_("UNKNOWN SIGNER: {signer} names a trusted CA as its issuer, but another key signed it"),
    ),
    _entry(
        "E-TRU-004",
        "trust",
        "RFC 5280 §4.1.2.5",
        N_(
            "NOT VALID: the certificate of {signer} is good from {first} to {last}, and it is not proven that the signature was made then"
        ),
    ),
    _entry(
        "E-TRU-005",
        "trust",
        "RFC 5280 §5",
        N_(
            "REVOKED: {signer} is revoked for all after {since}, and it is not proven that the signature is older"
        ),
    ),
    _entry(
        "E-TRU-006",
        "trust",
        "docs/proof.md",
        N_("UNKNOWN SIGNER: {signer} is not on the trust list"),
    ),
    _entry(
        "U-TRU-007",
        "trust",
        "RFC 5280 §6.3",
        N_(
            "it can't be told whether {signer} is revoked: nobody is known who signed the revocation list"
        ),
    ),
    _entry(
        "W-TRU-008",
        "trust",
        "RFC 5280 §5",
        N_("the revocation list of {issuer} concerns none of the certificates here"),
    ),
    _entry(
        "W-TRU-009",
        "trust",
        "RFC 5280 §5.1.2.5",
        N_("the revocation list of {issuer} was good until {date}: there should be a newer one"),
    ),
    _entry(
        "E-TIM-001",
        "time",
        "RFC 3161",
        N_("NO TIME STAMP: it is not proven when the signature was made"),
    ),
    _entry(
        "E-TIM-002",
        "time",
        "RFC 3161",
        N_("PENDING: a time stamp was asked for, and its answer has not come yet"),
    ),
    _entry(
        "E-TIM-003",
        "time",
        "RFC 3161",
        N_("the time stamp proves nothing: {reason}"),
    ),
    _entry(
        "E-TIM-004",
        "time",
        "RFC 3161",
        N_("time stamps by different TSAs that are required: {wanted}; that are proven: {found}"),
    ),
    _entry(
        "W-TIM-010",
        "time",
        "RFC 3161",
        N_("the time stamp proves nothing: {reason}; no time was asked for, so nothing changes"),
    ),
    _entry(
        "W-TIM-011",
        "time",
        "RFC 3161",
        N_("PENDING: a time stamp was asked for, and its answer has not come yet"),
    ),
    _entry(
        "W-TIM-012",
        "time",
        "RFC 3161",
        N_("this time stamp was not judged, since no TSA's root was named that you trust"),
    ),
    # -- 8 custody
    _entry(
        "E-CUS-001",
        "custody",
        "docs/custody.md",
        N_("the chain of custody is broken at line {line}: {reason}"),
    ),
    _entry(
        "U-CUS-002",
        "custody",
        "docs/custody.md",
        N_("the chain of custody can't be read: {reason}"),
    ),
    # -- 9 policy
    _entry(
        "E-POL-001",
        "policy",
        "policy",
        N_("the policy {policy} requires a {algorithm} payload manifest"),
    ),
    _entry(
        "E-POL-002",
        "policy",
        "policy",
        N_(
            "trusted signatures that the policy {policy} requires: {wanted}; that are proven: {found}"
        ),
    ),
    _entry(
        "E-POL-003",
        "policy",
        "policy",
        N_(
            "trusted time stamps over each signature that the policy {policy} requires: {wanted}; one of them has {found}"
        ),
    ),
    _entry(
        "E-POL-010",
        "policy",
        "policy",
        N_("the policy {policy} requires a description, and there is none"),
    ),
    _entry("E-POL-011", "policy", "policy", N_("the description can't be used: {reason}")),
    _entry(
        "E-POL-012",
        "policy",
        "policy",
        N_("the policy {policy} requires what the description doesn't say: {fields}"),
    ),
    _entry(
        "U-POL-013",
        "policy",
        "policy",
        N_(
            "the description is encrypted: whether it says what the policy {policy} requires can't be told without a key that opens it"
        ),
    ),
    _entry(
        "E-POL-014",
        "policy",
        "policy",
        N_(
            "by its description the item is {confidentiality}, and the description lies there in clear"
        ),
    ),
    _entry("U-POL-015", "policy", "policy", N_("this can't be read: {reason}")),
    _entry(
        "E-POL-020",
        "policy",
        "policy",
        N_("the policy {policy} refuses its format, which is recorded as {format}"),
    ),
    _entry(
        "E-POL-021",
        "policy",
        "policy",
        N_("the policy {policy} doesn't accept its format, which is recorded as {format}"),
    ),
    _entry(
        "U-POL-022",
        "policy",
        "policy",
        N_(
            "its format is not recorded, so that it can't be told whether the policy {policy} accepts it"
        ),
    ),
    _entry(
        "U-POL-023",
        "policy",
        "policy",
        N_(
            "no formats are recorded, so that it can't be told whether the policy {policy} accepts them"
        ),
    ),
    _entry(
        "U-POL-024",
        "policy",
        "policy",
        N_(
            "the record of formats is encrypted: whether the policy {policy} accepts them can't be told without a key that opens it"
        ),
    ),
    _entry("E-POL-025", "policy", "policy", N_("line {line} is no record of a format: {reason}")),
    _entry(
        "E-POL-030",
        "policy",
        "policy",
        N_("the policy {policy} requires a virus scan: {reason}"),
    ),
    _entry(
        "E-POL-031",
        "policy",
        "policy",
        N_("the policy {policy} refuses what a virus scanner finds, and it found something"),
    ),
    _entry(
        "W-POL-032",
        "policy",
        "policy",
        N_("a virus scanner found something in the payload; it is kept as it is: don't open it"),
    ),
    _entry(
        "E-POL-040",
        "policy",
        "policy",
        N_("the policy {policy} requires that this be encrypted with age, and it is not"),
    ),
    _entry(
        "E-POL-041",
        "policy",
        "policy",
        N_("the policy {policy} requires a sealed identity, and there is none"),
    ),
    # -- 10 second opinion
    _entry(
        "W-SEC-001",
        "second-opinion",
        "bagit library",
        N_(
            "the Library of Congress bagit library disagrees: it says {theirs}, archiver says {ours}"
        ),
    ),
    _entry(
        "U-SEC-003",
        "second-opinion",
        "bagit library",
        N_(
            "the Library of Congress bagit library disagrees: it says {theirs}, archiver says {ours}; somebody has to look: {reason}"
        ),
    ),
    _entry(
        "U-SEC-002",
        "second-opinion",
        "bagit library",
        N_("the Library of Congress bagit library gave no verdict: {reason}"),
    ),
)

_SOURCE = (
    _entry("E-SRC-001", "source", "docs/creating.md", N_("there is no such file or directory")),
    _entry("E-SRC-002", "source", "docs/creating.md", N_("the source can't be read: {reason}")),
    _entry(
        "E-SRC-003",
        "source",
        "docs/creating.md",
        N_("the source is a {kind}, which can't be archived"),
    ),
    _entry(
        "E-SRC-004",
        "source",
        "RFC 8493 §6.1.1",
        N_(
            "the name differs from {twin} only in case or in Unicode normalisation; on other systems one would overwrite the other"
        ),
    ),
    _entry("E-SRC-005", "source", "RFC 8493 §2.1.3", N_("the name is not valid UTF-8")),
    _entry("E-SRC-006", "source", "docs/creating.md", N_("two sources would both become {target}")),
    _entry(
        "E-SRC-007", "source", "docs/creating.md", N_("the bag would lie inside its own source")
    ),
    _entry("E-SRC-008", "source", "docs/creating.md", N_("the source is itself a bag")),
    _entry(
        "E-SRC-009",
        "source",
        "docs/creating.md",
        N_("the symbolic link leads out of the source, so what it points to would not be archived"),
    ),
    _entry("E-SRC-010", "source", "docs/creating.md", N_("the source is a symbolic link")),
    _entry(
        "E-SRC-012",
        "source",
        "docs/creating.md",
        N_("the name is not a plain path below the base directory"),
    ),
    _entry(
        "E-SRC-013",
        "source",
        "docs/creating.md",
        N_("the directory is nested too deep, or its path too long, to be copied"),
    ),
    _entry(
        "E-SRC-014",
        "source",
        "RFC 8493 §5.1.1",
        N_("the name would lead out of the bag on systems where the backslash separates"),
    ),
    _entry(
        "W-SRC-020",
        "source",
        "RFC 8493 §6.1.2",
        N_("this name is reserved or troublesome on Windows ({problem}); it is kept as it is"),
    ),
    _entry(
        "W-SRC-021",
        "source",
        "docs/creating.md",
        N_("the symbolic link is recorded in metadata/filesystem.jsonl, not followed"),
    ),
    _entry(
        "W-SRC-022",
        "source",
        "docs/creating.md",
        N_(
            "the name was stored as {target}; the original is recorded in metadata/filesystem.jsonl"
        ),
    ),
    _entry("W-SRC-023", "source", "docs/creating.md", N_("excluded by {pattern}, as asked")),
    _entry(
        "W-SRC-024",
        "source",
        "docs/creating.md",
        N_("empty directory: recorded in metadata/filesystem.jsonl, since BagIt keeps only files"),
    ),
)

CATALOGUE: dict[str, Entry] = {entry.code: entry for entry in (*_BAG, *_SOURCE)}
