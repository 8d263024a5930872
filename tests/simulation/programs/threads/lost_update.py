"""Request threads count hits with an unguarded `+=`, so two of them add to the same old value: in-process metrics."""

from __future__ import annotations

import threading

KIND = "invariant"


class UnguardedHits:
    def __init__(self) -> None:
        self.count = 0

    def hit(self) -> None:
        self.count += 1


class GuardedHits(UnguardedHits):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def hit(self) -> None:
        with self.lock:
            self.count += 1


def serve(hits: UnguardedHits) -> None:
    threads = [threading.Thread(target=hits.hit) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hits.count == 3, f"3 requests were served and {hits.count} were counted"


def buggy() -> None:
    serve(UnguardedHits())


def fixed() -> None:
    serve(GuardedHits())
