"""Circuit breakers for threads and for asyncio: a failing or slow dependency is left alone until probes find it well.

Invariant: a result counts only in the very period that admitted its call. A period is one stay in one state and has its
own number, so a call that outlives its period neither votes in a later one nor hands a permit back to it.

States and names follow Nygard, "Release It!", and resilience4j's count-based window: a ring of the last `window_size`
results with running totals, so a call costs O(1) whatever the window. It differs where users of breakers were hurt:

- results of calls from an earlier period are dropped (Polly #216 to #218, denoland/std #7306);
- opening the half-open period and taking its first permit are one step (resilience4j #1432);
- an ignored error or a cancellation hands its permit back, so half-open cannot run dry (resilience4j #544, Polly #311);
- no lock is held while the function runs (pybreaker #3), and the function's own exception is the one that is raised;
- a probe that never returns does not put recovery off for ever (resilience4j #935): see `probe_timeout`.

All times are seconds on `clock`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple, ParamSpec, TypeVar

from shared.resilience.contracts import BreakerConfig, CircuitOpen, State

__all__ = [
    "AsyncCircuitBreaker",
    "CircuitBreaker",
    "Event",
    "Finished",
    "Outcome",
    "Rejected",
    "Snapshot",
    "StateMachine",
    "Transition",
]

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class Outcome(IntFlag):
    """What the window remembers of a call. A failure that was also slow is both, and counts in both rates."""

    OK = 0
    FAILED = 1
    SLOW = 2


# Plain integers on the hot path: arithmetic on the members of an IntFlag costs more than the rest of a call.
_OK, _FAILED, _SLOW = 0, 1, 2
_OUTCOMES = (Outcome.OK, Outcome.FAILED, Outcome.SLOW, Outcome.FAILED | Outcome.SLOW)


class Transition(NamedTuple):
    """The breaker changed state."""

    at: float
    before: State
    after: State


class Rejected(NamedTuple):
    """A call was turned away without being made."""

    at: float
    retry_after: float


class Finished(NamedTuple):
    """An admitted call ended. `outcome` is None where it counts nowhere: an ignored error, a cancellation, an exit."""

    at: float
    duration: float
    outcome: Outcome | None


Event = Transition | Rejected | Finished


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a breaker knew at one instant. Rates are None while the window holds too few results to be judged."""

    state: State
    results: tuple[Outcome, ...]  # oldest first; once open, the window that opened it
    failed: int
    slow: int
    error_rate: float | None
    slow_call_rate: float | None
    retry_after: float  # what is left of the wait; 0 unless OPEN
    permits_left: int  # probes that may still start; 0 unless HALF_OPEN


class _Breaker:
    """What the two breakers share: everything but a call that succeeds.

    That path is written out in both: one more method call would be a tenth of what a breaker costs.
    """

    __slots__ = ("_clock", "_ignored", "_machine", "_on_event", "_slow_after")

    def __init__(
        self,
        config: BreakerConfig,
        clock: Callable[[], float] = time.monotonic,
        *,
        on_event: Callable[[Event], object] | None = None,
        probe_timeout: float | None = None,
    ) -> None:
        self._machine = StateMachine(config, probe_timeout)
        self._clock = clock
        self._on_event = on_event
        self._ignored = config.ignored
        self._slow_after = config.slow_call_threshold

    @property
    def state(self) -> State:
        """The state now. OPEN lasts until a call arrives after the wait: no timer runs."""
        return self._machine.state

    def snapshot(self) -> Snapshot:
        """The window, the rates and the time left, all of one instant. Costs O(window_size)."""
        return self._machine.snapshot(self._clock())

    def _admit(self, now: float) -> int:
        period, retry_after, change = self._machine.admit(now)
        if self._on_event is not None:
            _tell(self._on_event, change, None if period else Rejected(now, retry_after))
        if not period:
            raise CircuitOpen(retry_after)
        return period

    def _raised(self, period: int, started: float, error: BaseException) -> None:
        now = self._clock()
        change: Transition | None = None
        outcome: int | None = None
        if not isinstance(error, Exception) or isinstance(error, self._ignored):
            self._machine.release(period)
        else:
            outcome = _FAILED | _SLOW if now - started > self._slow_after else _FAILED
            change = self._machine.record(period, outcome, now)
        if self._on_event is not None:
            seen = None if outcome is None else _OUTCOMES[outcome]
            _tell(self._on_event, Finished(now, now - started, seen), change)


