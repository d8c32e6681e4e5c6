"""Checkpoints: what is cut, changed or recomputed behind one is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.custody import Event, chain_lines
from archiver.errors import FormatError
from archiver.pki.anchors import Anchors
from archiver.vault import Vault, create_vault
from archiver.vault.check import check_logs
from archiver.vault.checkpoint import (
    checkpoint_files,
    make_checkpoint,
    parse_checkpoint,
    write_checkpoint,
)
from archiver.vault.log import CaseLog
from tests.helpers import run
from tests.sealing import NOW, Office, write_key


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    made = create_vault(str(tmp_path / "vault"), identifier="urn:x", policy="default")
    for case, count in (("a", 5), ("b", 2)):
        append(made, case, count)
    return made


def event(number: int) -> Event:
    return Event(type="fixity check", at=NOW, detail={"number": number})


def append(vault: Vault, case: str, count: int) -> None:
    log = CaseLog(case, vault.log_path(case))
    list(log.read())
    log.append([event(log.position.lines + n) for n in range(count)])


def problems(vault: Vault, anchors: Anchors | None = None) -> list[str]:
    return [one.problem for one in check_logs(vault, anchors=anchors).problems]


def keep(vault: Vault, *signers: object) -> str:
    return write_checkpoint(vault, signers, NOW)[0]  # type: ignore[arg-type]


def test_a_checkpoint(vault: Vault, office: Office) -> None:
    keep(vault, office.ana)
    append(vault, "a", 3)
    append(vault, "c", 1)
    keep(vault, office.ana, office.ben)
    assert [number for number, _path in checkpoint_files(vault)] == [1, 2]
    report = check_logs(vault, anchors=office.anchors())
    assert report.problems == ()
    assert [set(one.signers) for one in report.checkpoints] == [{"Ana"}, {"Ana", "Ben"}]
    assert [one.trusted for one in report.checkpoints] == [1, 2]


@pytest.mark.parametrize("how", ["cut", "recomputed", "gone", "shorter"])
def test_what_is_rewritten_behind_it_is_found(how: str, vault: Vault) -> None:
    """Each of these is a chain that holds by itself."""
    keep(vault)
    log = Path(vault.log_path("a"))
    lines = log.read_bytes().splitlines(keepends=True)
    if how == "gone":
        log.unlink()
    else:
        log.write_bytes(
            {
                "cut": b"".join(lines[:4]),
                "recomputed": b"".join(chain_lines([event(n) for n in (0, 1, 7, 3, 4)])),
                "shorter": b"",
            }[how]
        )
    assert any("log of a no longer begins" in one for one in problems(vault))


def test_what_comes_after_is_allowed(vault: Vault) -> None:
    keep(vault)
    append(vault, "a", 10)
    assert problems(vault) == []


def test_signatures_over_checkpoints(vault: Vault, office: Office) -> None:
    path = Path(keep(vault, office.mallory))
    assert problems(vault) == []
    assert "nobody whom you trust" in problems(vault, office.anchors())[0]
    (signature,) = path.parent.glob("*.p7s")
    signature.chmod(0o644)
    signature.write_bytes(b"garbage")
    assert "doesn't hold" in problems(vault)[0]


@pytest.mark.parametrize("how", ["edited", "other vault", "gone", "garbage"])
def test_checkpoints_that_are_not_what_they_were(how: str, vault: Vault, office: Office) -> None:
    first, second = Path(keep(vault, office.ana)), Path(keep(vault, office.ana))
    assert second.name == "000002.txt"
    first.chmod(0o644)
    data = first.read_bytes()
    if how == "edited":
        first.write_bytes(data.replace(b"case a 5", b"case a 4"))
    elif how == "other vault":
        first.write_bytes(data.replace(b"urn:x", b"urn:y"))
    elif how == "garbage":
        first.write_bytes(b"garbage")
    else:
        first.unlink()
    assert problems(vault, office.anchors())


def test_one_form_only(vault: Vault) -> None:
    data = make_checkpoint(vault, NOW).text()
    assert parse_checkpoint(data).text() == data
    for other in (b"", data[:-1], data + b"\n", data + b"x\n", data.replace(b" 5 ", b" 05 ")):
        with pytest.raises(FormatError):
            parse_checkpoint(other)


def test_from_the_command_line(
    vault: Vault, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--vault", vault.path)
    key, _certificate = write_key(office.ana, tmp_path / "keys", "ana")
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    unsigned = run(capsys, "events", "checkpoint", *place)
    assert (unsigned.code, "unsigned" in unsigned.err) == (0, True)
    made = run(capsys, "events", "checkpoint", "--key", key, "--json", *place).json
    assert made["signed"] is True
    trust = ("--trust", tmp_path / "ca.pem")
    assert run(capsys, "events", "verify", *place).code == 0
    done = run(capsys, "events", "verify", *trust, *place)
    assert (done.code, "nobody whom you trust" in done.out) == (1, True)
    assert "signed by Ana" in done.out
    assert run(capsys, "events", "--trust", "x", *place).code == 2
    assert run(capsys, "events", "--key", key, *place).code == 2
    assert run(capsys, "events", "verify", "--json", *place).json["problems"] == []
