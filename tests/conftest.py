"""What many tests share: an office with keys, a TSA on loopback, one sealed bag."""

from __future__ import annotations

import compileall
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.pki.certificates import Certificate, read_certificates
from tests.sealing import Office, copy, demo_tsa, make_source, seal

os.environ.setdefault("ARCHIVER_IDENTIFY", "0")  # a child for each bag is for its own tests


def pytest_configure(config: pytest.Config) -> None:
    """Compile once what thousands of children import: they write no bytecode themselves.

    Run by nohup or behind an "&", with signals that are ignored, the tests' own children
    would ignore them too, and wait for ever.
    """
    if not hasattr(config, "workerinput"):  # before the first of pytest-xdist's workers
        for package in ("archiver", "tests"):
            compileall.compile_dir(config.rootpath / package, quiet=1)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def office() -> Office:
    """Keys and certificates."""
    return Office()


@pytest.fixture(scope="session")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real TSA: `openssl ts -reply` on a loopback port."""
    with demo_tsa().Tsa(tmp_path_factory.mktemp("tsa")) as running:
        yield running


@pytest.fixture(scope="session")
def tsa_root(tsa: Any) -> Certificate:
    """The root to pin."""
    (root,) = read_certificates((tsa.directory / "root.pem").read_bytes())
    return root


@pytest.fixture(scope="session")
def sealed_once(office: Office, tsa: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag sealed by Ana and stamped; nobody may change it."""
    place = tmp_path_factory.mktemp("sealed")
    return seal(make_source(place / "source"), place / "bag", [office.ana], urls=[tsa.url])


@pytest.fixture
def sealed(sealed_once: Path, tmp_path: Path) -> Path:
    """A copy of the sealed bag that may be changed."""
    return copy(sealed_once, tmp_path / "bag")
