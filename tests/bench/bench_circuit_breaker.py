"""What a circuit breaker adds to a call, beside five published ones: on one thread, under asyncio, on 8 threads.

Each library is used in its cheapest public form, set to open on ten failures in a row or on half of the last hundred
calls. Ours and pyresilience keep a window; the others count failures in a row and forget them at the first success.
"""

from __future__ import annotations

import asyncio
import threading
import time
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
from tests.bench.harness import Loop, Table, measure

DIRECT, OURS = "direct call", "ours"
WINDOWED = ("pyresilience", "pyresilience, no slow calls")
THREADS = 8
FAILURES = 10
REST = 86_400.0

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments: calling it calls the protected function once."""
Protect = Callable[[Callable[[], Any]], Call]


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (THREADS, 2) if quick else (2_000, 60)
    many, few = (THREADS, 2) if quick else (16_000, 20)
    healthy = {name: _loop(*protect(_succeed)) for name, protect in SYNC.items()}
    yield _overheads("one thread, every call succeeds", healthy, number, rounds)
    ailing = {name: _catching(*protect(_FailsOnceInTen())) for name, protect in SYNC.items()}
    yield _overheads("one thread, one call in ten fails", ailing, number, rounds)
    coroutines = {name: _async_loop(*protect(_succeed_async)) for name, protect in ASYNC.items()}
    yield _overheads("asyncio, every call succeeds", coroutines, number, rounds)
    crowded = {name: _on_threads(loop) for name, loop in healthy.items()}
    yield _overheads(f"{THREADS} threads, every call succeeds", crowded, many, few)
    rejecting = {name: _catching(*_tripped(protect)) for name, protect in SYNC.items() if name != DIRECT}
    yield _throughputs("one thread, rejecting while open", rejecting, number, rounds)
    waiting = {name: _on_threads(_loop(*protect(_wait_1_ms))) for name, protect in SYNC.items()}
    yield _throughputs(f"{THREADS} threads, every call waits 1 ms", waiting, THREADS if quick else 160, min(few, 10))


def _overheads(title: str, loops: dict[str, Loop], number: int, rounds: int) -> Table:
    figures = measure(loops, number=number, rounds=rounds)
    floor = figures.pop(DIRECT).ns
    added = {name: figure.ns - floor for name, figure in figures.items()}
    ours = added[OURS]
    rows = tuple((name, f"{ours / ns:.2f}", f"{ns:,.0f}", f"{figures[name].noise:.0%}") for name, ns in added.items())
    cheapest = min(WINDOWED, key=lambda name: added[name])
    target = "met" if ours <= added[cheapest] else "missed"
    return Table(
        f"circuit breaker: {title}",
        ("breaker", "ours ÷ it", "adds ns", "noise"),
        rows,
        (
            f"a direct call takes {floor:,.0f} ns",
            f"target: at most 1.0 × the cheapest published breaker with a window, {cheapest}: {target}",
        ),
    )


def _throughputs(title: str, loops: dict[str, Loop], number: int, rounds: int) -> Table:
    figures = measure(loops, number=number, rounds=rounds)
    ours = figures[OURS].ns
    rows = tuple(
        (name, f"{ours / figure.ns:.2f}", f"{1e9 / figure.ns:,.0f}", f"{figure.noise:.0%}")
        for name, figure in figures.items()
    )
    return Table(f"circuit breaker: {title}", ("breaker", "ours ÷ it", "calls/s", "noise"), rows)


def _succeed() -> None:
    pass


async def _succeed_async() -> None:
    pass


def _wait_1_ms() -> None:
    time.sleep(0.001)


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


def _loop(call: Callable[..., Any], args: tuple[Any, ...]) -> Loop:
    def loop(number: int) -> None:
        for _ in range(number):
            call(*args)

    return loop


def _catching(call: Callable[..., Any], args: tuple[Any, ...]) -> Loop:
    def loop(number: int) -> None:
        for _ in range(number):
            try:  # noqa: SIM105 (suppress() would cost more than what is measured)
                call(*args)
            except Exception:
                pass

    return loop


def _async_loop(call: Callable[..., Any], args: tuple[Any, ...]) -> Loop:
    async def body(number: int) -> None:
        for _ in range(number):
            await call(*args)

    return lambda number: asyncio.run(body(number))


def _on_threads(loop: Loop) -> Loop:
    def crowd(number: int) -> None:
        threads = [threading.Thread(target=loop, args=(number // THREADS,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return crowd


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
