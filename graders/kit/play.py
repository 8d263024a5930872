"""Beside the answer: run one scenario of a check in a controlled run, under one schedule or many, and record it.

Nothing here judges. What leaves is plain data: recordings, one per distinct history.
"""

from __future__ import annotations

import json
import linecache
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from graders.kit.check import Check, History, Scenario
from graders.kit.world import World, text
from shared import simulation
from shared.simulation.wording import is_library

__all__ = ["Plan", "Recording", "Trouble", "play", "play_each"]

_ENOUGH_EVENTS, _ENOUGH_SECONDS = 5_000, 0.1
"""After which a reply is sent: a message stays far below its limit, and what fails slowly is not repeated for long."""


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
    return play_each(check, answer, [scenario], plan)[0]


def play_each(check: Check, answer: Any, scenarios: Sequence[Scenario], plan: Plan = Plan()) -> list[list[Recording]]:
    """Drive `answer` through each of `scenarios` (at least one), until there is enough to judge.

    The list may be shorter than `scenarios`: it ends with the first trouble, or where it has become long.
    """
    text = ""
    world: World | None = None

    def program() -> None:
        nonlocal world
        scenario = json.loads(text)
        world = World()
        check.drive(answer, scenario, world)

    def recorded(**how: Any) -> Recording:
        nonlocal world
        world = None
        outcome = run_once(**how)
        return Recording(
            history=world.history if world else [],
            schedule={str(step): thread for step, thread in outcome.schedule.items()},
            trouble=_trouble(outcome.failure),
        )

    played: list[list[Recording]] = []
    events, began = 0, time.monotonic()
    answers = answer if isinstance(answer, tuple) else (answer,)
    with simulation.series(program, answer=answers, preempt=bool(check.interleavings)) as run_once:
        for scenario in scenarios:
            text = json.dumps(scenario)
            played.append(_under(plan, bool(check.interleavings), recorded))
            events += sum(len(recording["history"]) for recording in played[-1])
            long = events > _ENOUGH_EVENTS or time.monotonic() - began > _ENOUGH_SECONDS
            if long or any(recording["trouble"] for recording in played[-1]):
                break
    return played


def _under(plan: Plan, explores: bool, recorded: Callable[..., Recording]) -> list[Recording]:
    if plan.schedule is not None:
        return [recorded(schedule=plan.schedule)]
    if not explores:
        return [recorded()]
    recordings: dict[str, Recording] = {}
    for strategy in simulation.strategies(plan.seed, plan.schedules):
        recording = recorded(strategy=strategy)
        recordings.setdefault(json.dumps([recording["history"], recording["trouble"]]), recording)
    return list(recordings.values())


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
