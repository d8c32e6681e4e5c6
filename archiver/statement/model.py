"""What is to be taken, and for whom it is encrypted.

Job: frozen values, checked. Limits: reads no file and encrypts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archiver.bag.progress import Progress, Silent
from archiver.consent import check_code
from archiver.describe import Description
from archiver.encrypt import parse_recipient
from archiver.errors import PolicyError, UsageError
from archiver.i18n import _
from archiver.policy import Policy
from archiver.statement.envelope import MAX_FILES, STATEMENT

__all__ = ["Heard", "Keys", "Plain", "Statement", "check_keys", "check_statement"]


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
    path only where nobody but who typed it will see them. ``name``: what the list of files calls
    it, "" for the last part of its path. ``state``: what it was like when it was looked at, as
    :func:`~archiver.statement.making.state_of` tells; () where nobody has.
    """

    path: str
    label: str
    name: str = ""
    state: tuple[int, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Who hears how far it is: ``encrypting`` of plain bytes, ``sealing`` of the bag, ``say``
    what takes long.
    """

    encrypting: Progress = field(default_factory=Silent)
    sealing: Progress = field(default_factory=Silent)
    say: Callable[[str], None] = lambda _text: None


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
    if not set(keys.escrow) - set(keys.readers) and not without_escrow:
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


def check_statement(statement: Statement, policy: Policy) -> None:
    """Raises UsageError, PolicyError where it can't be encrypted by ``policy``."""
    description = statement.description
    if description.kind != STATEMENT and (not description.is_secret or statement.identity):
        raise UsageError(_("the description is none of a statement, or of anything secret"))
    statement.code  # noqa: B018  # it is checked
    if policy.encryption.payload == "never":
        raise PolicyError(
            _("the policy {name} never encrypts, and a statement has to be").format(
                name=policy.name
            ),
            hint=_(
                'Use one with [encryption] payload = "secret". A statement that is public is'
                " ingested like any file."
            ),
        )
    if len(statement.files) > MAX_FILES:
        raise UsageError(
            _("a statement has at most {count} files").format(count=MAX_FILES),
            hint=_("Pack them into one archive first."),
        )
