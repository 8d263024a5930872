"""Shutdown puts one sentinel for a whole pool, so one worker leaves and the other waits on: queue-fed worker pools."""

from __future__ import annotations

from queue import Queue
from threading import Thread

KIND = "deadlock"


def drain(sentinels: int) -> None:
    jobs: Queue[int | None] = Queue()
    done: list[int] = []

    def work() -> None:
        while (job := jobs.get()) is not None:
            done.append(job)

    workers = [Thread(target=work, name=f"worker {n}") for n in range(2)]
    for worker in workers:
        worker.start()
    for job in [1, 2, 3] + [None] * sentinels:
        jobs.put(job)
    for worker in workers:
        worker.join()
    assert sorted(done) == [1, 2, 3], f"jobs 1, 2, 3 were put and {sorted(done)} were done"


def buggy() -> None:
    drain(sentinels=1)


def fixed() -> None:
    drain(sentinels=2)
