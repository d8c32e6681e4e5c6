"""What is confidential or sealed, and no statement of a witness: encrypted, then sealed.

Job: a plan and a description in, one item, or one bag, whose files were encrypted before
anything was written. Limits: statements are taken by :mod:`archiver.cli.statement`, which asks
for more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archiver.cli.agekeys import begin_in_secret
from archiver.cli.bag_sign import code_of_stamps, stamps_json, tell_stamps, wait_for_stamps
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.cli.taking import hearing, made_json, take_statement, tell_missing
from archiver.i18n import _
from archiver.secrecy import guarded

if TYPE_CHECKING:
    from archiver.statement import Keys, Statement

__all__ = ["encrypts", "pack_secret", "take_secret"]


def encrypts(policy: Any) -> bool:
    """Whether the policy says for whom what is secret is encrypted."""
    return bool(policy.encryption.recipients) and policy.encryption.payload != "never"


def take_secret(
    vault: Any,
    case: str,
    plan: Any,
    description: Any,
    options: Any,
    output: Output,
    *,
    form: str,
    identify: bool | None,
    as_json: bool,
) -> int:
    """Encrypt, seal and ingest the files of ``plan`` for the policy's recipients; the exit
    code. ``form`` is the file that describes them, or "".
    """
    from archiver.cli.statement_forms import settle_originals, tell_form

    begin_in_secret(output)
    with guarded():
        policy, sealing = options.create.policy, options.create.sealing
        statement, keys = _statement(plan, description), _keys(policy)
        tell_missing(description, policy.describe.wanted(description.kind), output)
        taken = take_statement(vault, case, statement, keys, options, output, identify=identify)
        made = taken.ingested
        stamps = wait_for_stamps(made.path, sealing.stamps, output) if sealing else ()
        count, size = len(taken.originals), made.payload_bytes
        if as_json:
            output.json({**made_json(made, sealing, stamps), "encrypted": count})
        else:
            _tell(made.item, count, size, output)
        tell_stamps(stamps, output, as_json=as_json)
        tell_form(form, output)
        settle_originals(vault, made.item, list(taken.originals), output, remove=None)
        return code_of_stamps(sealing, stamps, policy, output)


def pack_secret(
    plan: Any,
    bag: str,
    description: Any,
    options: Any,
    output: Output,
    *,
    form: str,
    identify: bool | None,
    as_json: bool,
) -> int:
    """Encrypt the files of ``plan`` for the policy's recipients, and seal them as the bag at
    ``bag``; the exit code. ``form`` is the file that describes them, or "".
    """
    from archiver.cli.statement_forms import tell_form, tell_originals
    from archiver.seal.examine import examining
    from archiver.statement.packing import pack

    begin_in_secret(output)
    with guarded():
        policy, sealing = options.policy, options.sealing
        statement, keys = _statement(plan, description), _keys(policy)
        tell_missing(description, policy.describe.wanted(description.kind), output)
        with examining(policy, identify=identify) as examiner, hearing(output) as heard:
            examine = examiner.before_encryption if examiner else None
            packed = pack(bag, statement, keys, options, examine=examine, heard=heard)
        for warning in examiner.warnings if examiner else ():
            output.warning(warning)
        stamps = wait_for_stamps(bag, sealing.stamps, output) if sealing else ()
        count, written = len(packed.originals), packed.written
        if as_json:
            output.json(
                {
                    "schema": "archiver/bag-create/1",
                    "bag": bag,
                    "payload_bytes": written.payload_bytes,
                    "payload_files": written.payload_files,
                    "encrypted": count,
                    "signed": sealing is not None,
                    "time_stamps": stamps_json(stamps),
                    **(examiner.summary if examiner else {}),
                }
            )
        else:
            _tell(bag, count, written.payload_bytes, output)
        tell_stamps(stamps, output, as_json=as_json)
        tell_form(form, output)
        tell_originals(packed.originals, output)
        return code_of_stamps(sealing, stamps, policy, output)


def _tell(made: str, count: int, size_bytes: int, output: Output) -> None:
    text = _("{item}: encrypted, {files}, {size}")
    told = text.format(item=made, files=count_files(count), size=human_size(size_bytes))
    output.line(printable(told))


def _statement(plan: Any, description: Any) -> Statement:
    from archiver.statement import Statement
    from archiver.statement.sources import plain_files

    return Statement(description=description, files=plain_files(plan))


def _keys(policy: Any) -> Keys:
    from archiver.statement import Keys, check_keys

    rules = policy.encryption
    keys = Keys(readers=rules.recipients, escrow=rules.escrow, identity=())
    return check_keys(keys, identity_kept=False)
