"""Translation of everything a person reads, through gettext.

Job: choose one catalogue for the process and look messages up in it.
Limits: no message lives here. Codes, keys and verdicts of machine-readable output
are never translated; a finding's ``message`` in it is for people, and is.

The catalogue is process-wide, as gettext's own is: one program talks one
language at a time. Library users who never call :func:`use_language` get the
English source texts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gettext  # loaded only where a translation is wanted: it costs start-up time

__all__ = [
    "LANGUAGES",
    "N_",
    "_",
    "current_language",
    "language_from_environment",
    "ngettext",
    "use_language",
]

LANGUAGES = ("en", "es")
"""Languages that are complete; the first is the language of the source texts."""

_DOMAIN = "archiver"
_LOCALE_DIR = Path(__file__).parent / "locale"


class _Current:
    translations: gettext.NullTranslations | None = None
    language = LANGUAGES[0]


def use_language(language: str) -> None:
    """Answer in ``language`` from now on; an unknown one means English."""
    _Current.language = language if language in LANGUAGES else LANGUAGES[0]
    if language == LANGUAGES[0]:
        _Current.translations = None
        return
    import gettext

    _Current.translations = gettext.translation(
        _DOMAIN, str(_LOCALE_DIR), languages=[language], fallback=True
    )


def current_language() -> str:
    """The language that answers are in."""
    return _Current.language


def language_from_environment() -> str:
    """The first language that the locale variables name and we speak.

    As gettext has it: the first of LC_ALL, LC_MESSAGES and LANG that is set is the
    locale; LANGUAGE, a list, goes before it unless the locale is C.
    """
    variables = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next(filter(None, variables), "C")
    if locale.split(".")[0] in ("C", "POSIX"):
        return LANGUAGES[0]
    for wanted in (*os.environ.get("LANGUAGE", "").split(":"), locale):
        code = wanted.split("_")[0].split(".")[0].lower()
        if code in LANGUAGES:
            return code
    return LANGUAGES[0]


def _(message: str) -> str:
    """``message`` in the current language (``""`` stays ``""``)."""
    found = _Current.translations
    return found.gettext(message) if found is not None and message else message


def ngettext(singular: str, plural: str, count: int) -> str:
    """The form of a message that fits ``count``."""
    if _Current.translations is None:
        return singular if count == 1 else plural
    return _Current.translations.ngettext(singular, plural, count)


def N_(message: str) -> str:  # noqa: N802  # the name that gettext tools know
    """Mark ``message`` for extraction where it is translated later."""
    return message
