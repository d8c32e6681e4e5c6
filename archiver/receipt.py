"""Receipts: what was handed out of a vault, in a short text that the receiver can sign.

Job: the text's one form, to the byte. Limits: opens nothing; who has signed is judged
elsewhere. No person is named in it: who signs it is named by the signature.

::

    archiver receipt 1
    vault urn:uuid:…
    receipt <32 hexadecimal digits, by chance>
    item caso-014-E-0001
    form tar
    at 2026-11-25T12:00:00Z
    tag-manifest-sha512 <of the bag that was sealed>
    archive-sha256 <of the .tar or .zip>
    archive-size <in bytes>
    purpose <one line, where the exporter gave one>
    consent <purpose, and why it is allowed: yes, asked, confirmed; of statements>
    en I have received …
    es He recibido …
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from archiver.errors import FormatError, UsageError
from archiver.i18n import N_, _

__all__ = [
    "FORMS",
    "MAX_RECEIPT_BYTES",
    "RECEIPT_ID",
    "Archive",
    "Receipt",
    "case_of",
    "check_purpose",
    "parse_receipt",
]

FORMS: Final = ("directory", "tar", "zip")
MAX_RECEIPT_BYTES = 16 << 10
RECEIPT_ID = re.compile(r"[0-9a-f]{32}")
_TITLE = "archiver receipt 1"
_MAX_PURPOSE = 500
_ITEM = re.compile(r"(?P<case>[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?)-E-[0-9]{4,16}")
_SHA256, _SHA512 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{128}")
_SIZE = re.compile(r"[1-9][0-9]{0,18}")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_ENGLISH = (
    "en I have received the item named above. The SHA-512 digest of its file"
    " tagmanifest-sha512.txt is the one above."
)
_SPANISH = (
    "es He recibido el elemento nombrado arriba. El resumen SHA-512 de su archivo"
    " tagmanifest-sha512.txt es el de arriba."
)
_DECLARATION = (_ENGLISH, _SPANISH)
"""What the receiver says by signing. It is part of the form: a translation chosen by the
exporter's language would be another text.
"""


@dataclass(frozen=True, slots=True)
class Archive:
    """The one file that was handed out, where it was one."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was handed out, when by the exporter's clock. ``identifier`` is made by chance;
    ``archive`` is None where it was a directory.
    """

    vault: str
    identifier: str
    item: str
    form: str
    at: datetime
    tag_manifest_sha512: str
    archive: Archive | None = None
    purpose: str = ""
    consent: str = ""

    def __post_init__(self) -> None:
        well_formed = (
            _is_line(self.vault)
            and RECEIPT_ID.fullmatch(self.identifier)
            and _ITEM.fullmatch(self.item)
            and self.form in FORMS
            and _SHA512.fullmatch(self.tag_manifest_sha512)
            and (self.archive is None) == (self.form == "directory")
            and (not self.purpose or _is_line(self.purpose))
            and len(self.purpose) <= _MAX_PURPOSE
            and (not self.consent or _is_line(self.consent))
            and len(self.consent) <= 2 * _MAX_PURPOSE
        )
        if not well_formed or (self.archive and not _SHA256.fullmatch(self.archive.sha256)):
            raise ValueError("not a receipt")

    @property
    def case(self) -> str:
        """The case that the item belongs to."""
        return case_of(self.item)

    def text(self) -> bytes:
        """The file's bytes: what is signed."""
        lines = [
            _TITLE,
            f"vault {self.vault}",
            f"receipt {self.identifier}",
            f"item {self.item}",
            f"form {self.form}",
            f"at {self.at.astimezone(UTC).strftime(_TIME)}",
            f"tag-manifest-sha512 {self.tag_manifest_sha512}",
        ]
        if self.archive:
            lines.append(f"archive-sha256 {self.archive.sha256}")
            lines.append(f"archive-size {self.archive.size_bytes}")
        if self.purpose:
            lines.append(f"purpose {self.purpose}")
        if self.consent:
            lines.append(f"consent {self.consent}")
        return "".join(f"{line}\n" for line in (*lines, *_DECLARATION)).encode("utf-8")


def case_of(item: str) -> str:
    """The case in an item's name. Raises ValueError where it is no item's name."""
    found = _ITEM.fullmatch(item)
    if found is None:
        raise ValueError("not an item")
    return found["case"]


def _is_line(text: str) -> bool:
    """Whether ``text`` is one line that shows as what it is: nothing in it steers a terminal,
    breaks the line or turns the direction of writing.
    """
    return bool(text) and text.isprintable() and text == text.strip()


def check_purpose(text: str) -> str:
    """A purpose that can stand in a receipt, without blanks around it. Raises UsageError."""
    text = text.strip(" ")
    if text and (not _is_line(text) or len(text) > _MAX_PURPOSE):
        raise UsageError(
            _("the purpose must be one line of at most {count} plain characters").format(
                count=_MAX_PURPOSE
            ),
            hint=_("Leave out line breaks and control characters."),
        )
    return text


def parse_receipt(data: bytes) -> Receipt:
    """Read one. Raises FormatError where it isn't one to the byte."""
    try:
        if len(data) > MAX_RECEIPT_BYTES:
            raise ValueError
        title, *lines = data.decode("utf-8").split("\n")
        values = dict(line.split(" ", 1) for line in lines[:-1])
        receipt = Receipt(
            vault=values["vault"],
            identifier=values["receipt"],
            item=values["item"],
            form=values["form"],
            at=datetime.strptime(values["at"], _TIME).replace(tzinfo=UTC),
            tag_manifest_sha512=values["tag-manifest-sha512"],
            archive=_archive(values),
            purpose=values.get("purpose", ""),
            consent=values.get("consent", ""),
        )
        if title != _TITLE or receipt.text() != data:
            raise ValueError
    except (ValueError, KeyError) as error:
        raise FormatError(N_("it is not a receipt")) from error
    return receipt


def _archive(values: dict[str, str]) -> Archive | None:
    if "archive-sha256" not in values:
        return None
    if not _SIZE.fullmatch(values["archive-size"]):
        raise ValueError
    return Archive(values["archive-sha256"], int(values["archive-size"]))
