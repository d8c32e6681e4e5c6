"""The virus scanner: clean, infected, not scanned; a skip never looks like a pass."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import StorageError
from archiver.policy import ScanPolicy
from archiver.scan import CLEAN, INFECTED, NOT_SCANNED, ScanResult, scan_payload

EICAR = "X5O!P%@AP[4" + "\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS" + "-TEST-FILE!$H+H*"
"""In parts, so that no scanner trips over this file."""
GREP = """
if grep -rqF 'EICAR-STANDARD-ANTIVIRUS''-TEST-FILE' "$1"; then exit 1; fi
exit 0
"""


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    (tmp_path / "payload/d").mkdir(parents=True)
    (tmp_path / "payload/d/a").write_text("harmless")
    return tmp_path / "payload"


def script(place: Path, text: str, name: str = "scanner") -> str:
    path = place / name
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def scan(payload: Path, text: str, **changes: Any) -> ScanResult:
    command = (script(payload.parent, text), "{path}")
    return scan_payload(str(payload), ScanPolicy(command=command, **changes))


def test_clean_and_infected(payload: Path) -> None:
    assert scan(payload, GREP) == ScanResult(result=CLEAN, scanner="scanner")
    (payload / "bad").write_text(EICAR)
    found = scan(payload, GREP)
    assert found == ScanResult(result=INFECTED, scanner="scanner")
    assert found.detail() == {"result": "infected", "scanner": "scanner"}


def test_the_codes_are_the_policys(payload: Path) -> None:
    assert scan(payload, "exit 7", clean=7, infected=3).result == CLEAN
    assert scan(payload, "exit 3", clean=7, infected=3).result == INFECTED
    assert scan(payload, "exit 0", clean=7, infected=3).result == NOT_SCANNED


def test_if_both_codes_are_one_nothing_is_clean(payload: Path) -> None:
    assert scan(payload, "exit 0", clean=0, infected=0).result == INFECTED


@pytest.mark.parametrize(
    ("text", "reason"),
    [("exit 2", "exit code 2"), ("kill -9 $$", "ended by signal 9"), ("exit 127", "exit code 127")],
)
def test_whatever_else_it_answers_is_no_pass(payload: Path, text: str, reason: str) -> None:
    found = scan(payload, text)
    assert (found.result, found.reason) == (NOT_SCANNED, reason)
    assert found.detail()["reason"] == reason


def test_one_that_is_absent(payload: Path) -> None:
    policy = ScanPolicy(command=("/nowhere/clamscan", "{path}"))
    found = scan_payload(str(payload), policy)
    assert found == ScanResult(result=NOT_SCANNED, scanner="clamscan", reason="absent")


def test_one_that_cannot_be_run(payload: Path) -> None:
    path = payload.parent / "text"
    path.write_text("no program")
    found = scan_payload(str(payload), ScanPolicy(command=(str(path), "{path}")))
    assert found.result == NOT_SCANNED
    assert found.reason.startswith("it can't be started")
    found = scan_payload(str(payload), ScanPolicy(command=("\0", "{path}")))
    assert found.result == NOT_SCANNED


def test_a_command_that_names_no_place_scans_nothing(payload: Path) -> None:
    found = scan_payload(str(payload), ScanPolicy(command=("true",)))
    assert found.result == NOT_SCANNED
    assert "{path}" in found.reason


def test_no_command_at_all(payload: Path) -> None:
    found = scan_payload(str(payload), ScanPolicy(required=True))
    assert found == ScanResult(result=NOT_SCANNED, reason="no scanner is configured")


def test_one_that_hangs_is_ended_with_what_it_started(payload: Path) -> None:
    asked: list[float] = []
    begun = time.monotonic()
    command = (script(payload.parent, f"echo $$ > {payload.parent}/pid\nsleep 4321 & sleep 4321"),)
    policy = ScanPolicy(command=(*command, "{path}"), seconds=2)
    found = scan_payload(str(payload), policy, lambda: asked.append(1))
    assert (found.result, found.reason) == (NOT_SCANNED, "timed out after 2 seconds")
    assert time.monotonic() - begun < 20
    assert asked
    _gone(int((payload.parent / "pid").read_text()))


def test_what_it_leaves_running_is_ended(payload: Path) -> None:
    found = scan(payload, f"echo $$ > {payload.parent}/pid\nsleep 4321 &\nexit 0")
    assert found.result == CLEAN
    _gone(int((payload.parent / "pid").read_text()))


def _gone(group: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    states = [
        Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        for name in os.listdir("/proc")
        if name.isdigit()
    ]
    assert [one for one in states if int(one[2]) == group and one[0] != "Z"] == []


def test_one_that_prints_without_end(payload: Path) -> None:
    found = scan(payload, "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; exit 0")
    assert found == ScanResult(result=CLEAN, scanner="scanner")


def test_it_can_be_broken_off(payload: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    path = script(payload.parent, f"echo $$ > {payload.parent}/pid\nsleep 4321")
    with pytest.raises(KeyboardInterrupt):
        scan_payload(str(payload), ScanPolicy(command=(path, "{path}")), stop)
    _gone(int((payload.parent / "pid").read_text()))


@pytest.mark.parametrize(
    "deed",
    [
        'rm "$1/d/a"',
        'mv "$1/d/a" "$1/d/b"',
        'printf hurtless > "$1/d/a"',
        'touch -d 2001-01-01 "$1/d/a"',
        'touch "$1/new"',
        'cp -p "$1/d/a" /tmp/arch-$$; rm "$1/d/a"; mv /tmp/arch-$$ "$1/d/a"',
    ],
)
def test_one_that_changes_the_payload_is_not_forgiven(payload: Path, deed: str) -> None:
    with pytest.raises(StorageError, match="changed what it was to scan") as raised:
        scan(payload, f"{deed}\nexit 0")
    assert "moved, mended or deleted" in raised.value.hint


def test_the_place_is_one_argument_whatever_it_is_called(tmp_path: Path) -> None:
    place = tmp_path / "a b;touch x\n'q"
    place.mkdir()
    log = tmp_path / "log"
    path = script(tmp_path, f'printf "%s|%s" "$#" "$1" > {log}\nexit 0')
    assert scan_payload(str(place), ScanPolicy(command=(path, "--dir={path}"))).result == CLEAN
    assert log.read_text() == f"1|--dir={place}"
