"""Units that are secret, on their way into a vault: encrypted, then staged like any other.

Job: a plan of plain files in, a staged item of ciphertexts out; what became of it after a
kill. Limits: which units are secret is said by :mod:`archiver.watch.described`.

The item's key in the log is made by chance, since a digest of names could be guessed. So a
number that was begun is found again by the directory its ciphertexts lie in, which is there
until the item is sealed or withdrawn (:mod:`archiver.statement.staging`), and a unit that was
being archived by the item that the journal names.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archiver.bag.model import BagInfo
from archiver.bag.plan import Plan, PlanOptions
from archiver.bag.progress import Progress
from archiver.catalog.model import BEGUN, SEALED
from archiver.describe import Description
from archiver.errors import ArchiverError
from archiver.fixity import Result, look_at
from archiver.ingest import batch as ingest
from archiver.ingest.batch import Source, StagedItem
from archiver.ingest.numbers import IngestOptions
from archiver.policy import Policy
from archiver.seal import plan_sources
from archiver.statement import Keys, Statement, check_keys
from archiver.statement.envelope import DESCRIPTION_PATH
from archiver.statement.making import ExaminePlain, Made, make
from archiver.statement.sources import plain_files
from archiver.statement.staging import (
    KEY_PREFIX,
    Staged,
    description_fact,
    end_of,
    settle_left,
    staged_in,
)
from archiver.vault import Vault
from archiver.vault.records import reading

__all__ = ["SecretItems", "has_readers"]


def has_readers(policy: Policy) -> bool:
    """Whether ``policy`` says for whom what is secret is encrypted, and that can be done here."""
    rules = policy.encryption
    named = bool(rules.recipients and rules.escrow) and rules.payload != "never"
    return named and importlib.util.find_spec("pyrage") is not None


@dataclass(frozen=True, slots=True)
class _Open:
    """An item that is staged: where its ciphertexts lie, and its key in the log."""

    staged: Staged
    key: str


class SecretItems:
    """Those of one case. ``examine`` looks at the plain files before."""

    def __init__(
        self, vault: Vault, case: str, progress: Progress, examine: ExaminePlain | None
    ) -> None:
        self._vault, self._case = vault, case
        self._progress, self._examine = progress, examine
        self._open: dict[str, _Open] = {}

    def stage(
        self, plan: Plan, description: Description, info: BagInfo, options: IngestOptions
    ) -> tuple[StagedItem, tuple[str, ...]]:
        """Encrypt the files of ``plan`` and stage the item; the SHA-512 of the plain files, as
        they were read, in the order of the plan. Raises ArchiverError; then nothing is left.
        """
        rules = options.create.policy.encryption
        keys = Keys(readers=rules.recipients, escrow=rules.escrow, identity=())
        statement = Statement(description=description, files=plain_files(plan))
        with contextlib.ExitStack() as stack:
            staged = stack.enter_context(staged_in(self._vault, self._case))
            made = make(
                staged,
                statement,
                check_keys(keys, identity_kept=False),
                self._case,
                options.create,
                examine=self._examine,
                encrypting=self._progress,
                sha512=True,
            )
            item = self._staged_item(staged, made, info, options, description.kind)
            self._open[item.item.item] = _Open(staged, staged.key)
            stack.pop_all()
        return item, made.sha512

    def _staged_item(
        self, staged: Staged, made: Made, info: BagInfo, options: IngestOptions, kind: str
    ) -> StagedItem:
        bag = self._vault.bag_path(self._case, "new")
        plan = plan_sources([staged.payload], bag, PlanOptions())
        source = Source(key=staged.key, plan=plan, info=info)
        options = replace(options, create=made.create)
        try:
            (found,) = ingest.prepare(
                self._vault, self._case, [source], options, progress=self._progress
            )
            if isinstance(found, ArchiverError):
                raise found
        except BaseException:
            self._withdraw(staged.key, options)
            raise
        fact = description_fact(made.create.tag_files[DESCRIPTION_PATH], kind, "")
        return replace(found, payload=replace(found.payload, more={"description": fact}))

    def close(self, item: str) -> None:
        """The item is sealed or withdrawn: what its ciphertexts lay in goes."""
        known = self._open.pop(item, None)
        if known is not None:
            known.staged.__exit__(None, None, None)

    def leave(self, item: str) -> None:
        """What became of the item can't be told now: its directory stays for who finds out."""
        known = self._open.pop(item, None)
        if known is not None:
            known.staged.leave()

    def abandon(self, item: str, options: IngestOptions) -> None:
        """It isn't wanted any more: its number is withdrawn."""
        known = self._open.get(item)
        if known is not None:
            self._withdraw(known.key, options)
            self.close(item)

    def _withdraw(self, key: str, options: IngestOptions) -> None:
        with contextlib.suppress(ArchiverError):  # what came first has to be told
            end_of(self._vault, self._case, key, options)

    def settle(self, options: IngestOptions) -> None:
        """Bring to an end what killed runs have left. Raises ArchiverError."""
        settle_left(self._vault, options)

    def sealed(self, name: str, options: IngestOptions) -> Mapping[str, Any] | None:
        """What the log says of the secret item ``name``, whose bag proves intact; None where it
        is no such item, or never came to be: then its number is withdrawn. Raises ArchiverError
        where that can't be told.
        """
        item = self._known(name)
        if item is not None and item.state == BEGUN and item.key.startswith(KEY_PREFIX):
            end_of(self._vault, self._case, item.key, options)
            with contextlib.suppress(ArchiverError):  # about others: the next sweep tells
                settle_left(self._vault, options)
            item = self._known(name)
        if item is None or item.state != SEALED or not item.key.startswith(KEY_PREFIX):
            return None
        path = self._vault.bag_path(self._case, name)
        intact = look_at(path, item, progress=self._progress)[0] is Result.GOOD
        return item.detail if intact else None

    def _known(self, name: str) -> Any:
        with reading(self._vault) as records:
            records.require(self._case)
            found = records.catalog.item(name)
        return found if found is not None and found.case == self._case else None
