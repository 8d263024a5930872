"""The examiner draws, judges, shrinks and stops, whatever comes back from beside the answer."""

from __future__ import annotations

import importlib
import json
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import strategies as st

from graders.kit import Check, Mismatch, Plan, RunnerLost, World, examine, play, play_each


class CountsToTheTotal(Check):
    """The counter ends at the number of hits."""

    scenarios = st.fixed_dictionaries({"hits": st.integers(0, 40)})
    hint = "Hint 1: the total"

    def drive(self, answer, scenario, world: World) -> None:
        counter = answer()
        for number in range(scenario["hits"]):
            world.call(f"hit {number + 1}", counter.hit)
        world.record("at the end", total=counter.total)

    def judge(self, scenario, history) -> None:
        total = history[-1]["total"]
        if total != scenario["hits"]:
            raise Mismatch(expected=f"a total of {scenario['hits']}", observed=str(total), at=len(history) - 1)


class CountsFromManyThreads(CountsToTheTotal):
    """The counter loses no hit when threads hit it at once."""

    scenarios = st.fixed_dictionaries({"hits": st.integers(2, 3)})
    examples = 2
    interleavings = 60

    def drive(self, answer, scenario, world: World) -> None:
        counter = answer()
        for _ in range(scenario["hits"]):
            world.start(counter.hit)
        world.join()
        world.record("at the end", total=counter.total)


class RacesWhereThreadsMeet(CountsFromManyThreads):
    """The same, where one thread alone runs under one schedule."""

    always = ({"hits": 1}, {"hits": 2})

    def schedules(self, scenario) -> int:
        return self.interleavings if scenario["hits"] > 1 else 1


class Counter:
    def __init__(self) -> None:
        self.total = 0

    def hit(self) -> None:
        self.total += 1


class LockedCounter(Counter):
    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def hit(self) -> None:
        with self._lock:
            self.total += 1


class StopsAtTwelve(Counter):
    def hit(self) -> None:
        self.total = min(12, self.total + 1)


class Unwritten:
    total = 0

    def hit(self) -> None:
        raise NotImplementedError


class Raises(Counter):
    @property
    def total(self):
        raise KeyError("total")

    @total.setter
    def total(self, value) -> None:
        pass


class NeverEnds(Counter):
    def hit(self) -> None:
        threading.Event().wait()


def judged(check: Check, answer, **options):
    return examine(check, partial(play_each, check, answer), **options)


def test_a_right_answer_passes_with_every_scenario_tried() -> None:
    result = judged(CountsToTheTotal(), Counter)
    assert (result.status, result.card) == ("passed", None)
    assert result.scenarios >= 30


def test_a_wrong_answer_fails_with_the_smallest_case() -> None:
    card = judged(CountsToTheTotal(), StopsAtTwelve, seed=5).card
    assert card.case == "hits = 13"
    assert (card.expected, card.observed) == ("a total of 13", "12")
    assert card.history[card.at]["what"] == "at the end"


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_result(seed: int) -> None:
    first, second = (judged(CountsToTheTotal(), StopsAtTwelve, seed=seed) for _ in range(2))
    assert first.card == second.card
    assert first.scenarios == second.scenarios


def test_what_is_drawn_does_not_depend_on_the_code_that_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AnyNumber(CountsToTheTotal):
        """As above, of a range in which a constant of the program stands out."""

        scenarios = st.integers(0, 10**9)

    def drawn() -> list[int]:
        seen: list[int] = []

        def drive(scenarios: list[int], plan: Plan):
            seen.extend(scenarios)
            return [[{"history": [{"total": 0}], "schedule": {}, "trouble": None}] for _ in scenarios]

        monkeypatch.setattr(AnyNumber, "judge", lambda *_: None)
        examine(AnyNumber(), drive, seed=4, scale=4)
        return seen

    before = drawn()
    (tmp_path / "with_a_constant.py").write_text("LIMIT = 123_456_789\n" * 50)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("with_a_constant")
    assert drawn() == before


def test_a_lost_update_is_found_and_its_schedule_is_short() -> None:
    result = judged(CountsFromManyThreads(), Counter)
    assert result.status == "failed"
    assert 1 <= result.card.switches <= 2
    assert judged(CountsFromManyThreads(), LockedCounter).status == "passed"


def test_an_unwritten_answer_is_unanswered_not_wrong() -> None:
    result = judged(CountsToTheTotal(), Unwritten)
    assert result.status == "unanswered"


def test_an_unexpected_exception_is_an_error_that_names_it() -> None:
    result = judged(CountsToTheTotal(), Raises)
    assert result.status == "error"
    assert "KeyError" in result.message


def test_a_call_that_never_ends_fails_with_who_waits() -> None:
    result = judged(CountsToTheTotal(), NeverEnds)
    assert result.status == "failed"
    assert "every call to end" in result.message


def test_scenarios_that_always_run_come_first_and_are_not_shrunk() -> None:
    class WithOne(CountsToTheTotal):
        """As above."""

        always = ({"hits": 20},)

    result = judged(WithOne(), StopsAtTwelve)
    assert (result.card.case, result.scenarios) == ("hits = 20", 1)


