"""The circuit breaker keeps the rules of exercise 17.2.1, for threads and for asyncio, alone and interleaved."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.resilience.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    Finished,
    Outcome,
    Rejected,
    StateMachine,
    Transition,
)
from shared.resilience.contracts import BreakerConfig, CircuitOpen, State
from shared.simulation import VirtualTime, explore, explore_async

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
SMALL = {"error_rate": 0.5, "window_size": 4, "min_calls_to_open": 2, "wait_duration": 10.0}


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Backend:
    """The dependency behind a breaker: each call takes `seconds`, then returns or raises as told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls = 0

    def answer(self, seconds: float = 0.0, error: BaseException | None = None) -> str:
        self.calls += 1
        self.clock.now += seconds
        if error is not None:
            raise error
        return "answer"


class SyncSubject:
    """A CircuitBreaker under test."""

    def __init__(self, clock: Clock, backend: Backend, **config: Any) -> None:
        options = {name: config.pop(name) for name in ("on_event", "probe_timeout") if name in config}
        self.clock = clock
        self.backend = backend
        self.breaker = self.build(BreakerConfig(**{**SMALL, **config}), clock, **options)

    def build(self, *args: Any, **options: Any) -> Any:
        return CircuitBreaker(*args, **options)

    def call(self, seconds: float = 0.0, error: BaseException | None = None) -> str:
        return self.breaker.call(self.backend.answer, seconds, error=error)

    @property
    def state(self) -> State:
        return self.breaker.state

    def succeed(self, times: int = 1, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.call(seconds)

    def fail(self, times: int = 1, error: type[BaseException] = OSError, seconds: float = 0.0) -> None:
        for _ in range(times):
            with pytest.raises(error):
                self.call(seconds, error())

    def is_rejected(self) -> CircuitOpen:
        before = self.backend.calls
        with pytest.raises(CircuitOpen) as caught:
            self.call()
        assert self.backend.calls == before, "a rejected call reached the backend"
        return caught.value

    def opened(self) -> SyncSubject:
        self.fail(2)
        assert self.state is OPEN
        return self


class AsyncSubject(SyncSubject):
    """An AsyncCircuitBreaker under test, stepped without an event loop."""

    def build(self, *args: Any, **options: Any) -> Any:
        return AsyncCircuitBreaker(*args, **options)

    def call(self, seconds: float = 0.0, error: BaseException | None = None) -> str:
        async def answer(seconds: float, *, error: BaseException | None) -> str:
            return self.backend.answer(seconds, error)

        with pytest.raises(StopIteration) as ended:
            self.breaker.call(answer, seconds, error=error).send(None)
        return ended.value.value


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[SyncSubject, AsyncSubject], ids=["sync", "async"])
def make(request: pytest.FixtureRequest, clock: Clock) -> Callable[..., SyncSubject]:
    return lambda **config: request.param(clock, Backend(clock), **config)


