"""The checks of 17.2.1 pass every right design and give each wrong answer the same verdict for every seed."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from graders import ex17_2_1_circuit_breaker as checks
from graders.course import find
from graders.kit import Check, Result, checks_in, examine, play_each
from graders.source_format import read_answer
from shared.resilience.circuit_breaker import CircuitBreaker
from shared.resilience.contracts import BreakerConfig, CircuitOpen, State

CHECKS = checks_in(checks)
EXPLORED = {name for name, check in CHECKS.items() if check.interleavings}
ANSWERS = sorted(find("17.2.1").answers.glob("*.py"))
SEEDS = (1, 2)
GIVEN = {
    "BreakerConfig": BreakerConfig,
    "CircuitOpen": CircuitOpen,
    "State": State,
    "deque": deque,
    "threading": threading,
    "time": time,
}


def examined(check: Check, answer: Any, seed: int) -> Result:
    return examine(check, partial(play_each, check, answer), seed=seed, scale=0.1)


def failures(answer: Any, seed: int = 1, names: set[str] | None = None) -> dict[str, Result]:
    """The checks that do not pass, of those named, in the order of the exercise."""
    results = {name: examined(check, answer, seed) for name, check in CHECKS.items() if names is None or name in names}
    return {name: result for name, result in results.items() if not result.passed}


def breaker_in(source: str) -> Any:
    names: dict[str, Any] = {**GIVEN, "__name__": "__main__"}
    exec(compile(source, "<solution circuit-breaker>", "exec"), names)
    return names["CircuitBreaker"]


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_an_answer_fails_the_checks_that_it_names_and_reads_why_before_any_scenario_is_drawn(path):
    answer = read_answer(path.read_text())
    (source,) = answer.solutions.values()
    # Exploring is dear: of the wrong answers, only those that name an explored check are explored here.
    names = set(CHECKS) if answer.right or EXPLORED & set(answer.fails) else set(CHECKS) - EXPLORED
    for seed in SEEDS if answer.wrong else SEEDS[:1]:
        failed = failures(breaker_in(source), seed, names)
        assert set(failed) == set(answer.fails), f"seed {seed}"
        for name in set(failed) - EXPLORED:
            assert failed[name].scenarios <= len(CHECKS[name].always), f"{name} is failed by a drawn scenario alone"
        for words in answer.says:
            assert words in " ".join(failed[answer.fails[0]].message.split())


def test_the_reference_passes_every_check():
    assert failures(CircuitBreaker) == {}


def test_an_unanswered_stub_is_unanswered_and_not_failed():
    class Stub:
        def __init__(self, config, clock=time.monotonic):
            self.state = State.CLOSED

        def call(self, fn, *args, **kwargs):
            raise NotImplementedError

    assert {result.status for result in failures(Stub).values()} == {"unanswered"}
    assert len(failures(Stub)) == len(CHECKS)


class Noisy(CircuitBreaker):
    """Logs, prints, writes to stderr, and leaves a daemon thread behind at every call."""

    __slots__ = ()

    def call(self, fn, *args, **kwargs):
        logging.getLogger("noisy").warning("a call")
        print("a call")
        print("a call", file=sys.stderr)
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().call(fn, *args, **kwargs)


class OnItsOwnClock(CircuitBreaker):
    """Reads `time.monotonic` by its own default argument and leaves the given clock alone: the two agree in checks."""

    __slots__ = ()

    def __init__(self, config, clock=None, own_clock=time.monotonic):
        super().__init__(config, own_clock)


class TellsMore(CircuitOpen):
    """A rejection with more to say."""


class RejectsWithASubclass(CircuitBreaker):
    __slots__ = ()

    def call(self, fn, *args, **kwargs):
        try:
            return super().call(fn, *args, **kwargs)
        except CircuitOpen as rejected:
            raise TellsMore(rejected.retry_after) from None


@pytest.mark.parametrize("harmless", [Noisy, OnItsOwnClock, RejectsWithASubclass])
def test_what_does_no_harm_costs_nothing(harmless, capsys):
    assert failures(harmless, names=set(CHECKS) - EXPLORED) == {}


@pytest.mark.parametrize(
    "error, passes", [(-0.0009, True), (0.0009, True), (-0.003, False), (0.003, False)], ids=lambda value: str(value)
)
def test_the_end_of_the_wait_is_tested_to_a_millisecond(error, passes):
    class Inexact(CircuitBreaker):
        __slots__ = ()

        def __init__(self, config, clock=time.monotonic):
            super().__init__(replace(config, wait_duration=config.wait_duration + error), clock)

    assert (failures(Inexact, names={"open-rejects-for-the-wait"}) == {}) is passes


def test_a_breaker_that_never_opens_reads_that_it_never_opened():
    class Transparent:
        def __init__(self, config, clock=time.monotonic):
            self.state = State.CLOSED

        def call(self, fn, *args, **kwargs):
            return fn(*args, **kwargs)

    message = failures(Transparent, names={"half-open-decides"})["half-open-decides"].message
    assert "all 10 ran, none was rejected" in " ".join(message.split())


def test_a_scenario_is_told_in_words():
    check = CHECKS["late-results-do-not-vote"]
    assert check.describe(check.always[0]).endswith(
        "a thread starts a call (fail after 30 s) → calls fail until one is refused → 15 s pass → "
        "a thread starts a call (ok after 20 s) → ok → 17 s pass → ok → 5 s pass → ok"
    )
