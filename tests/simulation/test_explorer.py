"""The explorer finds races, tells failures apart, explains them in words, and never blames a correct program."""

from __future__ import annotations

import asyncio
import importlib
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.simulation import Schedule, explore, explore_async, run, shrink_schedule, strategies
from shared.simulation.scheduler import ControlledThread, Scheduler, controlled
from shared.simulation.strategies import RandomWalk

TALLY = 0


def lost_update() -> None:
    class Counter:
        value = 0

    counter = Counter()

    def add() -> None:
        seen = counter.value
        counter.value = seen + 1

    both(add)
    assert counter.value == 2, f"{counter.value} instead of 2"


def guarded_update() -> None:
    lock = threading.Lock()
    values = [0]

    def add() -> None:
        with lock:
            seen = values[0]
            values[0] = seen + 1

    both(add)
    assert values == [2]


def both(target: Callable[[], object], names: tuple[str, str] = ("ann", "bob")) -> None:
    threads = [threading.Thread(target=target, name=name) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lock_order() -> None:
    first = threading.Lock()
    second = threading.Lock()

    def forwards() -> None:
        with first, second:
            pass

    def backwards() -> None:
        with second, first:
            pass

    threads = [threading.Thread(target=forwards, name="ann"), threading.Thread(target=backwards, name="bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_lost_update_is_found_shrunk_replayed_and_told() -> None:
    report = explore(lost_update)
    assert not report.ok
    assert report.failure is not None
    assert report.failure.kind == "invariant"
    assert len(report.schedule) == 1
    assert report.replay().failure is not None
    assert report.replay().schedule == report.schedule
    story = str(report)
    assert "AssertionError: 1 instead of 2, at test_explorer.py:" in story
    assert "→ ann stopped before `counter.value = seen + 1` (test_explorer.py:" in story
    assert "report.replay()" in story


def test_the_same_seed_finds_the_same_schedule() -> None:
    first, second = explore(lost_update, seed=7), explore(lost_update, seed=7)
    assert (first.schedule, first.schedules_run) == (second.schedule, second.schedules_run)


def test_a_correct_program_is_not_blamed() -> None:
    report = explore(guarded_update, 100)
    assert report.ok
    assert str(report) == "No failure in 100 schedules (seed 0)."


def test_no_schedule_finds_the_lost_update_without_preemption() -> None:
    assert all(run(lost_update, strategy=strategy, preempt=False).failure is None for strategy in strategies(0, 50))


def test_a_deadlock_says_who_holds_what() -> None:
    report = explore(lock_order)
    assert report.failure is not None
    assert report.failure.kind == "deadlock"
    assert "ann holds `first` (created at test_explorer.py:" in report.failure.message
    assert "bob holds `second` (created at test_explorer.py:" in report.failure.message
    assert "main waits in Thread.join() of ann" in report.failure.message
    waiting = {thread["name"]: thread["held_by"] for thread in report.failure.threads}
    assert waiting == {"main": None, "ann": "bob", "bob": "ann"}


def test_locks_of_one_line_are_told_apart() -> None:
    def program() -> None:
        locks = [threading.Lock() for _ in range(2)]
        for lock in locks:
            lock.acquire()
        threading.Thread(target=locks[0].acquire).start()
        locks[1].acquire()

    failure = run(program, preempt=False).failure
    assert failure is not None
    assert "no. 1 (created at" in failure.message
    assert "no. 2 (created at" in failure.message
    assert "held by itself" in failure.message


def raises_in_thread() -> None:
    thread = threading.Thread(target=lambda: 1 / 0, name="calculator")
    thread.start()
    thread.join()


def reader_is_left() -> None:
    threading.Thread(target=queue.Queue().get, name="reader").start()


def spins() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("program", "kind", "words"),
    [
        (lambda: {}["key"], "exception", "KeyError: 'key'"),
        (raises_in_thread, "thread-exception", "calculator died of ZeroDivisionError"),
        (reader_is_left, "leak", "still running after the program: reader"),
        (spins, "livelock", "a loop that polls must wait"),
    ],
)
def test_failures_are_told_apart(program: Callable[[], object], kind: str, words: str) -> None:
    report = explore(program, leaks=True, max_steps=5_000)
    assert report.failure is not None
    assert report.failure.kind == kind
    assert words in str(report)


def test_what_ends_within_a_second_is_no_leak() -> None:
    def program() -> None:
        threading.Thread(target=time.sleep, args=(0.9,)).start()
        ThreadPoolExecutor(1).submit(time.sleep, 0.5)  # nobody keeps it: its worker ends by itself

    assert explore(program, 20, leaks=True).ok


def test_thread_errors_may_be_part_of_a_program() -> None:
    assert explore(raises_in_thread, 10, thread_errors=False).ok


def test_a_check_judges_what_the_program_returns() -> None:
    def check(value: int) -> None:
        assert value == 4

    report = explore(lambda: 2 + 3, check=check)
    assert report.failure is not None
    assert report.failure.kind == "invariant"


def test_a_busy_wait_for_another_thread_is_no_livelock() -> None:
    def program() -> None:
        ready: list[int] = []

        def prepare() -> None:
            for _ in range(20):
                time.sleep(0)
            ready.append(1)

        threading.Thread(target=prepare).start()
        while not ready:
            pass

    assert explore(program, 40).ok


def test_a_retry_loop_under_a_lock_starves_nobody() -> None:
    def program() -> None:
        lock, done = threading.Lock(), []

        def finish() -> None:
            with lock:
                done.append(1)

        threading.Thread(target=finish).start()
        while True:
            with lock:
                if done:
                    return

    assert explore(program, 40).ok


def test_a_timer_that_fires_as_it_is_cancelled_is_woken_once() -> None:
    def program() -> None:
        timer = threading.Timer(1, lambda: None)
        timer.start()
        time.sleep(1)
        timer.cancel()
        timer.join()

    assert explore(program, 60).ok


def test_a_new_thread_may_begin_later_than_it_was_started() -> None:
    def program() -> None:
        sessions = {"ann": 1, "bob": 2}
        login = threading.Thread(target=sessions.setdefault, args=("eve", 3))  # all of it is one C call
        login.start()
        for name in sessions:
            len(name)
        login.join()

    report = explore(program)
    assert report.failure is not None
    assert "dictionary changed size" in report.failure.message


def test_pool_threads_are_joined_in_the_same_order_in_every_run() -> None:
    def program() -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: time.sleep(1), range(8)))
            return [thread.name for thread in pool._threads]

    assert run(program, preempt=False).value == [f"ThreadPoolExecutor-0_{number}" for number in range(8)]