class TestClosed:
    def test_returns_what_the_function_returns(self, make):
        assert make().call() == "answer"

    def test_passes_any_keyword_on_even_its_own_parameter_names(self, clock):
        breaker = CircuitBreaker(BreakerConfig(), clock)
        assert breaker.call(lambda **given: given, fn=1, self=2, clock=3) == {"fn": 1, "self": 2, "clock": 3}

    def test_raises_the_very_exception_of_the_function_even_when_it_opens(self, make):
        subject, error = make(min_calls_to_open=1), OSError("mine")
        with pytest.raises(OSError) as caught:
            subject.call(0.0, error)
        assert caught.value is error
        assert error.__cause__ is None and error.__context__ is None
        assert subject.state is OPEN

    def test_opens_when_the_error_rate_reaches_its_threshold_on_errors_that_are_not_consecutive(self, make):
        subject = make(error_rate=0.5, window_size=10, min_calls_to_open=6)
        for _ in range(2):
            subject.succeed()
            subject.fail()
        subject.succeed()
        assert subject.state is CLOSED
        subject.fail()
        assert subject.state is OPEN

    def test_has_no_rate_before_the_minimum(self, make):
        subject = make(window_size=10, min_calls_to_open=5)
        subject.fail(4)
        assert subject.state is CLOSED
        subject.fail()
        assert subject.state is OPEN

    def test_is_judged_after_a_success_too_so_a_success_that_completes_the_minimum_can_open(self, make):
        subject = make(error_rate=0.5, window_size=10, min_calls_to_open=4)
        subject.fail(3)
        subject.succeed()
        assert subject.state is OPEN

    def test_takes_the_window_as_the_minimum_when_the_minimum_is_larger(self, make):
        subject = make(window_size=3, min_calls_to_open=100)
        subject.fail(2)
        assert subject.state is CLOSED
        subject.fail()
        assert subject.state is OPEN

    def test_compares_the_rate_itself_with_the_threshold_so_seven_of_a_hundred_reach_seven_hundredths(self, make):
        subject = make(error_rate=0.07, window_size=100, min_calls_to_open=100)
        subject.succeed(93)
        subject.fail(6)
        assert subject.state is CLOSED
        subject.fail()
        assert subject.state is OPEN

    def test_forgets_results_that_have_left_the_window(self, make):
        subject = make(error_rate=0.5, window_size=4, min_calls_to_open=4)
        subject.succeed(3)
        subject.fail()
        subject.succeed(4)
        subject.fail()
        assert subject.state is CLOSED
        subject.fail()
        assert subject.state is OPEN

    def test_forgets_slow_calls_that_have_left_the_window(self, make):
        subject = make(slow_call_rate=0.5, window_size=4, min_calls_to_open=4)
        subject.succeed(3)
        subject.succeed(seconds=3.0)
        subject.succeed(4)
        subject.succeed(seconds=3.0)
        assert subject.state is CLOSED

    def test_a_failure_after_a_window_of_nothing_but_successes_counts(self, make):
        subject = make(error_rate=0.25, window_size=4, min_calls_to_open=1)
        subject.succeed(50)
        subject.fail()
        assert subject.state is OPEN

    def test_opens_on_slow_calls_alone(self, make):
        subject = make(slow_call_rate=0.5, slow_call_threshold=2.0)
        subject.succeed(2, seconds=2.5)
        assert subject.state is OPEN

    def test_a_call_of_exactly_the_threshold_is_not_slow(self, make):
        subject = make(slow_call_rate=0.5, slow_call_threshold=2.0)
        subject.succeed(4, seconds=2.0)
        assert subject.state is CLOSED

    def test_never_adds_the_slow_rate_to_the_error_rate(self, make):
        subject = make(error_rate=0.6, slow_call_rate=0.6, window_size=4, min_calls_to_open=4)
        subject.fail(2)
        subject.succeed(2, seconds=3.0)
        assert subject.state is CLOSED

    def test_counts_a_slow_failure_in_both_rates(self, make):
        subject = make(error_rate=1.0, slow_call_rate=0.75, window_size=4, min_calls_to_open=4)
        subject.succeed()
        subject.fail(3, seconds=3.0)
        assert subject.state is OPEN
        assert (subject.breaker.snapshot().failed, subject.breaker.snapshot().slow) == (3, 3)

    @pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError, KeyboardInterrupt, SystemExit])
    def test_counts_neither_ignored_errors_nor_exits(self, make, error):
        subject = make(ignored=(LookupError,), min_calls_to_open=1)
        subject.fail(10, error=error, seconds=9.0)
        assert subject.state is CLOSED
        assert subject.breaker.snapshot().results == ()

    def test_holds_nothing_while_the_function_runs_so_a_call_may_be_made_inside_a_call(self, clock):
        breaker = CircuitBreaker(BreakerConfig(), clock)
        assert breaker.call(breaker.call, breaker.call, lambda: "inner") == "inner"


