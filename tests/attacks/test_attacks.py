"""Hostile answers in the sandbox: none scores more than an empty one, harms a classmate, or leaves anything behind."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from counter_course import RIGHT, counter_exercise, notebook, solution
from hostile_answers import BARE, HOSTILE
from limited_engine import LIMITS

from graders.course import Exercise
from graders.engine import Answer, Engine, Verdict

pytestmark = pytest.mark.needs("bwrap")

@dataclass(frozen=True)
class Class:
    """A class that is attacked: its exercise, a classmate's answer on disk, and a gradebook."""

    exercise: Exercise
    classmate: Path
    gradebook: Path
    listener: socket.socket

    def grade(self, engine: Engine, source: str) -> Verdict:
        names = {
            "SOLUTION": str(self.exercise.source),
            "CLASSMATE": str(self.classmate),
            "GRADEBOOK": str(self.gradebook),
            "PORT": self.listener.getsockname()[1],
        }
        known = "; ".join(f"{name} = {value!r}" for name, value in names.items() if name in source)
        return engine.grade(self.exercise, Answer({"counter": f"{known}\n{source}", "double": "pass"}), seed=5)

    def files(self) -> dict[str, bytes]:
        """Everything of the class on disk."""
        folder = self.gradebook.parent
        return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    folder = tmp_path_factory.mktemp("school")
    exercise = counter_exercise(folder / "course")
    exercise.source.write_text("\n".join(RIGHT.values()))
    classmate = folder / "classmate.ipynb"
    classmate.write_text(json.dumps(notebook(*(solution(name, text) for name, text in RIGHT.items()))))
    with sqlite3.connect(folder / "gradebook.db") as book:
        book.execute("create table scores (points)")
        book.execute("insert into scores values (1)")
    for path in (folder, exercise.source, classmate, folder / "gradebook.db"):
        path.chmod(0o777)  # the sandbox keeps them apart, not their permissions
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Class(exercise, classmate, folder / "gradebook.db", listener)


@pytest.fixture(scope="module")
def engine(school: Class) -> Iterator[Engine]:
    with Engine(limits=LIMITS, scale=1.0) as made:
        assert made.grade(school.exercise, Answer(RIGHT), seed=5).score == 4.5
        yield made


def processes() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def source_of(name: str) -> str:
    return HOSTILE[name] + ("" if "class Counter" in HOSTILE[name] else BARE)


def test_there_are_enough_attacks_and_a_bare_answer_is_worth_nothing(school: Class, engine: Engine) -> None:
    assert len(HOSTILE) >= 40
    verdict = school.grade(engine, BARE)
    assert verdict.score == 0
    assert "unanswered" not in {check.status for check in verdict.checks}
    assert school.grade(engine, "\n".join(RIGHT.values())).score == 4.5


@pytest.mark.parametrize("name", HOSTILE)
def test_an_attack_gains_nothing_and_harms_nobody(name: str, school: Class, engine: Engine) -> None:
    running, files = processes(), school.files()
    verdict = school.grade(engine, source_of(name))
    assert verdict.score == 0, [(check.id, check.status, check.message) for check in verdict.checks]
    assert verdict.isolation == "bubblewrap"
    json.dumps(verdict.as_json(printed=True), allow_nan=False)
    classmate = engine.grade(school.exercise, Answer(RIGHT), seed=5)
    assert (classmate.score, classmate.flags) == (4.5, ())
    # The last to end is the keeper, just after its report.
    _, alive = psutil.wait_procs(processes() - running, timeout=60)
    assert (alive, school.files()) == ([], files)
    with pytest.raises(BlockingIOError):
        school.listener.accept()


@pytest.mark.parametrize("name", ["a flood of processes", "memory in children", "kills everybody"])
def test_an_attack_does_not_harm_who_is_graded_beside_it(name: str, school: Class, engine: Engine) -> None:
    attack = threading.Thread(target=school.grade, args=(engine, source_of(name)))
    with Engine(limits=LIMITS) as beside:
        beside.grade(school.exercise, Answer(RIGHT))
        attack.start()
        classmate = beside.grade(school.exercise, Answer(RIGHT))
        attack.join()
    assert (classmate.score, classmate.flags) == (4.5, ())
