"""A run leaves nothing behind: no thread, no replaced reference; and nothing outside it notices."""

from __future__ import annotations

import _thread
import concurrent.futures.thread
import contextlib
import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.simulation import VirtualTime, run, scheduler


def global_state() -> dict[str, Any]:
    pools = concurrent.futures.thread
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "active": set(threading._active),  # type: ignore[attr-defined]
        "limbo": dict(threading._limbo),  # type: ignore[attr-defined]
        "pools": dict(pools._threads_queues),  # type: ignore[attr-defined]
        "threading": {name: value for name, value in vars(threading).items() if not name.startswith("__")},
        "_thread": dict(vars(_thread)),
        "time": dict(vars(time)),
        "queue": dict(vars(queue)),
        "pool names": dict(vars(pools)),
        "logging lock": logging._lock,  # type: ignore[attr-defined]
        "controlled": dict(scheduler.controlled),
        "gc": gc.isenabled(),
        "trace": sys.gettrace(),
        "tools": [sys.monitoring.get_tool(tool) for tool in range(6)] if sys.version_info >= (3, 12) else [],
    }


def leftovers() -> None:
    """Leaves an idle pool, a pending timer, a blocked thread and a daemon that never ends."""
    pool = ThreadPoolExecutor(2)
    pool.submit(time.sleep, 1)
    pool.submit(time.sleep, 100)
    threading.Timer(60, print).start()
    threading.Thread(target=queue.Queue().get, name="reader").start()

    def tick() -> None:
        while True:
            time.sleep(1)

    threading.Thread(target=tick, name="ticker", daemon=True).start()
    time.sleep(3)


@pytest.mark.parametrize("preempt", [False, True])
def test_threads_that_are_left_are_listed_and_gone(preempt: bool) -> None:
    before = global_state()
    outcome = run(leftovers, preempt=preempt)
    assert outcome.failure is None
    assert outcome.leaked == ("ThreadPoolExecutor-0_0", "ThreadPoolExecutor-0_1", "Thread-1", "reader", "ticker")
    after = global_state()
    for name in before:
        assert after[name] == before[name], name


def test_cleanup_code_runs_when_a_thread_is_unwound() -> None:
    log: list[str] = []
    lock = threading.Lock()

    def program() -> None:
        def wait() -> None:
            try:
                threading.Event().wait()
            finally:
                with lock:
                    log.append("cleaned up")

        threading.Thread(target=wait).start()

    run(program, preempt=False)
    assert log == ["cleaned up"]
    assert not lock.locked()


@pytest.mark.parametrize("preempt", [False, True])
def test_a_thread_that_swallows_everything_is_given_up(preempt: bool) -> None:
    def program() -> None:
        def stubborn() -> None:
            while True:
                with contextlib.suppress(BaseException):
                    queue.Queue().get()

        threading.Thread(target=stubborn, name="stubborn").start()

    with pytest.warns(RuntimeWarning, match="stubborn would not end"):
        outcome = run(program, preempt=preempt)
    assert outcome.leaked == ("stubborn",)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "stubborn")


def test_a_loop_without_a_wait_is_broken_into_when_the_run_is_over() -> None:
    def program() -> None:
        def spin() -> None:
            time.sleep(0)
            while True:
                pass

        threading.Thread(target=spin).start()

    assert run(program).failure is None
    assert threading.active_count() == len(threading.enumerate())


def test_an_interrupt_stops_the_run_and_restores_everything() -> None:
    before = global_state()

    def program() -> None:
        threading.Thread(target=queue.Queue().get).start()
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(program, preempt=False)
    finally:
        signal.signal(signal.SIGINT, usual)
    after = global_state()
    for name in before:
        assert after[name] == before[name], name


def test_a_thread_blocked_outside_control_is_a_hang_not_a_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(scheduler, "_TICK_SECONDS", 0.05)
    outside = scheduler._new_lock()
    outside.acquire()

    hidden = [outside]  # as a C extension would hide it: lists are not searched
    with pytest.warns(RuntimeWarning, match="main would not end"):
        failure = run(lambda: hidden[0].acquire(), preempt=False).failure
    assert failure is not None
    assert failure.kind == "hang"
    assert "main is blocked outside control" in failure.message
    outside.release()
    while scheduler.controlled:  # once it is free again, the thread ends at its next controlled operation
        os.sched_yield()


def test_an_endless_computation_is_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(scheduler, "BUSY_SECONDS", 0.2)

    def program() -> None:
        while True:
            pass

    failure = run(program, preempt=False).failure
    assert failure is not None
    assert failure.kind == "livelock"
    assert "`while True:`" in failure.message or "`pass`" in failure.message


