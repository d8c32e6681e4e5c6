"""Time stamps for bags that were just archived, asked for behind everybody's back.

Job: a thread that asks the TSAs, bag by bag. Limits: archiving never waits for it. A bag's
request lies in the bag: what isn't answered here is by ``archiver bag timestamp`` later.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self

from archiver.errors import ArchiverError
from archiver.seal.stamping import StampOptions, stamp_bag

__all__ = ["Stamper"]

_MOST = 100_000
"""Bags that wait for their turn; what is more is left to be asked for later."""
_AGAIN_SECONDS = 60.0
"""A TSA that didn't answer is left alone for so long."""


class Stamper:
    """``tell`` hears of the first failure after an answer (a text without names), and of
    the first answer after a failure ("").
    """

    def __init__(
        self,
        options: StampOptions,
        tell: Callable[[str], None],
        again_seconds: float = _AGAIN_SECONDS,
    ) -> None:
        self._options, self._tell, self._again = options, tell, again_seconds
        self._bags: deque[str] = deque()
        self._news, self._end = threading.Event(), threading.Event()
        self._failing = False
        self.left_out = 0
        """Bags that found no room, or weren't asked for when it ended."""
        self._thread = threading.Thread(target=self._run, name="stamper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._news.set()
        self._thread.join(self._options.patience.attempt_seconds + 1)
        self.left_out += len(self._bags)

    def add(self, bag: str) -> None:
        """A bag that is in its place."""
        if len(self._bags) >= _MOST:
            self.left_out += 1
            return
        self._bags.append(bag)
        self._news.set()

    def drain(self) -> None:
        """Ask for all that wait, once, in this thread: for a run that is to end."""
        for _bag in range(len(self._bags)):
            if self._end.is_set() or not self._one():
                return

    def _run(self) -> None:
        while not self._end.is_set():
            self._news.clear()
            while self._bags and not self._end.is_set():
                if not self._one():
                    self._end.wait(self._again)
            self._news.wait()

    def _one(self) -> bool:
        """Ask for the first bag; False where a TSA didn't answer: it stays the first."""
        try:
            bag = self._bags.popleft()
        except IndexError:
            return True
        try:
            results = stamp_bag(bag, self._options, datetime.now(UTC))
        except ArchiverError as error:  # its disk; the next audit says more
            self._say(error.message)
            return True
        problem = next((one.problem for one in results if one.problem), "")
        self._say(problem)
        if problem:
            self._bags.appendleft(bag)
        return not problem

    def _say(self, problem: str) -> None:
        if bool(problem) != self._failing:
            self._failing = bool(problem)
            self._tell(problem)
