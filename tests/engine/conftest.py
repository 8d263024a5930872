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

from counter_course import RIGHT, counter_exercise, notebook


@pytest.fixture(scope="session")
def exercise(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    return counter_exercise(tmp_path_factory.mktemp("course"))


@pytest.fixture
def submitted(tmp_path: Path) -> Callable[..., Path]:
    """Write cells as a submitted notebook; its path."""

    def write(*cells: Any) -> Path:
        path = tmp_path / "submitted.ipynb"
        path.write_text(json.dumps(notebook(*cells)))
        return path

    return write


# The wall clock is generous: tests share a machine. What waits for ever has limits of its own.
SMALL = Limits(check_seconds=1.0, answer_seconds=1.8, start_seconds=0.6, wall_factor=60.0, memory=256 << 20)
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
