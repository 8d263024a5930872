"""What a circuit breaker adds to a call, beside five published ones: on one thread, under asyncio, on 8 threads.

Each library is used in its cheapest public form, set to open on ten failures in a row or on half of the last hundred
calls. Ours and pyresilience keep a window, so they are peers; the others count failures in a row and forget them at the
first success.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import aiobreaker
import circuitbreaker
import purgatory
import pybreaker
import pyresilience

from shared.resilience.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker
from shared.resilience.contracts import BreakerConfig
from tests.bench.harness import (
    CALLS_PER_SECOND,
    DIRECT,
    OURS,
    THREADS,
    Call,
    Loop,
    Table,
    async_loop,
    loop,
    nothing,
    nothing_async,
    on_threads,
    overheads,
    ratios,
    wait_1_ms,
)

PATTERN = "circuit breaker"
WINDOWED = ("pyresilience", "pyresilience, no slow calls")
FAILURES = 10
REST = 86_400.0

Protect = Callable[[Callable[[], Any]], Call]


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (THREADS, 2) if quick else (2_000, 60)
    many, few = (THREADS, 2) if quick else (16_000, 20)
    healthy = {name: loop(*protect(nothing)) for name, protect in SYNC.items()}
    yield overheads(PATTERN, "one thread, every call succeeds", healthy, WINDOWED, number=number, rounds=rounds)
    ailing = {name: _catching(*protect(_FailsOnceInTen())) for name, protect in SYNC.items()}
    yield overheads(PATTERN, "one thread, one call in ten fails", ailing, WINDOWED, number=number, rounds=rounds)
    coroutines = {name: async_loop(*protect(nothing_async)) for name, protect in ASYNC.items()}
    yield overheads(PATTERN, "asyncio, every call succeeds", coroutines, WINDOWED, number=number, rounds=rounds)
    crowded = {name: on_threads(calls) for name, calls in healthy.items()}
    yield overheads(PATTERN, f"{THREADS} threads, every call succeeds", crowded, WINDOWED, number=many, rounds=few)
    rejecting = {name: _catching(*_tripped(protect)) for name, protect in SYNC.items() if name != DIRECT}
    yield ratios(PATTERN, "one thread, rejecting while open", rejecting, CALLS_PER_SECOND, number=number, rounds=rounds)
    waiting = {name: on_threads(loop(*protect(wait_1_ms))) for name, protect in SYNC.items()}
    number, rounds = (THREADS if quick else 160), min(few, 10)
    title = f"{THREADS} threads, every call waits 1 ms"
    yield ratios(PATTERN, title, waiting, CALLS_PER_SECOND, number=number, rounds=rounds)


class _FailsOnceInTen:
    """Too few failures in a row for anybody to open."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls % 10 == 0:
            raise OSError


def _fail() -> None:
    raise OSError


def _tripped(protect: Protect) -> Call:
    call, args = protect(_fail)
    _catching(call, args)(FAILURES)
    return call, args


def _catching(call: Callable[..., Any], args: tuple[Any, ...]) -> Loop:
    def loop(number: int) -> None:
        for _ in range(number):
            try:  # noqa: SIM105 (suppress() would cost more than what is measured)
                call(*args)
            except Exception:
                pass

    return loop


def _ours(fn: Callable[[], Any]) -> Call:
    return CircuitBreaker(_CONFIG).call, (fn,)


def _ours_async(fn: Callable[[], Any]) -> Call:
    return AsyncCircuitBreaker(_CONFIG).call, (fn,)


def _pyresilience(slow_after: float) -> Protect:
    config = pyresilience.CircuitBreakerConfig(
        recovery_timeout=REST,
        success_threshold=3,
        sliding_window_size=100,
        failure_rate_threshold=0.5,
        minimum_calls=FAILURES,
        slow_call_duration=slow_after,
        slow_call_rate_threshold=0.8,
    )
    return lambda fn: (pyresilience.resilient(circuit_breaker=config)(_named(fn)), ())


def _circuitbreaker(fn: Callable[[], Any]) -> Call:
    breaker = circuitbreaker.CircuitBreaker(FAILURES, REST, name="bench")
    return breaker.decorate(_named(fn)), ()


def _pybreaker(fn: Callable[[], Any]) -> Call:
    return pybreaker.CircuitBreaker(FAILURES, REST, success_threshold=3).call, (fn,)


def _aiobreaker(fn: Callable[[], Any]) -> Call:
    return aiobreaker.CircuitBreaker(FAILURES, timedelta(seconds=REST)).call, (fn,)


def _aiobreaker_async(fn: Callable[[], Any]) -> Call:
    return aiobreaker.CircuitBreaker(FAILURES, timedelta(seconds=REST)).call_async, (fn,)


def _purgatory(fn: Callable[[], Any]) -> Call:
    breaker = purgatory.SyncCircuitBreakerFactory(FAILURES, REST).get_breaker("bench")

    def call() -> Any:
        with breaker:
            return fn()

    return call, ()


def _purgatory_async(fn: Callable[[], Any]) -> Call:
    breaker = asyncio.run(purgatory.AsyncCircuitBreakerFactory(FAILURES, REST).get_breaker("bench"))

    async def call() -> Any:
        async with breaker:
            return await fn()

    return call, ()


def _named(fn: Callable[[], Any]) -> Callable[[], Any]:
    """Decorators read `__name__`, which a callable object has not."""
    if not hasattr(fn, "__name__"):
        fn.__name__ = type(fn).__name__  # type: ignore[attr-defined]
    return fn


_CONFIG = BreakerConfig(min_calls_to_open=FAILURES, wait_duration=REST)

SYNC: dict[str, Protect] = {
    DIRECT: lambda fn: (fn, ()),
    OURS: _ours,
    WINDOWED[0]: _pyresilience(2.0),
    WINDOWED[1]: _pyresilience(0.0),
    "circuitbreaker": _circuitbreaker,
    "aiobreaker": _aiobreaker,
    "pybreaker": _pybreaker,
    "purgatory": _purgatory,
}
ASYNC: dict[str, Protect] = {
    DIRECT: lambda fn: (fn, ()),
    OURS: _ours_async,
    WINDOWED[0]: _pyresilience(2.0),
    WINDOWED[1]: _pyresilience(0.0),
    "circuitbreaker": _circuitbreaker,
    "aiobreaker": _aiobreaker_async,
    "purgatory": _purgatory_async,
}