class TestOpen:
    def test_rejects_without_calling_and_says_what_is_left_of_the_wait(self, make, clock):
        subject = make().opened()
        clock.now += 4.0
        assert subject.is_rejected().retry_after == pytest.approx(6.0)

    def test_rejects_until_the_wait_is_over_and_not_longer(self, make, clock):
        subject = make().opened()
        clock.now += 9.999
        subject.is_rejected()
        clock.now += 0.002
        assert subject.call() == "answer"

    def test_is_not_extended_by_rejections(self, make, clock):
        subject = make().opened()
        for _ in range(9):
            clock.now += 1.1
            subject.is_rejected()
        clock.now += 0.2
        subject.succeed()

    def test_stays_open_until_a_call_arrives(self, make, clock):
        subject = make().opened()
        clock.now += 1000.0
        assert subject.state is OPEN
        subject.succeed()
        assert subject.state is HALF_OPEN

    def test_without_a_wait_lets_the_next_call_probe(self, make):
        subject = make(wait_duration=0.0).opened()
        subject.succeed(3)
        assert subject.state is CLOSED


class TestHalfOpen:
    def probing(self, make, clock, **config) -> SyncSubject:
        subject = make(**config).opened()
        clock.now += 10.0
        return subject

    def test_closes_once_every_permitted_call_has_succeeded_and_not_before(self, make, clock):
        subject = self.probing(make, clock, permitted_calls_in_half_open=3)
        subject.succeed(2)
        assert subject.state is HALF_OPEN
        subject.succeed()
        assert subject.state is CLOSED

    def test_closes_with_an_empty_window(self, make, clock):
        subject = self.probing(make, clock, min_calls_to_open=2)
        subject.succeed(3)
        assert subject.breaker.snapshot().results == ()
        subject.fail()
        assert subject.state is CLOSED
        subject.fail()
        assert subject.state is OPEN

    @pytest.mark.parametrize("seconds, error", [(0.0, OSError()), (2.5, None), (2.5, OSError())])
    def test_opens_for_a_whole_wait_when_one_probe_fails_or_is_slow(self, make, clock, seconds, error):
        subject = self.probing(make, clock)
        subject.succeed()
        if error is None:
            subject.succeed(seconds=seconds)
        else:
            subject.fail(seconds=seconds)
        assert subject.state is OPEN
        assert subject.is_rejected().retry_after == pytest.approx(10.0)

    def test_has_new_permits_each_time(self, make, clock):
        subject = self.probing(make, clock, permitted_calls_in_half_open=3)
        subject.succeed(2)
        subject.fail()
        clock.now += 10.0
        subject.succeed(3)
        assert subject.state is CLOSED

    @pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError, KeyboardInterrupt])
    def test_an_ignored_error_or_an_exit_gives_its_permit_back(self, make, clock, error):
        subject = self.probing(make, clock, permitted_calls_in_half_open=2, ignored=(LookupError,))
        subject.fail(20, error=error, seconds=3.0)
        assert subject.state is HALF_OPEN
        subject.succeed(2)
        assert subject.state is CLOSED


class Waiting:
    """What a stepped call awaits: it stays in flight until the test resumes its coroutine."""

    def __await__(self):
        return (yield)


async def in_flight() -> str:
    return await Waiting()


class Flight:
    """One call that has been admitted and has not ended. `land` ends it."""

    def __init__(self, call: Coroutine[Any, Any, str]) -> None:
        self._call = call
        call.send(None)

    def land(self, error: BaseException | None = None) -> None:
        with pytest.raises(StopIteration if error is None else type(error)) as ended:
            self._call.send("answer") if error is None else self._call.throw(error)
        if error is not None:
            assert ended.value is error


def take_off(breaker: AsyncCircuitBreaker) -> Flight | None:
    """Start a call that does not end by itself; None when it was rejected."""
    try:
        return Flight(breaker.call(in_flight))
    except CircuitOpen:
        return None


