"""What a controlled run leaves behind: plain values, independent of the threads that made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schedule = dict[int, str]
"""Step → name of the thread (or asyncio task) that goes on there: only the deviations from the default order."""


@dataclass(frozen=True)
class Failure:
    """What went wrong in one run.

    `kind` is "exception", "thread-exception", "invariant", "deadlock", "livelock", "leak" or "hang". `threads` has one
    dict per thread that had not ended: name, state, operation, at, waits_for and held_by (None unless it waits for a
    lock), and holds, the locks of its own that others wait for.
    """

    kind: str
    message: str
    error: BaseException | None = None
    threads: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Switch:
    """One passing of the baton: `stopped` gave it up at `at` (file, line) for `reason`, and `resumed` went on.

    `chosen` is true for a deviation from the default order.
    """

    step: int
    stopped: str
    reason: str
    at: tuple[str, int] | None
    resumed: str
    chosen: bool


@dataclass(frozen=True)
class Outcome:
    """The result of one controlled run.

    `value` is what the program returned; `schedule` are the deviations that were taken, so that the run can be
    replayed; `elapsed` is in virtual seconds; `leaked` names the threads that had not ended with the program;
    `thread_errors` are the exceptions that ended other threads; `switches` is filled in recorded runs only.
    """

    value: Any
    failure: Failure | None
    schedule: Schedule
    steps: int
    elapsed: float
    leaked: tuple[str, ...] = ()
    thread_errors: tuple[tuple[str, BaseException], ...] = ()
    switches: tuple[Switch, ...] = ()


class Deadlock(RuntimeError):
    """Every thread of a run in virtual time waits, and no deadline can end a wait."""


class Stuck(RuntimeError):
    """A run in virtual time made no progress: a livelock, or a thread blocked outside control."""
