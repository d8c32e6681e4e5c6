"""Signing while nobody is there: a key that can be opened later, and what waits for it.

Job: give the sink who signs, or say why it has to wait. Limits: knows no keys itself: who
opens them is given. Two lanes ask; a key is opened once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from archiver.errors import ArchiverError, KeyringError
from archiver.i18n import _
from archiver.seal import Sealing

__all__ = ["Opener", "Warn"]

_AGAIN_SECONDS = 10.0
"""Until a key that couldn't be opened is tried again: deriving one costs a second."""
_CHECK_SECONDS = 60.0


class Warn(Protocol):
    """Tells that bags are made ``unsigned`` from now on, or no longer."""

    def __call__(self, text: str, *, unsigned: bool) -> None:
        """Once for each change."""


class Opener:
    """``open_keys`` gives open keys or raises ArchiverError; ``check`` raises where they may
    not be used any more (expired, revoked); ``first`` are open already. A failure is kept
    for a while. Without a key bags wait, or are unsigned where the policy allows it.
    """

    def __init__(
        self,
        open_keys: Callable[[], Sealing],
        check: Callable[[Sealing], None],
        *,
        allow_unsigned: bool,
        warn: Warn,
        first: Sealing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_keys, self._check, self._clock = open_keys, check, clock
        self._allow, self._warn = allow_unsigned, warn
        self._sealing = first
        self._problem = ""
        self._told = ""
        self._next = float("-inf")
        self._guard = threading.Lock()

    def sealing(self) -> Sealing | None:
        """Who signs; None where bags are to stay unsigned. Raises KeyringError where they
        have to wait.
        """
        with self._guard:
            self._look()
            if self._problem and not self._allow:
                raise KeyringError(_("no key to sign with: {reason}").format(reason=self._problem))
            if bool(self._problem) != bool(self._told):
                self._tell()
            return self._sealing

    def _look(self) -> None:
        if self._clock() < self._next:
            return
        try:
            if self._sealing is None:
                self._sealing = self._open_keys()
            self._check(self._sealing)
        except ArchiverError as error:
            self._sealing, self._problem = None, error.message
            self._next = self._clock() + _AGAIN_SECONDS
        else:
            self._problem, self._next = "", self._clock() + _CHECK_SECONDS

    def _tell(self) -> None:
        self._told = self._problem
        if self._problem:
            text = _("bags are made unsigned, as the policy allows: {reason}")
            self._warn(text.format(reason=self._problem), unsigned=True)
        else:
            self._warn(_("bags are signed again"), unsigned=False)
