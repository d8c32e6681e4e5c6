"""A catalog is made anew from the logs, or compared with what that would give.

Job: rebuild, check. Limits: reads logs only; the bags are an audit's business.

The new one is made beside the old one, and takes its place whole. A kill leaves the old
one, none (the next command makes it), or the new one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest

from archiver.catalog import Catalog, Incident, open_catalog
from archiver.catalog.sqlite import companions, remove_companions
from archiver.errors import CatalogError, LogError, StorageError, storage_error
from archiver.filesystem import sync_directory
from archiver.vault import Vault
from archiver.vault.amendments import check_amendments
from archiver.vault.log import CaseLog
from archiver.vault.records import take_in

__all__ = ["CatalogReport", "Rebuilt", "check_catalog", "rebuild_catalog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogReport:
    """``problem`` is what the database finds wrong with its own file; ``differing`` tables
    are not what the logs give; ``amendments`` (path, problem) are not what the logs tell of.
    """

    problem: str
    differing: tuple[str, ...]
    amendments: tuple[tuple[str, str], ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.problem and not self.differing


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many events were taken in, and what is wrong with the logs."""

    events: int
    broken: tuple[LogError, ...]


def rebuild_catalog(
    vault: Vault,
    now: datetime,
    wait_seconds: float = 10.0,
    tell: Callable[[int], None] = lambda _count: None,
) -> Rebuilt:
    """Make the catalog anew. A log that is broken is taken in as far as it can be read, and
    stops its own case only. Raises LockedError, StorageError; then the old one is as it was.

    The index of words goes: the next search makes it anew.
    """
    with vault.locked("catalog rebuild", wait_seconds):
        _remove(vault.search_index)
        new = f"{vault.catalog}.new"
        _remove(new)
        told = _told(vault)
        try:
            with open_catalog(new, durable=False) as catalog:
                rebuilt = _fill(catalog, vault, tell)
                catalog.mark_told(told, now)
            _put_in_place(new, vault.catalog)
        except OSError as error:
            raise storage_error(error, vault.catalog) from error
        finally:
            _remove(new)
    return rebuilt


def _fill(catalog: Catalog, vault: Vault, tell: Callable[[int], None]) -> Rebuilt:
    count, broken = 0, []
    for case in vault.cases():
        log = CaseLog(case, vault.log_path(case))
        try:
            take_in(catalog, log, tell)
        except LogError as error:
            broken.append(error)
        count += catalog.position(case).lines
    return Rebuilt(events=count, broken=tuple(broken))


def _told(vault: Vault) -> list[Incident]:
    """Of which incidents somebody was told already, as far as the old one can say."""
    if os.path.exists(vault.catalog):
        with contextlib.suppress(CatalogError, StorageError), open_catalog(vault.catalog) as old:
            return old.incidents(only_open=False, told=True)
    return []


def _put_in_place(new: str, path: str) -> None:
    descriptor = os.open(new, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.chmod(new, 0o600)
    # The journal that lies beside the old one must not be taken for the new one's.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    remove_companions(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}-journal")
    os.rename(new, path)
    sync_directory(os.path.dirname(path))


def _remove(path: str) -> None:
    for one in (path, f"{path}-journal", *companions(path)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(one)


def check_catalog(
    vault: Vault, wait_seconds: float = 10.0, *, now: datetime | None = None
) -> CatalogReport:
    """Compare the catalog with one that is made anew, row by row, and the amendments with what
    that one says of them. Writes nothing.

    Raises LogError where a log is broken, CatalogError where it can't be read at all.
    """
    now = now or datetime.now(UTC)
    with vault.locked("catalog check", wait_seconds), contextlib.ExitStack() as stack:
        found = stack.enter_context(open_catalog(vault.catalog))
        problem = found.integrity_problem()
        fresh = stack.enter_context(open_catalog())
        _fill(fresh, vault, lambda _count: None)
        differing = tuple(_differing(found, fresh))
        altered = tuple(
            (one.path, one.problem)
            for case in fresh.positions()
            for one in check_amendments(vault, fresh, case, now=now)
        )
    return CatalogReport(problem=problem, differing=differing, amendments=altered)


def _differing(one: Catalog, other: Catalog) -> Iterator[str]:
    for table in one.tables():
        rows, others = one.rows_of(table), other.rows_of(table)
        with contextlib.closing(rows), contextlib.closing(others):
            if any(row != twin for row, twin in zip_longest(rows, others)):
                yield table
