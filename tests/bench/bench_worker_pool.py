"""What instrumentation costs a worker pool, what the pool costs beside ThreadPoolExecutor, and the sliding histogram.

The cost per task is the minimum of an instrumented run of one task less the minimum of a plain one, in one thread: two
whole pools side by side differ by more, from run to run, than what is to be measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ddsketch import DDSketch
from hdrh.histogram import HdrHistogram
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.observability.instrumented_worker_pool import BUCKETS, InstrumentedWorkerPool
from shared.observability.sliding_histogram import SlidingHistogram
from shared.observability.worker_pool import Runner, WorkerPool, run_task
from tests.bench.harness import MICROSECONDS, OURS, Loop, Table, measure, nothing, ratios

PATTERN = "worker pool"
TASK_TIMES = (0.0001, 0.001, 0.01)
TARGET = 0.01
WORKERS = 4


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (20, 2) if quick else (200, 200)
    yield _instrumentation(number, rounds)
    number, rounds = (50, 2) if quick else (2_000, 30)
    pools: dict[str, Loop] = {OURS: _ours, "ThreadPoolExecutor": _executor}
    title = f"{WORKERS} workers, tasks that do nothing, submitted and awaited"
    yield ratios(PATTERN, title, pools, MICROSECONDS, number=number, rounds=rounds)
    yield ratios("histogram", "record", HISTOGRAMS, ("ns", lambda ns: f"{ns:,.0f}"), number=number, rounds=rounds)


def _instrumentation(number: int, rounds: int) -> Table:
    """What each way to count adds to one task, as a fraction of tasks of several lengths."""
    cells: list[Runner] = []
    pool = InstrumentedWorkerPool(1, 1, CollectorRegistry())
    try:
        cells.append(pool._new_runner())
    finally:
        pool.shutdown()
    plain = "plain pool"
    figures = measure(
        {
            plain: _tasks(run_task),
            OURS: _tasks(cells[0]),
            "prometheus-client, children kept": _tasks(_prometheus(kept=True)),
            "prometheus-client, labels() per task": _tasks(_prometheus(kept=False)),
        },
        number=number,
        rounds=rounds,
    )
    floor = figures.pop(plain).ns
    added = {name: figure.ns - floor for name, figure in figures.items()}
    share = added[OURS] / (min(TASK_TIMES) * 1e9)
    return Table(
        f"{PATTERN}: what counting adds to a task",
        ("counting", "adds ns", *(f"of {1000 * seconds:g} ms" for seconds in TASK_TIMES), "noise"),
        tuple(
            (name, f"{ns:,.0f}", *(f"{ns / seconds / 1e9:.2%}" for seconds in TASK_TIMES), f"{figures[name].noise:.0%}")
            for name, ns in added.items()
        ),
        (
            f"a plain task costs {floor:,.0f} ns, its Future included",
            f"target: at most {TARGET:.0%} of {1000 * min(TASK_TIMES):g} ms: {'met' if share <= TARGET else 'missed'}",
        ),
    )


def _tasks(run: Runner) -> Loop:
    def perform(number: int) -> None:
        for _ in range(number):
            run(Future(), nothing, ())

    return perform


def _prometheus(*, kept: bool) -> Runner:
    """What one would write first: the client's metrics, and the sliding window beside them."""
    registry = CollectorRegistry()
    active = Gauge("active", "active", registry=registry)
    tasks = Counter("tasks", "tasks", ["outcome"], registry=registry)
    durations = Histogram("durations", "durations", buckets=BUCKETS, registry=registry)
    window, clock, ok = SlidingHistogram(), time.monotonic, tasks.labels("ok")

    def run(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        def counted() -> Any:
            active.inc()
            started = clock()
            value = fn(*args)
            now = clock()
            durations.observe(now - started)
            window.record(now - started, now)
            (ok if kept else tasks.labels("ok")).inc()
            active.dec()
            return value

        run_task(future, counted, ())

    return run


def _ours(number: int) -> None:
    with WorkerPool(WORKERS, number) as pool:
        for future in [pool.submit(nothing) for _ in range(number)]:
            future.result()


def _executor(number: int) -> None:
    with ThreadPoolExecutor(WORKERS) as executor:
        for future in [executor.submit(nothing) for _ in range(number)]:
            future.result()


def _sliding(number: int) -> None:
    record = SlidingHistogram().record
    for turn in range(number):
        record(0.001 + 0.0001 * (turn % 97), 7.0)


def _hdr(number: int) -> None:
    record = HdrHistogram(1, 60_000_000, 2).record_value
    for turn in range(number):
        record(1_000 + 100 * (turn % 97))


def _ddsketch(number: int) -> None:
    add = DDSketch(0.016).add
    for turn in range(number):
        add(0.001 + 0.0001 * (turn % 97))


HISTOGRAMS: dict[str, Loop] = {OURS: _sliding, "hdrhistogram, microseconds": _hdr, "ddsketch, 1.6 %": _ddsketch}
