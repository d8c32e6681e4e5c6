"""Figures beside their targets: one table for a document, one for a program."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of a table. ``reached`` is None where nothing was asked for."""

    what: str
    value: str
    target: str = ""
    reached: bool | None = None


def table(figures: list[Figure]) -> str:
    """The figures in Markdown."""
    lines = ["| what | measured | target |", "|---|---|---|"]
    for one in figures:
        missed = " MISSED" if one.reached is False else ""
        lines.append(f"| {one.what} | {one.value} | {one.target}{missed} |")
    return "\n".join(lines) + "\n"


def tell(figures: list[Figure], files: list[str]) -> int:
    """Print the table, write it to ``files`` (Markdown or JSON); 1 where a target was missed."""
    text = table(figures)
    print(text, end="")
    for path in files:
        document = {one.what: one.value for one in figures}
        content = text if path.endswith(".md") else json.dumps(document, indent=1) + "\n"
        Path(path).write_text(content, encoding="utf-8")
    return 1 if any(one.reached is False for one in figures) else 0
