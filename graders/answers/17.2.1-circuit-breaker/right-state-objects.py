# right: the State pattern; each period is an object, and a result goes to the object that admitted its call
# %% solution="circuit-breaker"
import threading
import time
from collections import deque


class Closed:
    name = State.CLOSED

    def __init__(self, breaker):
        self.breaker = breaker
        self.window = deque(maxlen=breaker.config.window_size)

    def admit(self):
        return self

    def result(self, failed, slow):
        config = self.breaker.config
        self.window.append((failed, slow))
        n = len(self.window)
        if n < min(config.min_calls_to_open, config.window_size):
            return
        failures = sum(f for f, _ in self.window)
        slows = sum(s for _, s in self.window)
        if failures >= config.error_rate * n or slows >= config.slow_call_rate * n:
            self.breaker.become(Open(self.breaker))

    def no_result(self):
        pass


class Open:
    name = State.OPEN

    def __init__(self, breaker):
        self.breaker = breaker
        self.until = breaker.clock() + breaker.config.wait_duration

    def admit(self):
        left = self.until - self.breaker.clock()
        if left > 0:
            raise CircuitOpen(left)
        return self.breaker.become(HalfOpen(self.breaker)).admit()


class HalfOpen:
    name = State.HALF_OPEN

    def __init__(self, breaker):
        self.breaker = breaker
        self.free = self.missing = breaker.config.permitted_calls_in_half_open

    def admit(self):
        if self.free == 0:
            raise CircuitOpen(self.breaker.config.wait_duration)
        self.free -= 1
        return self

    def result(self, failed, slow):
        if failed or slow:
            self.breaker.become(Open(self.breaker))
            return
        self.missing -= 1
        if self.missing == 0:
            self.breaker.become(Closed(self.breaker))

    def no_result(self):
        self.free += 1


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.lock = threading.Lock()
        self.current = Closed(self)

    @property
    def state(self):
        return self.current.name

    def become(self, period):
        self.current = period
        return period

    def call(self, fn, *args, **kwargs):
        with self.lock:
            period = self.current.admit()
        began = self.clock()
        failed = False
        counts = True
        try:
            return fn(*args, **kwargs)
        except self.config.ignored:
            counts = False
            raise
        except Exception:
            failed = True
            raise
        except BaseException:
            counts = False
            raise
        finally:
            slow = self.clock() - began > self.config.slow_call_threshold
            with self.lock:
                if period is self.current:
                    if counts:
                        period.result(failed, slow)
                    else:
                        period.no_result()
