"""A small exercise of its own, complete enough to be graded, and answers to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graders.course import Exercise
from graders.engine import Answer, Engine, Limits

CHECKS = '''
"""Checks of a counter that must not go below zero."""

from hypothesis import strategies as st

from graders.kit import Check, Mismatch

REFERENCE = "shared.reference_counter"


class CountsEveryCall(Check):
    """A counter counts every call of add."""

    scenarios = st.fixed_dictionaries({"calls": st.integers(1, 8)})
    always = [{"calls": 1}]
    examples = 8

    def drive(self, answer, scenario, world):
        counter = answer()
        for _ in range(scenario["calls"]):
            world.call("add", counter.add)
        world.call("value", lambda: counter.value)

    def judge(self, scenario, history):
        if len(history) != scenario["calls"] + 1 or history[-1].get("value") != scenario["calls"]:
            raise Mismatch(
                expected=f"{scenario['calls']} after {scenario['calls']} calls",
                observed=str(history[-1].get("value", history[-1].get("error"))),
                at=len(history) - 1,
            )


class StartsAtZero(Check):
    """A new counter is at zero."""

    scenarios = st.fixed_dictionaries({"counters": st.integers(1, 3)})
    examples = 4

    def drive(self, answer, scenario, world):
        for _ in range(scenario["counters"]):
            world.call("value", lambda: answer().value)

    def judge(self, scenario, history):
        if [event.get("value") for event in history] != [0] * scenario["counters"]:
            raise Mismatch(expected="0", observed=str(history[0].get("value", history[0].get("error"))), at=0)


class DoublesTwice(Check):
    """Doubling works on both names that it is given."""

    scenarios = st.fixed_dictionaries({"number": st.integers(-9, 9)})
    examples = 4

    def drive(self, answer, scenario, world):
        counter, double = answer
        world.call("double", double, scenario["number"])
        world.call("add", counter().add)

    def judge(self, scenario, history):
        if history[0].get("value") != 2 * scenario["number"] or len(history) != 2:
            raise Mismatch(expected=str(2 * scenario["number"]), observed=str(history[0].get("value")), at=0)
'''

STUBS = {
    "counter": "class Counter:\n    def add(self):\n        raise NotImplementedError\n",
    "double": "def double(number):\n    raise NotImplementedError\n",
}
RIGHT = {
    "counter": "class Counter:\n    def __init__(self):\n        self.value = 0\n\n    def add(self):\n        self.value += STEP\n",
    "double": "def double(number):\n    return number * 2\n",
}
IDS = ("counts-every-call", "starts-at-zero", "doubles-twice")


def cell(kind: str, source: Any, **nbgrader: Any) -> dict[str, Any]:
    """A notebook cell; keyword arguments are its nbgrader metadata."""
    made = {"cell_type": kind, "source": source, "metadata": {"nbgrader": nbgrader} if nbgrader else {}}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def solution(name: str, source: Any, kind: str = "code") -> dict[str, Any]:
    return cell(kind, source, grade_id=name, solution=True, grade=False, locked=False)


def check_cell(name: str, source: str, points: float) -> dict[str, Any]:
    return cell("code", source, grade_id=name, solution=False, grade=True, locked=True, points=points)


def notebook(*cells: Any) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}


@pytest.fixture(scope="session")
def exercise(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    """Exercise 17.9.1: a counter and a function, three checks, one cell that a person grades."""
    made = Exercise("17.9.1-counter", "17.9-samples", tmp_path_factory.mktemp("course"))
    for path in (made.notebook, made.checks, made.source):
        path.parent.mkdir(parents=True, exist_ok=True)
    made.source.touch()
    made.checks.write_text(CHECKS)
    release = notebook(
        cell("code", "STEP = 1\n", grade_id="setup", solution=False, grade=False, locked=True),
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


SMALL = Limits(check_seconds=1.0, answer_seconds=3.0, start_seconds=1.0, wall_factor=6.0, memory=256 << 20)


@pytest.fixture(scope="session", params=["process"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(isolation=request.param, limits=SMALL) as made:
        yield made


@pytest.fixture
def graded(engine: Engine, exercise: Exercise) -> Callable[..., Any]:
    """Grade the right answer with one cell replaced or prefixed by other text."""

    def run(*, counter: str = RIGHT["counter"], double: str = RIGHT["double"], seed: int = 5) -> Any:
        return engine.grade(exercise, Answer({"counter": counter, "double": double}), seed=seed)

    return run