class TestCallsInFlight:
    @pytest.fixture
    def breaker(self, clock):
        return AsyncCircuitBreaker(BreakerConfig(**SMALL, permitted_calls_in_half_open=3), clock)

    def trip(self, breaker):
        for flight in [take_off(breaker), take_off(breaker)]:
            flight.land(OSError())
        assert breaker.state is OPEN

    def test_half_open_admits_the_permitted_number_in_total(self, breaker, clock):
        self.trip(breaker)
        clock.now += 10.0
        probes = [take_off(breaker) for _ in range(8)]
        assert [probe is not None for probe in probes] == [True] * 3 + [False] * 5
        probes[0].land()
        assert take_off(breaker) is None, "a success gives no permit back"
        probes[1].land()
        probes[2].land()
        assert breaker.state is CLOSED

    def test_a_cancelled_probe_gives_its_permit_to_another_once(self, breaker, clock):
        self.trip(breaker)
        clock.now += 10.0
        probes = [take_off(breaker) for _ in range(3)]
        probes[0].land(asyncio.CancelledError())
        probes[0] = take_off(breaker)
        assert probes[0] is not None
        assert take_off(breaker) is None

    def test_a_probe_whose_coroutine_is_dropped_gives_its_permit_back(self, breaker, clock):
        self.trip(breaker)
        clock.now += 10.0
        for _ in range(10):
            assert take_off(breaker) is not None

    @pytest.mark.parametrize("error", [None, OSError()])
    def test_a_result_that_arrives_while_open_neither_votes_nor_extends_the_wait(self, breaker, clock, error):
        late = take_off(breaker)
        self.trip(breaker)
        clock.now += 9.0
        late.land(error)
        assert breaker.state is OPEN
        clock.now += 1.0
        assert take_off(breaker) is not None

    @pytest.mark.parametrize("error", [None, OSError(), asyncio.CancelledError()])
    def test_a_result_from_the_closed_period_neither_votes_in_half_open_nor_returns_a_permit(
        self, breaker, clock, error
    ):
        late = [take_off(breaker) for _ in range(3)]
        self.trip(breaker)
        clock.now += 10.0
        probes = [take_off(breaker) for _ in range(3)]
        for flight in late:
            flight.land(error)
        assert breaker.state is HALF_OPEN
        assert take_off(breaker) is None
        for probe in probes:
            probe.land()
        assert breaker.state is CLOSED

    @pytest.mark.parametrize("error", [None, OSError(), asyncio.CancelledError()])
    def test_a_probe_of_an_earlier_half_open_period_neither_votes_in_a_later_one_nor_returns_a_permit(
        self, breaker, clock, error
    ):
        self.trip(breaker)
        clock.now += 10.0
        early, failing = take_off(breaker), take_off(breaker)
        failing.land(OSError())
        clock.now += 10.0
        probes = [take_off(breaker) for _ in range(3)]
        early.land(error)
        assert breaker.state is HALF_OPEN
        assert take_off(breaker) is None
        for probe in probes:
            probe.land()
        assert breaker.state is CLOSED

    def test_a_failure_from_an_earlier_closed_period_is_not_in_the_new_window(self, breaker, clock):
        late = [take_off(breaker) for _ in range(4)]
        self.trip(breaker)
        clock.now += 10.0
        for probe in [take_off(breaker) for _ in range(3)]:
            probe.land()
        for flight in late:
            flight.land(OSError())
        assert breaker.state is CLOSED
        assert breaker.snapshot().results == ()


