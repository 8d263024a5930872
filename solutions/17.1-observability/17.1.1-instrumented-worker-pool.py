# %% [markdown] id="title"
# # 17.1.1 — An instrumented worker pool: five answers in thirty seconds
#
# | | |
# |---|---|
# | **Time** | 75–105 minutes |
# | **Difficulty** | ●●●○○ |
# | **You need** | threads and `concurrent.futures.Future`, what a lock is for; no Prometheus yet |
# | **You write** | one class, `InstrumentedWorkerPool`, about 80 lines |
# | **You can say afterwards** | which five numbers a pool owes to its on-call, and what they cost per task |

# %% readonly="setup"
import bisect
import math
import threading
import time
from collections import Counter, deque

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from graders.kit import checks_for
from shared.observability.contracts import PoolSnapshot, Saturated
from shared.observability.worker_pool import WorkerPool

check = checks_for("17.1.1")

# %% [markdown] id="incident"
# ## The incident
#
# **03:07.** The service that makes thumbnails is "slow". It has a pool of 8 workers and one dashboard with two graphs: the error rate, which
# is 0 %, and the mean task time since the last restart, which is 0.2 s. As always.
#
# Is the pool full? Are the workers stuck, or idle? Does it refuse work? *Nobody can tell.* The pool has all these numbers, in private
# attributes of a process that nobody may attach a debugger to. At 03:52 somebody restarts it. It helps, nobody knows why, and on
# Thursday it happens again.
#
# ![Three panels over fifteen minutes. From minute five to minute ten one task in twenty-five takes ten times as long. The mean since start hardly moves; the 99th percentile of the last minute jumps from 0.4 s to 2.6 s; up to 40 tasks wait, and some are refused.](figure:shared.widgets.worker_pool.incident_figure)
#
# The upper panel is what they looked at. The two below are what the pool could have said.

# %% [markdown] id="idea"
# ## The idea
#
# Follow one task, and count it at each arrow:
#
# ```mermaid
# flowchart LR
#     S[submit] -->|no room| R["Saturated<br/>worker_pool_rejected_total"]
#     S -->|accepted| Q["waits<br/>worker_pool_queue_size"]
#     Q -->|cancelled| C["tasks_total{outcome=cancelled}"]
#     Q -->|a worker takes it| A["runs<br/>worker_pool_workers_active"]
#     A -->|returns| O["tasks_total{outcome=ok}"]
#     A -->|raises| F["tasks_total{outcome=failed}"]
# ```
#
# | at 3 AM you ask | kind | it is |
# |---|---|---|
# | 1 how many tasks wait? | gauge | up at submit, down at the start |
# | 2 how many workers run, how many idle? | gauge | up at the start, down at the end, *whatever* happens in between |
# | 3 p99 of the last 60 s? | histogram | how long tasks ran; old ones are forgotten |
# | 4 how many failed in 5 minutes? | counter | a counter only rises; the window is the reader's business |
# | 5 are we refusing work? | counter | one that stands still is good news |
#
# In Prometheus' words: a **gauge** goes up and down, a **counter** only rises, a **histogram** counts values in buckets (the bucket `le="0.01"` holds all that are less
# than or equal to 0.01). Each combination of labels is a **series**. Every 15 s or so Prometheus asks for all of them; that is a **scrape**.
#
# **p99** is the run time that 99 of 100 tasks do not exceed.
# A percentile by **nearest rank** is a value that really occurred: sort the $n$ run times and take number
#
# $$\left\lceil 0.99\,n \right\rceil$$
#
# For $n = 100$ that is the 99th smallest, not the slowest. For $n = 0$ there is none. *No traffic is not a latency of 0.*
#
# **The price.** A count must not cost what it counts. One per cent of a task of 0.1 ms is 1 µs, and a single
# `counter.labels("ok").inc()` costs 1.7 µs. So do the work where it is rare: let each worker write plain numbers of its own, and add them
# up when somebody asks. A busy pool runs ten thousand tasks between two scrapes.

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# Two workers, one seat in the queue, five tasks of 2 s, half a second apart. Time is simulated.

