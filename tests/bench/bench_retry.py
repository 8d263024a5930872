"""What a retry adds to a call that succeeds, beside the published ones: on one thread and under asyncio.

Each library is used in its cheapest public form, set to five attempts with exponential backoff and jitter. The floor is
the plain loop that one writes by hand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import backoff
import stamina
import tenacity

from shared.resilience.contracts import BackoffConfig, is_retryable
from shared.resilience.retry import RetryBudget, retry, retry_async
from tests.bench.harness import DIRECT, OURS, Call, Table, async_loop, loop, nothing, nothing_async, overheads

BY_HAND = "a loop by hand"
PEERS = ("backoff", "stamina", "tenacity")
ATTEMPTS = 5

_CONFIG = BackoffConfig(max_attempts=ATTEMPTS)
_BUDGET = RetryBudget()


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (8, 2) if quick else (500, 40)
    loops = {name: loop(*call) for name, call in SYNC.items()}
    yield overheads("retry", "one thread, every call succeeds", loops, PEERS, number=number, rounds=rounds)
    coroutines = {name: async_loop(*call) for name, call in ASYNC.items()}
    yield overheads("retry", "asyncio, every call succeeds", coroutines, PEERS, number=number, rounds=rounds)


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

SYNC: dict[str, Call] = {
    DIRECT: (nothing, ()),
    OURS: (retry, (nothing, _CONFIG)),
    f"{OURS}, with a budget": (_budgeted, (nothing,)),
    BY_HAND: (_by_hand, (nothing,)),
    "backoff": (_backoff(nothing), ()),
    "stamina": (_stamina(nothing), ()),
    "tenacity": (_tenacity(nothing), ()),
}
ASYNC: dict[str, Call] = {
    DIRECT: (nothing_async, ()),
    OURS: (retry_async, (nothing_async, _CONFIG)),
    f"{OURS}, with a budget": (_budgeted_async, (nothing_async,)),
    BY_HAND: (_by_hand_async, (nothing_async,)),
    "backoff": (_backoff(nothing_async), ()),
    "stamina": (_stamina(nothing_async), ()),
    "tenacity": (_tenacity(nothing_async), ()),
}