def test_threads_outside_the_run_keep_real_time_and_real_locks() -> None:
    seen: list[Any] = []
    go, stop = threading.Event(), threading.Event()

    def outsider() -> None:
        go.wait()
        lock = threading.Lock()
        began = time.monotonic()
        with lock:
            seen.append((type(lock), time.monotonic() - began < 1000, type(queue.SimpleQueue())))
        stop.set()

    thread = threading.Thread(target=outsider)
    thread.start()

    def program() -> float:
        go.set()
        _wait_for_real(stop)
        time.sleep(5000)
        return time.monotonic()

    kinds = type(threading.Lock()), True, queue.SimpleQueue
    assert VirtualTime().run(program) == 5000.0
    thread.join()
    assert seen == [kinds]


def _wait_for_real(event: threading.Event) -> None:
    while not event.is_set():
        os.sched_yield()


def test_runs_of_two_threads_wait_for_one_another() -> None:
    def program() -> float:
        for _ in range(20):
            time.sleep(1)
        return time.monotonic()

    values: list[Any] = []
    threads = [threading.Thread(target=lambda: values.append(run(program, preempt=False).value)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == [20.0] * 3


def test_a_run_inside_a_run_is_refused_in_one_sentence() -> None:
    failure = run(lambda: run(lambda: None)).failure
    assert failure is not None
    assert "a controlled run cannot start another one" in failure.message


def test_objects_made_in_a_run_work_after_it() -> None:
    def program() -> tuple[Any, ...]:
        return threading.Lock(), threading.RLock(), threading.Condition(), queue.Queue(), threading.Event()

    lock, rlock, condition, items, event = run(program, preempt=False).value
    with lock, rlock, rlock, condition:
        assert lock.locked()
    threading.Thread(target=lambda: (items.put(1), event.set())).start()
    assert items.get(timeout=5) == 1
    assert event.wait(5)


def test_a_module_imported_during_a_run_gets_the_originals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sched", raising=False)

    def program() -> Any:
        import sched

        timetable = sched.scheduler()
        timetable.enter(5, 1, lambda: None)
        timetable.run()
        return time.monotonic()

    assert run(program, preempt=False).value == 5.0
    assert sys.modules["sched"]._time is time.monotonic  # type: ignore[attr-defined]


def test_a_handler_may_wait_while_others_log() -> None:
    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            time.sleep(1)

    log = logging.getLogger("test_controlled_run")
    log.propagate = False
    handler = Slow()
    log.addHandler(handler)
    try:

        def program() -> float:
            threads = [threading.Thread(target=log.warning, args=("x",)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return time.monotonic()

        assert run(program).value == 3.0
    finally:
        log.removeHandler(handler)


def test_an_exception_in_a_thread_is_kept_and_fails_the_run_only_when_asked() -> None:
    def program() -> str:
        thread = threading.Thread(target=lambda: 1 / 0, name="calculator")
        thread.start()
        thread.join()
        return "done"

    outcome = run(program, preempt=False)
    assert (outcome.value, outcome.failure) == ("done", None)
    assert [(name, type(error)) for name, error in outcome.thread_errors] == [("calculator", ZeroDivisionError)]
    failure = run(program, preempt=False, thread_errors=True).failure
    assert failure is not None
    assert failure.kind == "thread-exception"
    assert failure.message.startswith("calculator died of ZeroDivisionError")


def test_a_hook_that_the_program_installs_hears_of_thread_errors() -> None:
    def program() -> list[str]:
        heard: list[str] = []
        usual, threading.excepthook = threading.excepthook, lambda args: heard.append(args.exc_type.__name__)
        try:
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
        finally:
            threading.excepthook = usual
        return heard

    assert run(program, preempt=False).value in ([], ["ZeroDivisionError"])


def test_context_variables_of_the_caller_are_seen() -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    assert run(variable.get, preempt=False).value == "set"


def test_garbage_is_collected_between_runs_only() -> None:
    assert run(gc.isenabled, preempt=False).value is False
    assert gc.isenabled()


def test_a_bare_thread_is_controlled_too() -> None:
    def program() -> tuple[list[int], bool]:
        done: list[int] = []
        ident = _thread.start_new_thread(done.append, (1,))
        time.sleep(1)
        return done, isinstance(ident, int)

    assert run(program).value == ([1], True)


def test_idle_pool_workers_end_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[ThreadPoolExecutor] = []

    def program() -> int:
        kept.append(ThreadPoolExecutor(2))
        return kept[0].submit(lambda: 7).result()

    assert run(program).value == 7
    assert caplog.records == []
