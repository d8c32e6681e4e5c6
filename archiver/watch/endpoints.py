"""/healthz, /readyz and /metrics for programs on this machine.

Job: answer GET on loopback with how the watcher stands. Limits: off unless asked for, no
file names, no writing, nothing but these three pages. Who asks may hang, send rubbish or
come a thousand at once: each gets a few seconds, a few are served at a time, and the
watcher never waits for any of them. A page in a browser that points its name at 127.0.0.1
(DNS rebinding) is turned away by the Host header.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, TCPServer, ThreadingMixIn
from typing import Any, Self

from archiver import __version__
from archiver.errors import StorageError
from archiver.i18n import _
from archiver.watch.health import FolderHealth, Health, without_names
from archiver.watch.model import State

__all__ = ["Endpoints", "Pages"]

_MOST_AT_ONCE = 8
_MOST_REQUEST_BYTES = 8192
_REQUEST_SECONDS = 3.0
"""For a whole request, however slowly it drips in, and again for the answer."""
_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_JSON, _PROMETHEUS = "application/json", "text/plain; version=0.0.4; charset=utf-8"

Answer = tuple[HTTPStatus, str, str]
"""Status, content type, body."""


class Pages:
    """What is answered, from a look at the watcher. Nothing in it names a file or folder:
    folders are numbers, in the order in which they were given.
    """

    def __init__(
        self, look: Callable[[], Health], *, stalled_seconds: float, hide: Iterable[str] = ()
    ) -> None:
        self._look, self._stalled, self._hide = look, stalled_seconds, tuple(hide)

    def answer(self, path: str) -> Answer | None:
        """The page at ``path``, None where there is none."""
        pages = {"/healthz": self._alive, "/readyz": self._ready, "/metrics": self._metrics}
        page = pages.get(path.partition("?")[0])
        return page(self._look()) if page else None

    def _alive(self, health: Health) -> Answer:
        alive = health.oldest_beat_seconds < self._stalled
        document = {
            "schema": "archiver/watch-health/1",
            "alive": alive,
            "beats": {
                "scanner_seconds": round(health.scanner_beat_seconds, 1),
                "archiver_seconds": round(health.archiver_beat_seconds, 1),
            },
        }
        return _status(good=alive), _JSON, json.dumps(document)

    def _ready(self, health: Health) -> Answer:
        reasons = health.reasons()
        document = {
            "schema": "archiver/watch-ready/1",
            "ready": not reasons,
            "reasons": [
                {"folder": one.folder or None, "kind": one.kind, "reason": self._plain(one.text)}
                for one in reasons
            ],
            "degraded": [
                {"folder": number, "reason": self._plain(one.degraded)}
                for number, one in enumerate(health.folders, start=1)
                if one.degraded
            ],
            "waiting": health.waiting,
            "quarantined": health.count(State.QUARANTINED),
        }
        return _status(good=not reasons), _JSON, json.dumps(document, ensure_ascii=False)

    def _metrics(self, health: Health) -> Answer:
        return HTTPStatus.OK, _PROMETHEUS, "".join(f"{line}\n" for line in _lines(health))

    def _plain(self, text: str) -> str:
        return without_names(text, self._hide)


def _status(*, good: bool) -> HTTPStatus:
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE


_OF_FOLDERS: tuple[tuple[str, str, str, Callable[[FolderHealth], float | None]], ...] = (
    ("paused", "gauge", "1 while the folder can't be read.", lambda one: bool(one.paused)),
    ("degraded", "gauge", "1 while only scans find files.", lambda one: bool(one.degraded)),
    ("waiting_files", "gauge", "Files yet to be archived.", lambda one: one.waiting),
    (
        "oldest_waiting_seconds",
        "gauge",
        "How long the oldest of them has waited.",
        lambda one: one.oldest_waiting_seconds,
    ),
    (
        "scan_age_seconds",
        "gauge",
        "Since the last whole scan.",
        lambda one: one.scan_age_seconds,
    ),
    ("scan_seconds", "gauge", "How long it took.", lambda one: one.scan_took_seconds),
    (
        "hints_lost_total",
        "counter",
        "Events that the system dropped; a scan made up for them.",
        lambda one: one.hints_lost,
    ),
)


def _lines(health: Health) -> Iterator[str]:
    """The text format of Prometheus, 0.0.4."""
    yield from _metric("build_info", "gauge", "The program.", {f'{{version="{__version__}"}}': 1})
    yield from _metric("ready", "gauge", "1 while files are archived.", not health.reasons())
    yield from _metric("target_ready", "gauge", "1 while bags can be made.", not health.problem)
    yield from _metric("queued_units", "gauge", "Bags to be made now.", health.queue)
    beats = {
        '{part="scanner"}': health.scanner_beat_seconds,
        '{part="archiver"}': health.archiver_beat_seconds,
    }
    yield from _metric("beat_age_seconds", "gauge", "Since each part last got on.", beats)
    counts = {
        f'{{folder="{number}",state="{state.value}"}}': one.count(state)
        for number, one in enumerate(health.folders, start=1)
        for state in State
    }
    yield from _metric("files", "gauge", "Files by the state they stand in.", counts)
    for name, kind, text, value in _OF_FOLDERS:
        found = {
            f'{{folder="{number}"}}': value(one)
            for number, one in enumerate(health.folders, start=1)
        }
        known = {label: figure for label, figure in found.items() if figure is not None}
        yield from _metric(name, kind, text, known)


def _metric(name: str, kind: str, text: str, values: dict[str, Any] | float) -> Iterator[str]:
    yield f"# HELP archiver_watch_{name} {text}"
    yield f"# TYPE archiver_watch_{name} {kind}"
    for label, value in (values if isinstance(values, dict) else {"": values}).items():
        yield f"archiver_watch_{name}{label} {float(value):g}"


class Endpoints:
    """The pages on 127.0.0.1, and on ::1 where there is such an address.

    ``port`` 0 takes a free one; :attr:`port` says which. Raises StorageError where the port
    is taken.
    """

    def __init__(self, pages: Pages, port: int) -> None:
        self._servers = [_listen(pages, socket.AF_INET, "127.0.0.1", port)]
        self.port = int(self._servers[0].server_address[1])
        with contextlib.suppress(StorageError):  # a machine without IPv6
            self._servers.append(_listen(pages, socket.AF_INET6, "::1", self.port))

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True, name="endpoints").start()
        return self

    def __exit__(self, *_error: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _listen(pages: Pages, family: int, host: str, port: int) -> _Server:
    try:
        return _Server(pages, family, (host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            _("port {port} can't be listened on: {reason}").format(port=port, reason=reason),
            hint=_("Choose another one with --listen PORT."),
        ) from error


class _Server(ThreadingMixIn, TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, pages: Pages, family: int, address: tuple[str, int]) -> None:
        self.pages = pages
        self.address_family = family
        self._free = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Who comes while all are busy is turned away, not kept."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are none of the watcher's business."""


