"""Producers and consumers share one Condition and notify() wakes one of the wrong sort: bounded buffers."""

from __future__ import annotations

import threading

KIND = "deadlock"


class NotifiesOne:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.slot: list[str] = []

    def wake(self) -> None:
        self.changed.notify()

    def put(self, item: str) -> None:
        with self.changed:
            while self.slot:
                self.changed.wait()
            self.slot.append(item)
            self.wake()

    def get(self) -> str:
        with self.changed:
            while not self.slot:
                self.changed.wait()
            item = self.slot.pop()
            self.wake()
            return item


class NotifiesAll(NotifiesOne):
    def wake(self) -> None:
        self.changed.notify_all()


def exchange(buffer: NotifiesOne) -> None:
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(buffer.get()), name=f"consumer {n}") for n in range(2)]
    threads += [threading.Thread(target=buffer.put, args=(item,), name=f"producer {item}") for item in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["a", "b"], f"items a and b were put and {got} came out"


def buggy() -> None:
    exchange(NotifiesOne())


def fixed() -> None:
    exchange(NotifiesAll())
