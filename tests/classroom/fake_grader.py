"""A grader without an engine: the answer's text says how its grading goes, and every grading leaves a line in a log."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from graders.course import Exercise
from graders.engine.answer import Answer
from graders.engine.release import Release
from graders.engine.verdict import CheckVerdict, Verdict


class FakeGrader:
    """Fails the checks that a line `# fails: …` of the answer names; other words end this process, or the batch."""

    def __init__(self, isolation: str) -> None:
        self.isolation = isolation

    def grade(self, exercise: Exercise, answer: Answer, *, seed: int) -> Verdict:
        text = answer.cells.get("double", "")
        with open(log_of(exercise.root), "a") as log:
            log.write(f"{exercise.number} {text.splitlines()[0]}\n")
        if "# ends the worker" in text:
            os._exit(1)
        if "# breaks the grader" in text:
            raise ZeroDivisionError("the grader's own")
        if "# kills the batch" in text and not (exercise.root / "was-killed").exists():
            (exercise.root / "was-killed").touch()
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        fails = text.partition("# fails:")[2].splitlines()[0].split() if "# fails:" in text else []
        checks = tuple(
            CheckVerdict(
                test.id,
                f"Title of {test.id}",
                0 if test.id in fails else test.points,
                test.points,
                status,
                message,
                0.5,
            )
            for test in Release.load(exercise).tests
            for status, message in (("failed", f"<b>no</b> {test.id}") if test.id in fails else ("passed", ""),)
        )
        flags = ("double: line 1 reaches for <script>",) if "# is flagged" in text else ()
        return Verdict(exercise.slug, self.isolation, seed, checks, (*answer.flags, *flags), printed="<i>printed</i>")

    def close(self) -> None:
        pass


def log_of(course: Path) -> Path:
    return course / "graded.log"
