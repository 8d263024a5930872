"""A whole class of attackers in one batch, with honest classmates among them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import tiny_class
from hostile_answers import HOSTILE
from limited_engine import limited_engine

from graders.course import find
from graders.engine.classroom import grade_class
from graders.engine.gradebook import ClassGradebook, read_scores

pytestmark = pytest.mark.needs("bwrap")

BARE = "def double(number):\n    return None\n"
HONEST = 8


def test_every_attacker_gets_nothing_and_every_classmate_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_class.make_course(tmp_path / "course")
    exercise = find("1.1.1", folder.course)
    exercise.source.write_text(tiny_class.RIGHT)
    for number in range(HONEST):
        tiny_class.hand_in(folder, f"honest-{number}", f"# mine: {number}\n{tiny_class.RIGHT}")
    names = {
        "SOLUTION": str(exercise.source),
        "CLASSMATE": str(folder.submitted / "honest-0" / exercise.section / exercise.notebook.name),
        "GRADEBOOK": str(folder.gradebook),
        "PORT": 9,
    }
    for number, source in enumerate(HOSTILE.values()):
        known = "; ".join(f"{name} = {value!r}" for name, value in names.items() if name in source)
        # Sorted among the honest ones, so that each of these is graded beside attackers and after them.
        tiny_class.hand_in(folder, f"honest-{number % HONEST}-beside-{number:02}", f"{known}\n{source}\n{BARE}")
    files = {path: path.read_bytes() for path in folder.submitted.rglob("*") if path.is_file()}
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    running = set(psutil.Process().children(recursive=True))

    report = grade_class(folder, make_grader=limited_engine, workers=2)

    assert [outcome.problem for outcome in report.outcomes if outcome.problem] == []
    assert len(report.outcomes) == HONEST + len(HOSTILE)
    attacked = {outcome.handed.student: outcome for outcome in report.outcomes}
    assert {name: each.score for name, each in attacked.items() if "beside" not in name} == {
        f"honest-{number}": 3 for number in range(HONEST)
    }
    assert {name: each.score for name, each in attacked.items() if "beside" in name and each.score} == {}
    assert all(not each.verdict.flags for name, each in attacked.items() if "beside" not in name and each.verdict)
    with ClassGradebook(f"sqlite:///{folder.gradebook}", folder.course) as gradebook:
        written = {each.student: each.score for each in read_scores(gradebook.nbgrader)}
    assert written == {name: each.score for name, each in attacked.items()}
    assert {path: path.read_bytes() for path in folder.submitted.rglob("*") if path.is_file()} == files
    alive = [
        each
        for each in psutil.wait_procs(set(psutil.Process().children(recursive=True)) - running, timeout=30)[1]
        if "resource_tracker" not in " ".join(each.cmdline())
    ]
    assert alive == []
    assert list(temporary.iterdir()) == []
