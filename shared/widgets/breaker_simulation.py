"""Callers, a circuit breaker and a backend in simulated time: what the pictures of exercise 17.2.1 show.

The same seed and the same dials at the same instants give the same calls, whoever draws them.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shared.resilience.circuit_breaker import (
    AsyncCircuitBreaker,
    Event,
    Finished,
    Outcome,
    Rejected,
    Snapshot,
    Transition,
)
from shared.resilience.contracts import BreakerConfig, CircuitOpen, State
from shared.simulation.traffic import Agenda, Arrivals, Backend, BackendError
from shared.widgets.live_chart import Frame, Line

__all__ = [
    "FAILING",
    "HEALTHY",
    "OUTCOMES",
    "P99_SECONDS",
    "PLAY_CONFIG",
    "SLOW",
    "BreakerSimulation",
    "Run",
    "label",
    "replay",
]

PLAY_CONFIG = BreakerConfig(
    error_rate=0.5,
    slow_call_rate=0.8,
    slow_call_threshold=2.0,
    window_size=50,
    min_calls_to_open=10,
    wait_duration=30.0,
    permitted_calls_in_half_open=3,
)
"""The usual calibration, with a window short enough to watch."""

P99_SECONDS = 10.0
"""The latency chart shows the 99th percentile of the calls that ended in this many last seconds."""

HEALTHY = {"latency": 0.3, "errors": 0.02}
FAILING = {"latency": 0.6, "errors": 0.75}
SLOW = {"latency": 3.2, "errors": 0.02}
"""Settings of the backend's dials."""

OUTCOMES = {
    "served": Line("served", "accepted"),
    "slow": Line("slow", "slow"),
    "failed": Line("failed", "failed"),
    "rejected": Line("rejected at once", "rejected"),
}
"""What can become of a call, from the bottom of a column to its top: how it is labelled, and its colour."""

_CELL = {
    Outcome.OK: "ok",
    Outcome.SLOW: "slow",
    Outcome.FAILED: "failed",
    Outcome.FAILED | Outcome.SLOW: "slow failure",
}


@dataclass(frozen=True)
class Run:
    """What a run came to: how many calls ended how, and how often the breaker changed its state."""

    served: int
    slow: int
    failed: int
    rejected: int
    changes: int


def replay(config: BreakerConfig, backend: Backend, *, seconds: float, calls_per_second: float, seed: int = 1) -> Run:
    """Run the reference breaker before `backend` for so many simulated seconds."""
    simulation = BreakerSimulation(config, seed=seed, backend=backend, rate=calls_per_second)
    simulation.step(seconds)
    return Run(**{name: simulation.outcomes[name] for name in OUTCOMES}, changes=len(simulation.transitions))


def label(state: State) -> str:
    """The state as it is written on pictures."""
    return state.value.upper()


