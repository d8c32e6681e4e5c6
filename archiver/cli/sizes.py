"""Sizes as people write them: ``4G``."""

from __future__ import annotations

from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["parse_size"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_size(text: str) -> int:
    """``4G`` in bytes. Raises UsageError."""
    digits = text.rstrip("KMGTkmgt")
    unit = _UNITS.get(text[len(digits) :].upper())
    if not digits.isdecimal() or unit is None or int(digits) == 0:
        raise UsageError(
            _("{text!r} is no size").format(text=text),
            hint=_("Write bytes, or a number with K, M, G or T: 4G."),
        )
    return int(digits) * unit