class _Handler(BaseHTTPRequestHandler):
    server: BaseServer  # a _Server
    server_version, sys_version = "archiver", ""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(_REQUEST_SECONDS)
        self.rfile = io.BufferedReader(io.BytesIO(_read_head(self.connection)))

    def do_GET(self) -> None:
        host = self.headers.get_all("Host") or []
        if len(host) != 1 or not _HOST.fullmatch(host[0].strip()):
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", "not the host of this page\n")
            return
        assert isinstance(self.server, _Server)
        found = self.server.pages.answer(self.path)
        self._send(*(found or (HTTPStatus.NOT_FOUND, "text/plain", "no such page\n")))

    do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

    def _send(self, status: HTTPStatus, kind: str, body: str) -> None:
        data = body.encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its own name
        """Requests aren't logged: a thousand of them would be a thousand lines."""


def _read_head(connection: socket.socket) -> bytes:
    """A request up to its empty line; what is longer or slower than allowed is cut off
    before it, and so is no request.
    """
    until, data = time.monotonic() + _REQUEST_SECONDS, b""
    while b"\r\n\r\n" not in data and b"\n\n" not in data:
        left = until - time.monotonic()
        if left <= 0 or len(data) > _MOST_REQUEST_BYTES:
            return b""
        connection.settimeout(left)
        try:
            more = connection.recv(_MOST_REQUEST_BYTES)
        except OSError:
            return b""
        if not more:
            return b""
        data += more
    connection.settimeout(_REQUEST_SECONDS)
    return data if len(data) <= 2 * _MOST_REQUEST_BYTES else b""
