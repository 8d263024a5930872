"""A handler checks that the pool is open and submits after it closed, so a client sees an error: graceful shutdown."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

KIND = "thread-exception"


class Racy:
    def __init__(self) -> None:
        self.pool, self.open = ThreadPoolExecutor(max_workers=1), True

    def handle(self) -> None:
        if self.open:
            self.pool.submit(str, "order").result()

    def stop(self) -> None:
        self.open = False
        self.pool.shutdown()


class Guarded(Racy):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def handle(self) -> None:
        with self.lock:
            accepted = self.pool.submit(str, "order") if self.open else None
        if accepted is not None:
            accepted.result()

    def stop(self) -> None:
        with self.lock:
            self.open = False
        self.pool.shutdown()


def stop_while_serving(server: Racy) -> None:
    request = threading.Thread(target=server.handle, name="request")
    request.start()
    server.stop()
    request.join()


def buggy() -> None:
    stop_while_serving(Racy())


def fixed() -> None:
    stop_while_serving(Guarded())
