"""What a check is: one named property of an answer, as scenarios → drive → history → judge.

A check keeps no state between scenarios: `drive` sees one scenario and one fresh world, `judge` sees only plain data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from graders.kit.world import World

__all__ = ["Check", "Event", "History", "Mismatch", "Scenario", "checks_in"]

Scenario = Any
"""Plain data that says what will be done to the answer."""
Event = dict[str, Any]
"""One entry of a history: `t` (virtual seconds), `who` (thread), `what` (words), `kind`, and what the driver adds."""
History = list[Event]


class Mismatch(Exception):
    """A history that breaks the property: what was expected, what was observed, and the event where they part.

    `at` is an index into the history, or None where no single event shows it. `hint` is the part of the notebook to
    open where the check's own fits another mistake. All words are for the learner.
    """

    def __init__(self, *, expected: str, observed: str, at: int | None = None, hint: str = "") -> None:
        super().__init__(f"expected {expected}; observed {observed}")
        self.expected = expected
        self.observed = observed
        self.at = at
        self.hint = hint


class Check:
    """One property of an answer. The first line of a subclass's docstring is its title, shown to the learner.

    `drive` runs beside the answer, inside a controlled run where time is virtual; `judge` runs in the examiner and
    never sees the answer. A subclass sets `scenarios`, and may set the other class attributes.
    """

    scenarios: ClassVar[SearchStrategy[Scenario]]
    always: ClassVar[Sequence[Scenario]] = ()
    """Scenarios judged before any is drawn, smallest first: they make a verdict independent of the seed."""
    examples: ClassVar[int] = 50
    """How many scenarios a notebook draws; official grading draws more."""
    interleavings: ClassVar[int] = 0
    """Above 0, a scenario runs under that many explored schedules, preempted inside the answer's own code."""
    hint: ClassVar[str] = ""
    """Which part of the notebook to open after a failure."""
    stuck_hint: ClassVar[str] = ""
    """The same where calls do not end, if that is another part."""

    def drive(self, answer: Any, scenario: Scenario, world: World) -> None:
        """Do to `answer` what the scenario says, and leave what happened in `world.history`."""
        raise NotImplementedError(f"{type(self).__name__} has no drive()")

    def judge(self, scenario: Scenario, history: History) -> None:
        """Raise Mismatch where the history breaks the property."""
        raise NotImplementedError(f"{type(self).__name__} has no judge()")

    def schedules(self, scenario: Scenario) -> int:
        """How many schedules a scenario of a check with interleavings runs under: one where nothing can race."""
        return self.interleavings

    def describe(self, scenario: Scenario) -> str:
        """The scenario in words."""
        if isinstance(scenario, dict):
            return ", ".join(f"{key.replace('_', ' ')} = {value}" for key, value in scenario.items())
        return str(scenario)

    @property
    def title(self) -> str:
        return (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]

    @property
    def id(self) -> str:
        """The grade id of its test cell: the class name in kebab-case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", type(self).__name__).lower()

    @property
    def attribute(self) -> str:
        """The name by which a test cell calls it: the class name in snake_case."""
        return self.id.replace("-", "_")


def checks_in(module: ModuleType) -> dict[str, Check]:
    """The checks that a module defines, by id, in the order of their definition."""
    found = [
        value()
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Check)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
        and "scenarios" in {name for base in value.__mro__ for name in vars(base)}
    ]
    return {check.id: check for check in found}
