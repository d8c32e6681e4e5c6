"""Items, statements, absences: what people say of them, and what is still owed.

Job: fields, descriptions, forms, templates, derivations. Limits: bytes and texts only (but
:mod:`archiver.describe.moment` asks the kernel how good its clock is); what is stored where
is the business of :mod:`archiver.seal` and of the vault.
"""

from __future__ import annotations

from archiver.describe.description import DESCRIPTION_PATH, Description
from archiver.describe.fields import KINDS, Field, fields_of
from archiver.describe.form import DescriptionError, Mistake, read_form, write_form

__all__ = [
    "DESCRIPTION_PATH",
    "KINDS",
    "Description",
    "DescriptionError",
    "Field",
    "Mistake",
    "fields_of",
    "read_form",
    "write_form",
]
