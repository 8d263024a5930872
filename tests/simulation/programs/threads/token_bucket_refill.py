"""Two threads refill a token bucket for the same elapsed time and grant what was never earned: rate limiters."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock, Thread

KIND = "invariant"
RATE = 100.0


class RacyBucket:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.tokens, self.last = clock, 0.0, clock()

    def take(self) -> bool:
        now = self.clock()
        earned = (now - self.last) * RATE
        self.last = now
        self.tokens = min(2.0, self.tokens + earned)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class LockedBucket(RacyBucket):
    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()

    def take(self) -> bool:
        with self.lock:
            return super().take()


ANSWER = (RacyBucket, LockedBucket)


def spend(bucket: RacyBucket) -> None:
    granted: list[bool] = []

    def call() -> None:
        time.sleep(0.01)
        granted.append(bucket.take())

    start = time.monotonic()
    callers = [Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    earned = (time.monotonic() - start) * RATE + 1e-6
    assert sum(granted) <= earned, f"{sum(granted)} calls were granted and {int(earned)} were earned"


def buggy() -> None:
    spend(RacyBucket())


def fixed() -> None:
    spend(LockedBucket())
