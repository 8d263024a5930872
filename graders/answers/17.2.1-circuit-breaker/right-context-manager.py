# right: an RLock and a context manager around each call; outcomes are set on a ticket
# %% solution="circuit-breaker"
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Ticket:
    period: int
    start: float


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self._lock = threading.RLock()
        self._period = 0
        self._results = deque(maxlen=config.window_size)
        self._state = State.CLOSED
        self._reopens_at = None
        self._taken = 0
        self._ok = 0

    @property
    def state(self):
        with self._lock:
            self._tick()
            return self._state

    def call(self, fn, *args, **kwargs):
        with self._guard():
            return fn(*args, **kwargs)

    @contextmanager
    def _guard(self):
        ticket = self._take()
        try:
            yield
        except self.config.ignored:
            self._cancel(ticket)
            raise
        except Exception:
            self._done(ticket, True)
            raise
        except BaseException:
            self._cancel(ticket)
            raise
        else:
            self._done(ticket, False)

    def _take(self):
        with self._lock:
            state = self.state
            if state is State.OPEN:
                raise CircuitOpen(self._reopens_at - self.clock())
            if state is State.HALF_OPEN:
                if self._taken >= self.config.permitted_calls_in_half_open:
                    raise CircuitOpen(0)
                self._taken += 1
            return Ticket(self._period, self.clock())

    def _cancel(self, ticket):
        with self._lock:
            if ticket.period == self._period:
                self._taken -= 1

    def _done(self, ticket, failed):
        slow = self.clock() - ticket.start > self.config.slow_call_threshold
        with self._lock:
            if ticket.period != self._period:
                return
            if self.state is State.CLOSED:
                self._results.append((failed, slow))
                if self._over_limit():
                    self._switch(State.OPEN)
            elif failed or slow:
                self._switch(State.OPEN)
            else:
                self._ok += 1
                if self._ok >= self.config.permitted_calls_in_half_open:
                    self._switch(State.CLOSED)

    def _over_limit(self):
        n = len(self._results)
        if n < min(self.config.min_calls_to_open, self.config.window_size):
            return False
        failed, slow = map(sum, zip(*self._results))
        return failed / n >= self.config.error_rate or slow / n >= self.config.slow_call_rate

    def _tick(self):
        if self._state is State.OPEN and self.clock() >= self._reopens_at:
            self._switch(State.HALF_OPEN)

    def _switch(self, state):
        self._state = state
        self._period += 1
        self._taken = self._ok = 0
        if state is State.OPEN:
            self._reopens_at = self.clock() + self.config.wait_duration
        if state is State.CLOSED:
            self._results.clear()
