# right: all numbers under one lock, wrapped around the given pool, read by a custom collector; numpy for the quantile
# %% solution="instrumented-worker-pool"
import threading
import time
from bisect import bisect_left

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from shared.observability.contracts import PoolSnapshot, Saturated
from shared.observability.worker_pool import WorkerPool

LE = [0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 1.0, 60.0, float("inf")]


class InstrumentedWorkerPool:
    def __init__(self, workers, queue_size, registry, clock=time.monotonic):
        self._pool = WorkerPool(workers, queue_size)
        self._workers = workers
        self._clock = clock
        self._lock = threading.Lock()
        self._accepted = self._started = self._active = self._rejected = 0
        self._outcomes = dict.fromkeys(["ok", "failed", "cancelled"], 0)
        self._counts = [0] * len(LE)
        self._sum = 0.0
        self._ended = []
        self._failed = []
        self._refusals = []
        registry.register(self)

    def submit(self, fn, *args):
        with self._lock:
            try:
                future = self._pool.submit(self._work, fn, *args)
                self._accepted += 1
            except Saturated:
                self._rejected += 1
                self._refusals.append(self._clock())
                raise
        future.add_done_callback(self._after)
        return future

    def _after(self, future):
        if future.cancelled():
            with self._lock:
                self._outcomes["cancelled"] += 1

    def _work(self, fn, *args):
        with self._lock:
            self._started += 1
            self._active += 1
        started = self._clock()
        try:
            result = fn(*args)
        except BaseException:
            self._record("failed", started)
            raise
        self._record("ok", started)
        return result

    def _record(self, outcome, started):
        now = self._clock()
        with self._lock:
            self._active -= 1
            self._outcomes[outcome] += 1
            self._counts[bisect_left(LE, now - started)] += 1
            self._sum += now - started
            self._ended = [each for each in self._ended if each[0] > now - 60] + [(now, now - started)]
            if outcome == "failed":
                self._failed.append(now)

    def snapshot(self):
        with self._lock:
            now = self._clock()
            recent = [seconds for ended, seconds in self._ended if ended > now - 60]
            return PoolSnapshot(
                queued=self._accepted - self._started - self._outcomes["cancelled"],
                active=self._active,
                idle=self._workers - self._active,
                p99_60s=np.percentile(recent, 99, method="inverted_cdf") if recent else None,
                failed_5m=sum(each > now - 300 for each in self._failed),
                rejecting=any(each > now - 60 for each in self._refusals),
            )

    def collect(self):
        with self._lock:
            queued = self._accepted - self._started - self._outcomes["cancelled"]
            yield GaugeMetricFamily("worker_pool_queue_size", "waiting", value=queued)
            yield GaugeMetricFamily("worker_pool_workers_active", "running", value=self._active)
            tasks = CounterMetricFamily("worker_pool_tasks", "ended", labels=["outcome"])
            for outcome, count in self._outcomes.items():
                if count:
                    tasks.add_metric([outcome], count)
            yield tasks
            if self._rejected:
                yield CounterMetricFamily("worker_pool_rejected", "refused", value=self._rejected)
            total, buckets = 0, []
            for le, count in zip(LE, self._counts):
                total += count
                buckets.append(("+Inf" if le == float("inf") else str(le), total))
            if total:
                yield HistogramMetricFamily(
                    "worker_pool_task_duration_seconds", "run time", buckets=buckets, sum_value=self._sum
                )

    def shutdown(self, wait=True):
        self._pool.shutdown(wait=wait)
