"""Small files of a bag, read in bounded memory: they may be a stranger's.

Job: bytes and lines through a :class:`~archiver.bag.tree.BagTree`. Limits: parses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from archiver.bag.tree import BagTree

__all__ = ["lines_of", "read_limited"]

_PORTION = 1 << 16


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
