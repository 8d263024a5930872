"""A batch: each answer once, whatever is handed in and whenever it is stopped."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fake_grader import FakeGrader, log_of
from tiny_class import RIGHT

from graders.course import find
from graders.engine import batch
from graders.engine.batch import AlreadyRunning, ClassFolder, GradingPool, Outcome, handed_in
from graders.engine.classroom import Report, grade_class

HandIn = Callable[..., Path]


def grade(folder: ClassFolder, **options: object) -> Report:
    return grade_class(folder, make_grader=FakeGrader, **{"workers": 1, **options})  # type: ignore[arg-type]


def log(folder: ClassFolder) -> list[str]:
    path = log_of(folder.course)
    return path.read_text().splitlines() if path.exists() else []


def by_student(report: Report) -> dict[str, Outcome]:
    return {outcome.handed.student: outcome for outcome in report.outcomes}


def test_equal_answers_are_graded_once_and_a_second_batch_grades_nothing(folder: ClassFolder, hand_in: HandIn) -> None:
    for student in ("ada", "bob", "cyd"):
        hand_in(student, RIGHT)
    hand_in("dan", "# fails: keeps-zero\n" + RIGHT)

    first, second = grade(folder), grade(folder)

    assert sorted(log(folder)) == ["1.1.1 # fails: keeps-zero", "1.1.1 def double(number):"]
    assert [outcome.score for outcome in first.outcomes] == [3, 3, 3, 2]
    assert [outcome.score for outcome in second.outcomes] == [3, 3, 3, 2]
    assert all(outcome.reused for outcome in second.outcomes)


def test_a_changed_answer_is_graded_again_and_the_others_are_not(folder: ClassFolder, hand_in: HandIn) -> None:
    hand_in("ada"), hand_in("bob", "# fails: doubles-it\n" + RIGHT)
    grade(folder)
    hand_in("bob", "# fixed\n" + RIGHT)

    assert by_student(grade(folder))["bob"].score == 3
    assert log(folder)[2:] == ["1.1.1 # fixed"]


def test_a_changed_check_is_graded_again_and_the_other_exercise_is_not(folder: ClassFolder, hand_in: HandIn) -> None:
    hand_in("ada"), hand_in("ada", number="1.1.2")
    grade(folder)
    checks = find("1.1.2", folder.course).checks
    checks.write_text(checks.read_text() + "\n# a fix\n")
    grade(folder)

    assert [line.split()[0] for line in log(folder)[2:]] == ["1.1.2"]


def test_what_checks_judge_with_is_a_ground_of_their_verdicts(
    folder: ClassFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, series = (tmp_path / "shared" / "monitoring" / name for name in ("rules.py", "series.py"))
    rules.parent.mkdir(parents=True)
    rules.write_text("from shared.monitoring.series import total\n")
    recording = rules.with_name("recording.npz")
    exercise = find("1.1.1", folder.course)
    exercise.checks.write_text(exercise.checks.read_text() + "\nfrom shared.monitoring.rules import total\n")
    monkeypatch.setattr(batch, "COURSE_ROOT", tmp_path)

    seen = set()
    for path, content in ((series, "total = 1"), (series, "total = 2"), (recording, "1"), (recording, "2")):
        path.write_text(content)
        seen.add(batch.grounds(exercise, 1, "process"))
        seen.add(batch.grounds(exercise, 1, "process"))

    assert len(seen) == 4


@pytest.mark.parametrize("victim", [0, 3, 5])
def test_a_batch_killed_at_any_answer_goes_on_and_loses_nothing(
    folder: ClassFolder, hand_in: HandIn, environment: dict[str, str], victim: int
) -> None:
    for number in range(6):
        mark = "  # kills the batch" if number == victim else ""
        hand_in(f"student-{number}", f"# answer {number}{mark}\n" + RIGHT)
    program = (
        "from pathlib import Path\n"
        "from fake_grader import FakeGrader\n"
        "from graders.engine.batch import ClassFolder\n"
        "from graders.engine.classroom import grade_class\n"
        "if __name__ == '__main__':\n"
        f"    folder = ClassFolder(Path({str(folder.root)!r}), Path({str(folder.course)!r}))\n"
        "    grade_class(folder, make_grader=FakeGrader, workers=2)\n"
    )
    script = folder.course / "batch.py"
    script.write_text(program)
    killed = subprocess.Popen([sys.executable, str(script)], env=environment, cwd=folder.course)
    family = []
    while killed.poll() is None:
        try:
            family = psutil.Process(killed.pid).children(recursive=True) or family
            killed.wait(0.05)
        except (psutil.NoSuchProcess, subprocess.TimeoutExpired):
            continue
    assert killed.returncode == -9
    assert family
    assert psutil.wait_procs(family, timeout=30)[1] == [], "a worker outlives a killed batch"

    before = {path.name: path.read_bytes() for path in folder.verdicts.glob("*/*.json")}
    report = grade(folder)

    assert [outcome.score for outcome in report.outcomes] == [3] * 6
    assert {path.name: path.read_bytes() for path in folder.verdicts.glob("*/*.json")}.items() >= before.items()
    assert len(list(folder.verdicts.glob("*/*.json"))) == 6
    graded_again = {line for line in log(folder) if log(folder).count(line) > 1}
    assert len(graded_again) <= 2, "only what the two workers were at when they were killed may be graded again"
    assert not list(folder.root.rglob(".*.graded"))


def test_a_notebook_that_ends_its_worker_harms_no_classmate(folder: ClassFolder, hand_in: HandIn) -> None:
    for student in ("ada", "bob", "cyd", "dan"):
        hand_in(student, f"# {student}\n{RIGHT}")
    hand_in("eve", "# ends the worker\n" + RIGHT)

    outcomes = by_student(grade(folder))

    assert {student: outcome.score for student, outcome in outcomes.items()} == {
        "ada": 3,
        "bob": 3,
        "cyd": 3,
        "dan": 3,
        "eve": 0,
    }
    assert "died on this notebook twice" in outcomes["eve"].problem


def test_a_grader_that_fails_says_so_for_each_of_equal_answers(folder: ClassFolder, hand_in: HandIn) -> None:
    hand_in("ada")
    for student in ("eve", "eva"):
        hand_in(student, "# breaks the grader\n" + RIGHT)

    outcomes = by_student(grade(folder))

    assert outcomes["ada"].score == 3
    for student in ("eve", "eva"):
        assert "ZeroDivisionError: the grader's own" in outcomes[student].problem


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "half": (lambda path: path.write_bytes(path.read_bytes()[:200]), "damaged"),
    "not-utf8": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not UTF-8"),
    "deep": (lambda path: path.write_text("[" * 200_000), "damaged"),
    "no-cells": (lambda path: path.write_text('{"cells": [], "metadata": {}, "nbformat": 4}'), "no solution cell"),
    "list": (lambda path: path.write_text("[]"), "format 4"),
    "empty": (lambda path: path.write_bytes(b""), "damaged"),
    "link": (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "link"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "regular file"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "regular file"),
    "large": (lambda path: os.truncate(path, 64 << 20), "larger than"),
}


def test_files_that_are_no_notebooks_get_a_sentence_each_and_harm_nobody(folder: ClassFolder, hand_in: HandIn) -> None:
    hand_in("ada")
    for name, (damage, _) in DAMAGE.items():
        damage(hand_in(name))

    outcomes = by_student(grade(folder))

    assert outcomes["ada"].score == 3
    for name, (_, words) in DAMAGE.items():
        problem = outcomes[name].problem
        assert words in problem
        assert problem.endswith(".") and "\n" not in problem
        assert (folder.autograded / name / "1.1-numbers" / "1.1.1-double.ipynb").is_file()
        assert problem in (folder.feedback / name / "1.1-numbers.html").read_text()


def test_absurd_content_changes_neither_points_nor_checks(folder: ClassFolder, hand_in: HandIn) -> None:
    path = hand_in("eve", "# fails: doubles-it\n" + RIGHT)
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 1_000_000}]
        if "nbgrader" in cell["metadata"]:
            cell["metadata"]["nbgrader"]["points"] = 1e308
            cell["metadata"]["tags"] = {"not": ["a", "list"]}
        if cell["id"] == "doubles-it":
            cell["source"] = "pass"
    notebook["cells"] += [7, None, {"metadata": 3}, {"metadata": {"nbgrader": {"grade_id": ["doubles-it"]}}}]
    notebook["metadata"] = {"kernelspec": {"name": "../../bin/sh"}, "deep": {"er": []}}
    path.write_text(json.dumps(notebook))

    (outcome,) = grade(folder).outcomes

    assert outcome.score == 1
    graded = json.loads((folder.autograded / "eve" / "1.1-numbers" / path.name).read_text())
    assert [cell["source"] for cell in graded["cells"] if cell["id"] == "doubles-it"] == ["check.doubles_it(double)"]
    assert len(json.dumps(graded)) < 20_000


def test_half_a_surrogate_pair_reaches_no_file(folder: ClassFolder, hand_in: HandIn) -> None:
    path = hand_in("eve", 'def double(number):\n    return "@"', why="because @")
    path.write_text(path.read_text().replace("@", "\\ud800"))

    grade(folder)

    for written in [*folder.autograded.rglob("*.ipynb"), *folder.feedback.rglob("*.html")]:
        json.dumps(written.read_text(encoding="utf-8")).encode()
        assert "\\ud800" not in written.read_text(encoding="utf-8")


def test_a_second_batch_of_the_same_class_is_refused(folder: ClassFolder, hand_in: HandIn) -> None:
    hand_in("ada")
    with folder.locked(), pytest.raises(AlreadyRunning, match="Another batch"):
        grade(folder)
    assert grade(folder).outcomes


def test_stopping_ends_the_workers_and_keeps_what_was_graded(folder: ClassFolder, hand_in: HandIn) -> None:
    for number in range(5):
        hand_in(f"student-{number}", f"# answer {number}\n" + RIGHT)
    workers: list[psutil.Process] = []
    with pytest.raises(KeyboardInterrupt), GradingPool(folder, workers=2, make_grader=FakeGrader) as pool:
        for _ in pool.grade(handed_in(folder)):
            # The tracker of multiprocessing is this process's own and stays.
            children = psutil.Process().children()
            workers = [each for each in children if "resource_tracker" not in " ".join(each.cmdline())]
            raise KeyboardInterrupt
    assert len(workers) == 2
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    assert len(grade(folder).outcomes) == 5


def test_the_class_shares_a_seed_that_is_its_own_and_secret(folder: ClassFolder) -> None:
    one, two = find("1.1.1", folder.course), find("1.1.2", folder.course)
    other = replace(folder, root=folder.root.with_name("other"))

    assert folder.seed(one) == folder.seed(one)
    assert len({folder.seed(one), folder.seed(two), other.seed(one)}) == 3
    assert stat.S_IMODE((folder.verdicts / ".seed").stat().st_mode) == 0o600


def test_only_the_chosen_section_and_learners_are_graded(folder: ClassFolder, hand_in: HandIn) -> None:
    hand_in("ada"), hand_in("bob", "# bob\n" + RIGHT)

    assert [each.handed.student for each in grade(folder, students=["bob"]).outcomes] == ["bob"]
    assert grade(folder, sections=["2.2-none"]).outcomes == []
