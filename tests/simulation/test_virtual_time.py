"""Virtual time: it moves only when every thread waits, and everything that waits sees the same clock."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic, sleep
from typing import NamedTuple

import pytest

from shared.simulation import Deadlock, Stuck, VirtualTime, run

MODULE_LOCK = threading.Lock()
MODULE_CONDITION = threading.Condition()
MODULE_QUEUE: queue.Queue[int] = queue.Queue()


def test_an_hour_of_sleep_is_an_hour_on_every_clock() -> None:
    def hour() -> tuple[float, ...]:
        before = time.monotonic(), time.perf_counter(), time.time(), time.monotonic_ns() / 1e9, time.time_ns() / 1e9
        time.sleep(3600)
        after = time.monotonic(), time.perf_counter(), time.time(), time.monotonic_ns() / 1e9, time.time_ns() / 1e9
        return tuple(round(b - a, 6) for a, b in zip(before, after, strict=True))

    virtual = VirtualTime(start=5.0)
    assert virtual.run(hour) == (3600.0,) * 5
    assert virtual.now == 3605.0


def test_ten_tenths_make_one_second() -> None:
    def sleeper() -> float:
        for _ in range(10):
            time.sleep(0.1)
        return time.monotonic()

    assert VirtualTime().run(sleeper) == 1.0


def test_a_wait_that_float_arithmetic_makes_tiny_still_ends() -> None:
    def wait() -> bool:
        deadline = 0.1 + 0.2  # 0.30000000000000004
        time.sleep(0.3)
        event = threading.Event()
        while (left := deadline - time.monotonic()) > 0:
            event.wait(left)
        return time.monotonic() >= deadline

    assert VirtualTime().run(wait)


def test_time_stands_still_while_a_thread_runs() -> None:
    def busy() -> float:
        threading.Timer(1.0, lambda: None).start()
        for _ in range(10_000):
            pass
        return time.monotonic()

    assert VirtualTime().run(busy) == 0.0


def test_a_tie_goes_to_whoever_came_first() -> None:
    def tie() -> list[int]:
        order: list[int] = []

        def nap(number: int) -> None:
            time.sleep(1)
            order.append(number)

        threads = [threading.Thread(target=nap, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return order

    assert VirtualTime().run(tie) == [0, 1, 2, 3, 4]


WAITS: dict[str, Callable[[], object]] = {
    "event": lambda: threading.Event().wait(3),
    "lock": lambda: _held_lock().acquire(timeout=3),
    "semaphore": lambda: threading.Semaphore(0).acquire(timeout=3),
    "condition": lambda: _waits_on_condition(),
    "queue": lambda: queue.Queue().get(timeout=3),
    "simple queue": lambda: queue.SimpleQueue().get(timeout=3),
    "future": lambda: Future().result(timeout=3),
    "barrier": lambda: threading.Barrier(2).wait(timeout=3),
    "join": lambda: _sleeping_thread().join(timeout=3),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_every_timeout_takes_its_virtual_time(wait: Callable[[], object]) -> None:
    virtual = VirtualTime()
    with contextlib.suppress(queue.Empty, TimeoutError, threading.BrokenBarrierError):
        virtual.run(wait)
    assert virtual.now == 3.0


def _held_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


def _waits_on_condition() -> bool:
    condition = threading.Condition()
    with condition:
        return condition.wait(3)


def _sleeping_thread() -> threading.Thread:
    thread = threading.Thread(target=time.sleep, args=(10,))
    thread.start()
    return thread


def test_a_pool_works_in_parallel() -> None:
    def pool() -> tuple[list[float], float]:
        def work(seconds: float) -> float:
            time.sleep(seconds)
            return time.monotonic()

        with ThreadPoolExecutor(2) as executor:
            return list(executor.map(work, [3, 1, 1])), time.monotonic()

    assert VirtualTime().run(pool) == ([3.0, 1.0, 2.0], 3.0)


def test_references_that_the_code_took_earlier_are_virtual_too() -> None:
    @dataclass(frozen=True)
    class Stopwatch:
        clock: Callable[[], float] = monotonic
        lock: object = field(default_factory=Lock)

        def lap(self, pause: Callable[[float], None] = sleep) -> float:
            with self.lock:  # type: ignore[attr-defined]
                pause(7)
            return self.clock()

    kept = Stopwatch()
    bound = functools.partial(kept.lap, pause=sleep)
    assert VirtualTime().run(Stopwatch().lap) == 7.0
    assert VirtualTime().run(bound) == 7.0
    assert kept.clock is monotonic
    assert Stopwatch.lap.__defaults__ == (sleep,)


def test_a_named_tuple_is_code_of_the_answer_although_half_of_its_methods_are_the_library_s() -> None:
    class Instant(NamedTuple):
        now: Callable[[], float]
        at: float

        @classmethod
        def after(cls, seconds: float, clock: Callable[[], float] = monotonic) -> Instant:
            return cls(clock, clock() + seconds)

        def left(self) -> float:
            return self.at - self.now()

    def program() -> float:
        instant = Instant.after(3.0)
        time.sleep(2.0)
        return instant.left()

    assert VirtualTime().run(program) == 1.0


def test_locks_and_queues_made_before_the_run_wait_on_the_scheduler() -> None:
    def program() -> tuple[int, float]:
        def holder() -> None:
            with MODULE_LOCK:
                time.sleep(2)
            with MODULE_CONDITION:
                MODULE_CONDITION.notify()

        threading.Thread(target=holder).start()
        with MODULE_LOCK:
            threading.Timer(1, MODULE_QUEUE.put, args=(5,)).start()
        return MODULE_QUEUE.get(), time.monotonic()

    real = MODULE_LOCK, MODULE_CONDITION._lock  # type: ignore[attr-defined]
    assert VirtualTime().run(program) == (5, 3.0)
    assert (MODULE_LOCK, MODULE_CONDITION._lock) == real  # type: ignore[attr-defined]
    assert not MODULE_LOCK.locked()


def test_a_contended_lock_is_given_first_come_first_served() -> None:
    def program() -> list[str]:
        lock, order = threading.Lock(), []

        def worker(name: str) -> None:
            for _ in range(2):
                with lock:
                    order.append(name)
                    time.sleep(1)

        threads = [threading.Thread(target=worker, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return order

    assert VirtualTime().run(program) == list("abcabc")


def test_what_the_function_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        VirtualTime().run(lambda: 1 / 0)


def test_a_deadlock_is_an_error_that_names_locks_and_holders() -> None:
    def program() -> None:
        first = threading.Lock()
        second = threading.Lock()

        def backwards() -> None:
            with second:
                time.sleep(1)
                with first:
                    pass

        thread = threading.Thread(target=backwards, name="worker")
        thread.start()
        with first:
            time.sleep(1)
            with second:
                pass

    with pytest.raises(Deadlock) as caught:
        VirtualTime().run(program)
    text = str(caught.value)
    assert "main holds `first` (created at test_virtual_time.py:" in text
    assert "waits for `second` (created at test_virtual_time.py:" in text
    assert "held by worker" in text


def test_polling_the_clock_is_stuck_and_says_why() -> None:
    def program() -> None:
        while time.monotonic() < 1:
            pass

    with pytest.raises(Stuck, match="Virtual time stands still while a thread runs"):
        VirtualTime().run(program)


def test_coroutines_threads_and_timeouts_share_the_clock() -> None:
    async def program() -> tuple[str, float]:
        async with asyncio.timeout(100):
            await asyncio.to_thread(time.sleep, 50)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(60)
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[str] = loop.create_future()
        threading.Timer(5, loop.call_soon_threadsafe, args=(woken.set_result, "woken")).start()
        return await woken, time.monotonic()

    assert VirtualTime().run_async(program) == ("woken", 65.0)


def test_coroutines_run_inside_a_running_loop() -> None:
    async def cell() -> float:
        async def program() -> float:
            await asyncio.sleep(30)
            return time.monotonic()

        return VirtualTime().run_async(program)

    assert asyncio.run(cell()) == 30.0


def test_real_sockets_are_refused_in_words() -> None:
    async def program() -> None:
        await asyncio.open_connection("127.0.0.1", 9)

    with pytest.raises(RuntimeError, match="outside virtual time: give the code under test a fake"):
        VirtualTime().run_async(program)


def test_default_thread_names_are_the_same_in_every_run() -> None:
    def program() -> list[str]:
        threads = [threading.Thread(target=len, args=("",)) for _ in range(2)]
        with ThreadPoolExecutor(1) as executor:
            worker = executor.submit(lambda: threading.current_thread().name).result()
        return [*(thread.name for thread in threads), worker]

    expected = ["Thread-1 (len)", "Thread-2 (len)", "ThreadPoolExecutor-0_0"]
    assert run(program, preempt=False).value == run(program).value == expected
