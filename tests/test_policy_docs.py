"""docs/policies.md says what policies can say: every table, key and default, and no other."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from archiver.describe.owed import checked_policy
from archiver.policy import policy_names
from archiver.policy.check import CHOICES
from archiver.policy.meanings import MEANINGS, TOP_LEVEL
from archiver.policy.model import TABLES

PAGE = (Path(__file__).parent.parent / "docs" / "policies.md").read_text("utf-8")


def test_every_key_has_its_meaning_and_no_other_has() -> None:
    assert list(MEANINGS) == list(TABLES)
    for name, kind in TABLES.items():
        assert list(MEANINGS[name]) == [one.name for one in dataclasses.fields(kind)]


def test_the_page_has_every_table_and_key_and_no_other() -> None:
    parts = re.split(r"^### `\[([a-z]+)\]`\n", PAGE, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(sections) == list(TABLES)
    for name, kind in TABLES.items():
        wanted = []
        for one in dataclasses.fields(kind):
            default = list(one.default) if isinstance(one.default, tuple) else one.default
            meaning = MEANINGS[name][one.name]
            if one.name in CHOICES:
                meaning += " One of: " + ", ".join(f"`{text}`" for text in CHOICES[one.name]) + "."
            wanted.append(f"| `{one.name}` | `{json.dumps(default)}` | {meaning} |")
        assert re.findall(r"^\| `.*$", sections[name], flags=re.MULTILINE) == wanted
    for key, meaning in TOP_LEVEL.items():
        assert f"| `{key}` | {meaning} |" in parts[0]


def test_the_page_names_the_policies_that_ship() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| (`[a-z]+`)? ?\| ", PAGE.partition("##")[0], re.MULTILINE)
    assert sorted(name for name, _extends in rows) == policy_names()


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_are_policies(tmp_path: Path, text: str) -> None:
    path = tmp_path / "our.toml"
    path.write_text(text)
    assert checked_policy(str(path)).describe.required
