"""PREMIS 3 in XML: elements as they are built, a document as it is streamed.

Job: the shape of a PREMIS document. Limits: knows no vault. Elements follow one another in the
order of the schema (premis-v3.xsd); what one holds is the business of who builds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, tostring

__all__ = ["NAMESPACE", "document", "identifier", "node", "vocabulary"]

NAMESPACE = "http://www.loc.gov/premis/v3"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_VOCABULARY = "http://id.loc.gov/vocabulary/preservation/"
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 can't hold (§2.2)."""


def node(tag: str, *children: Element | str | None, kind: str = "") -> Element:
    """An element with texts or elements in it; None is left out. ``kind`` is an xsi:type."""
    made = Element(tag, {"xsi:type": kind} if kind else {})
    for child in children:
        if isinstance(child, str):
            made.text = _fit(child)
        elif child is not None:
            made.append(child)
    return made


def vocabulary(tag: str, word: str, scheme: str) -> Element:
    """A word of one of the Library of Congress's preservation vocabularies."""
    made = node(tag, word)
    made.set("authority", scheme)
    made.set("authorityURI", _VOCABULARY + scheme)
    return made


def identifier(tag: str, kind: str, value: str) -> Element:
    """``<tag>`` with its ``…Type`` and ``…Value``."""
    return node(tag, node(f"{tag}Type", kind), node(f"{tag}Value", value))


def document(elements: Iterable[Element]) -> Iterator[str]:
    """The whole document, an element at a time: a million files need no more memory than one."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<premis xmlns="{NAMESPACE}" xmlns:xsi="{_XSI}" version="3.0">\n'
    for element in elements:
        yield tostring(element, encoding="unicode") + "\n"
    yield "</premis>\n"


def _fit(text: str) -> str:
    """Percent-encoded where XML can't hold it: never left out, never another's name. (Paths
    come with their own per cent signs encoded.)
    """
    return _UNFIT.sub(_encoded, text)


def _encoded(found: re.Match[str]) -> str:
    data = found[0].encode(
        "utf-8", "surrogateescape" if "\udc80" <= found[0] <= "\udcff" else "surrogatepass"
    )
    return "".join(f"%{byte:02X}" for byte in data)
