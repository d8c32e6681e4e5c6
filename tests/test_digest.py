"""Algorithms by their BagIt names, and digests."""

import hashlib

import pytest

from archiver.digest import ALGORITHMS, Digest


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_are_hashlib_s(name: str) -> None:
    algorithm = ALGORITHMS[name]
    assert algorithm.name == name
    assert name.isalnum()
    assert name == name.lower()
    reference = hashlib.new(algorithm.constructor, b"abc")
    hasher = algorithm.new()
    hasher.update(b"abc")
    assert hasher.digest() == reference.digest()
    assert algorithm.size_bytes == reference.digest_size


def test_known_answer() -> None:
    hasher = ALGORITHMS["sha3256"].new()
    assert hasher.hexdigest() == "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"


def test_only_md5_and_sha1_are_weak() -> None:
    assert {one.name for one in ALGORITHMS.values() if not one.strong} == {"md5", "sha1"}


def test_a_digest_has_the_length_of_its_algorithm() -> None:
    assert str(Digest(ALGORITHMS["md5"], bytes(16))) == "0" * 32
    for length in (0, 15, 17, 32):
        with pytest.raises(ValueError, match="16 bytes"):
            Digest(ALGORITHMS["md5"], bytes(length))
