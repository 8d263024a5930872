"""Checks in a notebook: `check = checks_for("17.2.1")`, then `check.opens_on_error_rate(CircuitBreaker)`.

A check that holds prints one line; one that fails shows its card and raises, so that Run All and Validate stop there.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from graders.course import COURSE_ROOT, find
from graders.kit.check import Check, checks_in

__all__ = ["CheckFailed", "Checks", "checks_for"]

_SEED = 17


class CheckFailed(AssertionError):
    """A check did not hold. Its traceback is the card's text alone, or one line where the card was shown as HTML."""

    def __init__(self, summary: str, traceback: str) -> None:
        super().__init__(summary)
        self._traceback = traceback

    def _render_traceback_(self) -> list[str]:
        return self._traceback.splitlines()


class Checks:
    """The checks of one exercise, each an attribute that takes the answer; `dir()` lists them."""

    def __init__(self, checks: dict[str, Check], run: Callable[[Check, Any], Any]) -> None:
        self._checks = {check.attribute: check for check in checks.values()}
        self._run = run

    def __dir__(self) -> list[str]:
        return list(self._checks)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            check = self.__dict__["_checks"][name]
        except KeyError:
            raise AttributeError(
                f"There is no check {name!r}. Choose one of: {', '.join(self.__dict__.get('_checks', ()))}."
            ) from None

        def call(*answers: Any) -> Any:
            if not answers:
                raise TypeError(f"Give the check what you wrote: check.{name}(YourClass)")
            return self._run(check, answers[0] if len(answers) == 1 else answers)

        call.__name__ = name
        call.__doc__ = check.title
        return call


def checks_for(exercise: str) -> Checks:
    """The checks of an exercise, run in this process. Raises UnknownExercise."""
    # Hypothesis leaves a folder where it runs, even without a database; keep it out of the chapters.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(COURSE_ROOT / "build" / "hypothesis"))
    return Checks(checks_in(importlib.import_module(find(exercise).module)), _run_here)


def _run_here(check: Check, answer: Any) -> None:
    from graders.kit.examine import examine
    from graders.kit.play import play_each

    result = examine(check, functools.partial(play_each, check, answer), seed=_SEED)
    if result.passed:
        print(f"✓ {check.title}")
        return
    if result.status == "unanswered":
        raise _not_written(check)
    shown = _show_html(result.card)
    summary = f"{check.id}: expected {result.card.expected}; observed {result.card.observed}"
    raise CheckFailed(summary, summary if shown else result.card.text()) from None


def _not_written(check: Check) -> NotImplementedError:
    words = f"{check.id}: this part is not written yet. Fill in the solution cell, run it, then run this check again."
    error = NotImplementedError(words)
    error._render_traceback_ = lambda: [f"NotImplementedError: {words}"]  # type: ignore[attr-defined]
    return error


def _show_html(card: Any) -> bool:
    """Show the card where a rich front end listens; say whether there was one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return False
    shell.display_pub.publish({"text/html": card.html(), "text/plain": card.text()})
    return True
