"""A vault with three sealed items in two cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.vault import Vault, open_vault
from tests.helpers import run
from tests.sealing import Office, make_source, write_key


@pytest.fixture
def filled(
    tmp_path: Path,
    office: Office,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Vault:
    """Three sealed items in two cases."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARCHIVER_VAULT", str(tmp_path / "vault"))
    write_key(office.ana, tmp_path / "keys", "ana")
    assert run(capsys, "init", "vault").code == 0
    for case, name in (("a", "one"), ("a", "two"), ("b", "three")):
        make_source(tmp_path / name, {"witness-maria.txt": name.encode(), "x.bin": b"x" * 5000})
        done = run(capsys, "ingest", name, "--case", case, "--key", "keys/ana.key")
        assert done.code == 0, done.err
    return open_vault(str(tmp_path / "vault"))
