"""The way to a TSA over HTTP (RFC 3161 §3.4).

Job: send one request, bring back the answer's bytes. Limits: believes nothing of
them. Every wait ends: connecting, reading, an answer that drips, all attempts
together. Redirects are refused, proxies are taken from the environment.
"""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from archiver.errors import RemoteError, UsageError
from archiver.i18n import _
from archiver.timestamp.token import MAX_ANSWER_BYTES

__all__ = ["PassingError", "Patience", "ask_tsa", "check_url", "fetch"]

_USER_AGENT = "archiver"
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for a TSA. ``attempt_seconds`` bounds one attempt as a whole; the
    pause doubles after each.
    """

    attempts: int = 3
    attempt_seconds: float = 15.0
    pause_seconds: float = 0.5


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected request would be sent again as something else."""

    def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
        return None


class PassingError(RemoteError):
    """Worth another attempt."""


def check_url(url: str) -> str:
    """``url`` in its one spelling, if it is one that a TSA can have. Raises UsageError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and parts.username is None and url.isprintable() and " " not in url
        _port = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            _("{url!r} is not the address of a TSA").format(url=url),
            hint=_("It begins with http:// or https://, for example http://tsa.example.org/."),
        )
    place = parts.netloc.lower()
    return urlunsplit((parts.scheme.lower(), place, parts.path or "/", parts.query, ""))


def ask_tsa(
    url: str,
    request: bytes,
    patience: Patience | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> bytes:
    """The answer to ``request`` (DER both). Raises RemoteError, UsageError."""
    headers = {
        "Content-Type": "application/timestamp-query",
        "Accept": "application/timestamp-reply",
    }
    patience = patience or Patience()
    prepared = urllib.request.Request(check_url(url), data=request, headers=headers)  # noqa: S310  # checked
    pause = patience.pause_seconds
    for attempt in range(1, patience.attempts + 1):
        try:
            return fetch(prepared, MAX_ANSWER_BYTES, patience.attempt_seconds)
        except PassingError as error:
            if attempt == patience.attempts:
                raise _unreachable(url, error.message) from error
        sleep(pause)
        pause *= 2
    raise _unreachable(url, _("no attempt was made"))


def _unreachable(url: str, reason: str) -> RemoteError:
    return RemoteError(
        _("the TSA {url} gave no answer: {reason}").format(url=url, reason=reason),
        hint=_("Try again later with 'archiver bag timestamp'; the request waits in the bag."),
    )


def fetch(request: urllib.request.Request, limit: int, seconds: float) -> bytes:
    """The body of the answer: at most ``limit`` bytes, within ``seconds``.

    Raises RemoteError; its kin PassingError where another attempt is worth it.
    """
    outcome: list[bytes | BaseException] = []

    def exchange() -> None:
        try:
            outcome.append(_exchange(request, limit, seconds))
        except BaseException as error:  # noqa: BLE001  # told to whoever waits
            outcome.append(error)

    # A socket's time-out is for each read; a server that drips would hold us for hours.
    thread = threading.Thread(target=exchange, daemon=True, name="tsa")
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise _too_slow(seconds)
    found = outcome[0]
    if isinstance(found, BaseException):
        raise found
    return found


def _too_slow(seconds: float) -> PassingError:
    return PassingError(_("no whole answer within {count} seconds").format(count=int(seconds)))


def _exchange(request: urllib.request.Request, limit: int, seconds: float) -> bytes:
    opener = urllib.request.build_opener(_NoRedirects)
    request.add_header("User-Agent", _USER_AGENT)
    try:
        with opener.open(request, timeout=seconds) as response:
            body: bytes = response.read(limit + 1)
    except urllib.error.HTTPError as error:
        error.close()
        told = _("it answered {status}").format(status=error.code)
        if error.code in _TRY_AGAIN:
            raise PassingError(told) from error
        raise _unreachable(request.full_url, told) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", None) or error
        if isinstance(cause, TimeoutError):
            raise _too_slow(seconds) from error
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise PassingError(reason) from error
    if len(body) > limit:
        raise RemoteError(
            _("{url} answered with more than {limit} bytes").format(
                url=request.full_url, limit=limit
            )
        )
    return body
