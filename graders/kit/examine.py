"""The examiner's side of a check: draw scenarios, have them driven, judge the histories, shrink what fails.

It never touches an answer: `drive` is a function from plain data to plain data, in this process or in another.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis.internal.conjecture import providers

from graders.kit.card import Card
from graders.kit.check import Check, Mismatch, Scenario
from graders.kit.play import Plan, Recording
from shared import simulation

__all__ = ["Driver", "Result", "RunnerLost", "examine"]

Driver = Callable[[Scenario, Plan], Sequence[Recording]]

_SHRINK_RUNS = 150
_TROUBLE_WORDS = {
    "deadlock": "every call to end",
    "livelock": "every call to end",
    "hang": "every call to end",
    "error": "the calls to run without an unexpected exception",
}


class RunnerLost(Exception):
    """The answer's process is gone. `status`: timeout, crashed, out_of_memory or refused; the message says why."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Result:
    """What one check found. `card` is there unless the check passed."""

    check: Check
    status: str
    card: Card | None = None
    scenarios: int = 0

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def message(self) -> str:
        """Plain text for a terminal and for the verdict."""
        return self.card.text() if self.card else ""


@dataclass
class _Finding:
    status: str
    scenario: Scenario
    recording: Recording
    mismatch: Mismatch

    @property
    def size(self) -> tuple[int, str]:
        drawn = json.dumps(self.scenario)
        return len(drawn), drawn


class _Refuted(Exception):
    """Tells Hypothesis that a scenario failed."""


def examine(check: Check, drive: Driver, *, seed: int = 0, scale: float = 1.0) -> Result:
    """Judge one check on the answer behind `drive`.

    The scenarios of `check.always` come first, then `check.examples` drawn from `seed`: `scale` times as many for a
    check without interleavings. The same seed gives the same result. Stops at the first failure and shrinks it. A
    RunnerLost becomes a Result with its status.
    """
    tried = 0
    try:
        for scenario in check.always:
            tried += 1
            if finding := _judged(check, drive, scenario, seed):
                break
        else:
            # Interleaved scenarios are few and dear; their schedules come from the seed as it is.
            examples = check.examples if check.interleavings else max(1, round(check.examples * scale))
            finding, drawn = _searched(check, drive, seed, examples)
            tried += drawn
        if finding is None:
            return Result(check, "passed", scenarios=tried)
        finding = _with_shortest_schedule(check, drive, finding)
    except RunnerLost as lost:
        card = Card(check.id, check.title, observed=str(lost), hint=check.hint)
        return Result(check, lost.status, card, tried)
    return Result(check, finding.status, _card(check, finding), tried)


