"""What may not stand in clear.

Job: say it of descriptions, and of forms that nobody could read. Limits: encrypts nothing.

A form with a mistake is kept as it is, beside what it describes: unless it may be that of
something secret. There, doubt is enough.
"""

from __future__ import annotations

import re

from archiver.describe.description import Description

__all__ = ["is_held_back", "may_be_secret"]

_SIGNS = re.compile(
    rb"""^[\s"'{,]*(?:
        (?:confiden\w*|privacy|kind|tipo|clase)["']?\s*[=:]\s*["']*
        (?:confiden|seal|sella|secre|statement|declarac|testim)
        | [^#\n]*[{,]\s*["']?(?:confiden\w*|kind)["']?\s*=\s*["']*
        (?:confiden|seal|secre|statement)
        | (?:witness|testigo)[\w-]*["']?\s*[=:]
        | (?:identity|consent|interview)[\w.-]*["']?\s*[=:\]]
        | \[+\s*["']?(?:consent|identity)
    )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
"""Lines that look as if they said: confidential, sealed, or a statement."""


def is_held_back(description: Description) -> bool:
    """Whether it may stand nowhere in clear: it says that it is confidential or sealed, or is
    a statement that doesn't say that it is neither.
    """
    if description.kind == "statement":
        return description.values.get("confidentiality") not in ("public", "restricted")
    return description.is_secret


def may_be_secret(form: bytes) -> bool:
    """Whether a form that can't be read looks as if it described something secret. Forms of
    Windows' editors, in UTF-16, are understood that far.
    """
    return _SIGNS.search(form.replace(b"\0", b"").replace(b"\r", b"\n")) is not None
