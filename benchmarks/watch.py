"""What a watched folder costs: `python -m benchmarks.watch [--scale S] FILES…`.

Settled files go through a sink as the watcher hands them over: planned, copied, signed,
synced, read back, renamed, written down. Beside the rates stand the seconds of CPU, which say
more than the clock where other programs run. ``bag create`` is measured in the same run.
"""

import argparse
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from archiver.bag.plan import PlanOptions
from archiver.pki.keyring import NewSigner, SigningKey, create_authority, create_signer, open_signer
from archiver.policy import WatchPolicy, load_policy
from archiver.seal import CreateOptions, Sealing, create_bag, plan_sources
from archiver.seal.stamping import StampOptions
from archiver.vault import create_vault
from archiver.watch.journal import Journal
from archiver.watch.model import Done, Fingerprint, Member, Prepared, Sink, Unit
from archiver.watch.sinks import DirectorySink, SinkOptions, VaultSink
from archiver.watch.watcher import WatchedRoot, Watcher
from benchmarks.figures import Figure, tell

_BAGS, _FOLDERS, _FOLDER_FILES = 2000, 100, 100
_BATCH_BAGS = 128
_SMALL_BYTES, _LARGE_BYTES = 4096, 1 << 30
_TURNS = 6
_ARRIVALS = 5


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of CPU, with those of children."""

    seconds: float
    cpu_seconds: float


def _spend(work: Callable[[], object]) -> Spent:
    def cpu() -> float:
        both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        used = [resource.getrusage(who) for who in both]
        return sum(one.ru_utime + one.ru_stime for one in used)

    begun, used = time.perf_counter(), cpu()
    work()
    return Spent(time.perf_counter() - begun, cpu() - used)


def _signer(place: Path) -> SigningKey:
    now, secret = datetime.now(UTC).replace(microsecond=0), b"correct horse battery"
    authority = create_authority(str(place), "Benchmark", secret, now)
    create_signer(str(place), NewSigner(name="ana"), authority, secret, now)
    return open_signer("ana", [str(place)], lambda _place: secret, now)


def _write(path: Path, size_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        while size_bytes > 0:
            size_bytes -= file.write(os.urandom(min(size_bytes, 1 << 20)))


def _unit(root: Path, names: Sequence[str]) -> Unit:
    members = []
    for name in sorted(names):
        found = os.lstat(root / name)
        members.append(
            Member(
                path=os.fsencode(name),
                fingerprint=Fingerprint(
                    device=found.st_dev,
                    inode=found.st_ino,
                    size_bytes=found.st_size,
                    mtime_ns=found.st_mtime_ns,
                    ctime_ns=found.st_ctime_ns,
                ),
            )
        )
    key = sha256("\0".join([str(root), *names]).encode()).hexdigest()
    return Unit(root=os.fsencode(root), members=tuple(members), key=key)


def _take(sink: Sink, units: Sequence[Unit], batch: int = _BATCH_BAGS) -> None:
    """As the watcher does, but for its journal."""
    for start in range(0, len(units), batch):
        prepared = list(sink.prepare(units[start : start + batch]))
        ready = [one for one in prepared if isinstance(one, Prepared)]
        assert len(ready) == len(prepared), prepared
        done = sink.commit(ready)
        assert all(isinstance(one, Done) for one in done), done


def _sinks(place: Path, signer: SigningKey) -> Iterator[tuple[str, Sink]]:
    sealing = Sealing(signers=(signer,), stamps=StampOptions())
    options = SinkOptions(policy=load_policy("default"), sealing=lambda: sealing)
    vault = create_vault(str(place / "vault"), identifier="urn:x", policy="default")
    yield "vault", VaultSink(vault, "case", options)
    (place / "bags").mkdir()
    yield "directory", DirectorySink(str(place / "bags"), options)


def _rates(place: Path, signer: SigningKey, scale: float) -> Iterator[Figure]:
    count = max(_BATCH_BAGS, int(_BAGS * scale))
    source = place / "files"
    for number in range(count):
        _write(source / f"{number:06}.bin", _SMALL_BYTES)
    folders = max(2, int(_FOLDERS * scale))
    for number in range(folders * _FOLDER_FILES):
        _write(place / f"folders/{number // _FOLDER_FILES:04}/{number:06}.bin", _SMALL_BYTES)
    os.sync()
    single = [_unit(source, [name]) for name in sorted(os.listdir(source))]
    root = place / "folders"
    grouped = [
        _unit(root, [f"{folder}/{name}" for name in sorted(os.listdir(root / folder))])
        for folder in sorted(os.listdir(root))
    ]
    for name, sink in _sinks(place, signer):
        spent = _spend(lambda sink=sink: _take(sink, single))  # type: ignore[misc]
        rate = count / spent.seconds
        yield Figure(
            f"one bag per file of 4 KiB, into a {name}",
            f"{rate:,.0f} bags/s ({spent.cpu_seconds / count * 1e3:.2f} ms of CPU each)",
            "≥ 150", rate >= 150,
        )  # fmt: skip
        spent = _spend(lambda sink=sink: _take(sink, grouped, 16))  # type: ignore[misc]
        files = folders * _FOLDER_FILES
        rate = files / spent.seconds
        yield Figure(
            f"one bag per folder of {_FOLDER_FILES}, into a {name}",
            f"{rate:,.0f} files/s ({spent.cpu_seconds / files * 1e3:.3f} ms of CPU each)",
            "≥ 1,500", rate >= 1500,
        )  # fmt: skip


def _first_bag(place: Path, signer: SigningKey) -> Iterator[Figure]:
    """From the last write to the bag, in a folder that is being watched; the slowest of some."""
    (place / "arrivals").mkdir()
    (place / "arrived").mkdir()
    sealing = Sealing(signers=(signer,), stamps=StampOptions())
    options = SinkOptions(policy=load_policy("default"), sealing=lambda: sealing)
    sink = DirectorySink(str(place / "arrived"), options)
    slowest, policy, stop = 0.0, WatchPolicy(), threading.Event()
    with Journal(str(place / "arrivals.sqlite")) as journal:
        root = WatchedRoot(path=str(place / "arrivals"), policy=policy, journal=journal)
        watcher = Watcher([root], sink)
        thread = threading.Thread(target=watcher.run, args=(stop,))
        thread.start()
        time.sleep(1)
        for number in range(1, _ARRIVALS + 1):
            _write(place / f"arrivals/{number}.bin", _SMALL_BYTES)
            written = time.perf_counter()
            while sum(not one.startswith(".") for one in os.listdir(place / "arrived")) < number:
                time.sleep(0.005)
            slowest = max(slowest, time.perf_counter() - written - policy.quiet_seconds)
        stop.set()
        watcher.wake()
        thread.join()
    yield Figure(
        f"first bag, after the quiet period, the slowest of {_ARRIVALS}",
        f"{slowest:.2f} s", "≤ 1 s", slowest <= 1,
    )  # fmt: skip


def _large(place: Path, signer: SigningKey, scale: float) -> Iterator[Figure]:
    """One large file, turn by turn with `bag create`: both meet the same machine."""
    size_bytes = max(64 << 20, int(_LARGE_BYTES * min(scale, 1.0)))
    _write(place / "large/video.mp4", size_bytes)
    os.sync()
    sealing = Sealing(signers=(signer,), stamps=StampOptions())
    policy = load_policy("default")
    create = CreateOptions(
        policy=policy, now=datetime.now(UTC), identifier="urn:x", sealing=sealing, verify_after=True
    )
    unit = _unit(place / "large", ["video.mp4"])
    options = SinkOptions(policy=policy, sealing=lambda: sealing)
    ratios, rates = [], []
    for turn in range(_TURNS):
        plain, watched = str(place / f"plain-{turn}"), place / f"watched-{turn}"

        def bare(plain: str = plain) -> None:
            plan = plan_sources([str(place / "large/video.mp4")], plain, PlanOptions())
            create_bag(plan, plain, create)

        def taken(watched: Path = watched) -> None:
            _take(DirectorySink(str(watched), options), [unit])

        watched.mkdir()
        seconds = dict[Callable[[], None], float]()
        for work in (bare, taken) if turn % 2 else (taken, bare):
            seconds[work] = _spend(work).seconds
            os.sync()  # what one leaves to be written isn't the other's to wait for
        ratios.append(seconds[bare] / seconds[taken])
        rates.append(size_bytes / seconds[taken] / 1e6)
        for left in (plain, str(watched)):
            shutil.rmtree(left)
        os.sync()
    ratio = statistics.median(ratios)
    yield Figure(f"one file of {size_bytes >> 20:,} MiB", f"{statistics.median(rates):,.0f} MB/s")
    yield Figure(
        "its speed, of that of `bag create`", f"{ratio:.2f} ×", "≥ 0.9 ×", ratio >= 0.9
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Print the table, and write it to the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--place", help="a directory on the disk to measure")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        signer = _signer(Path(place) / "keys")
        figures = list(_rates(Path(place), signer, options.scale))
        figures += _first_bag(Path(place), signer)
        figures += _large(Path(place), signer, options.scale)
    return tell(figures, options.files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
