"""A start-up thread notifies before anyone waits and nothing remembers that it did: readiness without a predicate."""

from __future__ import annotations

import threading

KIND = "deadlock"


def buggy() -> None:
    ready = threading.Condition()

    def warm_up() -> None:
        with ready:
            ready.notify_all()

    thread = threading.Thread(target=warm_up, name="warm-up")
    thread.start()
    with ready:
        ready.wait()
    thread.join()


def fixed() -> None:
    ready = threading.Condition()
    warm: list[bool] = []

    def warm_up() -> None:
        with ready:
            warm.append(True)
            ready.notify_all()

    thread = threading.Thread(target=warm_up, name="warm-up")
    thread.start()
    with ready:
        ready.wait_for(lambda: warm)
    thread.join()
