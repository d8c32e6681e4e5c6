"""Whether bytes are a file that age encrypted, as far as that shows without a key.

Job: read the header. Limits: decrypts nothing: who writes such a header around plain bytes
is not found out. Source: the age format, version 1 (age-encryption.org/v1).
"""

from __future__ import annotations

import re
from typing import BinaryIO

from archiver.bag.tree import read_head

__all__ = ["HEAD_BYTES", "age_file_bytes", "is_age_file", "is_age_head"]

_VERSION = b"age-encryption.org/v1\n"
_STANZA = re.compile(rb"->( [!-~]+)+\n")
_BODY = re.compile(rb"[A-Za-z0-9+/]{0,64}\n")
_MAC = re.compile(rb"--- [A-Za-z0-9+/]{43}\n")
_MAX_HEADER = 1 << 16
_WHOLE_LINE = 65
_NONCE, _TAG, _CHUNK = 16, 16, 1 << 16
_NONCE_AND_TAG = _NONCE + _TAG
"""The payload is at least a nonce and one chunk's tag."""
HEAD_BYTES = _MAX_HEADER + _NONCE_AND_TAG


def is_age_head(head: bytes) -> bool:
    """Whether the first :data:`HEAD_BYTES` of a file hold a whole header, and enough behind it."""
    end = _header_end(head)
    return bool(end) and len(head) - end >= _NONCE_AND_TAG


def age_file_bytes(head: bytes, plain_bytes: int) -> int:
    """How long a file that begins with ``head`` is, where so many plain bytes were encrypted:
    each chunk of 64 KiB has its tag, and there is one at least. 0 where ``head`` is no header.
    """
    header = _header_end(head)
    chunks = max(1, -(-plain_bytes // _CHUNK))
    return header and header + _NONCE + plain_bytes + chunks * _TAG


def is_age_file(stream: BinaryIO) -> bool:
    """The same of an open file. Raises OSError."""
    return is_age_head(read_head(stream, HEAD_BYTES))


def _header_end(data: bytes) -> int:
    """Where the header ends; 0 where it is none."""
    if not data.startswith(_VERSION):
        return 0
    place, recipients = len(_VERSION), 0
    while found := _STANZA.match(data, place):
        recipients += 1
        place = found.end()
        while line := _BODY.match(data, place):
            place = line.end()
            if line.end() - line.start() < _WHOLE_LINE:
                break  # a body ends with a line that isn't full
        else:
            return 0
    mac = _MAC.match(data, place)
    return mac.end() if mac and recipients else 0
