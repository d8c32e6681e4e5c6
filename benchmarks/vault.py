"""What a vault costs at scale: `python -m benchmarks.vault [--scale S] FILES…`.

The catalog with 1,000,000 bag-replicas that never were, beside sqlite3 alone with the same
rows; the audit of 10,000 real small bags, beside the bare verification of the same bags in
the same run. Both are warm: what is measured is the program, not the disk.
"""

import argparse
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from archiver.audit import AuditOptions, audit
from archiver.bag.plan import PlanOptions
from archiver.catalog import Catalog, item_name, open_catalog
from archiver.custody import Event, chain_lines
from archiver.fixity import Result
from archiver.policy import load_policy
from archiver.seal import CreateOptions, create_bag, plan_sources
from archiver.vault import Vault, create_vault
from archiver.vault.log import CaseLog
from archiver.vault.records import take_in
from archiver.verify import verify_bag
from benchmarks.figures import Figure, tell

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_REPLICAS, _BAGS, _CASES = 1_000_000, 10_000, 10
_ROUNDS = 30


def _milliseconds(work: Callable[[], object]) -> float:
    """The median of many calls."""
    times = []
    for _number in range(_ROUNDS):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times)


def _events(case: str, bags: int, signed: str) -> Iterator[Event]:
    """Items that were sealed and copied once."""
    for number in range(1, bags + 1):
        name = item_name(case, number)
        yield Event(type="ingestion start", at=_NOW,
                    detail={"item": name, "key": f"{number:064}", "number": number})  # fmt: skip
        yield Event(type="ingestion end", at=_NOW,
                    detail={"custody_head": "0" * 64, "item": name, "number": number,
                            "payload_bytes": 4096, "payload_files": 3, "signatures": 1,
                            "tag_manifest_sha512": signed})  # fmt: skip
        yield Event(type="replication", at=_NOW + timedelta(seconds=number % 86_400),
                    detail={"item": name, "replica": "second", "result": "good"})  # fmt: skip


