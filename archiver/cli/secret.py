"""``archiver ingest`` of what is confidential or sealed, and no statement of a witness.

Job: options in, one item that was encrypted before anything was written. Limits: statements
are taken by :mod:`archiver.cli.statement`, which asks for more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from archiver.cli.agekeys import begin_in_secret
from archiver.cli.bag_sign import code_of_stamps, tell_stamps, wait_for_stamps
from archiver.cli.output import Output, count_files, human_size
from archiver.cli.taking import made_json
from archiver.errors import UsageError
from archiver.i18n import _
from archiver.secrecy import guarded

__all__ = ["encrypts", "take_secret"]


def encrypts(policy: Any) -> bool:
    """Whether the policy says for whom what is secret is encrypted."""
    return bool(policy.encryption.recipients) and policy.encryption.payload != "never"


def take_secret(
    vault: Any,
    case: str,
    sources: Sequence[str],
    description: Any,
    options: Any,
    output: Output,
    *,
    identify: bool | None,
    as_json: bool,
) -> int:
    """Encrypt, seal and ingest the files for the policy's recipients; the exit code."""
    from archiver.cli.statement import take_statement
    from archiver.cli.statement_forms import settle_originals
    from archiver.statement import Keys, Statement, check_keys

    begin_in_secret(output)
    with guarded():
        policy, sealing = options.create.policy, options.create.sealing
        rules = policy.encryption
        keys = check_keys(
            Keys(readers=rules.recipients, escrow=rules.escrow, identity=()),
            identity_kept=False,
        )
        statement = Statement(description=description, files=tuple(map(_plain, sources)))
        taken = take_statement(vault, case, statement, keys, options, output, identify=identify)
        made = taken.ingested
        stamps = wait_for_stamps(made.path, sealing.stamps, output) if sealing else ()
        count, size = len(taken.originals), made.payload_bytes
        if as_json:
            output.json({**made_json(made, sealing, stamps), "encrypted": count})
        else:
            told = _("{item}: encrypted, {files}, {size}")
            files = count_files(count)
            output.line(told.format(item=made.item, files=files, size=human_size(size)))
        tell_stamps(stamps, output, as_json=as_json)
        settle_originals(vault, made.item, list(taken.originals), output, remove=False)
        return code_of_stamps(sealing, stamps, policy, output)


def _plain(source: str) -> Any:
    from archiver.statement import Plain

    if not os.path.isfile(source):
        raise UsageError(
            _("what is secret is made of files, one by one"),
            hint=_("Pack a directory into one archive first."),
        )
    return Plain(source, source)
