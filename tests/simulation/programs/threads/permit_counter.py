"""A bulkhead compares its permit counter and raises it in two steps, and runs one call too many: own limiters."""

from __future__ import annotations

import time
from itertools import accumulate
from threading import Lock, Thread

KIND = "invariant"


class CheckThenAct:
    def __init__(self, limit: int) -> None:
        self.limit, self.in_flight = limit, 0

    def enter(self) -> bool:
        if self.in_flight < self.limit:
            self.in_flight += 1
            return True
        return False

    def leave(self) -> None:
        self.in_flight -= 1


class CheckAndAct(CheckThenAct):
    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.lock = Lock()

    def enter(self) -> bool:
        with self.lock:
            return super().enter()

    def leave(self) -> None:
        with self.lock:
            super().leave()


def flood(bulkhead: CheckThenAct) -> None:
    running: list[int] = []

    def call() -> None:
        if bulkhead.enter():
            running.append(1)
            time.sleep(0.01)
            running.append(-1)
            bulkhead.leave()

    callers = [Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    peak = max(accumulate(running))
    assert peak <= 2, f"a bulkhead of 2 permits ran {peak} calls at once"


def buggy() -> None:
    flood(CheckThenAct(limit=2))


def fixed() -> None:
    flood(CheckAndAct(limit=2))
