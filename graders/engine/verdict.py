"""The examiner's record of one graded answer. A check without an entry has no points.

A verdict is plain data: the same answer and seed give the same JSON, `seconds` apart.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["STATUSES", "CheckVerdict", "Verdict"]

STATUSES = ("passed", "failed", "error", "timeout", "crashed", "out_of_memory", "refused", "unanswered")


@dataclass(frozen=True)
class CheckVerdict:
    """How one check ended. `message` is plain text for the learner; `card` is what `graders.kit.Card` is made from."""

    id: str
    title: str
    points: float
    max: float
    status: str
    message: str = ""
    seconds: float = 0.0
    card: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"a check ends as one of {', '.join(STATUSES)}, not {self.status!r}")
        if self.points and self.status != "passed":
            raise ValueError("only a passed check has points")


@dataclass(frozen=True)
class Verdict:
    """One graded answer. `score` and `max` count automatic points only; `manual` lists what a person still grades.

    `printed` is what the answer wrote to its standard streams, cut at the limit. It may hold addresses and times, so it
    is no part of the JSON unless asked for.
    """

    exercise: str
    isolation: str
    seed: int
    checks: tuple[CheckVerdict, ...]
    flags: tuple[str, ...] = ()
    manual: tuple[dict[str, Any], ...] = ()
    printed: str = field(default="", compare=False)

    @property
    def score(self) -> float:
        return sum(check.points for check in self.checks)

    @property
    def max(self) -> float:
        return sum(check.max for check in self.checks)

    def as_json(self, *, printed: bool = False) -> dict[str, Any]:
        document = {
            "exercise": self.exercise,
            "score": self.score,
            "max": self.max,
            "isolation": self.isolation,
            "seed": self.seed,
            "checks": [asdict(check) for check in self.checks],
            "flags": list(self.flags),
            "manual": list(self.manual),
        }
        return document | {"printed": self.printed} if printed else document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Verdict:
        return cls(
            exercise=document["exercise"],
            isolation=document["isolation"],
            seed=document["seed"],
            checks=tuple(CheckVerdict(**check) for check in document["checks"]),
            flags=tuple(document["flags"]),
            manual=tuple(document["manual"]),
            printed=document.get("printed", ""),
        )

    def dumps(self, *, printed: bool = False) -> str:
        """One JSON object in ASCII."""
        return json.dumps(self.as_json(printed=printed))
