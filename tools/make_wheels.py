"""Builds a bundle to install from on a machine without a network.

``make wheels`` writes a directory with our wheel, the wheels of everything that
is locked, ``SHA256SUMS`` over all of them, and ``INSTALL.txt`` with the one
command. The wheels are for this machine's Python and processor.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
INSTALL = """\
archiver, to install without a network
======================================
For: {platform}, Python {python}

1. Check that nothing was altered on the way:

   sha256sum -c SHA256SUMS

2. Install (into a virtual environment, or with pipx):

   python3 -m pip install --no-index --find-links . 'archiver[encrypt,formats,thumbnails]'

   With pipx:
   pipx install --pip-args="--no-index --find-links=$PWD" 'archiver[encrypt,formats,thumbnails]'

   Without what is in brackets (statements; what formats files are) it is smaller.
"""


def run(*command: str) -> None:
    """Run pip, loudly where it fails."""
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *command], check=True
    )


def build(target: Path) -> None:
    """Make the bundle in ``target``, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    lock = str(ROOT / "requirements-extras.lock")
    run("wheel", "--quiet", "--require-hashes", "--no-deps", "--wheel-dir", str(target), "-r", lock)
    run(
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(target),
        str(ROOT),
    )
    text = INSTALL.format(
        platform=f"{platform.system()} {platform.machine()}",
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )
    (target / "INSTALL.txt").write_text(text, "utf-8")
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(target.iterdir())
    ]
    (target / "SHA256SUMS").write_text("".join(sums), "utf-8")


def main() -> int:
    """Build into the directory that is named."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "dist/bundle").resolve()
    build(target)
    count = len(list(target.glob("*.whl")))
    print(f"{target}: {count} wheels, SHA256SUMS, INSTALL.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
