"""Descriptions for tests: whole ones, and any that can be."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

from archiver.describe import KINDS, Description, Field, fields_of, read_form
from archiver.describe.templates import template

UNFILLED = re.compile(r"^#(?=[^ \n])", re.MULTILINE)


def filled(kind: str, **changes: str) -> bytes:
    """A template with all its examples; ``changes`` are values in TOML by their keys."""
    lines = UNFILLED.sub("", template(kind)).split("\n")
    for key, value in changes.items():
        (number,) = [at for at, line in enumerate(lines) if line.startswith(f"{key} = ")][:1]
        lines[number] = f"{key} = {value}"
    return "\n".join(lines).encode()


def whole(kind: str, **changes: str) -> Description:
    """The same as it is read."""
    return read_form(filled(kind, **changes), "f.toml")


LETTERS = "aZ0 '\"\\\n\t#=[]{}.,ñ漢😀\u2028\u200f\ufeff"
texts = st.text(st.sampled_from(LETTERS), min_size=1, max_size=30).filter(
    lambda text: bool(text.strip())
)
whens = st.one_of(
    st.just("unknown"),
    st.dates().map(lambda day: day.isoformat()),
    st.datetimes(timezones=st.none()).map(lambda time: time.isoformat()),
    st.integers(1, 9999).map(lambda year: f"{year:04}"),
    st.dates().map(lambda day: day.isoformat()[:7]),
)


def values_of(field: Field) -> st.SearchStrategy[Any]:
    """Any value that a field can have."""
    if field.type == "text":
        return texts
    if field.type == "when":
        return whens
    if field.type == "choice":
        return st.sampled_from(field.choices)
    if field.type == "count":
        return st.integers(0, (1 << 53) - 1)
    if field.type == "texts":
        return st.lists(texts, min_size=1, max_size=3)
    table = st.fixed_dictionaries({}, optional={one.key: values_of(one) for one in field.fields})
    return table if field.type == "table" else st.lists(table, min_size=1, max_size=3)


@st.composite
def descriptions(draw: st.DrawFn) -> Description:
    """Any description."""
    kind = draw(st.sampled_from(KINDS))
    fields = {one.key: values_of(one) for one in fields_of(kind).values()}
    chosen = draw(st.lists(st.sampled_from(list(fields)), max_size=6, unique=True))
    values = {key: draw(fields[key]) for key in chosen}
    names = ("at", "clock", "program", "time_zone")
    recorded = st.dictionaries(st.sampled_from(names), st.text("abc :-0", max_size=30))
    return Description.checked(kind, values, draw(recorded))
