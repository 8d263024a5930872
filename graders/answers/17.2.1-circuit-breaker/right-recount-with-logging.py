# right: recounts the whole window at every result; logs to stderr, prints, has more public methods, type hints, a Condition
# %% solution="circuit-breaker"
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
log = logging.getLogger("breaker")


class Sample(NamedTuple):
    failed: bool
    slow: bool


class CircuitBreaker:
    """A breaker that tells what it does."""

    def __init__(self, config: "BreakerConfig", clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.clock = clock
        self._changed = threading.Condition()
        self._state = State.CLOSED
        self._version = 0
        self._samples: list[Sample] = []
        self._opened_at = float("-inf")
        self._in_flight = 0
        self._good = 0

    @property
    def state(self) -> "State":
        with self._changed:
            if self._state is State.OPEN and self.remaining_wait() <= 0:
                self._move(State.HALF_OPEN)
            return self._state

    def remaining_wait(self) -> float:
        return self._opened_at + self.config.wait_duration - self.clock()

    def error_rate(self) -> float:
        with self._changed:
            return sum(s.failed for s in self._samples) / max(1, len(self._samples))

    def wait_for(self, state: "State", timeout: float | None = None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._state is state, timeout)

    def call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        version = self._enter()
        began = self.clock()
        try:
            result = fn(*args, **kwargs)
        except BaseException as exc:
            if not isinstance(exc, Exception) or isinstance(exc, self.config.ignored):
                self._leave(version, None)
            else:
                log.warning("call failed", exc_info=True)
                self._leave(version, Sample(True, self.clock() - began > self.config.slow_call_threshold))
            raise
        self._leave(version, Sample(False, self.clock() - began > self.config.slow_call_threshold))
        return result

    def _enter(self) -> int:
        with self._changed:
            state = self.state
            if state is State.OPEN:
                log.warning("rejected")
                raise CircuitOpen(self.remaining_wait())
            if state is State.HALF_OPEN:
                if self._in_flight + self._good >= self.config.permitted_calls_in_half_open:
                    raise CircuitOpen(1.0)
                self._in_flight += 1
            return self._version

    def _leave(self, version: int, sample: Sample | None) -> None:
        with self._changed:
            if version != self._version:
                return
            if self._state is State.HALF_OPEN:
                self._in_flight -= 1
                if sample is None:
                    return
                if sample.failed or sample.slow:
                    self._move(State.OPEN)
                    return
                self._good += 1
                if self._good == self.config.permitted_calls_in_half_open:
                    self._move(State.CLOSED)
            elif sample is not None:
                self._samples.append(sample)
                del self._samples[: -self.config.window_size]
                if self._too_bad():
                    self._move(State.OPEN)

    def _too_bad(self) -> bool:
        calls = len(self._samples)
        if calls < min(self.config.min_calls_to_open, self.config.window_size):
            return False
        failed = sum(sample.failed for sample in self._samples) / calls
        slow = sum(sample.slow for sample in self._samples) / calls
        return failed >= self.config.error_rate or slow >= self.config.slow_call_rate

    def _move(self, state: "State") -> None:
        print(f"{self._state.name} -> {state.name}")
        log.error("%s -> %s", self._state.name, state.name)
        self._state = state
        self._version += 1
        self._in_flight = self._good = 0
        self._samples = []
        if state is State.OPEN:
            self._opened_at = self.clock()
        self._changed.notify_all()
