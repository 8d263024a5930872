"""Retries with exponential backoff and jitter, for threads and for asyncio: ask again, later, and not all at once.

Invariant: a wait is begun only where a further try follows it, and ends before the deadline. So the last error is
raised as soon as nothing more will be tried, and it is the very exception of the last try.

The jitters are those of Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). The budget is like
Envoy's, with its numbers: 20 % of the active calls, and 3 more, may be retrying (Envoy takes the larger of the two).
It differs from much that is published in that:

- a wait is drawn from the capped range, never capped after the draw: at `max_delay` the jitter is still all there
  (tenacity's `wait_exponential_jitter` and Go ports that add jitter on top lose it, or exceed their maximum);
- delays are multiplied up and capped step by step, so the thousandth retry does not overflow;
- what the server asks for in `retry_after` is a floor under the wait, not a replacement for it.

All times are seconds on `clock`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import NamedTuple, TypeVar

from shared.resilience.contracts import BackoffConfig, is_retryable

__all__ = [
    "JITTERS",
    "Event",
    "GaveUp",
    "Jitter",
    "RetryBudget",
    "Retrying",
    "decorrelated_jitter",
    "equal_jitter",
    "full_jitter",
    "no_jitter",
    "retry",
    "retry_async",
]

T = TypeVar("T")
Jitter = Callable[[BackoffConfig, random.Random], Iterator[float]]
"""Makes the waits of one call, in seconds, without end."""

_log = logging.getLogger(__name__)
_DEFAULT = BackoffConfig()
_RANDOM = random.SystemRandom()  # no state to share between threads, or to inherit by a fork


class Retrying(NamedTuple):
    """Try number `attempt` failed with `error`; the next follows in `wait` seconds."""

    at: float
    attempt: int
    wait: float
    error: Exception


class GaveUp(NamedTuple):
    """Try number `attempt` was the last. `reason`: "permanent", "attempts", "deadline" or "budget"."""

    at: float
    attempt: int
    reason: str
    error: Exception


Event = Retrying | GaveUp


def retry(
    fn: Callable[[], T],
    config: BackoffConfig = _DEFAULT,
    *,
    sleep: Callable[[float], object] = time.sleep,
    rng: random.Random = _RANDOM,
    clock: Callable[[], float] = time.monotonic,
    deadline: float | None = None,
    jitter: Jitter | None = None,
    retryable: Callable[[Exception], bool] = is_retryable,
    budget: RetryBudget | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> T:
    """Return `fn()`, calling it again after failures that may pass; raise its last error where no further try is due.

    `deadline` is an instant on `clock`: a wait that would end at or after it is not begun. `fn` is called at least
    once. `jitter` (full_jitter by default) draws the waits from `rng`; an error's `retry_after`, if it has one, is a
    floor under its wait and may exceed `max_delay`. `budget` may be shared by all calls to one backend. `on_event` is
    called with each `Event` in this thread; what it raises is logged and goes no further.

    Thread-safe: a call shares nothing with others but its budget, and holds no lock while it runs, waits or reports.
    Exits and cancellations (no `Exception`) pass through at once.
    """
    plan: _Plan | None = None
    with _NO_LIMIT if budget is None else budget.call() as share:
        while True:
            try:
                return fn()
            except Exception as error:
                plan = plan or _Plan(config, rng, clock, deadline, jitter or full_jitter, retryable, share, on_event)
                wait = plan.wait_after(error)
                if wait is None:
                    raise
            sleep(wait)


async def retry_async(
    fn: Callable[[], Awaitable[T]],
    config: BackoffConfig = _DEFAULT,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    rng: random.Random = _RANDOM,
    clock: Callable[[], float] = time.monotonic,
    deadline: float | None = None,
    jitter: Jitter | None = None,
    retryable: Callable[[Exception], bool] = is_retryable,
    budget: RetryBudget | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> T:
    """`retry` for coroutine functions: same parameters, same rules. A cancellation ends the try or the wait at once."""
    plan: _Plan | None = None
    with _NO_LIMIT if budget is None else budget.call() as share:
        while True:
            try:
                return await fn()
            except Exception as error:
                plan = plan or _Plan(config, rng, clock, deadline, jitter or full_jitter, retryable, share, on_event)
                wait = plan.wait_after(error)
                if wait is None:
                    raise
            await sleep(wait)


def no_jitter(config: BackoffConfig, rng: random.Random) -> Iterator[float]:
    """The bounds themselves, min(max_delay, initial_delay · multiplierⁿ): who fails together comes back together."""
    bound = min(config.max_delay, config.initial_delay)
    while True:
        yield bound
        bound = min(config.max_delay, bound * config.multiplier)


def full_jitter(config: BackoffConfig, rng: random.Random) -> Iterator[float]:
    """Anything from 0 to the bound: the widest spread."""
    for bound in no_jitter(config, rng):
        yield rng.uniform(0.0, bound)


def equal_jitter(config: BackoffConfig, rng: random.Random) -> Iterator[float]:
    """The upper half of the bound: half the spread, and never a retry at once."""
    for bound in no_jitter(config, rng):
        yield rng.uniform(bound / 2, bound)


def decorrelated_jitter(config: BackoffConfig, rng: random.Random) -> Iterator[float]:
    """From `initial_delay` to three times the last wait, at most `max_delay`. `multiplier` plays no part.

    The cap is on the range and not on the draw, where Brooker has it: at `max_delay` the waits stay apart.
    """
    lowest = min(config.max_delay, config.initial_delay)
    wait = lowest
    while True:
        wait = rng.uniform(lowest, min(config.max_delay, 3 * wait))
        yield wait


JITTERS: dict[str, Jitter] = {
    "none": no_jitter,
    "equal": equal_jitter,
    "full": full_jitter,
    "decorrelated": decorrelated_jitter,
}


class RetryBudget:
    """Limits how many of the active calls are retrying at a time: at most `minimum` + `share` · active.

    In an outage every call fails. Without a budget each then costs `max_attempts`; with one the backend sees little
    more than one try per call. A call counts as retrying from its first wait until it ends. Thread-safe.
    Raises ValueError for a negative limit.
    """

    __slots__ = ("_lock", "active", "minimum", "retrying", "share")

    def __init__(self, share: float = 0.2, minimum: int = 3) -> None:
        if not (share >= 0 and minimum >= 0):
            raise ValueError(f"share and minimum limit retries: not negative, not {share!r} and {minimum!r}")
        self.share = share
        self.minimum = minimum
        self.active = self.retrying = 0
        self._lock = threading.Lock()

    def call(self) -> _Share:
        """One call's part in the budget, for a `with` block around all its tries."""
        return _Share(self)


