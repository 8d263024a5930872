"""The instrumented pool: five answers, from a scrape and from a snapshot, and counted before they are known."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from shared.observability.contracts import PoolSnapshot, Saturated
from shared.observability.instrumented_worker_pool import BUCKETS, InstrumentedWorkerPool
from shared.simulation import VirtualTime, explore

DURATION = "worker_pool_task_duration_seconds"


class Scraped:
    """A pool and its registry, read as Prometheus reads it."""

    def __init__(self, workers: int = 2, queue_size: int = 2) -> None:
        self.registry = CollectorRegistry()
        self.pool = InstrumentedWorkerPool(workers, queue_size, self.registry, time.monotonic)

    def value(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, f"{name} {labels} is not exposed"
        return value

    def outcomes(self) -> dict[str, float]:
        return {
            outcome: self.value("worker_pool_tasks_total", outcome=outcome) for outcome in ("ok", "failed", "cancelled")
        }


def fail(error: BaseException) -> None:
    raise error


def run(program: Any) -> Any:
    return VirtualTime().run(program)


def test_an_idle_pool_says_so() -> None:
    def program() -> None:
        scraped = Scraped(3)
        assert scraped.pool.snapshot() == PoolSnapshot(0, 0, 3, None, 0, False)
        assert scraped.outcomes() == {"ok": 0, "failed": 0, "cancelled": 0}
        scraped.pool.shutdown()

    run(program)


def test_gauges_tell_who_waits_and_who_runs() -> None:
    def program() -> None:
        scraped = Scraped(2, 3)
        for _ in range(4):
            scraped.pool.submit(time.sleep, 2.0)
        time.sleep(1.0)
        told = scraped.pool.snapshot()
        assert (told.queued, told.active, told.idle) == (2, 2, 0)
        assert scraped.value("worker_pool_queue_size") == scraped.value("worker_pool_workers_active") == 2
        scraped.pool.shutdown()
        told = scraped.pool.snapshot()
        assert (told.queued, told.active, told.idle) == (0, 0, 2)

    run(program)


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), KeyboardInterrupt()])
def test_whatever_a_task_raises_it_failed_and_its_worker_is_free(error: BaseException) -> None:
    def program() -> None:
        scraped = Scraped(1)
        assert scraped.pool.submit(fail, error).exception() is error
        assert scraped.outcomes() == {"ok": 0, "failed": 1, "cancelled": 0}
        assert scraped.pool.snapshot().failed_5m == 1
        assert scraped.value("worker_pool_workers_active") == 0
        scraped.pool.shutdown()

    run(program)


def test_a_cancelled_task_is_in_one_outcome_and_in_no_histogram() -> None:
    def program() -> None:
        scraped = Scraped(1)
        scraped.pool.submit(time.sleep, 1.0)
        time.sleep(0.5)
        assert scraped.pool.submit(time.sleep, 1.0).cancel()
        scraped.pool.shutdown()
        assert scraped.outcomes() == {"ok": 1, "failed": 0, "cancelled": 1}
        assert scraped.value(f"{DURATION}_count") == 1

    run(program)


def test_a_refused_task_is_refused_and_nothing_else_and_forgotten_after_a_minute() -> None:
    def program() -> None:
        scraped = Scraped(1, 1)
        with pytest.raises(Saturated):
            for _ in range(5):
                scraped.pool.submit(time.sleep, 1.0)
        assert scraped.value("worker_pool_rejected_total") == 1
        assert scraped.pool.snapshot().rejecting
        time.sleep(59.0)
        assert scraped.pool.snapshot().rejecting
        time.sleep(2.0)
        assert not scraped.pool.snapshot().rejecting
        assert scraped.outcomes() == {"ok": 2, "failed": 0, "cancelled": 0}
        scraped.pool.shutdown()

    run(program)


def test_durations_are_run_times_in_cumulative_buckets() -> None:
    def program() -> None:
        scraped = Scraped(1, 8)
        for seconds in (0.0015, 0.02, 0.3, 40.0):
            scraped.pool.submit(time.sleep, seconds)
        scraped.pool.shutdown()
        assert scraped.value(f"{DURATION}_sum") == pytest.approx(40.3215)
        counts = {le: scraped.value(f"{DURATION}_bucket", le=le) for le in ("0.001", "0.002", "0.025", "0.5", "+Inf")}
        assert counts == {"0.001": 0, "0.002": 1, "0.025": 2, "0.5": 3, "+Inf": 4}

    run(program)


def test_the_first_buckets_are_those_of_the_course() -> None:
    assert BUCKETS[:5] == (0.001, 0.002, 0.005, 0.01, 0.025)
    assert list(BUCKETS) == sorted(set(BUCKETS))


def test_p99_and_failures_forget_in_silence() -> None:
    def program() -> None:
        scraped = Scraped(2, 200)
        for turn in range(100):
            scraped.pool.submit(time.sleep, 0.001 * (turn + 1))
        scraped.pool.submit(fail, OSError()).exception()
        p99 = scraped.pool.snapshot().p99_60s
        assert p99 == pytest.approx(0.099, rel=0.016 + 0.011)
        time.sleep(62.0)
        assert scraped.pool.snapshot().p99_60s is None
        assert scraped.pool.snapshot().failed_5m == 1
        time.sleep(240.0)
        assert scraped.pool.snapshot().failed_5m == 0
        scraped.pool.shutdown()

    run(program)


def test_two_pools_in_one_registry_are_refused_and_leave_no_thread() -> None:
    registry = CollectorRegistry()
    pool = InstrumentedWorkerPool(1, 1, registry)
    before = threading.active_count()

    def program() -> None:
        with pytest.raises(ValueError, match="Duplicated"):
            InstrumentedWorkerPool(1, 1, registry)

    run(program)
    pool.shutdown()
    assert threading.active_count() == before - 1


Step = tuple[str, float]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(0, 3),
    st.lists(
        st.tuples(st.sampled_from(["ok", "fail", "cancel", "wait"]), st.sampled_from([0.0, 0.5, 3.0])), max_size=25
    ),
)
def test_the_counts_agree_with_a_model(workers: int, queue_size: int, steps: list[Step]) -> None:
    def program() -> None:
        scraped = Scraped(workers, queue_size)
        accepted = refused = 0
        futures = []

        def task(seconds: float, fails: bool) -> None:
            time.sleep(seconds)
            if fails:
                raise ValueError

        for what, seconds in steps:
            if what == "wait":
                time.sleep(seconds + 0.25)
            elif what == "cancel":
                _ = futures and futures[-1].cancel()
            else:
                try:
                    futures.append(scraped.pool.submit(task, seconds, what == "fail"))
                    accepted += 1
                except Saturated:
                    refused += 1
            told = scraped.pool.snapshot()
            assert told.active + told.idle == workers
            assert 0 <= told.queued <= queue_size + workers
        scraped.pool.shutdown()
        cancelled = sum(future.cancelled() for future in futures)
        failed = sum(not future.cancelled() and future.exception() is not None for future in futures)
        expected = {"ok": accepted - cancelled - failed, "failed": failed, "cancelled": cancelled}
        assert scraped.outcomes() == expected
        assert scraped.value("worker_pool_rejected_total") == refused
        assert scraped.value(f"{DURATION}_count") == accepted - cancelled
        assert scraped.pool.snapshot().queued == 0

    run(program)


def test_however_threads_interleave_whoever_has_the_outcome_finds_it_counted() -> None:
    def program() -> None:
        scraped = Scraped(2, 4)

        def submit_and_look(error: BaseException | None) -> None:
            future = scraped.pool.submit(fail, error) if error else scraped.pool.submit(str)
            future.exception()
            assert scraped.outcomes()["failed" if error else "ok"] == 1
            told = scraped.pool.snapshot()
            assert told.active + told.idle == 2 and min(told.active, told.idle, told.queued) >= 0
            assert told.p99_60s is not None

        other = threading.Thread(target=submit_and_look, args=(ValueError(),))
        other.start()
        submit_and_look(None)
        other.join()
        scraped.pool.shutdown()
        assert scraped.outcomes() == {"ok": 1, "failed": 1, "cancelled": 0}

    report = explore(program, 100, answer=(InstrumentedWorkerPool,))
    assert report.ok, str(report)
