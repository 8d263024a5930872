"""close() finds no thread to stop while start() is about to make one, which then waits for ever: client start-up."""

from __future__ import annotations

import queue
import threading
from contextlib import AbstractContextManager, nullcontext

KIND = "leak"
LEAKS = True


class Poller:
    def __init__(self, guard: AbstractContextManager) -> None:
        self.guard, self.closed = guard, False
        self.jobs: queue.Queue[None] = queue.Queue()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        with self.guard:
            if not self.closed:
                thread = threading.Thread(target=self.jobs.get, name="poller", daemon=True)
                thread.start()
                self.thread = thread

    def close(self) -> None:
        with self.guard:
            self.closed = True
            if self.thread is not None:
                self.jobs.put(None)
                self.thread.join()


def open_and_close(poller: Poller) -> None:
    opener = threading.Thread(target=poller.start, name="opener")
    opener.start()
    poller.close()
    opener.join()


def buggy() -> None:
    open_and_close(Poller(nullcontext()))


def fixed() -> None:
    open_and_close(Poller(threading.Lock()))
