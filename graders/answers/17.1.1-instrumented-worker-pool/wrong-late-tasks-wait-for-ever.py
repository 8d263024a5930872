# wrong: the task waits from before the submit on, which Saturated takes back, but not the RuntimeError after shutdown
# fails: refused-tasks-are-only-refused
# says: 1 after shutdown
# %% solution="instrumented-worker-pool"
import math
import threading
import time
from collections import deque

from prometheus_client import Counter, Gauge, Histogram

from shared.observability.contracts import PoolSnapshot, Saturated
from shared.observability.worker_pool import WorkerPool

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class InstrumentedWorkerPool:
    def __init__(self, workers, queue_size, registry, clock=time.monotonic):
        self.workers = workers
        self.clock = clock
        self.pool = WorkerPool(workers, queue_size)
        self.lock = threading.Lock()
        self.queued = 0
        self.active = 0
        self.durations = deque()
        self.failures = deque()
        self.last_rejected = -math.inf
        queue_size = Gauge("worker_pool_queue_size", "Tasks that wait", registry=registry)
        queue_size.set_function(lambda: self.queued)
        active = Gauge("worker_pool_workers_active", "Workers that run a task", registry=registry)
        active.set_function(lambda: self.active)
        self.tasks = Counter("worker_pool_tasks", "Tasks that ended", ["outcome"], registry=registry)
        self.rejected = Counter("worker_pool_rejected", "Tasks refused", registry=registry)
        self.histogram = Histogram(
            "worker_pool_task_duration_seconds", "Run times", buckets=BUCKETS, registry=registry
        )

    def submit(self, fn, *args):
        with self.lock:
            self.queued += 1
            try:
                future = self.pool.submit(self.run, fn, args)
            except Saturated:
                self.queued -= 1
                self.rejected.inc()
                self.last_rejected = self.clock()
                raise
        future.add_done_callback(self.on_done)
        return future

    def on_done(self, future):
        if future.cancelled():
            with self.lock:
                self.queued -= 1
            self.tasks.labels("cancelled").inc()

    def run(self, fn, args):
        with self.lock:
            self.queued -= 1
            self.active += 1
        outcome = "ok"
        started = self.clock()
        try:
            return fn(*args)
        except BaseException:
            outcome = "failed"
            raise
        finally:
            self.finish(outcome, started)

    def finish(self, outcome, started):
        now = self.clock()
        self.tasks.labels(outcome).inc()
        self.histogram.observe(now - started)
        with self.lock:
            self.active -= 1
            self.durations.append((now, now - started))
            if outcome == "failed":
                self.failures.append(now)

    def snapshot(self):
        with self.lock:
            now = self.clock()
            while self.durations and self.durations[0][0] <= now - 60:
                self.durations.popleft()
            while self.failures and self.failures[0] <= now - 300:
                self.failures.popleft()
            recent = sorted(seconds for _, seconds in self.durations)
            p99 = recent[math.ceil(0.99 * len(recent)) - 1] if recent else None
            rejecting = now - self.last_rejected < 60
            return PoolSnapshot(
                self.queued, self.active, self.workers - self.active, p99, len(self.failures), rejecting
            )

    def shutdown(self, wait=True):
        self.pool.shutdown(wait)
