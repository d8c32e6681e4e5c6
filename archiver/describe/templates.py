"""Forms to fill in: TOML with every field of a kind, each explained and commented out.

Job: a template, an example for each field. Limits: what a field is, stands in
:mod:`archiver.describe.fields`; forms are read by :mod:`archiver.describe.form`.

A line that begins with ``#`` and a space explains; with the ``#`` alone taken away from all
other lines, a template is a description made of its examples.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from archiver.describe.fields import CONFIDENTIALITIES, Field, fields_of
from archiver.describe.form import to_toml
from archiver.i18n import N_, _

__all__ = ["example_of", "explain", "kind_label", "template"]

_WIDTH = 78
_KINDS = {
    "document": N_("A document"),
    "photograph": N_("A photograph"),
    "video": N_("A video"),
    "audio": N_("A sound recording"),
    "statement": N_("A witness's statement"),
    "social-media-post": N_("A post in a social network"),
    "dataset": N_("A set of data"),
    "physical-object-record": N_("A record of a physical object"),
    "absence": N_("Something that should exist, and doesn't"),
}
_TYPES = {
    "when": N_("A date or time, as far as it is known, or unknown."),
    "count": N_("A whole number."),
    "texts": N_("A list of texts."),
    "table": N_("Several fields of its own."),
    "tables": N_("May be there several times, each with fields of its own."),
}
_EXAMPLES = {
    "case": "caso-014",
    "title": N_("Demolition of a house"),
    "description": N_("A house of tin and wood is pulled down by an excavator."),
    "collected_by": N_("the field team, member F-2"),
    "collected_how": N_("copied from the telephone's memory card"),
    "collection_reason": N_("shows the state of the place before the inspection"),
    "source": N_("a neighbour, by code W-03"),
    "source_obtained": N_("handed over on a memory card, with a receipt"),
    "item": "caso-014-E-0001",
    "tool": "ffmpeg 7.1",
    "parameters": "-c copy -ss 00:01:10 -t 30",
    "consent_reference": "caso-014-E-0003",
    "language": "es",
    "known_gaps": N_("none known"),
    "event_time_known": N_("by the camera's clock, compared with a radio's"),
    "edits_known": N_("none known"),
    "place": N_("a village in the province"),
    "place_source": N_("said by who handed it over"),
    "document_type": N_("letter"),
    "issuer": N_("the prosecutor's office"),
    "scan_dpi": "600",
    "reference_number": "EXP-2026-118",
    "translation_of": "caso-014-E-0002",
    "photographs": "caso-014-E-0007",
    "witness_code": "W-07",
    "interviewer": N_("interviewer I-2"),
    "interviewer_role": N_("lawyer of the organisation"),
    "interview_place": N_("the capital of the province"),
    "persons_present": N_("interpreter T-1"),
    "interpreter": N_("none"),
    "original_recording": "caso-014-E-0005",
    "earlier_interviews": N_("none known"),
    "explained_language": "es",
    "explained_method": N_("read aloud, questions answered"),
    "proof": N_("signed form, kept on paper"),
    "platform": "Mastodon",
    "url": "https://social.example/@vecina/113",
    "canonical_id": "113",
    "handle": "@vecina",
    "user_id": "109302",
    "raw_text": N_("They are pulling it down now"),
    "http_status": "200",
    "web_archive": "data/post.wacz",
    "kept_at": N_("the court's store, shelf 4"),
    "should_exist": N_("a report of the inspection of the place"),
    "whom": N_("the prosecutor's office"),
    "reference": "EXP-2026-118",
    "answer": N_("silence"),
    "lost_what": N_("the remains of the house"),
    "lost_how": N_("carried away by lorry"),
    "lost_custody": N_("the municipality"),
    "shown_by": "caso-014-E-0009",
}
"""Of texts; others have "none known"."""


def kind_label(kind: str) -> str:
    """What an item of this kind is, in words."""
    return _(_KINDS[kind])


def example_of(field: Field, kind: str = "") -> Any:
    """A value that the field could have, in an item of this ``kind``: text where it is one that
    is asked for. Who takes it over unread must not give away what nobody said.
    """
    if field.type == "choice":
        if field.choices == CONFIDENTIALITIES:
            return "sealed" if kind == "statement" else "restricted"
        return "ask" if "ask" in field.choices else field.choices[0]
    if field.type == "when":
        return "2026-03-01" if field.key.endswith(("_on", "_date")) else "2026-03-01T14:30:00-05:00"
    if field.type == "count":
        return int(_EXAMPLES[field.key])
    if field.type in ("table", "tables"):
        table = {one.key: example_of(one) for one in field.fields}
        return table if field.type == "table" else [table]
    text = _(_EXAMPLES.get(field.key, N_("none known")))
    return [text] if field.type == "texts" else text


def explain(field: Field) -> str:
    """The label, what type it is, and what there is to choose from."""
    parts = [_(field.label).rstrip(".") + "."]
    if field.type in _TYPES:
        parts.append(_(_TYPES[field.type]))
    if field.choices:
        parts.append(_("One of: {choices}.").format(choices=", ".join(field.choices)))
    if field.protected:
        parts.append(_("Never indexed: names may stand here, codes are better."))
    return " ".join(parts)


def template(kind: str) -> str:
    """The form for a kind, in the current language. Tables come last, as TOML wants it."""
    fields = list(fields_of(kind).values())
    lines = [
        *_comment(f"{kind_label(kind)}."),
        *_comment(
            _(
                "Take the # away before what you know, and write it behind the equals sign; leave"
                " the rest as it is. Nothing has to wait: what is marked with * is owed before a"
                ' case is complete, and can be added later. "None known" is an answer.'
            )
        ),
        *_comment(
            _("What is still owed: {command}").format(command="archiver describe check FILE")
        ),
        f"kind = {to_toml(kind)}",
    ]
    for field in fields:
        if not field.fields:
            lines += ["", *_simple(field, kind)]
    for field in fields:
        if field.fields:
            lines += ["", *_table(field, kind)]
    return "\n".join(lines) + "\n"


def _comment(text: str, mark: str = "") -> list[str]:
    return textwrap.wrap(f"{mark}{text}", _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _mark(field: Field) -> str:
    return "* " if field.required or field.owed_if else ""


def _simple(field: Field, kind: str) -> Iterator[str]:
    yield from _comment(explain(field), _mark(field))
    yield f"#{field.key} = {to_toml(example_of(field, kind))}"


def _table(field: Field, kind: str) -> Iterator[str]:
    yield from _comment(explain(field), _mark(field))
    yield f"#[[{field.key}]]" if field.type == "tables" else f"#[{field.key}]"
    for one in field.fields:
        yield from _simple(one, kind)
