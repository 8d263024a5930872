"""Two tenants before one pool or two, in simulated time: what the pictures of exercise 17.2.3 show.

Invariant: who runs, waits and is refused is decided by the reference's own `Compartment`, one for all or one a tenant.
The same seed and the same dials at the same instants give the same calls, whoever draws them.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.resilience.bulkhead import Compartment
from shared.resilience.contracts import TenantLimit
from shared.simulation.traffic import Arrivals, Backend
from shared.widgets.live_chart import Frame, Line

__all__ = ["CALM", "FLOOD", "LIMITS", "OUTCOMES", "P99_SECONDS", "SHARED", "TENANTS", "TIMEOUT", "BulkheadSimulation"]

TENANTS = ("premium", "free")
LIMITS = {"premium": TenantLimit(10, 10), "free": TenantLimit(6, 6)}
SHARED = TenantLimit(16, 16)
"""One pool for all has as many places, and as large a waiting room, as the two together."""
TIMEOUT = 2.0
"""Seconds that a caller waits for its answer."""
P99_SECONDS = 10.0
"""The latency chart shows the 99th percentile of the calls that ended in this many last seconds."""

CALM = {"free": 8.0, "latency": 0.4}
FLOOD = {"free": 40.0, "latency": 3.0}
"""Settings of free's dials."""

OUTCOMES = {
    "served": Line("served", "accepted"),
    "expired": Line("timed out", "failed"),
    "refused": Line("refused at once", "rejected"),
}
"""What can become of a call, from the bottom of a column to its top."""


@dataclass(eq=False)
class _Visit:
    """One call: whose it is, when it came, how long its function runs, and which compartment it is in."""

    tenant: str
    came: float
    lasts: float
    home: Compartment[_Visit]
    ended: bool = False
    expired: bool = False


class BulkheadSimulation:
    """Callers of two tenants and their pools. Functions that have begun run to their end, as threads do.

    The dials: `pools` (1: shared, 2: one each), `premium` and `free` (arrivals per second), `latency` (median seconds
    of free's functions; premium's take 0.4 s).
    """

    def __init__(self, *, pools: float = 1.0, seed: int = 1) -> None:
        self.now = 0.0
        self.outcomes = {tenant: Counter[str]() for tenant in TENANTS}
        self.running = dict.fromkeys(TENANTS, 0)
        self._pools = pools
        self._rates = {"premium": 12.0, "free": CALM["free"]}
        self._arrivals = {tenant: Arrivals(seed + number) for number, tenant in enumerate(TENANTS)}
        self._backends = {tenant: Backend(latency=0.4, seed=seed + number) for number, tenant in enumerate(TENANTS)}
        shared: Compartment[_Visit] = Compartment(SHARED)
        self._shared = dict.fromkeys(TENANTS, shared)
        self._own: dict[str, Compartment[_Visit]] = {name: Compartment(limit) for name, limit in LIMITS.items()}
        self._agenda: list[tuple[float, int, Callable[[_Visit], None], _Visit]] = []
        self._tickets = itertools.count()
        self._took: dict[str, deque[tuple[float, float]]] = {tenant: deque() for tenant in TENANTS}
        self._before = {tenant: Counter[str]() for tenant in TENANTS}
        self._rows: dict[str, list[list[float | None]]] = {pane: [] for pane in (*TENANTS, "busy", "p99")}

    def set(self, control: str, value: float) -> None:
        """Turn a dial; calls that have come stay in their pool. Raises KeyError for a dial that is not there."""
        if control == "pools":
            self._pools = value
        elif control in self._rates:
            self._rates[control] = value
        elif control == "latency":
            self._backends["free"].latency = value
        else:
            raise KeyError(f"no dial {control!r}: choose pools, premium, free or latency")

    def step(self, dt: float) -> None:
        """Advance by `dt` simulated seconds; every full second makes one column of the charts."""
        end = self.now + dt
        while self.now < end:
            second = math.floor(self.now) + 1.0
            until = min(end, second)
            for tenant in TENANTS:
                for instant in self._arrivals[tenant].between(self.now, until, self._rates[tenant]):
                    homes = self._shared if self._pools == 1.0 else self._own
                    took = self._backends[tenant].answer().took
                    self._plan(instant, self._enter, _Visit(tenant, instant, took, homes[tenant]))
            while self._agenda and self._agenda[0][0] <= until:
                self.now, _, action, visit = heapq.heappop(self._agenda)
                action(visit)
            self.now = until
            if until == second:
                self._sample()

    def frame(self) -> Frame:
        """What happened since the last frame: see `Frame`."""
        rows, self._rows = self._rows, {pane: [] for pane in self._rows}
        panes: dict[str, Any] = dict(rows)
        return {
            "t": self.now,
            "words": self._words(),
            "tone": self._tone(),
            "news": self._pools_in_words(),
            "panes": panes,
        }

    def p99(self, tenant: str) -> float | None:
        """Seconds until the answer, or the timeout; nearest rank over the last `P99_SECONDS`. None in silence."""
        values = sorted(took for _, took in self._took[tenant])
        return round(values[math.ceil(0.99 * len(values)) - 1], 3) if values else None

    def _plan(self, instant: float, action: Callable[[_Visit], None], visit: _Visit) -> None:
        heapq.heappush(self._agenda, (instant, next(self._tickets), action, visit))

    def _enter(self, visit: _Visit) -> None:
        try:
            runs = visit.home.enter(visit)
        except queue.Full:
            self.outcomes[visit.tenant]["refused"] += 1
            return
        self._plan(self.now + TIMEOUT, self._expire, visit)
        if runs:
            self._begin(visit)

    def _begin(self, visit: _Visit) -> None:
        self.running[visit.tenant] += 1
        self._plan(self.now + visit.lasts, self._end, visit)

    def _end(self, visit: _Visit) -> None:
        self.running[visit.tenant] -= 1
        visit.ended = True
        if not visit.expired:
            self._came_back(visit, "served")
        if (following := visit.home.leave()) is not None:
            self._begin(following)

    def _expire(self, visit: _Visit) -> None:
        if not visit.ended:
            visit.expired = True
            visit.home.give_up(visit)
            self._came_back(visit, "expired")

    def _came_back(self, visit: _Visit, outcome: str) -> None:
        self.outcomes[visit.tenant][outcome] += 1
        self._took[visit.tenant].append((self.now, self.now - visit.came))

    def _sample(self) -> None:
        for tenant in TENANTS:
            took, count, before = self._took[tenant], self.outcomes[tenant], self._before[tenant]
            while took and took[0][0] <= self.now - P99_SECONDS:
                took.popleft()
            self._rows[tenant].append([self.now, *(count[name] - before[name] for name in OUTCOMES)])
            self._before[tenant] = count.copy()
        self._rows["busy"].append([self.now, *(self.running[tenant] for tenant in TENANTS)])
        self._rows["p99"].append([self.now, *(self.p99(tenant) for tenant in TENANTS)])

    def _pools_in_words(self) -> str:
        return "One shared pool." if self._pools == 1.0 else "Two pools."

    def _words(self) -> str:
        p99 = self.p99("premium")
        places = f"{self.running['premium']} calls of premium and {self.running['free']} of free run"
        told = "" if p99 is None else f", premium's p99 is {p99:.1f} s"
        return f"{self._pools_in_words()} {places}{told}."

    def _tone(self) -> str:
        return "failed" if (self.p99("premium") or 0.0) >= TIMEOUT else "accepted"