class TestProbesThatNeverReturn:
    def probing(self, clock, slow_call_threshold=2.0, **options) -> AsyncCircuitBreaker:
        config = BreakerConfig(
            min_calls_to_open=1,
            wait_duration=5.0,
            permitted_calls_in_half_open=2,
            slow_call_threshold=slow_call_threshold,
        )
        breaker = AsyncCircuitBreaker(config, clock, **options)
        take_off(breaker).land(OSError())
        clock.now += 5.0
        self.probes = [take_off(breaker), take_off(breaker)]
        return breaker

    def test_are_waited_for_ten_waits_and_then_the_breaker_opens(self, clock):
        breaker = self.probing(clock)
        clock.now += 49.9
        assert take_off(breaker) is None
        assert breaker.state is HALF_OPEN
        clock.now += 0.2
        assert take_off(breaker) is None
        assert breaker.state is OPEN

    def test_make_room_for_new_probes_after_one_more_wait_and_return_no_permit_when_they_end_at_last(self, clock):
        breaker = self.probing(clock, probe_timeout=20.0)
        clock.now += 20.0
        take_off(breaker)
        clock.now += 5.0
        fresh = [take_off(breaker), take_off(breaker)]
        for lost in self.probes:
            lost.land(asyncio.CancelledError())
        assert take_off(breaker) is None
        for probe in fresh:
            probe.land()
        assert breaker.state is CLOSED

    def test_count_as_long_as_no_caller_asks_so_a_late_success_still_closes(self, clock):
        breaker = self.probing(clock, slow_call_threshold=1e9, probe_timeout=20.0)
        clock.now += 10_000.0
        for probe in self.probes:
            probe.land()
        assert breaker.state is CLOSED

    def test_tell_callers_to_ask_again_when_the_probes_must_have_ended_or_be_slow(self, clock):
        breaker = self.probing(clock)
        clock.now += 0.5
        with pytest.raises(CircuitOpen) as caught:
            breaker.call(in_flight).send(None)
        assert caught.value.retry_after == pytest.approx(1.5)

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
    def test_need_a_timeout_that_is_positive(self, seconds):
        with pytest.raises(ValueError, match="probe_timeout is a duration in seconds"):
            CircuitBreaker(BreakerConfig(), probe_timeout=seconds)


class TestHooksAndSnapshots:
    def test_every_transition_rejection_and_result_is_told_in_order(self, make, clock):
        told: list[Any] = []
        subject = make(on_event=told.append, ignored=(KeyError,), permitted_calls_in_half_open=1)
        subject.succeed(seconds=3.0)
        subject.fail(seconds=0.5)
        subject.is_rejected()
        clock.now += 10.0
        subject.fail(error=KeyError)
        subject.succeed()
        assert told == [
            Finished(103.0, 3.0, Outcome.SLOW),
            Finished(103.5, 0.5, Outcome.FAILED),
            Transition(103.5, CLOSED, OPEN),
            Rejected(103.5, 10.0),
            Transition(113.5, OPEN, HALF_OPEN),
            Finished(113.5, 0.0, None),
            Finished(113.5, 0.0, Outcome.OK),
            Transition(113.5, HALF_OPEN, CLOSED),
        ]

    def test_a_hook_that_raises_is_logged_and_changes_nothing(self, make, caplog):
        def broken(event: object) -> None:
            raise RuntimeError("no metrics today")

        subject = make(on_event=broken)
        with caplog.at_level(logging.ERROR):
            assert subject.call() == "answer"
            subject.fail()
        assert subject.state is OPEN
        assert "on_event failed" in caplog.text and "no metrics today" in caplog.text

    def test_a_hook_may_ask_the_breaker_as_no_lock_is_held(self, clock):
        seen: list[State] = []
        config = BreakerConfig(min_calls_to_open=1)
        breaker = CircuitBreaker(config, clock, on_event=lambda event: seen.append(breaker.snapshot().state))
        with pytest.raises(OSError):
            breaker.call(Backend(clock).answer, error=OSError())
        assert seen == [OPEN, OPEN]

    def test_a_snapshot_shows_the_window_oldest_first_with_its_rates(self, make):
        subject = make(error_rate=1.0, slow_call_rate=1.0)
        subject.succeed(2)
        subject.fail(seconds=3.0)
        subject.succeed(seconds=3.0)
        subject.fail()
        shown = subject.breaker.snapshot()
        assert shown.results == (Outcome.OK, Outcome.FAILED | Outcome.SLOW, Outcome.SLOW, Outcome.FAILED)
        assert (shown.state, shown.error_rate, shown.slow_call_rate) == (CLOSED, 0.5, 0.5)

    def test_a_snapshot_has_no_rates_before_the_minimum(self, make):
        subject = make(min_calls_to_open=2)
        subject.succeed()
        assert subject.breaker.snapshot().error_rate is None
        assert subject.breaker.snapshot().slow_call_rate is None

    def test_a_snapshot_counts_the_wait_down_then_the_permits(self, make, clock):
        subject = make(permitted_calls_in_half_open=3).opened()
        clock.now += 4.0
        assert (subject.breaker.snapshot().retry_after, subject.breaker.snapshot().permits_left) == (6.0, 0)
        clock.now += 6.0
        subject.succeed()
        assert (subject.breaker.snapshot().retry_after, subject.breaker.snapshot().permits_left) == (0.0, 2)

    def test_any_callable_serves_as_clock(self):
        ticks = iter(range(1000))
        breaker = CircuitBreaker(BreakerConfig(slow_call_threshold=0.5, min_calls_to_open=2), lambda: next(ticks))
        for _ in range(2):
            breaker.call(str)
        assert breaker.state is OPEN


