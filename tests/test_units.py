"""The units for systemd: its own checks of them, and what the watcher's part relies on."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.sealing import Office, private_home, write_key

EXAMPLES = Path(__file__).parent.parent / "examples"
UNITS = ("archiver-watch.service", "archiver-audit.service", "archiver-audit.timer")
_MOST_EXPOSED = 2.5
"""Of 10; an ordinary service has 9.6."""


def settings(name: str) -> dict[str, list[str]]:
    """What a unit sets, by key."""
    found: dict[str, list[str]] = {}
    text = (EXAMPLES / name).read_text().replace("\\\n", " ")
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program and a user that are there."""
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("ARCHIVER_CI"):
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    for name in UNITS:
        text = (EXAMPLES / name).read_text()
        text = text.replace("/usr/local/bin/archiver", "/bin/true")
        text = re.sub(r"^(User|Group)=archiver$", r"\1=daemon", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_against_it(units: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(units / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if name in line]
    assert (done.returncode, told) == (0, [])


@pytest.mark.parametrize("name", ["archiver-watch.service", "archiver-audit.service"])
def test_little_is_exposed(units: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", str(units / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "--offline" in done.stderr:
        pytest.skip("systemd is too old for it")
    found = re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= _MOST_EXPOSED


def test_what_the_watcher_relies_on() -> None:
    found = settings("archiver-watch.service")
    assert found["Type"] == ["notify"]
    assert "WatchdogSec" in found
    assert "ProtectProc" not in found  # /proc/*/fd is how writers are found
    assert "ProcSubset" not in found
    assert found["ReadOnlyPaths"] == ["/srv/inbox"]
    assert found["LoadCredential"] == ["archiver-passphrase:/etc/archiver/passphrase"]
    assert found["RestartPreventExitStatus"] == ["2"]
    from archiver.pki.passphrase import CREDENTIAL
    from archiver.watch.service import STOP_SECONDS

    assert found["LoadCredential"][0].startswith(f"{CREDENTIAL}:")
    assert int(found["TimeoutStopSec"][0]) > 2 * STOP_SECONDS


def test_the_options_in_the_units_are_ours() -> None:
    for name in UNITS[:2]:
        (command,) = settings(name)["ExecStart"]
        words = command.split()[1:]
        done = subprocess.run(
            [sys.executable, "-m", "archiver", words[0], "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        for word in words:
            if word.startswith("--"):
                assert word in done.stdout, word


def test_the_program_runs_without_memory_that_is_written_and_executed(
    tmp_path: Path, office: Office
) -> None:
    """MemoryDenyWriteExecute=, by the kernel's own switch for it."""
    program = textwrap.dedent("""
        import ctypes, sys
        if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
            sys.exit(77)
        from archiver.cli import main
        sys.exit(main(sys.argv[1:]))
    """)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a").write_text("x")
    write_key(office.ana, tmp_path / "keys", "ana")
    (tmp_path / "quick.toml").write_text('extends = "default"\n[watch]\nquiet_seconds = 1\n')
    command = [sys.executable, "-c", program, "watch", "inbox", "-o", "bags", "--once"]
    done = subprocess.run(
        [*command, "--key", "keys/ana.key", "--listen", "0", "--policy", "quick.toml"],
        cwd=tmp_path,
        env=private_home(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("the kernel is older than 6.3")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "bags").rglob("*.p7s"))


def test_units_are_what_systemd_can_parse() -> None:
    for name in UNITS:
        parser = configparser.RawConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(re.sub(r"\\\n\s*", " ", (EXAMPLES / name).read_text()))
        assert "Unit" in parser.sections()
