"""A consumer skips cancelled jobs with `continue`, before task_done, and Queue.join never returns: batch drains."""

from __future__ import annotations

import queue
import threading

KIND = "deadlock"


def drain(skips_count: bool) -> None:
    jobs: queue.Queue[int | None] = queue.Queue()
    cancelled = threading.Event()

    def work() -> None:
        while jobs.get() is not None:
            if cancelled.is_set() and not skips_count:
                continue
            jobs.task_done()

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    jobs.put(1)
    jobs.put(2)
    cancelled.set()
    jobs.join()
    jobs.put(None)
    worker.join()


def buggy() -> None:
    drain(skips_count=False)


def fixed() -> None:
    drain(skips_count=True)