PROBED = BreakerConfig(min_calls_to_open=1, wait_duration=10.0, permitted_calls_in_half_open=2, ignored=(LookupError,))


def fails() -> None:
    raise OSError


def open_breaker(config: BreakerConfig = PROBED) -> CircuitBreaker:
    """A breaker that has opened and has waited."""
    breaker = CircuitBreaker(config)
    with pytest.raises(OSError):
        breaker.call(fails)
    time.sleep(config.wait_duration)
    return breaker


def in_threads(*bodies: Callable[[], None]) -> None:
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def attempt(breaker: CircuitBreaker, fn: Callable[[], object]) -> None:
    with contextlib.suppress(CircuitOpen, OSError, LookupError):
        breaker.call(fn)


def assert_holds(program: Callable[[], None]) -> None:
    report = explore(program, 200, answer=(CircuitBreaker, AsyncCircuitBreaker, StateMachine))
    assert report.ok, str(report)


class TestUnderExploredInterleavings:
    def test_half_open_lets_exactly_the_permitted_number_of_probes_through(self):
        def program() -> None:
            breaker, probes = open_breaker(), []
            in_threads(*[lambda: attempt(breaker, lambda: (probes.append(1), time.sleep(1.0)))] * 4)
            assert len(probes) == 2
            assert breaker.state is CLOSED

        assert_holds(program)

    def test_a_permit_given_back_as_others_ask_for_it_is_given_out_once(self):
        def program() -> None:
            breaker, probes = open_breaker(), []

            def bad_request() -> None:
                time.sleep(1.0)
                raise KeyError

            def probe() -> None:
                time.sleep(1.0)
                attempt(breaker, lambda: (probes.append(1), time.sleep(1.0)))

            in_threads(lambda: attempt(breaker, bad_request), probe, probe, probe)
            if breaker.state is CLOSED:
                assert len(probes) == 2
            else:
                assert len(probes) + breaker.snapshot().permits_left == 2

        assert_holds(program)

    def test_a_failed_probe_beats_a_successful_one_in_any_order(self):
        def program() -> None:
            breaker = open_breaker()
            in_threads(lambda: attempt(breaker, fails), lambda: attempt(breaker, str))
            assert breaker.state is OPEN

        assert_holds(program)

    def test_results_of_the_closed_period_do_not_vote_when_they_come_together_with_those_of_the_probes(self):
        def program() -> None:
            breaker = CircuitBreaker(PROBED)

            def late_failure() -> None:
                time.sleep(12.0)
                raise OSError

            def trip_and_probe() -> None:
                time.sleep(1.0)
                attempt(breaker, fails)
                time.sleep(10.0)
                in_threads(*[lambda: attempt(breaker, lambda: time.sleep(1.0))] * 2)

            in_threads(*[lambda: attempt(breaker, late_failure)] * 2, trip_and_probe)
            assert breaker.state is CLOSED
            assert breaker.snapshot().results == ()

        assert_holds(program)

    def test_a_call_that_sets_off_as_the_breaker_opens_does_not_extend_the_wait(self):
        def program() -> None:
            breaker = CircuitBreaker(PROBED)
            opened_at = time.monotonic()

            def fails_later() -> None:
                time.sleep(1.0)
                raise OSError

            in_threads(lambda: attempt(breaker, fails), lambda: attempt(breaker, fails_later))
            time.sleep(opened_at + 10.0 - time.monotonic())
            assert breaker.call(str) == ""

        assert_holds(program)

    def test_no_result_of_a_call_is_lost(self):
        def program() -> None:
            breaker = CircuitBreaker(BreakerConfig(error_rate=1.0, window_size=8, min_calls_to_open=8))

            def mixed() -> None:
                attempt(breaker, fails)
                attempt(breaker, str)

            in_threads(mixed, mixed, mixed)
            shown = breaker.snapshot()
            assert (len(shown.results), shown.failed) == (6, 3)

        assert_holds(program)

    def test_a_success_recorded_without_the_lock_hides_no_failure(self):
        def program() -> None:
            breaker = CircuitBreaker(BreakerConfig(error_rate=1.0, window_size=2, min_calls_to_open=2))
            breaker.call(str)
            breaker.call(str)
            in_threads(lambda: attempt(breaker, fails), lambda: attempt(breaker, str), lambda: attempt(breaker, fails))
            shown = breaker.snapshot()
            assert shown.failed == shown.results.count(Outcome.FAILED)
            assert shown.failed >= 1

        assert_holds(program)

    def test_calls_run_in_parallel(self):
        def program() -> float:
            breaker = CircuitBreaker(BreakerConfig())
            in_threads(*[lambda: attempt(breaker, lambda: time.sleep(1.0))] * 4)
            return time.monotonic()

        assert VirtualTime().run(program) == 1.0

    def test_tasks_take_exactly_the_permitted_probes_and_a_cancelled_one_gives_its_permit_back(self):
        async def program() -> None:
            breaker = AsyncCircuitBreaker(PROBED)
            started = []

            async def answer(seconds: float) -> None:
                started.append(seconds)
                await asyncio.sleep(seconds)

            async def refuse() -> None:
                raise OSError

            async def probe(seconds: float) -> None:
                with contextlib.suppress(CircuitOpen, TimeoutError):
                    async with asyncio.timeout(2.0):
                        await breaker.call(answer, seconds)

            with pytest.raises(OSError):
                await breaker.call(refuse)
            await asyncio.sleep(10.0)
            await asyncio.gather(probe(60.0), probe(60.0), probe(60.0))
            assert started == [60.0, 60.0]
            assert breaker.state is HALF_OPEN
            await asyncio.gather(probe(1.0), probe(1.0), probe(1.0))
            assert started == [60.0, 60.0, 1.0, 1.0]
            assert breaker.state is CLOSED

        report = explore_async(program, 200, answer=(AsyncCircuitBreaker,))
        assert report.ok, str(report)


