# wrong: counts the good probes of all half-open periods together: those of a period that ended badly are not forgotten
# fails: half-open-decides
# says: to be rejected: OPEN since 30 s (a probe failed)
# %% solution="circuit-breaker"
import threading
import time
from collections import deque


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.lock = threading.Lock()
        self.window = deque(maxlen=config.window_size)
        self.period = 0
        self.opened_at = 0.0
        self.successes = 0
        self.enter(State.CLOSED)

    def enter(self, state):
        self.state = state
        self.period += 1
        self.permits = self.config.permitted_calls_in_half_open
        self.window.clear()

    def call(self, fn, *args, **kwargs):
        with self.lock:
            period = self.admit()
        started = self.clock()
        try:
            value = fn(*args, **kwargs)
        except self.config.ignored:
            self.give_back(period)
            raise
        except Exception:
            self.record(period, True, self.clock() - started)
            raise
        except BaseException:
            self.give_back(period)
            raise
        self.record(period, False, self.clock() - started)
        return value

    def admit(self):
        if self.state is State.OPEN:
            left = self.opened_at + self.config.wait_duration - self.clock()
            if left > 0:
                raise CircuitOpen(left)
            self.enter(State.HALF_OPEN)
        if self.state is State.HALF_OPEN:
            if self.permits == 0:
                raise CircuitOpen(self.config.wait_duration)
            self.permits -= 1
        return self.period

    def give_back(self, period):
        with self.lock:
            if period == self.period and self.state is State.HALF_OPEN:
                self.permits += 1

    def record(self, period, failed, took):
        slow = took > self.config.slow_call_threshold
        with self.lock:
            if period != self.period:
                return
            if self.state is State.HALF_OPEN:
                self.judge_probe(failed or slow)
            else:
                self.window.append((failed, slow))
                if self.too_bad():
                    self.open()

    def judge_probe(self, bad):
        if bad:
            self.open()
            return
        self.successes += 1
        if self.successes == self.config.permitted_calls_in_half_open:
            self.successes = 0
            self.enter(State.CLOSED)

    def too_bad(self):
        calls = len(self.window)
        if calls < min(self.config.min_calls_to_open, self.config.window_size):
            return False
        failed = sum(failed for failed, slow in self.window)
        slow = sum(slow for failed, slow in self.window)
        return failed / calls >= self.config.error_rate or slow / calls >= self.config.slow_call_rate

    def open(self):
        self.enter(State.OPEN)
        self.opened_at = self.clock()
