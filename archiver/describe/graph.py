"""What was made from what: derivations as a graph.

Job: edges in, an order or the first cycle out. Limits: knows items by their names alone;
where the edges come from is for who calls to say.

Nothing here calls itself: a chain of a hundred thousand items is no deeper than one of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from archiver.errors import FormatError
from archiver.i18n import _

__all__ = ["CycleError", "Edges", "first_cycle", "in_order", "sources_of"]

_SHOWN = 10
Edges = Mapping[str, Iterable[str]]
"""Of each item the items that it was made from; those that aren't keys were made from none."""


class CycleError(FormatError):
    """Items that were made from each other; ``cycle`` begins and ends with the same one."""

    def __init__(self, cycle: tuple[str, ...]) -> None:
        text = _("items can't be made from each other: {cycle}")
        shown = cycle if len(cycle) <= _SHOWN else (*cycle[: _SHOWN - 2], "...", cycle[-1])
        super().__init__(text.format(cycle=" <- ".join(shown)))
        self.cycle = cycle


def sources_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The items that a description's ``values`` say it was made from, each once."""
    return tuple(
        dict.fromkeys(one["item"] for one in values.get("derived_from", ()) if "item" in one)
    )


def first_cycle(edges: Edges) -> tuple[str, ...]:
    """The first cycle, going through the items as they come; () where there is none."""
    try:
        in_order(edges)
    except CycleError as error:
        return error.cycle
    return ()


def in_order(edges: Edges) -> tuple[str, ...]:
    """All items, each after those that it was made from. Raises CycleError."""
    done: dict[str, None] = {}
    for start in edges:
        _visit(start, edges, done)
    return tuple(done)


def _visit(start: str, edges: Edges, done: dict[str, None]) -> None:
    """Depth first, from ``start`` to all that it was made from, which come before it."""
    if start in done:
        return
    way, open_ = [start], {start: _below(start, edges)}
    while way:
        item = way[-1]
        found = next((one for one in open_[item] if one not in done), None)
        if found is None:
            way.pop()
            del open_[item]
            done[item] = None
        elif found in open_:
            raise CycleError((*way[way.index(found) :], found))
        else:
            way.append(found)
            open_[found] = _below(found, edges)


def _below(item: str, edges: Edges) -> Iterator[str]:
    return iter(edges.get(item, ()))
