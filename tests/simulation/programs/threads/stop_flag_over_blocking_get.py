"""A worker looks at the stop flag and then blocks in Queue.get, where no flag can reach it: background workers."""

from __future__ import annotations

import queue
import threading

KIND = "deadlock"


def buggy() -> None:
    jobs: queue.Queue[str] = queue.Queue()
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            jobs.get()

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    jobs.put("email")
    stopping.set()
    worker.join()


def fixed() -> None:
    jobs: queue.Queue[str | None] = queue.Queue()

    def work() -> None:
        while jobs.get() is not None:
            pass

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    jobs.put("email")
    jobs.put(None)
    worker.join()
