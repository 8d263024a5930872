"""What a deadline adds to a coroutine that ends in time, beside the published timeouts: at one level, and three deep.

Three deep, every level has its own limit, longest outside. Ours hands the deadline down and can name the level that set
the limit. anyio's scopes know of each other and keep no names. The rest are three timers that know nothing of each
other. `asyncio.timeout` is what ours is built on, so it is the floor and no peer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pyresilience

from shared.resilience.deadlines import Deadline, call_with_deadline
from tests.bench.harness import DIRECT, OURS, Table, async_loop, nothing_async, overheads

PATTERN = "deadline"
PEERS = ("anyio.fail_after", "asyncio.wait_for", "pyresilience, timeout")
LIMITS = (30.0, 20.0, 10.0)

Fn = Callable[[], Awaitable[Any]]
Limit = Callable[[Fn, float], Fn]
"""Puts a timeout around a coroutine function."""


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (8, 2) if quick else (500, 40)
    for title, limits in {"one level": LIMITS[:1], "three levels": LIMITS}.items():
        loops = {DIRECT: async_loop(nothing_async), OURS: async_loop(_ours(limits))}
        loops |= {name: async_loop(_nested(limit, limits)) for name, limit in OTHERS.items()}
        yield overheads(PATTERN, f"{title}, every call succeeds", loops, PEERS, number=number, rounds=rounds)


def _ours(limits: tuple[float, ...]) -> Fn:
    async def work(deadline: Deadline | None) -> None:
        await nothing_async()

    call: Callable[[Deadline | None], Awaitable[Any]] = work
    for limit in reversed(limits):
        call = _with_deadline(call, limit)
    return lambda: call(None)


def _with_deadline(
    fn: Callable[[Deadline | None], Awaitable[Any]], limit: float
) -> Callable[[Deadline | None], Awaitable[Any]]:
    async def call(parent: Deadline | None) -> Any:
        return await call_with_deadline(fn, limit, parent)

    return call


def _nested(limit: Limit, limits: tuple[float, ...]) -> Fn:
    call: Fn = nothing_async
    for seconds in reversed(limits):
        call = limit(call, seconds)
    return call


def _timeout(fn: Fn, seconds: float) -> Fn:
    async def call() -> Any:
        async with asyncio.timeout(seconds):
            return await fn()

    return call


def _wait_for(fn: Fn, seconds: float) -> Fn:
    async def call() -> Any:
        return await asyncio.wait_for(fn(), seconds)

    return call


def _fail_after(fn: Fn, seconds: float) -> Fn:
    async def call() -> Any:
        with anyio.fail_after(seconds):
            return await fn()

    return call


def _pyresilience(fn: Fn, seconds: float) -> Fn:
    return pyresilience.resilient(timeout=pyresilience.TimeoutConfig(seconds=seconds))(fn)


OTHERS: dict[str, Limit] = {
    "asyncio.timeout": _timeout,
    PEERS[0]: _fail_after,
    PEERS[1]: _wait_for,
    PEERS[2]: _pyresilience,
}
