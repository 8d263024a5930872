"""What a worker of a test's cluster calls: the fake grader, on a course that the test names."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from fake_grader import FakeGrader

from graders.course import Exercise
from graders.engine.answer import Answer
from graders.engine.cluster import Site
from graders.engine.verdict import Verdict


def grade_there(course: str, job: str) -> str:
    """Grade by the course in the folder `course`, as a worker does whose installed course that is."""
    return Site(Path(course), _Grader).grade(job)


def pipe_of(course: Path) -> Path:
    """Where an answer that waits to be killed writes its worker's process id, the first time it is graded."""
    return course / "waits"


class _Grader(FakeGrader):
    def grade(self, exercise: Exercise, answer: Answer, *, seed: int) -> Verdict:
        if "# waits to be killed" in answer.cells["double"] and pipe_of(exercise.root).exists():
            with open(pipe_of(exercise.root), "w") as pipe:
                pipe_of(exercise.root).unlink()
                pipe.write(str(os.getpid()))
            threading.Event().wait()
        if "# forges" in answer.cells["double"]:
            seed += 1
        return super().grade(exercise, answer, seed=seed)
