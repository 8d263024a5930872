# right: a threading.Timer turns OPEN into HALF_OPEN
# %% solution="circuit-breaker"
import threading
import time


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.lock = threading.Lock()
        self.state = State.CLOSED
        self.epoch = 0
        self.results = []
        self.half_open_at = 0.0
        self.started = 0
        self.succeeded = 0

    def _open(self):
        self.state = State.OPEN
        self.epoch += 1
        self.half_open_at = self.clock() + self.config.wait_duration
        timer = threading.Timer(self.config.wait_duration, self._half_open)
        timer.daemon = True
        timer.start()

    def _half_open(self):
        with self.lock:
            self.state = State.HALF_OPEN
            self.epoch += 1
            self.started = 0
            self.succeeded = 0

    def _close(self):
        self.state = State.CLOSED
        self.epoch += 1
        self.results = []

    def call(self, fn, *args, **kwargs):
        with self.lock:
            if self.state is State.OPEN:
                raise CircuitOpen(max(0.0, self.half_open_at - self.clock()))
            if self.state is State.HALF_OPEN:
                if self.started == self.config.permitted_calls_in_half_open:
                    raise CircuitOpen(0.0)
                self.started += 1
            epoch = self.epoch
        start = self.clock()
        try:
            value = fn(*args, **kwargs)
        except self.config.ignored:
            self._forget(epoch)
            raise
        except Exception:
            self._record(epoch, failed=True, took=self.clock() - start)
            raise
        except BaseException:
            self._forget(epoch)
            raise
        self._record(epoch, failed=False, took=self.clock() - start)
        return value

    def _forget(self, epoch):
        with self.lock:
            if epoch == self.epoch:
                self.started -= 1

    def _record(self, epoch, failed, took):
        slow = took > self.config.slow_call_threshold
        with self.lock:
            if epoch != self.epoch:
                return
            if self.state is State.CLOSED:
                self.results = (self.results + [(failed, slow)])[-self.config.window_size:]
                n = len(self.results)
                if n >= min(self.config.min_calls_to_open, self.config.window_size):
                    errors = [f for f, s in self.results].count(True)
                    slows = [s for f, s in self.results].count(True)
                    if errors / n >= self.config.error_rate or slows / n >= self.config.slow_call_rate:
                        self._open()
            elif failed or slow:
                self._open()
            else:
                self.succeeded += 1
                if self.succeeded == self.config.permitted_calls_in_half_open:
                    self._close()
