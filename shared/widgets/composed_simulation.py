"""The chapter's opening incident, replayed against a composition of the section's patterns, or without some of them.

A burst of traffic exhausts a connection pool. Requests wait up to 10 s for a connection, and nearly none fails.
Invariant: every variant meets the same arrivals, and every request ends in exactly one of `OUTCOMES`. The patterns are
the reference primitives themselves, composed by `protect`; the event loop's time is virtual. Times are seconds.
"""

from __future__ import annotations

import asyncio
import functools
import math
import queue
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from shared.resilience.bulkhead import AsyncBulkhead
from shared.resilience.circuit_breaker import AsyncCircuitBreaker
from shared.resilience.contracts import BackoffConfig, BreakerConfig, CircuitOpen, TenantLimit
from shared.resilience.deadlines import Deadline, call_with_deadline
from shared.resilience.fallback import Fallback, Level, Served
from shared.resilience.retry import retry_async
from shared.simulation import VirtualTime
from shared.simulation.traffic import Arrivals, Backend
from shared.widgets.live_chart import Line

__all__ = [
    "BURST",
    "FOUR",
    "OUTCOMES",
    "PATIENCE",
    "PATTERNS",
    "SECONDS",
    "VARIANTS",
    "Replay",
    "Visit",
    "print_table",
    "protect",
    "replay",
]

PATTERNS = ("fallback", "retry", "breaker", "bulkhead", "timeout")
"""Outermost first."""
FOUR = frozenset(PATTERNS) - {"bulkhead"}
VARIANTS: dict[str, frozenset[str]] = {
    "as it was": frozenset(),
    "all four": FOUR,
    **{f"without {name}": FOUR - {name} for name in PATTERNS if name in FOUR},
    "with a bulkhead": FOUR | {"bulkhead"},
}

CONNECTIONS = 10
QUERY = 0.1
"""Median seconds of a query that has its connection: ten connections answer about 97 a second."""
LOST = 0.004
"""The fraction of queries whose connection breaks: nothing that anybody would see on a dashboard."""
CALM, PEAK = 24.0, 192.0
BURST = (5.0, 13.0)
"""Requests come at `CALM` per second, and within `BURST` at `PEAK`, eight times as many, for `SECONDS` in all."""
SECONDS = 24.0
PATIENCE = 2.0
"""An answer after this comes late: the user has gone."""

LONG, TRY = 10.0, 0.5
"""The incident's timeout of a request. With the timeout pattern: `PATIENCE` for a request, `TRY` for each try."""
BACKOFF = BackoffConfig(initial_delay=0.1, max_attempts=3)
BREAKER = BreakerConfig(
    slow_call_rate=0.5,
    slow_call_threshold=0.4,
    window_size=50,
    min_calls_to_open=20,
    wait_duration=1.0,
    ignored=(queue.Full,),
)
PLACES = TenantLimit(max_concurrent=CONNECTIONS, max_waiting=CONNECTIONS)
FAILURES = (OSError, CircuitOpen, queue.Full)
"""What the fallback answers for. A TimeoutError is an OSError, and so is a lost connection."""

OUTCOMES = {
    "live": Line("live", "accepted"),
    "late": Line(f"live, but after {PATIENCE:.0f} s", "slow"),
    "fallback": Line("fallback", "waiting"),
    "failed": Line("failed", "failed"),
}
"""What becomes of a request, from the bottom of a column to its top."""

Query = Callable[[Deadline], Awaitable[str]]
"""Does the work of one request, which has until that deadline."""


def protect(query: Query, patterns: Collection[str], rng: random.Random) -> Callable[[], Awaitable[Served]]:
    """`query` inside the reference's primitives: Fallback(Retry(Breaker(Bulkhead(Timeout(query))))), or some of them.

    The deadline of the whole request is inside the fallback, so that an answer can still be given when it has passed.
    Call it in the event loop that it will run in.
    """
    clock = asyncio.get_running_loop().time
    call = query
    if "timeout" in patterns:
        call = functools.partial(_timed, call)
    if "bulkhead" in patterns:
        call = functools.partial(_admitted, AsyncBulkhead({"payments": PLACES}, clock), call)
    if "breaker" in patterns:
        call = functools.partial(_guarded, AsyncCircuitBreaker(BREAKER, clock), call)
    if "retry" in patterns:
        call = functools.partial(_retried, call, rng, clock)
    limit = PATIENCE if "timeout" in patterns else LONG

    def whole() -> Awaitable[str]:
        return call_with_deadline(call, limit, Deadline.after(limit, clock, "request"), name="request")

    levels = [Level("live", whole, FAILURES)]
    if "fallback" in patterns:
        levels.append(Level("fallback", lambda: "taken down, charged later"))
    return Fallback(*levels).call_async


