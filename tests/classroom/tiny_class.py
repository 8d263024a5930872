"""A course of two tiny exercises, and notebooks handed in for it: material for tests and benchmarks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, v4
from nbgrader.preprocessors import ComputeChecksums

from graders.course import COURSE_ROOT, Exercise, find
from graders.engine.batch import ClassFolder

SECTION = "1.1-numbers"

_CHECKS = '''
from hypothesis import strategies as st
from graders.kit import Check, Mismatch

def returned(history):
    """What the one call returned. A record that is not whole is refused."""
    if len(history) != 1 or history[0].get("outcome") != "returned":
        raise Mismatch(expected="one call that returns", observed=f"{history}"[:200])
    return history[0]["value"]

class DoublesIt(Check):
    """It doubles any number."""
    hint = "Hint 1"
    scenarios = st.integers(1, 9)
    examples = 3
    def drive(self, answer, scenario, world):
        world.call(f"double({scenario})", answer, scenario)
    def judge(self, scenario, history):
        if (value := returned(history)) != 2 * scenario:
            raise Mismatch(expected=f"{2 * scenario}", observed=f"{value!r}", at=0)

class KeepsZero(Check):
    """It keeps zero."""
    hint = "Hint 2"
    scenarios = st.just(0)
    examples = 1
    def drive(self, answer, scenario, world):
        world.call("double(0)", answer, 0)
    def judge(self, scenario, history):
        if (value := returned(history)) != 0:
            raise Mismatch(expected="0", observed=f"{value!r}", at=0)
'''

STUB = "def double(number):\n    raise NotImplementedError"
RIGHT = "def double(number):\n    return number * 2"


def _cell(
    kind: str, source: str, name: str, *, grade: bool, solution: bool, points: float | None = None
) -> NotebookNode:
    role: dict[str, Any] = {
        "grade_id": name,
        "grade": grade,
        "solution": solution,
        "locked": not solution,
        "task": False,
        "schema_version": 3,
        "cell_type": kind,
    }
    if points is not None:
        role["points"] = points
    make = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
    return make(source, id=name, metadata={"nbgrader": role})


def write_release(exercise: Exercise, *, points: float = 2) -> None:
    """The release notebook of a tiny exercise: a solution, two checks, and a cell that a person grades."""
    notebook = v4.new_notebook(
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    notebook.cells = [
        v4.new_markdown_cell(f"# {exercise.number} — Twice *as much*", id="title"),
        _cell(
            "code",
            f'from graders.kit import checks_for\n\ncheck = checks_for("{exercise.number}")',
            "setup",
            grade=False,
            solution=False,
        ),
        _cell("code", STUB, "double", grade=False, solution=True),
        _cell("code", "check.doubles_it(double)", "doubles-it", grade=True, solution=False, points=points),
        _cell("code", "check.keeps_zero(double)", "keeps-zero", grade=True, solution=False, points=1),
        _cell("markdown", "YOUR ANSWER HERE", "why", grade=True, solution=True, points=3),
    ]
    notebook, _ = ComputeChecksums().preprocess(notebook, {})
    exercise.notebook.parent.mkdir(parents=True, exist_ok=True)
    exercise.notebook.write_text(json.dumps(notebook, indent=1))


def make_course(course: Path) -> ClassFolder:
    """Write the course; the empty class of it."""
    (course / "graders").mkdir(parents=True)
    (course / "solutions" / SECTION).mkdir(parents=True)
    shutil.copy(COURSE_ROOT / "nbgrader_config.py", course)
    for number, slug in (("1.1.1", "1.1.1-double"), ("1.1.2", "1.1.2-double-again")):
        (course / "solutions" / SECTION / f"{slug}.py").write_text("# %%\n")
        exercise = find(number, course)
        exercise.checks.write_text(_CHECKS)
        write_release(exercise)
    (course / "build").mkdir()
    return ClassFolder(course / "build", course)


def hand_in(
    folder: ClassFolder, student: str, answer: str = RIGHT, *, number: str = "1.1.1", why: str | None = None
) -> Path:
    """Hand in one notebook with `answer` in its solution cell and `why` in the cell that a person grades."""
    exercise = find(number, folder.course)
    notebook = json.loads(exercise.notebook.read_text())
    for cell in notebook["cells"]:
        match cell["metadata"].get("nbgrader", {}).get("grade_id"):
            case "double":
                cell["source"] = answer
            case "why" if why is not None:
                cell["source"] = why
    path = folder.submitted / student / exercise.section / exercise.notebook.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook))
    return path
