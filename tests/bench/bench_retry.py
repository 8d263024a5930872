"""What a retry adds to a call that succeeds, beside the published ones: on one thread and under asyncio.

Each library is used in its cheapest public form, set to five attempts with exponential backoff and jitter. The floor is
the plain loop that one writes by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import backoff
import stamina
import tenacity

from shared.resilience.contracts import BackoffConfig, is_retryable
from shared.resilience.retry import RetryBudget, retry, retry_async
from tests.bench.harness import Loop, Table, measure

DIRECT, OURS, BY_HAND = "direct call", "ours", "a loop by hand"
PEERS = ("backoff", "stamina", "tenacity")
ATTEMPTS = 5

_CONFIG = BackoffConfig(max_attempts=ATTEMPTS)
_BUDGET = RetryBudget()


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (8, 2) if quick else (500, 40)
    yield _overheads(
        "one thread, every call succeeds", {name: _loop(*call) for name, call in SYNC.items()}, number, rounds
    )
    loops = {name: _async_loop(*call) for name, call in ASYNC.items()}
    yield _overheads("asyncio, every call succeeds", loops, number, rounds)


def _overheads(title: str, loops: dict[str, Loop], number: int, rounds: int) -> Table:
    figures = measure(loops, number=number, rounds=rounds)
    floor = figures.pop(DIRECT).ns
    added = {name: figure.ns - floor for name, figure in figures.items()}
    ours = added[OURS]
    rows = tuple((name, f"{ours / ns:.2f}", f"{ns:,.0f}", f"{figures[name].noise:.0%}") for name, ns in added.items())
    cheapest = min(PEERS, key=lambda name: added[name])
    target = "met" if ours <= added[cheapest] else "missed"
    return Table(
        f"retry: {title}",
        ("retry", "ours ÷ it", "adds ns", "noise"),
        rows,
        (
            f"a direct call takes {floor:,.0f} ns",
            f"target: at most 1.0 × the cheapest published retry, {cheapest}: {target}",
        ),
    )


def _succeed() -> None:
    pass


async def _succeed_async() -> None:
    pass


def _by_hand(fn: Callable[[], Any]) -> Any:
    for attempt in range(ATTEMPTS):
        try:
            return fn()
        except Exception as error:
            if attempt + 1 == ATTEMPTS or not is_retryable(error):
                raise


async def _by_hand_async(fn: Callable[[], Awaitable[Any]]) -> Any:
    for attempt in range(ATTEMPTS):
        try:
            return await fn()
        except Exception as error:
            if attempt + 1 == ATTEMPTS or not is_retryable(error):
                raise


def _budgeted(fn: Callable[[], Any]) -> Any:
    return retry(fn, _CONFIG, budget=_BUDGET)


async def _budgeted_async(fn: Callable[[], Awaitable[Any]]) -> Any:
    return await retry_async(fn, _CONFIG, budget=_BUDGET)


_tenacity = tenacity.retry(
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=10.0),
    retry=tenacity.retry_if_exception(is_retryable),
    reraise=True,
)
_stamina = stamina.retry(on=(ConnectionError, TimeoutError), attempts=ATTEMPTS)
_backoff = backoff.on_exception(backoff.expo, (ConnectionError, TimeoutError), max_tries=ATTEMPTS, logger=None)

Call = tuple[Callable[..., Any], tuple[Any, ...]]

SYNC: dict[str, Call] = {
    DIRECT: (_succeed, ()),
    OURS: (retry, (_succeed, _CONFIG)),
    f"{OURS}, with a budget": (_budgeted, (_succeed,)),
    BY_HAND: (_by_hand, (_succeed,)),
    "backoff": (_backoff(_succeed), ()),
    "stamina": (_stamina(_succeed), ()),
    "tenacity": (_tenacity(_succeed), ()),
}
ASYNC: dict[str, Call] = {
    DIRECT: (_succeed_async, ()),
    OURS: (retry_async, (_succeed_async, _CONFIG)),
    f"{OURS}, with a budget": (_budgeted_async, (_succeed_async,)),
    BY_HAND: (_by_hand_async, (_succeed_async,)),
    "backoff": (_backoff(_succeed_async), ()),
    "stamina": (_stamina(_succeed_async), ()),
    "tenacity": (_tenacity(_succeed_async), ()),
}


def _loop(call: Callable[..., Any], args: tuple[Any, ...]) -> Loop:
    def loop(number: int) -> None:
        for _ in range(number):
            call(*args)

    return loop


def _async_loop(call: Callable[..., Any], args: tuple[Any, ...]) -> Loop:
    async def body(number: int) -> None:
        for _ in range(number):
            await call(*args)

    return lambda number: asyncio.run(body(number))
