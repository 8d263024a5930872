# right: one lock, a ring of results with running totals, periods numbered
# %% solution="circuit-breaker"
import threading
import time


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.state = State.CLOSED
        self._lock = threading.Lock()
        self._period = 0
        self._opened_at = 0.0
        self._permits = 0
        self._successes = 0
        self._minimum = min(config.min_calls_to_open, config.window_size)
        self._empty()

    def call(self, fn, *args, **kwargs):
        with self._lock:
            period = self._admit()
        start = self.clock()
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, self.config.ignored):
                self._count(period, True, self.clock() - start)
            else:
                self._give_back(period)
            raise
        self._count(period, False, self.clock() - start)
        return value

    def _admit(self):
        if self.state is State.OPEN:
            left = self._opened_at + self.config.wait_duration - self.clock()
            if left > 0:
                raise CircuitOpen(left)
            self._enter(State.HALF_OPEN)
            self._permits = self.config.permitted_calls_in_half_open
            self._successes = 0
        if self.state is State.HALF_OPEN:
            if not self._permits:
                raise CircuitOpen(0.0)
            self._permits -= 1
        return self._period

    def _give_back(self, period):
        with self._lock:
            if period == self._period and self.state is State.HALF_OPEN:
                self._permits += 1

    def _count(self, period, failed, duration):
        slow = duration > self.config.slow_call_threshold
        with self._lock:
            if period != self._period:
                return
            if self.state is State.HALF_OPEN:
                if failed or slow:
                    self._open()
                    return
                self._successes += 1
                if self._successes == self.config.permitted_calls_in_half_open:
                    self._enter(State.CLOSED)
                    self._empty()
                return
            self._push(failed, slow)
            if self._size >= self._minimum and (
                self._failed / self._size >= self.config.error_rate
                or self._slow / self._size >= self.config.slow_call_rate
            ):
                self._open()

    def _push(self, failed, slow):
        if self._size == len(self._ring):
            old_failed, old_slow = self._ring[self._next]
            self._failed -= old_failed
            self._slow -= old_slow
        else:
            self._size += 1
        self._ring[self._next] = (failed, slow)
        self._failed += failed
        self._slow += slow
        self._next = (self._next + 1) % len(self._ring)

    def _empty(self):
        self._ring = [(False, False)] * self.config.window_size
        self._next = self._size = self._failed = self._slow = 0

    def _open(self):
        self._enter(State.OPEN)
        self._opened_at = self.clock()

    def _enter(self, state):
        self.state = state
        self._period += 1
