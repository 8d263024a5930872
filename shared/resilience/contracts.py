"""Names that learners, references and checks of section 17.2 share: configurations, states, errors; no mechanism."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = [
    "Answer",
    "BackoffConfig",
    "BreakerConfig",
    "CircuitOpen",
    "HttpError",
    "InvalidHierarchy",
    "State",
    "TenantLimit",
    "is_retryable",
]


class State(Enum):
    """The three states of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class BreakerConfig:
    """When a circuit breaker opens, how long it waits, how it probes. Times are seconds, rates are fractions of calls.

    Raises ValueError for a value that no breaker could honour.
    """

    error_rate: float = 0.5
    slow_call_rate: float = 0.8
    slow_call_threshold: float = 2.0
    window_size: int = 100
    min_calls_to_open: int = 10
    wait_duration: float = 30.0
    permitted_calls_in_half_open: int = 3
    ignored: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for name in ("error_rate", "slow_call_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is a fraction of calls: 0 < {name} <= 1, not {getattr(self, name)!r}")
        for name in ("window_size", "min_calls_to_open", "permitted_calls_in_half_open"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} counts calls: at least 1, not {getattr(self, name)!r}")
        for name in ("slow_call_threshold", "wait_duration"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is a duration in seconds: not negative, not {getattr(self, name)!r}")


class CircuitOpen(Exception):
    """The breaker rejected the call without making it. `retry_after` is the time left of the wait, in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"circuit open, retry in {self.retry_after:.3g} s"


@dataclass(frozen=True)
class BackoffConfig:
    """How often and how late to try again. Delays are seconds; `max_attempts` counts the first call.

    Raises ValueError for a value that no retry could honour.
    """

    initial_delay: float = 0.1
    max_delay: float = 10.0
    max_attempts: int = 5
    multiplier: float = 2.0

    def __post_init__(self) -> None:
        if not (self.initial_delay >= 0 and self.max_delay >= 0):
            raise ValueError("initial_delay and max_delay are durations in seconds: not negative")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts counts the first call: at least 1, not {self.max_attempts!r}")
        if self.multiplier < 1:
            raise ValueError(f"multiplier makes delays grow: at least 1, not {self.multiplier!r}")


class HttpError(Exception):
    """A response that is an error. `retry_after` is what the server asked for, in seconds, or None."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after = retry_after


def is_retryable(error: BaseException) -> bool:
    """True for what may pass by itself: a lost or refused connection, a timeout, HTTP 5xx and 429. The rest is not."""
    if isinstance(error, HttpError):
        return error.status >= 500 or error.status == 429
    return isinstance(error, ConnectionError | TimeoutError)


@dataclass(frozen=True)
class TenantLimit:
    """One tenant's share: calls that may run at a time, and calls that may wait for one of those places.

    Raises ValueError for a share in which nothing could ever run.
    """

    max_concurrent: int
    max_waiting: int

    def __post_init__(self) -> None:
        if self.max_concurrent < 1:
            raise ValueError(f"max_concurrent counts running calls: at least 1, not {self.max_concurrent!r}")
        if self.max_waiting < 0:
            raise ValueError(f"max_waiting counts waiting calls: not negative, not {self.max_waiting!r}")


@dataclass(frozen=True)
class Answer:
    """What a user gets, and how far down the service had to go for it: "live", "cache" or "static"."""

    items: list[Any]
    level: str


class InvalidHierarchy(ValueError):
    """A timeout that is no shorter than its parent's. `path` names it from the root: `request/service/db`."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: its timeout is not less than its parent's")
        self.path = path
