"""The checks of 17.2.2 give each answer the same verdict for every seed, and their judges say where things part."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from graders import ex17_2_2_retry as checks
from graders.course import find
from graders.kit import Check, Mismatch, Result, checks_in, examine, play_each
from graders.source_format import read_answer
from shared.resilience.contracts import BackoffConfig, HttpError, is_retryable
from shared.resilience.retry import equal_jitter, full_jitter, no_jitter, retry

CHECKS = checks_in(checks)
ANSWERS = sorted(find("17.2.2").answers.glob("*.py"))
SEEDS = (1, 2)
GIVEN = {"BackoffConfig": BackoffConfig, "HttpError": HttpError, "is_retryable": is_retryable}


def examined(check: Check, answer: Callable[..., Any], seed: int) -> Result:
    return examine(check, partial(play_each, check, answer), seed=seed, scale=0.1)


def retry_in(source: str) -> Callable[..., Any]:
    names: dict[str, Any] = dict(GIVEN)
    exec(compile(source, "<solution retry>", "exec"), names)
    return names["retry"]


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_an_answer_fails_the_checks_that_it_names_whatever_the_seed(path):
    answer = read_answer(path.read_text())
    (source,) = answer.solutions.values()
    for seed in SEEDS:
        failed = {name for name, check in CHECKS.items() if not examined(check, retry_in(source), seed).passed}
        assert failed == set(answer.fails), f"seed {seed}"


@pytest.mark.parametrize("jitter", [full_jitter, equal_jitter])
def test_full_and_equal_jitter_pass_every_check(jitter):
    def answer(*args: Any, **options: Any) -> Any:
        return retry(*args, **options, jitter=jitter)

    for check in CHECKS.values():
        result = examined(check, answer, 1)
        assert result.passed, result.message


@pytest.mark.parametrize("jitter", [full_jitter, equal_jitter])
def test_the_calmest_of_three_storms_is_far_under_the_limit_by_chance_alone(jitter):
    """Of so many storms not one in fifty is over it: three in a row are out of reach."""
    config = BackoffConfig()
    storms = 400
    over = 0
    for storm in range(storms):
        starts = sorted(next(jitter(config, random.Random(f"{storm}/{client}"))) for client in range(100))
        over += checks._peak(starts, config.initial_delay / 20)[0] > 25
    assert over / storms < 0.02


def test_without_jitter_the_herd_comes_whole():
    check = CHECKS["spreads-the-herd"]
    result = examined(check, lambda *args, **options: retry(*args, **options, jitter=no_jitter), 1)
    assert "100 did" in result.message


@pytest.mark.parametrize(
    "starts, window, peak",
    [([], 1.0, (0, 0.0)), ([0.0, 0.5, 1.0], 1.0, (2, 0.0)), ([0.0, 5.0, 5.1, 5.2], 0.5, (3, 5.0))],
)
def test_a_peak_is_the_fullest_half_open_window_and_its_first_start(starts, window, peak):
    assert checks._peak(starts, window) == peak


def test_an_unanswered_stub_is_unanswered_and_not_failed():
    def stub(fn, config, *, sleep, rng, clock, deadline=None):
        raise NotImplementedError

    assert {examined(check, stub, 1).status for check in CHECKS.values()} == {"unanswered"}


def test_a_history_without_any_call_is_judged_and_does_not_break_the_judge():
    for name, check in CHECKS.items():
        result = examined(check, lambda *args, **options: None, 1)
        assert result.status in ("passed", "failed"), f"{name}: {result.message}"
    assert not examined(CHECKS["tries-up-to-max-attempts"], lambda *args, **options: None, 1).passed


def test_a_sleep_of_no_duration_fails_in_words():
    def answer(fn, config, *, sleep, rng, clock, deadline=None):
        try:
            return fn()
        except ConnectionError:
            sleep(-1.0)
            return fn()

    result = examined(CHECKS["tries-up-to-max-attempts"], answer, 1)
    assert result.status == "failed" and "ValueError" in result.message


def test_a_mismatch_points_at_the_sleep_that_is_too_long():
    check = CHECKS["delays-stay-within-bounds"]
    config = {"initial_delay": 1.0, "max_delay": 9.0, "multiplier": 2.0, "max_attempts": 9}
    history = [
        {"t": 0.0, "until": 0.0, "call": 1, "of": 1},
        {"t": 0.0, "until": 1.5, "sleep": True, "of": 1},
        {"t": 1.5, "until": 1.5, "call": 2, "of": 1},
        {"t": 1.5, "end": True, "of": 1},
    ]
    with pytest.raises(Mismatch) as caught:
        check.judge({"config": config, "clients": 1, "script": [{}, {}]}, history)
    assert caught.value.at == 1 and "min(9, 1 · 2^0) = 1 s" in caught.value.expected
