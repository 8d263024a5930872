"""The checks of 17.2.4 give each kept answer the same verdict for every seed, and refuse records that are not whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from graders import ex17_2_4_fallback as checks
from graders.course import find
from graders.kit import Check, Mismatch, Result, checks_in, examine, play, play_each
from graders.source_format import read_answer
from shared.resilience.contracts import Answer
from shared.resilience.fallback import RecommendationService

CHECKS = checks_in(checks)
ANSWERS = sorted(find("17.2.4").answers.glob("*.py"))
SEEDS = (1, 2, 3)
EVERY_ALWAYS = [(check, scenario) for check in CHECKS.values() for scenario in check.always]


def examined(check: Check, answer: Callable[..., Any], seed: int) -> Result:
    return examine(check, partial(play_each, check, answer), seed=seed, scale=0.1)


def service_in(source: str) -> Callable[..., Any]:
    names: dict[str, Any] = {"Answer": Answer}
    exec(compile(source, "<solution fallback>", "exec"), names)
    return names["RecommendationService"]


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_an_answer_fails_the_checks_that_it_names_whatever_the_seed(path):
    answer = read_answer(path.read_text())
    (source,) = answer.solutions.values()
    for seed in SEEDS:
        failed = {name for name, check in CHECKS.items() if not examined(check, service_in(source), seed).passed}
        assert failed == set(answer.fails), f"seed {seed}"


def test_the_reference_passes_and_every_check_is_failed_by_some_answer():
    assert [check.id for check in CHECKS.values() if not examined(check, RecommendationService, 1).passed] == []
    named = {name for path in ANSWERS for name in read_answer(path.read_text()).fails}
    assert named == set(CHECKS)


@pytest.mark.parametrize("forge", ["nothing", "one note", "first half", "all but the last", "no outcomes", "no ends"])
def test_a_record_that_is_not_whole_is_refused(forge):
    for check, scenario in EVERY_ALWAYS:
        (recording,) = play(check, RecommendationService, scenario)
        history = recording["history"]
        check.judge(scenario, history)
        note = {"t": 0.0, "who": "main", "what": "all is well", "kind": "note"}
        forged = {
            "nothing": [],
            "one note": [note],
            "first half": history[: len(history) // 2],
            "all but the last": history[:-1],
            "no outcomes": [{name: value for name, value in event.items() if name != "outcome"} for event in history],
            "no ends": [{name: value for name, value in event.items() if name != "until"} for event in history],
        }[forge]
        with pytest.raises(Mismatch, match="a record"):
            check.judge(scenario, forged)


def test_every_hint_is_a_heading_of_the_notebook():
    notebook = find("17.2.4").source.read_text()
    for check in CHECKS.values():
        assert re.search(rf"<summary>{re.escape(check.hint)} \(", notebook), check.id


def test_a_card_says_the_age_and_both_answers():
    class Eternal(RecommendationService):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, ttl=1e9)

    card = examined(CHECKS["cached-answers-live-five-minutes"], Eternal, 1).card
    assert card is not None
    assert card.case == "eva asks, the client answers → 301 s pass → eva asks, the client raises ConnectionError"
    assert "level 'static'" in card.expected and "301 s old, too old" in card.expected
    assert card.observed == "level 'cache' with ['book 1 for eva']"
