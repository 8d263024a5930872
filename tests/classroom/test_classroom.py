"""The instructor's commands, as they are typed."""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_grader import FakeGrader
from tiny_class import RIGHT, SECTION

from graders.course import COURSE_ROOT, find
from graders.engine import classroom
from graders.engine.batch import ClassFolder
from graders.engine.classroom import grade_class
from graders.engine.gradebook import ClassGradebook
from graders.engine.nbgrader_plugins import CanvasExport, MoodleExport, PlainExport
from graders.samples import sample_class


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    classroom.register(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


@pytest.fixture
def graded(folder: ClassFolder, hand_in: Callable[..., Path], new_gradebook: Path) -> ClassFolder:
    """A class of three, graded: full marks, one check failed, and one who named themselves after markup."""
    hand_in("ada", RIGHT, why="because")
    hand_in("bob", "# fails: keeps-zero\n" + RIGHT)
    (folder.submitted / "bob" / SECTION / "timestamp.txt").write_text("2026-01-02 03:04:05 UTC")
    hand_in("=cyd", "# is flagged\n" + RIGHT)
    (folder.submitted / "dan" / SECTION).mkdir(parents=True)
    report = grade_class(folder, workers=1, make_grader=FakeGrader)
    assert [notice for notice in report.notices if notice.startswith("dan handed in no notebook")]
    return folder


def exported(kind: type[PlainExport], folder: ClassFolder, **options: Any) -> list[list[str]]:
    target = folder.root / "out.csv"
    with ClassGradebook(f"sqlite:///{folder.gradebook}", folder.course) as gradebook:
        ada = gradebook.nbgrader.find_student("ada")
        ada.first_name, ada.last_name, ada.email, ada.lms_user_id = "Ada", "Lovelace, Countess", "ada@example.org", "17"
        kind(to=str(target), **options).export(gradebook.nbgrader)
    with open(target, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_plain_scores_say_when_how_late_and_whether_all_is_graded(graded: ClassFolder) -> None:
    header, cyd, ada, bob, dan = exported(PlainExport, graded)

    assert dict(zip(header, ada, strict=True)) == {
        "student": "ada",
        "last_name": "Lovelace, Countess",
        "first_name": "Ada",
        "email": "ada@example.org",
        "section": SECTION,
        "submitted_utc": "",
        "seconds_late": "0",
        "score": "3",
        "late_penalty": "0",
        "total": "3",
        "max": "12",
        "complete": "no",
    }
    assert bob[5] == "2026-01-02 03:04:05" and bob[9] == "2" and bob[11] == "yes"
    assert (cyd[0], dan[0], dan[9]) == ("=cyd", "dan", "0")


def test_canvas_reads_names_ids_and_the_points_possible(graded: ClassFolder) -> None:
    assert exported(CanvasExport, graded) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", SECTION],
        ["    Points Possible", "", "", "", "", "12"],
        ["=cyd", "", "", "=cyd", "", "3"],
        ["Lovelace, Countess, Ada", "17", "", "ada", "", "3"],
        ["bob", "", "", "bob", "", "2"],
        ["dan", "", "", "dan", "", "0"],
    ]


def test_moodle_reads_the_columns_that_its_import_maps(graded: ClassFolder) -> None:
    rows = exported(MoodleExport, graded, student=["ada"], assignment=[SECTION])
    assert rows == [
        ["Username", "First name", "Last name", "ID number", "Email address", SECTION],
        ["ada", "Ada", "Lovelace, Countess", "17", "ada@example.org", "3"],
    ]


def test_pages_are_written_again_with_what_a_person_has_graded(graded: ClassFolder) -> None:
    page = graded.feedback / "ada" / f"{SECTION}.html"
    assert "so far" in page.read_text()
    with ClassGradebook(f"sqlite:///{graded.gradebook}", graded.course) as gradebook:
        grade = gradebook.nbgrader.find_grade("why", "1.1.1-double", SECTION, "ada")
        grade.manual_score, grade.needs_manual_grade = 2.5, False
        gradebook.nbgrader.find_comment("why", "1.1.1-double", SECTION, "ada").manual_comment = "Nearly."
        gradebook.commit()
        assert len(classroom.write_feedback(graded, gradebook, SECTION)) == 4

    assert "5.5 of 12 points" in page.read_text() and "Nearly." in page.read_text()
    assert "so far" not in page.read_text()


def test_a_request_that_cannot_be_met_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("batch", "99.9-none", "--folder", str(tmp_path)) == 2
    assert "There is no section '99.9-none'. Choose one of: 17." in capsys.readouterr().err
    assert run("batch", "17.2-resilience", "--folder", str(tmp_path)) == 2
    assert "Nothing was handed in" in capsys.readouterr().err
    for command in ("feedback", "export"):
        assert run(command, "--folder", str(tmp_path)) == 2
        assert "Nothing has been graded yet" in capsys.readouterr().err


def test_the_sample_class_is_only_for_a_class_without_learners(tmp_path: Path) -> None:
    assert sample_class.is_only_one(tmp_path / "submitted")
    sample_class.write(tmp_path / "submitted")
    assert sample_class.is_only_one(tmp_path / "submitted")
    (tmp_path / "submitted" / "ada").mkdir()
    assert not sample_class.is_only_one(tmp_path / "submitted")


def test_sample_notebooks_follow_todays_release() -> None:
    exercise = find("17.2.1")
    released = json.loads(exercise.notebook.read_text())
    made = sample_class.submissions(exercise)

    assert json.loads(made["sample-untouched"]) == released
    for student, content in made.items():
        if student != "sample-damaged":
            ids = [cell["id"] for cell in json.loads(content)["cells"] if cell["id"] != "copied"]
            assert ids == [cell["id"] for cell in released["cells"]], student
    assert made["sample-prints-a-lot"] != made["sample-right"]


@pytest.mark.timeout(600)
def test_autograde_on_a_fresh_checkout_grades_the_sample_class(
    tmp_path: Path, new_gradebook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gradebook.db").write_bytes(new_gradebook.read_bytes())
    assert run("autograde", "--folder", str(tmp_path)) == 0

    output = capsys.readouterr().out
    assert "the sample class is put there, 10 notebooks" in output
    assert f"{tmp_path}/feedback/<learner>/<section>.html" in output
    table = dict(re.findall(r"^(sample-[a-z-]+) +17\.2\.1 +(\S+)", output, re.MULTILINE))
    full = table["sample-right"]
    assert re.fullmatch(r"(\d+)/\1", full)
    assert {student for student, points in table.items() if points == full} == {
        "sample-right",
        "sample-prints-a-lot",
        "sample-duplicate-cells",
    }
    assert table["sample-half-right"] == table["sample-edited-checks"] != full
    assert {
        table[f"sample-{name}"].split("/")[0] for name in ("untouched", "always-equal", "exits", "infinite-loop")
    } == {"0"}
    assert table["sample-damaged"] == "–"
    assert "timeout" in output and "crashed" in output and "unanswered" in output
    assert "2 cells have this id" in output
    page = (tmp_path / "feedback" / "sample-prints-a-lot" / "17.2-resilience.html").read_text()
    assert "&lt;b&gt;calling&lt;/b&gt;" in page

    assert run("samples", "--remove", "--folder", str(tmp_path)) == 0
    assert not list((tmp_path / "submitted").iterdir()) and not list((tmp_path / "feedback").iterdir())
    with ClassGradebook(f"sqlite:///{tmp_path / 'gradebook.db'}", COURSE_ROOT) as gradebook:
        assert not gradebook.nbgrader.students
