"""Names that learners, references and checks of section 17.1 share: snapshots, context, errors; no mechanism."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["PoolSnapshot", "Saturated", "correlation_id", "process_item"]

R = TypeVar("R")


class Saturated(Exception):
    """A worker pool refused a task: all workers are busy and its queue is full."""


@dataclass(frozen=True)
class PoolSnapshot:
    """What a worker pool can say about itself at one instant: the five questions of the on-call, answered."""

    queued: int  # tasks accepted and not started
    active: int  # workers that run a task
    idle: int  # workers that run none
    p99_60s: float | None  # 99th percentile of the run time of tasks that ended in the last 60 s, in seconds
    failed_5m: int  # tasks that raised in the last 300 s
    rejecting: bool  # a task was refused in the last 60 s


correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
"""What ties the log lines and spans of one request together; None outside of any request."""


def process_item(item: Callable[[], R]) -> R:
    """Do the work on one item of a request: call it. It may raise, and may open spans of its own."""
    return item()
