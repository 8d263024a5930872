# wrong: counts failures in a row, as the breaker of an earlier chapter did; a success starts the count again
# fails: opens-on-error-rate, opens-on-slow-calls, window-forgets
# says: call 5 to be rejected: OPEN since 0 s (2 of the last 4 failed, the
# says: it ran, at 0 s
# %% solution="circuit-breaker"
import threading
import time


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.lock = threading.Lock()
        self.period = 0
        self.opened_at = 0.0
        self.enter(State.CLOSED)

    def enter(self, state):
        self.state = state
        self.period += 1
        self.permits = self.config.permitted_calls_in_half_open
        self.successes = 0
        self.in_a_row = self.slow_in_a_row = 0

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
            if period == self.period:
                self.permits += 1

    def record(self, period, failed, took):
        slow = took > self.config.slow_call_threshold
        with self.lock:
            if period != self.period:
                return
            if self.state is State.HALF_OPEN:
                self.judge_probe(failed or slow)
            else:
                self.in_a_row = self.in_a_row + 1 if failed else 0
                self.slow_in_a_row = self.slow_in_a_row + 1 if slow else 0
                if self.too_bad():
                    self.open()

    def judge_probe(self, bad):
        if bad:
            self.open()
            return
        self.successes += 1
        if self.successes == self.config.permitted_calls_in_half_open:
            self.enter(State.CLOSED)

    def too_bad(self):
        limit = min(self.config.min_calls_to_open, self.config.window_size)
        return self.in_a_row >= limit or self.slow_in_a_row >= limit

    def open(self):
        self.enter(State.OPEN)
        self.opened_at = self.clock()
