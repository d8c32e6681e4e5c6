"""What the commands that take items in have in common.

Job: small steps before and after. Limits: takes nothing in itself.
"""

from __future__ import annotations

from typing import Any

from archiver.cli.bag_sign import stamps_json
from archiver.cli.output import Output
from archiver.errors import ArchiverError, UsageError
from archiver.i18n import _

__all__ = ["derive", "made_json", "refuse_unknown", "refuse_unsigned"]


def made_json(made: Any, sealing: Any, stamps: Any) -> dict[str, object]:
    """An item that was taken in, for programs."""
    return {
        "schema": "archiver/ingest/1",
        "id": made.item,
        "path": made.path,
        "payload_files": made.payload_files,
        "payload_bytes": made.payload_bytes,
        "signed": sealing is not None,
        "recovered": made.recovered,
        "time_stamps": stamps_json(stamps),
    }


def refuse_unknown(vault: Any, description: Any) -> None:
    """Raises UsageError where it was made from what isn't in the vault."""
    from archiver.ingest.derivations import refuse_unknown_sources

    refuse_unknown_sources(vault, description)


def derive(vault: Any, case: str, item: str, formats: Any, output: Output) -> None:
    """Thumbnails, where the policy wants them; the item is sealed whether or not."""
    if not formats.thumbnails:
        return
    from archiver.derive import make_thumbnails

    try:
        make_thumbnails(vault, case, item, formats)
    except ArchiverError as error:
        output.warning(_("no thumbnails: {reason}").format(reason=error.message))


def refuse_unsigned(keys: list[str], policy: Any, *, unsigned: bool) -> None:
    """Raises UsageError where it is neither said who signs nor that nobody does."""
    if unsigned and (keys or policy.proof.signatures):
        raise UsageError(
            _("--unsigned doesn't go with --key or a policy that requires signatures"),
            hint=_("See 'archiver ingest --help'."),
        )
    if not unsigned and len(set(keys)) < max(1, policy.proof.signatures):
        raise UsageError(
            _("a vault keeps sealed bags, and no key was given"),
            hint=_("Name who signs with --key NAME, or say --unsigned."),
        )
