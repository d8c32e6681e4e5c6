"""What can be said of an item: every field, of every kind.

Job: one table. Limits: checks nothing (:mod:`archiver.describe.values`), knows no files. A
field's key is its key in ``metadata/description.json`` and is never given a new meaning.

``required`` marks what the ``evidence`` policy asks for before a case is complete, never
before a file is sealed. ``protected`` fields may hold names of people: they are never
indexed. What the program fills in itself is no field: see :data:`AUTOMATIC`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from archiver.i18n import N_

__all__ = [
    "AUTOMATIC",
    "CODE",
    "CONFIDENTIALITIES",
    "KINDS",
    "PURPOSES",
    "SECRET",
    "Field",
    "fields_of",
]

KINDS = (
    "document",
    "photograph",
    "video",
    "audio",
    "statement",
    "social-media-post",
    "dataset",
    "physical-object-record",
    "absence",
)
CONFIDENTIALITIES = ("public", "restricted", "confidential", "sealed")
SECRET = ("confidential", "sealed")
CODE = re.compile(r"[A-Z]{1,3}-[0-9]{1,6}")
"""A code for a person, W-07: it can be no name."""
"""Of such an item nothing stands in clear but its code and its kind."""
PURPOSES = (
    "lawyer",
    "prosecutor",
    "international",
    "court",
    "media",
    "publication",
    "research",
)
"""What a witness is asked about, one by one."""
_YES = ("yes", "no", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. ``type``: "text"; "when" (a date or time, to the day, month or year, or
    "unknown"); "choice" of ``choices``; "count"; "texts" (a list); "table" and "tables" (a
    list) of ``fields``. ``owed_if`` names a field, and the value with which that makes this
    one required.
    """

    key: str
    label: str
    type: str = "text"
    choices: tuple[str, ...] = ()
    required: bool = False
    protected: bool = False
    fields: tuple[Field, ...] = ()
    owed_if: tuple[str, str] | None = None


def _text(
    key: str,
    label: str,
    *,
    required: bool = False,
    protected: bool = False,
    type: str = "text",  # noqa: A002
) -> Field:
    return Field(key=key, label=label, type=type, required=required, protected=protected)


def _choice(
    key: str, label: str, choices: Iterable[str] = _YES, *, required: bool = False
) -> Field:
    return Field(key=key, label=label, type="choice", choices=tuple(choices), required=required)


def _when(key: str, label: str, *, required: bool = False) -> Field:
    return Field(key=key, label=label, type="when", required=required)


