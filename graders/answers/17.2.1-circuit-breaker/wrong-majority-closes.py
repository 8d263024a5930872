# wrong: waits for all probes and closes when most of them succeeded
# fails: half-open-decides, open-rejects-for-the-wait
# says: call 7 to be rejected: OPEN since 15 s (a probe failed), 10 s of the
# says: it ran, at 15 s
# %% solution="circuit-breaker"
import threading
import time


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self._lock = threading.Lock()
        self._minimum = min(config.min_calls_to_open, config.window_size)
        self._period = 0
        self._change(State.CLOSED)

    @property
    def state(self):
        return self._state

    def _change(self, state):
        self._state = state
        self._since = self.clock()
        self._period += 1
        self._running = 0
        self._passed = 0
        self._ring = [None] * self.config.window_size
        self._position = 0
        self._total = 0
        self._failed = 0
        self._slow = 0

    def call(self, fn, *args, **kwargs):
        with self._lock:
            if self._state is State.OPEN:
                left = self._since + self.config.wait_duration - self.clock()
                if left > 0:
                    raise CircuitOpen(left)
                self._change(State.HALF_OPEN)
            if self._state is State.HALF_OPEN:
                if self._running + self._passed >= self.config.permitted_calls_in_half_open:
                    raise CircuitOpen(self.config.wait_duration)
                self._running += 1
            period = self._period
        start = self.clock()
        try:
            result = fn(*args, **kwargs)
        except Exception as error:
            if isinstance(error, self.config.ignored):
                self._release(period)
            else:
                self._finish(period, True, self.clock() - start)
            raise
        except BaseException:
            self._release(period)
            raise
        self._finish(period, False, self.clock() - start)
        return result

    def _release(self, period):
        with self._lock:
            if period == self._period:
                self._running -= 1

    def _finish(self, period, failed, duration):
        slow = duration > self.config.slow_call_threshold
        with self._lock:
            if period != self._period:
                return
            if self._state is State.HALF_OPEN:
                self._running -= 1
                self._passed += 1
                self._failed += failed or slow
                if self._passed == self.config.permitted_calls_in_half_open:
                    better = self._failed < self._passed / 2
                    self._change(State.CLOSED if better else State.OPEN)
                return
            self._add(failed, slow)
            if self._total < self._minimum:
                return
            if self._failed >= self.config.error_rate * self._total:
                self._change(State.OPEN)
            elif self._slow >= self.config.slow_call_rate * self._total:
                self._change(State.OPEN)

    def _add(self, failed, slow):
        old = self._ring[self._position]
        self._ring[self._position] = (failed, slow)
        self._position = (self._position + 1) % self.config.window_size
        if old is None:
            self._total += 1
        else:
            self._failed -= old[0]
            self._slow -= old[1]
        self._failed += failed
        self._slow += slow