def _catalog(place: Path, replicas: int) -> Iterator[Figure]:
    vault = create_vault(str(place / "catalogued"), identifier="urn:x", policy="default")
    cases = [f"case-{number}" for number in range(_CASES)]
    for case in cases:
        with open(vault.log_path(case), "wb") as file:
            file.writelines(chain_lines(_events(case, replicas // 2 // _CASES, "0" * 128)))
    begun = time.perf_counter()
    with open_catalog(vault.catalog) as catalog:
        for case in cases:
            take_in(catalog, CaseLog(case, vault.log_path(case)))
        seconds = time.perf_counter() - begun
        rows = sum(1 for table in catalog.tables() for _row in catalog.rows_of(table))
        rate = rows / seconds
        yield Figure(
            f"events read, checked, {rows:,} rows inserted", f"{rate:,.0f} rows/s",
            "≥ 20,000", rate >= 20_000,
        )  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield Figure("memory of the process that did it", f"{peak:.0f} MB")
        bare = _bare_inserts(place / "bare.sqlite", catalog)
        yield Figure(
            "sqlite3 alone, the same rows as one transaction each 2,000", f"{bare:,.0f} rows/s"
        )
        yield from _questions(catalog)


def _bare_inserts(path: Path, catalog: Catalog) -> float:
    """Rows a second that sqlite3 takes without anything around it."""
    tables = {name: list(catalog.rows_of(name)) for name in catalog.tables()}
    with open_catalog(str(path)) as empty:
        names = empty.tables()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    begun = time.perf_counter()
    for name in names:
        rows = tables[name]
        marks = ",".join("?" * (len(rows[0]) if rows else 1))
        extra = ",0" if name == "incidents" else ""
        for start in range(0, len(rows), 2000):
            connection.execute("BEGIN IMMEDIATE")
            statement = f"INSERT INTO {name} VALUES ({marks}{extra})"
            connection.executemany(statement, rows[start : start + 2000])
            connection.execute("COMMIT")
    seconds = time.perf_counter() - begun
    connection.close()
    return sum(map(len, tables.values())) / seconds


def _questions(catalog: Catalog) -> Iterator[Figure]:
    due = _milliseconds(
        lambda: catalog.due(["", "second"], before=_NOW + timedelta(days=2), limit=100)
    )
    yield Figure("due-list, the first 100", f"{due:.1f} ms", "< 10 ms", due < 10)
    after = item_name("case-5", 777)
    page = _milliseconds(lambda: catalog.page(after=after, limit=100))
    yield Figure("a page of `list`, 100 items", f"{page:.1f} ms", "< 50 ms", page < 50)
    one = _milliseconds(lambda: catalog.item(after))
    yield Figure("one item with its replicas", f"{one:.1f} ms")
    begun = time.perf_counter()
    catalog.counts()
    catalog.good_copies({"": "a", "second": "b"})
    catalog.overdue(["", "second"], _NOW, _NOW)
    yield Figure("what `audit --summary` asks", f"{time.perf_counter() - begun:.2f} s")


def _small_bags(place: Path, count: int) -> Vault:
    """A vault with real bags, each a copy of one; their log is written as ingest does."""
    source = place / "source"
    source.mkdir(parents=True)
    for name, size in (("statement.txt", 1200), ("photo.jpg", 2400), ("note.md", 496)):
        (source / name).write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    policy = load_policy("default")
    plan = plan_sources([str(source)], str(place / "bag"), PlanOptions())
    options = CreateOptions(policy=policy, now=_NOW, identifier="urn:x")
    create_bag(plan, str(place / "bag"), options)
    signed = verify_bag(str(place / "bag")).facts.signed_digest
    vault = create_vault(str(place / "vault"), identifier="urn:x", policy="default")
    for number in range(1, count + 1):
        shutil.copytree(place / "bag", vault.bag_path("c", item_name("c", number)))
    events = (one for one in _events("c", count, signed) if one.type != "replication")
    with open(vault.log_path("c"), "wb") as file:
        file.writelines(chain_lines(events))
    return vault


def _audit(place: Path, bags: int) -> Iterator[Figure]:
    vault = _small_bags(place, bags)
    paths = [vault.bag_path("c", item_name("c", number)) for number in range(1, bags + 1)]
    ratios, rates = [], []
    for _turn in range(3):  # turn by turn: both meet the same machine
        begun = time.perf_counter()
        for path in paths:
            assert verify_bag(path).exit_code == 0
        bare = time.perf_counter() - begun
        begun = time.perf_counter()
        found = audit(vault, AuditOptions(), lambda: datetime.now(UTC))
        assert sum(one.result is Result.GOOD for one in found) == bags
        seconds = time.perf_counter() - begun
        ratios.append(bare / seconds)
        rates.append(bags / seconds)
    ratio = statistics.median(ratios)
    yield Figure(f"audit of {bags:,} small bags", f"{statistics.median(rates):,.0f} bags/s")
    yield Figure(
        "its speed, of that of the bare verification", f"{ratio:.2f} ×", "≥ 0.8 ×", ratio >= 0.8
    )
    few, many = (_peak_of_audit(place / f"memory-{count}", count) for count in (bags // 10, bags))
    yield Figure(
        f"memory of an audit of {bags // 10:,} and of {bags:,} bags",
        f"{few:.0f} and {many:.0f} MB",
        "flat (≤ 1.1 ×)", many <= 1.1 * few,
    )  # fmt: skip


def _peak_of_audit(place: Path, bags: int) -> float:
    """Megabytes at most, in a process of its own."""
    vault = _small_bags(place, bags)
    command = [sys.executable, "-m", "archiver", "audit", "--all", "--quiet", "--vault", vault.path]
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], check=True, capture_output=True, text=True
    )
    shutil.rmtree(place)
    return int(done.stdout.split()[-1]) / 1024


def main(arguments: list[str]) -> int:
    """Print the table, and write it to the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("files", nargs="*")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        figures = list(_catalog(Path(place), int(_REPLICAS * options.scale)))
        figures += _audit(Path(place), int(_BAGS * options.scale))
    return tell(figures, options.files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
