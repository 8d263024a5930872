"""nbgrader's gradebook: the examiner's points go in, and what people have written stays."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from tiny_class import SECTION, write_release

from graders.course import find
from graders.engine.batch import ClassFolder
from graders.engine.feedback import Marks
from graders.engine.gradebook import CellsChanged, ClassGradebook, read_marks, read_scores, read_timestamp

NOTEBOOK = "1.1.1-double"
FULL = Marks({"doubles-it": 2.0, "keeps-zero": 1.0, "why": None}, {"double": None, "why": None}, frozenset({"why"}))


@pytest.fixture
def gradebook(folder: ClassFolder) -> Any:
    with ClassGradebook(f"sqlite:///{folder.gradebook}", folder.course) as opened:
        opened.register([find("1.1.1", folder.course), find("1.1.2", folder.course)])
        yield opened


def grades(gradebook: ClassGradebook, student: str = "ada", notebook: str = NOTEBOOK) -> dict[str, Any]:
    gradebook.commit()
    return {
        grade.name: grade for grade in gradebook.nbgrader.find_submission_notebook(notebook, SECTION, student).grades
    }


def by_hand(gradebook: ClassGradebook, name: str, **values: Any) -> None:
    """What Formgrader does when a person grades a cell."""
    grade = grades(gradebook)[name]
    for key, value in {"needs_manual_grade": False, **values}.items():
        setattr(grade, key, value)
    gradebook.commit()


def test_points_are_the_examiners_and_a_missing_notebook_has_none(gradebook: ClassGradebook) -> None:
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})

    assert {name: grade.auto_score for name, grade in grades(gradebook).items()} == FULL.points
    assert {name: grade.needs_manual_grade for name, grade in grades(gradebook).items()} == {
        "doubles-it": False,
        "keeps-zero": False,
        "why": True,
    }
    missing = grades(gradebook, notebook="1.1.2-double-again")
    assert {grade.auto_score for grade in missing.values()} == {0}
    assert not any(grade.needs_manual_grade for grade in missing.values())
    assert gradebook.nbgrader.find_submission(SECTION, "ada").score == 3


def test_recording_the_same_again_changes_nothing_and_asks_nobody_to_look_again(gradebook: ClassGradebook) -> None:
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    by_hand(gradebook, "why", manual_score=2.5)

    gradebook.record("ada", SECTION, {NOTEBOOK: replace(FULL, rewritten=frozenset())})

    assert grades(gradebook)["why"].manual_score == 2.5
    assert not grades(gradebook)["why"].needs_manual_grade
    assert read_marks(gradebook.nbgrader, SECTION)["ada"].notebooks[NOTEBOOK].points == {
        "doubles-it": 2,
        "keeps-zero": 1,
        "why": 2.5,
    }


def test_a_rewritten_answer_is_asked_for_again_and_keeps_its_mark_until_then(gradebook: ClassGradebook) -> None:
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    by_hand(gradebook, "why", manual_score=2.5)

    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})

    assert grades(gradebook)["why"].manual_score == 2.5
    assert grades(gradebook)["why"].needs_manual_grade


def test_a_persons_points_for_a_check_are_kept_and_looked_at_again_only_when_the_check_changes(
    gradebook: ClassGradebook,
) -> None:
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    by_hand(gradebook, "keeps-zero", manual_score=0.5, extra_credit=0.25)

    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    assert not grades(gradebook)["keeps-zero"].needs_manual_grade

    gradebook.record("ada", SECTION, {NOTEBOOK: replace(FULL, points={**FULL.points, "keeps-zero": 0.0})})
    assert grades(gradebook)["keeps-zero"].needs_manual_grade
    assert grades(gradebook)["keeps-zero"].score == 0.75


def test_flags_are_a_comment_and_a_persons_comment_and_flag_stay(gradebook: ClassGradebook) -> None:
    flagged = replace(FULL, comments={"double": "Worth a look", "why": None}, flagged=True)
    gradebook.record("ada", SECTION, {NOTEBOOK: flagged})
    comment = gradebook.nbgrader.find_comment("double", NOTEBOOK, SECTION, "ada")
    assert comment.comment == "Worth a look"
    assert gradebook.nbgrader.find_submission_notebook(NOTEBOOK, SECTION, "ada").flagged

    comment.manual_comment = "Talked to Ada: fine."
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    gradebook.commit()

    assert gradebook.nbgrader.find_comment("double", NOTEBOOK, SECTION, "ada").comment == "Talked to Ada: fine."
    assert gradebook.nbgrader.find_submission_notebook(NOTEBOOK, SECTION, "ada").flagged


def test_one_notebook_can_be_recorded_without_touching_the_others(gradebook: ClassGradebook) -> None:
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    gradebook.record_notebook("ada", SECTION, "1.1.2-double-again", FULL)

    assert gradebook.nbgrader.find_submission(SECTION, "ada").score == 6


@pytest.mark.parametrize(("method", "penalty"), [("none", None), ("zero", 3.0)])
def test_late_penalties_are_nbgraders_plugin_with_extensions_counted(
    folder: ClassFolder, method: str, penalty: float | None
) -> None:
    config = folder.course / "nbgrader_config.py"
    config.write_text(config.read_text() + f"\nc.LateSubmissionPlugin.penalty_method = {method!r}\n")
    with ClassGradebook(f"sqlite:///{folder.gradebook}", folder.course) as gradebook:
        gradebook.register([find("1.1.1", folder.course)])
        gradebook.nbgrader.update_or_create_assignment(SECTION, duedate="2026-01-01 12:00 UTC")
        for student in ("ada", "bob"):
            gradebook.record(student, SECTION, {NOTEBOOK: FULL}, datetime(2026, 1, 1, 14))
        gradebook.commit()
        gradebook.nbgrader.grant_extension(SECTION, "bob", hours=3)
        gradebook.record("bob", SECTION, {NOTEBOOK: FULL})
        gradebook.commit()

        assert gradebook.nbgrader.find_submission_notebook(NOTEBOOK, SECTION, "ada").late_submission_penalty == penalty
        assert gradebook.nbgrader.find_submission_notebook(NOTEBOOK, SECTION, "bob").late_submission_penalty is None
        assert [score.seconds_late for score in read_scores(gradebook.nbgrader)] == [7200, 0]
        assert [score.total for score in read_scores(gradebook.nbgrader)] == [3 - (penalty or 0), 3]


def test_new_points_are_registered_and_the_marks_stay(folder: ClassFolder, gradebook: ClassGradebook) -> None:
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    exercise = find("1.1.1", folder.course)
    write_release(exercise, points=5)
    gradebook.register([exercise])

    assert gradebook.nbgrader.find_notebook(NOTEBOOK, SECTION).max_score == 9
    assert gradebook.nbgrader.find_submission(SECTION, "ada").score == 3


def test_an_exercise_that_loses_a_check_after_its_first_submission_is_refused_in_words(
    folder: ClassFolder, gradebook: ClassGradebook
) -> None:
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    gradebook.commit()
    exercise = find("1.1.1", folder.course)
    notebook = json.loads(exercise.notebook.read_text())
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != "keeps-zero"]
    exercise.notebook.write_text(json.dumps(notebook))

    with pytest.raises(
        CellsChanged, match=r"1\.1\.1-double has gained or lost graded cells.*Move .*gradebook\.db away"
    ):
        gradebook.register([exercise])


def test_an_exercise_that_joins_a_section_later_gets_rows_for_earlier_submissions(folder: ClassFolder) -> None:
    with ClassGradebook(f"sqlite:///{folder.gradebook}", folder.course) as gradebook:
        gradebook.register([find("1.1.1", folder.course)])
        gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
        gradebook.register([find("1.1.2", folder.course)])
        gradebook.record("ada", SECTION, {NOTEBOOK: FULL, "1.1.2-double-again": FULL})
        gradebook.commit()

        assert gradebook.nbgrader.find_submission(SECTION, "ada").score == 6


def test_rows_of_learners_are_found_by_index_so_that_the_cost_of_one_does_not_grow_with_the_class(
    gradebook: ClassGradebook,
) -> None:
    statements: set[str] = set()
    event.listen(gradebook.nbgrader.engine, "before_cursor_execute", lambda *call: statements.add(call[2]))
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    gradebook.commit()

    connection = gradebook.nbgrader.engine.raw_connection()
    searched = set()
    for statement in (each for each in statements if each.startswith("SELECT")):
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", [None] * statement.count("?")):
            words = step.split()
            if words[1] in {"grade", "comment", "submitted_notebook", "submitted_assignment", "student"}:
                searched.add(words[1])
                assert words[0] == "SEARCH", f"{step} in {statement}"
    connection.close()
    assert searched >= {"grade", "comment", "submitted_notebook", "submitted_assignment"}


@pytest.mark.parametrize("text", ["", "yesterday", "\x00", "9" * 190, "2026-13-45 99:99:99 UTC"])
def test_a_timestamp_that_is_no_time_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "timestamp.txt").write_text(text)
    with pytest.raises(ValueError, match=r"timestamp\.txt holds no time"):
        read_timestamp(tmp_path)


def test_a_timestamp_that_is_no_small_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "timestamp.txt").write_text("2026-01-01 14:00:00 UTC" + " " * 1000)
    with pytest.raises(ValueError, match="no small regular file"):
        read_timestamp(tmp_path)
    (tmp_path / "timestamp.txt").unlink()
    (tmp_path / "timestamp.txt").symlink_to("nowhere")
    with pytest.raises(ValueError, match="no small regular file"):
        read_timestamp(tmp_path)


def test_a_timestamp_is_read_as_nbgrader_reads_it(tmp_path: Path) -> None:
    assert read_timestamp(tmp_path) is None
    (tmp_path / "timestamp.txt").write_text("2026-01-01 14:00:00.000000 CET\n")
    assert read_timestamp(tmp_path) == datetime(2026, 1, 1, 13)


def test_a_learner_can_be_forgotten(gradebook: ClassGradebook) -> None:
    gradebook.record("ada", SECTION, {NOTEBOOK: FULL})
    gradebook.record("bob", SECTION, {NOTEBOOK: FULL})
    gradebook.commit()
    gradebook.forget(["ada", "nobody"])

    assert [student.id for student in gradebook.nbgrader.students] == ["bob"]
