"""Double-checked locking forgets the second check, and the waiter builds the singleton again: lazy pools."""

from __future__ import annotations

import threading

KIND = "invariant"


class OneCheck:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: str | None = None
        self.built = 0

    def build(self) -> str:
        self.built += 1
        return f"pool {self.built}"

    def get(self) -> str:
        if self.pool is None:
            with self.lock:
                self.pool = self.build()
        return self.pool


class TwoChecks(OneCheck):
    def get(self) -> str:
        if self.pool is None:
            with self.lock:
                if self.pool is None:
                    self.pool = self.build()
        return self.pool


def race(singleton: OneCheck) -> None:
    used: list[str] = []
    threads = [threading.Thread(target=lambda: used.append(singleton.get())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert singleton.built == 1, f"the singleton was built {singleton.built} times"
    assert set(used) == {"pool 1"}, f"callers hold different singletons: {sorted(set(used))}"


def buggy() -> None:
    race(OneCheck())


def fixed() -> None:
    race(TwoChecks())
