"""What may not be packed in clear: sources that a policy wants encrypted.

Job: refuse them before a byte is copied. Limits: encrypts nothing. Of what is there already,
only its beginning is read (:mod:`archiver.bag.encrypted`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from archiver.bag.encrypted import is_age_file
from archiver.bag.plan import Plan
from archiver.errors import SourceError
from archiver.i18n import _
from archiver.policy import Policy
from archiver.verify.policy import find_plain

__all__ = ["PlainSourceError", "refuse_plain", "refuse_plain_bag"]

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PlainSourceError(SourceError):
    """A source in clear, where the policy wants everything encrypted."""

    def __init__(self, policy: Policy, path: str) -> None:
        text = _("it is not encrypted, and the policy {policy} keeps nothing in clear")
        self.reason = text.format(policy=policy.name)
        """The same without the name, for logs that travel."""
        text = _("{path} is not encrypted, and the policy {policy} keeps nothing in clear")
        hint = _("Take statements with 'archiver statement new'; it encrypts before it packs.")
        super().__init__(text.format(path=path, policy=policy.name), hint=hint)


def refuse_plain(plan: Plan, policy: Policy) -> None:
    """Raise PlainSourceError where ``policy`` wants all of ``plan`` encrypted, and it isn't."""
    if policy.encryption.payload != "always":
        return
    for path in _paths(plan):
        try:
            with open(os.open(path, _OPEN), "rb") as file:
                encrypted = is_age_file(file)
        except OSError:
            continue  # copying will tell; what changes until then isn't taken
        if not encrypted:
            raise PlainSourceError(policy, path)


def refuse_plain_bag(bag: str, policy: Policy) -> None:
    """The same for a bag that is to be taken over as it is. Raises PlainSourceError, UsageError."""
    if policy.encryption.payload == "always":
        for finding in find_plain(policy, bag):
            raise PlainSourceError(policy, os.path.join(bag, finding.path))


def _paths(plan: Plan) -> Iterator[str]:
    for directory in plan.directories:
        for name in directory.names:
            yield os.path.join(directory.root, directory.path, name)
