"""The checks of 17.1.1 judge alike from every seed, and take no record on trust."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from graders import ex17_1_1_instrumented_worker_pool as module
from graders.course import find
from graders.kit import Mismatch, play_each
from graders.kit.check import Check, checks_in
from graders.kit.examine import examine
from graders.kit.play import Plan, play
from graders.source_format import read_answer

CHECKS = checks_in(module)
EXPLORED = {name: check for name, check in CHECKS.items() if check.interleavings}
ANSWERS = sorted(find("17.1.1").answers.glob("*.py"))
RACES = [path for path in ANSWERS if set(EXPLORED) >= set(read_answer(path.read_text()).fails) != set()]
RIGHT = [path for path in ANSWERS if path.stem.startswith("right-")]


def pool(path: Path) -> Any:
    names: dict[str, Any] = {"__name__": "answer"}
    exec(compile(path.read_text(), f"<solution {path.stem}>", "exec"), names)
    return names["InstrumentedWorkerPool"]


def failed(answer: Any, checks: dict[str, Check], seed: int) -> set[str]:
    def passes(check: Check) -> bool:
        return examine(check, partial(play_each, check, answer), seed=seed, scale=0.1).passed

    return {name for name, check in checks.items() if not passes(check)}


@pytest.mark.parametrize("path", RACES, ids=lambda path: path.stem)
def test_a_race_is_found_from_every_seed(path: Path) -> None:
    answer, promised = pool(path), set(read_answer(path.read_text()).fails)
    for seed in (11, 12):
        assert failed(answer, EXPLORED, seed) == promised


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_right_answer_passes_from_another_seed(path: Path) -> None:
    assert failed(pool(path), CHECKS, seed=2024) == set()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_a_record_that_lacks_a_step_or_an_outcome_is_refused(check: Check) -> None:
    scenario = check.always[0]
    history = play(check, pool(RIGHT[0]), scenario, Plan(schedules=1))[0]["history"]
    check.judge(scenario, history)
    silent = [{key: value for key, value in event.items() if key != "outcome"} for event in history]
    blind = [{key: value for key, value in event.items() if key not in ("saw", "tasks")} for event in history]
    for record in ([], [{"what": "all is well"}], history[: len(history) // 2], history[:-1], silent, blind):
        with pytest.raises(Mismatch):
            check.judge(scenario, record)


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_no_look_ties_with_the_begin_or_end_of_a_task(path: Path) -> None:
    for scenario in (module._rising(4, 5, 9), module._overloaded(2, 3, 5), module._mixed(3, ["ok"] * 6, 3)):
        history = play(CHECKS["gauges-follow-the-pool"], pool(path), scenario)[0]["history"]
        looks = [event["t"] for event in history if event["did"] == "look"]
        instants = [task[key] for task in module._tasks(history) for key in ("at", "began", "ended")]
        assert all(abs(look - instant) > 0.02 for look in looks for instant in instants if instant is not None)


def test_nearest_rank_is_ceil_of_0_99_n() -> None:
    assert [module._nearest_rank(list(range(1, n + 1))) for n in (1, 50, 99, 100, 101, 200)] == [
        1,
        50,
        99,
        99,
        100,
        198,
    ]
