"""Time-stamp requests (RFC 3161 §2.4.1).

Job: make and read ``.tsq`` files. Limits: sends nothing. A request tells a TSA the
digest of a signature, and nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from asn1crypto import tsp

from archiver.errors import FormatError
from archiver.i18n import N_
from archiver.pki.der import is_plain_der

__all__ = ["IMPRINT", "NONCE_BITS", "Request", "make_request", "parse_request"]

IMPRINT = "sha256"
"""Every TSA takes it; many take nothing longer."""
NONCE_BITS = 64
_MAX_BYTES = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked: the digest of the data, and a number that the answer must repeat."""

    digest: str
    imprint: bytes
    nonce: int | None


def make_request(data: bytes, nonce: int) -> bytes:
    """A request (DER) for a stamp over ``data``, with the TSA's certificates asked for.

    ``nonce`` is random and of :data:`NONCE_BITS` bits; it binds the answer to this request.
    """
    request = tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {
                "hash_algorithm": {"algorithm": IMPRINT},
                "hashed_message": hashlib.new(IMPRINT, data).digest(),
            },
            "nonce": nonce,
            "cert_req": True,
        }
    )
    return bytes(request.dump())


def parse_request(data: bytes) -> Request:
    """Read a request. Raises FormatError."""
    if len(data) > _MAX_BYTES or not is_plain_der(data):
        raise FormatError(N_("it is not a time-stamp request"))
    try:
        found = tsp.TimeStampReq.load(data, strict=True)
        imprint = found["message_imprint"]
        return Request(
            digest=str(imprint["hash_algorithm"]["algorithm"].native),
            imprint=bytes(imprint["hashed_message"].native),
            nonce=found["nonce"].native,
        )
    except Exception as error:  # asn1crypto parses as it goes, and raises whatever it meets
        raise FormatError(N_("it is not a time-stamp request")) from error
