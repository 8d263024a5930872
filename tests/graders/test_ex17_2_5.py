"""The checks of 17.2.5 give each answer the same verdict for every seed, and their judges refuse records cut short."""

from __future__ import annotations

import asyncio
import copy
import time
from functools import partial
from typing import Any

import pytest

from graders import ex17_2_5_timeouts as checks
from graders.course import find
from graders.kit import Check, Mismatch, Result, checks_in, examine, play, play_each
from graders.source_format import read_answer
from shared.resilience import deadlines
from shared.resilience.contracts import InvalidHierarchy

CHECKS = checks_in(checks)
ANSWERS = sorted(find("17.2.5").answers.glob("*.py"))
SEEDS = (1, 2)
REFERENCE = {name: getattr(deadlines, name) for name in ("Deadline", "call_with_deadline", "validate_hierarchy")}


def names_in(sources: dict[str, str]) -> dict[str, Any]:
    given = {"asyncio": asyncio, "time": time, "InvalidHierarchy": InvalidHierarchy}
    names: dict[str, Any] = {
        "__name__": "answer",
        **given,
    }  # a class made in a nameless module would pass for a built-in
    for cell, source in sources.items():
        exec(compile(source, f"<solution {cell}>", "exec"), names)
    return names


def wanted(check: Check, names: dict[str, Any]) -> Any:
    match check.id:
        case "children-are-shorter":
            return names["validate_hierarchy"]
        case "deadline-counts-down":
            return names["Deadline"]
    return names["Deadline"], names["call_with_deadline"]


def examined(check: Check, names: dict[str, Any], seed: int) -> Result:
    answer = wanted(check, names)
    return examine(check, partial(play_each, check, answer), seed=seed, scale=0.1)


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_an_answer_fails_the_checks_that_it_names_whatever_the_seed(path):
    answer = read_answer(path.read_text())
    names = names_in(answer.solutions)
    for seed in SEEDS:
        failed = {name for name, check in CHECKS.items() if not examined(check, names, seed).passed}
        assert failed == set(answer.fails), f"seed {seed}"


def test_the_reference_passes_every_check():
    for check in CHECKS.values():
        result = examined(check, REFERENCE, 1)
        assert result.passed, result.message


def _without(key: str, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in event.items() if name != key} for event in history]


@pytest.mark.parametrize("check", CHECKS.values(), ids=list(CHECKS))
def test_a_record_that_is_cut_short_or_has_no_outcomes_is_refused(check):
    for scenario in check.always:
        (recording,) = play(check, wanted(check, REFERENCE), scenario)
        history = recording["history"]
        check.judge(scenario, copy.deepcopy(history))
        note = {"t": 0.0, "who": "main", "what": "all is well", "kind": "note"}
        forged = [[], [note], history[: len(history) // 2], history[:-1]]
        forged += [_without("outcome", history), _without("until", history)]
        for each in forged:
            with pytest.raises(Mismatch):
                check.judge(scenario, each)


def test_an_unanswered_stub_is_unanswered_and_not_failed():
    async def stub(fn: Any, timeout: float, parent: Any = None, *, name: str | None = None) -> None:
        raise NotImplementedError

    result = examined(CHECKS["child-gets-the-smaller"], {**REFERENCE, "call_with_deadline": stub}, 1)
    assert result.status == "unanswered"
