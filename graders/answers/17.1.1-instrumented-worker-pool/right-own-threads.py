# right: its own threads and queue.Queue, cancelled tasks counted when a worker meets them, p99 from 60 one-second log buckets
# %% solution="instrumented-worker-pool"
import math
import queue
import threading
import time
from concurrent.futures import Future

from prometheus_client import Counter, Gauge, Histogram

from shared.observability.contracts import PoolSnapshot, Saturated


class Ring:
    """Counts by key, for as many seconds as there are slots."""

    def __init__(self, slots):
        self.slots = [(-1, {}) for _ in range(slots)]
        self.lock = threading.Lock()

    def add(self, key, now):
        second = int(now)
        with self.lock:
            index = second % len(self.slots)
            if self.slots[index][0] != second:
                self.slots[index] = (second, {})
            counts = self.slots[index][1]
            counts[key] = counts.get(key, 0) + 1

    def total(self, now):
        counts = {}
        with self.lock:
            for second, slot in self.slots:
                if 0 <= int(now) - second < len(self.slots):
                    for key, count in slot.items():
                        counts[key] = counts.get(key, 0) + count
        return counts


class InstrumentedWorkerPool:
    def __init__(self, workers, queue_size, registry, clock=time.monotonic):
        self.clock = clock
        self.workers = workers
        self.tasks = queue.Queue(maxsize=queue_size)
        self.lock = threading.Lock()
        self.closed = False
        self.rejected_at = None
        self.durations = Ring(60)
        self.failed = Ring(300)
        self.busy = set()
        Gauge("worker_pool_queue_size", "q", registry=registry).set_function(self.tasks.qsize)
        Gauge("worker_pool_workers_active", "a", registry=registry).set_function(lambda: len(self.busy))
        counter = Counter("worker_pool_tasks_total", "t", ["outcome"], registry=registry)
        self.ok, self.bad, self.gone = (counter.labels(outcome=each) for each in ("ok", "failed", "cancelled"))
        self.rejected = Counter("worker_pool_rejected_total", "r", registry=registry)
        self.seconds = Histogram(
            "worker_pool_task_duration_seconds", "d", registry=registry, buckets=[0.001, 0.002, 0.005, 0.01, 0.025]
        )
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def submit(self, fn, *args):
        future = Future()
        with self.lock:
            if self.closed:
                raise RuntimeError("closed")
            try:
                self.tasks.put_nowait((future, fn, args))
            except queue.Full:
                self.rejected.inc()
                self.rejected_at = self.clock()
                raise Saturated("full") from None
        return future

    def work(self):
        me = threading.get_ident()
        while True:
            try:
                future, fn, args = self.tasks.get(timeout=0.5)
            except queue.Empty:
                if self.closed:
                    return
                continue
            if not future.set_running_or_notify_cancel():
                self.gone.inc()
                continue
            self.busy.add(me)
            start = self.clock()
            error = value = None
            try:
                value = fn(*args)
            except BaseException as raised:
                error = raised
            end = self.clock()
            self.seconds.observe(end - start)
            self.durations.add(math.ceil(math.log(max(end - start, 1e-9)) / math.log(1.05)), end)
            if error is None:
                self.ok.inc()
                self.busy.discard(me)
                future.set_result(value)
            else:
                self.bad.inc()
                self.failed.add("", end)
                self.busy.discard(me)
                future.set_exception(error)

    def snapshot(self):
        now = self.clock()
        counts = self.durations.total(now)
        rank = math.ceil(0.99 * sum(counts.values()))
        p99 = None
        for key in sorted(counts):
            if rank > 0:
                p99 = 1.05 ** (key - 0.5)
            rank -= counts[key]
        active = len(self.busy)
        rejecting = self.rejected_at is not None and now - self.rejected_at <= 60
        return PoolSnapshot(
            self.tasks.qsize(), active, self.workers - active, p99, sum(self.failed.total(now).values()), rejecting
        )

    def shutdown(self, wait=True):
        with self.lock:
            self.closed = True
        if wait:
            for thread in self.threads:
                thread.join()
