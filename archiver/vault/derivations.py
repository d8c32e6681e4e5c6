"""What the items of a vault were made from, as their descriptions say now.

Job: gather the edges of the graph from some items on, and tell them. Limits: what is secret
says nothing here; whether the edges close a circle is asked of
:mod:`archiver.describe.graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from archiver.catalog import Catalog
from archiver.describe.graph import sources_of
from archiver.vault import Vault
from archiver.vault.amendments import tell

__all__ = ["lineage", "lineage_lines"]

MAX_ITEMS = 10_000
"""Of one lineage; what lies behind them is not followed."""


def lineage(vault: Vault, catalog: Catalog, start: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Of each of ``start``, and of all that these were made from, what it was made from. Items
    that aren't there, or whose descriptions can't be read, were made from nothing.
    """
    edges: dict[str, tuple[str, ...]] = {}
    waiting = list(start)
    while waiting and len(edges) < MAX_ITEMS:
        name = waiting.pop()
        if name in edges:
            continue
        item = catalog.item(name)
        now = tell(vault, catalog, item).now if item is not None else None
        edges[name] = sources_of(now.values) if now is not None else ()
        waiting += edges[name]
    return edges


def lineage_lines(item: str, edges: Mapping[str, tuple[str, ...]], most: int) -> Iterator[str]:
    """The items that ``item`` was made from, one a line, each below what was made from it; at
    most ``most``. One that comes again is not gone into again.
    """
    waiting = [(source, 1) for source in reversed(edges.get(item, ()))]
    met = {item}
    while waiting and most > 0:
        name, depth = waiting.pop()
        yield "  " * depth + name
        most -= 1
        if name not in met:
            met.add(name)
            waiting += [(one, depth + 1) for one in reversed(edges.get(name, ()))]
    if waiting:
        yield "  ..."
