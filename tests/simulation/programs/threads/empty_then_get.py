"""Workers ask whether the queue is empty and then block in get for the item that another one took: queue drains."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

KIND = "deadlock"


def drain(work: Callable[[queue.Queue[int], list[int]], None]) -> None:
    jobs: queue.Queue[int] = queue.Queue()
    done: list[int] = []
    for job in range(3):
        jobs.put(job)
    workers = [threading.Thread(target=work, args=(jobs, done), name=f"worker {n}") for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(done) == [0, 1, 2], f"3 jobs were queued and {sorted(done)} were done"


def buggy() -> None:
    def work(jobs: queue.Queue[int], done: list[int]) -> None:
        while not jobs.empty():
            done.append(jobs.get())

    drain(work)


def fixed() -> None:
    def work(jobs: queue.Queue[int], done: list[int]) -> None:
        while True:
            try:
                done.append(jobs.get_nowait())
            except queue.Empty:
                return

    drain(work)
