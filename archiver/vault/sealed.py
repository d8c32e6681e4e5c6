"""Whether the catalog says of what was sealed what the log says.

Job: a catalog's rows against the events that they were made from. Limits: mends nothing.

The catalog lies beside the bags: who can exchange a bag can change its row, too, so that the
forgery is what "was sealed". Whatever a copy is judged by, before it is called good, handed
out, copied or put in another's place, is compared with the log first. The log's own chain is
checked on the way; whether it was made anew as a whole is the business of checkpoints and of
the replicas' copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archiver.catalog import Catalog
from archiver.catalog.facts import Ended, fact_of
from archiver.catalog.model import SEALED, Item
from archiver.errors import ArchiverError, CatalogError, FormatError, LockedError
from archiver.i18n import _
from archiver.vault import Vault
from archiver.vault.log import CaseLog
from archiver.vault.records import reading

__all__ = ["Trusted", "other_than_the_log", "refuse_changed", "refuse_changed_case"]

_ENDING = b'"type":"ingestion end"'
_BATCH = 500
_TRIES = 1000


class Trusted:
    """Cases whose rows were compared with their logs, each once. ``problems``: of those of which
    nothing can be said.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: dict[str, bool] = {}
        self.problems: list[ArchiverError] = []

    def has(self, case: str) -> bool:
        """Whether what the catalog says of ``case`` can be relied on. For one thread."""
        if case not in self._known:
            try:
                with reading(self._vault) as records:
                    refuse_changed_case(self._vault, records.catalog, case)
                self._known[case] = True
            except ArchiverError as error:
                self.problems.append(error)
                self._known[case] = False
        return self._known[case]


def refuse_changed(vault: Vault, items: Sequence[Item]) -> None:
    """Raises CatalogError where the sealed ones of ``items`` are not what the logs say, LogError
    where a log can't say it. One pass of each case's log.
    """
    for case in sorted({one.case for one in items}):
        wanted = {one.item: one for one in items if one.case == case and one.state == SEALED}
        told = {one.item: one for one in _endings(vault, case) if one.item in wanted}
        for name, item in wanted.items():
            if not _is_told(item, told.get(name)):
                raise other_than_the_log(vault, name)


def refuse_changed_case(vault: Vault, catalog: Catalog, case: str) -> None:
    """The same of all items of ``case`` that the catalog has; another that it makes up, or
    has no more, is noticed, too. Others may write meanwhile.
    """
    lines, counted = _counted(catalog, case)
    differing, batch, count = set[str](), list[Ended](), 0
    for ended in _endings(vault, case, lines):
        count += ended.state == SEALED
        batch.append(ended)
        if len(batch) == _BATCH:
            _compare(catalog, batch, differing)
            batch = []
    _compare(catalog, batch, differing)
    rows = catalog.named(sorted(differing))
    if len(rows) < len(differing) or count != counted:
        raise other_than_the_log(vault, min(differing, default=case))
    refuse_changed(vault, rows)  # what has ended again since is told behind these lines


def _counted(catalog: Catalog, case: str) -> tuple[int, int]:
    """Up to which line of a case's log the catalog has taken in how many sealed items. Raises
    LockedError where that never stands still.
    """
    for _try in range(_TRIES):
        lines, counted = catalog.position(case).lines, catalog.count_sealed(case)
        if catalog.position(case).lines == lines:
            return lines, counted
    raise LockedError(
        _("{case}: too much is written at this moment").format(case=case),
        hint=_("Run the command again."),
    )


def _compare(catalog: Catalog, batch: Sequence[Ended], differing: set[str]) -> None:
    """What was refused and sealed then has two endings: the last one counts."""
    rows = {one.item: one for one in catalog.named([one.item for one in batch])}
    for ended in batch:
        row = rows.get(ended.item)
        if row is not None and _is_told(row, ended):
            differing.discard(ended.item)
        else:
            differing.add(ended.item)


def _is_told(item: Item, ended: Ended | None) -> bool:
    return ended is not None and (item.state, item.detail) == (ended.state, ended.detail)


def _endings(vault: Vault, case: str, lines: int | None = None) -> Iterator[Ended]:
    """Of the first ``lines`` events, or all. Raises LogError."""
    log = CaseLog(case, vault.log_path(case))
    for link in log.read(only=_ENDING):
        if lines is not None and link.seq > lines:
            return
        try:
            fact = fact_of(case, link)
        except FormatError as error:
            raise log.broken(link.seq, error) from error
        if isinstance(fact, Ended):
            yield fact


def other_than_the_log(vault: Vault, name: str) -> CatalogError:
    """What is raised where it is so."""
    return CatalogError(
        _("{path}: what it says of {item} is not what the log says").format(
            path=vault.catalog, item=name
        ),
        hint=_(
            "Somebody changed it, or it is damaged: see 'archiver events verify'; 'archiver"
            " catalog rebuild' makes it anew from the logs."
        ),
    )
