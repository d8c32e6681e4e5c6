"""What was made from what: told by show, kept acyclic by amendments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archiver.encrypt import new_identity
from archiver.vault import Vault
from archiver.vault.derivations import lineage, lineage_lines
from archiver.vault.derived import derived_directory, forget_derived
from archiver.vault.records import reading
from tests.helpers import Ran, run
from tests.vault.describing import KEY

Capture = pytest.CaptureFixture[str]


def derive(capsys: Capture, place: Path, item: str, *sources: str) -> Ran:
    form = place / "form.toml"
    tables = "".join(
        f'[[derived_from]]\nitem = "{one}"\ntool = "ffmpeg 6"\nparameters = "-c copy"\n'
        for one in sources
    )
    form.write_text(f'kind = "video"\noriginal = "derived"\n{tables}')
    return run(capsys, "describe", item, "--form", str(form), "--reason", "made so", *KEY)


def test_show_tells_the_whole_lineage(filled: Vault, tmp_path: Path, capsys: Capture) -> None:
    assert derive(capsys, tmp_path, "a-E-0002", "a-E-0001").code == 0
    assert derive(capsys, tmp_path, "b-E-0001", "a-E-0002", "a-E-0001").code == 0
    shown = run(capsys, "show", "b-E-0001")
    assert "  made from:\n    a-E-0002\n      a-E-0001\n    a-E-0001\n" in shown.out
    answer = run(capsys, "show", "b-E-0001", "--json").json
    assert answer["derivations"] == {
        "a-E-0001": [],
        "a-E-0002": ["a-E-0001"],
        "b-E-0001": ["a-E-0002", "a-E-0001"],
    }
    assert "made from:" not in run(capsys, "show", "a-E-0001").out


def test_the_other_direction_is_found(filled: Vault, tmp_path: Path, capsys: Capture) -> None:
    assert derive(capsys, tmp_path, "a-E-0002", "a-E-0001").code == 0
    assert derive(capsys, tmp_path, "b-E-0001", "a-E-0002", "a-E-0001").code == 0

    def made(item: str) -> list[str]:
        found = run(capsys, "search", "--made-from", item, "--json").json["found"]
        return [one["id"] for one in found]  # type: ignore[attr-defined]

    assert "made_into" not in run(capsys, "show", "a-E-0001", "--json").json
    assert made("a-E-0001") == ["a-E-0002", "b-E-0001"]
    assert made("a-E-0002") == ["b-E-0001"]
    assert made("b-E-0001") == []
    for unknown in ("a-E-0099", "x' OR 1=1"):
        assert run(capsys, "search", "--made-from", unknown).code == 2
    shown = run(capsys, "show", "a-E-0001", "--made-into")
    assert "  made into:\n    a-E-0002\n    b-E-0001\n" in shown.out
    told = run(capsys, "show", "a-E-0001", "--made-into", "--json").json["made_into"]
    assert told == ["a-E-0002", "b-E-0001"]
    assert "made into" not in run(capsys, "show", "b-E-0001", "--made-into").out


def test_what_becomes_secret_was_made_from_nothing_that_is_told(
    filled: Vault, tmp_path: Path, capsys: Capture
) -> None:
    assert derive(capsys, tmp_path, "a-E-0002", "a-E-0001").code == 0
    assert run(capsys, "search", "--made-from", "a-E-0001").out.startswith("a-E-0002")
    key = new_identity()[1]
    policy = tmp_path / "p.toml"
    policy.write_text(f'extends = "default"\n[encryption]\nrecipients = ["{key}"]\n')
    words = ("--set", "confidentiality=sealed", "--reason", "told", *KEY, "--policy", str(policy))
    assert run(capsys, "describe", "amend", "a-E-0002", *words).code == 0
    assert run(capsys, "search", "--made-from", "a-E-0001").out == ""
    assert run(capsys, "show", "a-E-0001", "--made-into", "--json").json["made_into"] == []


@pytest.mark.parametrize("closing", ["a-E-0001", "a-E-0002", "b-E-0001"])
def test_nothing_is_made_from_what_was_made_from_it(
    closing: str, filled: Vault, tmp_path: Path, capsys: Capture
) -> None:
    assert derive(capsys, tmp_path, "a-E-0002", "a-E-0001").code == 0
    assert derive(capsys, tmp_path, "b-E-0001", "a-E-0002").code == 0
    done = derive(capsys, tmp_path, "a-E-0001", closing)
    assert done.code == 2
    assert "items can't be made from each other" in done.err
    assert not (Path(filled.path) / "amendments/a-E-0001").exists()


def test_what_is_not_there_was_the_source_of_nothing(
    filled: Vault, tmp_path: Path, capsys: Capture
) -> None:
    done = derive(capsys, tmp_path, "a-E-0001", "a-E-0099")
    assert done.code == 2
    assert "not in the vault: a-E-0099" in done.err


def test_a_lineage_is_bounded_and_goes_nowhere_twice(
    filled: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = {"a": ("b", "c"), "b": ("c", "a"), "c": ("d",)}
    assert list(lineage_lines("a", edges, 99)) == [
        "  b", "    c", "      d", "    a", "  c",
    ]  # fmt: skip
    assert list(lineage_lines("a", edges, 2)) == ["  b", "    c", "  ..."]
    with reading(filled) as records:
        assert lineage(filled, records.catalog, ["x", "../x"]) == {"x": (), "../x": ()}
        monkeypatch.setattr("archiver.vault.derivations.MAX_ITEMS", 1)
        assert len(lineage(filled, records.catalog, ["x", "y"])) == 1


def test_what_becomes_secret_loses_its_pictures(
    filled: Vault, tmp_path: Path, capsys: Capture
) -> None:
    place = Path(derived_directory(filled, "a-E-0001"))
    place.mkdir(parents=True)
    (place / "0001.jpg").write_bytes(b"picture")
    policy = tmp_path / "secret.toml"
    key = run(capsys, "statement", "key", "-o", str(tmp_path / "reader.key")).out.strip()
    policy.write_text(f'extends = "default"\n[encryption]\nrecipients = ["{key}"]\n')
    toml = Path(filled.path) / "vault.toml"
    toml.write_text(toml.read_text().replace('policy = "default"', f'policy = "{policy}"'))
    words = ("--kind", "video", "--set", "confidentiality=sealed", "--reason", "asked", *KEY)
    done = run(capsys, "describe", "a-E-0001", *words)
    assert done.code == 0, done.err
    assert not place.exists()


def test_derivatives_that_are_a_link_are_not_followed(filled: Vault, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "keep").write_bytes(b"x")
    place = Path(derived_directory(filled, "a-E-0001"))
    place.parent.mkdir()
    os.symlink(target, place)
    forget_derived(filled, "a-E-0001")
    assert (target / "keep").exists()
    assert not os.path.lexists(place)
