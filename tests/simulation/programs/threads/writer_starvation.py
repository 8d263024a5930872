"""A readers-first lock lets every new reader overtake a waiting writer, who never gets in: hot configuration locks."""

from __future__ import annotations

import threading
import time

KIND = "invariant"


class ReadersFirst:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.readers = self.writers_waiting = 0
        self.log: list[str] = []

    def may_read(self) -> bool:
        return True

    def read(self) -> None:
        with self.changed:
            self.changed.wait_for(self.may_read)
            self.readers += 1
            self.log.append("read")
        time.sleep(0.002)
        with self.changed:
            self.readers -= 1
            self.changed.notify_all()

    def read_often(self) -> None:
        for _ in range(4):
            self.read()

    def write(self) -> None:
        with self.changed:
            self.writers_waiting += 1
            self.log.append("write asked")
            self.changed.wait_for(lambda: self.readers == 0)
            self.writers_waiting -= 1
            self.log.append("write done")
            self.changed.notify_all()


class WritersFirst(ReadersFirst):
    def may_read(self) -> bool:
        return self.writers_waiting == 0


def contend(lock: ReadersFirst) -> None:
    readers = [threading.Thread(target=lock.read_often, name=f"reader {n}") for n in range(2)]
    writer = threading.Thread(target=lock.write, name="writer")
    for thread in [*readers, writer]:
        thread.start()
    for thread in [*readers, writer]:
        thread.join()
    overtakers = lock.log[lock.log.index("write asked") : lock.log.index("write done")].count("read")
    assert overtakers <= 3, f"{overtakers} later reads overtook a waiting write"


def buggy() -> None:
    contend(ReadersFirst())


def fixed() -> None:
    contend(WritersFirst())
