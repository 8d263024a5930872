"""What a bulkhead adds to a call, beside pyresilience's and anyio's limiter: in threads and under asyncio.

In threads every subject hands the function to another thread and waits for it with a timeout; ours starts that timeout
before the wait for a place. Under asyncio anyio's limiter has no bound on who waits, and the others have.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
import pyresilience

from shared.resilience.bulkhead import AsyncBulkhead, Bulkhead
from shared.resilience.contracts import TenantLimit
from tests.bench.harness import Loop, Table, measure

OURS = "ours"
PLACES, THREADS, TIMEOUT = 8, 8, 30.0
_LIMITS = {"tenant": TenantLimit(PLACES, PLACES)}


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (THREADS, 2) if quick else (200, 30)
    threaded = {name: _loop(protect(_succeed)) for name, protect in SYNC.items()}
    threaded["anyio.to_thread, its limiter, fail_after"] = _anyio_threads
    yield _table("one caller, in threads with a timeout", threaded, number, rounds)
    waiting = {name: _on_threads(_loop(protect(_wait_1_ms))) for name, protect in SYNC.items()}
    yield _table(f"{THREADS} callers, every call waits 1 ms", waiting, THREADS if quick else 160, min(rounds, 10))
    coroutines = {name: _async_loop(protect) for name, protect in ASYNC.items()}
    yield _table("asyncio, a place is free", coroutines, number if quick else 1_000, rounds)


def _table(title: str, loops: dict[str, Loop], number: int, rounds: int) -> Table:
    figures = measure(loops, number=number, rounds=rounds)
    ours = figures[OURS].ns
    rows = tuple(
        (name, f"{ours / figure.ns:.2f}", f"{figure.ns / 1000:,.1f}", f"{figure.noise:.0%}")
        for name, figure in figures.items()
    )
    return Table(f"bulkhead: {title}", ("bulkhead", "ours ÷ it", "µs a call", "noise"), rows)


def _succeed() -> None:
    pass


async def _succeed_async() -> None:
    pass


def _wait_1_ms() -> None:
    time.sleep(0.001)


def _loop(call: Callable[[], Any]) -> Loop:
    def loop(number: int) -> None:
        for _ in range(number):
            call()

    return loop


def _async_loop(protect: Callable[[], Callable[[], Awaitable[Any]]]) -> Loop:
    async def body(number: int) -> None:
        call = protect()  # anyio's limiter belongs to a loop
        for _ in range(number):
            await call()

    return lambda number: asyncio.run(body(number))


def _on_threads(loop: Loop) -> Loop:
    def crowd(number: int) -> None:
        threads = [threading.Thread(target=loop, args=(number // THREADS,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return crowd


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
                await anyio.to_thread.run_sync(_succeed, limiter=limiter)

    anyio.run(body)


def _ours_async() -> Callable[[], Awaitable[Any]]:
    bulkhead = AsyncBulkhead(_LIMITS)
    return lambda: bulkhead.submit("tenant", _succeed_async, TIMEOUT)


def _anyio_async() -> Callable[[], Awaitable[Any]]:
    limiter = anyio.CapacityLimiter(PLACES)

    async def call() -> None:
        with anyio.fail_after(TIMEOUT):
            async with limiter:
                await _succeed_async()

    return call


def _semaphore_async() -> Callable[[], Awaitable[Any]]:
    semaphore = asyncio.Semaphore(PLACES)

    async def call() -> None:
        async with asyncio.timeout(TIMEOUT), semaphore:
            await _succeed_async()

    return call


SYNC: dict[str, Callable[[Callable[[], Any]], Callable[[], Any]]] = {
    OURS: _ours,
    "pyresilience, bulkhead and timeout": _pyresilience,
    "ThreadPoolExecutor, no waiting room": _executor,
}
ASYNC: dict[str, Callable[[], Callable[[], Awaitable[Any]]]] = {
    OURS: _ours_async,
    "pyresilience, bulkhead and timeout": lambda: _pyresilience(_succeed_async),
    "anyio.CapacityLimiter, fail_after": _anyio_async,
    "asyncio.Semaphore and timeout": _semaphore_async,
}
