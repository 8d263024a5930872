"""After its wait a breaker lets one probe through, and two callers both see that the wait is over: circuit breakers."""

from __future__ import annotations

import threading
import time

KIND = "invariant"


class RacyBreaker:
    def __init__(self, wait: float) -> None:
        self.state, self.until = "open", time.monotonic() + wait

    def admit(self) -> bool:
        if self.state == "open" and time.monotonic() >= self.until:
            self.state = "half-open"
            return True
        return False


class LockedBreaker(RacyBreaker):
    def __init__(self, wait: float) -> None:
        super().__init__(wait)
        self.lock = threading.Lock()

    def admit(self) -> bool:
        with self.lock:
            return super().admit()


def probe(breaker: RacyBreaker) -> None:
    probes: list[str] = []

    def call(name: str) -> None:
        time.sleep(0.02)
        if breaker.admit():
            probes.append(name)

    callers = [threading.Thread(target=call, args=(f"caller {n}",)) for n in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(probes) <= 1, f"a half-open breaker sent {len(probes)} probes and one is permitted"


def buggy() -> None:
    probe(RacyBreaker(wait=0.02))


def fixed() -> None:
    probe(LockedBreaker(wait=0.02))
