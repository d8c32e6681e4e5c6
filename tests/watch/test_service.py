"""The service manager is told the truth: real sockets, real signals."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.errors import VaultError
from archiver.watch.health import Health
from archiver.watch.model import Failed, Prepared
from archiver.watch.service import Living, Notifier, Pulse, StoppableSink, Stopping
from archiver.watch.sinks import DirectorySink
from tests.sealing import Office, make_source
from tests.watch.standing import health
from tests.watch.units import options, staging, taken, unit


class Manager:
    """What systemd does with $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.environment = {"NOTIFY_SOCKET": address}

    def heard(self, seconds: float = 0.0) -> list[str]:
        found, until = [], time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(0.01, until - time.monotonic()))
            try:
                found.append(self._socket.recv(4096).decode())
            except TimeoutError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "n") if request.param == "path" else f"@archiver-{os.getpid()}"
    made = Manager(address)
    yield made
    made.close()


def test_what_is_told(manager: Manager) -> None:
    notifier = Notifier(manager.environment)
    notifier.ready()
    notifier.status("archived: 1\nREADY=0 and more")
    notifier.status("archived: 1\nREADY=0 and more")
    notifier.ping()
    notifier.stopping()
    assert manager.heard() == [
        "READY=1",
        "STATUS=archived: 1 READY=0 and more",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"}, {"NOTIFY_SOCKET": "vsock:2:1"},
     {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "/" + "x" * 300}],
)  # fmt: skip
def test_nobody_listens(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready()
    notifier.status("x")
    notifier.ping()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "²"}, 0.0),
    ],
)
def test_watchdog_is_for_this_process(environment: dict[str, str], seconds: float) -> None:
    assert Notifier(environment).watchdog_seconds == seconds


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Manager, Notifier]]:
    manager = Manager(str(tmp_path / "n"))
    yield manager, Notifier({**manager.environment, "WATCHDOG_USEC": "400000"})
    manager.close()


def test_pings_while_both_get_on(watched: tuple[Manager, Notifier]) -> None:
    manager, notifier = watched
    with Pulse(health, notifier, lambda _health: "fine"):
        heard = manager.heard(1.0)
    assert heard.count("WATCHDOG=1") >= 5
    assert heard.count("STATUS=fine") == 1


@pytest.mark.parametrize("part", ["scanner_beat_seconds", "archiver_beat_seconds"])
def test_no_ping_where_one_of_them_is_frozen(watched: tuple[Manager, Notifier], part: str) -> None:
    manager, notifier = watched
    begun = time.monotonic()

    def look() -> Health:
        return health(**{part: time.monotonic() - begun})

    with Pulse(look, notifier, lambda _health: "fine"):
        assert "WATCHDOG=1" in manager.heard(0.15)
        manager.heard(0.3)
        assert manager.heard(0.6) == []


def test_no_ping_where_looking_hangs_or_fails(watched: tuple[Manager, Notifier]) -> None:
    manager, notifier = watched
    free = threading.Event()

    def hang() -> Health:
        free.wait(5)
        raise OSError("gone")

    with Pulse(hang, notifier, lambda _health: "fine"):
        assert manager.heard(0.5) == []
        free.set()
        assert manager.heard(0.5) == []


def test_no_watchdog_no_ping(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "n"))
    with Pulse(health, Notifier(manager.environment), lambda _health: "fine", 0.05):
        assert manager.heard(0.3) == ["STATUS=fine"]
    manager.close()


CHILD = textwrap.dedent("""
    import os, sys, time
    from archiver.pace import StoppedError
    from archiver.watch import service
    from archiver.watch.service import Living, Notifier, Stopping

    stopping = Stopping(Notifier(os.environ), seconds=float(sys.argv[1]))
    service._HANG_SECONDS = 1.0
    living = Living(lambda: None, stopping.broken_off)
    with stopping.watched(lambda: print("woken", flush=True)) as asked:
        print("begun", flush=True)
        asked.wait()
        until = time.monotonic() + float(sys.argv[2])
        try:
            while time.monotonic() < until:
                time.sleep(0.01)
                if sys.argv[3:] != ["hangs"]:
                    living.within(1)
            print("finished", flush=True)
        except StoppedError:
            print("broken off", flush=True)
""")


