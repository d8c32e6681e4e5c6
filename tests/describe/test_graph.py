"""What was made from what."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.describe.graph import CycleError, first_cycle, in_order, sources_of

names = st.integers(0, 7).map(str)
graphs = st.dictionaries(names, st.lists(names, max_size=4))


@given(graphs)
def test_an_order_or_a_cycle(edges: dict[str, list[str]]) -> None:
    cycle = first_cycle(edges)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        for item, source in pairwise(cycle):
            assert source in edges[item]
        with pytest.raises(CycleError) as caught:
            in_order(edges)
        assert caught.value.cycle == cycle
        return
    order = in_order(edges)
    assert len(set(order)) == len(order)
    assert set(order) == set(edges) | {one for given in edges.values() for one in given}
    for item, sources in edges.items():
        assert all(order.index(source) < order.index(item) for source in sources)


@given(st.permutations("abcdef"), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_what_has_an_order_has_no_cycle(order: list[str], pairs: list[tuple[int, int]]) -> None:
    edges: dict[str, list[str]] = {}
    for one, other in pairs:
        if one < other:
            edges.setdefault(order[other], []).append(order[one])
    assert first_cycle(edges) == ()


def test_cycles() -> None:
    assert first_cycle({}) == ()
    assert first_cycle({"a": ["a"]}) == ("a", "a")
    assert first_cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ("b", "c", "b")
    with pytest.raises(CycleError, match="from each other: b <- c <- b"):
        in_order({"x": [], "a": ["b"], "b": ["c"], "c": ["b"]})


def test_a_hundred_thousand_items() -> None:
    count = 100_000
    chain: dict[str, list[str]] = {str(one): [str(one + 1)] for one in range(count)}
    begun = time.process_time()
    assert in_order(chain)[0] == str(count)
    chain[str(count)] = ["0"]
    cycle = first_cycle(chain)
    assert len(cycle) == count + 2
    with pytest.raises(CycleError) as caught:
        in_order(chain)
    assert len(caught.value.message) < 200
    star = {"x": [str(one) for one in range(count)], **{str(one): ["y"] for one in range(count)}}
    assert in_order(star)[-1] == "x"
    assert time.process_time() - begun < 20


def test_the_sources_of_a_description() -> None:
    assert sources_of({}) == ()
    values = {"derived_from": [{"item": "b"}, {"tool": "x"}, {"item": "a"}, {"item": "b"}, {}]}
    assert sources_of(values) == ("b", "a")
