# right: a ThreadPoolExecutor behind a counted entrance; every sample computed when somebody asks, from a log of what happened
# %% solution="instrumented-worker-pool"
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from shared.observability.contracts import PoolSnapshot, Saturated

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.5)


class InstrumentedWorkerPool(Collector):
    def __init__(self, workers, queue_size, registry, clock=time.monotonic):
        self.workers, self.queue_size, self.clock = workers, queue_size, clock
        self.executor = ThreadPoolExecutor(workers)
        self.mutex = threading.RLock()
        self.inside = 0
        self.active = 0
        self.log = []  # (when, what, seconds)
        registry.register(self)

    def describe(self):
        return []

    def submit(self, fn, *args):
        with self.mutex:
            if self.inside - self.workers >= self.queue_size:
                self.log.append((self.clock(), "rejected", None))
                raise Saturated
            future = self.executor.submit(self.call, fn, args)
            self.inside += 1
        future.add_done_callback(self.cancelled)
        return future

    def cancelled(self, future):
        if future.cancelled():
            with self.mutex:
                self.inside -= 1
                self.log.append((self.clock(), "cancelled", None))

    def call(self, fn, args):
        with self.mutex:
            self.active += 1
        begin = self.clock()
        what = "failed"
        try:
            value = fn(*args)
            what = "ok"
            return value
        finally:
            end = self.clock()
            with self.mutex:
                self.active -= 1
                self.inside -= 1
                self.log.append((end, what, end - begin))

    def shutdown(self, wait=True):
        self.executor.shutdown(wait)

    def since(self, seconds, *kinds):
        now = self.clock()
        return [entry for entry in self.log if entry[1] in kinds and entry[0] >= now - seconds]

    def snapshot(self):
        with self.mutex:
            recent = sorted(entry[2] for entry in self.since(60, "ok", "failed"))
            p99 = recent[(99 * len(recent) + 99) // 100 - 1] if recent else None
            return PoolSnapshot(
                queued=self.inside - self.active,
                active=self.active,
                idle=self.workers - self.active,
                p99_60s=p99,
                failed_5m=len(self.since(300, "failed")),
                rejecting=bool(self.since(60, "rejected")),
            )

    def collect(self):
        with self.mutex:
            log, queued, active = list(self.log), self.inside - self.active, self.active
        yield GaugeMetricFamily("worker_pool_queue_size", "queued", value=queued)
        yield GaugeMetricFamily("worker_pool_workers_active", "active", value=active)
        tasks = CounterMetricFamily("worker_pool_tasks_total", "tasks", labels=("outcome",))
        for outcome in ("ok", "failed", "cancelled"):
            tasks.add_metric([outcome], sum(entry[1] == outcome for entry in log))
        yield tasks
        yield CounterMetricFamily("worker_pool_rejected_total", "rejected", value=sum(e[1] == "rejected" for e in log))
        seconds = [entry[2] for entry in log if entry[2] is not None]
        buckets = [(str(bound), sum(each <= bound for each in seconds)) for bound in BOUNDS]
        yield HistogramMetricFamily(
            "worker_pool_task_duration_seconds",
            "duration",
            buckets=[*buckets, ("+Inf", len(seconds))],
            sum_value=sum(seconds),
        )
