# right: a cell of plain numbers per worker, which it alone writes; a custom collector adds them up
# %% solution="instrumented-worker-pool"
import bisect
import math
import threading
import time
from collections import Counter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from shared.observability.contracts import PoolSnapshot, Saturated
from shared.observability.worker_pool import WorkerPool


class InstrumentedWorkerPool:
    """A worker pool that can say how it is: as Prometheus metrics in `registry`, and as a `PoolSnapshot`.

    Invariant: whoever holds a task's outcome finds the task in every count already.
    """

    def __init__(self, workers, queue_size, registry, clock=time.monotonic):
        self._workers, self._clock = workers, clock
        self._lock = threading.Lock()  # for what callers count; workers have a cell each
        self._accepted = self._cancelled = self._rejected = 0
        self._last_rejected = -math.inf
        self._mine, self._cells = threading.local(), []
        self._pool = WorkerPool(workers, queue_size)
        registry.register(self)

    def submit(self, fn, *args):
        """Have a worker call `fn(*args)`; return its Future. Raises Saturated, or RuntimeError after shutdown."""
        with self._lock:
            try:
                future = self._pool.submit(self._run, fn, args)
            except Saturated:
                self._rejected += 1
                self._last_rejected = self._clock()
                raise
            self._accepted += 1
        future.add_done_callback(self._count_cancelled)
        return future

    def shutdown(self, wait=True):
        """Take no more tasks; those accepted still run."""
        self._pool.shutdown(wait)

    def snapshot(self):
        """The five answers, now."""
        now, cells = self._clock(), list(self._cells)
        active = sum(cell.active for cell in cells)
        sizes, failures = Counter(), Counter()
        for cell in cells:
            failures.update(cell.failures.copy())
            for second, counts in cell.sizes.copy().items():
                if second > now - 60:
                    sizes.update(counts.copy())
        return PoolSnapshot(
            queued=self._queued(),
            active=active,
            idle=self._workers - active,
            p99_60s=p99_of(sizes),
            failed_5m=sum(failed for second, failed in failures.items() if second > now - 300),
            rejecting=now - self._last_rejected < 60,
        )

    def collect(self):
        """What the registry asks at each scrape: the sums over all cells."""
        cells = list(self._cells)
        yield GaugeMetricFamily("worker_pool_queue_size", "accepted, not started", value=self._queued())
        yield GaugeMetricFamily("worker_pool_workers_active", "at work", value=sum(cell.active for cell in cells))
        tasks = CounterMetricFamily("worker_pool_tasks", "tasks by outcome", labels=["outcome"])
        tasks.add_metric(["ok"], sum(cell.ok for cell in cells))
        tasks.add_metric(["failed"], sum(cell.failed for cell in cells))
        tasks.add_metric(["cancelled"], self._cancelled)
        yield tasks
        yield CounterMetricFamily("worker_pool_rejected", "refused", value=self._rejected)
        buckets, total = [], 0
        for number, le in enumerate([*BOUNDS, math.inf]):
            total += sum(cell.buckets[number] for cell in cells)
            buckets.append(("+Inf" if le == math.inf else str(le), total))
        seconds = sum(cell.seconds for cell in cells)
        yield HistogramMetricFamily(
            "worker_pool_task_duration_seconds", "run time", buckets=buckets, sum_value=seconds
        )

    def _queued(self):
        waiting = self._accepted - self._cancelled - sum(cell.started for cell in list(self._cells))
        return max(0, waiting)  # a worker may start a task before its caller has counted it

    def _count_cancelled(self, future):
        if future.cancelled():
            with self._lock:
                self._cancelled += 1

    def _run(self, fn, args):
        """In a worker: run the task and count it. The Future resolves after this."""
        cell = getattr(self._mine, "cell", None)
        if cell is None:
            cell = self._mine.cell = Cell()
            self._cells.append(cell)
        cell.active = 1
        cell.started += 1
        started = self._clock()
        try:
            value = fn(*args)
        except BaseException:
            cell.count(started, self._clock(), failed=True)
            raise
        cell.count(started, self._clock(), failed=False)
        return value


BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Cell:
    """What one worker has counted. Nobody else writes here, so it needs no lock."""

    def __init__(self):
        self.active = self.started = self.ok = self.failed = 0
        self.buckets, self.seconds = [0] * (len(BOUNDS) + 1), 0.0
        self.sizes, self.failures = {}, {}  # by second: tasks by the size of their run time; failed tasks

    def count(self, started, now, failed):
        """A task has ended: this worker is free, and everything about the task is known."""
        duration, second = now - started, math.floor(now)
        self.buckets[bisect.bisect_left(BOUNDS, duration)] += 1
        self.seconds += duration
        if second not in self.sizes:
            self.sizes[second] = Counter()
            for seconds, window in (self.sizes, 60), (self.failures, 300):
                for old in [each for each in seconds if each < second - window]:
                    del seconds[old]
        mantissa, exponent = math.frexp(duration)
        self.sizes[second][exponent, int(32 * mantissa)] += 1
        if failed:
            self.failed += 1
            self.failures[second] = self.failures.get(second, 0) + 1
        else:
            self.ok += 1
        self.active = 0


def p99_of(sizes):
    """Nearest rank. A size is an exponent and one of 16 equal parts, 16 to 31, of that power of two."""
    rank = -(-99 * sum(sizes.values()) // 100)
    for exponent, part in sorted(sizes):
        rank -= sizes[exponent, part]
        if rank <= 0:
            return math.ldexp((part + 0.5) / 32 if part else 0.0, exponent)
    return None
