"""Units for tests of sinks, made from what lies on the disk, and what is made of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from archiver.pki.keyring import SigningKey
from archiver.policy import load_policy
from archiver.seal import Sealing
from archiver.seal.stamping import StampOptions
from archiver.watch.model import Done, Failed, Fingerprint, Member, Prepared, Sink, Unit
from archiver.watch.sinks import SinkOptions
from tests.sealing import NOW


def fingerprint(path: bytes) -> Fingerprint:
    """Of a file as it is now."""
    found = os.lstat(path)
    return Fingerprint(
        device=found.st_dev,
        inode=found.st_ino,
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
    )


def unit(root: Path, *names: str | bytes, description: bytes = b"", follows: str = "") -> Unit:
    """The files ``names`` below ``root`` as one unit."""
    paths = sorted(os.fsencode(name) for name in names)
    members = tuple(
        Member(path=path, fingerprint=fingerprint(os.path.join(os.fsencode(root), path)))
        for path in paths
    )
    state = hashlib.sha256(os.fsencode(root))
    for one in members:
        seen = one.fingerprint
        state.update(b"\0%s\0%d\0%d" % (one.path, seen.size_bytes, seen.mtime_ns))
    return Unit(
        root=os.fsencode(root),
        members=members,
        key=state.hexdigest(),
        description=description,
        follows=follows,
    )


def units(root: Path) -> list[Unit]:
    """Each file directly in ``root`` as a unit of its own."""
    return [unit(root, name) for name in sorted(os.listdir(os.fsencode(root)))]


def options(*signers: SigningKey, workers: int | None = 0) -> SinkOptions:
    """Those of the tests; sealed where there are signers."""
    sealing = Sealing(signers=signers, stamps=StampOptions()) if signers else None
    policy = load_policy("default")
    return SinkOptions(policy=policy, sealing=lambda: sealing, clock=lambda: NOW, workers=workers)


def take(sink: Sink, given: Sequence[Unit]) -> list[Done | Failed]:
    """Prepare and commit, each answer in the place of its unit."""
    prepared = sink.prepare(given)
    assert [one.unit for one in prepared] == list(given)
    done = iter(sink.commit([one for one in prepared if isinstance(one, Prepared)]))
    return [next(done) if isinstance(one, Prepared) else one for one in prepared]


def taken(sink: Sink, given: Sequence[Unit]) -> list[Done]:
    """The same, where all must be done."""
    found = take(sink, given)
    done = [one for one in found if isinstance(one, Done)]
    assert len(done) == len(found), found
    return done


def staging(place: Path) -> list[str]:
    """What is left in staging anywhere below ``place``."""
    return [
        name
        for _directory, directories, _files in os.walk(place)
        for name in directories
        if name.startswith((".archiver-batch-", ".archiver-staging-"))
    ]


def bags(place: Path) -> Iterator[Path]:
    """Every bag that can be seen below ``place``."""
    for found in sorted(place.rglob("bagit.txt")):
        if not any(part.startswith(".archiver-") for part in found.parts):
            yield found.parent
