"""The release notebook as the engine needs it: trusted cells, stubs and points, whatever a learner submits.

Only this notebook decides which cells are run, which are checks and what they are worth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from graders.course import Exercise

__all__ = ["ExerciseBroken", "ManualCell", "Release", "TestCell", "cell_source"]


class ExerciseBroken(Exception):
    """The exercise has no release notebook that can be graded against. The text says what to do."""


@dataclass(frozen=True)
class TestCell:
    """A trusted cell that calls one check."""

    __test__ = False  # pytest: not a test class

    id: str
    source: str
    points: float


@dataclass(frozen=True)
class ManualCell:
    """A cell that a person grades."""

    id: str
    points: float


@dataclass(frozen=True)
class Release:
    """The cells of one release notebook by role, in the order of the notebook."""

    setup: tuple[str, ...]
    stubs: dict[str, str]
    """Solution cells as released, by grade id."""
    tests: tuple[TestCell, ...]
    manual: tuple[ManualCell, ...]

    @classmethod
    def load(cls, exercise: Exercise) -> Release:
        """Read the release notebook of an exercise. Raises ExerciseBroken."""
        advice = f"Run `make build`: {exercise.notebook.name} is made from {exercise.source.name}."
        try:
            cells = json.loads(exercise.notebook.read_bytes())["cells"]
        except FileNotFoundError:
            raise ExerciseBroken(f"{exercise.slug} has no release notebook. {advice}") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise ExerciseBroken(f"The release notebook of {exercise.slug} cannot be read. {advice}") from None
        setup: list[str] = []
        stubs: dict[str, str] = {}
        tests: list[TestCell] = []
        manual: list[ManualCell] = []
        for cell in cells:
            role = cell["metadata"].get("nbgrader", {})
            source = cell_source(cell)
            match cell["cell_type"], bool(role.get("grade")), bool(role.get("solution")):
                case "code", True, False:
                    tests.append(TestCell(role["grade_id"], source, _number(role["points"])))
                case "code", False, True:
                    stubs[role["grade_id"]] = source
                case "code", False, False if role.get("locked"):
                    setup.append(source)
                case _, True, True:
                    manual.append(ManualCell(role["grade_id"], _number(role["points"])))
        if not stubs or not tests:
            raise ExerciseBroken(f"The release notebook of {exercise.slug} has no solution cell or no check. {advice}")
        return cls(tuple(setup), stubs, tuple(tests), tuple(manual))


def cell_source(cell: dict[str, Any]) -> str:
    """The text of a cell of a notebook file. Raises TypeError where it is no text."""
    source = cell.get("source")
    if isinstance(source, list):
        source = "".join(source)
    if not isinstance(source, str):
        raise TypeError("the source of a cell is no text")
    return source


def _number(points: float) -> float:
    return int(points) if points == int(points) else float(points)
