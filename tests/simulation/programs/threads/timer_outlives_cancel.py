"""The reply cancels a timer that has already fired, so the caller is told both outcomes: request timeouts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

KIND = "invariant"


def call(settle: Callable[[list[str], str], None]) -> None:
    outcomes: list[str] = []
    timer = threading.Timer(0.02, settle, args=(outcomes, "timed out"))
    timer.start()
    time.sleep(0.02)
    timer.cancel()
    settle(outcomes, "replied")
    timer.join()
    assert len(outcomes) == 1, f"one request was told {' and '.join(outcomes)}"


def buggy() -> None:
    call(lambda outcomes, outcome: outcomes.append(outcome))


def fixed() -> None:
    lock = threading.Lock()

    def settle(outcomes: list[str], outcome: str) -> None:
        with lock:
            if not outcomes:
                outcomes.append(outcome)

    call(settle)
