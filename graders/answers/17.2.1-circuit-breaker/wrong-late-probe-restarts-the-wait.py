# wrong: a probe that fails after its half-open period has fallen back to open restarts the wait
# fails: open-rejects-for-the-wait
# says: and must not count
# %% solution="circuit-breaker"
import threading
import time

class _Ring:
    """The last `size` results as two bits each, and how many of each bit are set."""

    def __init__(self, size):
        self.cells = bytearray(size)
        self.clear()

    def clear(self):
        self.at = self.filled = self.failed = self.slow = 0

    def put(self, failed, slow):
        if self.filled == len(self.cells):
            old = self.cells[self.at]
            self.failed -= old & 1
            self.slow -= old >> 1
        else:
            self.filled += 1
        self.cells[self.at] = failed | slow << 1
        self.failed += failed
        self.slow += slow
        self.at = (self.at + 1) % len(self.cells)


class _Slot:
    """One admitted call: entered before the function, left with its result."""

    __slots__ = ("breaker", "epoch", "started")

    def __init__(self, breaker, epoch):
        self.breaker, self.epoch = breaker, epoch

    def __enter__(self):
        self.started = self.breaker._clock()
        return self

    def __exit__(self, kind, error, trace):
        ended = self.breaker._clock()
        cfg = self.breaker._config
        neutral = kind is not None and (not issubclass(kind, Exception) or issubclass(kind, cfg.ignored))
        if neutral:
            self.breaker._undo(self.epoch)
        else:
            self.breaker._count(self.epoch, kind is not None, ended - self.started > cfg.slow_call_threshold, ended)
        return False


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self._config, self._clock = config, clock
        self._lock = threading.Lock()
        self._ring = _Ring(config.window_size)
        self._needed = min(config.window_size, config.min_calls_to_open)
        self._epoch = 0
        self._open_until = float("-inf")
        self._tokens = self._left = 0
        self._probed = -1
        self.state = State.CLOSED

    def call(self, fn, *args, **kwargs):
        with self._admit():
            return fn(*args, **kwargs)

    def _move(self, state):  # under the lock
        if state is not self.state:
            self._epoch += 1
        self.state = state

    def _admit(self):
        with self._lock:
            if self.state is State.OPEN:
                left = self._open_until - self._clock()
                if left > 0:
                    raise CircuitOpen(left)
                self._tokens = self._left = self._config.permitted_calls_in_half_open
                self._move(State.HALF_OPEN)
                self._probed = self._epoch
            if self.state is State.HALF_OPEN:
                if self._tokens == 0:
                    raise CircuitOpen(self._config.wait_duration)
                self._tokens -= 1
            return _Slot(self, self._epoch)

    def _undo(self, epoch):
        with self._lock:
            if epoch == self._epoch and self.state is State.HALF_OPEN:
                self._tokens += 1

    def _count(self, epoch, failed, slow, now):
        with self._lock:
            reopened = self.state is State.OPEN and epoch == self._epoch - 1 and self._probed == epoch
            if epoch != self._epoch and not reopened:
                return
            if self.state is State.HALF_OPEN or reopened:
                if failed or slow:
                    self._trip(now)
                else:
                    self._left -= 1
                    if self._left == 0:
                        self._ring.clear()
                        self._move(State.CLOSED)
                return
            ring = self._ring
            ring.put(int(failed), int(slow))
            if ring.filled >= self._needed and (
                ring.failed / ring.filled >= self._config.error_rate
                or ring.slow / ring.filled >= self._config.slow_call_rate
            ):
                self._trip(now)

    def _trip(self, now):
        self._open_until = now + self._config.wait_duration
        self._move(State.OPEN)
