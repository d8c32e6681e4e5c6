"""The real ``archiver watch`` as a process, what it tells its service manager, the oracle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archiver.bag.progress import Silent
from archiver.vault import open_vault
from archiver.vault.check import check_logs
from archiver.verify import Verdict, verify_bag
from archiver.watch.journal import Journal, journal_path
from tests.sealing import Office, private_home, write_key

SECONDS = 60.0
"""For what takes a second on a machine that isn't busy."""


class Site:
    """A vault, a key, an inbox, and the commands of who works there."""

    def __init__(self, place: Path, office: Office) -> None:
        self.place, self.inbox, self.vault = place, place / "inbox", place / "vault"
        self.inbox.mkdir()
        write_key(office.ana, place / "keys", "ana")
        self.environment = private_home(place) | {"ARCHIVER_VAULT": str(self.vault)}
        assert self.run("init", str(self.vault)).returncode == 0
        self.policy("quiet_seconds = 1", "empty_quiet_seconds = 1", "unproved_quiet_seconds = 1")

    def policy(self, *watch: str, name: str = "watch") -> None:
        """Rules for :meth:`command`."""
        text = "\n".join(['extends = "default"', "[watch]", *watch])
        (self.place / f"{name}.toml").write_text(text + "\n")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any command, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "archiver", *arguments],
            env=self.environment,
            cwd=self.place,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=240,
        )

    def command(self, *more: str, key: str = "ana") -> list[str]:
        """``watch`` for the inbox."""
        common = ["watch", str(self.inbox), "--case", "a", "--policy", "watch.toml"]
        return [*common, "--key", key, "--key-dir", "keys", *more]

    def once(self, *more: str) -> subprocess.CompletedProcess[str]:
        """What is there is archived."""
        return self.run(*self.command("--once", *more))

    def status(self, name: str) -> int:
        """The exit code of who asks for a file."""
        return self.run("watch", "status", str(self.inbox / name)).returncode

    def wait_for(self, name: str, seconds: float = SECONDS) -> None:
        """Until a file is archived."""
        until = time.monotonic() + seconds
        while self.status(name) != 0:
            assert time.monotonic() < until, f"{name} was not archived"
            time.sleep(0.1)

    def fill(self, count: int, *, first: int = 0, size: int = 1000) -> None:
        """Small files, each different."""
        for number in range(first, first + count):
            (self.inbox / f"f{number}.bin").write_bytes(f"{number} ".encode() * (size // 4))

    @property
    def journal_path(self) -> str:
        """Where the inbox's journal lies."""
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = self.environment["XDG_STATE_HOME"]
        try:
            return journal_path(open_vault(str(self.vault)).identifier, str(self.inbox))
        finally:
            if before is None:
                del os.environ["XDG_STATE_HOME"]
            else:
                os.environ["XDG_STATE_HOME"] = before

    def bags(self) -> list[Path]:
        """Every bag in the vault, visible or not meant to be."""
        return sorted((self.vault / "bags").glob("*/*"))

    def judge(self, *, signed: bool = True, complete: bool = True) -> None:
        """The oracle: each file in exactly one good bag (``complete``) or in none, staging
        empty, logs and bags and the journal's sums agree.
        """
        found: dict[tuple[str, bytes], int] = {}
        for bag in self.bags():
            assert not bag.name.startswith("."), f"left in staging: {bag.name}"
            report = verify_bag(str(bag), progress=Silent())
            assert report.verdict in (Verdict.VALID, Verdict.UNPROVEN), bag
            assert bool(list(bag.glob("signatures/*.p7s"))) is signed, bag
            for path in (bag / "data").rglob("*"):
                if path.is_file():
                    told = (path.name, path.read_bytes() if path.stat().st_size < 1 << 20 else b"")
                    found[told] = found.get(told, 0) + 1
        assert set(found.values()) <= {1}, "a file is in two bags"
        if complete:
            names = {name for name, _data in found}
            lost = {path.name for path in self.inbox.rglob("*") if path.is_file()} - names
            assert not lost, f"{len(lost)} files are in no bag"
        report_of_logs = check_logs(open_vault(str(self.vault)), [], None)
        assert not report_of_logs.problems
        with contextlib.closing(Journal(self.journal_path, read_only=True)) as journal:
            assert journal.sums_agree()


class Watching:
    """A watcher that runs, under a service manager that listens."""

    def __init__(self, site: Site, *more: str, watchdog_seconds: float = 60.0) -> None:
        self.site = site
        address = str(site.place / "notify")
        Path(address).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        told = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(watchdog_seconds * 1e6))}
        self._log = open(site.place / "watch.log", "w+")  # noqa: SIM115  # closed by end()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "archiver", *site.command("--listen", "0", *more)],
            env=site.environment | told,
            cwd=site.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def heard(self, seconds: float = 0.0) -> list[str]:
        """What it told the service manager within this time."""
        found, until = [], time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(0.01, until - time.monotonic()))
            try:
                found.append(self._socket.recv(4096).decode())
            except TimeoutError:
                return found

    def wait_until(self, message: str, seconds: float = SECONDS) -> None:
        """Until it told this."""
        until = time.monotonic() + seconds
        while message not in self.heard(0.05):
            assert time.monotonic() < until, f"never told {message}: {self.log()}"
            assert self.process.poll() is None, self.log()

    def log(self) -> str:
        """All of its log."""
        return (self.site.place / "watch.log").read_text()

    def events(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.log().splitlines()]

    def ask(self, page: str) -> tuple[int, str]:
        """An endpoint's answer."""
        port = next(one["port"] for one in self.events() if one["event"] == "listening")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def workers(self) -> list[int]:
        """Its child processes."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == self.process.pid:
                    found.append(int(entry.name))
        return found

    def stop(self, number: int = signal.SIGTERM, seconds: float = 120.0) -> tuple[int, float]:
        """(exit code, how long it took)."""
        begun = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        return code, time.monotonic() - begun

    def end(self) -> None:
        """Whatever it does now."""
        for worker in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)
        self.process.kill()
        self.process.communicate()
        self._socket.close()
        self._log.close()


@contextlib.contextmanager
def watching(site: Site, *more: str, watchdog_seconds: float = 60.0) -> Iterator[Watching]:
    """One that has begun."""
    running = Watching(site, *more, watchdog_seconds=watchdog_seconds)
    try:
        running.wait_until("READY=1")
        yield running
    finally:
        running.end()