_DERIVED_FROM = Field(
    key="derived_from",
    label=N_("What it was made from: item, tool and parameters"),
    type="tables",
    owed_if=("original", "derived"),
    fields=(
        _text("item", N_("The item that it was made from"), required=True),
        _text("tool", N_("The program or device, with its version"), required=True),
        _text("parameters", N_("How it was used"), required=True),
    ),
)
_ANY = (
    _text("case", N_("The case that it belongs to"), required=True),
    _text("title", N_("A short title, without names of witnesses"), required=True),
    _text("description", N_("What it is and what it shows"), required=True),
    _when("collected_at", N_("When it was collected"), required=True),
    _text("collected_by", N_("Who collected it"), required=True, protected=True),
    _text("collected_how", N_("How it was collected"), required=True),
    _text("collection_reason", N_("Why it was collected"), required=True),
    _text("source", N_("Where it comes from"), required=True, protected=True),
    _text("source_obtained", N_("How it was obtained from there"), required=True),
    _choice(
        "original",
        N_("Whether it is the original, a copy, or made from other items"),
        ("original", "copy", "derived"),
        required=True,
    ),
    _DERIVED_FROM,
    _choice("confidentiality", N_("Who may see it"), CONFIDENTIALITIES, required=True),
    _text("consent_reference", N_("Where the consent to its use is recorded")),
    _text("language", N_("Its language, as in BCP 47: es, que, en-GB")),
    _choice("exculpatory", N_("Whether it may speak for an accused person")),
    _text("known_gaps", N_('What is missing of it, or "none known"'), required=True),
)
_RECORDING = (
    _when("event_time", N_("When what it shows happened"), required=True),
    _text("event_time_known", N_("How that time is known"), required=True),
    _choice("reencoded", N_("Whether a platform encoded it again"), required=True),
    _text("edits_known", N_('What was cut or changed, or "none known"'), required=True),
    _text("filmed_by", N_("Who recorded it"), protected=True),
    _text("place", N_("Where it was recorded")),
    _text("place_source", N_("How that place is known")),
    _choice("graphic_content", N_("Whether it shows violence or the dead")),
)
_DOCUMENT = (
    _text("document_type", N_("What kind of document it is: letter, report, order")),
    _text("issuer", N_("Who issued it")),
    _when("document_date", N_("Its date")),
    _when("received_date", N_("When it was received")),
    _text("physical_original", N_("Where the paper original is")),
    _text("scanned_by", N_("Who scanned it"), protected=True),
    _text("scanned_with", N_("The scanner and its program")),
    _text("scan_dpi", N_("Its resolution in dots per inch"), type="count"),
    _text("seal_seen", N_("Seals and signatures that are seen on it")),
    _text("reference_number", N_("Its reference number")),
    _text("translation_of", N_("The item that it translates")),
    _choice("redacted", N_("Whether parts are blacked out")),
    _text("examiner", N_("Of an autopsy report: who examined"), protected=True),
    _text("institution", N_("Of an autopsy report: the institution")),
    _text("examination_place", N_("Of an autopsy report: where")),
    _when("examination_time", N_("Of an autopsy report: when")),
    _text("photographs", N_("Of an autopsy report: its photographs"), type="texts"),
)
_CONSENT = Field(
    key="consent",
    label=N_("What the witness consented to"),
    type="table",
    required=True,
    fields=(
        _choice(
            "explained",
            N_("Whether purposes and risks were explained"),
            ("yes", "no"),
            required=True,
        ),
        _text("explained_language", N_("In which language"), required=True),
        _text("explained_method", N_("By what method"), required=True),
        _text("proof", N_("Where the proof of it is"), required=True),
        *(
            _choice(purpose, label, ("yes", "no", "ask"), required=True)
            for purpose, label in zip(
                PURPOSES,
                (
                    N_("Use by their own lawyer"),
                    N_("Use by a national prosecutor"),
                    N_("Use by an international body"),
                    N_("Use in court"),
                    N_("Use by media"),
                    N_("Publication"),
                    N_("Research"),
                ),
                strict=True,
            )
        ),
        _when("expires", N_("Until when it holds")),
    ),
)
_STATEMENT = (
    _text("witness_code", N_("The code of the witness, never the name"), required=True),
    _text("interviewer", N_("Who asked"), required=True, protected=True),
    _text("interviewer_role", N_("In which role"), required=True),
    _when("interview_start", N_("When it began"), required=True),
    _when("interview_end", N_("When it ended"), required=True),
    _text("interview_place", N_("Where, coarsely: a province, not a house"), required=True),
    Field(
        key="persons_present",
        label=N_("Who else was there, by code or role"),
        type="texts",
        required=True,
        protected=True,
    ),
    _text("language", N_("The language that was spoken, as in BCP 47"), required=True),
    _text("interpreter", N_('Who interpreted, by code, or "none"'), required=True, protected=True),
    _choice(
        "form", N_("In which form it is"), ("written", "audio", "video", "notes"), required=True
    ),
    _text("original_recording", N_("The recording's item, or why there is none"), required=True),
    _choice("read_back", N_("Whether it was read back and corrected")),
    _choice(
        "signed",
        N_("Whether it was signed"),
        ("signed", "thumb-printed", "refused"),
        required=True,
    ),
    _text("earlier_interviews", N_('Who asked the witness before, or "none known"'), required=True),
    _choice("first_account", N_("Whether it is the witness's first account"), required=True),
    _choice("minor", N_("Whether the witness is a minor"), required=True),
    Field(
        key="guardian",
        label=N_("Who consented for a minor, by code"),
        protected=True,
        owed_if=("minor", "yes"),
    ),
    _text("vulnerability", N_("What the witness needs care for"), protected=True),
    _text("support_person", N_("Who supported the witness, by code"), protected=True),
    _when("risk_assessed_on", N_("When the risk for the witness was assessed"), required=True),
    _CONSENT,
)
_POST = (
    _text("platform", N_("The platform"), required=True),
    _text("url", N_("Its address"), required=True),
    _text("canonical_id", N_("Its identifier there"), required=True),
    _text("handle", N_("The handle of who posted it"), required=True),
    _text("user_id", N_("The identifier of who posted it, which doesn't change"), required=True),
    _text("raw_text", N_("Its text as it stands there"), required=True),
    _when("posted_at_shown", N_("When it was posted, as the page shows it")),
    _when("posted_at_api", N_("When it was posted, as the programming interface says")),
    _when("captured_at", N_("When it was captured"), required=True),
    _text("captured_by", N_("Who captured it"), required=True, protected=True),
    _text("captured_with", N_("With which program, and its version"), required=True),
    _choice("logged_in", N_("Whether that was done logged in")),
    _text("http_status", N_("The HTTP status"), type="count"),
    _text("http_headers", N_("The HTTP headers")),
    _text("page_source", N_("The file with its source, HTML or JSON")),
    _text("web_archive", N_("The WACZ or WARC file")),
    _text("full_page", N_("The file with the picture of the whole page")),
    _choice(
        "media_captured",
        N_('Whether the media are really there; "hollow" is a capture of a wall'),
        ("yes", "no", "hollow"),
    ),
    Field(
        key="live_status",
        label=N_("Whether it was still there, and when"),
        type="tables",
        fields=(
            _when("at", N_("When"), required=True),
            _choice("status", N_("What was found"), ("live", "changed", "gone"), required=True),
        ),
    ),
)
_PHYSICAL = (
    _text("kept_at", N_("Where the object is kept"), required=True),
    _text("condition", N_("In what condition it is")),
)
_ABSENCE = (
    _text("should_exist", N_("What should exist"), required=True),
    _choice(
        "absence_kind",
        N_("What became of it"),
        ("never-made", "refused", "lost", "altered", "destroyed"),
        required=True,
    ),
    Field(
        key="asked",
        label=N_("Who was asked, when, by what reference, until when"),
        type="tables",
        required=True,
        fields=(
            _text("whom", N_("Who was asked"), required=True),
            _when("at", N_("When"), required=True),
            _text("reference", N_("By what reference"), required=True),
            _when("deadline", N_("Until when an answer was due")),
            _when("answered_at", N_("When it was answered")),
            _text("answer", N_("The answer")),
        ),
    ),
    _text("answer", N_('The answer, or "silence"'), required=True),
    _text("lost_what", N_("What was altered or destroyed")),
    _when("lost_when", N_("When")),
    _text("lost_how", N_("How")),
    _text("lost_custody", N_("In whose custody")),
    _text("shown_by", N_("The items and documents that show it"), type="texts"),
)
_OF_KIND: dict[str, tuple[Field, ...]] = {
    "document": _DOCUMENT,
    "photograph": _RECORDING,
    "video": _RECORDING,
    "audio": _RECORDING,
    "statement": _STATEMENT,
    "social-media-post": _POST,
    "dataset": (),
    "physical-object-record": _PHYSICAL,
    "absence": _ABSENCE,
}

AUTOMATIC = {
    "identifier": "bag-info.txt: External-Identifier",
    "digests": "manifest-sha512.txt",
    "size": "bag-info.txt: Payload-Oxum",
    "original_name": "metadata/filesystem.jsonl",
    "file_times": "metadata/filesystem.jsonl",
    "mime_type": "metadata/formats.jsonl",
    "puid": "metadata/formats.jsonl",
    "technical_metadata": "metadata/formats.jsonl",
    "pages": "metadata/formats.jsonl",
    "ingested_at": "metadata/custody.jsonl",
    "clock": "metadata/description.json: recorded",
    "time_zone": "metadata/description.json: recorded",
    "program": "metadata/custody.jsonl",
    "identity_envelope": "data/identity.age",
}
"""What the program fills in, and where it stands: such a key in a form is an error."""


def fields_of(kind: str) -> dict[str, Field]:
    """The fields of a kind, in the order of a form; a kind's own replaces the common one.

    Raises KeyError where there is no such kind.
    """
    own = {one.key: one for one in _OF_KIND[kind]}
    return {one.key: own.get(one.key, one) for one in _ANY} | own
