"""Deadlines that are handed down: an instant for a whole request, the smaller of two limits, and no work left behind.

Invariant: a function runs only before the deadline that it was given, and a call ends only after its function has
ended: whatever is slow, nothing works for a caller who has gone.

The idea is that of gRPC and of Go's `context.WithTimeout`: an instant travels with the request, so that queues, retries
and lower levels use up one total. It differs from a plain `asyncio.wait_for` in that:

- the error says which level set the limit, and the TimeoutErrors of lower levels pass unchanged;
- nothing is started under a deadline that has passed;
- a cancellation is never swallowed: on Python 3.11 `wait_for` returns a result that came in the same turn of the loop.

All times are seconds on the deadline's clock, which must advance as the event loop's does.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from shared.resilience.contracts import InvalidHierarchy

__all__ = ["Deadline", "DeadlineExceeded", "call_with_deadline", "validate_hierarchy"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


def _monotonic() -> float:
    return time.monotonic()  # looked up at each call: so it is the simulated time in a simulation


class DeadlineExceeded(TimeoutError):
    """Time is up. `level` is the name of the level that set the limit: maybe far above the one that was called."""

    def __init__(self, level: str) -> None:
        super().__init__(level)
        self.level = level

    def __str__(self) -> str:
        return f"deadline exceeded: the limit of {self.level!r}"


class Deadline:
    """An instant by which something must have ended, and the name of the level that set it.

    Immutable, so thread-safe.
    """

    __slots__ = ("_at", "_clock", "name")

    def __init__(self, at: float, clock: Callable[[], float] = _monotonic, name: str = "deadline") -> None:
        """`at` is an instant on `clock`; it may have passed. Raises ValueError when it is not a number."""
        if math.isnan(at):
            raise ValueError("a deadline is an instant in seconds, not NaN")
        self._at, self._clock, self.name = at, clock, name

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = _monotonic, name: str = "deadline") -> Deadline:
        """The deadline that is `seconds` from now."""
        return cls(clock() + seconds, clock, name)

    def remaining(self) -> float:
        """Seconds left: at most 0 after expiry."""
        return self._at - self._clock()

    def within(self, seconds: float, name: str) -> Deadline:
        """The deadline of a child: `seconds` from now under `name`, or this one where it comes first."""
        at = self._clock() + seconds
        return Deadline(at, self._clock, name) if not at >= self._at else self

    def raise_if_expired(self) -> None:
        """Raise DeadlineExceeded when no time is left: for synchronous code to ask between two steps.

        A thread can't be cancelled from outside. Synchronous code asks here, and gives `remaining()` as a timeout to
        everything that blocks.
        """
        if self.remaining() <= 0:
            raise DeadlineExceeded(self.name)

    def __repr__(self) -> str:
        return f"<Deadline {self.name!r}: {self.remaining():.3g} s left>"


async def call_with_deadline(
    fn: Callable[[Deadline], Awaitable[T]],
    timeout: float,
    parent: Deadline | None = None,
    *,
    name: str | None = None,
    on_expired: Callable[[DeadlineExceeded], object] | None = None,
) -> T:
    """Await `fn(deadline)` for at most `timeout` seconds and what `parent` has left: its value, or its exception.

    `name` names this level, by default as the function. Without time left `fn` is never called. On expiry it is
    cancelled and awaited, however long it takes to clean up; then DeadlineExceeded is raised. If it ends with another
    exception or with a value nevertheless, that is the outcome. Cancelling the caller cancels `fn` and passes on when
    it has ended. `on_expired` is called with each DeadlineExceeded that this call makes; what it raises is logged and
    goes no further.
    """
    level = fn.__name__ if name is None else name  # type: ignore[attr-defined]
    deadline = Deadline.after(timeout, name=level) if parent is None else parent.within(timeout, level)
    remaining = deadline.remaining()
    if remaining <= 0:
        raise _expired(deadline, on_expired)
    passed: TimeoutError | None = None
    try:
        async with asyncio.timeout(remaining):
            try:
                return await fn(deadline)
            except TimeoutError as error:
                passed = error
                raise
    except TimeoutError as error:
        if error is passed:
            raise
        raise _expired(deadline, on_expired) from error
    finally:
        del passed  # the error's traceback holds this frame: no cycle


def validate_hierarchy(tree: Mapping[str, Any]) -> None:
    """Raise InvalidHierarchy with the path to a child whose timeout is no less than its parent's.

    `tree` is `{"name", "timeout", "children": [...]}`; leaves need no `children`. Any depth.
    """
    stack = [(tree["name"], tree)]
    while stack:
        path, node = stack.pop()
        below = [(f"{path}/{child['name']}", child) for child in node.get("children", ())]
        for child_path, child in below:
            if not child["timeout"] < node["timeout"]:
                raise InvalidHierarchy(child_path)
        stack += reversed(below)


def _expired(deadline: Deadline, hook: Callable[[DeadlineExceeded], object] | None) -> DeadlineExceeded:
    error = DeadlineExceeded(deadline.name)
    if hook is not None:
        try:
            hook(error)
        except Exception:
            _log.exception("on_expired failed on %r", error)
    return error
