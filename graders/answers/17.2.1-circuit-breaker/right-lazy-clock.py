# right: nothing is stored but the instant of opening; `state` is computed when somebody asks
# %% solution="circuit-breaker"
import time
from collections import deque
from threading import Lock


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self._config = config
        self._clock = clock
        self._mutex = Lock()
        self._opened_at = None  # None while closed
        self._probes = set()  # the calls that hold or have used a permit of this half-open period
        self._passed = 0
        self._window = deque()

    @property
    def state(self):
        with self._mutex:
            return self._state()

    def _state(self):
        if self._opened_at is None:
            return State.CLOSED
        if self._clock() < self._opened_at + self._config.wait_duration:
            return State.OPEN
        return State.HALF_OPEN

    def call(self, fn, *args, **kwargs):
        ticket = object()
        with self._mutex:
            now = self._state()
            if now is State.OPEN:
                raise CircuitOpen(self._opened_at + self._config.wait_duration - self._clock())
            if now is State.HALF_OPEN:
                if len(self._probes) >= self._config.permitted_calls_in_half_open:
                    raise CircuitOpen(self._config.wait_duration)
                self._probes.add(ticket)
            window = self._window
        started = self._clock()
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            counted = isinstance(error, Exception) and not isinstance(error, self._config.ignored)
            self._settle(ticket, window, counted, True, started)
            raise
        self._settle(ticket, window, True, False, started)
        return value

    def _settle(self, ticket, window, counted, failed, started):
        slow = self._clock() - started > self._config.slow_call_threshold
        with self._mutex:
            if ticket in self._probes:
                if not counted:
                    self._probes.discard(ticket)
                elif failed or slow:
                    self._trip()
                else:
                    self._passed += 1
                    if self._passed == self._config.permitted_calls_in_half_open:
                        self._opened_at = None
                        self._probes = set()
            elif counted and self._opened_at is None and window is self._window:
                self._judge(failed, slow)

    def _judge(self, failed, slow):
        self._window.append((failed, slow))
        if len(self._window) > self._config.window_size:
            self._window.popleft()
        calls = len(self._window)
        if calls >= self._config.min_calls_to_open or calls == self._config.window_size:
            failures = sum(1 for f, _ in self._window if f)
            slows = sum(1 for _, s in self._window if s)
            if failures / calls >= self._config.error_rate or slows / calls >= self._config.slow_call_rate:
                self._trip()

    def _trip(self):
        self._opened_at = self._clock()
        self._probes = set()
        self._passed = 0
        self._window = deque()  # a new object: results of the old window find that it is gone