class _Share:
    __slots__ = ("_budget", "_retrying")

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._retrying = False

    def may_retry(self) -> bool:
        """Count this call as retrying, if the budget has room for it or did so before."""
        budget = self._budget
        if not self._retrying:
            with budget._lock:
                if budget.retrying + 1 > budget.minimum + budget.share * budget.active:
                    return False
                budget.retrying += 1
            self._retrying = True
        return True

    def __enter__(self) -> _Share:
        with self._budget._lock:
            self._budget.active += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._budget._lock:
            self._budget.active -= 1
            self._budget.retrying -= self._retrying


_NO_LIMIT: AbstractContextManager[_Share | None] = nullcontext()


class _Plan:
    """What one call does after its failures: the rules alone. It neither calls nor waits."""

    __slots__ = ("_attempt", "_clock", "_config", "_deadline", "_on_event", "_retryable", "_share", "_waits")

    def __init__(
        self,
        config: BackoffConfig,
        rng: random.Random,
        clock: Callable[[], float],
        deadline: float | None,
        jitter: Jitter,
        retryable: Callable[[Exception], bool],
        share: _Share | None,
        on_event: Callable[[Event], object] | None,
    ) -> None:
        self._config, self._clock, self._deadline = config, clock, deadline
        self._retryable, self._share, self._on_event = retryable, share, on_event
        self._waits = jitter(config, rng)
        self._attempt = 0

    def wait_after(self, error: Exception) -> float | None:
        """Seconds to wait before the next try, or None when there is none."""
        self._attempt += 1
        if not self._retryable(error):
            return self._give_up("permanent", error)
        if self._attempt >= self._config.max_attempts:
            return self._give_up("attempts", error)
        wait = max(next(self._waits), getattr(error, "retry_after", None) or 0.0)
        if self._deadline is not None and self._clock() + wait >= self._deadline:
            return self._give_up("deadline", error)
        if self._share is not None and not self._share.may_retry():
            return self._give_up("budget", error)
        if self._on_event is not None:
            self._tell(Retrying(self._clock(), self._attempt, wait, error))
        return wait

    def _give_up(self, reason: str, error: Exception) -> float | None:
        if self._on_event is not None:
            self._tell(GaveUp(self._clock(), self._attempt, reason, error))
        return None

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)  # type: ignore[misc]
        except Exception:
            _log.exception("a retry's on_event failed on %r", event)
