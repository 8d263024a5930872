"""Three components call the next one while they hold their own lock, and the calls form a ring: layered services."""

from __future__ import annotations

from threading import Lock, Thread

KIND = "deadlock"


def call_around(pairs: list[tuple[int, int]]) -> None:
    locks = [Lock() for _ in range(3)]
    served: list[tuple[int, int]] = []

    def call(caller: int, callee: int) -> None:
        with locks[caller], locks[callee]:
            served.append((caller, callee))

    threads = [Thread(target=call, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(served) == sorted(pairs), f"only {served} of {pairs} were served"


def buggy() -> None:
    call_around([(0, 1), (1, 2), (2, 0)])


def fixed() -> None:
    call_around([(0, 1), (1, 2), (0, 2)])
