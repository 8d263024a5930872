"""Hostile and damaged files: each is graded for what its solution cells hold, or refused in one sentence."""

from __future__ import annotations

import base64
import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from counter_course import RIGHT, STUBS, cell, check_cell, counter_exercise, notebook, solution

from graders.course import Exercise
from graders.engine import Answer, BadAnswer, Engine, read_answer

pytestmark = pytest.mark.needs("bwrap")

_STUBS = [solution(name, text) for name, text in STUBS.items()]
_BOMB = base64.b64encode(gzip.compress(bytes(8 << 20))).decode()


def _output(**data: str) -> dict[str, Any]:
    return {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}


def _saved(*cells: Any, **more: Any) -> bytes:
    return json.dumps(notebook(*cells) | more).encode()


def _with(made: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return made | changes


def _skipped() -> bytes:
    """Checks that are skipped, were edited, already printed their points, and are worth a hundred each."""
    checks = [
        _with(check_cell(name, "print('passed')", 100), outputs=[_output(**{"text/plain": "100"})])
        for name in ("counts-every-call", "starts-at-zero", "doubles-twice")
    ]
    for check in checks:
        check["metadata"]["tags"] = ["skip-execution"]
    return _saved(*_STUBS, *checks)


def _nbgrader(value: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": "x", "metadata": {"nbgrader": value}, "outputs": []}


FILES: dict[str, bytes] = {
    "half of a file": _saved(*_STUBS)[:200],
    "no bytes": b"",
    "binary": bytes(range(256)) * 99,
    "Latin-1": _saved(solution("counter", "x = 'gr'"), *_STUBS).replace(b"gr", b"gr\xfc\xdf"),
    "UTF-16": _saved(*_STUBS).decode().encode("utf-16"),
    "a thousand levels": b'{"cells": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "a million levels": b'{"cells": ' + b'{"a":' * 1_000_000,
    "levels in metadata": _saved(*_STUBS).replace(b'"metadata": {}', b'"metadata": ' + b"[" * 900 + b"]" * 900, 1),
    "a number of a million digits": b'{"cells": [' + b"9" * 1_000_000 + b"]}",
    "numbers that are none": _saved(*_STUBS, nbformat=float("nan"), nbformat_minor=float("inf")),
    "a hundred thousand cells": _saved(*_STUBS, *([cell("code", "x")] * 100_000)),
    "ten thousand duplicates": _saved(*_STUBS, *([solution("counter", STUBS["counter"] + "\n#")] * 10_000)),
    "checks that are skipped": _skipped(),
    "a check as solution": _saved(*_STUBS, solution("counts-every-call", "points = 100")),
    "another check object": _saved(cell("code", "check = print", grade_id="setup", locked=True), *_STUBS),
    "absurd metadata": _saved(
        *_STUBS,
        *map(_nbgrader, (None, [], 7, "x", {"grade_id": []}, {"grade_id": {}}, {"grade_id": None, "points": "many"})),
        {"metadata": 3},
        None,
        [],
        7,
    ),
    "a kernel of its own": _saved(
        *_STUBS, metadata={"kernelspec": {"name": "../../evil", "argv": ["sh"]}, "nbgrader": 1}
    ),
    "bombs in outputs": _saved(
        *(
            _with(stub, outputs=[_output(**{"image/png": _BOMB, "text/html": "<script>" * 9999})] * 20)
            for stub in _STUBS
        )
    ),
    "an attachment": _saved(*_STUBS, _with(cell("markdown", "x"), attachments={"../../x": {"image/png": _BOMB}})),
    "twenty thousand magics": _saved(solution("counter", "!x\n" * 20_000)),
    "a line of blanks": _saved(solution("counter", " " * 30_000 + "x " * 15_000)),
    "a name of many parts": _saved(solution("counter", "import a" + ".a" * 12_000)),
    "brackets": _saved(solution("counter", "(" * 30_000)),
    "half characters": _saved(solution("counter", "x = '\ud800'"), *_STUBS),
    "a cell of ten megabytes": _saved(solution("counter", "#" * (10 << 20))),
}
READING_SECONDS = 20.0
"""CPU seconds in which any file is read: an untrusted file must not hold up a class."""


@pytest.fixture(scope="module")
def exercise(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    return counter_exercise(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(scale=1.0) as made:
        yield made


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_worth_nothing_and_the_next_one_everything(
    name: str, exercise: Exercise, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "submitted.ipynb"
    path.write_bytes(FILES[name])
    began = time.process_time()
    try:
        answer = read_answer(path, exercise)
    except BadAnswer as error:
        assert "\n" not in str(error)
    else:
        verdict = engine.grade(exercise, answer, seed=5)
        assert (verdict.score, verdict.max) == (0, 4.5)
        json.dumps(verdict.as_json(), allow_nan=False)
    assert time.process_time() - began < READING_SECONDS
    assert engine.grade(exercise, Answer(RIGHT), seed=5).score == 4.5


PLACES: dict[str, Callable[[Path, Path], None]] = {
    "a link to the solution": lambda path, solved: path.symlink_to(solved),
    "a link to a device": lambda path, _: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path, _: path.symlink_to(path),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a folder": lambda path, _: path.mkdir(),
}


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_no_file_is_not_opened(kind: str, exercise: Exercise, tmp_path: Path) -> None:
    solved = tmp_path / "solved.ipynb"
    solved.write_bytes(_saved(*(solution(name, text) for name, text in RIGHT.items())))
    path = tmp_path / "submitted.ipynb"
    PLACES[kind](path, solved)
    with pytest.raises(BadAnswer):
        read_answer(path, exercise)
