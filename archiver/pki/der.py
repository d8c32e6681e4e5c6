"""The outer shape of DER (X.690 §8, §10): looked at before anything parses it, and made.

Job: refuse what would cost a parser time without end, and what is BER but not DER; put
elements together. Limits: understands nothing; what lies in OCTET STRINGs is not looked into.
"""

from __future__ import annotations

__all__ = ["element", "is_plain_der"]

_MAX_ELEMENTS = 50_000
_MAX_DEPTH = 40
_MAX_OID_BYTES = 64
"""asn1crypto takes quadratic time over long ones; real ones have some ten bytes."""
_CONSTRUCTED, _OID = 0x20, 0x06


def element(tag: int, *parts: bytes) -> bytes:
    """One element with a short tag, around ``parts``."""
    size = sum(map(len, parts))
    if size < 0x80:
        head = bytes((tag, size))
    else:
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        head = bytes((tag, 0x80 | len(digits))) + digits
    return b"".join((head, *parts))


def is_plain_der(data: bytes) -> bool:
    """Whether ``data`` is one element with definite, shortest lengths, all within limits."""
    ends = [len(data)]
    position = count = 0
    while position < len(data):
        while position == ends[-1]:
            ends.pop()
        count += 1
        header = _header(data, position, ends[-1])
        if header is None or count > _MAX_ELEMENTS or len(ends) > _MAX_DEPTH:
            return False
        tag, start, end = header
        if tag == _OID and end - start > _MAX_OID_BYTES:
            return False
        if len(ends) == 1 and end != len(data):
            return False
        if tag & _CONSTRUCTED and end > start:
            ends.append(end)
            position = start
        else:
            position = end
    return count > 0


def _header(data: bytes, position: int, limit: int) -> tuple[int, int, int] | None:
    """(first tag byte, where the content starts, where it ends), or None."""
    tag = data[position]
    position += 1
    if tag & 0x1F == 0x1F:  # a long tag: nothing of ours has one
        return None
    if position >= limit:
        return None
    length = data[position]
    position += 1
    if length & 0x80:
        size = length & 0x7F
        digits = data[position : position + size]
        if not 1 <= size <= 4 or len(digits) < size or digits[0] == 0:
            return None
        length = int.from_bytes(digits, "big")
        if length < 0x80:
            return None
        position += size
    return (tag, position, position + length) if position + length <= limit else None
