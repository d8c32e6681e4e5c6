"""A process with a secret in hand: no core dumps, no swap in clear, no loose words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.errors import UsageError
from archiver.secrecy import SecretError, clear_swaps, guarded

ROOT = Path(__file__).parent.parent
HEADING = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
_HARDENED = """
import ctypes, os, resource, subprocess, sys
from archiver.secrecy import harden
harden()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE
child = subprocess.run([sys.executable, "-c",
    "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"], capture_output=True)
assert child.stdout == b"(0, 0)\\n", child
os.abort()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HARDENED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -6, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


class Blocks:
    """/proc/swaps and /sys/class/block, made up."""

    def __init__(self, base: Path) -> None:
        self.base, self.swaps = base / "block", base / "swaps"
        self.base.mkdir()
        self.lines = ""

    def device(self, name: str, uuid: str = "", slaves: tuple[str, ...] = (), **text: str) -> str:
        place = self.base / name
        place.mkdir()
        if uuid:
            (place / "dm").mkdir()
            (place / "dm" / "uuid").write_text(f"{uuid}\n")
        for slave in slaves:
            (place / "slaves" / slave).mkdir(parents=True)
        for key, value in text.items():
            (place / key).write_text(f"{value}\n")
        return f"/dev/{name}"

    def clear(self, *paths: str) -> list[str]:
        lines = "".join(f"{path}\tpartition\t100\t0\t-2\n" for path in paths)
        self.swaps.write_text(HEADING + lines)
        return clear_swaps(str(self.swaps), str(self.base))


@pytest.fixture
def blocks(tmp_path: Path) -> Blocks:
    return Blocks(tmp_path)


def test_swap_in_clear_is_found(blocks: Blocks, tmp_path: Path) -> None:
    plain = blocks.device("sdz9")
    assert blocks.clear(plain) == [plain]
    file = tmp_path / "swap file"
    file.write_bytes(b"")
    assert blocks.clear(str(file).replace(" ", "\\040")) == [str(file)]
    assert blocks.clear("/dev/gone") == ["/dev/gone"]
    assert blocks.clear() == []


def test_encrypted_swap_and_compressed_memory_are_fine(blocks: Blocks, tmp_path: Path) -> None:
    crypt = blocks.device("dm-90", "CRYPT-LUKS2-0123")
    volume = blocks.device("dm-91", "LVM-0123", slaves=("dm-90",))
    zram = blocks.device("zram7", backing_dev="none")
    assert blocks.clear(crypt, volume, zram) == []
    number = os.stat(tmp_path).st_dev
    blocks.device("dm-92", "CRYPT-PLAIN-x", dev=f"{os.major(number)}:{os.minor(number)}")
    file = tmp_path / "swapfile"
    file.write_bytes(b"")
    assert blocks.clear(str(file)) == []


def test_what_only_looks_encrypted(blocks: Blocks) -> None:
    plain = blocks.device("sdz8")
    volume = blocks.device("dm-80", "LVM-CRYPT-1", slaves=("sdz8",))
    mixed = blocks.device("dm-81", "LVM-2", slaves=("dm-82", "sdz8"))
    blocks.device("dm-82", "CRYPT-LUKS2-1")
    written_back = blocks.device("zram8", backing_dev="/dev/sdz8")
    loop = blocks.device("dm-83", "LVM-3", slaves=("dm-83",))
    found = [plain, volume, mixed, written_back, loop]
    assert blocks.clear(*found) == found


def test_no_swaps_to_ask_about(tmp_path: Path) -> None:
    assert clear_swaps(str(tmp_path / "none"), str(tmp_path)) == []
    (tmp_path / "swaps").write_text(HEADING + "/dev/x\tpartition\t1\t0\t-1\n")
    assert clear_swaps(str(tmp_path / "swaps"), str(tmp_path / "none")) == ["/dev/x"]


@pytest.mark.parametrize(
    "error",
    [
        KeyError("María"),
        ValueError("María"),
        FileNotFoundError(2, "No such file", "/home/María"),
        OSError("María"),
        UnicodeDecodeError("utf-8", "María".encode(), 0, 1, "María"),
    ],
)
def test_what_nobody_has_thought_of_is_told_without_its_text(error: Exception) -> None:
    with pytest.raises(SecretError) as caught, guarded():
        raise error
    told = f"{caught.value}{caught.value.hint}{caught.value.__cause__}"
    assert "María" not in told
    assert caught.value.__suppress_context__


def test_what_is_ours_passes() -> None:
    for error in (UsageError("ours"), KeyboardInterrupt(), BrokenPipeError()):
        with pytest.raises(type(error)), guarded():
            raise error
