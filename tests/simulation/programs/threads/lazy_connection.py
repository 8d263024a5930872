"""The first request opens the database connection, and two first requests open two of them: lazy clients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

KIND = "invariant"


class LazyDatabase:
    def __init__(self) -> None:
        self.connection: object | None = None
        self.opened: list[object] = []

    def connect(self) -> object:
        self.opened.append(object())
        return self.opened[-1]

    def get(self) -> object:
        if self.connection is None:
            self.connection = self.connect()
        return self.connection


class GuardedDatabase(LazyDatabase):
    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()

    def get(self) -> object:
        with self.lock:
            return super().get()


def first_requests(database: LazyDatabase) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        requests = [pool.submit(database.get) for _ in range(2)]
        for request in requests:
            request.result()
    assert len(database.opened) == 1, f"{len(database.opened)} connections were opened and only one is kept"


def buggy() -> None:
    first_requests(LazyDatabase())


def fixed() -> None:
    first_requests(GuardedDatabase())
