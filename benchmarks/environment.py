"""Facts about the machine and the programs, without anything that names a host or a user."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.errors import BenchmarkError

_VERSIONS = """
import importlib, json, ssl
from importlib import metadata
def version(name):
    importlib.import_module(name)
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown version"
names = ("archiver", "bagit", "typer")
print(json.dumps({"openssl": ssl.OPENSSL_VERSION, **{name: version(name) for name in names}}))
"""


@dataclass(frozen=True)
class Environment:
    """What a reader needs to know to judge the figures."""

    date: str
    cpu: str
    sha_instructions: bool
    cores: int
    kernel: str
    python: str
    openssl: str
    coreutils: str
    archiver: str
    bagit: str
    typer: str
    file_system: str


def describe(directory: Path) -> Environment:
    """The environment, with the file system of `directory`."""
    # Asked of another process: importing all this here would make this process larger, and
    # the peaks of the programs it starts less exact.
    versions = json.loads(_output_of((sys.executable, "-c", _VERSIONS)))
    return Environment(
        date=datetime.now(UTC).date().isoformat(),
        cpu=_cpu_info("model name"),
        sha_instructions="sha_ni" in _cpu_info("flags").split(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        coreutils=_output_of(("sha256sum", "--version")).splitlines()[0].rpartition(" ")[2],
        file_system=file_system(directory),
        **versions,
    )


def file_system(directory: Path) -> str:
    """The type of the file system that `directory` is on, such as ext4."""
    return _output_of(("df", "--output=fstype", os.fspath(directory))).split()[-1]


def available_memory_bytes() -> int:
    """Memory that programs can get without swapping, in bytes."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise BenchmarkError("/proc/meminfo says nothing about available memory")


def _cpu_info(key: str) -> str:
    """The first value of `key` in /proc/cpuinfo; "unknown" on machines that have none."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _output_of(command: tuple[str, ...]) -> str:
    """What `command` prints; BenchmarkError when it fails or is missing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise BenchmarkError(f"{command[0]} is needed and missing") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().rpartition("\n")[2]
        raise BenchmarkError(f"{Path(command[0]).name} failed: {last}") from error
    return done.stdout
