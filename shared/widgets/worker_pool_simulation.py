"""A worker pool under traffic, in simulated time: what the pictures of exercise 17.1.1 show.

Invariant: p99 and the failures of five minutes come from the course's own `SlidingHistogram`, so what a picture forgets
is what the pool forgets. The same seed and the same dials at the same instants give the same tasks, whoever draws them.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, deque
from typing import Any

from shared.observability.contracts import PoolSnapshot
from shared.observability.sliding_histogram import SlidingHistogram
from shared.simulation.traffic import Arrivals, Backend
from shared.widgets.live_chart import Frame, Line

__all__ = ["CALM", "OUTCOMES", "QUEUE_SIZE", "SLOW", "TRIPLE", "PoolSimulation"]

QUEUE_SIZE = 40

CALM = {"rate": 25.0, "task_time": 0.2, "errors": 0.0}
TRIPLE = {"rate": 75.0}
SLOW = {"task_time": 0.6}
"""Settings of the dials."""

OUTCOMES = {
    "ok": Line("ok", "accepted"),
    "failed": Line("failed", "failed"),
    "rejected": Line("refused", "rejected"),
}
"""What becomes of a task, from the bottom of a column to its top."""


class PoolSimulation:
    """Tasks that come by themselves, and a pool that runs them in the order in which they came.

    The dials: `rate` (tasks per second), `task_time` (median seconds), `workers`, `errors` (fraction that fails),
    `stragglers` (fraction that takes ten times as long).
    """

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.outcomes: Counter[str] = Counter()
        self.mean: float | None = None  # run time of all tasks since the start, in seconds
        self._workers, self._active = 8, 0
        self._rate = CALM["rate"]
        self._arrivals = Arrivals(seed)
        self._backend = Backend(latency=CALM["task_time"], seed=seed)
        self._luck, self._stragglers = random.Random(f"stragglers/{seed}"), 0.0
        self._queue: deque[tuple[float, bool]] = deque()  # run time, fails
        self._running: list[tuple[float, int, float, bool]] = []
        self._tickets = itertools.count()
        self._durations, self._failures = SlidingHistogram(60), SlidingHistogram(300)
        self._last_rejected = -math.inf
        self._ran, self._ran_for = 0, 0.0
        self._before: Counter[str] = Counter()
        self._rows: dict[str, list[list[float | None]]] = {"tasks": [], "pool": [], "p99": []}

    def set(self, control: str, value: float) -> None:
        """Turn a dial; tasks that have come stay as they are. Raises KeyError for a dial that is not there."""
        if control == "rate":
            self._rate = value
        elif control == "task_time":
            self._backend.latency = value
        elif control == "workers":
            self._workers = round(value)
        elif control == "errors":
            self._backend.error_rate = value
        elif control == "stragglers":
            self._stragglers = value
        else:
            raise KeyError(f"no dial {control!r}: choose rate, task_time, workers, errors or stragglers")

    def step(self, dt: float) -> None:
        """Advance by `dt` simulated seconds; every full second makes one column of the charts."""
        end = self.now + dt
        while self.now < end:
            second = math.floor(self.now) + 1.0
            until = min(end, second)
            for instant in self._arrivals.between(self.now, until, self._rate):
                self._end_up_to(instant)
                self._submit(instant)
            self._end_up_to(until)
            self.now = until
            if until == second:
                self._sample()

    def frame(self) -> Frame:
        """What happened since the last frame: see `Frame`."""
        rows, self._rows = self._rows, {pane: [] for pane in self._rows}
        panes: dict[str, Any] = dict(rows)
        told = self.snapshot()
        trouble = "Refusing work." if told.rejecting else ""
        return {"t": self.now, "words": _words(told), "tone": _tone(told), "news": trouble, "panes": panes}

    def snapshot(self) -> PoolSnapshot:
        """The five answers, now."""
        return PoolSnapshot(
            queued=len(self._queue),
            active=self._active,
            idle=max(0, self._workers - self._active),
            p99_60s=self._durations.quantile(0.99, self.now),
            failed_5m=self._failures.count(self.now),
            rejecting=self.now - self._last_rejected < 60,
        )

    def _submit(self, instant: float) -> None:
        answer, took_long = self._backend.answer(), self._luck.random() < self._stragglers
        if self._active >= self._workers and len(self._queue) >= QUEUE_SIZE:
            self.outcomes["rejected"] += 1
            self._last_rejected = instant
            return
        self._queue.append((answer.took * (10.0 if took_long else 1.0), answer.failed))
        self._fill(instant)

    def _fill(self, instant: float) -> None:
        """Idle workers take what waits."""
        while self._queue and self._active < self._workers:
            took, fails = self._queue.popleft()
            self._active += 1
            heapq.heappush(self._running, (instant + took, next(self._tickets), took, fails))

    def _end_up_to(self, instant: float) -> None:
        while self._running and self._running[0][0] <= instant:
            ended, _, took, fails = heapq.heappop(self._running)
            self._active -= 1
            self.outcomes["failed" if fails else "ok"] += 1
            self._durations.record(took, ended)
            if fails:
                self._failures.record(took, ended)
            self._ran, self._ran_for = self._ran + 1, self._ran_for + took
            self.mean = self._ran_for / self._ran
            self._fill(ended)
        self._fill(instant)

    def _sample(self) -> None:
        told = self.snapshot()
        count, before = self.outcomes, self._before
        self._rows["tasks"].append([self.now, *(count[name] - before[name] for name in OUTCOMES)])
        self._rows["pool"].append([self.now, told.queued, told.active])
        self._rows["p99"].append([self.now, told.p99_60s, self.mean])
        self._before = count.copy()


def _words(told: PoolSnapshot) -> str:
    p99 = "no task" if told.p99_60s is None else f"p99 {told.p99_60s:.2f} s"
    refusing = "refusing work" if told.rejecting else "refusing nothing"
    return (
        f"① {told.queued} wait  ② {told.active} active, {told.idle} idle  ③ {p99} in 60 s  "
        f"④ {told.failed_5m} failed in 5 min  ⑤ {refusing}"
    )


def _tone(told: PoolSnapshot) -> str:
    return "rejected" if told.rejecting else "slow" if told.queued else "accepted"
