"""What is to be taken, and for whom it is encrypted.

Job: frozen values, checked. Limits: reads no file and encrypts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archiver.consent import check_code
from archiver.describe import Description
from archiver.encrypt import parse_recipient
from archiver.errors import UsageError
from archiver.i18n import _
from archiver.statement.envelope import STATEMENT

__all__ = ["Keys", "Plain", "Statement", "check_keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """For whom: ``readers`` and ``escrow`` get the statement, ``identity`` the envelope with
    the witness's identity, and nothing else.
    """

    readers: tuple[str, ...]
    escrow: tuple[str, ...]
    identity: tuple[str, ...]

    @property
    def statement(self) -> tuple[str, ...]:
        """Who can open all but the identity."""
        return tuple(dict.fromkeys((*self.readers, *self.escrow)))


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain file: its path, "" for standard input. ``label`` is how messages call it: the
    path only where nobody but who typed it will see them.
    """

    path: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is to be taken: its description, who the witness is (None: that isn't kept), the
    payload. What is confidential or sealed and no statement of a witness is taken in the same
    way, and has no code.
    """

    description: Description
    identity: Mapping[str, Any] | None = None
    files: tuple[Plain, ...] = ()

    @property
    def kind(self) -> str:
        """What stands in clear beside the code."""
        return self.description.kind

    @property
    def code(self) -> str:
        """The witness's code; "" where it is no witness's. Raises UsageError."""
        if self.kind != STATEMENT:
            return ""
        return check_code(str(self.description.values.get("witness_code", "")))


def check_keys(
    keys: Keys,
    *,
    identity_kept: bool,
    without_escrow: bool = False,
    identity_to_readers: bool = False,
) -> Keys:
    """Keys that can be used, each parsed. Raises UsageError, KeyringError."""
    for one in (*keys.statement, *keys.identity):
        parse_recipient(one)
    if not keys.readers:
        raise UsageError(
            _("nobody was named who may read the statement"),
            hint=_("Give --recipient age1…, or [encryption] recipients in the policy."),
        )
    if not keys.escrow and not without_escrow:
        raise UsageError(
            _("no escrow recipient was named: who loses a key loses the statement"),
            hint=_("Give --escrow age1…, or [encryption] escrow in the policy, or --no-escrow."),
        )
    if identity_kept and not keys.identity:
        raise UsageError(
            _("nobody was named who may know the witness's identity"),
            hint=_(
                "Give --identity-recipient age1…, or [encryption] identity in the policy,"
                " or --no-identity."
            ),
        )
    both = set(keys.identity) & set(keys.statement)
    if identity_kept and both and not identity_to_readers:
        raise UsageError(
            _("a key that reads the statement would open the identity too: {key}").format(
                key=min(both)
            ),
            hint=_("Use another key for identities, or say --identity-to-readers."),
        )
    return keys