class NaiveBreaker:
    """The rules as one reads them: every result of the period is kept in a list, and rates are counted from scratch."""

    def __init__(self, config: BreakerConfig) -> None:
        self.config = config
        self.state = CLOSED
        self.period = 0
        self.results: list[tuple[bool, bool]] = []
        self.opened_at = 0.0
        self.out: list[float] = []  # when the probes started that hold a permit
        self.succeeded = 0

    @property
    def window(self) -> list[tuple[bool, bool]]:
        return self.results[-self.config.window_size :]

    def turn(self, state: State, now: float) -> None:
        self.state = state
        self.period += 1
        if state is OPEN:
            self.opened_at = now
        elif state is CLOSED:
            self.results = []
        else:
            self.out, self.succeeded = [], 0

    def ask(self, now: float) -> int | None:
        if self.state is OPEN and now - self.opened_at >= self.config.wait_duration:
            self.turn(HALF_OPEN, now)
        if self.state is CLOSED:
            return self.period
        if self.state is HALF_OPEN:
            if len(self.out) < self.config.permitted_calls_in_half_open:
                self.out.append(now)
                return self.period
            patience = 10 * max(self.config.wait_duration, self.config.slow_call_threshold, 1.0)
            if now - self.out[-1] >= patience:
                self.turn(OPEN, now)
        return None

    def end(self, period: int, started: float, now: float, failed: bool | None) -> None:
        if period != self.period:
            return
        if failed is None:
            if self.state is HALF_OPEN:
                self.out.remove(started)
            return
        slow = now - started > self.config.slow_call_threshold
        if self.state is HALF_OPEN:
            self.succeeded += 1
            if failed or slow:
                self.turn(OPEN, now)
            elif self.succeeded == self.config.permitted_calls_in_half_open:
                self.turn(CLOSED, now)
            return
        self.results.append((failed, slow))
        error_rate, slow_rate = self.rates()
        if error_rate is None or slow_rate is None:
            return
        if error_rate >= self.config.error_rate or slow_rate >= self.config.slow_call_rate:
            self.turn(OPEN, now)

    def rates(self) -> tuple[float | None, float | None]:
        seen = self.window
        if len(seen) < min(self.config.min_calls_to_open, self.config.window_size):
            return None, None
        return sum(failed for failed, _ in seen) / len(seen), sum(slow for _, slow in seen) / len(seen)


