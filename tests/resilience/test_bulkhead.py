"""What the bulkheads promise: each tenant has its own places and its own waiting room, and no permit is lost."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from shared.resilience.bulkhead import (
    AsyncBulkhead,
    Bulkhead,
    Compartment,
    Event,
    Expired,
    Finished,
    Rejected,
    Usage,
    _Call,
    _Tenant,
)
from shared.resilience.contracts import TenantLimit
from shared.simulation import VirtualTime, explore, explore_async

LIMITS = {"premium": TenantLimit(3, 4), "free": TenantLimit(1, 1)}
INSIDE = (Bulkhead, _Tenant, _Call, Compartment, AsyncBulkhead)


class Thread(threading.Thread):
    """Makes one call, and keeps what came of it."""

    def __init__(self, bulkhead: Bulkhead, fn: Callable[[], Any], timeout: float = 100.0, tenant: str = "free") -> None:
        super().__init__(daemon=True)
        self.submit = lambda: bulkhead.submit(tenant, fn, timeout)
        self.value: Any = None
        self.error: BaseException | None = None
        self.until = 0.0
        self.start()

    def run(self) -> None:
        try:
            self.value = self.submit()
        except BaseException as error:
            self.error = error
        self.until = time.monotonic()


def running(seconds: float, log: list[Any] | None = None) -> Callable[[], float]:
    def fn() -> float:
        if log is not None:
            log.append(time.monotonic())
        time.sleep(seconds)
        return seconds

    return fn


def in_virtual_time(program: Callable[[], None]) -> None:
    VirtualTime().run(program)


class TestTheThreadedBulkhead:
    def test_the_caller_gets_the_value_and_the_very_exception(self):
        def program() -> None:
            bulkhead = Bulkhead(LIMITS)
            value, error = object(), TimeoutError("from the function")

            def fails() -> None:
                raise error

            assert bulkhead.submit("free", lambda: value, 1.0) is value
            with pytest.raises(TimeoutError) as raised:
                bulkhead.submit("free", fails, 1.0)
            assert raised.value is error

        in_virtual_time(program)

    def test_an_unknown_tenant_is_told_who_is_known(self):
        with pytest.raises(KeyError, match="no limit for tenant 'gold', only for 'premium', 'free'"):
            Bulkhead(LIMITS).submit("gold", str, 1.0)

    @pytest.mark.parametrize("timeout", [-1.0, float("nan")])
    def test_a_timeout_that_is_no_duration_is_refused(self, timeout):
        with pytest.raises(ValueError, match="timeout is a duration in seconds"):
            Bulkhead(LIMITS).submit("free", str, timeout)

    def test_an_endless_timeout_is_fine(self):
        in_virtual_time(lambda: Bulkhead(LIMITS).submit("free", running(1.0), float("inf")))

    def test_one_runs_one_waits_and_the_third_is_refused_at_once(self):
        def program() -> None:
            bulkhead = Bulkhead(LIMITS)
            first, second = Thread(bulkhead, running(10.0)), Thread(bulkhead, running(10.0))
            time.sleep(1.0)
            assert bulkhead.usage("free") == Usage(running=1, waiting=1)
            with pytest.raises(queue.Full, match="'free' has no place free"):
                bulkhead.submit("free", str, 5.0)
            assert time.monotonic() == 1.0
            second.join()
            assert (first.until, second.until) == (10.0, 20.0)
            assert bulkhead.usage("free") == Usage(0, 0)

        in_virtual_time(program)

    def test_waiters_have_their_turn_in_order(self):
        def program() -> None:
            bulkhead, order = Bulkhead({"free": TenantLimit(1, 4)}), []
            for name in range(5):
                Thread(bulkhead, lambda name=name: (order.append(name), time.sleep(5.0)))
                time.sleep(1.0)
            time.sleep(30.0)
            assert order == [0, 1, 2, 3, 4]

        in_virtual_time(program)

    def test_the_timeout_covers_waiting_and_running(self):
        def program() -> None:
            bulkhead = Bulkhead(LIMITS)
            Thread(bulkhead, running(3.0))
            time.sleep(1.0)
            with pytest.raises(TimeoutError, match="'free': still running after 4 s"):
                bulkhead.submit("free", running(4.0), 4.0)
            assert time.monotonic() == 5.0

        in_virtual_time(program)

    def test_a_waiter_that_times_out_leaves_its_place_and_never_runs(self):
        def program() -> None:
            bulkhead, ran = Bulkhead(LIMITS), []
            Thread(bulkhead, running(10.0))
            time.sleep(1.0)
            with pytest.raises(TimeoutError, match="still waiting for a place after 2 s"):
                bulkhead.submit("free", lambda: ran.append("ghost"), 2.0)
            assert bulkhead.usage("free") == Usage(1, 0)
            assert bulkhead.submit("free", lambda: time.monotonic(), 20.0) == 10.0
            assert ran == []

        in_virtual_time(program)

    def test_a_running_call_that_times_out_keeps_its_permit_until_it_ends(self):
        def program() -> None:
            bulkhead = Bulkhead({"free": TenantLimit(1, 0)})
            with pytest.raises(TimeoutError):
                bulkhead.submit("free", running(10.0), 2.0)
            time.sleep(7.0)
            with pytest.raises(queue.Full):
                bulkhead.submit("free", str, 1.0)
            time.sleep(1.5)
            assert bulkhead.submit("free", str, 1.0) == ""

        in_virtual_time(program)

    @pytest.mark.parametrize("error", [ValueError, queue.Full, SystemExit, KeyboardInterrupt])
    def test_a_call_that_raises_gives_its_permit_back(self, error):
        def fails() -> None:
            raise error

        def program() -> None:
            bulkhead = Bulkhead({"free": TenantLimit(1, 0)})
            for _ in range(3):
                with pytest.raises(error):
                    bulkhead.submit("free", fails, 1.0)
            assert bulkhead.usage("free") == Usage(0, 0)

        in_virtual_time(program)

    def test_premium_waits_no_longer_under_the_flood_of_free(self):
        def waits(flood: int) -> list[float]:
            began: list[float] = []

            def program() -> None:
                bulkhead = Bulkhead(LIMITS)
                for _ in range(flood):
                    Thread(bulkhead, running(50.0), 30.0)
                time.sleep(1.0)
                for _ in range(7):
                    Thread(bulkhead, running(1.0, began), tenant="premium")
                    time.sleep(0.25)
                time.sleep(60.0)

            in_virtual_time(program)
            return began

        assert len(waits(0)) == 7
        assert waits(20) == waits(0)

    def test_a_function_may_call_another_tenant_and_itself(self):
        def program() -> None:
            bulkhead = Bulkhead({"a": TenantLimit(2, 0), "b": TenantLimit(1, 0)})
            inner = lambda: bulkhead.submit("b", lambda: "inner", 1.0)  # noqa: E731
            assert bulkhead.submit("a", lambda: bulkhead.submit("a", inner, 1.0), 1.0) == "inner"

        in_virtual_time(program)

    def test_the_function_sees_the_callers_context_variables(self):
        request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")

        def program() -> None:
            bulkhead = Bulkhead(LIMITS)
            request.set("r-1")
            assert bulkhead.submit("free", request.get, 1.0) == "r-1"
            bulkhead.submit("free", lambda: request.set("r-2"), 1.0)
            assert request.get() == "r-1"

        contextvars.copy_context().run(in_virtual_time, program)

    def test_threads_are_used_again_and_end_when_idle(self):
        def program() -> None:
            bulkhead, seen = Bulkhead(LIMITS), set()
            for _ in range(5):
                seen.add(bulkhead.submit("free", threading.current_thread, 1.0))
            assert len(seen) == 1
            time.sleep(20.0)
            assert not any(thread.is_alive() for thread in seen)
            assert bulkhead.submit("free", str, 1.0) == ""

        in_virtual_time(program)

    def test_when_no_thread_can_be_started_nothing_is_taken(self, monkeypatch):
        bulkhead = Bulkhead(LIMITS)

        def refuse(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            bulkhead.submit("free", str, 1.0)
        assert bulkhead.usage("free") == Usage(0, 0)

    def test_the_hook_hears_of_refusals_timeouts_and_ends(self):
        def program() -> None:
            told: list[Event] = []
            bulkhead = Bulkhead(LIMITS, time.monotonic, on_event=told.append)
            Thread(bulkhead, running(5.0), 3.0)
            time.sleep(1.0)
            Thread(bulkhead, running(1.0), 1.0)
            time.sleep(0.5)
            Thread(bulkhead, running(1.0))
            time.sleep(10.0)
            assert told == [
                Rejected(1.5, "free"),
                Expired(2.0, "free", running=False),
                Expired(3.0, "free", running=True),
                Finished(5.0, "free", waited=0.0, ran=5.0, failed=False),
            ]

        in_virtual_time(program)

    def test_a_hook_that_raises_is_logged_and_changes_nothing(self, caplog):
        def broken(event: object) -> None:
            raise RuntimeError("no metrics today")

        bulkhead = Bulkhead(LIMITS, on_event=broken)
        with caplog.at_level(logging.ERROR):
            assert bulkhead.submit("free", lambda: "answer", 10.0) == "answer"
        assert "on_event failed" in caplog.text


def assert_holds(program: Callable[[], None]) -> None:
    report = explore(program, 120, answer=INSIDE)
    assert report.ok, str(report)


class Crowd:
    """Counts how many run at a time; its work takes virtual time, so that others can come in between."""

    def __init__(self) -> None:
        self.now = Counter[str]()
        self.most = Counter[str]()

    def work(self, tenant: str = "free") -> None:
        self.now[tenant] += 1
        self.most[tenant] = max(self.most[tenant], self.now[tenant])
        time.sleep(1.0)
        self.now[tenant] -= 1


class TestUnderExploredInterleavings:
    def test_the_limits_hold_and_every_permit_comes_back(self):
        def program() -> None:
            bulkhead, crowd = Bulkhead(LIMITS), Crowd()
            callers = [Thread(bulkhead, crowd.work) for _ in range(3)]
            for caller in callers:
                caller.join()
            assert crowd.most["free"] == 1
            assert sum(isinstance(caller.error, queue.Full) for caller in callers) == 1
            assert bulkhead.usage("free") == Usage(0, 0)

        assert_holds(program)

    def test_whoever_asks_again_at_once_is_not_refused(self):
        def program() -> None:
            bulkhead = Bulkhead({"free": TenantLimit(1, 0)})
            for _ in range(3):
                bulkhead.submit("free", running(0.5), 5.0)

        assert_holds(program)

    def test_a_waiter_that_times_out_as_its_permit_comes_loses_none(self):
        def program() -> None:
            bulkhead, crowd = Bulkhead(LIMITS), Crowd()
            first, second = Thread(bulkhead, crowd.work, 1.0), Thread(bulkhead, crowd.work, 1.0)
            first.join(), second.join()
            time.sleep(5.0)
            assert bulkhead.usage("free") == Usage(0, 0)
            assert crowd.most["free"] == 1
            assert bulkhead.submit("free", str, 1.0) == ""

        assert_holds(program)

    def test_a_thread_that_ends_idle_as_it_is_chosen_still_runs_the_call(self):
        def program() -> None:
            bulkhead = Bulkhead(LIMITS)
            bulkhead.submit("free", str, 1.0)
            time.sleep(10.0)
            assert bulkhead.submit("free", str, 1.0) == ""

        assert_holds(program)


async def work(seconds: float, log: list[str] | None = None, name: str = "") -> str:
    if log is not None:
        log.append(name)
    await asyncio.sleep(seconds)
    return name


class TestTheAsyncBulkhead:
    def run(self, program: Callable[[], Any]) -> None:
        VirtualTime().run_async(program)

    def test_one_runs_one_waits_and_the_third_is_refused(self):
        async def program() -> None:
            bulkhead, began = AsyncBulkhead(LIMITS), []
            calls = [bulkhead.submit("free", lambda n=n: work(5.0, began, n), 20.0) for n in "abc"]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert results[:2] == ["a", "b"] and isinstance(results[2], queue.Full)
            assert time.monotonic() == 10.0

        self.run(program)

    def test_the_timeout_covers_waiting_and_running_and_a_cancelled_call_keeps_its_permit_until_it_has_ended(self):
        async def program() -> None:
            bulkhead = AsyncBulkhead(LIMITS)

            async def slow_to_stop() -> None:
                try:
                    await asyncio.sleep(100.0)
                finally:
                    await asyncio.sleep(3.0)

            first = asyncio.create_task(bulkhead.submit("free", slow_to_stop, 2.0))
            await asyncio.sleep(2.5)
            assert bulkhead.usage("free") == Usage(1, 0)
            with pytest.raises(TimeoutError, match="still running after 2 s"):
                await first
            assert time.monotonic() == 5.0
            assert bulkhead.usage("free") == Usage(0, 0)

        self.run(program)

    def test_a_waiter_that_times_out_never_runs(self):
        async def program() -> None:
            bulkhead, began = AsyncBulkhead(LIMITS), []
            first = asyncio.create_task(bulkhead.submit("free", lambda: work(5.0, began, "a"), 20.0))
            await asyncio.sleep(0)
            with pytest.raises(TimeoutError, match="still waiting for a place after 1 s"):
                await bulkhead.submit("free", lambda: work(1.0, began, "ghost"), 1.0)
            await first
            assert began == ["a"]
            assert bulkhead.usage("free") == Usage(0, 0)

        self.run(program)

    def test_a_timeout_error_of_the_function_passes_unchanged(self):
        async def program() -> None:
            error = TimeoutError("from the function")

            async def fails() -> None:
                raise error

            with pytest.raises(TimeoutError) as raised:
                await AsyncBulkhead(LIMITS).submit("free", fails, 5.0)
            assert raised.value is error

        self.run(program)

    def test_unknown_tenants_and_bad_timeouts_are_refused(self):
        async def program() -> None:
            with pytest.raises(KeyError, match="no limit for tenant 'gold'"):
                await AsyncBulkhead(LIMITS).submit("gold", lambda: work(1.0), 1.0)
            with pytest.raises(ValueError, match="timeout is a duration"):
                await AsyncBulkhead(LIMITS).submit("free", lambda: work(1.0), -1.0)

        self.run(program)

    def test_the_hook_hears_the_same_as_in_threads(self):
        async def program() -> None:
            told: list[Event] = []
            bulkhead = AsyncBulkhead(LIMITS, time.monotonic, on_event=told.append)
            calls = [bulkhead.submit("free", lambda: work(5.0), timeout) for timeout in (20.0, 2.0, 20.0)]
            await asyncio.gather(*calls, return_exceptions=True)
            assert told == [
                Rejected(0.0, "free"),
                Expired(2.0, "free", running=False),
                Finished(5.0, "free", waited=0.0, ran=5.0, failed=False),
            ]

        self.run(program)

    def test_no_permit_is_lost_when_waiters_are_cancelled_as_their_turn_comes(self):
        async def program() -> None:
            bulkhead = AsyncBulkhead({"free": TenantLimit(1, 2)})
            most = []

            async def counted() -> None:
                most.append(bulkhead.usage("free").running)
                await asyncio.sleep(1.0)

            async def call(timeout: float) -> None:
                with contextlib.suppress(TimeoutError):
                    await bulkhead.submit("free", counted, timeout)

            await asyncio.gather(call(5.0), call(1.0), call(5.0))
            assert set(most) == {1}
            assert bulkhead.usage("free") == Usage(0, 0)

        report = explore_async(program, 100, answer=INSIDE)
        assert report.ok, str(report)


class CompartmentAgainstTheRules(RuleBasedStateMachine):
    """Any calls enter, end and give up, in any order: a plain list says the same."""

    @initialize(places=st.integers(1, 3), room=st.integers(0, 3))
    def build(self, places, room):
        self.limit = TenantLimit(places, room)
        self.compartment: Compartment[int] = Compartment(self.limit)
        self.runs: list[int] = []
        self.waits: list[int] = []
        self.gone: list[int] = []
        self.number = 0

    @rule()
    def one_enters(self):
        self.number += 1
        if len(self.runs) < self.limit.max_concurrent:
            assert self.compartment.enter(self.number) is True
            self.runs.append(self.number)
        elif len(self.waits) < self.limit.max_waiting:
            assert self.compartment.enter(self.number) is False
            self.waits.append(self.number)
        else:
            with pytest.raises(queue.Full):
                self.compartment.enter(self.number)

    @rule(data=st.data())
    @precondition(lambda self: self.runs)
    def one_ends(self, data):
        self.gone.append(self.runs.pop(data.draw(st.integers(0, len(self.runs) - 1))))
        following = self.waits.pop(0) if self.waits else None
        assert self.compartment.leave() == following
        if following is not None:
            self.runs.append(following)

    @rule(data=st.data())
    @precondition(lambda self: self.runs or self.waits or self.gone)
    def one_gives_up(self, data):
        who = data.draw(st.sampled_from([*self.runs, *self.waits, *self.gone]))
        assert self.compartment.give_up(who) is (who in self.waits)
        if who in self.waits:
            self.waits.remove(who)

    def teardown(self):
        if hasattr(self, "compartment"):
            assert self.compartment.usage == Usage(len(self.runs), len(self.waits))


TestAgainstTheRules = CompartmentAgainstTheRules.TestCase
TestAgainstTheRules.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
