"""What is taken from a file that was handed in, what is not, and the sentence for one that cannot be graded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from counter_course import RIGHT, STUBS, cell, check_cell, notebook, solution

from graders.course import Exercise
from graders.engine import Answer, BadAnswer, read_answer
from graders.engine.answer import without_magics

Submitted = Callable[..., Path]


def test_only_the_solution_cells_are_taken(exercise: Exercise, submitted: Submitted) -> None:
    path = submitted(
        cell("code", "STEP = 100", grade_id="setup", solution=False, grade=False, locked=True),
        cell("code", "counter = 'a cell of the learner'"),
        solution("counter", RIGHT["counter"]),
        solution("double", list(RIGHT["double"].splitlines(keepends=True))),
        check_cell("doubles-twice", "pass", 1000),
        solution("no-such-cell", "x = 1"),
    )
    assert read_answer(path, exercise) == Answer(RIGHT)


def test_metadata_and_outputs_of_a_submission_change_nothing(exercise: Exercise, submitted: Submitted) -> None:
    made = solution("counter", RIGHT["counter"])
    made["metadata"]["nbgrader"] |= {"points": 1e9, "grade": True, "schema_version": {"a": []}}
    made["metadata"]["tags"] = ["skip-execution"]
    made["outputs"] = [{"output_type": "execute_result", "data": {"text/plain": "2"}}]
    path = submitted(
        None, 7, {"metadata": []}, {"metadata": {"nbgrader": "x"}}, made, solution("double", RIGHT["double"])
    )
    assert read_answer(path, exercise) == Answer(RIGHT)


def test_cells_with_the_same_id_are_joined_in_their_order_without_untouched_copies(
    exercise: Exercise, submitted: Submitted
) -> None:
    path = submitted(
        solution("counter", "import math"),
        solution("counter", RIGHT["counter"]),
        solution("counter", STUBS["counter"]),
        solution("double", RIGHT["double"]),
    )
    answer = read_answer(path, exercise)
    assert answer.cells["counter"] == "import math\n\n" + RIGHT["counter"]
    assert answer.flags == ("counter: 3 cells have this id; those that were changed were run in their order",)


def test_a_solution_cell_that_became_text_is_still_run_and_flagged(exercise: Exercise, submitted: Submitted) -> None:
    path = submitted(solution("counter", RIGHT["counter"], kind="markdown"), solution("double", RIGHT["double"]))
    answer = read_answer(path, exercise)
    assert dict(answer.cells) == RIGHT
    assert answer.flags == ("counter: the cell was no longer a code cell; it was run as one",)


def test_a_missing_solution_cell_is_flagged_and_the_others_are_graded(exercise: Exercise, submitted: Submitted) -> None:
    answer = read_answer(submitted(solution("counter", RIGHT["counter"])), exercise)
    assert dict(answer.cells) == {"counter": RIGHT["counter"]}
    assert answer.flags == ("double: the cell is missing",)


def test_an_answer_file_holds_solution_cells_in_percent_format(exercise: Exercise, tmp_path: Path) -> None:
    path = tmp_path / "right.py"
    path.write_text(
        '# right: plain\n# %% solution="counter"\n' + RIGHT["counter"] + '\n# %% solution="double"\n' + RIGHT["double"]
    )
    answer = read_answer(path, exercise)
    assert {name: text.strip() for name, text in answer.cells.items()} == {n: t.strip() for n, t in RIGHT.items()}
    assert answer.flags == ()


DAMAGED: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{'cells': []}", "is damaged"),
    "cut off": (json.dumps(notebook(solution("counter", "x"))).encode()[:60], "is damaged"),
    "empty": (b"", "is damaged"),
    "too deep": (b'{"cells":' + b"[" * 200_000, "is damaged"),
    "a huge number": (b'{"cells": [' + b"9" * 10_000 + b"]}", "is damaged"),
    "no UTF-8": (b'{"cells": ["\xff"]}', "not UTF-8"),
    "a list": (b"[]", "no notebook of format 4"),
    "format 3": (b'{"worksheets": []}', "no notebook of format 4"),
    "another exercise": (json.dumps(notebook(solution("retry", "x"))).encode(), "no solution cell of exercise 17.9.1"),
    "a number for source": (json.dumps(notebook(solution("counter", 7))).encode(), "holds no text"),
    "numbers in source": (json.dumps(notebook(solution("counter", ["x", 7]))).encode(), "holds no text"),
    "no source": (json.dumps(notebook({**solution("counter", ""), "source": None})).encode(), "holds no text"),
    "too large": (b" " * (20 * (1 << 20) + 1), "larger than 20 MiB"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_notebook_gets_one_sentence(kind: str, exercise: Exercise, tmp_path: Path) -> None:
    content, words = DAMAGED[kind]
    path = tmp_path / "submitted.ipynb"
    path.write_bytes(content)
    with pytest.raises(BadAnswer, match=words) as caught:
        read_answer(path, exercise)
    assert "\n" not in str(caught.value)


def test_links_folders_pipes_and_absent_files_are_not_read(
    exercise: Exercise, submitted: Submitted, tmp_path: Path
) -> None:
    real = submitted(solution("counter", RIGHT["counter"]))
    link, pipe = tmp_path / "link.ipynb", tmp_path / "pipe.ipynb"
    link.symlink_to(real)
    os.mkfifo(pipe)
    expected = {link: "is a link", pipe: "not a regular file", tmp_path: "not a regular", tmp_path / "no": "not exist"}
    for path, words in expected.items():
        with pytest.raises(BadAnswer, match=words):
            read_answer(path, exercise)
    with pytest.raises(BadAnswer, match="no file name"):
        read_answer("a\0b.ipynb", exercise)


def test_an_untouched_empty_or_commented_cell_is_unanswered() -> None:
    stub = STUBS["double"]
    for text in (stub, stub + "\n\n", stub.replace("\n", "   \n"), "", "  \n", "# I will do it tomorrow\n"):
        assert Answer({"double": text}).is_unanswered("double", stub), text
    assert Answer({}).is_unanswered("double", stub)
    for text in (RIGHT["double"], "def double(", "pass"):
        assert not Answer({"double": text}).is_unanswered("double", stub), text


@pytest.mark.parametrize(
    ("cell_text", "plain"),
    [
        ("%%time\nx = 1", "\nx = 1"),
        ("\n%%capture out\nx = 1", "\n\nx = 1"),
        ("%%bash\nrm -rf /", ""),
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("def f():\n    %time g()\n    return 1", "def f():\n    g()\n    return 1"),
        ("!pip install numpy\nx = 1", "pass\nx = 1"),
        ("files = !ls\nx = 1", "files = None\nx = 1"),
        ("len?\nx = 1", "pass\nx = 1"),
        ("x = 7 \\\n  % 4\ny = '''\n%time\n!ls\n'''", "x = 7 \\\n  % 4\ny = '''\n%time\n!ls\n'''"),
        ("def f(:\n    pass", "def f(:\n    pass"),
        ("x = '\0'", "x = '\0'"),
    ],
)
def test_magics_are_taken_out_and_everything_else_stays(cell_text: str, plain: str) -> None:
    assert without_magics(cell_text) == plain


def test_a_notebook_is_read_whatever_its_name_ends_in(exercise: Exercise, submitted: Submitted, tmp_path: Path) -> None:
    renamed = tmp_path / "submitted.json"
    shutil.copy(submitted(solution("counter", RIGHT["counter"]), solution("double", RIGHT["double"])), renamed)
    answer: Any = read_answer(renamed, exercise)
    assert answer == Answer(RIGHT)
