"""Small files of a bag, read in bounded memory: they may be a stranger's.

Job: bytes and lines through a :class:`~archiver.bag.tree.BagTree`; what is encrypted, where
somebody has the key. Limits: parses nothing but the list that says which ciphertexts belong
together, and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archiver.bag.tree import BagTree
from archiver.describe.description import strict_json
from archiver.errors import FormatError, KeyringError
from archiver.i18n import N_

if TYPE_CHECKING:  # age costs start-up time
    from archiver.encrypt import Identities

__all__ = ["OVERHEAD_BYTES", "Unsealing", "lines_of", "read_limited"]

_PORTION = 1 << 16
_LIST_PATH, _LIST_SCHEMA = "data/files.json.age", "archiver/statement-files/1"
_MAX_LIST_BYTES = 1 << 20
OVERHEAD_BYTES = 1 << 16
"""A ciphertext's header and tags: at most so much more than a small plain text."""


@dataclass(frozen=True, slots=True)
class Unsealing:
    """A bag's files, and the keys of who checks it; None: there are none."""

    tree: BagTree
    identities: Identities | None

    def read(self, path: str, limit: int) -> bytes | None:
        """What is encrypted at ``path``, of at most ``limit`` bytes; None where no key opens it.
        Where the item's list of files can be opened, it must be the ciphertext that this tells
        of: anybody can encrypt for a reader. Raises OSError, FormatError.
        """
        found = self._opened(path, limit)
        if found is None:
            return None
        cipher, plain = found
        told = self._told()
        if told and told.get(path) != hashlib.sha256(cipher).hexdigest():
            raise FormatError(N_("it is not the ciphertext that the list of files tells of"))
        return plain

    def _opened(self, path: str, limit: int) -> tuple[bytes, bytes] | None:
        if self.identities is None:
            return None
        from archiver.encrypt import decrypt_bytes

        cipher = read_limited(self.tree, path, limit + OVERHEAD_BYTES)
        if len(cipher) > limit + OVERHEAD_BYTES:
            raise FormatError(N_("what is encrypted is longer than it may be"))
        try:
            return cipher, decrypt_bytes(cipher, self.identities, limit)
        except KeyringError:
            return None

    def _told(self) -> Mapping[str, object]:
        """The digests of what is encrypted beside the payload, by paths; {} where there is no
        list, or no key for it. Raises OSError, FormatError.
        """
        try:
            found = self._opened(_LIST_PATH, _MAX_LIST_BYTES)
        except (FileNotFoundError, KeyError, ValueError):
            return {}
        if found is None:
            return {}
        told = strict_json(found[1], _LIST_SCHEMA).get("others")
        if not isinstance(told, dict):
            raise FormatError(N_("the list of files is none that is known"))
        return told


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
