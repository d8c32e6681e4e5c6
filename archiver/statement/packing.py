"""A bag of what is secret, made where there is no vault: encrypted before it is bagged.

Job: plain files in, a bag out, with nothing but ciphertext beside it on the way. Limits:
writes no log, and takes no number; a run that is killed begins anew, since no ciphertext is
made twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from archiver.bag.plan import Plan, PlanOptions
from archiver.bag.write import WrittenBag
from archiver.seal import CreateOptions, create_bag, plan_sources
from archiver.statement.making import ExaminePlain, make
from archiver.statement.model import Heard, Keys, Plain, Statement, check_statement
from archiver.statement.staging import staged_beside

__all__ = ["Packed", "pack"]


@dataclass(frozen=True, slots=True)
class Packed:
    """The bag, the plan of its ciphertexts, and the plain files as they were read, with their
    digests.
    """

    written: WrittenBag
    plan: Plan
    originals: tuple[tuple[Plain, str], ...]


def pack(
    destination: str,
    statement: Statement,
    keys: Keys,
    options: CreateOptions,
    *,
    examine: ExaminePlain | None = None,
    heard: Heard | None = None,
) -> Packed:
    """Encrypt and seal ``statement`` as the bag at ``destination``. Raises ArchiverError; then
    nothing of it is left.
    """
    heard = heard or Heard()
    check_statement(statement, options.policy)
    case = str(statement.description.values.get("case", ""))
    with staged_beside(destination) as staged:
        made = make(
            staged, statement, keys, case, options, examine=examine, encrypting=heard.encrypting
        )
        plan = plan_sources([staged.payload], destination, PlanOptions())
        written = create_bag(plan, destination, made.create, progress=heard.sealing, say=heard.say)
    return Packed(written, plan, made.originals)
