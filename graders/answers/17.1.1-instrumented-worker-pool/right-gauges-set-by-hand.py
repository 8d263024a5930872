# right: gauges that are raised and lowered, an observer task per outcome, and a condition of its own as the queue
# %% solution="instrumented-worker-pool"
import threading
import time
from collections import deque
from concurrent.futures import Future

import prometheus_client as prometheus

from shared.observability.contracts import PoolSnapshot, Saturated

STEPS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.0625, 0.125, 1, 8, 64, 512)


class InstrumentedWorkerPool:
    def __init__(self, workers, queue_size, registry, clock=time.monotonic):
        self.workers, self.queue_size, self.clock = workers, queue_size, clock
        self.waiting, self.changed = deque(), threading.Condition()
        self.open, self.running = True, 0
        self.events = {"ok": [], "failed": [], "refused": []}
        self.g_queue = prometheus.Gauge("worker_pool_queue_size", "queue", registry=registry)
        self.g_active = prometheus.Gauge("worker_pool_workers_active", "active", registry=registry)
        self.c_tasks = prometheus.Counter("worker_pool_tasks", "tasks", ("outcome",), registry=registry)
        self.c_rejected = prometheus.Counter("worker_pool_rejected", "rejected", registry=registry)
        self.h_seconds = prometheus.Histogram(
            "worker_pool_task_duration_seconds", "seconds", registry=registry, buckets=STEPS
        )
        for number in range(workers):
            threading.Thread(target=self.serve, name=f"serve {number}", daemon=True).start()

    def submit(self, fn, *args):
        with self.changed:
            if not self.open:
                raise RuntimeError("shut down")
            if len(self.waiting) >= self.queue_size + self.workers - self.running:
                self.c_rejected.inc()
                self.events["refused"].append((self.clock(), 0))
                raise Saturated("no room")
            future = Future()
            self.waiting.append((future, fn, args))
            self.g_queue.inc()
            self.changed.notify()
            return future

    def serve(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or not self.open)
                if not self.waiting:
                    self.changed.notify_all()
                    return
                future, fn, args = self.waiting.popleft()
                self.g_queue.dec()
                if not future.set_running_or_notify_cancel():
                    self.c_tasks.labels("cancelled").inc()
                    continue
                self.running += 1
                self.g_active.inc()
            start = self.clock()
            try:
                settle, outcome, result = future.set_result, "ok", fn(*args)
            except BaseException as error:
                settle, outcome, result = future.set_exception, "failed", error
            end = self.clock()
            with self.changed:
                self.running -= 1
                self.g_active.dec()
                self.c_tasks.labels(outcome).inc()
                self.h_seconds.observe(end - start)
                self.events[outcome].append((end, end - start))
                self.changed.notify_all()
            settle(result)

    def shutdown(self, wait=True):
        with self.changed:
            self.open = False
            self.changed.notify_all()
            if wait:
                self.changed.wait_for(lambda: not self.waiting and not self.running)

    def snapshot(self):
        with self.changed:
            now = self.clock()
            ended = self.events["ok"] + self.events["failed"]
            last = sorted(seconds for at, seconds in ended if now - at < 60.9)
            at_most_one_in_a_hundred_is_longer = last[: len(last) - len(last) // 100]
            return PoolSnapshot(
                len(self.waiting),
                self.running,
                self.workers - self.running,
                at_most_one_in_a_hundred_is_longer[-1] if last else None,
                len([at for at, _ in self.events["failed"] if now - at < 300]),
                any(now - at < 60 for at, _ in self.events["refused"]),
            )
