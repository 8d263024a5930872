"""What a bulkhead adds to a call, beside pyresilience's and anyio's limiter: in threads and under asyncio.

In threads every subject hands the function to another thread and waits for it with a timeout; ours starts that timeout
before the wait for a place. Under asyncio anyio's limiter has no bound on who waits, and the others have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
import pyresilience

from shared.resilience.bulkhead import AsyncBulkhead, Bulkhead
from shared.resilience.contracts import TenantLimit
from tests.bench.harness import (
    MICROSECONDS,
    OURS,
    THREADS,
    Loop,
    Table,
    loop,
    nothing,
    nothing_async,
    on_threads,
    ratios,
    wait_1_ms,
)

PATTERN = "bulkhead"
PLACES, TIMEOUT = 8, 30.0
_LIMITS = {"tenant": TenantLimit(PLACES, PLACES)}


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (THREADS, 2) if quick else (200, 30)
    threaded = {name: loop(protect(nothing)) for name, protect in SYNC.items()}
    threaded["anyio.to_thread, its limiter, fail_after"] = _anyio_threads
    title = "one caller, in threads with a timeout"
    yield ratios(PATTERN, title, threaded, MICROSECONDS, number=number, rounds=rounds)
    waiting = {name: on_threads(loop(protect(wait_1_ms))) for name, protect in SYNC.items()}
    title, few = f"{THREADS} callers, every call waits 1 ms", THREADS if quick else 160
    yield ratios(PATTERN, title, waiting, MICROSECONDS, number=few, rounds=min(rounds, 10))
    coroutines = {name: _loop_of_its_own(protect) for name, protect in ASYNC.items()}
    many = number if quick else 1_000
    yield ratios(PATTERN, "asyncio, a place is free", coroutines, MICROSECONDS, number=many, rounds=rounds)


def _loop_of_its_own(protect: Callable[[], Callable[[], Awaitable[Any]]]) -> Loop:
    async def body(number: int) -> None:
        call = protect()  # here, because anyio's limiter belongs to a loop
        for _ in range(number):
            await call()

    return lambda number: asyncio.run(body(number))


def _ours(fn: Callable[[], Any]) -> Callable[[], Any]:
    bulkhead = Bulkhead(_LIMITS)
    return lambda: bulkhead.submit("tenant", fn, TIMEOUT)


def _pyresilience(fn: Callable[[], Any]) -> Callable[[], Any]:
    return pyresilience.resilient(
        bulkhead=pyresilience.BulkheadConfig(max_concurrent=PLACES, max_wait=TIMEOUT),
        timeout=pyresilience.TimeoutConfig(seconds=TIMEOUT, pool_size=PLACES),
    )(fn)


def _executor(fn: Callable[[], Any]) -> Callable[[], Any]:
    executor = ThreadPoolExecutor(PLACES)
    return lambda: executor.submit(fn).result(TIMEOUT)


def _anyio_threads(number: int) -> None:
    async def body() -> None:
        limiter = anyio.CapacityLimiter(PLACES)
        for _ in range(number):
            with anyio.fail_after(TIMEOUT):
                await anyio.to_thread.run_sync(nothing, limiter=limiter)

    anyio.run(body)


def _ours_async() -> Callable[[], Awaitable[Any]]:
    bulkhead = AsyncBulkhead(_LIMITS)
    return lambda: bulkhead.submit("tenant", nothing_async, TIMEOUT)


def _anyio_async() -> Callable[[], Awaitable[Any]]:
    limiter = anyio.CapacityLimiter(PLACES)

    async def call() -> None:
        with anyio.fail_after(TIMEOUT):
            async with limiter:
                await nothing_async()

    return call


def _semaphore_async() -> Callable[[], Awaitable[Any]]:
    semaphore = asyncio.Semaphore(PLACES)

    async def call() -> None:
        async with asyncio.timeout(TIMEOUT), semaphore:
            await nothing_async()

    return call


SYNC: dict[str, Callable[[Callable[[], Any]], Callable[[], Any]]] = {
    OURS: _ours,
    "pyresilience, bulkhead and timeout": _pyresilience,
    "ThreadPoolExecutor, no waiting room": _executor,
}
ASYNC: dict[str, Callable[[], Callable[[], Awaitable[Any]]]] = {
    OURS: _ours_async,
    "pyresilience, bulkhead and timeout": lambda: _pyresilience(nothing_async),
    "anyio.CapacityLimiter, fail_after": _anyio_async,
    "asyncio.Semaphore and timeout": _semaphore_async,
}
