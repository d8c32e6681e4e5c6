"""Every error says what to do next."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import archiver
from archiver.errors import ArchiverError, UsageError
from tests.helpers import run


def classes(top: type[ArchiverError]) -> Iterator[type[ArchiverError]]:
    for one in top.__subclasses__():
        yield one
        yield from classes(one)


def test_every_kind_of_error_knows_the_next_step() -> None:
    for module in pkgutil.walk_packages(archiver.__path__, "archiver."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = set(classes(ArchiverError))
    assert len(found) > 20
    generic = ArchiverError.usual_hint
    ours = {one for one in found if one.__module__.startswith("archiver")}
    assert not [one for one in ours if not one.usual_hint.endswith(".")]
    shared = {one.__name__ for one in ours if one.usual_hint == generic}
    assert shared == set(), shared


def test_what_is_known_of_the_very_error_comes_first() -> None:
    assert UsageError("x", hint="Do this.").next_step == "Do this."
    assert UsageError("x").next_step == "Run the command with --help to see what it takes."


def test_an_error_without_a_hint_of_its_own_has_two_lines(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    form = f"{tmp_path}/form.toml"
    with open(form, "w") as file:
        file.write('kind = "absence"\nabsence_kind = "never made"\nminor = "x"\n')
    vault = f"{tmp_path}/vault"
    assert run(capsys, "init", vault).code == 0
    words = ["--form", form, "--case", "c", "--vault", vault, "--unsigned"]
    error, hint = run(capsys, "absence", "record", *words).err.splitlines()
    assert error.startswith("error: ")
    assert "absence_kind must be one of" in error
    assert hint == "hint: Correct it; 'archiver describe check FILE' tells of all mistakes."
