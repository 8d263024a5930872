"""A shop's users, a recommender that can die, and the service between them in simulated time: what the pictures of
exercise 17.2.4 show.

The same seed and the same dials at the same instants give the same answers, whoever draws them.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from shared.resilience.fallback import RecommendationService
from shared.simulation.traffic import Arrivals
from shared.widgets.live_chart import Frame, Line

__all__ = ["BIN", "ERRORS", "GOALS", "LEVELS", "RATE", "USERS", "FallbackSimulation", "restart_table"]

USERS = 2000
RATE = 12.0
"""Questions per second: a user comes back every 167 s on average."""
ERRORS = 0.1
"""The fraction of calls that fail on a good day. With these three, 2 % of the answers are static."""
BIN = 10.0
"""Seconds of one column."""
RECENT = 60.0
"""The bar of shares shows so many last seconds."""

LEVELS = {
    "live": Line("live", "accepted"),
    "cache": Line("cache", "waiting"),
    "static": Line("static list", "slow"),
}
"""The levels from the best to the last, which is also from the bottom of a column to its top."""
GOALS = {"live": 0.90, "cache": 0.08, "static": 0.02}
"""The shares of a good day."""

_WARM_UP = 600.0
_POPULAR = [f"bestseller {number}" for number in range(1, 4)]

Seen = tuple[str, Any]


class FallbackSimulation:
    """Users who ask `service` at random instants, before a client that can be killed. See `LivePanel`'s Simulation.

    `service` is a class with the interface of the exercise. `keep` is told (instant, user, what the user got) of each
    question; not of those before 0 s, which fill the cache.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        service: Callable[..., Any] = RecommendationService,
        keep: Callable[[float, str, Seen], object] | None = None,
    ) -> None:
        self.up, self.errors, self.rate = True, ERRORS, RATE
        self.now = -_WARM_UP
        self.columns: list[dict[str, float | None]] = []
        self._instant = self.now
        self._cache: dict[Any, Any] = {}
        self._service = service(self, self._cache, _POPULAR, self, self._clock)
        self._keep = keep
        self._arrivals, self._random = Arrivals(seed), random.Random(f"users/{seed}")
        self._lucky = True
        self._column: Counter[str] = Counter()
        self._recent: deque[tuple[float, str]] = deque()
        self._rows: list[list[float | None]] = []
        self._news = ""
        self.step(_WARM_UP)

    def set(self, control: str, value: float) -> None:
        """Turn a dial: "up", "errors" or "rate"."""
        if control == "up" and bool(value) is not self.up:
            self._news = "The recommender is back." if value else "The recommender is dead."
            self.up = bool(value)
        elif control != "up":
            setattr(self, control, value)

    def restart(self) -> None:
        """Empty the cache, as a restart of the service does when the cache is in its memory."""
        self._cache.clear()

    def step(self, dt: float) -> None:
        """Let `dt` seconds pass."""
        end = self.now + dt
        while self.now < end:
            edge = (self.now // BIN + 1) * BIN
            until = min(edge, end)
            for instant in self._arrivals.between(self.now, until, self.rate):
                self._visit(instant)
            self.now = until
            if until == edge:
                self._end_column()

    def shares(self) -> dict[str, float | None]:
        """The share of each level in the last minute's answers; None while there are none."""
        counts = Counter(level for _, level in self._recent)
        return _shares(counts)

    def frame(self) -> Frame:
        """What happened since the last frame: see `Frame`."""
        rows, self._rows = self._rows, []
        values = self.shares()
        return {
            "t": self.now,
            "words": self._words(values),
            "tone": "accepted" if self.up else "failed",
            "news": self._news,
            "panes": {"shares": rows, "bar": {"values": values, "judged": True}},
        }

    def get(self, user: str) -> list[str]:
        """The client: one user in ten has no recommendations, which is an answer too."""
        if not self.up:
            raise ConnectionRefusedError("the recommender is dead")
        if not self._lucky:
            raise TimeoutError("no answer in time")
        return [] if user.endswith("0") else [f"book for {user}"]

    def inc(self, level: str) -> None:
        """The metrics."""
        self._column[level] += 1
        self._recent.append((self._instant, level))
        while self._recent[0][0] <= self._instant - RECENT:
            self._recent.popleft()

    def _clock(self) -> float:
        return self._instant

    def _visit(self, instant: float) -> None:
        self._instant = instant
        user, luck = f"user {self._random.randrange(USERS)}", self._random.random()
        self._lucky = luck >= self.errors
        seen: Seen
        try:
            answer = self._service.recommend(user)
            seen = (str(getattr(answer, "level", type(answer).__name__)), getattr(answer, "items", None))
        except NotImplementedError:
            raise
        except Exception as error:
            if self._keep is None:
                raise
            seen = ("raised", type(error).__name__)
        if self._keep is not None and instant > 0:
            self._keep(instant, user, seen)

    def _end_column(self) -> None:
        shares = _shares(self._column)
        self._column = Counter()
        self.columns.append(shares)
        self._rows.append([self.now, *(None if share is None else 100 * share for share in shares.values())])

    def _words(self, shares: dict[str, float | None]) -> str:
        state = "UP" if self.up else "DEAD"
        told = ", ".join(f"{share:.0%} {LEVELS[level].label}" for level, share in shares.items() if share is not None)
        return f"Recommender {state}. Pages answered: 100 %. Last minute: {told or 'none yet'}."


def _shares(counts: Counter[str]) -> dict[str, float | None]:
    total = sum(counts[level] for level in LEVELS)
    return {level: counts[level] / total if total else None for level in LEVELS}


def restart_table(restart_after: float = 60.0, minutes: int = 7) -> None:
    """Print the share of static answers per minute of an outage, with and without a restart of the service in it."""
    print(f"{'minute of the outage':<24}{'left alone':>12}{f'restarted at {restart_after:.0f} s':>20}")
    alone, restarted = FallbackSimulation(), FallbackSimulation()
    for simulation in (alone, restarted):
        simulation.set("up", 0)
    for minute in range(1, minutes + 1):
        if restart_after == 60.0 * (minute - 1):
            restarted.restart()
        for simulation in (alone, restarted):
            simulation.step(60.0)
        cells = [simulation.shares()["static"] or 0.0 for simulation in (alone, restarted)]
        print(f"{minute:<24}{cells[0]:>12.0%}{cells[1]:>20.0%}")
