"""One request through four levels, each with a timeout: when each level works, and from when on nobody waits for it.

The rules are those of the exercise in arithmetic, so that a slider is answered at once; `measured` runs the same
request through an implementation in virtual time, and says the same where the implementation is right.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.simulation import VirtualTime
from shared.widgets.live_chart import Frame

__all__ = ["LEVELS", "SEED_TREE", "UPSIDE_DOWN", "Span", "TreeSimulation", "measured", "spans"]

LEVELS = ("request", "service", "db", "sql")
SEED_TREE = (2.0, 1.5, 1.0, 0.8)
UPSIDE_DOWN = (0.8, 1.0, 1.5, 2.0)
HOP = 0.15
"""Seconds from the start of one level to the start of the one below."""
EVERY = 3.0
"""Seconds between two requests of the live picture."""


@dataclass(frozen=True)
class Span:
    """When a level worked. `alone` is the instant from which nobody above waited for it; `end` if somebody did."""

    level: str
    start: float
    end: float
    alone: float
    outcome: str
    """ "answered", "timed out" (its own limit), or "error" (passed on from below, or told to stop from above)."""

    @property
    def orphaned(self) -> float:
        """Seconds of work for nobody."""
        return self.end - self.alone


def spans(timeouts: Sequence[float], work: float, handed_down: bool) -> list[Span]:
    """The spans of a request at 0, whose lowest level needs `work` seconds.

    `handed_down`: one deadline goes down with the request, and cancellation with it. Otherwise each level
    stops waiting at its own timeout, and the level below does not hear of it.
    """
    starts = [HOP * index for index in range(len(LEVELS))]
    limits = [start + timeout for start, timeout in zip(starts, timeouts, strict=True)]
    if handed_down:
        limits = [min(limits[: index + 1]) for index in range(len(limits))]
    found: list[Span] = []
    below, outcome = starts[-1] + work, "answered"
    for index in reversed(range(len(LEVELS))):
        if limits[index] < below:
            outcome = "timed out"
        elif outcome != "answered":
            outcome = "error"
        below = min(below, limits[index])
        found.insert(0, Span(LEVELS[index], starts[index], below, below, outcome))
    waited = float("inf")
    for index, span in enumerate(found):
        alone = max(span.start, min(span.end, waited))
        found[index] = Span(span.level, span.start, span.end, alone, span.outcome)
        waited = min(waited, span.end)
    return [span for span in found if not (handed_down and span.start >= span.end)]


def measured(answer: tuple[Any, Callable[..., Any]], timeouts: Sequence[float], work: float) -> list[Span]:
    """The spans of that request through an answer, `(Deadline, call_with_deadline)`, in virtual time.

    Raises NotImplementedError where the answer does, and Deadlock where a call does not end.
    """
    return VirtualTime().run(_measure, answer[0], answer[1], tuple(timeouts), work)


def _measure(deadline_class: Any, call: Callable[..., Any], timeouts: Sequence[float], work: float) -> list[Span]:
    begun: dict[int, float] = {}
    ended: dict[int, tuple[float, str]] = {}
    left: dict[int, float] = {}

    async def main() -> None:
        now = asyncio.get_running_loop().time
        zero = now()

        async def enter(index: int, parent: Any) -> None:
            async def fn(deadline: Any) -> None:
                begun[index] = now() - zero
                outcome = "error"
                try:
                    await asyncio.sleep(HOP if index + 1 < len(LEVELS) else work)
                    if index + 1 < len(LEVELS):
                        await enter(index + 1, deadline)
                    outcome = "answered"
                finally:
                    ended[index] = now() - zero, outcome

            above = () if parent is None else (parent,)
            try:
                await call(fn, timeouts[index], *above, name=LEVELS[index])
            finally:
                left[index] = now() - zero

        task = asyncio.ensure_future(enter(0, None))
        await asyncio.wait({task})
        await asyncio.sleep(2 * work + sum(timeouts))  # orphans end by themselves
        if not task.cancelled() and isinstance(task.exception(), NotImplementedError):
            task.result()

    asyncio.run(main())
    found = []
    waited = float("inf")
    for index in sorted(begun):
        end, outcome = ended.get(index, (begun[index], "error"))
        waited = min(waited, left.get(index, waited))
        found.append(Span(LEVELS[index], begun[index], end, max(begun[index], min(end, waited)), outcome))
    return found


class TreeSimulation:
    """A request every few seconds through the four levels. Dials: each level's timeout, `work`, `handed_down`."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.dials: dict[str, float] = {**dict(zip(LEVELS, UPSIDE_DOWN, strict=True)), "work": 1.6, "handed_down": 0.0}
        self.requests: list[tuple[float, list[Span]]] = []
        self._random = random.Random(f"tree/{seed}")
        self._next = 0.0
        self._rows: list[list[float]] = []
        self._column = 1.0

    def set(self, control: str, value: float) -> None:
        """Turn a dial: it holds for requests that have not begun. Raises KeyError for a dial that is not there."""
        if control not in self.dials:
            raise KeyError(f"no dial {control!r}: choose one of {', '.join(self.dials)}")
        self.dials[control] = float(value)

    def step(self, dt: float) -> None:
        """Advance by `dt` seconds."""
        self.now += dt
        while self._next <= self.now:
            work = self.dials["work"] * self._random.uniform(0.8, 1.2)
            timeouts = [self.dials[level] for level in LEVELS]
            self.requests.append((self._next, spans(timeouts, work, bool(self.dials["handed_down"]))))
            self._next += EVERY
        while self._column <= self.now:
            self._rows.append(self._worked(self._column))
            self._column += 1.0
        self.requests = [each for each in self.requests if each[0] > self.now - 60.0]

    def frame(self) -> Frame:
        """The bars of requests that are not long over, and the seconds of work since the last frame."""
        bars = [
            bar for at, tree in self.requests if at > self.now - 20.0 for span in tree for bar in self._bars(at, span)
        ]
        orphans = sum(1 for at, tree in self.requests for span in tree if at + span.alone < self.now < at + span.end)
        rows, self._rows = self._rows, []
        words = f"{orphans} levels work for nobody" if orphans else "every level that works is waited for"
        return {
            "t": self.now,
            "words": words,
            "tone": "failed" if orphans else "accepted",
            "news": "",
            "panes": {"levels": bars, "work": rows},
        }

    def _bars(self, at: float, span: Span) -> list[list[Any]]:
        bars: list[list[Any]] = []
        start, alone, end = at + span.start, at + span.alone, at + span.end
        if start < min(alone, self.now):
            over = self.now >= alone
            colour = "waiting" if not over else {"answered": "accepted"}.get(span.outcome, "slow")
            bars.append([span.level, start, alone if over else None, colour, span.outcome if over else "works"])
        if alone < end and alone < self.now:
            bars.append([span.level, alone, end if self.now >= end else None, "failed", "orphan"])
        return bars

    def _worked(self, until: float) -> list[float]:
        """[instant, useful seconds, orphaned seconds] of the levels in the second before `until`."""
        useful = orphaned = 0.0
        for at, tree in self.requests:
            for span in tree:
                useful += _overlap(at + span.start, at + span.alone, until)
                orphaned += _overlap(at + span.alone, at + span.end, until)
        return [until, round(useful, 3), round(orphaned, 3)]


def _overlap(start: float, end: float, until: float) -> float:
    return max(0.0, min(end, until) - max(start, until - 1.0))