# %% golden=true id="worked-case"
def worked_case():
    from shared.observability.instrumented_worker_pool import InstrumentedWorkerPool as Reference
    from shared.simulation import VirtualTime

    def program():
        pool = Reference(2, 1, CollectorRegistry(), time.monotonic)
        for number in range(1, 6):
            try:
                pool.submit(time.sleep, 2.0)
                print(f"{time.monotonic():4.1f} s  task {number} accepted  ", end="")
            except Saturated:
                print(f"{time.monotonic():4.1f} s  task {number} refused   ", end="")
            time.sleep(0.25)
            print(pool.snapshot())
            time.sleep(0.25)
        time.sleep(10.0)
        print("later             ", pool.snapshot())
        pool.shutdown()

    VirtualTime().run(program)


worked_case()

# %% [markdown] id="worked-case-after"
# Task 4 is refused: two run, one waits, and one seat is all there is. Ten seconds later the pool is at rest and *still says that it was rejecting*.
# That is meant: whoever looks at 03:07 wants to know about 03:06. And p99 reads 2.03125 for tasks of exactly 2 s: it is the middle of a bucket, within 3.2 %. You will see why below.

# %% [markdown] id="predict"
# ## Predict
#
# Before you run anything, write down your answers.
#
# 1. A task raises `SystemExit`. Its worker survives. What does `worker_pool_workers_active` show afterwards if you lower it in an `except Exception`?
# 2. 100 tasks ran: 98 took 10 ms, one 20 ms, one 5 s. What is p99 by nearest rank? And of 99 of them, without one of the quick ones?
# 3. A hundred tasks of 26 ms each. Prometheus' buckets end at 10, 25 and 50 ms. Which p99 does `histogram_quantile` report?
#
# <details><summary>Compare</summary>
#
# 1. One too many, for ever. `SystemExit` is a `BaseException`. After eight of them the gauge says that the pool is full while it is idle.
# 2. 20 ms: number 99 of 100. With 99 tasks the rank is ⌈98.01⌉ = 99, which is the slowest: 5 s.
# 3. 49.75 ms. All it knows is that 100 tasks lie between 25 and 50 ms. You will see it below.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# A pool with 40 seats before it, ten seconds of simulated time for each second of yours. The five answers stand in the line on top. Press **Traffic ×3** and
# watch in which order they change. Then **Calm**, and count the seconds until each of them has calmed down, too.
#
# Then: find the number of workers at which the queue *just* stays empty, at 40 tasks a second of 0.2 s. Little's law says 40 · 0.2 = 8 busy workers on average. Why is 8 not enough?
#
# No kernel? The picture shows both storms.
#
# ![Traffic triples for a minute: the queue fills up within seconds and tasks are refused, while the 99th percentile of the run time does not move. Then tasks get slow for a minute: p99 rises at once and falls a minute after they are quick again.](figure:shared.widgets.worker_pool.worker_pool_storyboard)

# %% id="play"
from shared.widgets.worker_pool import worker_pool_playground

worker_pool_playground()

# %% [markdown] id="guess-intro"
# ### A histogram's p99 is a guess
#
# The classic advice is: export a histogram, and read every percentile from its buckets. Here is what comes out for a hundred tasks of 26 ms.

# %% golden=true id="guess"
def p99_from_buckets(seconds, bounds=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1)):
    rank, below, lower = 0.99 * len(seconds), 0, 0.0
    for upper in bounds:  # as Prometheus' histogram_quantile does it: linear within a bucket
        inside = sum(lower < each <= upper for each in seconds)
        if below + inside >= rank:
            return lower + (upper - lower) * (rank - below) / inside
        below, lower = below + inside, upper


from shared.observability.sliding_histogram import SlidingHistogram as Reference

recent = Reference()
for _ in range(100):
    recent.record(0.026, now=1.0)
print(f"from the buckets:          {p99_from_buckets([0.026] * 100) * 1000:.2f} ms")
print(f"from a log-linear window:  {recent.quantile(0.99, now=1.0) * 1000:.2f} ms")

# %% [markdown] id="guess-after"
# Almost twice the truth, and no alarm can tell. So the pool keeps both: buckets for Prometheus, which can add them up over fifty machines, and
# a finer window for itself. Log-linear buckets cut every power of two into equal parts: with 16 parts the middle of a bucket is within 3.2 % of all
# that is in it, from microseconds to hours.

