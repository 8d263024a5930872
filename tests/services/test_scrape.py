"""The on-call's five questions are answered from `/metrics` as the real Prometheus scraped it."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from shared.observability.contracts import Saturated
from shared.observability.instrumented_worker_pool import InstrumentedWorkerPool

pytestmark = pytest.mark.needs("prometheus", "promtool", "alertmanager")

WORKERS, HELD, QUEUE = 4, 3, 6
SLOWNESS = 0.2
"""What a slow task adds to the clock, in seconds: in the bucket (0.1, 0.25]."""


@dataclass
class BusyPool:
    """A pool on a clock that only its tasks move, some of which are held until `stop`."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    gate: threading.Event = field(default_factory=threading.Event)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.pool = InstrumentedWorkerPool(WORKERS, QUEUE, self.registry, clock=lambda: self.now)

    def work(self, seconds: float) -> None:
        self.now += seconds

    def fail(self) -> None:
        raise OSError("the disk is full")

    def hold(self) -> None:
        started = threading.Event()

        def wait() -> None:
            started.set()
            self.gate.wait()

        self.pool.submit(wait)
        assert started.wait(10)

    def stop(self) -> None:
        self.gate.set()
        self.pool.shutdown()


@pytest.fixture
def busy() -> Iterator[BusyPool]:
    busy = BusyPool()
    try:
        yield busy
    finally:
        busy.stop()


P99 = "histogram_quantile(0.99, rate(worker_pool_task_duration_seconds_bucket[60s]))"
FAILED = "worker_pool_tasks_total{outcome='failed'}"


def test_the_five_questions_are_answered_by_queries(backends: Any, busy: BusyPool) -> None:
    def answer(expr: str) -> float:
        found = backends.query(expr)
        return float(found[0]["value"][1]) if found else math.nan

    with backends.expose(lambda: generate_latest(busy.registry)):
        backends.eventually(lambda: answer(FAILED) == 0)
        assert math.isnan(answer(P99))

        for seconds in [0.0015] * 37 + [SLOWNESS]:
            busy.pool.submit(busy.work, seconds).result(10)
        for _ in range(2):
            assert isinstance(busy.pool.submit(busy.fail).exception(10), OSError)
        for _ in range(HELD):
            busy.hold()
        backends.eventually(lambda: answer("worker_pool_workers_active") == HELD)
        assert answer("worker_pool_queue_size") == 0
        assert 0.1 < answer(P99) <= 0.25
        assert answer(f"{FAILED} - min_over_time({FAILED}[5m])") == 2
        assert answer("sum(worker_pool_tasks_total)") == 40
        assert answer("increase(worker_pool_rejected_total[60s])") == 0

        busy.hold()
        for _ in range(QUEUE):
            busy.pool.submit(busy.work, 0.0)
        with pytest.raises(Saturated):
            busy.pool.submit(busy.work, 0.0)
        backends.eventually(lambda: answer("worker_pool_rejected_total") == 1)
        assert answer("worker_pool_queue_size") == QUEUE
        assert answer("worker_pool_workers_active") == WORKERS
        assert answer("increase(worker_pool_rejected_total[60s])") > 0