RATES = st.sampled_from([0.07, 0.25, 0.3, 0.5, 0.8, 1.0])
CONFIGS = st.builds(
    BreakerConfig,
    error_rate=RATES,
    slow_call_rate=RATES,
    slow_call_threshold=st.sampled_from([0.0, 0.25, 2.0]),
    window_size=st.integers(1, 6),
    min_calls_to_open=st.integers(1, 7),
    wait_duration=st.sampled_from([0.0, 0.5, 3.0]),
    permitted_calls_in_half_open=st.integers(1, 3),
    ignored=st.just((LookupError,)),
)


class BreakerAgainstTheRules(RuleBasedStateMachine):
    """Any calls, overlapping in any way, with time passing in between: the breaker and the naive rules agree."""

    @rule(config=CONFIGS)
    @precondition(lambda self: not hasattr(self, "breaker"))
    def build(self, config):
        self.clock = Clock()
        self.breaker = AsyncCircuitBreaker(config, self.clock)
        self.model = NaiveBreaker(config)
        self.flights: list[tuple[Flight, int, float]] = []

    @rule(seconds=st.sampled_from([0.125, 0.25, 0.5, 1.0, 3.0, 40.0]))
    @precondition(lambda self: hasattr(self, "breaker"))
    def time_passes(self, seconds):
        self.clock.now += seconds

    @rule()
    @precondition(lambda self: hasattr(self, "breaker"))
    def a_call_arrives(self):
        period = self.model.ask(self.clock.now)
        flight = take_off(self.breaker)
        assert (flight is not None) == (period is not None)
        if flight is not None and period is not None:
            self.flights.append((flight, period, self.clock.now))

    @rule(data=st.data(), error=st.sampled_from([None, None, OSError, KeyError, asyncio.CancelledError]))
    @precondition(lambda self: getattr(self, "flights", None))
    def a_call_ends(self, data, error):
        index = data.draw(st.integers(0, len(self.flights) - 1))
        flight, period, started = self.flights.pop(index)
        flight.land(error and error())
        failed = {None: False, OSError: True}.get(error)
        self.model.end(period, started, self.clock.now, failed)

    @invariant()
    def they_agree(self):
        if hasattr(self, "breaker"):
            shown = self.breaker.snapshot()
            assert shown.state is self.model.state
            if shown.state is CLOSED:
                assert [(bool(r & 1), bool(r & 2)) for r in shown.results] == self.model.window
                assert shown.failed == sum(failed for failed, _ in self.model.window)
                assert shown.slow == sum(slow for _, slow in self.model.window)
                assert (shown.error_rate, shown.slow_call_rate) == self.model.rates()
            if shown.state is HALF_OPEN:
                assert shown.permits_left == self.model.config.permitted_calls_in_half_open - len(self.model.out)


TestAgainstTheRules = BreakerAgainstTheRules.TestCase
TestAgainstTheRules.settings = settings(max_examples=120, stateful_step_count=60, deadline=None, derandomize=True)
