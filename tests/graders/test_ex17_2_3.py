"""The checks of 17.2.3 judge alike from every seed, and take no record on trust."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from graders import ex17_2_3_bulkhead as module
from graders.course import find
from graders.kit import Mismatch, play_each
from graders.kit.check import Check, checks_in
from graders.kit.examine import examine
from graders.kit.play import Plan, play
from graders.source_format import read_answer
from shared.resilience.contracts import TenantLimit

CHECKS = checks_in(module)
EXPLORED = {name: check for name, check in CHECKS.items() if check.interleavings}
ANSWERS = sorted(find("17.2.3").answers.glob("*.py"))
RACES = [path for path in ANSWERS if set(EXPLORED) >= set(read_answer(path.read_text()).fails) != set()]
RIGHT = [path for path in ANSWERS if path.stem.startswith("right-")]


def bulkhead(path: Path) -> Any:
    names: dict[str, Any] = {"TenantLimit": TenantLimit, "__name__": "answer"}
    exec(compile(path.read_text(), f"<solution {path.stem}>", "exec"), names)
    return names["Bulkhead"]


def failed(answer: Any, checks: dict[str, Check], seed: int) -> set[str]:
    def passes(check: Check) -> bool:
        return examine(check, partial(play_each, check, answer), seed=seed, scale=0.1).passed

    return {name for name, check in checks.items() if not passes(check)}


@pytest.mark.parametrize("path", RACES, ids=lambda path: path.stem)
def test_a_race_is_found_from_every_seed(path: Path) -> None:
    answer, promised = bulkhead(path), set(read_answer(path.read_text()).fails)
    for seed in (11, 12):
        assert failed(answer, EXPLORED, seed) == promised


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_right_answer_passes_from_another_seed(path: Path) -> None:
    assert failed(bulkhead(path), CHECKS, seed=2024) == set()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_a_record_that_lacks_a_call_or_an_outcome_is_refused(check: Check) -> None:
    scenario = check.always[0]
    history = play(check, bulkhead(RIGHT[0]), scenario, Plan(schedules=1))[0]["history"]
    check.judge(scenario, history)
    silent = [{key: value for key, value in event.items() if key != "outcome"} for event in history]
    for record in ([], [{"what": "all is well"}], history[: len(history) // 2], history[:-1], silent):
        with pytest.raises(Mismatch):
            check.judge(scenario, record)


def test_drawn_instants_never_tie() -> None:
    largest = (
        module._filling(3, 3),
        module._leaving(2, 2, 3),
        module._overrunning(2, 2),
        module._failing(3, "KeyError", 6),
    )
    for calls in (scenario["calls"] for scenario in largest):
        assert all(step["lasts"] % 1 == 1 / 16 for step in calls)
        assert all(step["at"] % 1 == 0 and step["timeout"] % 1 == 0.5 for step in calls)
        assert len(calls) < 16
