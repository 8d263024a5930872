"""The examiner's side of a check: draw scenarios, have them driven, judge the histories, shrink what fails.

It never touches an answer: `drive` is a function from plain data to plain data, in this process or in another.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis.internal.conjecture import providers

from graders.kit.card import Card
from graders.kit.check import Check, Mismatch, Scenario
from graders.kit.play import Plan, Recording
from shared import simulation

__all__ = ["Driver", "Result", "RunnerLost", "examine"]

Driver = Callable[[Sequence[Scenario], Plan], Sequence[Sequence[Recording]]]
"""Drives an answer through scenarios; the recordings of each, or of the first few of them. It raises RunnerLost."""

_SHRINK_RUNS = 150
_FIRST, _TOGETHER = 4, 32
"""How many scenarios are driven before the first of them is judged: at first, and once some have passed."""
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
    # Interleaved scenarios are few and dear; their schedules come from the seed as it is.
    examples = check.examples if check.interleavings else max(1, round(check.examples * scale))
    trial = _Trial(check, drive, seed)
    try:
        finding = trial.first_finding(check.always)
        if finding is None:
            finding = trial.first_finding(_drawn(check, seed, examples))
            if finding is None:
                return Result(check, "passed", scenarios=trial.tried)
            if finding.status != "unanswered":
                finding = _shrunk(trial, finding, examples)
        finding = _with_shortest_schedule(check, drive, finding)
    except RunnerLost as lost:
        card = Card(check.id, check.title, observed=str(lost), hint=check.hint)
        return Result(check, lost.status, card, trial.tried)
    return Result(check, finding.status, _card(check, finding), trial.tried)


@dataclass
class _Trial:
    """One check on the answer behind `drive`. `passed` are the scenarios, as JSON, that it has come through."""

    check: Check
    drive: Driver
    seed: int
    tried: int = 0
    passed: set[str] = field(default_factory=set)

    def first_finding(self, scenarios: Sequence[Scenario]) -> _Finding | None:
        """What the first scenario that fails shows. The scenarios are driven in groups, a small one first."""
        ahead = list(scenarios)
        while ahead:
            # Of interleaved scenarios each is a group: one is driven under many schedules.
            group = ahead[: 1 if self.check.interleavings else _TOGETHER if self.passed else _FIRST]
            schedules = self.check.schedules(group[0]) if self.check.interleavings else 0
            driven = self.drive(group, Plan(seed=self.seed, schedules=schedules))
            for scenario, recordings in zip(group, driven, strict=False):
                self.tried += 1
                for recording in recordings:
                    if finding := _finding(self.check, scenario, recording):
                        return finding
                self.passed.add(json.dumps(scenario))
            del ahead[: len(driven)]
        return None


@functools.lru_cache(maxsize=256)
def _drawn(check: Check, seed: int, examples: int) -> tuple[Scenario, ...]:
    """The scenarios that `seed` draws. Kept: a whole class is graded on the same ones."""
    drawn: list[Scenario] = []
    _search(check, seed, examples, drawn.append)
    return tuple(drawn)


def _shrunk(trial: _Trial, finding: _Finding, examples: int) -> _Finding:
    """The smallest scenario that fails in the same way, of those that Hypothesis makes out of this one."""
    best = finding
    shrinks_left = max(1, _SHRINK_RUNS // max(1, trial.check.interleavings))

    def refuted(scenario: Scenario) -> bool:
        nonlocal best, shrinks_left
        drawn = json.dumps(scenario)
        if drawn == best.size[1]:
            return True
        if shrinks_left == 0 or drawn in trial.passed:
            return False
        shrinks_left -= 1
        try:
            found = trial.first_finding([scenario])
        except RunnerLost:
            shrinks_left = 0
            return False  # what was found stands
        if found is None or found.status != best.status:
            return False
        if found.size < best.size:
            best = found
        return True

    def holds(scenario: Scenario) -> None:
        # One place only may raise: Hypothesis tells failures apart by where they are raised.
        if refuted(scenario):
            raise _Refuted

    with contextlib.suppress(_Refuted, hypothesis.errors.Flaky):
        _search(trial.check, trial.seed, examples, holds)
    return best


def _search(check: Check, seed: int, examples: int, holds: Callable[[Scenario], object]) -> None:
    """Draw scenarios for `holds`; where it raises, make them smaller."""
    settings = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=hypothesis.Verbosity.quiet,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    def body(scenario: Scenario) -> None:
        holds(scenario)

    with _drawn_from_the_seed_alone():
        hypothesis.seed(seed)(settings(hypothesis.given(check.scenarios)(body)))()


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
        hint = check.stuck_hint if kind in ("deadlock", "livelock", "hang") else ""
        mismatch = Mismatch(expected=expected, observed=trouble["message"] + where, at=at, hint=hint)
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
            recordings = drive([finding.scenario], Plan(schedule=schedule))[0]
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
        hint=finding.mismatch.hint or check.hint,
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
