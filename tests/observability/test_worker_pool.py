"""The plain worker pool: it runs what it accepts, refuses at once what it cannot hold, and can be resized meanwhile."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import weakref
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar
from typing import Any

import pytest

from shared.observability.contracts import Saturated
from shared.observability.worker_pool import WorkerPool, run_task
from shared.simulation import VirtualTime, explore


def in_virtual_time(program: Any) -> Any:
    return VirtualTime().run(program)


def test_a_future_holds_what_the_task_returned_or_raised() -> None:
    with WorkerPool(1, 4) as pool:
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
        assert isinstance(pool.submit(int, "seven").exception(), ValueError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
def test_a_worker_survives_every_exception(error: type[BaseException]) -> None:
    def task() -> None:
        raise error

    with WorkerPool(1, 4) as pool:
        assert type(pool.submit(task).exception()) is error
        assert pool.submit(str, 1).result() == "1"


def test_a_worker_survives_a_callback_that_raises_a_base_exception() -> None:
    def raises(_: Future[Any]) -> None:
        raise SystemExit

    def program() -> int:
        with WorkerPool(1, 4) as pool:
            pool.submit(time.sleep, 1.0).add_done_callback(raises)
            return pool.submit(int, "2").result()

    assert in_virtual_time(program) == 2


def test_it_holds_one_task_per_worker_and_queue_size_more_whoever_is_awake() -> None:
    def program() -> int:
        accepted = 0
        pool = WorkerPool(3, 2)
        with pytest.raises(Saturated):
            for _ in range(9):
                pool.submit(time.sleep, 1.0)
                accepted += 1
        pool.shutdown()
        return accepted

    assert in_virtual_time(program) == 5


def test_queue_size_0_accepts_only_what_a_free_worker_takes() -> None:
    def program() -> None:
        with WorkerPool(1, 0) as pool:
            pool.submit(time.sleep, 1.0)
            with pytest.raises(Saturated):
                pool.submit(time.sleep, 1.0)
            time.sleep(2.0)
            pool.submit(time.sleep, 1.0)

    in_virtual_time(program)


def test_a_cancelled_task_does_not_run() -> None:
    def program() -> list[str]:
        ran: list[str] = []
        with WorkerPool(1, 4) as pool:
            pool.submit(time.sleep, 1.0)
            time.sleep(0.5)
            cancelled = pool.submit(ran.append, "cancelled")
            pool.submit(ran.append, "kept")
            assert cancelled.cancel()
        with pytest.raises(CancelledError):
            cancelled.result()
        return ran

    assert in_virtual_time(program) == ["kept"]


def test_shutdown_lets_accepted_tasks_run_and_takes_no_more() -> None:
    def program() -> tuple[float, bool]:
        pool = WorkerPool(1, 4)
        futures = [pool.submit(time.sleep, 1.0) for _ in range(3)]
        pool.shutdown()
        with pytest.raises(RuntimeError):
            pool.submit(str, 1)
        return time.monotonic(), all(future.done() for future in futures)

    assert in_virtual_time(program) == (3.0, True)


def test_a_task_may_shut_its_own_pool_down() -> None:
    def program() -> None:
        pool = WorkerPool(2, 4)
        pool.submit(pool.shutdown).result()

    in_virtual_time(program)


def test_more_workers_take_what_waits_and_fewer_leave_when_their_task_has_ended() -> None:
    def program() -> list[float]:
        ended: list[float] = []

        def task() -> None:
            time.sleep(2.0)
            ended.append(time.monotonic())

        with WorkerPool(1, 8) as pool:
            for _ in range(6):
                pool.submit(task)
            time.sleep(1.0)
            pool.resize(3)  # one runs since 0 s, two more since 1 s
            time.sleep(0.5)
            pool.resize(1)
            assert pool.workers == 1
        return ended

    assert in_virtual_time(program) == [2.0, 3.0, 3.0, 5.0, 7.0, 9.0]


def test_a_pool_that_shrank_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    pool = WorkerPool(6, 1)
    pool.resize(2)
    pool.shutdown()
    assert threading.active_count() == before


def test_a_task_sees_the_workers_context_not_its_submitters() -> None:
    here: ContextVar[str] = ContextVar("here", default="nowhere")
    here.set("at the submitter")
    with WorkerPool(1, 1) as pool:
        assert pool.submit(here.get).result() == "nowhere"


def test_every_worker_gets_a_runner_of_its_own() -> None:
    made: list[list[str]] = []

    def new_runner() -> Any:
        calls: list[str] = []
        made.append(calls)

        def run(future: Future[Any], fn: Any, args: tuple[Any, ...]) -> None:
            calls.append(fn.__name__)
            run_task(future, fn, args)

        return run

    with WorkerPool(2, 4, new_runner=new_runner) as pool:
        assert pool.submit(len, "abc").result() == 3
    assert sorted(made) == [[], ["len"]]


def test_the_error_of_a_task_is_freed_without_the_garbage_collector() -> None:
    class Mark(Exception):
        pass

    def task() -> None:
        raise Mark

    gc.disable()
    try:
        with WorkerPool(1, 1) as pool:
            future = pool.submit(task)
            error = weakref.ref(future.exception() or Mark())
            pool.submit(str).result()  # the worker has let go of the first task
            del future
            assert error() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("workers", "queue_size"), [(0, 1), (-1, 1), (1, -1)])
def test_sizes_that_make_no_sense_are_refused(workers: int, queue_size: int) -> None:
    with pytest.raises(ValueError):
        WorkerPool(workers, queue_size)


def test_a_pool_cannot_be_resized_to_nothing_nor_after_shutdown() -> None:
    pool = WorkerPool(1, 1)
    with pytest.raises(ValueError):
        pool.resize(0)
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.resize(2)


def test_however_threads_interleave_what_is_accepted_runs_and_no_more_than_fits_is_accepted() -> None:
    def program() -> None:
        pool, ran, futures = WorkerPool(1, 1), [], []

        def submit(number: int) -> None:
            with contextlib.suppress(Saturated):
                futures.append(pool.submit(ran.append, number))

        callers = [threading.Thread(target=submit, args=(number,)) for number in range(3)]
        for caller in callers:
            caller.start()
        pool.resize(2)
        pool.resize(1)
        for caller in callers:
            caller.join()
        pool.shutdown()
        assert len(ran) == len(futures) >= 2 and all(future.done() for future in futures)

    report = explore(program, 120, answer=(WorkerPool,), leaks=True)
    assert report.ok, str(report)
