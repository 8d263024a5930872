"""The text of a small exercise of its own, complete enough to be graded, and an answer to it."""

from __future__ import annotations

from typing import Any

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
