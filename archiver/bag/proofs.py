"""The names in ``signatures/``: what may lie there, and what belongs to what.

Job: the grammar of docs/bag-layout.md. Limits: names only; what is in the files is
read elsewhere. Nothing in ``signatures/`` is listed in a tag manifest, so that proof
can be added to a finished bag without touching it.

::

    signatures/FP.p7s                  a signature; FP: 16 digits of its signer's fingerprint
    signatures/FP.p7s.TSA.tsr          a time stamp over it; TSA: 16 digits for the TSA
    signatures/FP.p7s.TSA.tsq          a request that still waits for its answer
    signatures/certificates/FP.pem     certificates (signer, CA, TSA)
    signatures/certificates/FP.crl     revocation lists
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "CERTIFICATES",
    "SIGNATURES",
    "SIGNED_FILE",
    "ProofFiles",
    "certificate_path",
    "crl_path",
    "is_ours",
    "is_proof",
    "request_path",
    "signature_path",
    "sort_proofs",
    "stamp_path",
]

SIGNATURES = "signatures"
CERTIFICATES = f"{SIGNATURES}/certificates"
SIGNED_FILE = "tagmanifest-sha512.txt"
"""What signatures are made over: it covers every other file but those in here."""

_KNOWN = re.compile(
    r"[^/]+\.(?P<kind>p7s|tsr|tsq)"
    r"|certificates/[^/]+\.(?P<other>pem|crl)"
    r"|(?:certificates/)?\.[0-9a-f]{16}\.(?P<partial>partial)",
    re.DOTALL,
)
"""Below the folder that they lie in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFiles:
    """The files in ``signatures/`` by kind, each sorted. ``unknown`` are of no kind."""

    signatures: tuple[str, ...]
    stamps: tuple[str, ...]
    requests: tuple[str, ...]
    certificates: tuple[str, ...]
    crls: tuple[str, ...]
    partial: tuple[str, ...]
    unknown: tuple[str, ...]

    def stamps_of(self, signature: str) -> tuple[str, ...]:
        """The time stamps over a signature, by their names; those named as ours first."""
        found = (one for one in self.stamps if one.startswith(f"{signature}."))
        return tuple(sorted(found, key=lambda one: not is_ours(one)))

    def requests_of(self, signature: str) -> tuple[str, ...]:
        """The requests for a signature that wait: those without their answer beside them."""
        stamps = set(self.stamps)
        return tuple(
            one
            for one in self.requests
            if one.startswith(f"{signature}.") and _answer_to(one) not in stamps
        )


_OURS = re.compile(
    rf"{SIGNATURES}/[0-9a-f]{{16}}\.p7s(?:\.[0-9a-f]{{16}}\.ts[rq])?"
    rf"|{CERTIFICATES}/[0-9a-f]{{16}}\.(?:pem|crl)"
)


def is_ours(path: str) -> bool:
    """Whether a file is named as this program names it: those are looked at first."""
    return _OURS.fullmatch(path) is not None


def is_proof(path: str) -> bool:
    """Whether a tag file lies in ``signatures/``."""
    return path.startswith(f"{SIGNATURES}/")


def sort_proofs(paths: tuple[str, ...], folder: str = SIGNATURES) -> ProofFiles:
    """Paths in ``folder``, by kind."""
    kinds: dict[str, list[str]] = {
        kind: [] for kind in ("p7s", "tsr", "tsq", "pem", "crl", "partial", "")
    }
    for path in sorted(paths):
        found = _KNOWN.fullmatch(path.removeprefix(f"{folder}/"))
        kind = (found["kind"] or found["other"] or found["partial"]) if found else ""
        kinds[kind].append(path)
    return ProofFiles(
        signatures=tuple(kinds["p7s"]),
        stamps=tuple(kinds["tsr"]),
        requests=tuple(kinds["tsq"]),
        certificates=tuple(kinds["pem"]),
        crls=tuple(kinds["crl"]),
        partial=tuple(kinds["partial"]),
        unknown=tuple(kinds[""]),
    )


def signature_path(fingerprint: str) -> str:
    """Where the signature of a signer lies."""
    return f"{SIGNATURES}/{fingerprint[:16]}.p7s"


def stamp_path(signature: str, tsa: str) -> str:
    """Where a stamp over ``signature`` lies; ``tsa`` is 16 digits that tell TSAs apart."""
    return f"{signature}.{tsa}.tsr"


def request_path(signature: str, tsa: str) -> str:
    """Where a request for it waits."""
    return f"{signature}.{tsa}.tsq"


def _answer_to(request: str) -> str:
    return f"{request.removesuffix('.tsq')}.tsr"


def certificate_path(fingerprint: str) -> str:
    """Where a certificate lies."""
    return f"{CERTIFICATES}/{fingerprint[:16]}.pem"


def crl_path(digest: str) -> str:
    """Where a revocation list lies; ``digest`` is its SHA-256."""
    return f"{CERTIFICATES}/{digest[:16]}.crl"
