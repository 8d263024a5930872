"""Beside the answer: run one scenario of a check in a controlled run, under one schedule or many, and record it.

Nothing here judges. What leaves is plain data: recordings, one per distinct history.
"""

from __future__ import annotations

import json
import linecache
import traceback
from dataclasses import dataclass
from typing import Any, TypedDict

from graders.kit.check import Check, History, Scenario
from graders.kit.world import World, text
from shared import simulation
from shared.simulation.wording import is_library

__all__ = ["Plan", "Recording", "Trouble", "play"]


@dataclass(frozen=True)
class Plan:
    """Under which schedules a scenario runs: the default order, `schedules` of `seed`, or exactly `schedule`."""

    seed: int = 0
    schedules: int = 0
    schedule: dict[int, str] | None = None


class Trouble(TypedDict):
    """Why a run did not end well. `kind`: unanswered, error, deadlock, livelock, hang. `where`: lines of the answer."""

    kind: str
    message: str
    where: list[str]


class Recording(TypedDict):
    """One run: its history, the schedule that replays it, and what stopped it, if anything."""

    history: History
    schedule: dict[str, str]
    trouble: Trouble | None


def play(check: Check, answer: Any, scenario: Scenario, plan: Plan = Plan()) -> list[Recording]:
    """Drive `answer` through `scenario`; one recording per distinct history, in the order of their discovery."""
    if plan.schedule is not None:
        return [_run(check, answer, scenario, schedule=plan.schedule)]
    if not check.interleavings:
        return [_run(check, answer, scenario)]
    recordings: dict[str, Recording] = {}
    for strategy in simulation.strategies(plan.seed, plan.schedules):
        recording = _run(check, answer, scenario, strategy=strategy)
        recordings.setdefault(json.dumps([recording["history"], recording["trouble"]]), recording)
    return list(recordings.values())


def _run(check: Check, answer: Any, scenario: Scenario, **schedule: Any) -> Recording:
    scenario = json.loads(json.dumps(scenario))
    world: World | None = None

    def program() -> None:
        nonlocal world
        world = World()
        check.drive(answer, scenario, world)

    answers = answer if isinstance(answer, tuple) else (answer,)
    outcome = simulation.run(program, answer=answers, preempt=bool(check.interleavings), **schedule)
    return Recording(
        history=world.history if world else [],
        schedule={str(step): thread for step, thread in outcome.schedule.items()},
        trouble=_trouble(outcome.failure),
    )


def _trouble(failure: simulation.Failure | None) -> Trouble | None:
    if failure is None:
        return None
    if failure.error is None:
        return Trouble(kind=failure.kind, message=failure.message, where=[])
    error = failure.error
    kind = "unanswered" if isinstance(error, NotImplementedError) else "error"
    message = text(error)
    return Trouble(
        kind=kind,
        message=f"{type(error).__name__}: {message}" if message else type(error).__name__,
        where=[
            f"line {frame.lineno}: {(linecache.getline(frame.filename, frame.lineno or 0) or frame.line or '').strip()}"
            for frame in traceback.extract_tb(error.__traceback__)
            if not is_library(frame.filename)
        ][-3:],
    )
