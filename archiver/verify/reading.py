"""Small files of a bag, read in bounded memory: they may be a stranger's.

Job: bytes and lines through a :class:`~archiver.bag.tree.BagTree`; what is encrypted, where
somebody has the key. Limits: parses nothing, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archiver.bag.tree import BagTree
from archiver.errors import FormatError, KeyringError
from archiver.i18n import N_

if TYPE_CHECKING:  # age costs start-up time
    from archiver.encrypt import Identities

__all__ = ["OVERHEAD_BYTES", "Unsealing", "lines_of", "read_limited"]

_PORTION = 1 << 16
OVERHEAD_BYTES = 1 << 16
"""A ciphertext's header and tags: at most so much more than a small plain text."""


@dataclass(frozen=True, slots=True)
class Unsealing:
    """A bag's files, and the keys of who checks it; None: there are none."""

    tree: BagTree
    identities: Identities | None

    def read(self, path: str, limit: int) -> bytes | None:
        """What is encrypted at ``path``, of at most ``limit`` bytes; None where no key opens it.
        Raises OSError, FormatError.
        """
        if self.identities is None:
            return None
        from archiver.encrypt import decrypt_bytes

        cipher = read_limited(self.tree, path, limit + OVERHEAD_BYTES)
        if len(cipher) > limit + OVERHEAD_BYTES:
            raise FormatError(N_("what is encrypted is longer than it may be"))
        try:
            return decrypt_bytes(cipher, self.identities, limit)
        except KeyringError:
            return None


def read_limited(tree: BagTree, path: str, limit: int) -> bytes:
    """A file's bytes, one more than ``limit`` at most. Raises OSError."""
    data = b""
    with tree.open(path) as stream:
        while len(data) <= limit and (more := stream.read(min(_PORTION, limit + 1 - len(data)))):
            data += more
    return data


def lines_of(tree: BagTree, path: str, limit: int) -> Iterator[bytes]:
    """Lines with their ends; one without an end is given as it is, and so is the beginning of
    one that is longer than ``limit``: nothing follows it. Raises OSError.
    """
    rest = b""
    with tree.open(path) as stream:
        while data := stream.read(_PORTION):
            *whole, rest = (rest + data).split(b"\n")
            yield from (line + b"\n" for line in whole)
            if len(rest) > limit:
                break
    if rest:
        yield rest