def test_containers_are_shared_memory() -> None:
    def program() -> None:
        stock = {"apples": 2}

        def buy() -> None:
            stock["apples"] = stock["apples"] - 1

        both(buy)
        assert stock["apples"] == 0

    assert not explore(program).ok


def test_a_module_that_threads_import_is_not_stopped_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "price_list.py").write_text("prices = {}\nfor item in 'abc':\n    prices[item] = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    stopped: list[object] = []

    def program() -> None:
        sys.modules.pop("price_list", None)

        def look() -> None:
            stopped.append(getattr(sys.modules.get("price_list"), "prices", None))

        threading.Thread(target=look).start()
        importlib.import_module("price_list")

    for strategy in strategies(0, 40):
        run(program, strategy=strategy)
    assert all(not prices or len(prices) == 3 for prices in stopped)
    sys.modules.pop("price_list", None)


def test_what_needs_three_stops_is_told_in_three_switches() -> None:
    def program() -> None:
        forks = [threading.Lock() for _ in range(3)]

        def dine(seat: int) -> None:
            with forks[seat], forks[(seat + 1) % 3]:
                pass

        threads = [threading.Thread(target=dine, args=(seat,)) for seat in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    report = explore(program)
    assert report.failure is not None
    assert report.failure.kind == "deadlock"
    assert len(report.schedule) <= 3


def test_a_random_walk_leaves_the_default_order_as_often_as_it_is_told() -> None:
    walk = RandomWalk(random.Random(0), 0.25)
    left = sum(walk.choose(["ann", "bob", "eve"], "ann") != "ann" for _ in range(1_000))
    assert 200 < left < 300


def test_global_variables_are_shared_memory() -> None:
    def program() -> None:
        global TALLY
        TALLY = 0

        def add() -> None:
            global TALLY
            TALLY += 1

        both(add)
        assert TALLY == 2

    assert explore(program).failure is not None


def test_a_program_that_draws_random_numbers_still_replays() -> None:
    def program() -> None:
        for _ in range(random.randint(0, 30)):
            time.sleep(0)
        lost_update()

    before = random.getstate()
    report = explore(program)
    assert random.getstate() == before
    assert not report.ok
    assert report.replays
    for _ in range(5):
        random.random()
        assert report.replay().failure is not None


def test_a_program_that_varies_by_itself_is_reported_as_such() -> None:
    calls = []

    def program() -> None:
        calls.append(1)
        assert len(calls) != 3

    report = explore(program)
    assert report.failure is not None
    assert not report.replays
    assert "the program varies by itself" in str(report)


ACCOUNT = """
class Account:
    balance = 0
    def add(self):
        seen = self.balance
        self.balance = seen + 1
"""


def test_code_of_an_answer_is_preempted_wherever_it_lives() -> None:
    namespace: dict[str, object] = {"__name__": "answer"}
    exec(compile(ACCOUNT, random.__file__, "exec"), namespace)  # as if it were a file of the standard library
    account: type = namespace["Account"]  # type: ignore[assignment]

    def program() -> None:
        shared = account()
        both(shared.add)
        assert shared.balance == 2

    assert explore(program, 60).ok
    assert not explore(program, 200, answer=[account]).ok
    assert not explore(program, 200, answer=[namespace]).ok


def test_a_run_follows_the_schedule_it_is_given() -> None:
    report = explore(lost_update)
    assert run(lost_update, schedule=report.schedule).failure is not None
    assert run(lost_update, schedule={}).failure is None
    assert run(lost_update, schedule={5: "nobody"}).schedule == {}


def test_shrinking_keeps_what_the_failure_needs() -> None:
    full: Schedule = {step: "ann" for step in range(40)}

    def fails(schedule: Schedule) -> bool:
        return {7, 23} <= set(schedule)

    assert shrink_schedule(full, fails) == {7: "ann", 23: "ann"}
    assert shrink_schedule({}, fails) == {}


def test_strategies_are_a_function_of_the_seed() -> None:
    def schedules(seed: int) -> list[Schedule]:
        return [run(lost_update, strategy=strategy).schedule for strategy in strategies(seed, 30)]

    assert schedules(1) == schedules(1)
    assert schedules(1) != schedules(2)
    assert schedules(1)[0] == {}


async def lost_update_over_await() -> None:
    value = 0

    async def add() -> None:
        nonlocal value
        seen = value
        await asyncio.sleep(0)
        value = seen + 1

    await asyncio.gather(add(), add())
    assert value == 2


async def relies_on_order() -> None:
    order: list[int] = []

    async def step(number: int) -> None:
        order.append(number)

    await asyncio.gather(*(step(number) for number in range(3)))
    assert order == [0, 1, 2]


async def guarded_update_over_await() -> None:
    lock, values = asyncio.Lock(), [0]

    async def add() -> None:
        async with lock:
            seen = values[0]
            await asyncio.sleep(0.1)
            values[0] = seen + 1

    await asyncio.gather(add(), add(), add())
    assert values == [3]


async def lock_order_over_await() -> None:
    first, second = asyncio.Lock(), asyncio.Lock()

    async def take(one: asyncio.Lock, other: asyncio.Lock) -> None:
        async with one:
            await asyncio.sleep(0.1)
            async with other:
                pass

    await asyncio.gather(take(first, second), take(second, first))


async def polls_for_another_task() -> None:
    done = False

    async def finish() -> None:
        nonlocal done
        await asyncio.sleep(0)
        done = True

    task = asyncio.create_task(finish())
    while not done:
        await asyncio.sleep(0)
    await task


@pytest.mark.parametrize("program", [lost_update_over_await, relies_on_order])
def test_orders_of_tasks_are_explored_and_replayed(program: Callable[[], object]) -> None:
    report = explore_async(program)  # type: ignore[arg-type]
    assert report.failure is not None
    assert report.failure.kind == "invariant"
    assert report.replays
    assert report.replay().failure is not None
    assert len(report.schedule) <= 1
    assert "Task-" in str(report)


@pytest.mark.parametrize("program", [guarded_update_over_await, polls_for_another_task])
def test_correct_coroutines_are_not_blamed(program: Callable[[], object]) -> None:
    assert explore_async(program, 60).ok  # type: ignore[arg-type]


def test_a_deadlock_of_tasks_says_where_each_waits() -> None:
    report = explore_async(lock_order_over_await)
    assert report.failure is not None
    assert report.failure.kind == "deadlock"
    assert report.failure.message.count("`async with other:`") == 2


def test_a_task_that_is_left_is_a_leak() -> None:
    async def program() -> None:
        asyncio.create_task(asyncio.sleep(100), name="heartbeat")  # noqa: RUF006

    report = explore_async(program, leaks=True)
    assert report.failure is not None
    assert report.failure.kind == "leak"
    assert "heartbeat" in report.failure.message
    assert explore_async(program, 5).ok


def test_an_error_that_nobody_awaits_is_found() -> None:
    async def program() -> None:
        async def fail() -> None:
            raise ValueError("lost")

        asyncio.create_task(fail())  # noqa: RUF006
        await asyncio.sleep(1)

    report = explore_async(program)
    assert report.failure is not None
    assert report.failure.kind == "thread-exception"
    assert explore_async(program, 5, thread_errors=False).ok


def test_tasks_are_explored_inside_a_running_loop() -> None:
    async def cell() -> bool:
        return explore_async(lost_update_over_await).ok

    assert asyncio.run(cell()) is False


class SharedGenerator:
    """Runs one generator in whatever thread calls `step`, which wakes those who wait."""

    def __init__(self) -> None:
        self.stepped = threading.Condition()
        self.steps = 0
        self._machine = self._run()
        next(self._machine)

    def step(self) -> None:
        with self.stepped:
            self._machine.send(None)

    def _run(self) -> Iterator[None]:
        while True:
            yield
            self.stepped.notify_all()
            self.steps += 1


def test_a_generator_that_changes_threads_is_stopped_as_the_thread_that_runs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared: list[SharedGenerator] = []
    mistaken: list[str] = []
    usual = Scheduler.switch_point

    def switch_point(self: Scheduler, me: ControlledThread, *weight: int) -> None:
        if controlled[threading.get_ident()] is not me:
            mistaken.append(me.name)
        usual(self, me, *weight)

    def waits(machine: SharedGenerator) -> None:
        with machine.stepped:
            machine.stepped.wait_for(lambda: machine.steps == 3)

    def program() -> None:
        machine = SharedGenerator()
        shared.append(machine)
        together = [threading.Thread(target=machine.step) for _ in range(2)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        waiting = threading.Thread(target=waits, args=(machine,))
        waiting.start()
        time.sleep(1.0)
        machine.step()
        waiting.join()

    monkeypatch.setattr(Scheduler, "switch_point", switch_point)
    assert explore(program, schedules=20, answer=(SharedGenerator,)).ok
    assert shared[-1].steps == 3
    assert not mistaken


class PriceTag:
    """`change` runs to its end while nobody could be preempted, so its text alone tells that `price` changes."""

    def __init__(self) -> None:
        self.price, self.changes = "old", 0
        self.cache: dict[str, str] = {}
        self.lock = threading.Lock()

    def read(self) -> None:
        if "tag" not in self.cache:
            price = self.price
            self.cache["tag"] = price

    def change(self) -> None:
        self.price = "new"
        with self.lock:
            self.changes += 1
            self.cache.pop("tag", None)


def test_what_is_written_while_a_thread_is_alone_counts_as_shared_from_the_first_schedule_on() -> None:
    def program() -> None:
        tag = PriceTag()
        reader = threading.Thread(target=tag.read)
        reader.start()
        tag.change()
        reader.join()
        assert tag.cache.get("tag") != "old"

    needed = [explore(program, schedules=100, seed=seed).schedules_run for seed in range(10)]
    assert max(needed) <= 20, needed
