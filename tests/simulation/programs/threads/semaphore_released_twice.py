"""An error path releases the permit that `finally` releases again, and every error adds one: pooled clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import accumulate

KIND = "invariant"


def careless(permits: threading.Semaphore, call: Callable[[], None]) -> None:
    permits.acquire()
    try:
        call()
    except TimeoutError:
        permits.release()
    finally:
        permits.release()


def careful(permits: threading.Semaphore, call: Callable[[], None]) -> None:
    permits.acquire()
    try:
        call()
    except TimeoutError:
        pass
    finally:
        permits.release()


def limit_to_one(client: Callable[[threading.Semaphore, Callable[[], None]], None]) -> None:
    permits, running = threading.Semaphore(1), []

    def slow() -> None:
        running.append(1)
        time.sleep(0.01)
        running.append(-1)

    def broken() -> None:
        raise TimeoutError("no reply")

    threads = [threading.Thread(target=client, args=(permits, call)) for call in (slow, slow, broken, slow)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    peak = max(accumulate(running))
    assert peak == 1, f"{peak} calls ran at once under a limit of 1"


def buggy() -> None:
    limit_to_one(careless)


def fixed() -> None:
    limit_to_one(careful)
