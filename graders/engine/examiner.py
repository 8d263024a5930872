"""The examiner: runs the trusted check cells, has scenarios driven in a runner, judges the histories, writes a verdict.

It never imports or executes an answer. A check without its record has no points.
"""

from __future__ import annotations

import builtins
import hashlib
import secrets
import time
from types import TracebackType
from typing import Any

from graders.course import Exercise, find
from graders.engine.answer import Answer
from graders.engine.isolation import DEFAULT_ISOLATION, Isolation, IsolationUnavailable, isolation_named
from graders.engine.limits import DEFAULT_LIMITS, Limits
from graders.engine.material import Material
from graders.engine.release import ExerciseBroken, TestCell
from graders.engine.session import Session
from graders.engine.verdict import CheckVerdict, Verdict
from graders.engine.warm import Warm
from graders.kit import Card, Check, Checks, Result, examine

__all__ = ["OFFICIAL_SCALE", "Engine", "grade"]

OFFICIAL_SCALE = 2.0
"""How many scenarios official grading draws for each one that a notebook draws."""

_SEEDS = 1 << 32


def grade(
    exercise: str | Exercise,
    answer: Answer,
    *,
    seed: int | None = None,
    isolation: str | Isolation = DEFAULT_ISOLATION,
    limits: Limits = DEFAULT_LIMITS,
) -> Verdict:
    """Grade one answer. Without `seed`, a secret one is drawn; the verdict records it, and it replays the grading.

    Raises UnknownExercise, ExerciseBroken or IsolationUnavailable; whatever the answer does becomes a status.
    """
    with Engine(isolation=isolation, limits=limits) as engine:
        return engine.grade(exercise, answer, seed=seed)


class Engine:
    """Grades many answers from one warm process, which serves one exercise at a time.

    Not thread-safe: use one engine in each thread or process that grades. Close it, or use it as a context manager; its
    processes also end when this process is killed.
    """

    def __init__(
        self,
        *,
        isolation: str | Isolation = DEFAULT_ISOLATION,
        limits: Limits = DEFAULT_LIMITS,
        scale: float = OFFICIAL_SCALE,
    ) -> None:
        """`scale`: how many scenarios are drawn, as a multiple of what a notebook draws."""
        self._isolation = isolation_named(isolation) if isinstance(isolation, str) else isolation
        self._limits = limits
        self._scale = scale
        self._warm: Warm | None = None

    def grade(self, exercise: str | Exercise, answer: Answer, *, seed: int | None = None) -> Verdict:
        """Grade one answer. See `graders.engine.grade`."""
        seed = secrets.randbelow(_SEEDS) if seed is None else seed
        warm = self._warm_for(find(exercise) if isinstance(exercise, str) else exercise)
        material = warm.material
        session = Session(warm, answer)
        try:
            checks = tuple(_examined(test, material, session, seed, self._scale) for test in material.release.tests)
        finally:
            session.close()
        return Verdict(
            exercise=material.exercise.slug,
            isolation=self._isolation.name,
            seed=seed,
            checks=checks,
            flags=(*answer.flags, *session.flags, *answer.suspicious()),
            manual=tuple({"id": cell.id, "max": cell.points} for cell in material.release.manual),
            printed=session.printed,
        )

    def close(self) -> None:
        """End the warm process and whatever was forked from it."""
        if self._warm is not None:
            self._warm.close()
            self._warm = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _warm_for(self, exercise: Exercise) -> Warm:
        if self._warm is None or self._warm.material.exercise != exercise:
            self.close()
            self._warm = Warm(Material.load(exercise), self._isolation, self._limits)
        return self._warm


class Handle:
    """Stands for an object of the answer, in the examiner: its name, and nothing else."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Names(dict[str, Any]):
    """The names of a check cell: `check`, what the cell itself binds, the built-in ones, and a handle for any other."""

    def __missing__(self, name: str) -> Handle:
        if hasattr(builtins, name):
            raise KeyError(name)
        return Handle(name)


def _examined(test: TestCell, material: Material, session: Session, seed: int, scale: float) -> CheckVerdict:
    """Run one trusted check cell. It has points only if a check was recorded and every recorded one passed."""
    results: list[Result] = []

    def run(check: Check, answers: Handle | tuple[Handle, ...]) -> None:
        handles = answers if isinstance(answers, tuple) else (answers,)
        if words := session.unanswered():
            card = Card(check.id, check.title, expected="this part to be written", observed=words, hint=check.hint)
            results.append(Result(check, "unanswered", card))
            return
        digest = hashlib.sha256(f"{seed}/{check.id}".encode()).digest()
        drive = session.driver(check, tuple(handle.name for handle in handles))
        results.append(examine(check, drive, seed=int.from_bytes(digest[:4]), scale=scale))

    began = time.monotonic()
    try:
        code = compile(test.source, f"<check {test.id}>", "exec")
        exec(code, {"__builtins__": builtins}, _Names(check=Checks(material.checks, run)))
    except (IsolationUnavailable, ExerciseBroken):
        raise
    except Exception as error:
        return _without_record(test, material, f"its cell failed with {type(error).__name__}: {error}")
    if not results:
        return _without_record(test, material, "its cell ran no check")
    result = next((result for result in results if not result.passed), results[0])
    return CheckVerdict(
        id=test.id,
        title=result.check.title,
        points=test.points if result.passed else 0,
        max=test.points,
        status=result.status,
        message=result.message,
        seconds=round(time.monotonic() - began, 3),
        card=result.card.as_json() if result.card else None,
    )


def _without_record(test: TestCell, material: Material, words: str) -> CheckVerdict:
    title = material.checks[test.id].title if test.id in material.checks else test.id
    card = Card(
        test.id, title, observed=f"nothing, because {words}; this is a fault of the course, tell your instructor"
    )
    return CheckVerdict(test.id, title, 0, test.points, "error", card.text(), card=card.as_json())
