"""The real nbgrader on the same class: its commands and Formgrader's go through the engine, and read its results."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook
from tiny_class import RIGHT, SECTION

from graders.engine.batch import ClassFolder
from graders.engine.classroom import grade_class

CLASS = {
    "ada": RIGHT,
    "bob": "def double(number):\n    return number or 1",
    "cyd": "import sys\nprint('<b>loud</b>', file=sys.stderr)\n" + RIGHT,
    "dan": None,
    "eve": "import gc\nclass Any:\n    def __eq__(self, other): return True\ndef double(number): return Any()",
}
SCORES = {"ada": 3, "bob": 0, "cyd": 3, "dan": 0, "eve": 0, "fay": 0, "gil": 3}


@pytest.fixture
def whole_class(folder: ClassFolder, hand_in: Callable[..., Path]) -> ClassFolder:
    """Seven learners: right, wrong, loud, untouched, always equal, damaged, and one who edited checks and metadata."""
    for student, answer in CLASS.items():
        path = hand_in(
            student, *([answer] if answer else ["def double(number):\n    raise NotImplementedError"]), why=None
        )
        (path.parent / "timestamp.txt").write_text("2026-01-01 12:00:00 UTC")
    path = hand_in("fay")
    path.write_bytes(path.read_bytes()[:300])
    path = hand_in("gil", RIGHT, why="because")
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        cell["metadata"].setdefault("nbgrader", {})["points"] = 50
        cell["metadata"]["tags"] = ["skip-execution"]
    notebook["cells"] += [notebook["cells"][3], notebook["cells"][3]]
    path.write_text(json.dumps(notebook))
    (path.parent / "timestamp.txt").write_text("no time at all")
    return folder


def nbgrader(folder: ClassFolder, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder.course,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def recorded(folder: ClassFolder) -> dict[str, Any]:
    """All that the gradebook says of the class."""
    with Gradebook(f"sqlite:///{folder.gradebook}") as gradebook:
        return {
            submission.student.id: (
                submission.score,
                submission.needs_manual_grade,
                submission.timestamp,
                {
                    (grade.notebook.name, grade.name): grade.auto_score
                    for n in submission.notebooks
                    for grade in n.grades
                },
                {
                    (comment.notebook.name, comment.name): comment.comment
                    for n in submission.notebooks
                    for comment in n.comments
                },
                [n.flagged for n in submission.notebooks],
            )
            for submission in gradebook.assignment_submissions(SECTION)
        }


def test_nbgrader_autograde_records_what_a_batch_records(
    whole_class: ClassFolder, environment: dict[str, str], new_gradebook: Path
) -> None:
    grade_class(whole_class, workers=1)
    of_batch = recorded(whole_class)
    notebooks = {path: nbformat.read(path, as_version=4).cells for path in whole_class.autograded.rglob("*.ipynb")}
    assert {student: values[0] for student, values in of_batch.items()} == SCORES
    assert of_batch["eve"][4]["1.1.1-double", "double"].startswith("Worth a look")
    assert of_batch["fay"][4]["1.1.1-double", "double"].startswith("Not graded. 1.1.1-double.ipynb is damaged")

    whole_class.gradebook.write_bytes(new_gradebook.read_bytes())
    (whole_class.submitted / "gil" / SECTION / "timestamp.txt").write_text("no time at all")
    output = nbgrader(whole_class, environment, "autograde", SECTION, "--force")

    # What is not handed in has no comment where nbgrader makes the rows.
    missing = ("1.1.2-double-again",)
    for student, values in recorded(whole_class).items():
        ours = of_batch[student]
        assert values[:4] == ours[:4], student
        assert {k: v for k, v in values[4].items() if k[0] not in missing} == {
            k: v for k, v in ours[4].items() if k[0] not in missing
        }
        assert values[5] == ours[5]
    for path, cells in notebooks.items():
        assert nbformat.read(path, as_version=4).cells == cells
    assert "is damaged" in output and "holds no time" in output


def test_feedback_export_and_formgrader_work_on_what_a_batch_wrote(
    whole_class: ClassFolder, environment: dict[str, str]
) -> None:
    grade_class(whole_class, workers=1)

    nbgrader(whole_class, environment, "generate_feedback", SECTION)
    pages = {
        path.parent.parent.name: path.read_text()
        for path in whole_class.feedback.glob(f"*/{SECTION}/1.1.1-double.html")
    }
    assert pages.keys() == SCORES.keys()
    for student, score in SCORES.items():
        assert re.search(rf"Score: {score}\.0 / 6\.0", pages[student]), student
        assert (whole_class.feedback / student / f"{SECTION}.html").is_file(), "our page stays beside nbgrader's"
    assert "It doubles any number." in pages["bob"] and "class DoublesIt" not in pages["bob"]

    target = whole_class.course / "grades.csv"
    nbgrader(whole_class, environment, "export", "--exporter=nbgrader.plugins.CsvExportPlugin", "--to", str(target))
    with open(target) as file:
        assert {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)} == SCORES

    program = (
        "import json, sys\n"
        "from nbgrader.apps import NbGraderAPI\n"
        "from nbgrader.apps.baseapp import NbGrader\n"
        "app = NbGrader(); app.initialize([], root=sys.argv[1])\n"
        "api = NbGraderAPI(app.coursedir, parent=app)\n"
        "before = api.get_submissions(sys.argv[2])\n"
        "button = api.autograde(sys.argv[2], 'bob')\n"
        "print(json.dumps([before, button, api.get_submission(sys.argv[2], 'bob')], default=str))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(whole_class.course), SECTION],
        cwd=whole_class.course,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    before, button, bob = json.loads(done.stdout.splitlines()[-1])
    assert {each["student"]: each["score"] for each in before} == SCORES
    assert all(each["autograded"] for each in before)
    assert {each["student"] for each in before if each["needs_manual_grade"]} == {"gil"}
    assert button["success"], button
    assert bob["score"] == 0 and bob["autograded"]
