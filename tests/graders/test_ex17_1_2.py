"""The checks of 17.1.2 judge alike from every seed, and take no record on trust."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from graders import ex17_1_2_distributed_tracing as module
from graders.course import find
from graders.kit import Mismatch, play_each
from graders.kit.check import Check, checks_in
from graders.kit.examine import examine
from graders.kit.play import Plan, play
from graders.source_format import read_answer

CHECKS = checks_in(module)
EXPLORED = {name: check for name, check in CHECKS.items() if check.interleavings}
ANSWERS = sorted(find("17.1.2").answers.glob("*.py"))
RACES = [path for path in ANSWERS if set(EXPLORED) >= set(read_answer(path.read_text()).fails) != set()]
RIGHT = [path for path in ANSWERS if path.stem.startswith("right-")]


def answer(path: Path) -> Any:
    names: dict[str, Any] = {"__name__": "answer"}
    exec(compile(path.read_text(), f"<solution {path.stem}>", "exec"), names)
    return names["TracedWorkerPool"], names["process_request"]


def failed(given: Any, checks: dict[str, Check], seed: int) -> set[str]:
    def passes(check: Check) -> bool:
        return examine(check, partial(play_each, check, given), seed=seed, scale=0.1).passed

    return {name for name, check in checks.items() if not passes(check)}


@pytest.mark.parametrize("path", RACES, ids=lambda path: path.stem)
def test_a_race_is_found_from_every_seed(path: Path) -> None:
    given, promised = answer(path), set(read_answer(path.read_text()).fails)
    for seed in (11, 12):
        assert failed(given, EXPLORED, seed) == promised


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_right_answer_passes_from_another_seed(path: Path) -> None:
    assert failed(answer(path), CHECKS, seed=2024) == set()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_a_record_that_lacks_an_event_or_an_outcome_is_refused(check: Check) -> None:
    for scenario in check.always:
        history = play(check, answer(RIGHT[0]), scenario, Plan(schedules=1))[0]["history"]
        check.judge(scenario, history)
        silent = [{key: value for key, value in event.items() if key != "outcome"} for event in history]
        for record in ([], [{"what": "all is well"}], history[: len(history) // 2], history[:-1], silent):
            with pytest.raises(Mismatch):
                check.judge(scenario, record)


def test_a_record_tells_spans_by_numbers_so_that_a_run_and_its_replay_are_equal() -> None:
    check = CHECKS["requests-do-not-mix"]
    given = answer(find("17.1.2").answers / "right-subclass-of-the-pool.py")
    once, again = (play(check, given, check.always[1], Plan(seed=3, schedules=5)) for _ in range(2))
    assert once == again
