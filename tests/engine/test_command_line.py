"""`python -m graders grade`: what it prints, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from counter_course import RIGHT, STUBS, solution

from graders import __main__ as command_line
from graders.course import Exercise, UnknownExercise

Submitted = Callable[..., Path]


@pytest.fixture(autouse=True)
def counter_course(exercise: Exercise, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> Exercise:
        if name not in (exercise.number, exercise.slug):
            raise UnknownExercise(f"There is no exercise {name!r}.")
        return exercise

    monkeypatch.setattr(command_line, "find", find)


def run(*arguments: object) -> int:
    return command_line.main(["grade", *map(str, arguments), "--isolation=process"])


def test_json_is_one_object_on_standard_output(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    path = submitted(solution("counter", RIGHT["counter"]), solution("double", STUBS["double"]))
    assert run("17.9.1", path, "--json", "--seed", 4) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["score"], document["max"], document["seed"], document["isolation"]) == (3, 4.5, 4, "process")
    assert [check["status"] for check in document["checks"]] == ["passed", "passed", "unanswered"]
    assert printed.err == ""


def test_a_table_and_the_cards_are_for_people(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = "def double(number):\n    return number\n"
    assert run("17.9.1-counter", submitted(solution("counter", RIGHT["counter"]), solution("double", wrong))) == 0
    printed = capsys.readouterr().out
    assert "3 of 4.5 points" in printed
    assert "graded by a person" in printed
    assert "✗ Doubling works on both names" in printed


def test_what_an_answer_prints_stays_out_of_the_output(submitted: Submitted, capfd: pytest.CaptureFixture[str]) -> None:
    noisy = RIGHT["double"] + "\nimport os\nprint('noise')\nos.system('echo noise >&2')\n"
    assert run("17.9.1", submitted(solution("counter", RIGHT["counter"]), solution("double", noisy)), "--json") == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out)["score"] == 4.5
    assert printed.err == ""


def test_a_bad_file_or_exercise_gets_one_sentence_and_exit_2(
    tmp_path: Path, submitted: Submitted, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.ipynb"
    damaged.write_text("{")
    for arguments in (
        ("17.9.1", damaged),
        ("17.9.1", tmp_path / "absent.ipynb"),
        ("17.9.1", submitted(solution("retry", "x"))),
        ("17.9.9", damaged),
    ):
        assert run(*arguments, "--json") == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert "Traceback" not in printed.err


def test_an_isolation_that_cannot_be_had_is_exit_3(
    submitted: Submitted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = submitted(solution("counter", RIGHT["counter"]))
    monkeypatch.setenv("PATH", "")
    assert command_line.main(["grade", "17.9.1", str(path), "--isolation=bubblewrap"]) == 3
    assert "--isolation=process" in capsys.readouterr().err


def test_without_a_word_the_sandbox_is_used_or_the_request_refused(
    submitted: Submitted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = submitted(solution("counter", RIGHT["counter"]))
    monkeypatch.setenv("PATH", "")
    assert command_line.main(["grade", "17.9.1", str(path)]) == 3
    assert capsys.readouterr().err.startswith("Answers cannot be isolated by bubblewrap here")


def test_half_characters_in_a_message_can_be_printed(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    odd = r"def double(number):" + "\n" + r"    raise KeyError('\ud800')" + "\n"
    path = submitted(solution("counter", RIGHT["counter"]), solution("double", odd))
    assert run("17.9.1", path) == 0
    capsys.readouterr().out.encode("utf-8")
