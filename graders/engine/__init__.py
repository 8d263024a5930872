"""Grades answers: rebuild, run apart, examine. Points exist only as the examiner's own record.

`grade("17.2.1", answer)` grades one answer in the sandbox; `Engine` keeps its warm process for many.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graders.engine.answer import Answer, BadAnswer, read_answer
    from graders.engine.examiner import Engine, grade
    from graders.engine.isolation import DEFAULT_ISOLATION, ISOLATIONS, IsolationUnavailable
    from graders.engine.limits import Limits
    from graders.engine.release import ExerciseBroken
    from graders.engine.verdict import CheckVerdict, Verdict

__all__ = [
    "DEFAULT_ISOLATION",
    "ISOLATIONS",
    "Answer",
    "BadAnswer",
    "CheckVerdict",
    "Engine",
    "ExerciseBroken",
    "IsolationUnavailable",
    "Limits",
    "Verdict",
    "grade",
    "read_answer",
]

_HOME = {
    "DEFAULT_ISOLATION": "isolation",
    "ISOLATIONS": "isolation",
    "IsolationUnavailable": "isolation",
    "Answer": "answer",
    "BadAnswer": "answer",
    "read_answer": "answer",
    "Engine": "examiner",
    "grade": "examiner",
    "Limits": "limits",
    "ExerciseBroken": "release",
    "CheckVerdict": "verdict",
    "Verdict": "verdict",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the process that runs answers loads this package without the examiner."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