class CircuitBreaker(_Breaker):
    """Calls a function unless it has lately failed, or been slow, too often.

    `clock` is any callable that returns monotonic seconds. `on_event`, if given, is called with each `Event` in the
    thread of the call that caused it; what it raises is logged and goes no further. `probe_timeout`: once every permit
    of a half-open period is taken and the last probe to start has run this long, the next caller is rejected and the
    breaker opens, as if a probe had been slow. The default is generous, ten times the longest of `wait_duration`,
    `slow_call_threshold` and one second: a timeout inside the call is the better tool. Raises ValueError unless
    `probe_timeout` is positive.

    Thread-safe: the lock is held for a constant number of steps, never while the function, the clock or the hook runs.
    """

    __slots__ = ()

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return `fn(*args, **kwargs)` or raise what it raises; raise CircuitOpen, without calling it, when rejected.

        `fn` must not be a coroutine function: making the coroutine is all that would be judged.
        """
        started = self._clock()
        period = self._machine.closed_period or self._admit(started)
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            self._raised(period, started, error)
            raise
        now = self._clock()
        outcome = _SLOW if now - started > self._slow_after else _OK
        change = self._machine.record(period, outcome, now)
        if self._on_event is not None:
            _tell(self._on_event, Finished(now, now - started, _OUTCOMES[outcome]), change)
        return value


class AsyncCircuitBreaker(_Breaker):
    """`CircuitBreaker` for coroutine functions: same parameters, same rules. A cancelled call gives its permit back.

    It awaits nothing but the function, and is thread-safe too: event loops in several threads may share it.
    """

    __slots__ = ()

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await `fn(*args, **kwargs)`: its value or its exception; CircuitOpen, without calling it, when rejected."""
        started = self._clock()
        period = self._machine.closed_period or self._admit(started)
        try:
            value = await fn(*args, **kwargs)
        except BaseException as error:
            self._raised(period, started, error)
            raise
        now = self._clock()
        outcome = _SLOW if now - started > self._slow_after else _OK
        change = self._machine.record(period, outcome, now)
        if self._on_event is not None:
            _tell(self._on_event, Finished(now, now - started, _OUTCOMES[outcome]), change)
        return value


