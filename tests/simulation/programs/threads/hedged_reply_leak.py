"""The first reply wins, and a slower replica waits for ever to put its own into a full queue: hedged reads."""

from __future__ import annotations

import queue
import threading

KIND = "leak"
LEAKS = True


def ask(room: int) -> list[threading.Thread]:
    replies: queue.Queue[int] = queue.Queue(maxsize=room)
    replicas = [threading.Thread(target=replies.put, args=(n,), name=f"replica {n}", daemon=True) for n in range(3)]
    for replica in replicas:
        replica.start()
    assert replies.get() in range(3), "the answer came from no replica"
    return replicas


def buggy() -> None:
    ask(room=1)


def fixed() -> None:
    for replica in ask(room=3):
        replica.join()