# %% [markdown] id="build"
# ## Build
#
# You are given, from the setup cell:
# - `WorkerPool(workers, queue_size)`: `submit(fn, *args)` returns a `Future`, and raises `Saturated` at once when `queue_size` tasks wait, `RuntimeError` after
#   shutdown. `shutdown(wait=True)`: accepted tasks still run. Its workers survive any exception, BaseException too. Using it is free;
# - `PoolSnapshot(queued, active, idle, p99_60s, failed_5m, rejecting)`;
# - the usual parts of the standard library (`Counter` is that of `collections`) and of `prometheus_client`. How you count is up to you: the
#   client's metrics (`prometheus_client.Counter(…, registry=registry)`), a collector of your own, callbacks.
#
# Write `InstrumentedWorkerPool(workers, queue_size, registry, clock=time.monotonic)` with `submit`, `shutdown` and `snapshot()`. These are all
# the rules; the checks test nothing else. Times are in seconds.
#
# **The pool** behaves as `WorkerPool` does. `queue_size` bounds the tasks that wait, not those that run.
#
# **In `registry`, and nowhere else:**
#
# | metric | kind | |
# |---|---|---|
# | `worker_pool_queue_size` | gauge | accepted, not started |
# | `worker_pool_workers_active` | gauge | workers that run a task |
# | `worker_pool_tasks_total` | counter, label `outcome` | `ok`, `failed` (raised, BaseException included), `cancelled` (before it started) |
# | `worker_pool_rejected_total` | counter | refused with `Saturated` |
# | `worker_pool_task_duration_seconds` | histogram | le 0.001, 0.002, 0.005, 0.01, 0.025, then any that increase |
#
# - No other labels. A series that is not there reads 0.
# - The duration is the run time of `fn` alone, without the wait. Failed tasks have one, cancelled ones have none.
# - At rest all is exact, and the sum of `tasks_total` is accepted − queued. A refused task is in `rejected_total` and nowhere else; one that comes
#   after shutdown is in no metric at all.
# - Everything is recorded *before* the task's Future resolves: whoever has the outcome finds it counted. (A task that is cancelled
#   must be counted when the pool is at rest again. When it gives its place in the queue back is not tested.)
#
# **`snapshot()`**
# - `queued`, `active`, `idle`: active + idle = workers, always, and nothing is negative. While tasks are starting, `queued` may read up to `queue_size + workers`.
# - `p99_60s`: the run times of the tasks that ended in the last 60 s, nearest rank ⌈0.99 n⌉, within 3.2 %. `None` where there are none.
# - `failed_5m`: tasks that raised in the last 300 s. `rejecting`: a task was refused in the last 60 s.
# - The edges of these windows may be off by 1 s.
#
# **Always:** all of this holds for any number of callers, workers and scrapes at once. Scrapes and `snapshot()` also work after shutdown.

# %% solution="instrumented-worker-pool"
class InstrumentedWorkerPool:
    """A worker pool that can say how it is: as Prometheus metrics in `registry`, and as a `PoolSnapshot`.

    Invariant: whoever holds a task's outcome finds the task in every count already.
    """

    def __init__(self, workers, queue_size, registry, clock=time.monotonic):
        ### BEGIN SOLUTION
        self._workers, self._clock = workers, clock
        self._lock = threading.Lock()  # for what callers count; workers have a cell each
        self._accepted = self._cancelled = self._rejected = 0
        self._last_rejected = -math.inf
        self._mine, self._cells = threading.local(), []
        self._pool = WorkerPool(workers, queue_size)
        registry.register(self)
        ### END SOLUTION

    def submit(self, fn, *args):
        """Have a worker call `fn(*args)`; return its Future. Raises Saturated, or RuntimeError after shutdown."""
        ### BEGIN SOLUTION
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
        ### END SOLUTION

    def shutdown(self, wait=True):
        """Take no more tasks; those accepted still run."""
        ### BEGIN SOLUTION
        self._pool.shutdown(wait)
        ### END SOLUTION

    def snapshot(self):
        """The five answers, now."""
        ### BEGIN SOLUTION
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
### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# A calm minute, a storm, and silence: your pool beside the reference, in simulated time. Where the two lines part, the title says what differs first.

# %% id="see"
from shared.widgets.worker_pool import compare_with_reference

compare_with_reference(InstrumentedWorkerPool)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. A check that fails shows you the smallest case that breaks it. Five minutes of simulated time take no time.

# %% test="behaves-like-the-plain-pool" points=2
check.behaves_like_the_plain_pool(InstrumentedWorkerPool)

# %% test="gauges-follow-the-pool" points=3
check.gauges_follow_the_pool(InstrumentedWorkerPool)

