"""The engine with limits so tight that a hostile answer is over soon. Grading processes import it by its name."""

from __future__ import annotations

from graders.engine import Engine, Limits

# The wall clock is generous, but not endless: some answers wait for ever, and a busy machine must harm no classmate.
LIMITS = Limits(
    check_seconds=0.5, answer_seconds=0.9, start_seconds=0.6, wall_factor=8.0, memory=256 << 20, disk=8 << 20
)


def limited_engine(isolation: str) -> Engine:
    return Engine(isolation=isolation, limits=LIMITS, scale=1.0)
