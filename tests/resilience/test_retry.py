"""The retry keeps the rules of exercise 17.2.2, for threads and for asyncio; its budget holds under all schedules."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.resilience.contracts import BackoffConfig, HttpError
from shared.resilience.retry import (
    JITTERS,
    GaveUp,
    RetryBudget,
    Retrying,
    decorrelated_jitter,
    equal_jitter,
    full_jitter,
    no_jitter,
    retry,
    retry_async,
)
from shared.simulation import VirtualTime, explore, explore_async

DEFAULT = BackoffConfig()
BOUNDED = {"none": (1.0, 1.0), "equal": (0.5, 1.0), "full": (0.0, 1.0)}


class Clock:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class Backend:
    """Raises the given errors, one per call, then answers."""

    def __init__(self, clock: Clock, *errors: BaseException, lasts: float = 0.0) -> None:
        self.clock, self.errors, self.lasts = clock, list(errors), lasts
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.clock.now += self.lasts
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, clock: Clock) -> Callable[..., Any]:
    """`retry` or `retry_async`, stepped without an event loop."""

    def sync(backend: Backend, config: BackoffConfig = DEFAULT, **options: Any) -> Any:
        return retry(backend, config, **{"sleep": clock.sleep, "rng": random.Random(1), "clock": clock, **options})

    def stepped(backend: Backend, config: BackoffConfig = DEFAULT, **options: Any) -> Any:
        async def fn() -> str:
            return backend()

        options = {"sleep": clock.sleep_async, "rng": random.Random(1), "clock": clock, **options}
        with pytest.raises(StopIteration) as ended:
            retry_async(fn, config, **options).send(None)
        return ended.value.value

    return sync if request.param == "sync" else stepped


def raising(errors: list[Any]) -> Callable[[], None]:
    """A function that raises each of them once, then returns."""

    def fn() -> None:
        if errors:
            raise errors.pop(0)

    return fn


def refused(times: int) -> list[ConnectionRefusedError]:
    return [ConnectionRefusedError(number) for number in range(times)]


class TestTries:
    def test_returns_the_first_value_even_a_false_one(self, clock):
        assert retry(lambda: None, sleep=clock.sleep) is None
        assert clock.slept == []

    def test_calls_again_after_an_error_that_may_pass(self, call, clock):
        backend = Backend(clock, ConnectionResetError(), TimeoutError(), HttpError(503), HttpError(429))
        assert call(backend) == "answer"
        assert backend.calls == 5 and len(clock.slept) == 4

    @pytest.mark.parametrize("error", [HttpError(404), ValueError(), asyncio.CancelledError(), KeyboardInterrupt()])
    def test_raises_a_permanent_error_a_cancellation_and_an_exit_at_once(self, call, clock, error):
        backend = Backend(clock, *refused(1), error)
        with pytest.raises(type(error)) as caught:
            call(backend)
        assert caught.value is error
        assert backend.calls == 2 and len(clock.slept) == 1

    def test_counts_the_first_call_and_raises_the_last_error_itself_without_a_sleep(self, call, clock):
        errors = refused(9)
        backend = Backend(clock, *errors)
        with pytest.raises(ConnectionRefusedError) as caught:
            call(backend, BackoffConfig(max_attempts=3))
        assert caught.value is errors[2]
        assert caught.value.__cause__ is None and caught.value.__context__ is None
        assert backend.calls == 3 and len(clock.slept) == 2

    def test_may_be_told_what_is_worth_a_retry(self, call, clock):
        assert call(Backend(clock, KeyError()), retryable=lambda error: isinstance(error, KeyError)) == "answer"


class TestWaits:
    @pytest.mark.parametrize("name", BOUNDED)
    @given(seed=st.integers(0, 2**32), initial=st.floats(0, 10), most=st.floats(0, 10), multiplier=st.floats(1, 4))
    @settings(max_examples=40, deadline=None, database=None)
    def test_lie_within_the_capped_bound_of_their_retry(self, name, seed, initial, most, multiplier):
        config = BackoffConfig(initial_delay=initial, max_delay=most, multiplier=multiplier)
        low, high = BOUNDED[name]
        waits = itertools.islice(JITTERS[name](config, random.Random(seed)), 8)
        for number, wait in enumerate(waits):
            bound = min(most, initial * multiplier**number)
            assert low * bound - 1e-9 <= wait <= high * bound + 1e-9

    @given(seed=st.integers(0, 2**32), initial=st.floats(0, 10), most=st.floats(0, 10))
    @settings(max_examples=40, deadline=None, database=None)
    def test_that_are_decorrelated_lie_between_the_first_delay_and_three_times_the_last_wait(self, seed, initial, most):
        config = BackoffConfig(initial_delay=initial, max_delay=most)
        last = lowest = min(initial, most)
        for wait in itertools.islice(decorrelated_jitter(config, random.Random(seed)), 8):
            assert lowest - 1e-9 <= wait <= min(most, 3 * last) + 1e-9
            last = wait

    def test_keep_their_jitter_at_the_maximum(self):
        config = BackoffConfig(initial_delay=1.0, max_delay=2.0)
        for jitter in (equal_jitter, full_jitter, decorrelated_jitter):
            late = list(itertools.islice(jitter(config, random.Random(1)), 50))[10:]
            assert len(set(late)) == len(late)

    def test_do_not_overflow_after_thousands_of_retries(self):
        config = BackoffConfig(max_delay=10.0)
        assert next(itertools.islice(no_jitter(config, random.Random()), 5000, None)) == 10.0

    def test_are_at_least_what_this_error_asks_for_also_over_the_maximum(self, call, clock):
        overloaded = ConnectionError()
        overloaded.retry_after = 3.0
        call(Backend(clock, HttpError(503, retry_after=60.0), overloaded, HttpError(503)))
        assert clock.slept[:2] == [60.0, 3.0] and clock.slept[2] <= 0.4

    def test_differ_between_calls_that_are_given_no_rng(self, clock):
        for _ in range(2):
            retry(Backend(clock, *refused(1)), sleep=clock.sleep)
        assert clock.slept[0] != clock.slept[1]


class TestDeadline:
    def asks(self, seconds: float) -> HttpError:
        return HttpError(503, retry_after=seconds)

    @pytest.mark.parametrize("deadline, calls", [(104.9, 1), (105.0, 1), (105.1, 2)])
    def test_a_sleep_that_would_end_at_or_after_it_is_not_begun(self, call, clock, deadline, calls):
        error = self.asks(5.0)
        backend = Backend(clock, error)
        if calls == 2:
            assert call(backend, deadline=deadline) == "answer"
        else:
            with pytest.raises(HttpError) as caught:
                call(backend, deadline=deadline)
            assert caught.value is error and clock.slept == []
        assert backend.calls == calls

    def test_the_time_of_the_calls_counts(self, call, clock):
        backend = Backend(clock, self.asks(5.0), lasts=2.0)
        with pytest.raises(HttpError):
            call(backend, deadline=106.5)
        assert clock.now == 102.0

    def test_one_that_is_past_allows_the_first_call(self, call, clock):
        assert call(Backend(clock), deadline=50.0) == "answer"


class TestEvents:
    def test_tell_each_wait_and_why_it_gave_up(self, call, clock):
        seen: list[Any] = []
        errors = refused(2)
        with pytest.raises(ConnectionRefusedError):
            call(Backend(clock, *errors), BackoffConfig(1.0, max_attempts=2), jitter=no_jitter, on_event=seen.append)
        assert seen == [Retrying(100.0, 1, 1.0, errors[0]), GaveUp(101.0, 2, "attempts", errors[1])]

    @pytest.mark.parametrize(
        "reason, error, options",
        [
            ("permanent", ValueError(), {}),
            ("deadline", ConnectionError(), {"deadline": 100.0}),
            ("budget", ConnectionError(), {"budget": RetryBudget(0.0, 0)}),
        ],
    )
    def test_name_the_reason(self, call, clock, reason, error, options):
        seen: list[Any] = []
        with pytest.raises(type(error)):
            call(Backend(clock, error), on_event=seen.append, **options)
        assert [event.reason for event in seen] == [reason]

    def test_a_hook_that_fails_is_logged_and_changes_nothing(self, call, clock, caplog):
        with caplog.at_level(logging.ERROR):
            assert call(Backend(clock, *refused(1)), on_event=lambda event: 1 / 0) == "answer"
        assert "on_event failed" in caplog.text


class TestBudget:
    def test_gives_up_at_once_when_too_many_calls_are_retrying(self, call, clock):
        budget = RetryBudget(share=0.0, minimum=1)
        with budget.call() as other:
            assert other.may_retry()
            with pytest.raises(ConnectionRefusedError):
                call(Backend(clock, *refused(1)), budget=budget)
        assert call(Backend(clock, *refused(3)), budget=budget) == "answer"
        assert clock.slept and budget.active == budget.retrying == 0

    def test_allows_three_and_a_fifth_of_the_active_calls(self):
        budget = RetryBudget()
        shares = [budget.call().__enter__() for _ in range(10)]
        assert [share.may_retry() for share in shares] == [True] * 5 + [False] * 5
        assert shares[0].may_retry(), "a call that retries may do so again"

    @pytest.mark.parametrize("share, minimum", [(-0.1, 3), (0.2, -1), (float("nan"), 3)])
    def test_refuses_a_negative_limit_in_words(self, share, minimum):
        with pytest.raises(ValueError, match="share and minimum limit retries"):
            RetryBudget(share, minimum)

    def test_is_never_overdrawn_and_always_paid_back_under_any_schedule(self):
        def program() -> None:
            budget = RetryBudget(share=0.0, minimum=1)
            waiting = most = 0

            def sleep(seconds: float) -> None:
                nonlocal waiting, most
                waiting += 1
                most = max(most, waiting)
                time.sleep(1.0)
                waiting -= 1

            def client() -> None:
                errors = refused(1)
                with contextlib.suppress(ConnectionRefusedError):
                    retry(raising(errors), sleep=sleep, budget=budget)

            threads = [threading.Thread(target=client) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert most == 1 and budget.active == budget.retrying == 0

        report = explore(program, 60, answer=(retry, RetryBudget))
        assert report.ok, str(report)

    def test_is_paid_back_by_calls_that_are_cancelled_while_they_wait(self):
        async def program() -> None:
            budget = RetryBudget()

            async def fails() -> None:
                raise ConnectionRefusedError

            tasks = [asyncio.create_task(retry_async(fails, budget=budget)) for _ in range(3)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert budget.active == budget.retrying == 0

        report = explore_async(program, 30)
        assert report.ok, str(report)


def test_waits_in_the_threads_own_time_by_default():
    began_and_ended: list[float] = []

    def program() -> None:
        began_and_ended.append(time.monotonic())
        errors = [HttpError(503, retry_after=30.0)]
        retry(raising(errors), sleep=time.sleep, clock=time.monotonic)
        began_and_ended.append(time.monotonic())

    VirtualTime().run(program)
    assert began_and_ended[1] - began_and_ended[0] == pytest.approx(30.0)
