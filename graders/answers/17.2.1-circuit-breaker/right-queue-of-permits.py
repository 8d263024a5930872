# right: every half-open period has its own queue of probe permits, a semaphore guards the counters
# %% solution="circuit-breaker"
import queue
import threading
import time


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.state = State.CLOSED
        self._guard = threading.BoundedSemaphore(1)
        self._window = []
        self._permits = None
        self._wanted = 0
        self._opened = None

    def call(self, fn, *args, **kwargs):
        with self._guard:
            if self.state is State.OPEN:
                passed = self.clock() - self._opened
                if passed < self.config.wait_duration:
                    raise CircuitOpen(self.config.wait_duration - passed)
                self._new_probes()
            window, permits = self._window, self._permits
        permit = None
        if permits is not None:
            try:
                permit = permits.get_nowait()
            except queue.Empty:
                raise CircuitOpen(0.1) from None
        t = self.clock()
        failed = False
        try:
            return fn(*args, **kwargs)
        except BaseException as e:
            failed = True
            if isinstance(e, self.config.ignored) or not isinstance(e, Exception):
                failed = None
            raise
        finally:
            slow = self.clock() - t > self.config.slow_call_threshold
            if failed is None:
                if permits is not None:
                    permits.put(permit)  # an old queue is read by nobody any more
            else:
                with self._guard:
                    if permits is not self._permits or window is not self._window:
                        pass
                    elif permits is not None:
                        self._probed(failed or slow)
                    else:
                        self._counted(failed, slow)

    def _new_probes(self):
        self.state = State.HALF_OPEN
        self._permits = queue.SimpleQueue()
        self._wanted = self.config.permitted_calls_in_half_open
        for n in range(self._wanted):
            self._permits.put(n)

    def _probed(self, bad):
        self._wanted -= 1
        if bad:
            self._trip()
        elif self._wanted == 0:
            self.state = State.CLOSED
            self._permits = None
            self._window = []

    def _counted(self, failed, slow):
        c = self.config
        self._window.append((failed, slow))
        if len(self._window) > c.window_size:
            self._window.pop(0)
        total = len(self._window)
        if total >= min(c.min_calls_to_open, c.window_size):
            if sum(f for f, _ in self._window) / total >= c.error_rate:
                self._trip()
            elif sum(s for _, s in self._window) / total >= c.slow_call_rate:
                self._trip()

    def _trip(self):
        self.state = State.OPEN
        self._opened = self.clock()
        self._permits = None
        self._window = []
