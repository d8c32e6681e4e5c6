"""What may not stand in clear.

Job: say it of descriptions, and of forms that nobody could read. Limits: encrypts nothing.

A form with a mistake is kept as it is, beside what it describes: unless it may be that of
something secret. There, doubt is enough.
"""

from __future__ import annotations

import re
from functools import cache

from archiver.describe.description import Description
from archiver.describe.fields import KINDS, fields_of

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
_OPEN = re.compile(
    rb"""^[ \t]*confidentiality[ \t]*=[ \t]*(?:"(?:public|restricted)"|'(?:public|restricted)')"""
    rb"[ \t]*$",
    re.MULTILINE,
)
"""What says that it is not."""
_COMMENT = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
_UNDERSTOOD = re.compile(
    rb"""^[ \t]*([a-z_]{1,40})[ \t]*=[ \t]*(?:"[^"\\\n]*"|'[^'\n]*')[ \t]*$""", re.MULTILINE
)
"""A line with one text: of a field that there is, it says what it says."""
_WORDS = re.compile(
    rb"""confid|fidential|seal|sell?ad|sella|secre|priva|reserv|sensi|protect|proteg|anon|an\xc3\xb3n
    |statement|declara|testi|witness|victim|v\xc3\xadctim|identi|interview|entrevist|consent""",
    re.IGNORECASE | re.VERBOSE,
)
"""What a form about something secret has somewhere, however it is misspelt: typographic quotes,
other words for it, a table in place of a value.
"""
_MARKS = re.compile(rb"\0|\xff\xfe|\xfe\xff|\xef\xbb\xbf")


def is_held_back(description: Description) -> bool:
    """Whether it may stand nowhere in clear."""
    return description.is_secret


def may_be_secret(form: bytes) -> bool:
    """Whether a form that can't be read looks as if it described something secret: it has a
    sign of it, or, in what isn't understood of it, a word that such a form would have, and
    doesn't say in a line of its own that it is public or restricted. Forms of Windows'
    editors, in UTF-16, are understood that far.
    """
    plain = _MARKS.sub(b"", form).replace(b"\r", b"\n")
    if _SIGNS.search(plain):
        return True
    said = _COMMENT.sub(b"", plain)
    if _OPEN.search(said):
        return False
    return _WORDS.search(_UNDERSTOOD.sub(_unless_harmless, said)) is not None


def _unless_harmless(line: re.Match[bytes]) -> bytes:
    """Nothing, of a field that there is and whose name tells of nothing secret."""
    name = line[1].decode()
    return b"" if name in _names() and not _WORDS.search(line[1]) and name != "kind" else line[0]


@cache
def _names() -> frozenset[str]:
    return frozenset(field.key for kind in KINDS for field in fields_of(kind).values())
