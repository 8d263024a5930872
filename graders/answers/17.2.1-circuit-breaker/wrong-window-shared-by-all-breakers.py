# wrong: the window is a class attribute: all breakers share it
# fails: opens-on-error-rate
# says: call 4 to run: CLOSED, no rate before 3 results and there is 1
# says: it was rejected, at 0 s
# %% solution="circuit-breaker"
import threading
import time


class CircuitBreaker:
    _results = []

    def __init__(self, config, clock=time.monotonic):
        self.cfg = config
        self.clock = clock
        self._lock = threading.RLock()
        self._generation = 0
        self._until = None
        self._probes = 0
        self._good = 0
        self.state = State.CLOSED

    def call(self, fn, *args, **kwargs):
        generation = self._before()
        start = self.clock()
        failed = False
        counted = True
        try:
            return fn(*args, **kwargs)
        except BaseException as error:
            failed = True
            counted = isinstance(error, Exception) and not isinstance(error, self.cfg.ignored)
            raise
        finally:
            slow = self.clock() - start > self.cfg.slow_call_threshold
            self._after(generation, counted, failed, slow)

    def _before(self):
        with self._lock:
            if self.state is State.OPEN:
                now = self.clock()
                if now < self._until:
                    raise CircuitOpen(self._until - now)
                self._go(State.HALF_OPEN)
            if self.state is State.HALF_OPEN:
                if self._probes >= self.cfg.permitted_calls_in_half_open:
                    raise CircuitOpen(0.0)
                self._probes += 1
            return self._generation

    def _after(self, generation, counted, failed, slow):
        with self._lock:
            if generation != self._generation:
                return
            if not counted:
                self._probes -= 1
            elif self.state is State.HALF_OPEN:
                if failed or slow:
                    self._trip()
                else:
                    self._good += 1
                    if self._good == self.cfg.permitted_calls_in_half_open:
                        self._go(State.CLOSED)
            elif self.state is State.CLOSED:
                self._results.append((failed, slow))
                if len(self._results) > self.cfg.window_size:
                    self._results.pop(0)
                n = len(self._results)
                if n >= min(self.cfg.min_calls_to_open, self.cfg.window_size):
                    errors = sum(1 for f, s in self._results if f)
                    slows = sum(1 for f, s in self._results if s)
                    if errors / n >= self.cfg.error_rate or slows / n >= self.cfg.slow_call_rate:
                        self._trip()

    def _go(self, state):
        self.state = state
        self._generation += 1
        self._probes = 0
        self._good = 0
        self._results.clear()

    def _trip(self):
        self._go(State.OPEN)
        self._until = self.clock() + self.cfg.wait_duration
