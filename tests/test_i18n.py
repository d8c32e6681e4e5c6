"""The choice of a language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archiver.i18n import N_, _, language_from_environment, ngettext, use_language

ROOT = Path(__file__).parent.parent
VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "en"),
        ({"LANG": "es_AR.UTF-8"}, "es"),
        ({"LANG": "es.UTF-8", "LC_MESSAGES": "en_GB"}, "en"),
        ({"LANG": "en", "LC_MESSAGES": "en", "LC_ALL": "ES"}, "es"),
        ({"LANG": "en", "LANGUAGE": "fr:es:en"}, "es"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "tlh"}, "en"),
        ({"LC_ALL": "", "LANG": "es_ES@euro"}, "es"),
    ],
)
def test_the_environment_chooses(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], expected: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert language_from_environment() == expected


@pytest.mark.parametrize("outweighs", ["C", "POSIX", "C.UTF-8", "de_DE.UTF-8"])
def test_lc_all_outweighs_lang_whatever_it_says(
    monkeypatch: pytest.MonkeyPatch, outweighs: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "es_ES.UTF-8")
    monkeypatch.setenv("LC_ALL", outweighs)
    assert language_from_environment() == "en"


@pytest.mark.parametrize("language", ["en", "xx", "../../../etc"])
def test_an_unknown_language_is_english(language: str) -> None:
    use_language(language)
    try:
        assert _("holds") == "holds"
        assert _("") == ""
        assert N_("x") == "x"
        assert [ngettext("one", "many", n) for n in (1, 2)] == ["one", "many"]
    finally:
        use_language("en")


def test_no_message_hides_in_an_f_string() -> None:
    """The extractor doesn't look into them: such a message would stay English for ever."""
    for path in (ROOT / "archiver").rglob("*.py"):
        assert not re.search(r"""\{_\(["']""", path.read_text("utf-8")), path
