# right: the whole state is one immutable tuple, replaced by compare-and-swap
# %% solution="circuit-breaker"
import threading
import time
from typing import NamedTuple


class Snapshot(NamedTuple):
    state: State = State.CLOSED
    generation: int = 0
    window: tuple = ()
    until: float = 0.0
    permits: int = 0
    missing: int = 0


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self._config = config
        self._clock = clock
        self._now = Snapshot()
        self._swap_lock = threading.Lock()

    @property
    def state(self):
        return self._now.state

    def _swap(self, old, new):
        with self._swap_lock:
            if self._now is not old:
                return False
            self._now = new
            return True

    def call(self, fn, *args, **kwargs):
        while True:
            old = self._now
            new = self._entered(old)
            if new is old or self._swap(old, new):
                break
        generation = new.generation
        start = self._clock()
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            counts = isinstance(error, Exception) and not isinstance(error, self._config.ignored)
            self._exit(generation, True if counts else None, start)
            raise
        self._exit(generation, False, start)
        return value

    def _exit(self, generation, failed, start):
        slow = self._clock() - start > self._config.slow_call_threshold
        while True:
            old = self._now
            if old.generation != generation or self._swap(old, self._after(old, failed, slow)):
                return

    def _entered(self, now):
        if now.state is State.OPEN:
            if self._clock() < now.until:
                raise CircuitOpen(now.until - self._clock())
            probes = self._config.permitted_calls_in_half_open
            now = Snapshot(State.HALF_OPEN, now.generation + 1, permits=probes, missing=probes)
        if now.state is State.HALF_OPEN:
            if now.permits == 0:
                raise CircuitOpen(self._config.wait_duration)
            return now._replace(permits=now.permits - 1)
        return now

    def _after(self, now, failed, slow):
        config = self._config
        opened = Snapshot(State.OPEN, now.generation + 1, until=self._clock() + config.wait_duration)
        if now.state is State.HALF_OPEN:
            if failed is None:
                return now._replace(permits=now.permits + 1)
            if failed or slow:
                return opened
            if now.missing == 1:
                return Snapshot(State.CLOSED, now.generation + 1)
            return now._replace(missing=now.missing - 1)
        if failed is None:
            return now
        window = (now.window + ((failed, slow),))[-config.window_size:]
        if len(window) >= min(config.min_calls_to_open, config.window_size):
            for rate, flags in zip((config.error_rate, config.slow_call_rate), zip(*window)):
                if sum(flags) / len(window) >= rate:
                    return opened
        return now._replace(window=window)
