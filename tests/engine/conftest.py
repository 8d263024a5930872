"""A small exercise in a folder of its own, an engine for it in each isolation, and ways to hand in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graders.course import Exercise
from graders.engine import Answer, Engine, Limits, Verdict

sys.path.insert(0, str(Path(__file__).parent))

from counter_course import CHECKS, RIGHT, STUBS, cell, check_cell, notebook, solution


@pytest.fixture(scope="session")
def exercise(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    """Exercise 17.9.1: a counter and a function, three checks, one cell that a person grades."""
    made = Exercise("17.9.1-counter", "17.9-samples", tmp_path_factory.mktemp("course"))
    for path in (made.notebook, made.checks, made.source):
        path.parent.mkdir(parents=True, exist_ok=True)
    made.source.touch()
    made.checks.write_text(CHECKS)
    release = notebook(
        cell(
            "code",
            "from graders.kit import checks_for\n\nSTEP = 1\ncheck = checks_for('17.9.1')",
            grade_id="setup",
            solution=False,
            grade=False,
            locked=True,
        ),
        cell("markdown", "Write a counter."),
        *(solution(name, stub) for name, stub in STUBS.items()),
        check_cell("counts-every-call", "check.counts_every_call(Counter)", 2),
        check_cell("starts-at-zero", "check.starts_at_zero(Counter)", 1),
        check_cell("doubles-twice", "check.doubles_twice(Counter, double)", 1.5),
        cell("markdown", "", grade_id="why", solution=True, grade=True, locked=False, points=3),
        cell("code", "raise RuntimeError('a demo cell is not for graders')"),
    )
    made.notebook.write_text(json.dumps(release))
    return made


@pytest.fixture
def submitted(tmp_path: Path) -> Callable[..., Path]:
    """Write cells as a submitted notebook; its path."""

    def write(*cells: Any) -> Path:
        path = tmp_path / "submitted.ipynb"
        path.write_text(json.dumps(notebook(*cells)))
        return path

    return write


# The wall clock is generous: tests share a machine. What waits for ever has limits of its own.
SMALL = Limits(check_seconds=0.5, answer_seconds=0.9, start_seconds=0.6, wall_factor=60.0, memory=256 << 20)
IMPATIENT = replace(SMALL, wall_factor=1.0)


@pytest.fixture(scope="session", params=["process", pytest.param("bubblewrap", marks=pytest.mark.needs("bwrap"))])
def isolation(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def engine(isolation: str) -> Iterator[Engine]:
    with Engine(isolation=isolation, limits=SMALL) as made:
        yield made


@pytest.fixture
def impatient_engine(isolation: str) -> Iterator[Engine]:
    """One that does not wait longer than an answer may compute."""
    with Engine(isolation=isolation, limits=IMPATIENT) as made:
        yield made


@pytest.fixture
def graded(engine: Engine, exercise: Exercise) -> Callable[..., Verdict]:
    """Grade the right answer, or one with a cell replaced. Two checks need `counter` alone, the third needs both."""

    def run(*, counter: str = RIGHT["counter"], double: str = RIGHT["double"], seed: int = 5) -> Verdict:
        return engine.grade(exercise, Answer({"counter": counter, "double": double}), seed=seed)

    return run
