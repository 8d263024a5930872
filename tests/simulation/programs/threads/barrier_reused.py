"""A home-made barrier counts back to zero, and a fast thread enters again before a slow one left: batch phases."""

from __future__ import annotations

import threading

KIND = "deadlock"


class CountingBarrier:
    def __init__(self, parties: int) -> None:
        self.parties, self.arrived, self.round = parties, 0, 0
        self.changed = threading.Condition()

    def wait(self) -> None:
        with self.changed:
            self.arrived += 1
            if self.arrived == self.parties:
                self.arrived = 0
                self.changed.notify_all()
            else:
                self.changed.wait_for(lambda: self.arrived == 0)


class RoundBarrier(CountingBarrier):
    def wait(self) -> None:
        with self.changed:
            mine = self.round
            self.arrived += 1
            if self.arrived == self.parties:
                self.arrived, self.round = 0, mine + 1
                self.changed.notify_all()
            else:
                self.changed.wait_for(lambda: self.round != mine)


def two_phases(barrier: CountingBarrier) -> None:
    finished: list[int] = []

    def work() -> None:
        for phase in range(2):
            barrier.wait()
            finished.append(phase)

    threads = [threading.Thread(target=work, name=f"shard {n}") for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert finished.index(1) >= 1 and len(finished) == 4, f"phases were finished as {finished}"


def buggy() -> None:
    two_phases(CountingBarrier(parties=2))


def fixed() -> None:
    two_phases(RoundBarrier(parties=2))
