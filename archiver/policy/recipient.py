"""Whether a text is the public key of an age recipient.

Job: the check of one text, so that a mistyped key is found before anything is encrypted for
nobody. Limits: knows no keys. Source: the age format, section "X25519 recipient"; BIP 173.
"""

from __future__ import annotations

__all__ = ["PRIVATE_PREFIX", "is_recipient"]

PRIVATE_PREFIX = "AGE-SECRET-KEY-"
"""What a private key begins with: such a text is never shown."""
_PREFIX = "age"
_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6
_LENGTH = len(_PREFIX) + 1 + 52 + _CHECKSUM
"""A key of 32 bytes is 52 characters of five bits each; the last four bits are zero."""


def is_recipient(text: str) -> bool:
    """Whether ``text`` is ``age1…`` with the right checksum, of the right length."""
    prefix, _one, data = text.partition("1")
    if len(text) != _LENGTH or prefix != _PREFIX or not set(data) <= set(_CHARACTERS):
        return False
    values = [_CHARACTERS.index(one) for one in data]
    expanded = [ord(one) >> 5 for one in prefix] + [0] + [ord(one) & 31 for one in prefix]
    padding = values[-_CHECKSUM - 1] & 0b1111
    return _polymod(expanded + values) == 1 and not padding


def _polymod(values: list[int]) -> int:
    """BIP 173: 1 where the checksum is right."""
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate(_GENERATOR):
            state ^= term if top >> bit & 1 else 0
    return state
