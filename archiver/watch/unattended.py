"""Signing while nobody is there: a key that can be opened later, and what waits for it.

Job: a :class:`~archiver.watch.model.Sink` around the real one, which is opened with a key as
soon as there is one, and until then holds files back or makes unsigned bags, as the policy
says. Limits: knows no keys itself: who opens them is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from archiver.errors import ArchiverError
from archiver.i18n import _
from archiver.seal import Sealing
from archiver.watch.model import Done, Failed, Prepared, Sink, Unit

__all__ = ["KeySink", "Opener", "Warn"]

_AGAIN_SECONDS = 10.0
"""Until a key that couldn't be opened is tried again: deriving one costs a second."""
_CHECK_SECONDS = 60.0


class Opener:
    """``open_keys`` gives open keys or raises ArchiverError; ``check`` raises where they may
    not be used any more (expired, revoked); ``first`` are open already. A failure is kept
    for a while, and told.
    """

    def __init__(
        self,
        open_keys: Callable[[], Sealing],
        check: Callable[[Sealing], None],
        first: Sealing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_keys, self._check, self._clock = open_keys, check, clock
        self._sealing = first
        self._problem = ""
        self._next = float("-inf")

    def look(self) -> tuple[Sealing | None, str]:
        """The open keys, or why there are none."""
        now = self._clock()
        if now < self._next:
            return self._sealing, self._problem
        try:
            if self._sealing is None:
                self._sealing = self._open_keys()
            self._check(self._sealing)
        except ArchiverError as error:
            self._sealing, self._problem = None, error.message
            self._next = self._clock() + _AGAIN_SECONDS
        else:
            self._problem, self._next = "", self._clock() + _CHECK_SECONDS
        return self._sealing, self._problem


class Warn(Protocol):
    """Tells that bags are made ``unsigned`` from now on, or no longer."""

    def __call__(self, text: str, *, unsigned: bool) -> None:
        """Once for each change."""


class KeySink:
    """``make`` gives a sink that signs with the keys it is given, or with none. What was
    prepared is committed by the sink that prepared it.
    """

    def __init__(
        self,
        make: Callable[[Sealing | None], Sink],
        opener: Opener,
        *,
        allow_unsigned: bool,
        warn: Warn,
    ) -> None:
        self._make, self._opener, self._warn = make, opener, warn
        self._allow = allow_unsigned
        self._sealing: Sealing | None = None
        self._warned = False
        self._sink = make(None)

    def problem(self) -> str:
        """See the protocol. The key is looked for here, between batches."""
        sealing, missing = self._opener.look()
        if sealing is not self._sealing:
            self._sealing = sealing
            self._sink = self._make(sealing)
        if missing and not self._allow:
            return _("no key to sign with: {reason}").format(reason=missing)
        if bool(missing) != self._warned:
            self._warned = bool(missing)
            text = _("bags are made unsigned, as the policy allows: {reason}")
            text = text.format(reason=missing) if missing else _("bags are signed again")
            self._warn(text, unsigned=self._warned)
        return self._sink.problem()

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        """See the protocol."""
        if self._sealing is None and not self._allow:
            reason = self.problem()
            if reason:
                return [Failed(unit=unit, kind="sink", reason=reason) for unit in units]
        return self._sink.prepare(units)

    def commit(self, prepared: Sequence[Prepared]) -> list[Done | Failed]:
        """See the protocol."""
        return self._sink.commit(prepared)

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        """See the protocol."""
        self._sink.abandon(prepared)

    def find(self, unit: Unit) -> Done | None:
        """See the protocol."""
        return self._sink.find(unit)

    def is_proved(self, done: Done, replicas: int) -> bool:
        """See the protocol."""
        return self._sink.is_proved(done, replicas)

    def sweep(self) -> None:
        """See the protocol."""
        self._sink.sweep()