class StateMachine:
    """The rules alone: told what happened and when, it says who may pass. It reads no clock and calls nobody.

    Every admitted call ends in exactly one `record` or `release` with the period that `admit` gave it. While
    `closed_period` is not 0 all may pass, and that is their period: `admit` can be skipped, at the price of one read of
    one attribute, so state and number cannot disagree. Thread-safe.
    """

    __slots__ = (
        "_calls",
        "_enough",
        "_error_rate",
        "_failed",
        "_head",
        "_last_probe",
        "_lock",
        "_period",
        "_permits",
        "_permitted",
        "_probe_timeout",
        "_rest_until",
        "_results",
        "_size",
        "_slow",
        "_slow_after",
        "_slow_call_rate",
        "_spotless",
        "_successes",
        "_wait",
        "closed_period",
        "state",
    )

    def __init__(self, config: BreakerConfig, probe_timeout: float | None = None) -> None:
        if probe_timeout is None:
            probe_timeout = 10 * max(config.wait_duration, config.slow_call_threshold, 1.0)
        if not probe_timeout > 0:
            raise ValueError(f"probe_timeout is a duration in seconds: more than 0, not {probe_timeout!r}")
        self._error_rate = config.error_rate
        self._slow_call_rate = config.slow_call_rate
        self._slow_after = config.slow_call_threshold
        self._size = config.window_size
        self._enough = min(config.min_calls_to_open, config.window_size)
        self._wait = config.wait_duration
        self._permitted = config.permitted_calls_in_half_open
        self._probe_timeout = probe_timeout
        self._lock = threading.Lock()
        self.state = State.CLOSED
        self._period = self.closed_period = 1
        self._results = bytearray(self._size)
        self._head = self._calls = self._failed = self._slow = 0
        self._spotless = 0  # this CLOSED's number while its window is full of quick successes
        self._rest_until = self._last_probe = 0.0
        self._permits = self._successes = 0

    def admit(self, now: float) -> tuple[int, float, Transition | None]:
        """Let a call pass: (its period, 0, change). Or turn it away: (0, seconds until it may ask again, change)."""
        with self._lock:
            if self.state is State.CLOSED:
                return self._period, 0.0, None
            change = None
            if self.state is State.OPEN:
                if now < self._rest_until:
                    return 0, self._rest_until - now, None
                change = self._enter(State.HALF_OPEN, now)
            if self._permits:
                self._permits -= 1
                self._last_probe = now
                return self._period, 0.0, change
            probing = now - self._last_probe
            if probing >= self._probe_timeout:
                return 0, self._wait, self._enter(State.OPEN, now)
            return 0, max(0.0, min(self._slow_after, self._wait) - probing), None

    def record(self, period: int, outcome: int, now: float) -> Transition | None:
        """Count the result of a call that `period` admitted; return the change of state that it brought about."""
        if not outcome and period == self._spotless:
            return None  # a quick success in a full window of quick successes changes nothing, so it takes no lock
        with self._lock:
            if period != self._period:
                return None
            if period == self.closed_period:
                return self._enter(State.OPEN, now) if self._remember(outcome) else None
            if outcome:
                return self._enter(State.OPEN, now)
            self._successes += 1
            return self._enter(State.CLOSED, now) if self._successes == self._permitted else None

    def release(self, period: int) -> None:
        """End a call that `period` admitted and that counts nowhere: its permit is free for another."""
        with self._lock:
            if period == self._period:
                self._permits += 1  # idle while CLOSED; HALF_OPEN starts by setting it

    def snapshot(self, now: float) -> Snapshot:
        """Everything there is to show, of one instant."""
        with self._lock:
            state, calls, failed, slow = self.state, self._calls, self._failed, self._slow
            results = bytes(self._results)
            start = self._head if calls == self._size else 0
            retry_after = max(0.0, self._rest_until - now) if state is State.OPEN else 0.0
            permits = self._permits if state is State.HALF_OPEN else 0
        judged = calls >= self._enough
        return Snapshot(
            state=state,
            results=tuple(_OUTCOMES[outcome] for outcome in results[start:calls] + results[:start]),
            failed=failed,
            slow=slow,
            error_rate=failed / calls if judged else None,
            slow_call_rate=slow / calls if judged else None,
            retry_after=retry_after,
            permits_left=permits,
        )

    def _remember(self, outcome: int) -> bool:
        """Put a result into the window; True when a rate is at its threshold."""
        head = self._head
        gone = self._results[head]  # 0 while the ring fills: it takes nothing from the totals
        if outcome != gone:
            self._spotless = 0
            self._results[head] = outcome
            self._failed += (outcome & _FAILED) - (gone & _FAILED)
            self._slow += (outcome >> 1) - (gone >> 1)
        head += 1
        self._head = head if head < self._size else 0
        calls = self._calls
        if calls < self._size:
            self._calls = calls = calls + 1
        if calls < self._enough:
            return False
        if not outcome:
            if calls == self._size and not (self._failed or self._slow):
                self._spotless = self._period
            if calls > self._enough:
                return False  # a quick success can only lower the rates, and they were below their thresholds
        return self._failed / calls >= self._error_rate or self._slow / calls >= self._slow_call_rate

    def _enter(self, state: State, now: float) -> Transition:
        change = Transition(now, self.state, state)
        self.state = state
        self._period += 1
        self.closed_period = self._period if state is State.CLOSED else 0
        if state is State.CLOSED:
            self._results = bytearray(self._size)
            self._head = self._calls = self._failed = self._slow = 0
        elif state is State.OPEN:
            self._rest_until = now + self._wait
        else:
            self._permits = self._permitted
            self._successes = 0
        return change


def _tell(hook: Callable[[Event], object], *events: Event | None) -> None:
    for event in events:
        if event is not None:
            try:
                hook(event)
            except Exception:
                _log.exception("a circuit breaker's on_event failed on %r", event)
