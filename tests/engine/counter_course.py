"""The text of a small exercise of its own, complete enough to be graded, and an answer to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from graders.course import Exercise

CHECKS = '''
"""Checks of a counter that must not go below zero."""

from hypothesis import strategies as st

from graders.kit import Check, Mismatch

REFERENCE = "shared.reference_counter"


def _returned(history, calls):
    """What every call returned. A history that is not whole is refused."""
    for event in history:
        if event.get("outcome") == "raised":
            raise Mismatch(expected="a value", observed=str(event.get("error")), at=history.index(event))
    if len(history) != calls or not all(event.get("outcome") == "returned" for event in history):
        raise Mismatch(expected=f"{calls} calls that end", observed=f"{len(history)} events")
    return [event.get("value") for event in history]


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
        value = _returned(history, scenario["calls"] + 1)[-1]
        if value != scenario["calls"]:
            expected = f"{scenario['calls']} after {scenario['calls']} calls"
            raise Mismatch(expected=expected, observed=str(value), at=len(history) - 1)


class StartsAtZero(Check):
    """A new counter is at zero."""

    scenarios = st.fixed_dictionaries({"counters": st.integers(1, 3)})
    examples = 4

    def drive(self, answer, scenario, world):
        for _ in range(scenario["counters"]):
            world.call("value", lambda: answer().value)

    def judge(self, scenario, history):
        values = _returned(history, scenario["counters"])
        if values != [0] * scenario["counters"]:
            raise Mismatch(expected="0", observed=str(values[0]), at=0)


class DoublesTwice(Check):
    """Doubling works on both names that it is given."""

    scenarios = st.fixed_dictionaries({"number": st.integers(-9, 9)})
    examples = 4

    def drive(self, answer, scenario, world):
        counter, double = answer
        world.call("double", double, scenario["number"])
        world.call("add", counter().add)

    def judge(self, scenario, history):
        value = _returned(history, 2)[0]
        if value != 2 * scenario["number"]:
            raise Mismatch(expected=str(2 * scenario["number"]), observed=str(value), at=0)
'''

STUBS = {
    "counter": "class Counter:\n    def add(self):\n        raise NotImplementedError\n",
    "double": "def double(number):\n    raise NotImplementedError\n",
}
RIGHT = {
    "counter": (
        "class Counter:\n"
        "    def __init__(self):\n        self.value = 0\n\n"
        "    def add(self):\n        self.value += STEP\n"
    ),
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


def counter_exercise(folder: Path) -> Exercise:
    """Exercise 17.9.1: a counter and a function, three checks, one cell that a person grades."""
    made = Exercise("17.9.1-counter", "17.9-samples", folder)
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
