"""Habits of correct answers, handed in as notebooks: none of them costs a point."""

# ruff: noqa: E501 - a line of an answer is a line

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from counter_course import RIGHT, cell, check_cell, counter_exercise, notebook, solution

from graders.course import Exercise
from graders.engine import Engine, read_answer

pytestmark = pytest.mark.needs("bwrap")

_CLASS, _DOUBLE = RIGHT["counter"], RIGHT["double"]

HABITS: dict[str, str] = {
    "logging to stderr": f"import logging\nlogging.basicConfig(level='DEBUG')\nlogging.warning('started')\n{_CLASS}",
    "a log line in every call": (
        "import logging\nlog = logging.getLogger(__name__)\n"
        + _CLASS.replace("self.value += STEP", "log.error('adding to %s', self.value); self.value += STEP")
    ),
    "prints": _CLASS.replace("self.value += STEP", "print('add', self.__dict__); self.value += STEP"),
    "warnings": f"import warnings\nwarnings.simplefilter('always')\n{_CLASS}\nwarnings.warn('beware', DeprecationWarning)",
    "a daemon thread in the background": (
        f"import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='ticker').start()\n{_CLASS}"
    ),
    "own imports": f"import math, itertools, collections.abc as abc\nfrom typing import Any, Self\n{_CLASS}",
    "if __name__": f"{_CLASS}\nif __name__ == '__main__':\n    counter = Counter()\n    counter.add()\n    print(counter.value)",
    "%%time": f"%%time\n{_CLASS}",
    "line magics and commands": f"%load_ext autoreload\n%autoreload 2\n!echo hello\n{_CLASS}\n%timeit -n 1 Counter()\nCounter?",
    "type hints": (
        "class Counter:\n    value: int\n\n    def __init__(self: 'Counter') -> None:\n        self.value: int = 0\n\n"
        "    def add(self) -> None:\n        self.value += STEP\n"
    ),
    "from __future__ import annotations": (
        "from __future__ import annotations\n" + _CLASS.replace("def add(self)", "def add(self) -> NotThere | None")
    ),
    "unicode names": _CLASS.replace("STEP", "schrittgröße") + "\nschrittgröße = 1\nΔ = 'ünï 🎉'\nprint(Δ)",
    "a slow start": f"total = sum(range(2_000_000))\n{_CLASS}",
    "constants of the module": f"ZERO, ONE = 0, 1\n{_CLASS}".replace("= 0\n", "= ZERO\n").replace("STEP", "ONE"),
    "a dataclass": (
        "from dataclasses import dataclass\n@dataclass(slots=True)\nclass Counter:\n    value: int = 0\n\n"
        "    def add(self):\n        self.value += STEP\n"
    ),
    "functools.wraps": (
        "import functools\ndef traced(f):\n    @functools.wraps(f)\n    def inner(*a, **k):\n        return f(*a, **k)\n"
        "    return inner\n" + _CLASS.replace("    def add", "    @traced\n    def add")
    ),
    "nested classes": (
        "class Counter:\n    class Cell:\n        content = 0\n\n    def __init__(self):\n        self.cell = self.Cell()\n\n"
        "    @property\n    def value(self):\n        return self.cell.content\n\n    def add(self):\n"
        "        self.cell.content += STEP\n"
    ),
    "a lock": (
        "from threading import Lock\nclass Counter:\n    def __init__(self):\n        self.lock, self.value = Lock(), 0\n\n"
        "    def add(self):\n        with self.lock:\n            self.value += STEP\n"
    ),
    "the stub's error kept below": f"{_CLASS}\n    def later(self):\n        raise NotImplementedError\n",
    "a try of its own, left in the cell": f"{_CLASS}\ncounter = Counter()\ncounter.add()\nassert counter.value == 1\ncounter",
}


@pytest.fixture(scope="module")
def exercise(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    return counter_exercise(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(scale=1.0) as made:
        yield made


def handed_in(folder: Path, *cells: object) -> Path:
    path = folder / "submitted.ipynb"
    path.write_text(json.dumps(notebook(*cells)))
    return path


def test_there_are_enough_habits() -> None:
    assert len(HABITS) >= 15


@pytest.mark.parametrize("habit", HABITS)
def test_a_harmless_habit_loses_nothing(habit: str, exercise: Exercise, engine: Engine, tmp_path: Path) -> None:
    path = handed_in(tmp_path, solution("counter", HABITS[habit]), solution("double", _DOUBLE))
    verdict = engine.grade(exercise, read_answer(path, exercise), seed=5)
    assert verdict.score == 4.5, [check.message for check in verdict.checks]
    assert verdict.flags == ()


def test_extra_cells_and_failed_outputs_lose_nothing(exercise: Exercise, engine: Engine, tmp_path: Path) -> None:
    trial = cell("code", "1 / 0")
    trial["outputs"] = [{"output_type": "error", "ename": "ZeroDivisionError", "evalue": "", "traceback": []}]
    path = handed_in(
        tmp_path,
        cell("markdown", "My notes"),
        trial,
        solution("double", _DOUBLE.splitlines(keepends=True)),
        cell("code", "Counter = None"),
        solution("counter", _CLASS),
        check_cell("counts-every-call", "check.counts_every_call(Counter)", 2),
    )
    assert engine.grade(exercise, read_answer(path, exercise), seed=5).score == 4.5
