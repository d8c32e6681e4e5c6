"""A real TSA on loopback in all its moods: good, slow, dead, wrong, garbage, behind a proxy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import RemoteError, UsageError
from archiver.pki.certificates import Certificate, read_certificates
from archiver.pki.cms import CmsError, MismatchError
from archiver.seal.proofs import ProofPlace
from archiver.seal.stamping import StampOptions, stamp_bag
from archiver.timestamp.client import Patience, ask_tsa, check_url
from archiver.timestamp.request import make_request, parse_request
from archiver.timestamp.token import MAX_ANSWER_BYTES, check_answer, parse_answer
from tests.sealing import (
    DAY,
    IMPATIENT,
    NOW,
    Office,
    check,
    demo_tsa,
    found,
    make_source,
    now,
    seal,
    stamps_of,
)

DATA = b"a signature"


def status(handler: BaseHTTPRequestHandler, code: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(code)
    for key, value in headers.items():
        handler.send_header(key, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class Moods:
    """How a TSA can answer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen = 0
        self.stamp = demo_tsa().stamp

    def good(self, handler: BaseHTTPRequestHandler, query: bytes) -> None:
        status(handler, 200, self.stamp(self.directory, query))

    def slow(self, handler: BaseHTTPRequestHandler, _query: bytes) -> None:
        time.sleep(3)
        status(handler, 200, b"late")

    def drip(self, handler: BaseHTTPRequestHandler, _query: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        for _number in range(40):
            handler.wfile.write(b"0")
            handler.wfile.flush()
            time.sleep(0.1)

    def garbage(self, handler: BaseHTTPRequestHandler, _query: bytes) -> None:
        status(handler, 200, b"<html>Please log in to the hotel's network</html>")

    def empty(self, handler: BaseHTTPRequestHandler, _query: bytes) -> None:
        status(handler, 200)

    def oversized(self, handler: BaseHTTPRequestHandler, _query: bytes) -> None:
        status(handler, 200, b"0" * (MAX_ANSWER_BYTES + 10))

    def wrong_nonce(self, handler: BaseHTTPRequestHandler, query: bytes) -> None:
        asked = parse_request(query)
        assert asked.nonce is not None
        status(handler, 200, self.stamp(self.directory, make_request(DATA, asked.nonce ^ 1)))

    def wrong_imprint(self, handler: BaseHTTPRequestHandler, query: bytes) -> None:
        asked = parse_request(query)
        assert asked.nonce is not None
        status(handler, 200, self.stamp(self.directory, make_request(b"other", asked.nonce)))

    def refusing(self, handler: BaseHTTPRequestHandler, _query: bytes) -> None:
        status(handler, 200, self.stamp(self.directory, b"not a request"))

    def redirecting(self, handler: BaseHTTPRequestHandler, _query: bytes) -> None:
        status(handler, 302, Location="file:///etc/passwd")

    def forbidden(self, handler: BaseHTTPRequestHandler, _query: bytes) -> None:
        status(handler, 403)

    def recovering(self, handler: BaseHTTPRequestHandler, query: bytes) -> None:
        self.seen += 1
        if self.seen == 1:
            status(handler, 503)
        else:
            self.good(handler, query)


@contextmanager
def serving(directory: Path, mood: str) -> Iterator[Any]:
    moods = Moods(directory)
    with demo_tsa().Tsa(directory) as running:
        running.answer = lambda handler, query: _quietly(getattr(moods, mood), handler, query)
        yield running


def _quietly(answer: Any, handler: BaseHTTPRequestHandler, query: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # the client has had enough
        answer(handler, query)


def ask(url: str) -> None:
    """One whole exchange, as sealing does it."""
    request = make_request(DATA, 12345)
    check_answer(parse_answer(ask_tsa(url, request, IMPATIENT)), parse_request(request), DATA)


def test_a_good_one(tsa: Any) -> None:
    ask(tsa.url)


def test_one_that_recovers(tsa: Any) -> None:
    with serving(tsa.directory, "recovering") as moody:
        ask(moody.url)


@pytest.mark.parametrize(
    ("mood", "error", "told"),
    [
        ("slow", RemoteError, "seconds"),
        ("drip", RemoteError, "seconds"),
        ("garbage", CmsError, "not a time-stamp answer"),
        ("empty", CmsError, "not a time-stamp answer"),
        ("oversized", RemoteError, "more than"),
        ("wrong_nonce", MismatchError, "another request"),
        ("wrong_imprint", MismatchError, "other bytes"),
        ("refusing", CmsError, "refused"),
        ("redirecting", RemoteError, "302"),
        ("forbidden", RemoteError, "403"),
    ],
)
def test_a_bad_one(mood: str, error: type[Exception], told: str, tsa: Any) -> None:
    begun = time.monotonic()
    with serving(tsa.directory, mood) as moody, pytest.raises(error, match=told):
        ask(moody.url)
    assert time.monotonic() - begun < 8


def test_a_dead_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    pauses: list[float] = []
    patience = Patience(attempts=3, attempt_seconds=2, pause_seconds=0.5)
    with pytest.raises(RemoteError, match="no answer") as caught:
        ask_tsa(url, b"x", patience, sleep=pauses.append)
    assert pauses == [0.5, 1.0]
    assert "bag timestamp" in caught.value.hint


def test_one_that_hangs_up() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def hang_up() -> None:
            for _number in range(2):
                server.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(RemoteError):
            ask_tsa(f"http://127.0.0.1:{server.getsockname()[1]}/", b"x", IMPATIENT)
        thread.join(5)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tsa.example.org",
        "ftp://x/",
        "file:///etc/passwd",
        "http://",
        "http://u:p@x/",
        "http://x:99999999/",
        "http://x/\n",
        "http://a b/",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_url(url)
    assert "http" in caught.value.hint


def test_a_proxy_from_the_environment(tsa: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked for the TSA's address; it answers in its stead."""
    paths: list[str] = []
    moods = Moods(tsa.directory)

    def answer(handler: BaseHTTPRequestHandler, query: bytes) -> None:
        paths.append(handler.path)
        moods.good(handler, query)

    with demo_tsa().Tsa(tsa.directory) as proxy:
        proxy.answer = answer
        for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        ask("http://tsa.invalid/stamp")
    assert paths == ["http://tsa.invalid/stamp"]


# -- what it means for a bag


@pytest.fixture
def pending(office: Office, tmp_path: Path, tsa: Any) -> Path:
    """A sealed bag whose request waits."""
    source = make_source(tmp_path / "source")
    return seal(source, tmp_path / "bag", [office.ana], urls=[tsa.url], stamp=False)


@pytest.mark.parametrize(
    "mood",
    ["slow", "garbage", "oversized", "wrong_nonce", "wrong_imprint", "refusing", "redirecting"],
)
def test_a_bag_stays_sealed_and_the_request_waits(
    mood: str, office: Office, tmp_path: Path, tsa: Any
) -> None:
    with serving(tsa.directory, mood) as moody:
        bag = seal(
            make_source(tmp_path / "s"),
            tmp_path / "bag",
            [office.ana],
            urls=[moody.url],
            stamp=False,
        )
        options = StampOptions(urls=(moody.url,), patience=IMPATIENT)
        (result,) = stamp_bag(str(bag), options, now())
    assert result.problem
    proofs = ProofPlace(str(bag)).files()
    assert (len(proofs.stamps), len(proofs.requests)) == (0, 1)
    report = check(bag, office.anchors())
    assert report.exit_code == 0
    assert report.findings.has("W-TIM-011")


def test_a_bag_that_waited_is_stamped_later_and_only_once(
    pending: Path, tsa: Any, office: Office, tsa_root: Certificate
) -> None:
    options = StampOptions(urls=(tsa.url,), roots=(tsa_root,))
    (result,) = stamp_bag(str(pending), options, now())
    assert result.gen_time is not None
    assert stamp_bag(str(pending), options, now()) == ()
    proofs = ProofPlace(str(pending)).files()
    assert (len(proofs.stamps), len(proofs.requests)) == (1, 0)
    assert check(pending, office.anchors(tsa_roots=(tsa_root,))).exit_code == 0


def test_an_answer_from_another_root_than_the_pinned_one_is_refused(
    pending: Path, tsa: Any, office: Office
) -> None:
    options = StampOptions(urls=(tsa.url,), roots=(office.ca.certificate,))
    (result,) = stamp_bag(str(pending), options, now())
    assert "pinned" in result.problem
    assert stamps_of(pending) == []


@pytest.mark.parametrize("kind", ["expired", "unknown-root"])
def test_a_tsa_that_is_none(kind: str, office: Office, tmp_path: Path) -> None:
    """The real openssl stamps with whatever certificate it is given: we don't believe it."""
    module, directory = demo_tsa(), tmp_path / "tsa"
    module.make_certificates(
        directory,
        first=NOW - 30 * DAY if kind == "expired" else None,
        last=NOW - DAY if kind == "expired" else None,
    )
    (root,) = read_certificates((directory / "root.pem").read_bytes())
    with module.Tsa(directory) as running:
        source = make_source(tmp_path / "s")
        bag = seal(source, tmp_path / "bag", [office.ana], urls=[running.url], stamp=False)
        options = StampOptions(urls=(running.url,), patience=IMPATIENT)
        stamp_bag(str(bag), options, now())
    roots = (office.false_ca.certificate,) if kind == "unknown-root" else (root,)
    report = check(bag, office.anchors(tsa_roots=roots))
    assert report.exit_code == 4
    assert "E-TIM-003" in found(report)
    (problem,) = [one.message for one in report.findings if one.code == "E-TIM-003"]
    assert ("not valid at that time" if kind == "expired" else "doesn't lead") in problem
