"""Whether the items that something was made from are there.

Job: ask the catalog. Limits: a new item closes no circle, since nothing can have been made
from it yet: that is for amendments to ask (:mod:`archiver.describe.graph`).
"""

from __future__ import annotations

from collections.abc import Iterable

from archiver.catalog.model import SEALED, is_item
from archiver.describe import Description
from archiver.describe.graph import sources_of
from archiver.errors import NotFoundError
from archiver.i18n import _
from archiver.vault import Vault
from archiver.vault.records import reading

__all__ = ["refuse_unknown_sources", "secret_sources", "unknown_items"]

_SHOWN = 10


def unknown_items(vault: Vault, names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that are no sealed items of the vault."""
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        return ()
    with reading(vault) as records:
        known = {one.item for one in records.catalog.named(wanted) if one.state == SEALED}
    return tuple(one for one in wanted if one not in known)


def secret_sources(vault: Vault, description: Description) -> tuple[str, ...]:
    """The items that something was made from, as far as these are secret."""
    names = tuple(dict.fromkeys(sources_of(description.values)))
    if not names:
        return ()
    with reading(vault) as records:
        told = {one: records.catalog.described(one) for one in names}
    return tuple(name for name, one in told.items() if one is not None and one.secret)


def refuse_unknown_sources(vault: Vault, description: Description) -> None:
    """Raises NotFoundError, which names what isn't there."""
    unknown = unknown_items(vault, sources_of(description.values))
    if not all(map(is_item, unknown)):
        raise NotFoundError(
            _("derived_from names what is no item"),
            hint=_("Name items as 'archiver list' does: caso-014-E-0001."),
        )
    if unknown:
        names = ", ".join(one[:100] for one in unknown[:_SHOWN])
        if len(unknown) > _SHOWN:
            text = _("{names} and {count} more")
            names = text.format(names=names, count=len(unknown) - _SHOWN)
        raise NotFoundError(
            _("derived_from names items that are not in the vault: {names}").format(names=names),
            hint=_("Ingest what it was made from first; 'archiver list' shows what is there."),
        )
