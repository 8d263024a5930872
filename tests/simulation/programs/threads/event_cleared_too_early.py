"""A flusher clears its event after it drained, and wipes out a wake-up that came in between: log shippers."""

from __future__ import annotations

import threading
from collections import deque

KIND = "deadlock"


def ship(clear_first: bool) -> None:
    lines: deque[str] = deque()
    shipped: list[str] = []
    wake = threading.Event()

    def flush() -> None:
        while len(shipped) < 2:
            wake.wait()
            if clear_first:
                wake.clear()
            while lines:
                shipped.append(lines.popleft())
            if not clear_first:
                wake.clear()

    flusher = threading.Thread(target=flush, name="flusher")
    flusher.start()
    for line in ("GET /", "GET /cart"):
        lines.append(line)
        wake.set()
    flusher.join()
    assert shipped == ["GET /", "GET /cart"], f"the log lines arrived as {shipped}"


def buggy() -> None:
    ship(clear_first=False)


def fixed() -> None:
    ship(clear_first=True)
