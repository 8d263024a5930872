"""The checks of 17.1.5 judge alike from every seed, take no record on trust, and hand out honest dumps."""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from graders import ex17_1_5_deadlock as module
from graders.course import find
from graders.kit import Mismatch
from graders.kit.check import Check, checks_in
from graders.kit.examine import examine
from graders.kit.play import Plan, play, play_each
from graders.source_format import read_answer
from shared.observability.deadlock import find_deadlock, read_dump

CHECKS = checks_in(module)
EXPLORED = {name: check for name, check in CHECKS.items() if check.interleavings}
DUMPS = {name: check for name, check in CHECKS.items() if isinstance(check, module._DumpCheck)}
ANSWERS = sorted(find("17.1.5").answers.glob("*.py"))
RACES = [
    path
    for path in ANSWERS
    if read_answer(path.read_text()).fails[:1] in (("never-deadlocks",), ("stays-fresh-whatever-overlaps",))
]
RIGHT = [path for path in ANSWERS if path.stem.startswith("right-")]


def written(path: Path, check: Check) -> Any:
    names: dict[str, Any] = {"__name__": "answer"}
    exec(compile(path.read_text(), f"<solution {path.stem}>", "exec", dont_inherit=True), names)
    return names["find_deadlock"] if check.id in DUMPS else (names["Cache"], names["DB"])


def failed(path: Path, checks: dict[str, Check], seed: int) -> set[str]:
    def passes(check: Check) -> bool:
        return examine(check, partial(play_each, check, written(path, check)), seed=seed, scale=0.5).passed

    return {name for name, check in checks.items() if not passes(check)}


@pytest.mark.parametrize("path", RACES, ids=lambda path: path.stem)
def test_a_race_is_found_from_another_seed(path: Path) -> None:
    assert failed(path, EXPLORED, seed=11) == set(read_answer(path.read_text()).fails) & set(EXPLORED)


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_right_answer_passes_from_another_seed(path: Path) -> None:
    assert failed(path, CHECKS, seed=2024) == set()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_a_record_that_lacks_an_event_or_an_outcome_is_refused(check: Check) -> None:
    for scenario in check.always:
        history = play(check, written(RIGHT[0], check), scenario, Plan(schedules=1))[0]["history"]
        check.judge(scenario, history)
        silent = [{key: value for key, value in event.items() if key != "outcome"} for event in history]
        others = [{key: value for key, value in event.items() if key not in ("step", "thread")} for event in history]
        for record in ([], [{"what": "all is well"}], history[: len(history) // 2], history[:-1], silent):
            with pytest.raises(Mismatch):
                check.judge(scenario, record)
        if others != history:
            with pytest.raises(Mismatch):
                check.judge(scenario, others)


@pytest.mark.parametrize("check", DUMPS.values(), ids=DUMPS.keys())
def test_a_dump_holds_what_the_scenario_says_and_the_reference_agrees_with_the_judge(check: Check) -> None:
    for scenario in check.always:
        text = module._text(scenario)
        cycle = module._cycle(scenario["threads"])
        assert find_deadlock(text) in (module._rotations(cycle) or [[]])
        assert 2 <= len(cycle) <= 5 or not cycle
        for thread, read in zip(scenario["threads"], read_dump(text), strict=True):
            assert (read.name, read.state) == (thread["name"], thread["state"])
            assert set(read.holds) == {scenario["locks"][lock][0] for lock in thread["holds"]}
        names = [thread["name"] for thread in scenario["threads"]]
        assert len(set(names)) == len(names)
        assert '"' not in "".join(names)
        assert text.count("- waiting to lock") == sum(thread["waits"] is not None for thread in scenario["threads"])


def test_no_two_threads_of_a_dump_hold_one_lock() -> None:
    for check in DUMPS.values():
        for scenario in check.always:
            held = [lock for thread in scenario["threads"] for lock in thread["holds"]]
            assert len(held) == len(set(held))
            assert len({address for address, _ in scenario["locks"]}) == len(scenario["locks"])


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_a_scenario_is_told_in_words_and_is_plain_data(check: Check) -> None:
    for scenario in check.always:
        assert json.loads(json.dumps(scenario)) == scenario
        assert len(check.describe(scenario)) < 240


def test_what_a_read_may_see_is_decided_by_what_had_returned_before_it() -> None:
    """Any update that is not overtaken before the read began may be seen; compared with trying all orders."""
    rng = random.Random(5)
    scenario = {"rows": {"a": 0}}
    for _ in range(300):
        ticks = rng.sample(range(40), 8)
        calls = [sorted(ticks[at : at + 2]) for at in range(0, 8, 2)]
        history = [
            {"step": ["update", "a", value], "what": "update", "began": began, "ended": ended}
            for value, (began, ended) in enumerate(calls[:3], 1)
        ]
        (began, ended), seen = calls[3], rng.randrange(4)
        read = {"step": ["get", "a"], "what": "get", "began": began, "ended": ended, "value": seen}
        before = [write for write in history if write["ended"] < began]
        if seen:
            own = history[seen - 1]
            right = own["began"] < ended and not any(write["began"] > own["ended"] for write in before)
        else:
            right = not before
        try:
            module._must_see(scenario, [*history, read])
            assert right
        except Mismatch:
            assert not right