# %% test="every-task-has-one-outcome" points=3
check.every_task_has_one_outcome(InstrumentedWorkerPool)

# %% test="refused-tasks-are-only-refused" points=2
check.refused_tasks_are_only_refused(InstrumentedWorkerPool)

# %% test="rejecting-means-in-the-last-minute" points=1
check.rejecting_means_in_the_last_minute(InstrumentedWorkerPool)

# %% test="durations-are-run-times" points=2
check.durations_are_run_times(InstrumentedWorkerPool)

# %% test="p99-is-of-the-last-minute" points=3
check.p99_is_of_the_last_minute(InstrumentedWorkerPool)

# %% test="failures-are-forgotten-after-five-minutes" points=2
check.failures_are_forgotten_after_five_minutes(InstrumentedWorkerPool)

# %% test="failing-task-frees-its-worker" points=2
check.failing_task_frees_its_worker(InstrumentedWorkerPool)

# %% test="recorded-before-the-outcome-is-known" points=2
check.recorded_before_the_outcome_is_known(InstrumentedWorkerPool)

# %% test="counts-are-exact-for-threads-at-once" points=3
check.counts_are_exact_for_threads_at_once(InstrumentedWorkerPool)

# %% test="prometheus-can-read-it" points=1
check.prometheus_can_read_it(InstrumentedWorkerPool)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: who writes what, and when (a nudge)</summary>
#
# Write down, for each of the four ways of a task (refused, cancelled, returns, raises), which numbers it changes and *in whose thread*. Callers
# change accepted, rejected and cancelled. Workers change the rest. A number that two threads add to needs a lock, or one copy per thread.
#
# Then ask for each number which goes up: where does it come down, in each of the four ways? The plain pool never calls the function of a
# cancelled task.
#
# </details>
# <details><summary>Hint 2: the shape of one task (the shape)</summary>
#
# Submit a function of your own in place of `fn`. What it does before it returns is done before the Future resolves:
#
# ```
# def _run(self, fn, args):
#     one task waits less, one worker is active more
#     started = clock()
#     try: value = fn(*args)
#     except BaseException: count it as failed, worker no more active; raise
#     count it as ok, worker no more active
#     return value
# ```
#
# A done-callback runs too late for this: whoever waits for the Future is awake already. For `cancelled` it is the right place.
#
# </details>
# <details><summary>Hint 3: what to forget (nearly code)</summary>
#
# | question | keep | at snapshot |
# |---|---|---|
# | p99 of 60 s | `{second: Counter(size → tasks)}`, drop old seconds | add up seconds > now − 60, walk the sizes up to rank ⌈0.99 n⌉ |
# | failed in 300 s | when each failure was | how many are later than now − 300 |
# | rejecting | when the last refusal was | is it later than now − 60? |
#
# A size is `math.frexp(duration)`: an exponent, and a mantissa in [0.5, 1) that you cut into 16 parts. Or simply keep `(ended, duration)` in a deque and sort
# it: exact and right, until the pool runs 20,000 tasks a second.
#
# Forget by *now*, in `snapshot()`, not only when the next task ends: in silence none ends.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | `worker_pool_queue_size = 1` at rest | which of the four ways does not lower it: refused, or cancelled? |
# | `active` is one too many after a failure | `except Exception` does not see `SystemExit`; is the lowering in every way out? |
# | `= 0` right after the outcome is known | you record in a callback, or after `set_result` |
# | `-1`, in some schedules | a worker starts the task before `submit` has counted it: same lock for both, or never show less than 0 |
# | `RuntimeError: … mutated during iteration` | iterate over a copy (`list(d)`, `d.copy()`), or lock |
# | `Duplicated timeseries` | a metric went to the default registry: pass `registry=registry` |
# | p99 is off by one rank | ⌈0.99 n⌉ counts from 1, Python's lists from 0 |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# All five numbers are right, and the users are furious. 2 workers, tasks of 0.1 s, a queue of 60 seats, 25 tasks a second. Run it.

