"""Makes the sample class: answers kept as text, put into the release notebook of today, so that they never go stale."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graders.course import COURSE_ROOT, Exercise, find
from graders.engine.release import Release
from graders.source_format import read_cells, solutions

__all__ = ["is_only_one", "students", "submissions", "write"]

_EXERCISE = "17.2.1"
_ANSWERS = Path(__file__).parent / "answers"
_PREFIX = "sample-"

Notebook = dict[str, Any]


def students() -> list[str]:
    """The learners of the sample class."""
    return [_PREFIX + name for name in _MADE]


def is_only_one(submitted: Path) -> bool:
    """Whether nobody but the sample class has handed anything in."""
    known = set(students())
    return all(path.name in known or path.name.startswith(".") or not path.is_dir() for path in _children(submitted))


def write(submitted: Path, course: Path = COURSE_ROOT) -> int:
    """Write `submitted/sample-*/<section>/<slug>.ipynb` anew; how many there are. Raises ExerciseBroken."""
    exercise = find(_EXERCISE, course)
    made = submissions(exercise)
    for student, content in made.items():
        folder = submitted / student / exercise.section
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / exercise.notebook.name).write_bytes(content)
    return len(made)


def submissions(exercise: Exercise) -> dict[str, bytes]:
    """What each learner of the sample class hands in, made from the release notebook. Raises ExerciseBroken."""
    Release.load(exercise)
    released = json.loads(exercise.notebook.read_text(encoding="utf-8"))
    return {_PREFIX + name: make(copy.deepcopy(released)) for name, make in _MADE.items()}


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _saved(notebook: Notebook) -> bytes:
    return json.dumps(notebook, indent=1).encode()


def _grading(cell: dict[str, Any]) -> dict[str, Any]:
    return cell["metadata"].get("nbgrader", {})


def _with_answer(name: str) -> Callable[[Notebook], bytes]:
    return lambda notebook: _saved(_answered(notebook, name))


def _answered(notebook: Notebook, name: str) -> Notebook:
    """The notebook with an answer in its solution cells, and a sentence in those that a person grades."""
    answer = solutions(read_cells((_ANSWERS / f"{name}.py").read_text(encoding="utf-8")))
    for cell in notebook["cells"]:
        role = _grading(cell)
        if role.get("solution") and role["grade_id"] in answer:
            cell["source"] = answer[role["grade_id"]]
        elif role.get("solution") and role.get("grade"):
            cell["source"] = (
                "Each half-open period meets a healthy replica often enough to close, and a dead one soon after."
            )
    return notebook


def _damaged(notebook: Notebook) -> bytes:
    """Half of a file, as a full disk leaves it."""
    whole = _saved(_answered(notebook, "right"))
    return whole[: len(whole) // 2]


def _duplicated(notebook: Notebook) -> bytes:
    """The solution cell copied, grade id and all, as a drag with Ctrl does; the copy holds the answer."""
    cells = _answered(copy.deepcopy(notebook), "right")["cells"]
    at = next(index for index, cell in enumerate(cells) if _grading(cell).get("solution"))
    return _saved(
        notebook
        | {"cells": [*notebook["cells"][: at + 1], {**cells[at], "id": "copied"}, *notebook["cells"][at + 1 :]]}
    )


def _edited_checks(notebook: Notebook) -> bytes:
    """Check cells that check nothing, are skipped, and are worth a hundred points each."""
    for cell in _answered(notebook, "half-right")["cells"]:
        role = _grading(cell)
        if role.get("grade") and not role.get("solution"):
            cell["source"] = "print('passed')"
            cell["metadata"]["tags"] = ["skip-execution"]
            cell["outputs"] = [
                {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": "100"}}
            ]
            role["points"] = 100
    return _saved(notebook)


def _prints_a_lot(notebook: Notebook) -> bytes:
    """A right answer that tells all it does, and markup with it."""
    for cell in _answered(notebook, "right")["cells"]:
        if _grading(cell).get("solution") and not _grading(cell).get("grade"):
            cell["source"] = cell["source"].replace(
                "        with self.lock:\n            now",
                '        print("<b>calling</b>", fn, "." * 200)\n        with self.lock:\n            now',
                1,
            )
    return _saved(notebook)


_MADE: dict[str, Callable[[Notebook], bytes]] = {
    "right": _with_answer("right"),
    "half-right": _with_answer("half-right"),
    "untouched": _saved,
    "prints-a-lot": _prints_a_lot,
    "duplicate-cells": _duplicated,
    "edited-checks": _edited_checks,
    "always-equal": _with_answer("always-equal"),
    "infinite-loop": _with_answer("infinite-loop"),
    "exits": _with_answer("exits"),
    "damaged": _damaged,
}
