"""Brings the translation catalogues up to date: extract, merge, compile.

Run by ``make messages``. ``--check`` changes nothing and fails where a message
is untranslated, stale, fuzzy, or where a compiled catalogue is older than its
source; the tests call it that way.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
LOCALE = ROOT / "archiver" / "locale"
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2)}
LANGUAGES = ("es",)
DROPPED = (
    '"POT-Creation',
    '"PO-Revision',
    '"Generated-By',
    '"Project-Id',
    '"Report-Msgid',
    '"Last-Translator',
    '"Language-Team',
)
"""Header lines that name dates and people."""


def extract() -> Catalog:
    """Every message in the package; the paths are relative, line numbers left out."""
    template = Catalog(project="archiver", fuzzy=False, charset="utf-8")
    found = extract_from_dir(
        str(ROOT / "archiver"), method_map=[("**.py", "python")], keywords=KEYWORDS
    )
    for path, _line, message, _comments, context in found:
        template.add(message, locations=[(f"archiver/{path}", 0)], context=context)
    return template


def po_path(language: str) -> Path:
    """Where a language's catalogue lies."""
    return LOCALE / language / "LC_MESSAGES" / "archiver.po"


def merged(language: str, template: Catalog) -> Catalog:
    """A language's catalogue with the messages of today; nothing is guessed."""
    path = po_path(language)
    if path.exists():
        with path.open("rb") as file:
            catalog = read_po(file, locale=language)
    else:
        catalog = Catalog(locale=language)
    catalog.header_comment = f"# archiver: messages in {language}"
    catalog.fuzzy = False
    catalog.update(template, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    return catalog


def compiled(catalog: Catalog) -> bytes:
    """The binary form. Its header would hold the time of day: one that is always the same
    makes it comparable.
    """
    catalog.creation_date = catalog.revision_date = datetime(2000, 1, 1, tzinfo=UTC)
    buffer = io.BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def placeholders(text: str) -> set[str]:
    """The ``{names}`` in a message; formats behind a colon or a dot don't count."""
    parts = text.replace("{{", "").split("{")[1:]
    return {part.partition("}")[0].partition(":")[0].partition("!")[0] for part in parts}


def problems(language: str, template: Catalog) -> Iterator[str]:
    """What keeps a language from being complete."""
    catalog = merged(language, template)
    for message in catalog:
        if not message.id:
            continue
        texts = message.string if isinstance(message.string, tuple | list) else [message.string]
        if not all(texts) or message.fuzzy:
            yield f"{language}: untranslated: {message.id!r}"
        ids = message.id if isinstance(message.id, tuple | list) else [message.id]
        if any(placeholders(str(text)) - placeholders(str(ids[-1])) for text in texts if text):
            yield f"{language}: unknown placeholder in {message.id!r}"
    with po_path(language).open("rb") as file:
        if (
            compiled(read_po(file, locale=language))
            != po_path(language).with_suffix(".mo").read_bytes()
        ):
            yield f"{language}: the compiled catalogue is not that of archiver.po"


def update(language: str, template: Catalog) -> None:
    """Write a language's catalogue and its compiled form."""
    catalog = merged(language, template)
    path = po_path(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    write_po(
        buffer, catalog, width=100, include_lineno=False, ignore_obsolete=True, sort_output=True
    )
    lines = buffer.getvalue().decode().split("\n")
    kept = [line for line in lines if not line.startswith(DROPPED)]
    path.write_text("\n".join(kept), "utf-8")
    with path.open("rb") as file:
        path.with_suffix(".mo").write_bytes(compiled(read_po(file, locale=language)))


def main() -> int:
    """Update the catalogues, or check them."""
    template = extract()
    if sys.argv[1:] == ["--check"]:
        found = [problem for language in LANGUAGES for problem in problems(language, template)]
        print("\n".join(found) or "all messages are translated")
        return 1 if found else 0
    for language in LANGUAGES:
        update(language, template)
        left = sum(1 for one in merged(language, template) if one.id and not one.string)
        print(f"{language}: {left} left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