def test_a_lost_runner_becomes_the_outcome_that_it_names() -> None:
    def lost(scenario, plan):
        raise RunnerLost("timeout", "It ran longer than 10 s.")

    result = examine(CountsToTheTotal(), lost)
    assert result.status == "timeout"
    assert "longer than 10 s" in result.message


def test_a_runner_lost_while_shrinking_keeps_the_failure_found() -> None:
    calls = 0

    def dies_later(scenarios, plan):
        nonlocal calls
        driven = play_each(CountsToTheTotal(), StopsAtTwelve, scenarios, plan)
        totals = [recordings[0]["history"][-1]["total"] for recordings in driven]
        if calls or totals != [scenario["hits"] for scenario in scenarios]:
            calls += 1
        if calls > 1:
            raise RunnerLost("crashed", "gone")
        return driven

    assert examine(CountsToTheTotal(), dies_later, seed=3).status == "failed"


def test_a_runner_lost_while_its_schedule_is_shrunk_keeps_the_failure_found() -> None:
    def dies_on_replay(scenarios, plan):
        if plan.schedule is not None:
            raise RunnerLost("crashed", "gone")
        return play_each(CountsFromManyThreads(), Counter, scenarios, plan)

    assert examine(CountsFromManyThreads(), dies_on_replay).status == "failed"


@pytest.mark.parametrize("forged", [[], [{"t": 0}], [{"total": {"x": 1}}]])
def test_a_forged_record_earns_nothing(forged) -> None:
    recording = {"history": forged, "schedule": {}, "trouble": None}
    result = examine(CountsToTheTotal(), lambda scenarios, plan: [[recording] for _ in scenarios])
    assert result.status in ("error", "failed")


def test_an_answer_that_changes_between_runs_fails_without_a_traceback() -> None:
    seen = []

    class Fickle(Counter):
        def hit(self) -> None:
            seen.append(1)
            self.total += 1 if len(seen) % 7 else 0

    assert judged(CountsToTheTotal(), Fickle).status == "failed"


def test_what_is_played_together_ends_with_the_first_trouble_and_the_rest_is_not_lost() -> None:
    class RaisesAtFive(Counter):
        @property
        def total(self):
            if self._hits == 5:
                raise KeyError("total")
            return self._hits

        @total.setter
        def total(self, value) -> None:
            self._hits = value

    scenarios = [{"hits": hits} for hits in (4, 5, 6)]
    played = play_each(CountsToTheTotal(), RaisesAtFive, scenarios)
    assert [recordings[0]["trouble"] is None for recordings in played] == [True, False]
    assert play_each(CountsToTheTotal(), Counter, scenarios) == [
        play(CountsToTheTotal(), Counter, scenario) for scenario in scenarios
    ]


def test_a_driver_that_drives_one_at_a_time_sees_every_scenario_once() -> None:
    seen: list[str] = []

    def one_at_a_time(scenarios, plan):
        seen.append(json.dumps(scenarios[0]))
        return play_each(CountsToTheTotal(), Counter, scenarios[:1], plan)

    result = examine(CountsToTheTotal(), one_at_a_time)
    assert (result.status, result.scenarios) == ("passed", len(seen))
    assert len(set(seen)) == len(seen) >= 30


def test_a_recording_is_plain_json_whatever_the_answer_returns() -> None:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None

    class Odd(Counter):
        def hit(self):
            self.total = Equal()
            return Equal()

    (recording,) = play(CountsToTheTotal(), Odd, {"hits": 1}, Plan())
    assert json.loads(json.dumps(recording)) == recording
    assert recording["history"][-1]["total"] == "<Equal>"
    assert judged(CountsToTheTotal(), Odd).status == "failed"


def test_a_check_is_named_after_its_class() -> None:
    check = CountsFromManyThreads()
    assert (check.id, check.attribute) == ("counts-from-many-threads", "counts_from_many_threads")
    assert check.title == "The counter loses no hit when threads hit it at once."


def test_a_scenario_runs_under_the_schedules_that_the_check_gives_it() -> None:
    check = RacesWhereThreadsMeet()
    plans: list[tuple[int, int]] = []

    def drive(scenarios, plan: Plan):
        plans.extend((scenario["hits"], plan.schedules) for scenario in scenarios)
        return play_each(check, LockedCounter, scenarios, plan)

    assert examine(check, drive).passed
    assert plans[:2] == [(1, 1), (2, 60)]
    assert not examine(check, partial(play_each, check, Counter)).passed


def test_slow_scenarios_come_back_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    check = CountsToTheTotal()
    scenarios = [{"hits": 1}] * 4
    assert len(play_each(check, Counter, scenarios)) == 4
    monkeypatch.setattr(importlib.import_module("graders.kit.play"), "_ENOUGH_SECONDS", -1.0)
    assert len(play_each(check, Counter, scenarios)) == 1
    assert examine(check, partial(play_each, check, Counter)).passed
