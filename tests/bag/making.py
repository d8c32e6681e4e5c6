"""What the tests of making bags share: trees, bags, snapshots, a child that makes bags."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archiver.bag.plan import Plan, PlanOptions, plan_bag
from archiver.bag.progress import Progress, Silent
from archiver.bag.write import WrittenBag
from archiver.policy import load_policy
from archiver.seal import CreateOptions, FileList, create_bag, plan_sources
from archiver.verify import VerifyOptions, verify_bag

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
IDENTIFIER = "urn:uuid:5b9d0a5e-7f0c-4f0e-9d0f-0c5a0d2f5a11"
OPTIONS = CreateOptions(policy=load_policy("default"), now=NOW, identifier=IDENTIFIER)


def plan(source: Path, bag: Path, **options: Any) -> Plan:
    """The plan for one source, with its findings."""
    return plan_bag([str(source)], str(bag), PlanOptions(**options))


def codes(plan: Plan) -> set[str]:
    """The codes of a plan's findings."""
    return set(plan.findings.counts)


def make(
    sources: Path | Sequence[Path] | FileList,
    bag: Path,
    *,
    options: CreateOptions = OPTIONS,
    progress: Progress | None = None,
    **plan_options: Any,
) -> WrittenBag:
    """Make a bag as ``archiver bag create`` does, in this process."""
    given: Sequence[str] | FileList
    if isinstance(sources, FileList):
        given = sources
    else:
        given = [str(p) for p in ([sources] if isinstance(sources, Path) else sources)]
    planned = plan_sources(given, str(bag), PlanOptions(**plan_options))
    return create_bag(planned, str(bag), options, progress=progress)


def with_policy(table: str, **values: Any) -> CreateOptions:
    """The usual options, with a changed table of the policy."""
    policy = OPTIONS.policy
    changed = replace(getattr(policy, table), **values)
    return replace(OPTIONS, policy=replace(policy, **{table: changed}))


def verdict(bag: Path) -> str:
    """What our verification says."""
    return verify_bag(str(bag), VerifyOptions()).verdict.value


def codes_of_bag(bag: Path) -> set[str]:
    """The codes of everything that verification finds."""
    return {finding.code for finding in verify_bag(str(bag), VerifyOptions()).findings}


def sidecar(bag: Path) -> list[dict[str, Any]]:
    """The records of ``metadata/filesystem.jsonl``, without its head."""
    lines = (bag / "metadata/filesystem.jsonl").read_text("ascii").splitlines()
    head, *records = [json.loads(line) for line in lines]
    assert head == {"schema": "archiver/filesystem/1"}
    return records


def record(bag: Path, path: str) -> dict[str, Any]:
    """The one record of ``path``."""
    (found,) = [one for one in sidecar(bag) if one["path"] == path]
    return found


def snapshot(tree: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything about a tree that must not change: bytes, mode, mtime, ctime, target."""
    found: dict[bytes, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(os.fsencode(tree)):
        for name in [b".", *directories, *files]:
            path = os.path.join(directory, name)
            seen = os.lstat(path)
            content: bytes | None = None
            if stat.S_ISLNK(seen.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(seen.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").digest()
            found[path] = (content, seen.st_mode, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
    return found


def payload(bag: Path) -> dict[bytes, bytes]:
    """The payload's files by path below ``data/``."""
    return tree_bytes(bag / "data")


def tree_bytes(tree: Path) -> dict[bytes, bytes]:
    """A tree's regular files by relative path."""
    base = os.fsencode(tree)
    return {
        os.path.relpath(os.path.join(directory, name), base): Path(
            os.fsdecode(os.path.join(directory, name))
        ).read_bytes()
        for directory, _directories, files in os.walk(base)
        for name in files
        if not os.path.islink(os.path.join(directory, name))
    }


def leftovers(directory: Path) -> list[str]:
    """Staging directories that were left."""
    return [name for name in os.listdir(directory) if name.startswith(".archiver")]


def staging_path(bag: Path) -> Path:
    """Where a bag is staged."""
    mark = hashlib.sha256(os.fsencode(bag.name)).hexdigest()[:16]
    return bag.parent / f".archiver-staging-{mark}"


def write_tree(base: Path, files: dict[str, bytes]) -> Path:
    """A directory with these files."""
    base.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(content)
    return base


class At(Silent):
    """Does something once, in the middle of the work: ``expect`` comes after the plan and
    before the first byte is copied, ``done`` after each batch."""

    def __init__(self, when: str, action: Any) -> None:
        self._when, self._action = when, action

    def _reach(self, when: str) -> None:
        if when == self._when:
            self._when = ""
            self._action()

    def expect(self, size_bytes: int, files: int) -> None:
        """Before the first byte."""
        self._reach("expect")

    def done(self, size_bytes: int, files: int) -> None:
        """After a batch."""
        self._reach("done")

    def within(self, size_bytes: int) -> None:
        """Inside a large file."""
        self._reach("within")


ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("COV_")},
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "LANGUAGE": "en",
}


def child(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """A child that makes a bag: SOURCE BAG [CHECKPOINT_SECONDS [WORKERS]]."""
    return subprocess.Popen(
        child_command(*arguments),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def child_command(*arguments: str | Path) -> list[str]:
    """The command line of :func:`child`."""
    return [sys.executable, "-m", "tests.faults.child", *map(str, arguments)]


def archiver(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program itself."""
    return subprocess.run(
        [sys.executable, "-m", "archiver", *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        check=False,
        **options,
    )
