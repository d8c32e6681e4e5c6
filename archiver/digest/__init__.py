"""Message digests: algorithms by their BagIt names, and values.

Job: name the algorithms that manifests may use and compute them.
:mod:`archiver.digest.stream` hashes one stream, :mod:`archiver.digest.engine`
many files on all cores. Source: RFC 8493 §2.4 (names normalised to lower case
alphanumerics), FIPS 180-4, FIPS 202, RFC 7693.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["ALGORITHMS", "Algorithm", "Digest", "Hasher"]

Hasher = Any
"""A hashlib object (typeshed keeps its type private)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """One digest algorithm.

    ``name`` as in ``manifest-NAME.txt``; ``constructor`` the attribute of
    :mod:`hashlib`; ``size_bytes`` of the raw digest; ``strong`` where no
    practical collision is known, which is what proof may rest on.
    """

    name: str
    constructor: str
    size_bytes: int
    strong: bool

    def new(self) -> Hasher:
        """A fresh hash object. Integrity, not security, so FIPS builds allow md5."""
        make: Callable[..., Hasher] = getattr(hashlib, self.constructor)
        return make(usedforsecurity=False)


def _algorithm(
    name: str, size_bytes: int, *, constructor: str = "", strong: bool = True
) -> Algorithm:
    return Algorithm(
        name=name, constructor=constructor or name, size_bytes=size_bytes, strong=strong
    )


ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        _algorithm("md5", 16, strong=False),
        _algorithm("sha1", 20, strong=False),
        _algorithm("sha224", 28),
        _algorithm("sha256", 32),
        _algorithm("sha384", 48),
        _algorithm("sha512", 64),
        _algorithm("sha3224", 28, constructor="sha3_224"),
        _algorithm("sha3256", 32, constructor="sha3_256"),
        _algorithm("sha3384", 48, constructor="sha3_384"),
        _algorithm("sha3512", 64, constructor="sha3_512"),
        _algorithm("blake2b", 64),
        _algorithm("blake2s", 32),
    )
}
"""Every algorithm that can be computed here, by its BagIt name."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A raw message digest and the algorithm it was made with."""

    algorithm: Algorithm
    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != self.algorithm.size_bytes:
            raise ValueError(
                f"{self.algorithm.name} digests have {self.algorithm.size_bytes} bytes,"
                f" not {len(self.value)}"
            )

    def __str__(self) -> str:
        return self.value.hex()
