"""Traffic in virtual time: callers that arrive, a backend that answers them, an agenda that says what happens next.

The same seed and the same dials at the same instants give the same traffic to the last call: turning a
dial changes what a random draw means, never which draw is next. One thread at a time; seconds everywhere.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Coroutine, Generator, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Agenda", "Answer", "Arrivals", "Backend", "BackendError"]


class Agenda:
    """Coroutines that wait in virtual time, run one at a time in the order of their instants (ties: first come first).

    A coroutine waits with `await agenda.sleep(seconds)`; it may await nothing else that needs an event loop.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        self._due: list[tuple[float, int, Coroutine[float, None, Any]]] = []
        self._tickets = itertools.count()

    def clock(self) -> float:
        """The virtual instant, as the `clock` that a primitive takes."""
        return self.now

    def start(self, task: Coroutine[float, None, Any], at: float | None = None) -> None:
        """Begin `task` at the instant `at` (now, when None). Raises ValueError for an instant in the past."""
        instant = self.now if at is None else at
        if instant < self.now:
            raise ValueError(f"a task cannot start at {instant:.3f} s: it is {self.now:.3f} s already")
        heapq.heappush(self._due, (instant, next(self._tickets), task))

    def sleep(self, seconds: float) -> _Sleep:
        """Awaitable: resume after `seconds`."""
        return _Sleep(seconds)

    def run_until(self, instant: float) -> None:
        """Run all that is due up to and including `instant`, and stop there. What a task raises is raised here."""
        while self._due and self._due[0][0] <= instant:
            self.now, _, task = heapq.heappop(self._due)
            try:
                wait = task.send(None)
            except StopIteration:
                continue
            heapq.heappush(self._due, (self.now + wait, next(self._tickets), task))
        self.now = max(self.now, instant)

    def close(self) -> None:
        """Drop the tasks that still wait; their `finally` blocks run."""
        for _, _, task in self._due:
            task.close()
        self._due.clear()


class _Sleep:
    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = max(0.0, seconds)

    def __await__(self) -> Generator[float, None, None]:
        yield self.seconds


class Arrivals:
    """A Poisson process whose rate may change at any time: independent callers who do not know of each other."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"arrivals/{seed}")
        self._left = self._random.expovariate(1.0)

    def between(self, start: float, end: float, rate: float) -> Iterator[float]:
        """The arrivals in (start, end] at `rate` per second. Ask for consecutive intervals, and use each up."""
        instant = start
        while rate > 0 and instant + self._left / rate <= end:
            instant += self._left / rate
            self._left = self._random.expovariate(1.0)
            yield instant
        self._left -= (end - instant) * rate


class BackendError(Exception):
    """The backend answered with an error."""


@dataclass(frozen=True)
class Answer:
    """What becomes of one call: it takes `took` seconds, then succeeds or fails."""

    took: float
    failed: bool


class Backend:
    """A service that answers after a while, well or badly, as its two dials say.

    `latency` is the median of a log-normal answer time in seconds (the 99th percentile is 1.8 times the median);
    `error_rate` is the fraction of calls that fail. Both dials may be turned at any time.
    """

    _SPREAD = 0.25

    def __init__(self, *, latency: float = 0.2, error_rate: float = 0.0, seed: int = 1) -> None:
        self._random = random.Random(f"backend/{seed}")
        self.latency = latency
        self.error_rate = error_rate

    def answer(self) -> Answer:
        """The fate of the next call, as the dials stand now."""
        luck, spread = self._random.random(), self._random.gauss(0.0, 1.0)
        return Answer(self.latency * math.exp(self._SPREAD * spread), luck < self.error_rate)
