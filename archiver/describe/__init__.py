"""Items, statements, absences: what people say of them, and what is still owed.

Job: fields, descriptions, forms, templates. Limits: bytes and texts only; what is stored
where is the business of :mod:`archiver.seal` and of the vault.
"""

from __future__ import annotations

from archiver.describe.description import DESCRIPTION_PATH, Description
from archiver.describe.fields import KINDS, Field, fields_of
from archiver.describe.form import DescriptionError, Mistake, read_form

__all__ = [
    "DESCRIPTION_PATH",
    "KINDS",
    "Description",
    "DescriptionError",
    "Field",
    "Mistake",
    "fields_of",
    "read_form",
]
