"""The course check: each way in which an exercise can be broken is told, with the file to edit; a whole one is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_course import SOURCE, tiny_course

from graders.course import Exercise
from graders.engine import CheckVerdict, Verdict
from graders.source_format import read_answer, read_cells
from tools import build as build_module
from tools.build import build
from tools.course_check import leaked_lines, main, untouched_problems, wrong_answer_problems

CHECKS = '''\
from hypothesis import strategies as st

from graders.kit import Check, Mismatch

REFERENCE = "shared.resilience.circuit_breaker"


class Doubles(Check):
    """Twice the number comes back."""

    scenarios = st.fixed_dictionaries({"number": st.integers(-9, 9)})
    always = ({"number": 2}, {"number": 3})
    examples = 5

    def drive(self, answer, scenario, world):
        world.call("double", answer, scenario["number"])

    def judge(self, scenario, history):
        (call,) = history
        expected = 2 * scenario["number"]
        if call.get("value") != expected:
            raise Mismatch(expected=f"{expected}", observed=f"{call.get('value')}", at=0)
'''


def wrong(body: str = "return number + 1", fails: str = "doubles", says: str = "6") -> str:
    header = f"# wrong: adds one\n# fails: {fails}\n# says: {says}\n\n"
    return header + f'# %% solution="double"\ndef double(number):\n    {body}\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    """A whole exercise: built, with a check module, right and wrong answers, and a link from the welcome page."""
    exercise = tiny_course(tmp_path_factory.mktemp("course"))
    exercise.checks.parent.mkdir(parents=True)
    exercise.checks.write_text(CHECKS)
    exercise.answers.mkdir(parents=True)
    for number, body in enumerate(("return 2 * number", "return number + number", "return number << 1")):
        text = f'# right: design {number}\n\n# %% solution="double"\ndef double(number):\n    {body}\n'
        (exercise.answers / f"right-{number}.py").write_text(text)
    for number in range(15):
        (exercise.answers / f"wrong-{number}.py").write_text(
            wrong(f"return 2 * number + {number + 1}", says="expected")
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "_importable", list)
        build([exercise])
    (exercise.root / "chapters" / "welcome.md").write_text("[Doubling](17.9-doubling/17.9.1-doubling.ipynb)")
    return exercise


@pytest.fixture
def course(whole: Exercise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exercise:
    """A copy of it to break."""
    monkeypatch.setattr(build_module, "_importable", list)
    shutil.copytree(whole.root, tmp_path / "course")
    return Exercise(whole.slug, whole.section, tmp_path / "course")


def verdict(**statuses: str) -> Verdict:
    """A verdict with these checks; the message of each is `the card of <id>`."""
    checks = [
        CheckVerdict(name, "title", 1 if status == "passed" else 0, 1, status, f"the card of {name}")
        for name, status in statuses.items()
    ]
    return Verdict("17.9.1-doubling", "process", 0, tuple(checks))


def problems(answer: str, graded: Verdict) -> list[str]:
    return list(wrong_answer_problems(read_answer(answer), graded, [check.id for check in graded.checks]))


def test_a_whole_exercise_is_not_broken(course: Exercise, capsys: pytest.CaptureFixture[str]):
    code = main([], course.root)
    said = capsys.readouterr().out
    assert said.endswith("\nNothing is broken.\n")
    assert code == 0
    assert [line.split("  ")[1].strip() for line in said.splitlines()[:-2]] == [
        "generated files",
        "parts",
        "no leak",
        "solution",
        "untouched notebook",
        "right answers",
        "wrong answers",
        "checks",
        "forged records",
    ]


def test_whatever_is_broken_is_told_at_once_with_the_file_to_edit(course: Exercise, capsys: pytest.CaptureFixture[str]):
    for number in range(3):
        (course.answers / f"right-{number}.py").unlink()
    (course.answers / "right-thrice.py").write_text(
        '# right: no\n# %% solution="double"\ndef double(n):\n    return 3 * n\n'
    )
    (course.answers / "wrong-0.py").write_text(wrong("return number * 2"))
    (course.answers / "wrong-1.py").write_text(wrong(says="words that no card has"))
    (course.answers / "wrong-2.py").write_text("# %% solution=double\n")
    (course.root / "chapters" / "welcome.md").write_text("")
    (course.notebook.parent / "17.9.1-doubling.py").write_text("a stray")
    leaking = course.notebook.read_text().replace("Now you.", "    secret_sum = number + number")
    course.notebook.write_text(leaking)

    assert main([], course.root) == 1
    broken = capsys.readouterr().out.split("each line begins with the file to edit:\n")[1]

    answers = "graders/answers/17.9.1-doubling"
    source = "solutions/17.9-doubling/17.9.1-doubling.py"
    chapter = "chapters/17.9-doubling/17.9.1-doubling"
    starts = [
        f"{chapter}.py: nothing makes this file; remove it.",
        f"{source}: {chapter}.ipynb is not what its source makes; run make build.",
        f"{answers}/wrong-2.py:1: the header says exactly one of",
        f"{answers}: 1 right answers, of different design; write at least 3.",
        f"{answers}: 14 wrong answers; write at least 15.",
        "chapters/welcome.md: no link to 17.9-doubling/17.9.1-doubling.ipynb.",
        f"{chapter}.ipynb: holds a line of the solution: secret_sum = number + number",
        f"{answers}/right-thrice.py: doubles failed: ",
        f"{answers}/wrong-0.py: is wrong, and passes every check.",
        f"{answers}/wrong-0.py: passes doubles, which its header says it fails.",
        f"{answers}/wrong-1.py: the card of doubles does not say “words that no card has”; it says: ",
    ]
    lines = [line.strip() for line in broken.splitlines()]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts


def test_checks_and_test_cells_must_be_the_same_and_hints_must_exist(
    course: Exercise, capsys: pytest.CaptureFixture[str]
):
    more = CHECKS.split("\n\n\n")[1].replace("class Doubles", "class Trebles")
    more = more.replace("    examples = 5", '    examples = 5\n    hint = "Hint 9: none"')
    course.checks.write_text(f"{CHECKS}\n\n{more}")
    assert main([], course.root) == 1
    broken = capsys.readouterr().out
    assert "17.9.1-doubling.py: no cell tests trebles; add one." in broken
    assert "ex17_9_1_doubling.py: the hint of trebles, “Hint 9: none”, is not in the notebook." in broken


def test_a_solution_that_loses_points_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], course: Exercise):
    course.source.write_text(SOURCE.replace("return secret_sum", "return secret_sum + (number == 3)"))
    build([course])
    assert main(["17.9.1"], course.root) == 1
    assert "17.9.1-doubling.py: doubles failed: " in capsys.readouterr().out


def test_a_line_that_the_author_shows_elsewhere_is_no_leak():
    source = SOURCE.replace("# Now you.", "# `return secret_sum` is the last line:\n#\n#     return secret_sum")
    cells = read_cells(source)
    once, twice = '["return secret_sum"]', '["return secret_sum", {"metadata": "x\\nreturn secret_sum"}]'
    assert leaked_lines(cells, once) == []
    assert leaked_lines(cells, twice) == ["return secret_sum"]


def test_an_untouched_notebook_may_raise_nothing_but_not_implemented_error(course: Exercise):
    cells = read_cells(SOURCE)
    raised = [("doubles", "NotImplementedError: "), ("why--1", "NameError: name 'total' is not defined")]
    assert list(untouched_problems(course, cells, raised)) == [
        "solutions/17.9-doubling/17.9.1-doubling.py:33: "
        "cell why--1 of the untouched notebook raised NameError: name 'total' is not defined"
    ]


def test_run_all_must_reach_the_live_part(course: Exercise):
    cells = read_cells(SOURCE + '\n# %% id="play"\nprint(1)\n')
    (problem,) = untouched_problems(course, cells, [("doubles", "NotImplementedError: ")])
    assert 'Run All stops at line 30, before the cell "play"; move it up.' in problem


def test_a_wrong_answer_keeps_its_promises():
    assert problems(wrong(says="card of doubles"), verdict(doubles="failed", other="passed")) == []
    assert problems(wrong(fails="doubles, other", says="card"), verdict(doubles="timeout", other="error")) == []


def test_a_wrong_answer_that_fails_another_check_says_which():
    (problem,) = problems(wrong(says="card"), verdict(doubles="failed", other="error"))
    assert problem.startswith("also fails other (error: the card of other)")


def test_a_wrong_answer_without_promises_is_told_what_it_could_promise():
    text = wrong().replace("# fails: doubles\n", "").replace("# says: 6\n", "")
    assert problems(text, verdict(doubles="failed"))[0] == "its header has no `# fails:` line."
    (problem,) = problems(wrong().replace("# says: 6\n", ""), verdict(doubles="failed"))
    assert problem == "its header has no `# says:` line; the card of doubles says: the card of doubles"


def test_a_wrong_answer_that_names_no_check_is_told_so():
    found = problems(wrong(fails="?"), verdict(doubles="failed"))
    assert found[0] == "`# fails:` names ?, which is no check of the exercise."
