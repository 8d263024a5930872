"""The trusted parts of an exercise: its release notebook, its checks, and what must be withheld from answers."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from graders.course import Exercise
from graders.engine.release import ExerciseBroken, Release
from graders.engine.runner import check_module, imports_of
from graders.kit import Check, checks_in

__all__ = ["Material"]


@dataclass(frozen=True)
class Material:
    """What the examiner knows about one exercise. `source` is the text of the check module `module`."""

    exercise: Exercise
    release: Release
    source: str
    module: ModuleType
    checks: dict[str, Check]

    @classmethod
    def load(cls, exercise: Exercise) -> Material:
        """Raises ExerciseBroken where a part is missing."""
        release = Release.load(exercise)
        try:
            source = exercise.checks.read_text(encoding="utf-8")
        except OSError:
            raise ExerciseBroken(f"{exercise.slug} has no checks: {exercise.checks.name} cannot be read.") from None
        module = check_module(source, exercise.module, str(exercise.checks))
        return cls(exercise, release, source, module, checks_in(module))

    @property
    def withheld(self) -> tuple[str, ...]:
        """The modules that hold what the exercise asks for."""
        reference = getattr(self.module, "REFERENCE", ())
        return (reference,) if isinstance(reference, str) else tuple(reference)

    @property
    def imports(self) -> list[str]:
        """What a warm process imports, so that no answer has to: the imports of the set-up cells."""
        return imports_of(self.release.setup)
