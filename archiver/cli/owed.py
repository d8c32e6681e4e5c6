"""What a policy still wants of a bag that was just made, in one line."""

from __future__ import annotations

from typing import Any

from archiver.cli.output import Output
from archiver.i18n import _

__all__ = ["tell_owed"]


def tell_owed(policy: Any, bag: str, output: Output) -> None:
    """Warn of what isn't said of it yet; nothing waits for that."""
    from archiver.findings import Severity
    from archiver.verify.policy import find_owed

    try:
        found = [one for one in find_owed(policy, bag) if one.severity is Severity.ERROR]
    except OSError as error:
        output.warning(_("{path}: {reason}").format(path=bag, reason=error.strerror))
        return
    for one in found:
        output.warning(one.message)
    if found and not output.quiet:
        output.hint(
            _("'archiver policy check {name} BAG' says what is missing.").format(name=policy.name)
        )
