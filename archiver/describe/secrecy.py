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
    rb"""(?:^|[{,\[])[ \t"']{0,200}(?:
        (?:confiden\w{0,50}|privacy|kind|tipo|clase)["']?[ \t]{0,200}[=:][ \t"']{0,200}
        (?:confiden|seal|sella|secre|statement|declarac|testim)
        | (?:witness|testigo|identity|interview)[\w.-]{0,50}["']?[ \t]{0,200}[=:\]]
        | consent["']?[ \t]{0,200}[=:.\]]
    )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
"""What looks as if it said: confidential, sealed, or a statement."""
_MARKS = re.compile(rb"\0|\xff\xfe|\xfe\xff|\xef\xbb\xbf")


def is_held_back(description: Description) -> bool:
    """Whether it may stand nowhere in clear: it says that it is confidential or sealed, or is
    a statement that doesn't say that it is neither.
    """
    return description.is_secret


def may_be_secret(form: bytes) -> bool:
    """Whether a form that can't be read looks as if it described something secret. Forms of
    Windows' editors, in UTF-16, are understood that far.
    """
    return _SIGNS.search(_MARKS.sub(b"", form).replace(b"\r", b"\n")) is not None
