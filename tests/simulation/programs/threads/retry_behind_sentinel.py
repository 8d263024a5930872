"""A failed job is queued again behind the shutdown sentinel and is never done: workers that retry by queue."""

from __future__ import annotations

import queue
import threading

KIND = "invariant"


def shut_down(wait_for_retries: bool) -> None:
    jobs: queue.Queue[tuple[str, int] | None] = queue.Queue()
    done: list[str] = []

    def work() -> None:
        while (job := jobs.get()) is not None:
            name, attempt = job
            if attempt == 1:
                jobs.put((name, 2))
            else:
                done.append(name)
            jobs.task_done()

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    jobs.put(("invoice", 1))
    if wait_for_retries:
        jobs.join()
    jobs.put(None)
    worker.join()
    assert done == ["invoice"], "an accepted invoice was dropped at shutdown"


def buggy() -> None:
    shut_down(wait_for_retries=False)


def fixed() -> None:
    shut_down(wait_for_retries=True)