def _timed(call: Query, request: Deadline) -> Awaitable[str]:
    return call_with_deadline(call, TRY, request, name="try")


def _admitted(bulkhead: AsyncBulkhead, call: Query, request: Deadline) -> Awaitable[str]:
    return bulkhead.submit("payments", lambda: call(request), max(0.0, request.remaining()))


def _guarded(breaker: AsyncCircuitBreaker, call: Query, request: Deadline) -> Awaitable[str]:
    return breaker.call(call, request)


def _retried(call: Query, rng: random.Random, clock: Callable[[], float], request: Deadline) -> Awaitable[str]:
    end = clock() + request.remaining()
    return retry_async(lambda: call(request), BACKOFF, rng=rng, clock=clock, deadline=end)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: when it came, how long its user waited, and what the user got."""

    came: float
    took: float
    outcome: str


@dataclass(frozen=True)
class Replay:
    """The whole incident under one variant: its requests in the order of their coming, and how many queries began."""

    visits: tuple[Visit, ...]
    queries: int

    @property
    def p99(self) -> float:
        """Seconds until the user had an answer, of whatever kind, or an error; nearest rank."""
        took = sorted(visit.took for visit in self.visits)
        return took[math.ceil(0.99 * len(took)) - 1]

    def share(self, outcome: str) -> float:
        """The fraction of the requests that ended so."""
        return sum(visit.outcome == outcome for visit in self.visits) / len(self.visits)

    def columns(self) -> list[Counter[str]]:
        """Outcomes of the requests that came in each second."""
        found = [Counter[str]() for _ in range(math.ceil(SECONDS))]
        for visit in self.visits:
            found[int(visit.came)][visit.outcome] += 1
        return found


def replay(patterns: Collection[str], seed: int = 1) -> Replay:
    """The incident under those patterns. Raises ValueError for a pattern that is not there."""
    if unknown := set(patterns) - set(PATTERNS):
        raise ValueError(f"no pattern {', '.join(sorted(unknown))}: choose from {', '.join(PATTERNS)}")
    return VirtualTime().run(lambda: asyncio.run(_replay(frozenset(patterns), seed)))


async def _replay(patterns: Collection[str], seed: int) -> Replay:
    loop = asyncio.get_running_loop()
    zero = loop.time()
    pool = asyncio.Semaphore(CONNECTIONS)
    database = Backend(latency=QUERY, error_rate=LOST, seed=seed)
    visits: list[Visit] = []
    queries = 0

    async def query(request: Deadline) -> str:
        nonlocal queries
        async with pool:
            queries += 1
            fate = database.answer()
            await asyncio.sleep(fate.took)
            if fate.failed:
                raise ConnectionResetError("the connection was lost")
            return "charged"

    answer = protect(query, patterns, random.Random(f"retries/{seed}"))

    async def visit(came: float) -> None:
        await asyncio.sleep(came)
        try:
            outcome = (await answer()).level
        except FAILURES:
            outcome = "failed"
        took = loop.time() - zero - came
        visits.append(Visit(came, took, "late" if outcome == "live" and took > PATIENCE else outcome))

    await asyncio.gather(*map(visit, _arrivals(seed)))
    return Replay(tuple(sorted(visits, key=lambda each: each.came)), queries)


def _arrivals(seed: int) -> list[float]:
    arrivals = Arrivals(seed)
    start, end = BURST
    parts = ((0.0, start, CALM), (start, end, PEAK), (end, SECONDS, CALM))
    return [instant for begin, until, rate in parts for instant in arrivals.between(begin, until, rate)]


def print_table(seed: int = 1) -> None:
    """Print p99, the shares of the outcomes and the queries per request of every variant."""
    titles = (*OUTCOMES, "queries per request")
    print(f"{'':<18}{'p99':>7}" + "".join(f"{title:>{max(10, len(title) + 2)}}" for title in titles))
    for name, patterns in VARIANTS.items():
        run = replay(patterns, seed)
        shares = "".join(f"{run.share(outcome):>10.1%}" for outcome in OUTCOMES)
        print(f"{name:<18}{run.p99:>5.2f} s{shares}{run.queries / len(run.visits):>21.2f}")