class BreakerSimulation:
    """Callers, a breaker and a backend in simulated time.

    The dials are `latency` (median seconds), `errors` (fraction of calls) and `rate` (arrivals per second).
    """

    def __init__(
        self, config: BreakerConfig = PLAY_CONFIG, *, seed: int = 1, backend: Backend | None = None, rate: float = 5.0
    ) -> None:
        self.config = config
        self.rate = rate
        self._enough = min(config.min_calls_to_open, config.window_size)
        self.agenda = Agenda()
        self.breaker = AsyncCircuitBreaker(config, self.agenda.clock, on_event=self._heard)
        self.backend = backend or Backend(latency=HEALTHY["latency"], error_rate=HEALTHY["errors"], seed=seed)
        self.outcomes: Counter[str] = Counter()  # finished calls so far, by the names in OUTCOMES
        self.transitions: list[Transition] = []
        self.spared = 0  # calls rejected since the breaker was last closed
        self._arrivals = Arrivals(seed)
        self._voted = 0  # results that the window has ever taken
        self._well = 0  # probes of this half-open period that came back well
        self._before: Counter[str] = Counter()  # the outcomes at the last full second
        self._recent: deque[tuple[float, float]] = deque()  # (ended at, took) of the calls in the percentile
        self._rows: dict[str, list[list[float | None]]] = {"calls": [], "latency": []}
        self._bars: list[list[Any]] = [["breaker", 0.0, None, State.CLOSED.value, "CLOSED"]]
        self._news = "The breaker is closed."

    @property
    def now(self) -> float:
        return self.agenda.now

    def set(self, control: str, value: float) -> None:
        """Turn a dial. Raises KeyError for a dial that is not there."""
        if control == "latency":
            self.backend.latency = value
        elif control == "errors":
            self.backend.error_rate = value
        elif control == "rate":
            self.rate = value
        else:
            raise KeyError(f"no dial {control!r}: choose latency, errors or rate")

    def step(self, dt: float) -> None:
        """Advance by `dt` simulated seconds; every full second makes one column of the charts."""
        end = self.now + dt
        while self.now < end:
            second = math.floor(self.now) + 1.0
            until = min(end, second)
            for instant in self._arrivals.between(self.now, until, self.rate):
                self.agenda.start(self._caller(), at=instant)
            self.agenda.run_until(until)
            if until == second:
                self._sample()

    def frame(self) -> Frame:
        """What happened since the last frame: see `Frame`."""
        seen = self.breaker.snapshot()
        rows, bars = self._rows, self._bars
        self._rows, self._bars = {"calls": [], "latency": []}, []
        return {
            "t": self.now,
            "words": self._words(seen),
            "tone": seen.state.value,
            "news": self._news,
            "panes": {
                "states": self._states(seen),
                "window": {
                    "cells": [_CELL[result] for result in seen.results],
                    "count": self._voted,
                    "faded": seen.state is not State.CLOSED,
                    "note": self._about_the_window(seen),
                },
                "rates": self._rates(seen),
                "timeline": bars,
                **rows,
            },
        }

    async def _caller(self) -> None:
        with suppress(CircuitOpen, BackendError):
            await self.breaker.call(self._attempt)

    async def _attempt(self) -> None:
        period = len(self.transitions)
        answer = self.backend.answer()
        await self.agenda.sleep(answer.took)
        if period == len(self.transitions):  # else it comes too late to count
            self._voted += self.breaker.state is State.CLOSED
            self._well += not answer.failed
        if answer.failed:
            raise BackendError(f"the backend failed after {answer.took:.2f} s")

    def _heard(self, event: Event) -> None:
        if isinstance(event, Rejected):
            self.spared += 1
            self.outcomes["rejected"] += 1
        elif isinstance(event, Finished) and event.outcome is not None:
            self._recent.append((event.at, event.duration))
            self.outcomes["failed" if event.outcome & Outcome.FAILED else "slow" if event.outcome else "served"] += 1
        elif isinstance(event, Transition):
            self._changed(event)

    def _changed(self, change: Transition) -> None:
        before, after = change.before, change.after
        start = self.transitions[-1].at if self.transitions else 0.0
        self._bars.append(["breaker", start, change.at, before.value, label(before)])
        self._bars.append(["breaker", change.at, None, after.value, label(after)])
        self.transitions.append(change)
        self._well = 0
        if after is State.CLOSED:
            self._news = (
                f"The breaker closed again at {change.at:.0f} s: all probes succeeded. It spared {self.spared} calls."
            )
            self.spared = 0
        elif after is State.HALF_OPEN:
            self._news = f"The wait is over at {change.at:.0f} s: half-open, probing."
        elif before is State.HALF_OPEN:
            self._news = f"A probe failed or was slow at {change.at:.0f} s: open again."
        else:
            self._news = f"The breaker opened at {change.at:.0f} s."

    def _sample(self) -> None:
        while self._recent and self._recent[0][0] <= self.now - P99_SECONDS:
            self._recent.popleft()
        self._rows["calls"].append([self.now, *(self.outcomes[name] - self._before[name] for name in OUTCOMES)])
        self._rows["latency"].append([self.now, _p99([took for _, took in self._recent])])
        self._before = self.outcomes.copy()

    def _states(self, seen: Snapshot) -> dict[str, Any]:
        taken = Counter(f"{change.before.value}>{change.after.value}" for change in self.transitions)
        visits = Counter(change.after.value for change in self.transitions)
        notes = {}
        if seen.state is State.OPEN:
            notes["open"] = f"{seen.retry_after:.0f} s"
        elif seen.state is State.HALF_OPEN:
            notes["half-open"] = f"{self._well} of {self.config.permitted_calls_in_half_open} well"
        return {
            "active": seen.state.value,
            "left": round(seen.retry_after, 2),
            "of": self.config.wait_duration if seen.state is State.OPEN else 0,
            "taken": dict(taken),
            "visits": dict(visits),
            "notes": notes,
        }

    def _rates(self, seen: Snapshot) -> dict[str, Any]:
        calls = len(seen.results)
        share = {"failed": seen.failed / calls, "slow": seen.slow / calls} if calls else {}
        return {"values": share, "judged": seen.state is State.CLOSED and seen.error_rate is not None}

    def _about_the_window(self, seen: Snapshot) -> str:
        if seen.state is State.OPEN:
            return "as it was when the breaker opened"
        if seen.state is State.HALF_OPEN:
            return "set aside: the probes decide alone"
        return "" if seen.error_rate is not None else f"no verdict before {self._enough} calls"

    def _words(self, seen: Snapshot) -> str:
        calls = len(seen.results)
        if seen.state is State.OPEN:
            if seen.retry_after <= 0:
                return "OPEN, and the wait is over: the next call will be a probe."
            return f"OPEN for {seen.retry_after:.0f} s more: {_count(self.spared, 'call was', 'calls were')} spared."
        if seen.state is State.HALF_OPEN:
            permitted = self.config.permitted_calls_in_half_open
            out = permitted - seen.permits_left - self._well
            return (
                f"HALF-OPEN: {permitted} probes may pass. {self._well} came back well, {out} on the way. "
                "One bad one, and it opens again."
            )
        if seen.error_rate is None:
            return f"CLOSED: calls flow. {calls} in the window; it does not judge before {self._enough}."
        failed, slow = seen.failed / calls, seen.slow / calls
        if (
            failed >= self.config.error_rate / 2
            and failed / self.config.error_rate >= slow / self.config.slow_call_rate
        ):
            return (
                f"CLOSED, but {failed:.0%} of the last {calls} calls failed. It opens at {self.config.error_rate:.0%}."
            )
        if slow >= self.config.slow_call_rate / 2:
            limit = self.config.slow_call_rate
            return f"CLOSED, but {slow:.0%} of the last {calls} calls were slow. It opens at {limit:.0%}."
        return f"CLOSED: calls flow. Of the last {calls}, {seen.failed} failed and {seen.slow} were slow."


def _p99(values: Sequence[float]) -> float | None:
    """Nearest rank; None in silence."""
    return round(sorted(values)[math.ceil(0.99 * len(values)) - 1], 3) if values else None


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
