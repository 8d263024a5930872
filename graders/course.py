"""Where the parts of each exercise are: from a number or a slug to its source, notebook, checks and answers.

The sources under `solutions/` are the list of exercises; nothing else repeats it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["COURSE_ROOT", "Exercise", "UnknownExercise", "exercises", "find"]

COURSE_ROOT = Path(__file__).resolve().parent.parent
_SLUG = re.compile(r"(\d+\.\d+\.\d+)-([a-z0-9-]+)")


class UnknownExercise(LookupError):
    """No exercise has that number or slug."""


@dataclass(frozen=True, order=True)
class Exercise:
    """One exercise: `section` is the folder `17.2-resilience`, `slug` is `17.2.1-circuit-breaker`."""

    slug: str
    section: str
    root: Path = COURSE_ROOT

    @property
    def number(self) -> str:
        return self.slug.split("-", 1)[0]

    @property
    def name(self) -> str:
        return self.slug.split("-", 1)[1]

    @property
    def source(self) -> Path:
        return self.root / "solutions" / self.section / f"{self.slug}.py"

    @property
    def golden(self) -> Path:
        return self.source.with_suffix(".ipynb")

    @property
    def notebook(self) -> Path:
        return self.root / "chapters" / self.section / f"{self.slug}.ipynb"

    @property
    def answers(self) -> Path:
        return self.root / "graders" / "answers" / self.slug

    @property
    def module(self) -> str:
        return "graders.ex" + re.sub(r"\W", "_", self.slug)

    @property
    def checks(self) -> Path:
        return self.root / (self.module.replace(".", "/") + ".py")


def exercises(root: Path = COURSE_ROOT) -> list[Exercise]:
    """Every exercise that has a source, in the order of the course."""
    found = [
        Exercise(path.stem, path.parent.name, root)
        for path in (root / "solutions").glob("*/*.py")
        if _SLUG.fullmatch(path.stem)
    ]
    return sorted(found, key=lambda exercise: [int(part) for part in exercise.number.split(".")])


def find(name: str, root: Path = COURSE_ROOT) -> Exercise:
    """The exercise with that number (`17.2.1`) or slug. Raises UnknownExercise, which lists the choices."""
    known = exercises(root)
    for exercise in known:
        if name in (exercise.number, exercise.slug):
            return exercise
    raise UnknownExercise(
        f"There is no exercise {name!r}. Choose one of: {', '.join(e.number for e in known) or 'none yet'}."
    )
