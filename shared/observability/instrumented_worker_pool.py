"""A worker pool that answers the on-call's five questions, from `/metrics` and from code, for about 1 µs per task.

Invariant: whoever holds a task's outcome finds the task in every count already.

Nothing is shared on the hot path. Each worker has a cell of plain numbers that it alone writes, so it needs no lock; a
custom Collector adds the cells up when somebody asks. That moves the cost from every task to every scrape, and there
are many more tasks than scrapes. It is how LongAdder and per-CPU counters work.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import accumulate
from math import inf
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.observability.contracts import PoolSnapshot, Saturated
from shared.observability.sliding_histogram import SlidingHistogram, quantile
from shared.observability.worker_pool import Runner, WorkerPool

__all__ = ["BUCKETS", "InstrumentedWorkerPool"]

R = TypeVar("R")

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the duration histogram, in seconds."""

_LATENCY_WINDOW = 60
_FAILURE_WINDOW = 300
_REJECTING_WINDOW = 60


class InstrumentedWorkerPool:
    """`WorkerPool` with metrics in `registry` and the same figures from `snapshot`. Thread-safe.

    `clock` returns monotonic seconds; it is read twice per task, around the function alone. The metrics stay in the
    registry after `shutdown`, for the last scrape.

    Raises ValueError, and leaves no thread behind, when `registry` has a pool already.
    """

    def __init__(
        self, workers: int, queue_size: int, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._workers, self._clock = workers, clock
        self._cells: list[_Cell] = []
        self._rejecting = threading.Lock()  # submitters are many, and have no cell; a refusal may cost a lock
        self._rejected = 0
        self._last_rejected = -inf
        self._pool = WorkerPool(workers, queue_size, new_runner=self._new_runner)
        try:
            registry.register(_PoolCollector(self))
        except BaseException:
            self._pool.shutdown(wait=False)
            raise

    def submit(self, fn: Callable[..., R], /, *args: Any) -> Future[R]:
        """Have a worker call `fn(*args)`; raises Saturated or RuntimeError as `WorkerPool.submit` does."""
        try:
            return self._pool.submit(fn, *args)
        except Saturated:
            now = self._clock()
            with self._rejecting:
                self._rejected += 1
                self._last_rejected = max(self._last_rejected, now)
            raise

    def shutdown(self, wait: bool = True) -> None:
        """Take no more tasks; those accepted still run. `wait`: return when all of them have ended."""
        self._pool.shutdown(wait)

    def snapshot(self) -> PoolSnapshot:
        """The five answers, now. Costs O(workers × slots), and no worker waits for it."""
        now = self._clock()
        active = sum(cell.active for cell in self._cells)
        return PoolSnapshot(
            queued=self._pool.queued,
            active=active,
            idle=self._workers - active,
            p99_60s=quantile([cell.durations for cell in self._cells], 0.99, now),
            failed_5m=sum(cell.failures.count(now) for cell in self._cells),
            rejecting=now - self._last_rejected < _REJECTING_WINDOW,
        )

    def metrics(self) -> Iterator[Metric]:
        """What a scrape sees now."""
        cells = self._cells
        yield GaugeMetricFamily("worker_pool_queue_size", "Tasks accepted and not started.", value=self._pool.queued)
        active = sum(cell.active for cell in cells)
        yield GaugeMetricFamily("worker_pool_workers_active", "Workers that run a task.", value=active)
        tasks = CounterMetricFamily("worker_pool_tasks", "Tasks that ended, by outcome.", labels=["outcome"])
        for outcome in ("ok", "failed", "cancelled"):
            tasks.add_metric([outcome], sum(getattr(cell, outcome) for cell in cells))
        yield tasks
        yield CounterMetricFamily("worker_pool_rejected", "Tasks refused, the pool was full.", value=self._rejected)
        counts = accumulate(map(sum, zip(*(cell.counts for cell in cells), strict=True)))
        bounds = [*map(str, BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "worker_pool_task_duration_seconds",
            "Run time of tasks, without their wait in the queue.",
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=sum(cell.seconds for cell in cells),
        )

    def _new_runner(self) -> Runner:
        cell = _Cell(self._clock)
        self._cells.append(cell)
        return cell.run


class _Cell:
    """One worker's counts. That worker writes them; others only read, number by number."""

    __slots__ = (
        "_clock",
        "_record",
        "active",
        "cancelled",
        "counts",
        "durations",
        "failed",
        "failures",
        "ok",
        "seconds",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.active = 0
        self.ok = self.failed = self.cancelled = 0
        self.counts = [0] * (len(BUCKETS) + 1)  # by bucket, not cumulative: one write per task
        self.seconds = 0.0
        self.durations = SlidingHistogram(_LATENCY_WINDOW)
        self.failures = SlidingHistogram(_FAILURE_WINDOW)
        self._record = self.durations.record

    def run(self, future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """As `run_task`, and count: all of it before the Future resolves."""
        if not future.set_running_or_notify_cancel():
            self.cancelled += 1
            return
        clock = self._clock
        self.active = 1
        value = error = None
        started = clock()
        try:
            value = fn(*args)
        except BaseException as raised:
            error = raised
        now = clock()
        duration = now - started
        self.counts[bisect_left(BUCKETS, duration)] += 1
        self.seconds += duration
        self._record(duration, now)
        if error is None:
            self.ok += 1
            self.active = 0
            future.set_result(value)
            return
        self.failed += 1
        self.failures.record(duration, now)
        self.active = 0
        try:
            future.set_exception(error)
        finally:
            del future, error  # the error's traceback holds this frame: no cycle


class _PoolCollector(Collector):
    """What the registry asks. It names its metrics when registered, so that a second pool is refused there."""

    def __init__(self, pool: InstrumentedWorkerPool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        return self._pool.metrics()

    def describe(self) -> Iterator[Metric]:
        return self._pool.metrics()