# %% golden=true id="break-it"
def furious_users():
    from shared.observability.instrumented_worker_pool import InstrumentedWorkerPool as Reference
    from shared.simulation import VirtualTime

    def program():
        pool, waited = Reference(2, 60, CollectorRegistry(), time.monotonic), []
        for _ in range(25 * 40):
            asked = time.monotonic()
            try:
                future = pool.submit(time.sleep, 0.1)
                future.add_done_callback(lambda _, asked=asked: waited.append(time.monotonic() - asked))
            except Saturated:
                pass
            time.sleep(1 / 25)
        told = pool.snapshot()
        print(f"the pool says:   p99 {told.p99_60s:.2f} s, {told.failed_5m} failed, {told.queued} wait")
        print(f"the users say:   the last ten of us waited {sum(waited[-10:]) / 10:.1f} s each")
        pool.shutdown()

    VirtualTime().run(program)


furious_users()

# %% [markdown] answer="explain-the-wait" points=2
# *In at most eight sentences: where are the three seconds, and why is none of them in p99? Compute the wait from two of the five numbers. Which metric
# would you add, where would you record it, and what would it cost per task?*
#
# <!-- ### BEGIN SOLUTION -->
# In the queue. p99 starts when a worker takes the task, so a wait is in none of its values. 59 tasks wait, and two workers end 2 / 0.1 = 20 of them per second: 59 / 20 = 2.95 s, and 0.1 s for
# the task itself. (With `queued` and p99 alone: 59 · 0.1 / 2.) I would add a histogram, `worker_pool_queue_wait_seconds`. `submit` reads the clock and hands the instant on with the task; the
# worker subtracts it when it takes the task, and counts the wait in its own cell. The price is one more reading of the clock and one more bucket: well below 1 µs, without a lock.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# `prometheus_client.start_http_server(8000, registry=registry)` serves `/metrics`. The five questions, asked of Prometheus about a pool of 8 workers:
#
# ```
# 1  worker_pool_queue_size
# 2  worker_pool_workers_active                  idle: 8 - worker_pool_workers_active
# 3  histogram_quantile(0.99, sum by (le) (rate(worker_pool_task_duration_seconds_bucket[1m])))
# 4  sum(increase(worker_pool_tasks_total{outcome="failed"}[5m]))
# 5  increase(worker_pool_rejected_total[1m]) > 0
# ```
#
# In silence the third is `NaN`: also not 0. The fourth is seldom a whole number, because Prometheus extrapolates from scrapes to the edges of the window.
#
# | | how it counts | worth knowing |
# |---|---|---|
# | here | a cell per worker, summed by a custom `Collector` | nothing shared on the hot path; a scrape adds up |
# | `prometheus_client` metrics | a lock and a float per series | `inc` 0.4 µs, `labels().inc` 1.7 µs, `observe` 1 µs: 4.9 µs per task, 5 % of 0.1 ms |
# | the same, multi-process mode | a memory-mapped file per process | gauges need a mode (`livesum`, …); custom collectors are not merged |
# | Go `client_golang` | atomics; `GaugeFunc` for what somebody else counts | an uncontended atomic costs 5 ns, a contended one 50 |
# | Java, Micrometer `ExecutorServiceMetrics` | `LongAdder`: cells that are summed on read | wraps a `ThreadPoolExecutor`; queue wait is a second timer, `executor.idle` |
# | .NET `System.Diagnostics.Metrics` | per-thread aggregation, observable gauges | the runtime exposes its own pool's queue length |
# | OpenTelemetry SDK | observable instruments read by callbacks | cumulative or delta: say which, or rates are nonsense |
# | Prometheus native histograms | log-linear buckets, as in your window | p99 within a few per cent for any range, fewer series |
#
# - Never average percentiles over machines. Add up buckets, then take the quantile.
# - A label per user, path or error text is a series each. Outcomes are three; that is why they may be a label.
# - Metrics tell *that*; they never tell *which task*. That is what traces are for.

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **`worker_pool_queue_size` is high and all workers are active** → the pool is the bottleneck: is p99 up (tasks got slow: look below the pool) or not (more
# > traffic: add workers, or let it refuse)?
# >
# > **queue high, workers idle** → tasks are accepted and not started: a bug or a lock. Take a thread dump before anybody restarts it.
#
# ### Takeaways
#
# - Five numbers answer almost every first question about a pool: waiting, active, p99, failures, refusals.
# - Counters rise for ever and readers choose the window; what a program says about "lately" must forget by itself.
# - Count before the outcome is known, in every way out, and in the thread that may write.
# - One writer per number, and sum on read: it costs less than a lock, and no task waits for a scrape.
#
# **Next:** [17.1.2 — Distributed tracing](17.1.2-distributed-tracing.ipynb): one slow request out of a million, followed through every thread.
