"""Amended items for tests, through the program itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from archiver.vault import Vault
from tests.helpers import Ran, run

KEY = ("--key", "keys/ana.key")
VIDEO = ("--kind", "video")
SECRET_HINT = "nothing can be encrypted yet"


def amend(
    capsys: pytest.CaptureFixture[str],
    item: str,
    *words: str,
    reason: str = "seen",
    signed: bool = True,
) -> Ran:
    """``describe amend``; ``words`` like ``title=x`` are set."""
    given = [part for one in words if "=" in one for part in ("--set", one)]
    rest = [one for one in words if "=" not in one]
    key = KEY if signed else ("--unsigned",)
    return run(capsys, "describe", "amend", item, *given, *rest, "--reason", reason, *key)


def records(vault: Vault, item: str) -> Path:
    """Where the amendments of an item lie."""
    return Path(vault.path) / "amendments" / item


def overwrite(path: Path, data: bytes) -> None:
    """Somebody changes what is read-only."""
    os.chmod(path, 0o600)
    path.write_bytes(data)


def holds(place: Path, word: str) -> list[str]:
    """The files below ``place`` in which ``word`` stands, in UTF-8."""
    done = subprocess.run(
        ["grep", "-rla", "--", word, str(place)], capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()