@contextlib.contextmanager
def child(within: float, work: float, *more: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(within), str(work), *more],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout
    try:
        assert started.stdout.readline() == "begun\n"
        yield started
    finally:
        started.kill()
        started.wait()
        started.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_is_begun_may_be_finished(number: signal.Signals) -> None:
    with child(within=20, work=0.2) as started:
        started.send_signal(number)
        assert started.communicate(timeout=10)[0] == "woken\nfinished\n"


def test_what_is_ignored_stays_ignored() -> None:
    """nohup archiver watch …, and the terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with child(within=20, work=0.2) as started:
            started.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            started.send_signal(signal.SIGTERM)
            assert started.communicate(timeout=10)[0] == "woken\nfinished\n"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_takes_too_long_is_broken_off() -> None:
    with child(within=0.3, work=60) as started:
        started.send_signal(signal.SIGTERM)
        assert started.communicate(timeout=10)[0] == "woken\nwoken\nbroken off\n"


def test_who_asks_twice_is_in_a_hurry() -> None:
    with child(within=60, work=60) as started:
        started.send_signal(signal.SIGINT)
        assert started.stdout
        assert started.stdout.readline() == "woken\n"
        started.send_signal(signal.SIGINT)
        assert started.communicate(timeout=10)[0] == "woken\nbroken off\n"


def test_what_hangs_is_ended_as_by_a_kill() -> None:
    with child(0.3, 60, "hangs") as started:
        started.send_signal(signal.SIGTERM)
        assert started.communicate(timeout=10)[0] == "woken\nwoken\n"
        assert started.returncode == 130


def test_many_signals_are_no_more_than_two() -> None:
    with child(within=60, work=60) as started:
        for _count in range(1000):
            started.send_signal(signal.SIGTERM)
            time.sleep(0.0005)
        assert started.communicate(timeout=10)[0].endswith("broken off\n")


def test_handlers_are_put_back(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "n"))
    before = signal.getsignal(signal.SIGTERM)
    with Stopping(Notifier(manager.environment)).watched() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(5)
    assert signal.getsignal(signal.SIGTERM) is before
    assert manager.heard() == ["STOPPING=1"]
    with Stopping(Notifier({})).watched() as asked:
        pass
    assert not asked.is_set()
    manager.close()


def test_work_that_is_broken_off_leaves_nothing(tmp_path: Path, office: Office) -> None:
    inbox, bags_dir = make_source(tmp_path / "inbox"), tmp_path / "bags"
    bags_dir.mkdir()
    broken_off, beats, done = threading.Event(), list[int](), list[str]()
    living = Living(lambda: beats.append(1), broken_off)
    living.expect(1, 1)
    living.clear()
    inner = DirectorySink(str(bags_dir), replace(options(office.ana), progress=living))
    sink = StoppableSink(inner, done.append)
    assert sink.problem() == ""
    given = [unit(inbox, "video.mp4")]
    (made,) = taken(sink, given)
    assert beats
    assert done == [made.bag]
    assert sink.find(given[0]) == made
    assert sink.is_proved(made, 0)
    broken_off.set()
    assert not sink.is_proved(made, 0)
    with pytest.raises(VaultError, match="told to stop"):
        sink.find(given[0])
    other = [unit(inbox, "sub/statement.txt")]
    (failed,) = sink.prepare(other)
    assert isinstance(failed, Failed)
    assert failed.kind == "sink"
    assert staging(bags_dir) == []
    broken_off.clear()
    prepared = [one for one in sink.prepare(other) if isinstance(one, Prepared)]
    assert len(prepared) == 1
    sink.abandon(prepared)
    sink.sweep()
    assert staging(bags_dir) == []
    assert len(taken(sink, other)) == 1
