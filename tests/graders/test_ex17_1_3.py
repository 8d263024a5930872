"""The checks of 17.1.3 judge alike from every seed, see each panel, and take no record on trust."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from graders import ex17_1_3_dashboards as module
from graders.course import find
from graders.kit import Mismatch, play_each
from graders.kit.check import Check, checks_in
from graders.kit.examine import examine
from graders.kit.play import play
from graders.source_format import read_answer

EXERCISE = find("17.1.3")
CHECKS = checks_in(module)
ANSWERS = sorted(EXERCISE.answers.glob("*.py"))
RIGHT = [path for path in ANSWERS if path.stem.startswith("right-")]


def _setup() -> str:
    """The imports that a learner is given."""
    return EXERCISE.source.read_text().split('# %% readonly="setup"\n')[1].split("\nfrom graders")[0]


def build(path: Path) -> Any:
    names: dict[str, Any] = {"__name__": "answer"}
    exec(_setup(), names)
    exec(compile(path.read_text(), f"<solution {path.stem}>", "exec"), names)
    return names["build_dashboard"]


def failed(answer: Any, seed: int) -> set[str]:
    return {
        name
        for name, check in CHECKS.items()
        if not examine(check, partial(play_each, check, answer), seed=seed, scale=4.0).passed
    }


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_a_verdict_is_the_same_from_every_seed(path: Path) -> None:
    answer, promised = build(path), set(read_answer(path.read_text()).fails)
    for seed in (11, 2024):
        assert failed(answer, seed) == promised


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_a_record_that_lacks_a_look_or_the_dashboard_is_refused(check: Check) -> None:
    scenario = check.always[0]
    history = play(check, build(RIGHT[0]), scenario)[0]["history"]
    check.judge(scenario, history)
    silent = [{key: value for key, value in event.items() if key != "outcome"} for event in history]
    blind = [{key: value for key, value in event.items() if key != "pieces"} for event in history]
    cut = [{**history[0], "pieces": history[0]["pieces"][:-1]}, *history[1:]]
    for record in ([], [{"what": "all is well"}], history[: len(history) // 2], history[:-1], silent, blind, cut):
        with pytest.raises(Mismatch):
            check.judge(scenario, record)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"type": "dict", "builder": False}, "it returned a dict"),
        ({"type": "Dashboard", "builder": True}, "a builder; call its build()"),
        (["[" * 1000] * 190, "not valid JSON"),
        (["x" * 1000] * 201, "at most 200,000 characters"),
        (["x" * 1001], "damaged"),
        ([1], "damaged"),
        (['{"panels": 3}'], "not a list"),
        (['{"panels": [3]}'], "not an object"),
        ([json.dumps({"panels": [{"type": "text"}] * 41})[start : start + 1000] for start in (0, 1000)], "at most 40"),
    ],
)
def test_what_is_no_dashboard_is_refused_in_one_sentence(value: Any, words: str) -> None:
    event = {"outcome": "returned", "value" if isinstance(value, dict) else "pieces": value}
    with pytest.raises(Mismatch) as refusal:
        module._layout(event)
    assert words in refusal.value.observed and "\n" not in refusal.value.observed


def test_what_the_answer_raises_is_shown() -> None:
    def broken() -> None:
        raise KeyError("legend")

    check = CHECKS["four-rows-in-order"]
    result = examine(check, partial(play_each, check, broken), seed=1)
    assert result.status == "failed" and "it raised KeyError" in result.message


def test_an_unwritten_answer_is_unanswered() -> None:
    def unwritten() -> None:
        raise NotImplementedError

    check = CHECKS["data-sources-are-named"]
    assert examine(check, partial(play_each, check, unwritten), seed=1).status == "unanswered"


@pytest.mark.parametrize(
    ("expr", "bare"),
    [
        ("sum(requests_total)", ("requests_total", False)),
        ("sum(rate(requests_total[5m]))", None),
        ("requests_total - requests_total offset 5m", None),
        ("sum(rate(requests_failed_total[5m])) / sum(requests_total)", ("requests_total", False)),
        ("max_over_time(rate(requests_total[5m])[1h:1m])", None),
        ("rate(sum(requests_total)[5m:1m])", ("requests_total", True)),
        ("rate(requests_total[5m:1m])", None),
        ("worker_pool_queue_size", None),
    ],
)
def test_a_bare_counter_is_found_wherever_it_stands(expr: str, bare: tuple[str, bool] | None) -> None:
    from shared.observability.promql import parse

    assert module._bare_counter(parse(expr)) == bare
