"""Users of a shared connection count themselves out without a lock, and it is closed twice: reference counts."""

from __future__ import annotations

import threading
from collections.abc import Callable

KIND = "invariant"


def run_users(release: Callable[[], None], closed: list[str]) -> None:
    threads = [threading.Thread(target=release, name=f"user-{n}") for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(closed) == 1, f"the shared connection was closed {len(closed)} times"


def buggy() -> None:
    users, closed = 2, []

    def release() -> None:
        nonlocal users
        users -= 1
        if users == 0:
            closed.append(threading.current_thread().name)

    run_users(release, closed)


def fixed() -> None:
    users, closed, lock = 2, [], threading.Lock()

    def release() -> None:
        nonlocal users
        with lock:
            users -= 1
            last = users == 0
        if last:
            closed.append(threading.current_thread().name)

    run_users(release, closed)
