"""The offline bundle installs with every index switched off, and works."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "bundle"
    subprocess.run(
        [sys.executable, "tools/make_wheels.py", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return target


def test_bundle_has_a_checksum_for_every_file(bundle: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=bundle, check=False)
    assert done.returncode == 0
    listed = {line.split("  ")[1] for line in (bundle / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in bundle.iterdir()} - {"SHA256SUMS"}


def test_bundle_installs_without_any_index(bundle: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    binaries = tmp_path / "env" / "bin"
    offline = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    offline |= {"PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": ""}
    command = [line.strip() for line in (bundle / "INSTALL.txt").read_text().splitlines()]
    (install,) = [line for line in command if line.startswith("python3 -m pip install")]
    assert "--no-index" in install
    subprocess.run(
        [binaries / "python", *shlex.split(install)[1:]],
        cwd=bundle,
        env=offline,
        check=True,
        capture_output=True,
    )
    case = ROOT / "examples" / "case-001"
    for arguments in (
        ["bag", "create", str(case), "-o", "bag"],
        ["bag", "verify", "bag"],
        ["bag", "show", "bag"],
        ["policy", "show", "court"],
        ["statement", "key", "-o", "reader.key"],  # which needs the extra
    ):
        subprocess.run(
            [binaries / "archiver", *arguments],
            cwd=tmp_path,
            env=offline,
            check=True,
            capture_output=True,
        )


def test_wheel_holds_policies_catalogues_and_types(bundle: Path) -> None:
    (wheel,) = bundle.glob("archiver-*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in (
        "policies/default.toml",
        "policies/court.toml",
        "es/LC_MESSAGES/archiver.mo",
        "archiver/py.typed",
    ):
        assert name in listing
