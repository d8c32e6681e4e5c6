"""What the commands that take items in have in common.

Job: small steps before, after, and on the way. Limits: what is taken in is said by others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from archiver.cli.bag_sign import stamps_json
from archiver.cli.output import Output
from archiver.errors import ArchiverError
from archiver.i18n import _

if TYPE_CHECKING:
    from archiver.statement import Heard, Keys, Statement, Taken

__all__ = [
    "derive",
    "hearing",
    "made_json",
    "refuse_unknown",
    "sealing_of",
    "take_statement",
    "tell_missing",
]


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


def sealing_of(
    keys: list[str] | None,
    key_dir: str,
    passphrase_files: list[str] | None,
    tsas: list[str] | None,
    tsa_roots: list[str] | None,
    now: Any,
    policy: Any,
) -> Any:
    """The seal that the options ask for, its keys opened; None without keys. Raises
    ArchiverError.
    """
    from archiver.cli.keys import sealing_for

    if not keys:
        return None
    return sealing_for(
        keys,
        key_dir,
        passphrase_files or [],
        tsas or [],
        tsa_roots or [],
        now,
        require_stamp=policy.proof.time_stamps > 0,
    )


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


def tell_missing(description: Any, wanted: Any, output: Output) -> None:
    """What a secret description still owes; it keeps nothing from being sealed."""
    missing = description.missing(wanted)
    if missing:
        text = _("the description still owes: {fields}")
        output.warning(text.format(fields=", ".join(missing)))


@contextmanager
def hearing(output: Output) -> Iterator[Heard]:
    """Who hears how far it is: the terminal."""
    from archiver.cli.progress import progress_for
    from archiver.statement import Heard

    quiet = output.quiet
    heard = Heard(
        encrypting=progress_for(quiet=quiet), sealing=progress_for(quiet=quiet), say=output.say
    )
    try:
        yield heard
    finally:
        heard.sealing.clear()


def take_statement(
    vault: Any,
    case: str,
    statement: Statement,
    keys: Keys,
    options: Any,
    output: Output,
    *,
    identify: bool | None,
) -> Taken:
    """Take it, and show how far that is; what the files are like and what killed runs had left
    is told.
    """
    from archiver.seal.examine import examining
    from archiver.statement import take

    policy = options.create.policy
    with examining(policy, identify=identify) as examiner, hearing(output) as heard:
        examine = examiner.before_encryption if examiner else None
        taken = take(vault, case, statement, keys, options, examine=examine, heard=heard)
    for warning in examiner.warnings if examiner else ():
        output.warning(warning)
    for item in taken.settled:
        output.say(_("{item} was left by a run that was ended; that is settled").format(item=item))
    return taken