def _searched(check: Check, drive: Driver, seed: int, examples: int) -> tuple[_Finding | None, int]:
    best: _Finding | None = None
    tried = 0
    shrinks_left = max(1, _SHRINK_RUNS // max(1, check.interleavings))
    lost: RunnerLost | None = None

    def refuted(scenario: Scenario) -> bool:
        nonlocal best, tried, shrinks_left, lost
        if best is not None:
            if json.dumps(scenario) == best.size[1]:
                return True
            if shrinks_left == 0 or best.status == "unanswered":
                return False
            shrinks_left -= 1
        tried += 1
        try:
            finding = _judged(check, drive, scenario, seed)
        except RunnerLost as error:
            if best is not None:
                shrinks_left = 0
                return False
            # Hypothesis would take it for one more failing scenario and go on; an interrupt it lets through.
            lost = error
            raise KeyboardInterrupt from error
        if finding is None:
            return False
        if best is None or (finding.size < best.size and finding.status == best.status):
            best = finding
        return True

    def holds(scenario: Scenario) -> None:
        # One place only may raise: Hypothesis tells failures apart by where they are raised.
        if refuted(scenario):
            raise _Refuted

    search = hypothesis.seed(seed)(
        hypothesis.settings(
            max_examples=examples,
            database=None,
            deadline=None,
            derandomize=False,
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=hypothesis.Verbosity.quiet,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            suppress_health_check=list(hypothesis.HealthCheck),
        )(hypothesis.given(check.scenarios)(holds))
    )
    try:
        with _drawn_from_the_seed_alone():
            search()
    except (_Refuted, hypothesis.errors.Flaky):
        pass
    except KeyboardInterrupt:
        if lost:
            raise lost from None
        raise
    return best, tried


@contextlib.contextmanager
def _drawn_from_the_seed_alone() -> Iterator[None]:
    """Keep Hypothesis from mixing constants of the modules that happen to be loaded into what it draws.

    With them a seed would replay a grading only where the same code is loaded, and finding them costs 0.3 s.
    """
    usual = providers._get_local_constants
    providers._get_local_constants = providers.Constants
    providers.CONSTANTS_CACHE.cache.clear()
    try:
        yield
    finally:
        providers._get_local_constants = usual
        providers.CONSTANTS_CACHE.cache.clear()


def _judged(check: Check, drive: Driver, scenario: Scenario, seed: int) -> _Finding | None:
    plan = Plan(seed=seed, schedules=check.interleavings)
    for recording in drive(scenario, plan):
        if finding := _finding(check, scenario, recording):
            return finding
    return None


def _finding(check: Check, scenario: Scenario, recording: Recording) -> _Finding | None:
    trouble = recording["trouble"]
    if trouble:
        kind = trouble["kind"]
        if kind == "unanswered":
            mismatch = Mismatch(expected="this part to be written", observed=trouble["message"])
            return _Finding("unanswered", scenario, recording, mismatch)
        where = f" ({'; '.join(trouble['where'])})" if trouble["where"] else ""
        at = len(recording["history"]) - 1 if recording["history"] else None
        expected = _TROUBLE_WORDS.get(kind, _TROUBLE_WORDS["error"])
        mismatch = Mismatch(expected=expected, observed=trouble["message"] + where, at=at)
        return _Finding("error" if kind == "error" else "failed", scenario, recording, mismatch)
    try:
        check.judge(scenario, recording["history"])
    except Mismatch as mismatch:
        return _Finding("failed", scenario, recording, mismatch)
    except Exception as error:
        mismatch = Mismatch(
            expected="a record in the form that this check writes",
            observed=f"a record that it cannot read ({type(error).__name__}: {error})",
        )
        return _Finding("error", scenario, recording, mismatch)
    return None


def _with_shortest_schedule(check: Check, drive: Driver, finding: _Finding) -> _Finding:
    """Fewer switches make a counterexample readable: the shortest one that still fails the same way is shown."""
    if not check.interleavings or finding.status == "unanswered":
        return finding
    best = finding

    def fails(schedule: dict[int, str]) -> bool:
        nonlocal best
        try:
            recordings = drive(finding.scenario, Plan(schedule=schedule))
        except RunnerLost:
            return False  # what was found stands, with the schedule that found it
        for recording in recordings:
            again = _finding(check, finding.scenario, recording)
            if again and again.status == finding.status:
                best = again
                return True
        return False

    schedule = {int(step): thread for step, thread in finding.recording["schedule"].items()}
    simulation.shrink_schedule(schedule, fails)
    return best


def _card(check: Check, finding: _Finding) -> Card:
    return Card(
        check.id,
        check.title,
        case=_described(check, finding.scenario),
        expected=finding.mismatch.expected,
        observed=finding.mismatch.observed,
        at=finding.mismatch.at,
        history=finding.recording["history"],
        hint=check.hint,
        switches=len(finding.recording["schedule"]),
    )


def _described(check: Check, scenario: Scenario) -> str:
    return check.describe(scenario) if scenario is not None else ""


def result_as_json(result: Result) -> dict[str, Any]:
    """A result as plain data, for the verdict."""
    return {
        "id": result.check.id,
        "title": result.check.title,
        "status": result.status,
        "message": result.message,
        "scenarios": result.scenarios,
        "card": result.card.as_json() if result.card else None,
    }
