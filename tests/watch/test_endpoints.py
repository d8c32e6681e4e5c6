"""The pages on loopback, asked by well and ill meaning clients over real sockets."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import StorageError
from archiver.watch.endpoints import Endpoints, Pages
from archiver.watch.health import Health, without_names
from tests.watch.standing import folder, health


class Standing:
    """What the watcher says, to be changed by tests."""

    def __init__(self) -> None:
        self.now = health()

    def __call__(self) -> Health:
        return self.now


@pytest.fixture
def standing() -> Standing:
    return Standing()


@pytest.fixture
def port(standing: Standing) -> Iterator[int]:
    pages = Pages(standing, stalled_seconds=60, hide=["/srv/inbox/witness-maria", "/srv/vault"])
    with Endpoints(pages, 0) as running:
        yield running.port


def ask(
    port: int, path: str, host: str = "", method: str = "GET", address: str = "127.0.0.1"
) -> Any:
    connection = HTTPConnection(address, port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


def raw(port: int, data: bytes, seconds: float = 10) -> bytes:
    """What comes back for these bytes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        try:
            while more := connection.recv(65536):
                found += more
        except ConnectionResetError:
            pass
        return found


def test_all_is_well(port: int) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/readyz?x=1"):
        status, body, headers = ask(port, path)
        assert status == 200, body
        assert headers["Cache-Control"] == "no-store"
        assert "Python" not in headers["Server"]
    assert json.loads(ask(port, "/readyz")[1])["reasons"] == []
    assert ask(port, "/healthz", method="HEAD")[:2] == (200, "")


def test_why_it_is_not_ready(port: int, standing: Standing) -> None:
    standing.now = health(
        folder(paused="/srv/inbox/witness-maria is not there", seen=3, quarantined=2),
        folder(path="/srv/two", degraded="no more inotify watches"),
        problem="no space left while writing /srv/vault/bags/x",
    )
    status, body, _headers = ask(port, "/readyz")
    assert status == 503
    found = json.loads(body)
    assert found["ready"] is False
    assert found["reasons"] == [
        {"folder": None, "kind": "target", "reason": "no space left while writing …"},
        {"folder": 1, "kind": "folder", "reason": "… is not there"},
    ]
    assert found["degraded"] == [{"folder": 2, "reason": "no more inotify watches"}]
    assert (found["waiting"], found["quarantined"]) == (3, 2)
    assert "maria" not in body
    assert ask(port, "/healthz")[0] == 200


def test_a_watcher_that_stands_still_is_not_healthy(port: int, standing: Standing) -> None:
    standing.now = health(archiver_beat_seconds=61.0)
    status, body, _headers = ask(port, "/healthz")
    assert status == 503
    assert json.loads(body)["beats"]["archiver_seconds"] == 61.0


LINE = re.compile(
    r"(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\})? [-+.e0-9]+)"
)


def test_metrics_are_prometheus_text(port: int, standing: Standing) -> None:
    standing.now = health(
        folder(archived=5, hints_lost=7, scan_age_seconds=1.5), folder(path="/b", paused="gone")
    )
    body = ask(port, "/metrics")[1]
    lines = body.splitlines()
    assert body.endswith("\n")
    assert all(LINE.fullmatch(line) for line in lines)
    assert 'archiver_watch_files{folder="1",state="archived"} 5' in lines
    assert 'archiver_watch_hints_lost_total{folder="1"} 7' in lines
    assert 'archiver_watch_paused{folder="2"} 1' in lines
    assert 'archiver_watch_scan_age_seconds{folder="1"} 1.5' in lines
    assert not any(line.startswith('archiver_watch_scan_age_seconds{folder="2"') for line in lines)
    assert "archiver_watch_ready 0" in lines
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))
    assert "maria" not in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:9"])
def test_hosts_of_this_machine(port: int, host: str) -> None:
    assert ask(port, "/healthz", host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "[::2]", "", " ", "localhost@x"],
)
def test_other_hosts_are_turned_away(port: int, host: str) -> None:
    answer = raw(port, f"GET /readyz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 421 ")
    assert b"ready" not in answer


def test_no_host_or_two_are_turned_away(port: int) -> None:
    assert b" 421 " in raw(port, b"GET /readyz HTTP/1.0\r\n\r\n")
    assert b" 421 " in raw(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /../etc/passwd HTTP/1.1", b"404"),
        (b"GET /metrics/ HTTP/1.1", b"404"),
        (b"POST /healthz HTTP/1.1", b"501"),
        (b"DELETE /healthz HTTP/1.1", b"501"),
        (b"nonsense", b"400"),
    ],
)
def test_nothing_else_is_there(port: int, request_line: bytes, status: bytes) -> None:
    assert status in raw(port, request_line + b"\r\nHost: localhost\r\n\r\n")


def test_long_requests_are_cut_off(port: int) -> None:
    assert raw(port, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 9_000_0) == b""
    many = b"".join(b"X-%d: y\r\n" % number for number in range(500))
    assert b"alive" not in raw(
        port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n"
    )
    assert ask(port, "/healthz")[0] == 200


def test_a_client_that_drips_is_cut_off_in_time(port: int) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            for _second in range(40):
                connection.sendall(b"x")
                time.sleep(0.25)
        except OSError:
            pass
    assert time.monotonic() - begun < 8


def test_more_clients_than_are_served_stop_nothing(port: int) -> None:
    hanging = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(60)]
    try:
        assert threading.active_count() < 30
        time.sleep(3.5)  # those served are cut off
        assert ask(port, "/healthz")[0] == 200
    finally:
        for one in hanging:
            one.close()


def test_a_look_that_fails_answers_nothing_and_stops_nothing(port: int, standing: Standing) -> None:
    standing.now = None  # type: ignore[assignment]
    assert raw(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
    standing.now = health()
    assert ask(port, "/readyz")[0] == 200


def test_only_loopback_is_listened_on(port: int) -> None:
    listening = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    at = {
        line[1].partition(":")[0]
        for line in listening
        if line[1].endswith(f":{port:04X}") and line[3] == "0A"
    }
    assert at <= {"0100007F", "00000000000000000000000001000000"}
    assert "0100007F" in at


def test_ipv6_loopback(port: int) -> None:
    try:
        socket.create_connection(("::1", port), timeout=5).close()
    except OSError:
        pytest.skip("no IPv6 here")
    assert ask(port, "/healthz", f"[::1]:{port}", address="::1")[0] == 200


def test_a_port_that_is_taken(port: int, standing: Standing) -> None:
    with pytest.raises(StorageError, match=str(port)) as caught:
        Endpoints(Pages(standing, stalled_seconds=1), port)
    assert "--listen" in caught.value.hint
    with pytest.raises(StorageError):
        Endpoints(Pages(standing, stalled_seconds=1), 70_000)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("nothing in it", "nothing in it"),
        ("/srv/inbox: not there", "…: not there"),
        ("/srv/inbox/Maria Lopez.mp4: gone", "…"),
        ("can't open '/x/Maria Lopez': gone", "can't open '…"),
        ("in sub/Maria Lopez", "in …"),
        ("two\nlines/with names\nMaria", "two\n…"),
    ],
)
def test_texts_without_names(text: str, plain: str) -> None:
    assert without_names(text, ["/srv/inbox", ""]) == plain
