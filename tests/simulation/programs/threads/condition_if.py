"""A consumer says `if` instead of `while` around Condition.wait and pops what another one took: own queues."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Condition

KIND = "exception"


class WaitsOnce:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.changed = Condition()

    def put(self, item: str) -> None:
        with self.changed:
            self.items.append(item)
            self.changed.notify_all()

    def get(self) -> str:
        with self.changed:
            if not self.items:
                self.changed.wait()
            return self.items.pop(0)


class WaitsAgain(WaitsOnce):
    def get(self) -> str:
        with self.changed:
            while not self.items:
                self.changed.wait()
            return self.items.pop(0)


def share(mailbox: WaitsOnce) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        consumers = [pool.submit(mailbox.get) for _ in range(2)]
        for item in ("first", "second"):
            mailbox.put(item)
        taken = [consumer.result() for consumer in consumers]
    assert sorted(taken) == ["first", "second"], f"two items were put and {taken} were taken"


def buggy() -> None:
    share(WaitsOnce())


def fixed() -> None:
    share(WaitsAgain())
