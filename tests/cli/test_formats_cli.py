"""Formats and the scanner, as the commands tell of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from archiver.identify import installed
from archiver.vault import open_vault
from archiver.vault.check import check_logs
from tests.helpers import run
from tests.identify.hostile import picture
from tests.identify.looking import none_left
from tests.sealing import make_source
from tests.test_scan import EICAR, GREP, script

pytestmark = pytest.mark.skipif(
    "siegfried" not in installed() and not os.environ.get("ARCHIVER_CI"),
    reason="pygfried isn't installed",
)

QUICK = "[watch]\nquiet_seconds = 1\nunproved_quiet_seconds = 1\n"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARCHIVER_IDENTIFY", raising=False)
    monkeypatch.setenv("ARCHIVER_VAULT", str(tmp_path / "vault"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    make_source(tmp_path / "source", {"a.png": picture("PNG"), "note.txt": b"hello"})


def policy(text: str) -> str:
    Path("own.toml").write_text(f'extends = "default"\n{text}')
    return os.path.abspath("own.toml")


def formats(bag: Path | str) -> list[str]:
    lines = Path(bag, "metadata/formats.jsonl").read_text().splitlines()[1:]
    return [json.loads(one)["puid"] for one in lines]


def test_on_unless_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    done = run(capsys, "bag", "create", "source", "-o", "one", "--json")
    assert (done.code, done.json["formats"]) == (0, {"identified": 2})
    assert formats("one") == ["fmt/11", "x-fmt/111"]
    done = run(capsys, "bag", "create", "source", "-o", "two", "--no-identify", "--json")
    assert done.code == 0
    assert "formats" not in done.json
    assert not Path("two/metadata/formats.jsonl").exists()
    chosen = policy("[formats]\nidentify = false\n")
    assert run(capsys, "bag", "create", "source", "-o", "three", "--policy", chosen).code == 0
    assert not Path("three/metadata/formats.jsonl").exists()
    assert run(capsys, "bag", "verify", "one").code == 0
    assert none_left() == []


def test_a_group_of_bags(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "bag", "create", "source", "-o", "b", "--max-files", "1").code == 0
    assert formats("b-1") + formats("b-2") == ["fmt/11", "x-fmt/111"]
    assert none_left() == []


def test_a_refused_format_is_one_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = policy('[formats]\nrefused = ["image/*"]\n')
    done = run(capsys, "bag", "create", "source", "-o", "one", "--policy", chosen)
    assert done.code == 5
    assert "error: data/a.png: the policy does not accept this format (fmt/11)" in done.err
    assert "hint: Leave it out" in done.err
    assert sorted(os.listdir(".")) == ["own.toml", "source"]
    done = run(capsys, "bag", "create", "source", "-o", "one", "--policy", chosen, "--no-identify")
    assert done.code == 2


def test_the_scanner_is_heard(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    make_source(tmp_path / "bad", {"x": EICAR.encode()})
    command = json.dumps([script(tmp_path, GREP), "{path}"])
    chosen = policy(f"[scan]\ncommand = {command}\n")
    done = run(capsys, "bag", "create", "source", "-o", "one", "--policy", chosen, "--json")
    assert done.json["scan"] == {"result": "clean", "scanner": "scanner"}
    done = run(capsys, "bag", "create", "bad", "-o", "two", "--policy", chosen)
    assert done.code == 0
    assert "warning: the scanner scanner found malware in it; it is kept" in done.err
    chosen = policy(f'[scan]\ncommand = {command}\nfound = "refuse"\n')
    assert run(capsys, "bag", "create", "bad", "-o", "three", "--policy", chosen).code == 5
    assert not Path("three").exists()
    chosen = policy('[scan]\ncommand = ["/nowhere/scan", "{path}"]\n')
    done = run(capsys, "bag", "create", "bad", "-o", "four", "--policy", chosen)
    assert done.code == 0
    assert "warning: not scanned for malware: absent" in done.err


def test_a_policy_judges_what_was_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "bag", "create", "source", "-o", "one").code == 0
    chosen = policy('[formats]\naccepted = ["image/*", "text/plain"]\n')
    done = run(capsys, "bag", "verify", "one", "--policy", chosen)
    assert (done.code, done.err) == (0, "")
    chosen = policy('[formats]\nrefused = ["fmt/11"]\n')
    done = run(capsys, "bag", "verify", "one", "--policy", chosen, "--json")
    assert done.code == 4
    findings = done.json["findings"]
    assert isinstance(findings, list)
    assert [one["code"] for one in findings] == ["E-POL-020"]


def test_ingest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "init", "vault").code == 0
    done = run(capsys, "ingest", "source", "--case", "c", "--unsigned", "--json")
    assert (done.code, done.json["formats"]) == (0, {"identified": 2})
    assert formats("vault/bags/c/c-E-0001") == ["fmt/11", "x-fmt/111"]
    log = Path("vault/custody/c.jsonl").read_text()
    assert "fmt" not in log
    done = run(capsys, "ingest", "source", "--case", "c", "--unsigned", "--again", "--no-identify")
    assert done.code == 0
    assert not Path("vault/bags/c/c-E-0002/metadata/formats.jsonl").exists()
    assert none_left() == []


def test_ingest_refuses_and_the_number_stays(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = policy('[formats]\nrefused = ["image/*"]\n')
    assert run(capsys, "init", "vault", "--policy", chosen).code == 0
    done = run(capsys, "ingest", "source", "--case", "c", "--unsigned")
    assert done.code == 5
    assert "does not accept this format" in done.err
    assert not Path("vault/bags/c/c-E-0001").exists()
    assert [one.problem for one in check_logs(open_vault("vault")).problems] == []
    assert "a.png" not in Path("vault/custody/c.jsonl").read_text()


def test_watch_has_one_child_and_quarantines_what_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chosen = policy('[formats]\nrefused = ["image/*"]\n' + QUICK)
    words = ["watch", "source", "-o", "out", "--policy", chosen, "--unsigned", "--once", "--json"]
    done = run(capsys, *words)
    (bag,) = Path("out").iterdir()
    assert formats(bag) == ["x-fmt/111"]
    assert done.code == 5
    assert done.json["files"]["quarantined"] == 1  # type: ignore[index]
    told = run(capsys, "watch", "status", "source/a.png").out
    assert "the policy does not accept this format (fmt/11)" in told
    assert none_left() == []


def test_watch_into_a_vault(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "init", "vault", "--policy", policy(QUICK)).code == 0
    words = ["watch", "source", "--case", "c", "--unsigned", "--once"]
    assert run(capsys, *words).code == 0
    found = sorted(one for bag in Path("vault/bags/c").iterdir() for one in formats(bag))
    assert found == ["fmt/11", "x-fmt/111"]
    assert none_left() == []
