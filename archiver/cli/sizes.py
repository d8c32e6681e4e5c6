"""Sizes and spans of time as people write them: ``4G``, ``2h``."""

from __future__ import annotations

import re

from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["parse_seconds", "parse_size"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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


def parse_seconds(text: str) -> int:
    """``2h`` in seconds. Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not found:
        raise UsageError(
            _("{text!r} is no span of time").format(text=text),
            hint=_("Write a number with s, m, h or d: 2h."),
        )
    return int(found[1]) * _SECONDS[found[2]]
